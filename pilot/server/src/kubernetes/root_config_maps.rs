// SPDX-License-Identifier: Apache-2.0
//! The root certificate in a ConfigMap of each namespace (`istio-ca-root-cert`), by which proxies know this control plane.
//!
//! The leader alone writes. While it leads it watches namespaces and these ConfigMaps, and puts right what is missing or different. Namespaces
//! that `discoverySelectors` leave out, and those of Kubernetes' own that no workload runs in, get none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tiphys_api::LabelSelector;
use tiphys_ca::TrustBundle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_stream::StreamExt;

use super::election::{until_lost, until_won};
use crate::writer::Published;

/// The entry of the ConfigMap.
const ENTRY: &str = "root-cert.pem";
/// Namespaces without workloads of a mesh.
const IGNORED: [&str; 3] = ["kube-public", "kube-node-lease", "local-path-storage"];
/// Who writes, for the API server.
const MANAGER: &str = "tiphys-root-cert";
/// Time between two tries.
const AGAIN: Duration = Duration::from_secs(2);

/// What the writer works with.
pub struct RootConfigMaps {
    /// The API server.
    pub client: Client,
    /// Name of the ConfigMaps.
    pub name: String,
    /// The roots.
    pub roots: watch::Receiver<Arc<TrustBundle>>,
    /// The mesh's settings, of which the discovery selectors matter.
    pub published: watch::Receiver<Published>,
}

/// What is there, as the watches tell.
#[derive(Default)]
struct Seen {
    /// Labels of namespaces that are not being deleted.
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// The root in each namespace's ConfigMap.
    written: BTreeMap<String, String>,
    listed: (bool, bool),
    /// Namespaces for which a write failed, and when to try again.
    failed: BTreeMap<String, Instant>,
}

impl Seen {
    /// Namespaces whose ConfigMap is to be written.
    fn due(&self, root: &str, selectors: &[LabelSelector], now: Instant) -> BTreeSet<String> {
        // Before both are listed nothing is known to be missing.
        if self.listed != (true, true) {
            return BTreeSet::new();
        }
        let selected = |labels: &BTreeMap<String, String>| {
            selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
        };
        let wanted = |(name, labels): &(&String, &BTreeMap<String, String>)| {
            !IGNORED.contains(&name.as_str())
                && selected(labels)
                && self.written.get(*name).map(String::as_str) != Some(root)
                && self.failed.get(*name).is_none_or(|again| *again <= now)
        };
        self.namespaces.iter().filter(wanted).map(|(name, _)| name.clone()).collect()
    }

    fn namespace(&mut self, event: Event<Namespace>) {
        match event {
            Event::Init => self.namespaces.clear(),
            Event::InitApply(namespace) | Event::Apply(namespace) => {
                let name = namespace.name_any();
                let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
                if phase == Some("Terminating") || namespace.metadata.deletion_timestamp.is_some() {
                    self.namespaces.remove(&name);
                } else {
                    self.namespaces.insert(name, namespace.metadata.labels.unwrap_or_default());
                }
            }
            Event::Delete(namespace) => {
                self.namespaces.remove(&namespace.name_any());
            }
            Event::InitDone => self.listed.0 = true,
        }
    }

    fn config_map(&mut self, event: Event<ConfigMap>) {
        match event {
            Event::Init => self.written.clear(),
            Event::InitApply(map) | Event::Apply(map) => {
                let root = map.data.as_ref().and_then(|data| data.get(ENTRY)).cloned().unwrap_or_default();
                self.written.insert(map.namespace().unwrap_or_default(), root);
            }
            Event::Delete(map) => {
                self.written.remove(&map.namespace().unwrap_or_default());
            }
            Event::InitDone => self.listed.1 = true,
        }
    }
}

impl RootConfigMaps {
    /// Writes while `leads` says so.
    pub async fn run(mut self, mut leads: watch::Receiver<bool>) {
        while until_won(&mut leads).await {
            tokio::select! {
                () = self.write() => {}
                () = until_lost(&mut leads) => {}
            }
        }
    }

