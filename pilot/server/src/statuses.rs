// SPDX-License-Identifier: Apache-2.0
//! What objects should be told about themselves, gathered for whoever writes it: what compiling says, beside what the objects say now.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tiphys_api::names::label;
use tiphys_api::{Key, Kind, Object};
use tiphys_compile::Compiler;
use tiphys_status::{CONTROLLER, Status, Wanted};
use tokio::sync::watch;

/// Kinds whose statuses list the parents that they are attached to.
const ROUTES: [Kind; 5] = [Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute, Kind::UdpRoute];

/// Tells the statuses that objects should have, when it is asked for and something of it may have changed.
pub struct Statuses {
    out: watch::Sender<Wanted>,
    told: Option<Arc<BTreeMap<Key, Value>>>,
}

impl Statuses {
    /// Statuses that were not told yet.
    pub fn new(out: watch::Sender<Wanted>) -> Self {
        Self { out, told: None }
    }

    /// Tells them after changes; `touched` when objects that have statuses are among them.
    pub fn tell(&mut self, compiler: &Compiler, touched: bool) {
        let now = compiler.statuses();
        let same = self.told.as_ref().is_some_and(|told| Arc::ptr_eq(told, now));
        if self.out.receiver_count() == 0 || (same && !touched) {
            return;
        }
        self.told = Some(now.clone());
        self.out.send_replace(Arc::new(gather(compiler)));
    }
}

fn gather(compiler: &Compiler) -> BTreeMap<Key, Status> {
    let (store, wanted) = (compiler.store(), compiler.statuses());
    let status = |object: &Object, wanted: Value| Status {
        api_version: object.version.clone(),
        current: object.status.clone().unwrap_or_default(),
        wanted,
        revision: revision(object).or_else(|| revision(store.get(Kind::Namespace, "", &object.meta.namespace)?)),
    };
    let told = wanted.iter().filter_map(|(key, wanted)| {
        let object = store.get(key.kind, &key.namespace, &key.name)?;
        // Routes of other controllers are not spoken of.
        let silent = wanted["parents"].as_array().is_some_and(Vec::is_empty) && !is_told(object);
        (!silent).then(|| (key.clone(), status(object, wanted.clone())))
    });
    // A route that is attached to nothing here any more is told so.
    let left = ROUTES.into_iter().flat_map(|kind| store.of_kind(kind)).filter(|object| is_told(object));
    let left = left.filter(|object| !wanted.contains_key(&object.key()));
    told.chain(left.map(|object| (object.key(), status(object, json!({"parents": []}))))).collect()
}

fn revision(object: &Object) -> Option<String> {
    object.meta.labels.get(label::REV).cloned()
}

/// Whether a route has a status of this controller.
fn is_told(object: &Object) -> bool {
    let parents = object.status.as_ref().and_then(|status| status["parents"].as_array());
    parents.is_some_and(|parents| parents.iter().any(|parent| parent["controllerName"] == CONTROLLER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_api::mesh::MeshConfig;
    use tiphys_compile::Settings;

    #[test]
    fn a_route_that_left_is_told_so() {
        let entry =
            |controller: &str| format!("{{controllerName: {controller}, parentRef: {{name: g}}, conditions: []}}");
        let route = |name: &str, controller: &str| {
            format!(
                "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}, namespace: n}}, spec: {{}}, status: {{parents: [{}]}}}}\n---\n",
                entry(controller)
            )
        };
        let text = format!(
            "{}{}{}{}",
            "{apiVersion: v1, kind: Namespace, metadata: {name: n, labels: {istio.io/rev: blue}}}\n---\n",
            route("ours", CONTROLLER),
            route("others", "example.com/other"),
            "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: istio}, spec: {controllerName: istio.io/gateway-controller}}"
        );
        let mut compiler = Compiler::new(&MeshConfig::default(), Settings::default());
        for parsed in tiphys_api::parse_yaml(&text, None) {
            let object = parsed.unwrap().object;
            compiler.apply(object.key(), Some(Arc::new(object)));
        }
        compiler.snapshot();
        let (out, wanted) = watch::channel(Wanted::default());
        let mut statuses = Statuses::new(out);
        statuses.tell(&compiler, false);
        let revisions: Vec<Option<String>> = wanted.borrow().values().map(|status| status.revision.clone()).collect();
        assert_eq!(revisions, [None, Some("blue".to_owned())]);
        let told: Vec<(String, Value)> =
            wanted.borrow().iter().map(|(key, status)| (key.name.clone(), status.wanted.clone())).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!((told[0].0.as_str(), told[0].1["conditions"][0]["status"].as_str()), ("istio", Some("True")));
        assert_eq!(told[1], ("ours".to_owned(), json!({"parents": []})));
    }
}
