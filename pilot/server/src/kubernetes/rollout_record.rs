// SPDX-License-Identifier: Apache-2.0
//! What the replicas tell each other of changes of mutual TLS ([`crate::rollout::replicas`]): an entry for each in one ConfigMap of the system
//! namespace, each written by its own replica. Entries of replicas that are no more stay until a change is over: they say what clients act on.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use tiphys_compile::security::Rollout;
use tokio::sync::watch;
use tokio_stream::StreamExt;

use super::Cluster;
use super::live_pods::LivePodIndex;
use crate::cli::ServeArgs;
use crate::rollout::Rollouts;
use crate::rollout::replicas::{self, Entries, Entry, Reached, Replicas};
use crate::settings::Settings;
use crate::tasks::Tasks;

/// Name of the ConfigMap.
const NAME: &str = "tiphys-mtls-rollout";
/// How long a start waits for what others said.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time between two tries.
const AGAIN: Duration = Duration::from_secs(1);
/// An entry this long is written without what clients act on: an object holds 1 MiB.
const LONGEST: usize = 200_000;

/// The ConfigMap, for one replica.
#[derive(Clone)]
pub struct RolloutRecord {
    /// The API server.
    pub client: Client,
    /// The system namespace.
    pub namespace: String,
    /// Name of this replica.
    pub own: String,
    /// Who of them lives.
    pub pods: LivePodIndex,
}

impl RolloutRecord {
    /// The one of this process.
    pub fn new(cluster: &Cluster, args: &ServeArgs, settings: &Settings, pods: LivePodIndex) -> Self {
        let (client, namespace) = (cluster.client.clone(), args.namespace.clone());
        Self { client, namespace, own: settings.instance.clone(), pods }
    }

    /// Takes up what replicas said, and goes along with them from now on.
    pub async fn join(self, rollouts: Rollouts, rollout: &mut Rollout, tasks: &mut Tasks) -> Rollouts {
        let entries = match tokio::time::timeout(PATIENCE, self.read()).await {
            Ok(Ok(entries)) => entries,
            Ok(Err(error)) => {
                tracing::warn!(
                    "mutual TLS: ConfigMap {NAME} cannot be read, clients are taken to act on what is wanted: {error}"
                );
                Entries::new()
            }
            Err(_) => {
                tracing::warn!(
                    "mutual TLS: ConfigMap {NAME} was not read in {PATIENCE:?}, clients are taken to act on what is wanted"
                );
                Entries::new()
            }
        };
        let acted = replicas::acted(&entries);
        let resumes = !acted.is_empty();
        rollout.resume(acted);
        let (tell, told) = watch::channel(Arc::new(entries));
        let (say, said) = watch::channel(None);
        let (own, namespace, pods) = (self.own.clone(), self.namespace.clone(), self.pods.clone());
        tasks.spawn("mutual TLS of replicas", async move {
            self.run(tell, said).await;
            // The watch is over: the control plane stops.
            std::future::pending().await
        });
        rollouts.with_replicas(Replicas { own, namespace, entries: told, say, pods }, resumes)
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What replicas said last, also those that are no more.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn read(&self) -> kube::Result<Entries> {
        let list = self.api().list(&ListParams::default().fields(&format!("metadata.name={NAME}"))).await?;
        Ok(list.items.first().map(entries).unwrap_or_default())
    }

    /// Follows what replicas say, and writes what this one does, for as long as it is polled.
    pub async fn run(self, told: watch::Sender<Arc<Entries>>, mut said: watch::Receiver<Option<Entry>>) {
        let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        let mut events = pin!(watcher(self.api(), config).default_backoff());
        let mut again = false;
        loop {
            let wait = async {
                match again {
                    true => tokio::time::sleep(AGAIN).await,
                    // Without a sender nothing more is said.
                    false => match said.changed().await {
                        Ok(()) => {}
                        Err(_) => std::future::pending().await,
                    },
                }
            };
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) => {
                        let entries = entries(&object);
                        // Somebody took this one for gone.
                        again |= said.borrow().is_some() && !entries.contains_key(&self.own);
                        told.send_replace(Arc::new(entries));
                    }
                    Some(Ok(watcher::Event::Delete(_))) => drop(told.send_replace(Arc::default())),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => tracing::warn!("mutual TLS of other replicas: ConfigMap {NAME}: {error}"),
                    None => return,
                },
                () = wait => {
                    let entry = said.borrow_and_update().clone();
                    let Some(entry) = entry else { continue };
                    let known = told.borrow().clone();
                    let written = self.write(&entry, &known).await;
                    again = written.is_err();
                    if let Err(error) = written {
                        tracing::warn!("mutual TLS: ConfigMap {NAME} cannot be written, other replicas wait in vain: {error}");
                    }
                }
            }
        }
    }

    /// Writes what this one says; once it is done, without those that are no more.
    async fn write(&self, entry: &Entry, known: &Entries) -> kube::Result<()> {
        let over = known.keys().filter(|name| **name != self.own && !self.pods.has(&self.namespace, name));
        let mut data: BTreeMap<&str, Value> = BTreeMap::new();
        if entry.reached == Reached::All {
            data.extend(over.map(|name| (name.as_str(), Value::Null)));
        }
        data.insert(&self.own, text(entry).into());
        let patch = json!({"data": data});
        let api = self.api();
        match api.patch_metadata(NAME, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                data.retain(|_, text| !text.is_null());
                let object = json!({"metadata": {"name": NAME, "namespace": self.namespace}, "data": data});
                match serde_json::from_value(object) {
                    Ok(object) => api.create(&Default::default(), &object).await.map(drop),
                    Err(error) => Err(kube::Error::SerdeError(error)),
                }
            }
            other => other.map(drop),
        }
    }
}

fn text(entry: &Entry) -> String {
    // An entry has nothing that JSON cannot hold.
    let whole = serde_json::to_string(entry).unwrap_or_default();
    if whole.len() <= LONGEST {
        return whole;
    }
    serde_json::to_string(&Entry { acted: Vec::new(), ..entry.clone() }).unwrap_or_default()
}

/// What can be understood of the ConfigMap.
fn entries(object: &ConfigMap) -> Entries {
    let data = object.data.iter().flatten();
    data.filter_map(|(name, text)| match serde_json::from_str(text) {
        Ok(entry) => Some((name.clone(), entry)),
        Err(error) => {
            tracing::warn!("mutual TLS of other replicas: ConfigMap {NAME}, {name}: {error}");
            None
        }
    })
    .collect()
}
