// SPDX-License-Identifier: Apache-2.0
//! The webhooks over HTTP: `/inject`, with what the path says of the cluster after it, and `/validate`. TLS is around it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json as JsonBody, Response};
use axum::routing::post;

use crate::admission::Admission;
use crate::review::{API_VERSION, Request, Review, Verdict};

/// Twice what etcd takes: the API server asks no more.
const LARGEST: usize = 6 << 20;

/// The webhooks' pages.
pub fn router(admission: Arc<Admission>) -> Router {
    Router::new()
        .route("/inject", post(inject))
        .route("/inject/", post(inject))
        .route("/inject/{*rest}", post(inject))
        .route("/validate", post(validate))
        .route("/validate/{*rest}", post(validate))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(admission)
}

type Refused = (StatusCode, String);

async fn inject(State(admission): State<Arc<Admission>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    match request(&headers, &body) {
        Ok(request) => reply(admission.inject(uri.path(), &request), &request.uid),
        Err(refused) => {
            admission.metrics().failed.inc();
            tracing::error!(target: "webhook", "{}: {}", uri.path(), refused.1);
            refused.into_response()
        }
    }
}

async fn validate(State(admission): State<Arc<Admission>>, headers: HeaderMap, body: Bytes) -> Response {
    match request(&headers, &body) {
        Ok(request) => {
            let uid = request.uid.clone();
            reply(admission.review(request).await, &uid)
        }
        Err(refused) => {
            admission.metrics().http_errors.with_label_values(&[refused.0.as_str()]).inc();
            refused.into_response()
        }
    }
}

fn reply(verdict: Verdict, uid: &str) -> Response {
    JsonBody(verdict.reply(uid)).into_response()
}

/// The question in a body.
fn request(headers: &HeaderMap, body: &[u8]) -> Result<Request, Refused> {
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content.split(';').next().map(str::trim) != Some("application/json") {
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Content-Type is {content:?}: send application/json"),
        ));
    }
    if body.is_empty() {
        return Err((StatusCode::BAD_REQUEST, "the body is empty: send an AdmissionReview".to_owned()));
    }
    let review: Review = serde_json::from_slice(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("the body is no AdmissionReview: {error}")))?;
    if review.api_version != API_VERSION {
        let message = format!("an AdmissionReview of {:?} is not understood: send {API_VERSION}", review.api_version);
        return Err((StatusCode::BAD_REQUEST, message));
    }
    review.request.ok_or_else(|| (StatusCode::BAD_REQUEST, "the AdmissionReview has no request".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::NativeSidecars;
    use crate::inject::Injector;
    use crate::inject::config::{InjectionConfig, Values};
    use crate::metrics::WebhookMetrics;
    use axum::body::{Body, to_bytes};
    use base64::Engine;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    fn webhooks(config: Option<&str>) -> Router {
        let metrics = WebhookMetrics::register(&prometheus::Registry::new()).unwrap();
        let admission = Admission::new(NativeSidecars::Auto, false, metrics);
        if let Some(config) = config {
            let (config, values) = (InjectionConfig::parse(config).unwrap(), Values::parse("global: {}").unwrap());
            admission.set_injector(Injector::new(config, values, Default::default(), "", "").unwrap());
        }
        router(Arc::new(admission))
    }

    async fn ask(router: Router, path: &str, content: &str, body: String) -> (StatusCode, String) {
        let request = axum::http::Request::post(path).header("content-type", content).body(Body::from(body)).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn review(object: Value) -> String {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "7", "operation": "CREATE", "namespace": "shop", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "object": object
        }})
        .to_string()
    }

    async fn answer(router: Router, path: &str, object: Value) -> Value {
        let (status, body) = ask(router, path, "application/json", review(object)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let reply: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&reply["apiVersion"], &reply["response"]["uid"]), (&json!("admission.k8s.io/v1"), &json!("7")));
        reply["response"].clone()
    }

    const TEMPLATE: &str = "policy: enabled\ntemplates:\n  sidecar: |\n    spec: {containers: [{name: istio-proxy, image: x}]}\n    {{ if isset .ObjectMeta.Labels `bad` }}{{ fail `bad label` }}{{ end }}\n";

    #[tokio::test]
    async fn pods_are_patched_refused_or_left() {
        let pod = json!({"metadata": {"name": "p", "managedFields": [{}]}, "spec": {"containers": [{"name": "a", "image": "b"}]}});
        let response = answer(webhooks(Some(TEMPLATE)), "/inject/net/n1", pod.clone()).await;
        assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")));
        let patch = base64::engine::general_purpose::STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(patched["spec"]["containers"][1]["name"], "istio-proxy");
        assert_eq!(patched["metadata"]["labels"]["topology.istio.io/network"], "n1");
        let mut bad = pod.clone();
        bad["metadata"]["labels"] = json!({"bad": "1"});
        let response = answer(webhooks(Some(TEMPLATE)), "/inject", bad).await;
        assert_eq!(response["allowed"], false);
        let message = response["status"]["message"].as_str().unwrap();
        assert_eq!(message, "the pod cannot be injected: injection template sidecar:2:43: fail: bad label");
        let mut node = pod.clone();
        node["spec"]["hostNetwork"] = json!(true);
        assert_eq!(answer(webhooks(Some(TEMPLATE)), "/inject", node).await, json!({"uid": "7", "allowed": true}));
        // Nothing is let through without its sidecar.
        assert_eq!(answer(webhooks(None), "/inject", pod).await["allowed"], false);
    }

    #[tokio::test]
    async fn what_is_no_review_is_refused() {
        let ask = |content: &'static str, body: String| ask(webhooks(None), "/validate", content, body);
        assert_eq!(ask("text/plain", review(json!({}))).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(ask("application/json", String::new()).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(ask("application/json", "{".to_owned()).await.0, StatusCode::BAD_REQUEST);
        let old = review(json!({})).replace("k8s.io/v1", "k8s.io/v1beta1");
        assert!(ask("application/json", old).await.1.contains("send admission.k8s.io/v1"));
        let long = ask("application/json", "x".repeat(LARGEST + 1)).await;
        assert_eq!(long.0, StatusCode::PAYLOAD_TOO_LARGE);
        let gateway =
            json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g"}, "spec": {}});
        let response = answer(webhooks(None), "/validate", gateway).await;
        assert_eq!(response["allowed"], false);
    }
}
