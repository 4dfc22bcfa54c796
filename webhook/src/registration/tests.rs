// SPDX-License-Identifier: Apache-2.0
use std::sync::Mutex;

use http::{Request, Response};
use kube::client::Body;
use tower::service_fn;

use super::*;

fn configuration(webhooks: Json, managed: Json) -> Json {
    json!({"metadata": {"name": "c", "resourceVersion": "7", "managedFields": managed}, "webhooks": webhooks})
}

fn owner(manager: &str, webhook: &str) -> Json {
    let fields =
        json!({"f:webhooks": {format!("k:{{\"name\":\"{webhook}\"}}"): {"f:clientConfig": {"f:caBundle": {}}}}});
    json!([{"manager": manager, "operation": "Update", "fieldsV1": fields}])
}

#[test]
fn roots_are_written_and_nothing_else() {
    let name = "rev.namespace.sidecar-injector.istio.io";
    let of = |bundle: Json| {
        configuration(
            json!([{"name": name, "failurePolicy": "Fail", "clientConfig": {"service": {}, "caBundle": bundle}}]),
            json!([]),
        )
    };
    let wanted = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "c", "resourceVersion": "7"},
        "webhooks": [{"name": name, "clientConfig": {"caBundle": "new"}}]
    });
    assert_eq!(plan(Kind::Mutating, &of(Json::Null), "new", true), Some(wanted.clone()));
    assert_eq!(plan(Kind::Mutating, &of("old".into()), "new", false), Some(wanted));
    assert_eq!(plan(Kind::Mutating, &of("new".into()), "new", true), None);
}

#[test]
fn what_belongs_to_others_stays_theirs() {
    let name = "rev.validation.istio.io";
    let mine =
        |webhook: Json, managed: Json| plan(Kind::Validating, &configuration(json!([webhook]), managed), "new", false);
    let webhook = |name: &str| json!({"name": name, "clientConfig": {"caBundle": "theirs"}});
    assert_eq!(mine(webhook("else.example.org"), json!([])), None);
    assert_eq!(mine(json!({"name": name, "clientConfig": {"url": "https://x"}}), json!([])), None);
    assert_eq!(mine(webhook(name), owner("helm", name)), None);
    assert!(mine(webhook(name), owner(ISTIOD, name)).is_some());
    assert!(mine(webhook(name), owner(MANAGER, name)).is_some());
}

#[test]
fn validation_binds_once_it_answers() {
    let name = "rev.validation.istio.io";
    let of = |policy: &str, bundle: &str| {
        configuration(json!([{"name": name, "failurePolicy": policy, "clientConfig": {"caBundle": bundle}}]), json!([]))
    };
    let entries = |object: Json, answers: bool| {
        plan(Kind::Validating, &object, "b", answers).map(|patch| patch["webhooks"].clone())
    };
    assert_eq!(entries(of("Ignore", "b"), false), None);
    assert_eq!(entries(of("Ignore", ""), false), Some(json!([{"name": name, "clientConfig": {"caBundle": "b"}}])));
    let both = json!([{"name": name, "clientConfig": {"caBundle": "b"}, "failurePolicy": "Fail"}]);
    assert_eq!(entries(of("Ignore", "b"), true), Some(both.clone()));
    // What is owned has to be applied again, or it would be given up.
    assert_eq!(entries(of("Fail", "old"), false), Some(both));
    assert_eq!(entries(of("Fail", "b"), true), None);
}

/// An API server that stores one validating configuration, and lets validation be reached once its roots are right.
#[derive(Default)]
struct Stub {
    object: Mutex<Json>,
    patches: Mutex<Vec<(String, Json)>>,
}

