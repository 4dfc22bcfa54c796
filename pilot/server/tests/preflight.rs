// SPDX-License-Identifier: Apache-2.0
//! What STRICT would break: the debug page, with an agent that says what it took, and the warning of the webhook.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panic")]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::Plane;
use serde_json::{Value, json};
use tiphys_server::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server with a sidecar whose agent is here, and a client without.
fn mesh(port: u16) -> String {
    let pod = |name: &str, namespace: &str, ip: &str, more: &str, containers: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}-1\n  namespace: {namespace}\n  labels: {{app: {name}, security.istio.io/tlsMode: istio}}\n{more}spec: {{serviceAccountName: {name}, containers: [{containers}]}}\nstatus: {{phase: Running, podIP: {ip}, conditions: [{{type: Ready, status: 'True'}}]}}\n---\n"
        )
    };
    let annotation = format!("  annotations: {{status.sidecar.istio.io/port: '{port}'}}\n");
    let app = "{name: app, ports: [{containerPort: 8080}]}";
    pod("web", "shop", "127.0.0.1", &annotation, &format!("{app}, {{name: istio-proxy}}"))
        + &pod("job", "batch", "10.1.0.9", "", app)
        + "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}\n---\n"
        + "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: shop}\n---\n"
        + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n"
}

/// An agent that took connections.
async fn agent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /debug/plaintext?minutes="));
            let body = r#"{"minutes":42,"ports":[{"port":8080,"plaintext":7,"last_minutes":2}],"peers":["10.1.0.9"]}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    port
}

const PAGE: &str = "/debug/preflight/strict";

fn reasons(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().filter_map(|finding| finding["reason"].as_str()).collect()
}

fn policy(mode: &str) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "shop"}, "spec": {"mtls": {"mode": mode}}
    })
}

#[tokio::test]
async fn the_page_asks_agents_and_takes_policies() {
    let text = mesh(agent().await);
    let plane = Plane::start(&[("mesh.yaml", &text)]).await;
    let report = plane.json(&format!("{PAGE}?namespace=shop")).await;
    assert_eq!(reasons(&report), ["plaintext-taken"], "{report:#}");
    assert_eq!((&report["strict"], &report["statistics"]["minutes"]), (&json!(1), &json!(42)));
    let message = report["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("7 connections on port 8080") && message.contains("batch/job"), "{message}");
    // Given policies, and the proxies of all replicas.
    let asked = json!({"policies": [policy("STRICT")], "proxies": {"all": true, "connected": {}}});
    let (status, text) = plane.send("POST", PAGE, &asked.to_string()).await;
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, reasons(&report)), (200, vec!["plaintext-taken", "not-ready"]), "{report:#}");
    let (_, text) = plane.send("POST", PAGE, &json!({"policies": [policy("PERMISSIVE")]}).to_string()).await;
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["strict"], 0);
    for (asked, why) in [(json!({"policies": [{"kind": "x"}]}), "policies[0]: "), (json!({"nope": 1}), "unknown field")]
    {
        let (status, text) = plane.send("POST", PAGE, &asked.to_string()).await;
        assert!((400..500).contains(&status) && text.contains(why), "{status} {text}");
    }
    assert_eq!(plane.get(&format!("{PAGE}?minutes=x")).await.0, 400);
    plane.stop().await;
}

#[tokio::test]
async fn who_applies_strict_is_warned() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("config", "policy: enabled\ntemplates: {sidecar: 'spec: {}'}");
    write("values", "{}");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let flags = ["--httpsAddr", "127.0.0.1:0", "--injection-dir", &path(folder.path())];
    let text = mesh(agent().await);
    let plane = Plane::start_with(&[("mesh.yaml", &text)], &flags, Settings::default()).await;
    let warnings = async |mode: &str| -> Vec<String> {
        let mut object = policy(mode);
        // kubectl need not say it: the request does.
        object["metadata"].as_object_mut().unwrap().remove("namespace");
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "1", "operation": "CREATE", "namespace": "shop", "object": object,
            "kind": {"group": "security.istio.io", "version": "v1", "kind": "PeerAuthentication"}
        }});
        let (status, reply) = plane.review("/validate", &review).await;
        assert_eq!((status, &reply["response"]["allowed"]), (200, &json!(true)), "{reply}");
        reply["response"]["warnings"].as_array().into_iter().flatten().map(|w| w.as_str().unwrap().to_owned()).collect()
    };
    let started = Instant::now();
    let said = warnings("STRICT").await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(
        said,
        [
            "STRICT refuses batch/job-1 -> web.shop.svc.cluster.local:80 (plaintext-taken)",
            "why, and how to mend it: tiphysctl preflight strict -n shop",
        ]
    );
    assert!(warnings("PERMISSIVE").await.is_empty());
    plane.stop().await;
}