    async fn write(&mut self) {
        let maps: Api<ConfigMap> = Api::all(self.client.clone());
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let by_name = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut maps = std::pin::pin!(watch_objects(maps, by_name).default_backoff());
        let mut namespaces = std::pin::pin!(watch_objects(namespaces, watcher::Config::default()).default_backoff());
        let mut seen = Seen::default();
        loop {
            let now = Instant::now();
            let root = self.roots.borrow_and_update().clone();
            let mesh = self.published.borrow_and_update().mesh.clone();
            for namespace in seen.due(root.pem(), &mesh.discovery_selectors, now) {
                match self.apply(&namespace, root.pem()).await {
                    Ok(()) => {
                        seen.failed.remove(&namespace);
                        seen.written.insert(namespace, root.pem().to_owned());
                    }
                    Err(error) => {
                        tracing::warn!("ConfigMap {namespace}/{}: {error}", self.name);
                        seen.failed.insert(namespace, now + AGAIN);
                    }
                }
            }
            let again = seen.failed.values().min().copied();
            tokio::select! {
                Some(event) = namespaces.next() => match event {
                    Ok(event) => seen.namespace(event),
                    Err(error) => tracing::debug!("namespaces: {error}"),
                },
                Some(event) = maps.next() => match event {
                    Ok(event) => seen.config_map(event),
                    Err(error) => tracing::debug!("ConfigMaps {}: {error}", self.name),
                },
                _ = self.roots.changed() => {}
                _ = self.published.changed() => {}
                () = sleep_until(again.unwrap_or(now)), if again.is_some() => {}
            }
            seen.failed.retain(|namespace, _| seen.namespaces.contains_key(namespace));
        }
    }

    async fn apply(&self, namespace: &str, root: &str) -> Result<(), kube::Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name, "namespace": namespace, "labels": {"istio.io/config": "true"}},
            "data": {ENTRY: root},
        });
        match api.patch(&self.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&map)).await {
            // The namespace is gone, or about to go.
            Err(kube::Error::Api(status))
                if status.is_not_found() || status.message.contains("because it is being terminated") =>
            {
                Ok(())
            }
            other => other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::NamespaceStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn namespace(name: &str, label: Option<&str>, phase: &str) -> Namespace {
        let labels = label.map(|label| BTreeMap::from([("mesh".to_owned(), label.to_owned())]));
        let metadata = ObjectMeta { name: Some(name.into()), labels, ..ObjectMeta::default() };
        let status = NamespaceStatus { phase: Some(phase.into()), ..NamespaceStatus::default() };
        Namespace { metadata, status: Some(status), ..Namespace::default() }
    }

    fn map(namespace: &str, root: &str) -> ConfigMap {
        let metadata = ObjectMeta { namespace: Some(namespace.into()), ..ObjectMeta::default() };
        ConfigMap {
            metadata,
            data: Some(BTreeMap::from([(ENTRY.to_owned(), root.to_owned())])),
            ..ConfigMap::default()
        }
    }

    #[test]
    fn what_is_written_where() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        for (name, label, phase) in [
            ("a", Some("on"), "Active"),
            ("b", None, "Active"),
            ("c", Some("on"), "Terminating"),
            ("kube-system", None, "Active"),
            ("kube-public", None, "Active"),
        ] {
            seen.namespace(Event::InitApply(namespace(name, label, phase)));
        }
        assert!(seen.due("R", &[], now).is_empty());
        seen.namespace(Event::InitDone);
        seen.config_map(Event::InitApply(map("a", "R")));
        seen.config_map(Event::InitDone);
        let due =
            |seen: &Seen, selectors: &[LabelSelector]| seen.due("R", selectors, now).into_iter().collect::<Vec<_>>();
        assert_eq!(due(&seen, &[]), ["b", "kube-system"]);
        let on = LabelSelector { match_labels: BTreeMap::from([("mesh".into(), "on".into())]), ..Default::default() };
        assert!(due(&seen, std::slice::from_ref(&on)).is_empty());
        // Somebody deletes it, or changes it; the root changes.
        seen.config_map(Event::Delete(map("a", "R")));
        assert_eq!(due(&seen, std::slice::from_ref(&on)), ["a"]);
        seen.config_map(Event::Apply(map("a", "other")));
        assert_eq!(due(&seen, std::slice::from_ref(&on)), ["a"]);
        seen.failed.insert("a".into(), now + AGAIN);
        assert!(due(&seen, std::slice::from_ref(&on)).is_empty());
        assert_eq!(seen.due("R", &[on], now + AGAIN).len(), 1);
    }
}
