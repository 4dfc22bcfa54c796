// SPDX-License-Identifier: Apache-2.0
//! The webhooks' port: pods are injected by the files of the folder, also by those that come later, and objects are validated.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panic")]

mod common;

use std::fs;
use std::path::Path;

use common::Plane;
use serde_json::{Value, json};
use tiphys_server::settings::Settings;

fn config(image: &str) -> String {
    let env = "env: [{name: A, value: {{ index .ProxyConfig.ProxyMetadata `A` | quote }}}]";
    format!(
        "policy: enabled\ntemplates:\n  sidecar: |\n    spec: {{containers: [{{name: istio-proxy, image: {image}, {env}}}]}}\n"
    )
}

fn review(kind: Value, object: Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "operation": "CREATE", "namespace": "shop", "kind": kind, "object": object
    }})
}

/// What a pod is answered, with the patch as text.
async fn ask(plane: &Plane) -> (bool, String) {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app", "image": "x"}]}});
    let (status, reply) = plane.review("/inject", &review(json!({"version": "v1", "kind": "Pod"}), pod)).await;
    assert_eq!(status, 200, "{reply}");
    let response = &reply["response"];
    let patch = response["patch"].as_str().map(from_base64).unwrap_or_default();
    (response["allowed"] == true, patch)
}

/// base64 to text.
fn from_base64(text: &str) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |byte: u8| letters.iter().position(|letter| *letter == byte).unwrap() as u32;
    let mut out = Vec::new();
    for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 6 | value(*byte)) << (6 * (4 - chunk.len()));
        out.extend(bits.to_be_bytes()[1..chunk.len()].iter());
    }
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn pods_and_objects_are_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("config", &config("first"));
    write("values", "{}");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let flags = ["--httpsAddr", "127.0.0.1:0", "--injection-dir", &path(folder.path())];
    let proxies = "apiVersion: networking.istio.io/v1beta1\nkind: ProxyConfig\nmetadata: {name: p, namespace: shop}\nspec: {environmentVariables: {A: of-the-namespace}}\n";
    let plane = Plane::start_with(&[("proxies.yaml", proxies)], &flags, Settings::default()).await;
    plane.until("injected", async |p| ask(p).await.1.contains("first")).await;
    assert!(ask(&plane).await.1.contains("of-the-namespace"));
    // What cannot be read changes nothing; what can is taken.
    write("config", "policy: enabled\ntemplates: {sidecar: '{{ nope }}'}");
    write("config", &config("second"));
    plane.until("injected anew", async |p| ask(p).await.1.contains("second")).await;
    let templates = plane.json("/debug/inject").await;
    assert!(templates["sidecar"].as_str().unwrap().contains("image: second"), "{templates}");

    let gateway =
        json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g"}, "spec": {}});
    let kind = json!({"group": "networking.istio.io", "version": "v1", "kind": "Gateway"});
    let (_, reply) = plane.review("/validate", &review(kind, gateway)).await;
    assert_eq!(reply["response"]["allowed"], false, "{reply}");
    assert!(plane.metric("sidecar_injection_success_total").await >= 2.0);
    let failed = "galley_validation_failed{group=\"networking.istio.io\",reason=\"invalid_resource\",resource=\"Gateway\",version=\"v1\"}";
    assert_eq!(plane.metric(failed).await, 1.0);
    plane.stop().await;
}
