// SPDX-License-Identifier: Apache-2.0
//! An API server for tests: lists in pages, watches, bookmarks, streamed lists, compaction, and all the trouble that a real one can make.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tiphys_api::Kind;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

type Objects = BTreeMap<(String, String), Value>;

/// What happened to an object.
#[derive(Clone)]
struct Happened {
    version: u64,
    resource: String,
    event: &'static str,
    object: Value,
}

/// How the server behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Minor version of Kubernetes.
    pub minor: u32,
    /// Whether lists are streamed.
    pub streams: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { minor: 34, streams: true }
    }
}

#[derive(Default)]
struct Inner {
    manner: Manner,
    version: u64,
    /// Versions up to this one are forgotten.
    compacted: u64,
    objects: BTreeMap<String, Objects>,
    happened: Vec<Happened>,
    requests: Vec<String>,
    bookmark: u64,
    /// Resources (`secrets`, ...) that are answered with 403.
    forbidden: BTreeSet<String>,
    /// Pods that are made up while they are sent.
    made_up: usize,
    /// It is stopped, and ends the connections that it still has.
    stopped: bool,
}

#[derive(Clone)]
struct Shared {
    inner: Arc<Mutex<Inner>>,
    /// Counts what happened, and cuts.
    news: watch::Sender<(u64, u64)>,
}

/// An API server on a port of its own.
pub struct ApiServer {
    shared: Shared,
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn tell(&self) {
        self.news.send_modify(|news| news.0 += 1);
    }
}

/// `plural.group`, as CRDs are called; only `plural` in the core group.
fn resource_of(kind: Kind) -> String {
    let info = kind.info();
    if info.group.is_empty() { info.plural.to_owned() } else { format!("{}.{}", info.plural, info.group) }
}

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

impl ApiServer {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Inner { manner, version: 1, ..Inner::default() };
        let shared = Shared { inner: Arc::new(Mutex::new(inner)), news: watch::Sender::new((0, 0)) };
        let mut server = Self { shared, address, serving: None };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let router = Router::new().fallback(answer).with_state(self.shared.clone());
        self.serving = Some(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    }

    /// Stops answering, and cuts all connections.
    pub fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
        self.shared.inner().stopped = true;
        self.cut();
    }

    /// Answers again, at the same address.
    pub async fn start_again(&mut self) {
        let listener = loop {
            if let Ok(listener) = TcpListener::bind(self.address).await {
                break listener;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.shared.inner().stopped = false;
        self.serve(listener);
    }

    /// A client of it.
    pub fn client(&self) -> kube::Client {
        let mut config = kube::Config::new(format!("http://{}", self.address).parse().unwrap());
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    /// Installs the definition of a kind.
    pub fn install(&self, kind: Kind) {
        let info = kind.info();
        let versions: Vec<Value> =
            info.versions.iter().map(|v| json!({"name": v, "served": true, "schema": {}})).collect();
        self.put_as(DEFINITIONS, json!({
            "metadata": {"name": resource_of(kind)},
            "spec": {"group": info.group, "names": {"plural": info.plural, "kind": info.name}, "versions": versions},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        }));
    }

    /// Takes the definition of a kind away, with its objects.
    pub fn uninstall(&self, kind: Kind) {
        self.delete_as(DEFINITIONS, "", &resource_of(kind));
        self.shared.inner().objects.remove(&resource_of(kind));
        self.cut();
    }

    /// Installs all definitions.
    pub fn install_all(&self) {
        Kind::ALL.iter().filter(|kind| kind.is_istio() || kind.is_gateway_api()).for_each(|kind| self.install(*kind));
    }

    /// Creates or changes an object, of a kind that the mesh reads. Returns its kind, namespace and name.
    pub fn put(&self, mut object: Value) -> (Kind, String, String) {
        let api_version = object["apiVersion"].as_str().unwrap().to_owned();
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let kind = Kind::find(group, object["kind"].as_str().unwrap()).unwrap();
        if kind.namespaced() && object["metadata"].get("namespace").is_none() {
            object["metadata"]["namespace"] = json!("default");
        }
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = (kind, text("namespace"), text("name"));
        self.put_as(&resource_of(kind), object);
        key
    }

    fn put_as(&self, resource: &str, mut object: Value) {
        let mut inner = self.shared.inner();
        inner.version += 1;
        let version = inner.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let name = (text("namespace"), text("name"));
        let before = inner.objects.entry(resource.to_owned()).or_default().insert(name, object.clone());
        let event = if before.is_some() { "MODIFIED" } else { "ADDED" };
        inner.happened.push(Happened { version, resource: resource.to_owned(), event, object });
        drop(inner);
        self.shared.tell();
    }

    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) {
        self.delete_as(&resource_of(kind), namespace, name);
    }

    fn delete_as(&self, resource: &str, namespace: &str, name: &str) {
        let mut inner = self.shared.inner();
        inner.version += 1;
        let version = inner.version;
        let name = (namespace.to_owned(), name.to_owned());
        let mut object = inner.objects.get_mut(resource).unwrap().remove(&name).unwrap();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        inner.happened.push(Happened { version, resource: resource.to_owned(), event: "DELETED", object });
        drop(inner);
        self.shared.tell();
    }

    /// Ends all watches.
    pub fn cut(&self) {
        self.shared.news.send_modify(|news| news.1 += 1);
    }

    /// Forgets what happened up to now: who watches from before is told that it is too late.
    pub fn compact(&self) {
        let mut inner = self.shared.inner();
        inner.compacted = inner.version;
        inner.happened.clear();
    }

    /// Tells all watches how far they are.
    pub fn bookmark(&self) {
        self.shared.inner().bookmark += 1;
        self.shared.tell();
    }

    /// Answers requests for a resource (`pods`) with 403, or no longer.
    pub fn forbid(&self, resource: &str, forbidden: bool) {
        let mut inner = self.shared.inner();
        if forbidden {
            inner.forbidden.insert(resource.to_owned())
        } else {
            inner.forbidden.remove(resource)
        };
    }

    /// Has this many pods, which are made up while they are sent.
    pub fn make_up_pods(&self, count: usize) {
        self.shared.inner().made_up = count;
    }

    /// The requests so far, as path and query.
    pub fn requests(&self) -> Vec<String> {
        self.shared.inner().requests.clone()
    }
}

fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code})
}

