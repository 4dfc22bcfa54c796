// SPDX-License-Identifier: Apache-2.0
//! Locks in the API server: ConfigMaps and Leases, written by resourceVersion.

use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_util::task::AbortOnDropHandle;

use super::elector::{Lock, LockError};
use super::record::{ANNOTATION, HOLDER_KEY, Record};

/// A watch is begun anew after this time, and after a failure.
const WATCH: u32 = 290;
const AGAIN: Duration = Duration::from_secs(5);

/// An object that can hold a [`Record`].
pub trait Holds:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// What it says.
    ///
    /// # Errors
    /// When it cannot be understood.
    fn record(&self) -> Result<Record, String>;

    /// Makes it say something else.
    fn set(&mut self, record: &Record);

    /// An object without a record.
    fn empty(name: &str, namespace: &str) -> Self;
}

fn meta(name: &str, namespace: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() }
}

impl Holds for ConfigMap {
    fn record(&self) -> Result<Record, String> {
        match self.annotations().get(ANNOTATION) {
            Some(text) => serde_json::from_str(text).map_err(|error| format!("annotation {ANNOTATION}: {error}")),
            None => Ok(Record::default()),
        }
    }

    fn set(&mut self, record: &Record) {
        // A record has nothing that JSON cannot hold.
        let text = serde_json::to_string(record).unwrap_or_default();
        self.annotations_mut().insert(ANNOTATION.into(), text);
    }

    fn empty(name: &str, namespace: &str) -> Self {
        Self { metadata: meta(name, namespace), ..Self::default() }
    }
}

impl Holds for Lease {
    fn record(&self) -> Result<Record, String> {
        let spec = self.spec.clone().unwrap_or_default();
        Ok(Record {
            holder_identity: spec.holder_identity.unwrap_or_default(),
            holder_key: self.annotations().get(HOLDER_KEY).cloned().unwrap_or_default(),
            lease_duration_seconds: spec.lease_duration_seconds.unwrap_or_default(),
            acquire_time: spec.acquire_time.and_then(|time| from_micro(&time)),
            renew_time: spec.renew_time.and_then(|time| from_micro(&time)),
            leader_transitions: spec.lease_transitions.unwrap_or_default(),
        })
    }

    fn set(&mut self, record: &Record) {
        if record.holder_key.is_empty() {
            self.annotations_mut().remove(HOLDER_KEY);
        } else {
            self.annotations_mut().insert(HOLDER_KEY.into(), record.holder_key.clone());
        }
        self.spec = Some(LeaseSpec {
            holder_identity: Some(record.holder_identity.clone()),
            lease_duration_seconds: Some(record.lease_duration_seconds),
            acquire_time: record.acquire_time.and_then(to_micro),
            renew_time: record.renew_time.and_then(to_micro),
            lease_transitions: Some(record.leader_transitions),
            ..LeaseSpec::default()
        });
    }

    fn empty(name: &str, namespace: &str) -> Self {
        Self { metadata: meta(name, namespace), ..Self::default() }
    }
}

fn from_micro(time: &MicroTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(time.0.as_second()).ok()
}

fn to_micro(time: OffsetDateTime) -> Option<MicroTime> {
    Timestamp::from_second(time.unix_timestamp()).ok().map(MicroTime)
}

/// A lock that is an object of the API server.
pub struct ObjectLock<K> {
    api: Api<K>,
    name: String,
    namespace: String,
    /// The version that a watch saw last, and the one that was read or written last.
    watched: watch::Receiver<Option<String>>,
    known: watch::Sender<Option<String>>,
    _watch: AbortOnDropHandle<()>,
}

impl<K: Holds> ObjectLock<K> {
    /// A lock by name. It is watched, so that whoever waits for it needs not to ask.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        let api: Api<K> = Api::namespaced(client, namespace);
        let (seen, watched) = watch::channel(None);
        let task = tokio::spawn(follow(api.clone(), name.to_owned(), seen));
        Self {
            api,
            name: name.into(),
            namespace: namespace.into(),
            watched,
            known: watch::Sender::new(None),
            _watch: AbortOnDropHandle::new(task),
        }
    }

    fn note(&self, object: &K) {
        self.known.send_replace(object.resource_version());
    }
}

/// Tells of each version of the object.
async fn follow<K: Holds>(api: Api<K>, name: String, seen: watch::Sender<Option<String>>) {
    let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(WATCH);
    loop {
        let mut failed = false;
        match api.watch(&params, "0").await {
            Ok(events) => {
                let mut events = std::pin::pin!(events);
                while let Some(event) = events.next().await {
                    match event {
                        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) => {
                            seen.send_replace(object.resource_version());
                        }
                        Ok(WatchEvent::Bookmark(_)) => {}
                        Ok(WatchEvent::Error(_)) | Err(_) => {
                            failed = true;
                            break;
                        }
                    }
                }
            }
            Err(error) => {
                tracing::debug!("cannot watch lock {name}: {error}");
                failed = true;
            }
        }
        if failed {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn failed(error: kube::Error) -> LockError {
    match &error {
        kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => LockError::Conflict,
        // It was deleted in between.
        kube::Error::Api(status) if status.is_not_found() => LockError::Conflict,
        _ => LockError::Failed(error.to_string()),
    }
}

#[tonic::async_trait]
impl<K: Holds> Lock for ObjectLock<K> {
    type Object = K;

    fn name(&self) -> String {
        format!("{} {}/{}", K::kind(&()), self.namespace, self.name)
    }

    async fn read(&self) -> Result<Option<(K, Record)>, LockError> {
        let Some(object) = self.api.get_opt(&self.name).await.map_err(|e| LockError::Failed(e.to_string()))? else {
            return Ok(None);
        };
        self.note(&object);
        let record = object.record().map_err(LockError::Failed)?;
        Ok(Some((object, record)))
    }

    async fn write(&self, seen: Option<K>, record: &Record) -> Result<K, LockError> {
        let params = PostParams::default();
        let written = match seen {
            Some(mut object) => {
                object.set(record);
                self.api.replace(&self.name, &params, &object).await
            }
            None => {
                let mut object = K::empty(&self.name, &self.namespace);
                object.set(record);
                self.api.create(&params, &object).await
            }
        };
        let written = written.map_err(failed)?;
        self.note(&written);
        Ok(written)
    }

    async fn changed(&self) {
        let mut watched = self.watched.clone();
        let differs = |version: &Option<String>| version.is_some() && *version != *self.known.borrow();
        if watched.wait_for(differs).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
