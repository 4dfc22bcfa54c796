// SPDX-License-Identifier: Apache-2.0
//! An API server for unit tests: keeps objects by path, written by resourceVersion, and answers reviews. Watches tell nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

type Answer = Box<dyn Fn(&Value) -> Value + Send + Sync>;

/// The server. Clones share its objects.
#[derive(Clone, Default)]
pub struct ApiServer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    reviews: BTreeMap<String, Answer>,
    texts: BTreeMap<String, String>,
    requests: Vec<String>,
}

impl ApiServer {
    /// A client of it.
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                // Others have their turn, as they have with a network between.
                tokio::task::yield_now().await;
                let query = parts.uri.query().unwrap_or_default();
                if query.contains("watch=true") {
                    std::future::pending::<()>().await;
                }
                let (status, body) = server.answer(&parts.method, parts.uri.path(), &bytes);
                let response = Response::builder().status(status).body(Full::new(body.into()));
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        Client::new(service, "default")
    }

    /// What is created at this path is not kept but answered with a status.
    pub fn review(&self, path: &str, answer: impl Fn(&Value) -> Value + Send + Sync + 'static) {
        self.0.lock().unwrap().reviews.insert(path.into(), Box::new(answer));
    }

    /// A text at a path.
    pub fn text(&self, path: &str, text: &str) {
        self.0.lock().unwrap().texts.insert(path.into(), text.into());
    }

    /// The object at a path.
    pub fn object(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    /// Puts an object at a path.
    pub fn put(&self, path: &str, object: Value) {
        self.0.lock().unwrap().store(path, object);
    }

    /// All requests so far: method and path.
    pub fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.clone()
    }

    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, String) {
        let mut state = self.0.lock().unwrap();
        state.requests.push(format!("{method} {path}"));
        if let Some(text) = state.texts.get(path) {
            return (StatusCode::OK, text.clone());
        }
        let sent: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
        match *method {
            Method::GET => match state.objects.get(path) {
                Some(object) => (StatusCode::OK, object.to_string()),
                None => status(StatusCode::NOT_FOUND, "NotFound"),
            },
            Method::POST if state.reviews.contains_key(path) => {
                let answer = state.reviews[path](&sent);
                let mut object = sent;
                object["status"] = answer;
                (StatusCode::CREATED, object.to_string())
            }
            Method::POST => {
                let name = sent.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                let path = format!("{path}/{name}");
                match state.objects.contains_key(&path) {
                    true => status(StatusCode::CONFLICT, "AlreadyExists"),
                    false => (StatusCode::CREATED, state.store(&path, sent).to_string()),
                }
            }
            Method::PUT => match state.objects.get(path) {
                None => status(StatusCode::NOT_FOUND, "NotFound"),
                Some(known) if version(known) != version(&sent) => status(StatusCode::CONFLICT, "Conflict"),
                Some(_) => (StatusCode::OK, state.store(path, sent).to_string()),
            },
            _ => status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.into(), object.clone());
        object
    }
}

fn status(code: StatusCode, reason: &str) -> (StatusCode, String) {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "message": reason, "reason": reason, "code": code.as_u16(),
    });
    (code, status.to_string())
}