fn refuse(code: u16, reason: &str) -> Response {
    (StatusCode::from_u16(code).unwrap(), Json(failure(code, reason, reason))).into_response()
}

/// What a request asks for.
#[derive(Clone)]
struct Asked {
    resource: String,
    kind: String,
    api_version: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl Asked {
    fn of(path: &str, query: &BTreeMap<String, String>) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, plural) = match rest {
            ["namespaces", namespace, plural] => (Some((*namespace).to_owned()), *plural),
            [plural] => (None, *plural),
            _ => return None,
        };
        let resource = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        let known = Kind::ALL.iter().find(|kind| resource_of(**kind) == resource);
        let name = query.get("fieldSelector").and_then(|s| s.strip_prefix("metadata.name=")).map(str::to_owned);
        Some(Self {
            kind: known.map_or("CustomResourceDefinition", |kind| kind.name()).to_owned(),
            api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
            resource,
            namespace,
            name,
        })
    }

    fn wants(&self, object: &Value) -> bool {
        let is = |field: &str, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| object["metadata"][field].as_str() == Some(wanted))
        };
        is("namespace", &self.namespace) && is("name", &self.name)
    }

    /// Objects in events say what they are.
    fn typed(&self, mut object: Value) -> Value {
        object["apiVersion"] = json!(self.api_version);
        object["kind"] = json!(self.kind);
        object
    }
}