impl Stub {
    fn answer(&self, method: &str, uri: &str, body: &[u8]) -> (u16, String) {
        let mut object = self.object.lock().unwrap();
        let list = |items: Vec<Json>| json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items});
        match method {
            "GET" if uri.contains("watch=true") => {
                let event = json!({"type": "MODIFIED", "object": *object});
                (
                    200,
                    if uri.contains("/validating") && object["metadata"]["resourceVersion"] != "1" {
                        event.to_string() + "\n"
                    } else {
                        String::new()
                    },
                )
            }
            "GET" if uri.contains("/validating") => (200, list(vec![object.clone()]).to_string()),
            "GET" => (200, list(Vec::new()).to_string()),
            "PATCH" => {
                let patch: Json = serde_json::from_slice(body).unwrap();
                object["webhooks"][0]["clientConfig"]["caBundle"] =
                    patch["webhooks"][0]["clientConfig"]["caBundle"].clone();
                if let Some(policy) = patch["webhooks"][0].get("failurePolicy") {
                    object["webhooks"][0]["failurePolicy"] = policy.clone();
                }
                object["metadata"]["resourceVersion"] = format!("{}", self.patches.lock().unwrap().len() + 2).into();
                self.patches.lock().unwrap().push((uri.to_owned(), patch));
                (200, object.to_string())
            }
            "POST" => {
                let message = if object["webhooks"][0]["clientConfig"]["caBundle"].is_string() {
                    "admission webhook \"rev.validation.istio.io\" denied the request: no"
                } else {
                    "failed calling webhook"
                };
                (400, json!({"kind": "Status", "status": "Failure", "code": 400, "reason": "BadRequest", "message": message}).to_string())
            }
            other => panic!("{other} {uri}"),
        }
    }
}

#[tokio::test]
async fn a_new_configuration_gets_roots_then_binds_and_follows_rotation() {
    let stub = Arc::new(Stub::default());
    *stub.object.lock().unwrap() = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "istio-validator-istio-system", "resourceVersion": "1", "labels": {"istio.io/rev": "default"}},
        "webhooks": [{"name": "rev.validation.istio.io", "failurePolicy": "Ignore", "clientConfig": {"service": {"name": "istiod", "namespace": "istio-system"}}}]
    });
    let served = stub.clone();
    let client = Client::new(
        service_fn(move |request: Request<Body>| {
            let stub = served.clone();
            async move {
                let (method, uri) = (request.method().to_string(), request.uri().to_string());
                let body = request.into_body().collect_bytes().await?;
                let watches = uri.contains("watch=true");
                let (status, text) = stub.answer(&method, &uri, &body);
                if watches {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok::<_, kube::Error>(Response::builder().status(status).body(Body::from(text.into_bytes())).unwrap())
            }
        }),
        "default",
    );
    let (rotate, roots) = watch::channel(Arc::from("first"));
    let (_lead, leads) = watch::channel(true);
    let metrics = WebhookMetrics::register(&prometheus::Registry::new()).unwrap();
    let registration = Registration {
        client,
        namespace: "istio-system".into(),
        revision: String::new(),
        roots,
        metrics: metrics.clone(),
    };
    let running = tokio::spawn(registration.run(leads));
    let reaches = async |policy: &str, roots: &str| {
        let began = std::time::Instant::now();
        loop {
            let webhook = stub.object.lock().unwrap()["webhooks"][0].clone();
            if webhook["failurePolicy"] == policy && webhook["clientConfig"]["caBundle"] == STANDARD.encode(roots) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{webhook}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    reaches("Fail", "first").await;
    rotate.send_replace(Arc::from("second"));
    reaches("Fail", "second").await;
    running.abort();
    for (uri, patch) in stub.patches.lock().unwrap().iter() {
        assert!(uri.contains("fieldManager=tiphys-webhooks") && uri.contains("force=true"), "{uri}");
        let fields: Vec<&String> = patch["webhooks"][0].as_object().unwrap().keys().collect();
        assert!(
            fields.iter().all(|field| ["name", "clientConfig", "failurePolicy"].contains(&field.as_str())),
            "{fields:?}"
        );
    }
    assert!(metrics.validator_updates.get() >= 2);
}
