// SPDX-License-Identifier: Apache-2.0
//! What the webhooks have of the cluster: their configurations in it, and what injection has to know of nodes and namespaces.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tiphys_webhook::admission::{Admission, NativeSidecars};
use tiphys_webhook::registration::Registration;
use tokio::sync::watch;
use tokio_stream::StreamExt;

use super::Parts;
use super::election::{Elections, Work};
use crate::tasks::Tasks;
use crate::trust::Trust;
use crate::webhooks::Webhooks;

/// Starts what the webhooks need of a cluster. One replica of a revision writes their configurations.
pub fn start(parts: &mut Parts<'_>, webhooks: &Webhooks, elections: &Elections) {
    let (args, settings, client) = (parts.args, parts.settings, parts.cluster.client.clone());
    let admission = &webhooks.admission;
    if args.transport.tls_cert_file.is_some() {
        tracing::warn!(
            target: "webhook",
            "with --tlsCertFile the caBundle of the webhooks' configurations is not written: set base.validationCABundle and \
             istiodRemote.injectionCABundle in the values of the charts"
        );
    } else {
        let registration = Registration {
            client: client.clone(),
            namespace: args.namespace.clone(),
            revision: settings.revision.clone(),
            roots: roots(parts.trust, parts.tasks),
            metrics: admission.metrics().clone(),
        };
        let leads = elections.join(Work::Webhooks, parts.tasks);
        parts.tasks.spawn("webhook configurations", async move {
            registration.run(leads).await;
            Ok(())
        });
    }
    if settings.native_sidecars == NativeSidecars::Auto {
        follow(
            parts.tasks,
            "nodes",
            client.clone(),
            admission.clone(),
            |node: &Node| {
                let status = node.status.as_ref()?;
                Some(status.node_info.as_ref()?.kubelet_version.clone())
            },
            |admission, kubelets| admission.update_surroundings(|known| known.kubelets = kubelets.clone()),
        );
    }
    if settings.openshift {
        follow(
            parts.tasks,
            "namespaces",
            client,
            admission.clone(),
            |namespace: &Namespace| {
                let ranges = |name: &&String| name.starts_with("openshift.io/sa.scc.");
                let annotations = namespace.annotations().iter().filter(|(name, _)| ranges(name));
                Some(annotations.map(|(name, value)| (name.clone(), value.clone())).collect::<BTreeMap<_, _>>())
            },
            |admission, namespaces| admission.update_surroundings(|known| known.namespaces = namespaces.clone()),
        );
    }
}

/// The mesh's roots in PEM.
fn roots(trust: &Trust, tasks: &mut Tasks) -> watch::Receiver<Arc<str>> {
    let mut bundles = trust.roots.clone();
    let (told, roots) = watch::channel(Arc::from(bundles.borrow_and_update().pem()));
    tasks.spawn("roots of webhooks", async move {
        while bundles.changed().await.is_ok() {
            let pem: Arc<str> = Arc::from(bundles.borrow_and_update().pem());
            told.send_if_modified(|known| {
                *known != pem && {
                    *known = pem;
                    true
                }
            });
        }
        // Whoever tells of roots lives as long as the control plane.
        std::future::pending().await
    });
    roots
}

/// Keeps what `read` takes from each object of a kind, and tells all of it whenever it changes.
fn follow<K, V>(
    tasks: &mut Tasks,
    name: &'static str,
    client: Client,
    admission: Arc<Admission>,
    read: fn(&K) -> Option<V>,
    tell: fn(&Admission, Arc<BTreeMap<String, V>>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    V: Clone + PartialEq + Send + Sync + 'static,
{
    tasks.spawn(name, async move {
        let mut events = pin!(watcher(Api::<K>::all(client), watcher::Config::default()).default_backoff());
        let (mut known, mut listed) = (BTreeMap::new(), BTreeMap::new());
        while let Some(event) = events.next().await {
            let before = known.clone();
            match event {
                Ok(watcher::Event::Apply(object)) => match read(&object) {
                    Some(value) => drop(known.insert(object.name_any(), value)),
                    None => drop(known.remove(&object.name_any())),
                },
                Ok(watcher::Event::Delete(object)) => drop(known.remove(&object.name_any())),
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    listed.extend(read(&object).map(|value| (object.name_any(), value)));
                }
                Ok(watcher::Event::InitDone) => known = std::mem::take(&mut listed),
                Err(error) => {
                    tracing::warn!(target: "webhook", "{name}: {error}: what is known of them stays in force")
                }
            }
            if known != before {
                tell(&admission, Arc::new(known.clone()));
            }
        }
        Ok(())
    });
}