async fn answer(State(shared): State<Shared>, uri: Uri, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let mut inner = shared.inner();
    if inner.stopped {
        return (StatusCode::SERVICE_UNAVAILABLE, [("connection", "close")]).into_response();
    }
    inner.requests.push(uri.to_string());
    if uri.path() == "/version" {
        let minor = inner.manner.minor;
        return Json(json!({
            "major": "1", "minor": minor.to_string(), "gitVersion": format!("v1.{minor}.0"), "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        })).into_response();
    }
    let Some(asked) = Asked::of(uri.path(), &query) else { return refuse(404, "NotFound") };
    let custom = asked.resource.contains("istio.io")
        || asked.resource.contains("networking.k8s.io")
        || asked.resource.contains(".x-k8s.io");
    let defined = |inner: &Inner| {
        inner.objects.get(DEFINITIONS).is_some_and(|all| all.contains_key(&(String::new(), asked.resource.clone())))
    };
    if custom && !asked.resource.ends_with("ses.networking.k8s.io") && !defined(&inner) {
        return refuse(404, "NotFound");
    }
    if inner.forbidden.contains(&asked.resource) {
        return refuse(403, "Forbidden");
    }
    let streams = inner.manner.streams;
    let number = |name: &str| query.get(name).and_then(|v| v.parse::<u64>().ok());
    if query.get("watch").is_some_and(|w| w == "true") {
        let initial = query.get("sendInitialEvents").is_some_and(|s| s == "true");
        if initial && !streams {
            return refuse(422, "Invalid");
        }
        drop(inner);
        let (out, lines) = mpsc::channel(16);
        tokio::spawn(watching(shared.clone(), asked, initial, number("resourceVersion").unwrap_or(0), out));
        return Body::from_stream(ReceiverStream::new(lines).map(Ok::<_, Infallible>)).into_response();
    }
    let limit = number("limit").map_or(usize::MAX, |limit| limit as usize);
    let skip = query.get("continue").and_then(|c| c.parse::<usize>().ok()).unwrap_or(0);
    let all: Vec<Value> = picture(&inner, &asked).collect();
    let items: Vec<Value> = all.iter().skip(skip).take(limit).cloned().collect();
    let more = if skip + items.len() < all.len() { (skip + items.len()).to_string() } else { String::new() };
    Json(json!({
        "apiVersion": asked.api_version, "kind": format!("{}List", asked.kind),
        "metadata": {"resourceVersion": inner.version.to_string(), "continue": more}, "items": items,
    }))
    .into_response()
}

fn picture<'a>(inner: &'a Inner, asked: &'a Asked) -> impl Iterator<Item = Value> + 'a {
    let made_up = if asked.resource == "pods" { inner.made_up } else { 0 };
    let held = inner.objects.get(&asked.resource).into_iter().flat_map(|all| all.values().cloned());
    held.filter(|object| asked.wants(object))
        .chain((0..made_up).map(|i| serde_json::from_str(&super::pod_text(i)).unwrap()))
}

async fn watching(shared: Shared, asked: Asked, initial: bool, from: u64, out: mpsc::Sender<Bytes>) {
    let mut news = shared.news.subscribe();
    let cuts = news.borrow().1;
    let line = |event: &str, object: &Value| Bytes::from(format!("{}\n", json!({"type": event, "object": object})));
    let mut seen = from;
    let mut bookmarks = shared.inner().bookmark;
    if initial {
        let (held, version, made_up) = {
            let inner = shared.inner();
            let held: Vec<Value> =
                inner.objects.get(&asked.resource).into_iter().flat_map(|all| all.values().cloned()).collect();
            (held, inner.version, if asked.resource == "pods" { inner.made_up } else { 0 })
        };
        let held =
            held.into_iter().filter(|object| asked.wants(object)).map(|object| line("ADDED", &asked.typed(object)));
        let made_up =
            (0..made_up).map(|i| Bytes::from(format!("{{\"type\":\"ADDED\",\"object\":{}}}\n", super::pod_text(i))));
        for line in held.chain(made_up) {
            if out.send(line).await.is_err() {
                return;
            }
        }
        let meta =
            json!({"resourceVersion": version.to_string(), "annotations": {"k8s.io/initial-events-end": "true"}});
        if out.send(line("BOOKMARK", &asked.typed(json!({"metadata": meta})))).await.is_err() {
            return;
        }
        seen = version;
    } else if from < shared.inner().compacted {
        let _ = out.send(line("ERROR", &failure(410, "Expired", "too old resource version"))).await;
        return;
    }
    loop {
        let (events, version, marks) = {
            let inner = shared.inner();
            let events: Vec<Happened> =
                inner.happened.iter().filter(|h| h.version > seen && h.resource == asked.resource).cloned().collect();
            (events, inner.version, inner.bookmark)
        };
        for happened in events.into_iter().filter(|h| asked.wants(&h.object)) {
            if out.send(line(happened.event, &asked.typed(happened.object))).await.is_err() {
                return;
            }
        }
        seen = version;
        if marks != bookmarks {
            bookmarks = marks;
            let meta = json!({"resourceVersion": version.to_string()});
            if out.send(line("BOOKMARK", &asked.typed(json!({"metadata": meta})))).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() || news.borrow_and_update().1 != cuts { return },
            () = out.closed() => return,
        }
    }
}
