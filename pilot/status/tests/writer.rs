// SPDX-License-Identifier: Apache-2.0
//! The writer against an API server of one object.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panic")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tiphys_api::{Key, Kind};
use tiphys_status::{CONTROLLER, Status, Wanted, Writer};
use tokio::sync::watch;

#[derive(Default)]
struct Server {
    object: Value,
    patches: Vec<Value>,
    /// Answers to the next patches instead of taking them.
    refuse: Vec<u16>,
}

type Shared = Arc<Mutex<Server>>;

fn client(server: &Shared) -> Client {
    let server = server.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = server.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let mut server = server.lock().unwrap();
            let path = parts.uri.path();
            assert!(path.starts_with("/apis/gateway.networking.k8s.io/v1/namespaces/ns/httproutes/r"), "{path}");
            let mut status = StatusCode::OK;
            if parts.method == Method::PATCH {
                assert!(path.ends_with("/status"));
                match server.refuse.pop() {
                    Some(code) => status = StatusCode::from_u16(code).unwrap(),
                    None => {
                        let patch: Value = serde_json::from_slice(&body).unwrap();
                        server.object["status"] = patch["status"].clone();
                        server.patches.push(patch);
                    }
                }
            }
            let body = match status {
                StatusCode::OK => server.object.clone(),
                code => {
                    json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "message": "no", "reason": "Conflict"})
                }
            };
            Ok::<_, std::convert::Infallible>(
                Response::builder().status(status).body(Body::from(body.to_string().into_bytes())).unwrap(),
            )
        }
    });
    Client::new(service, "default")
}

fn parents(message: &str) -> Value {
    let conditions = json!([{"type": "Accepted", "status": "True", "message": message}]);
    json!({"parents": [{"controllerName": CONTROLLER, "parentRef": {"name": "g"}, "conditions": conditions}]})
}

fn wanted(current: &Value, message: &str) -> Wanted {
    let key = Key { kind: Kind::HttpRoute, namespace: "ns".into(), name: "r".into() };
    let api_version = "gateway.networking.k8s.io/v1".to_owned();
    Arc::new(BTreeMap::from([(
        key,
        Status { api_version, current: current.clone(), wanted: parents(message), revision: None },
    )]))
}

async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..500 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not in time: {what}");
}

#[tokio::test]
async fn only_the_leader_writes_and_only_what_differs() {
    let server: Shared = Arc::default();
    let other = json!({"controllerName": "other", "parentRef": {"name": "g"}});
    server.lock().unwrap().object =
        json!({"metadata": {"name": "r", "resourceVersion": "7"}, "status": {"parents": [other]}});
    let current = server.lock().unwrap().object["status"].clone();
    let (tell, wants) = watch::channel(wanted(&current, "one"));
    let (elect, leads) = watch::channel(false);
    let writer = Writer::new(client(&server), wants, leads);
    let counts = writer.counts();
    let running = tokio::spawn(writer.run());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(server.lock().unwrap().patches.is_empty(), "it does not lead");

    elect.send_replace(true);
    until("the first write", || server.lock().unwrap().patches.len() == 1).await;
    let patch = server.lock().unwrap().patches[0].clone();
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    assert_eq!(patch["status"]["parents"][0], other, "others are left alone");
    assert!(patch["status"]["parents"][1]["conditions"][0]["lastTransitionTime"].as_str().unwrap().ends_with('Z'));

    // The same again, with the status as it was and as it is now: nothing to write.
    tell.send_replace(wanted(&current, "one"));
    let current = server.lock().unwrap().object["status"].clone();
    tell.send_replace(wanted(&current, "one"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.lock().unwrap().patches.len(), 1);

    // A conflict is tried again.
    server.lock().unwrap().refuse = vec![409, 500];
    tell.send_replace(wanted(&current, "two"));
    until("the second write", || server.lock().unwrap().patches.len() == 2).await;
    assert_eq!(counts.failed.load(std::sync::atomic::Ordering::Relaxed), 2);

    elect.send_replace(false);
    tokio::time::sleep(Duration::from_millis(50)).await;
    tell.send_replace(wanted(&current, "three"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.lock().unwrap().patches.len(), 2, "it leads no longer");
    running.abort();
}
