// SPDX-License-Identifier: Apache-2.0
//! The queue of statuses that differ, and who writes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use rand::Rng;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tiphys_api::Key;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::{Status, Wanted, merge};

/// Writes that are under way at once.
const AT_ONCE: usize = 8;
/// First and longest waiting time after a write that failed.
const WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Name of this writer in the fields that it manages.
const MANAGER: &str = "tiphys-status";

/// What was written so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Statuses that were written.
    pub written: AtomicU64,
    /// Statuses that turned out to be as wanted when they were about to be written.
    pub unchanged: AtomicU64,
    /// Writes that failed, and are tried again.
    pub failed: AtomicU64,
}

/// Writes statuses while it leads.
pub struct Writer {
    client: Client,
    wanted: watch::Receiver<Wanted>,
    leads: watch::Receiver<bool>,
    counts: Arc<Counts>,
    queue: BTreeMap<Key, Entry>,
    writing: JoinSet<(Key, Result<Written, kube::Error>)>,
    /// What was written last of an object whose status, as it is known here, is still the one from before.
    done: BTreeMap<Key, Status>,
}

/// A status that waits to be written.
struct Entry {
    status: Status,
    /// When to try; none while it is being written.
    due: Option<Instant>,
    failures: u32,
}

/// What became of a write.
enum Written {
    Changed,
    Unchanged,
    /// There is no such object any more.
    Gone,
}

impl Writer {
    /// A writer that writes what is wanted while it leads.
    pub fn new(client: Client, wanted: watch::Receiver<Wanted>, leads: watch::Receiver<bool>) -> Self {
        let (counts, queue, writing) = (Arc::default(), BTreeMap::new(), JoinSet::new());
        Self { client, wanted, leads, counts, queue, writing, done: BTreeMap::new() }
    }

    /// What was written so far.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Runs until nobody can want anything or elect anybody any more.
    pub async fn run(mut self) {
        self.wanted.mark_changed();
        loop {
            let leads = *self.leads.borrow_and_update();
            if leads {
                self.begin();
            }
            let free = leads && self.writing.len() < AT_ONCE;
            let due = self.queue.values().filter_map(|entry| entry.due).min().filter(|_| free);
            tokio::select! {
                changed = self.leads.changed() => if changed.is_err() { return },
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.take(),
                    Err(_) => return,
                },
                Some(done) = self.writing.join_next() => match done {
                    Ok((key, result)) => self.note(key, result),
                    Err(error) => tracing::error!(target: "status", "a write was lost: {error}"),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    /// Queues what differs, and forgets what no longer does.
    fn take(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let now = text_of_now();
        self.done.retain(|key, done| wanted.get(key) == Some(done));
        self.queue.retain(|key, entry| entry.due.is_none() || wanted.contains_key(key));
        for (key, status) in wanted.iter() {
            let as_wanted = merge(&status.current, &status.wanted, &now) == status.current;
            match self.queue.get_mut(key) {
                Some(entry) if entry.status != *status => {
                    // One that is being written is looked at again once it is.
                    entry.status = status.clone();
                    entry.due = entry.due.map(|_| Instant::now());
                }
                Some(_) => {}
                None if as_wanted || self.done.contains_key(key) => {}
                None => {
                    let entry = Entry { status: status.clone(), due: Some(Instant::now()), failures: 0 };
                    self.queue.insert(key.clone(), entry);
                }
            }
        }
    }

    /// Begins writes that are due.
    fn begin(&mut self) {
        let now = Instant::now();
        for (key, entry) in &mut self.queue {
            if self.writing.len() >= AT_ONCE {
                return;
            }
            if entry.due.is_some_and(|due| due <= now) {
                entry.due = None;
                let (client, key, status) = (self.client.clone(), key.clone(), entry.status.clone());
                self.writing.spawn(async move {
                    let result = write(client, &key, &status).await;
                    (key, result)
                });
            }
        }
    }

    fn note(&mut self, key: Key, result: Result<Written, kube::Error>) {
        let Some(mut entry) = self.queue.remove(&key) else { return };
        let latest = self.wanted.borrow().get(&key).cloned();
        match result {
            Ok(written) => {
                let counter = match written {
                    Written::Changed => Some(&self.counts.written),
                    Written::Unchanged => Some(&self.counts.unchanged),
                    Written::Gone => None,
                };
                if let Some(counter) = counter {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                match latest {
                    // Something else is wanted by now.
                    Some(status) if status.wanted != entry.status.wanted => {
                        let entry = Entry { status, due: Some(Instant::now()), failures: 0 };
                        self.queue.insert(key, entry);
                    }
                    Some(status) => drop(self.done.insert(key, status)),
                    None => {}
                }
            }
            Err(error) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                let conflict = matches!(&error, kube::Error::Api(status) if status.code == 409);
                if entry.failures == 0 && !conflict {
                    tracing::warn!(target: "status", "{key}: its status cannot be written: {error}: it is tried again");
                }
                let Some(status) = latest else { return };
                let wait = WAIT.0 * 2_u32.saturating_pow(entry.failures.min(10));
                let wait = wait.min(WAIT.1).mul_f64(rand::rng().random_range(0.5..=1.0));
                (entry.status, entry.due) = (status, Some(Instant::now() + wait));
                entry.failures += 1;
                self.queue.insert(key, entry);
            }
        }
    }
}

fn text_of_now() -> String {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

/// Lays a status over the one that the object has now. Another writer in between is noticed by the object's version.
async fn write(client: Client, key: &Key, status: &Status) -> Result<Written, kube::Error> {
    let api = api(client, key, &status.api_version);
    let Some(object) = api.get_opt(&key.name).await? else { return Ok(Written::Gone) };
    let before = object.data.get("status").unwrap_or(&Value::Null);
    let after = merge(before, &status.wanted, &text_of_now());
    if *before == after {
        return Ok(Written::Unchanged);
    }
    let patch = json!({"metadata": {"resourceVersion": object.metadata.resource_version}, "status": after});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(&key.name, &params, &Patch::Merge(patch)).await {
        Ok(_) => {
            tracing::debug!(target: "status", "{key}: status written");
            Ok(Written::Changed)
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Gone),
        Err(error) => Err(error),
    }
}

fn api(client: Client, key: &Key, api_version: &str) -> Api<DynamicObject> {
    let info = key.kind.info();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: info.name.to_owned(),
        plural: info.plural.to_owned(),
    };
    match info.namespaced {
        true => Api::namespaced_with(client, &key.namespace, &resource),
        false => Api::all_with(client, &resource),
    }
}
