// SPDX-License-Identifier: Apache-2.0
//! What becomes of a push: who was sent what, who took it and when. Metrics, and one line of the log for each push.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tiphys_api::{Key, Kind};
use tiphys_model::ProxyNode;
use tiphys_view::{Observer, Pushed};
use tiphys_xds::{Answer, OtherRequest, Peer, ResourceType, StreamEvent};
use tokio::time::Instant;

use crate::debug::ads::Asker;
use crate::metrics::Metrics;

/// A push is reported when all its proxies took it, or after this time.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many changes a line names.
const NAMED: usize = 3;

/// Pushes that are under way.
pub struct Pushes {
    metrics: Arc<Metrics>,
    open: Mutex<VecDeque<Push>>,
}

#[derive(Debug)]
struct Push {
    generation: u64,
    what: What,
    /// When the first of its changes came.
    since: Instant,
    pushed: Pushed,
    took: usize,
    refused: usize,
}

impl Push {
    fn is_done(&self) -> bool {
        self.took + self.refused >= self.pushed.changed
    }

    fn report(&self, now: Instant) {
        let Pushed { connected, changed } = self.pushed;
        let time = millis(now - self.since);
        let what = &self.what.names;
        match (changed, self.refused, changed.saturating_sub(self.took + self.refused)) {
            (0, _, _) if self.what.routine => {
                tracing::debug!(target: "push", "{what}: nothing changed for {connected} proxies, {time}");
            }
            (0, _, _) if connected == 0 => tracing::info!(target: "push", "{what}: no proxies are connected, {time}"),
            (0, _, _) => tracing::info!(target: "push", "{what}: nothing changed for {connected} proxies, {time}"),
            (_, 0, 0) => tracing::info!(target: "push", "{what}: pushed to {changed} of {connected} proxies in {time}"),
            (_, refused, missing) => tracing::warn!(
                target: "push",
                "{what}: pushed to {changed} of {connected} proxies; after {time} {} took it, {refused} refused it, {missing} did not answer yet",
                self.took
            ),
        }
    }
}

/// Milliseconds with one digit where that says more than none.
fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

/// What a push is about.
#[derive(Clone, Debug)]
pub struct What {
    /// Names of what changed: a few, and how many more.
    pub names: String,
    /// Whether nobody wrote it by hand: a cluster's own objects change all the time, mostly without effect on any proxy.
    pub routine: bool,
}

impl What {
    /// What is pushed when these changed; `mesh` says whether MeshConfig did.
    pub fn changed<'a>(keys: impl IntoIterator<Item = &'a Key>, mesh: bool) -> Self {
        let keys: BTreeSet<&Key> = keys.into_iter().collect();
        let by_itself = [Kind::Pod, Kind::EndpointSlice, Kind::Endpoints, Kind::Node, Kind::ServiceAccount];
        let routine = !mesh && keys.iter().all(|key| by_itself.contains(&key.kind));
        Self { names: names(&keys, mesh), routine }
    }

    /// Nothing changed: it is the first push.
    pub fn first() -> Self {
        Self { names: "the first picture".to_owned(), routine: false }
    }

    /// Nothing changed: it is the next step of a change of mutual TLS.
    pub fn next_step() -> Self {
        Self { names: "the next step of mutual TLS".to_owned(), routine: false }
    }

    /// Tells that no push was needed.
    pub fn had_no_effect(&self, after: Duration) {
        let (what, time) = (&self.names, millis(after));
        match self.routine {
            true => tracing::debug!(target: "push", "{what}: nothing changed for any proxy, {time}"),
            false => tracing::info!(target: "push", "{what}: nothing changed for any proxy, {time}"),
        }
    }
}

fn names(keys: &BTreeSet<&Key>, mesh: bool) -> String {
    let mut names: Vec<String> = mesh.then(|| "MeshConfig".to_owned()).into_iter().collect();
    names.extend(keys.iter().take(NAMED).map(|key| key.to_string()));
    if keys.len() > NAMED {
        names.push(format!("and {} more", keys.len() - NAMED));
    }
    names.join(", ")
}

impl Pushes {
    /// No pushes yet.
    pub fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { metrics, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, VecDeque<Push>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A push is about to begin: proxies may take it before all are told.
    pub fn begin(&self, generation: u64, what: What, since: Instant) {
        let unknown = Pushed { connected: 0, changed: usize::MAX };
        self.open().push_back(Push { generation, what, since, pushed: unknown, took: 0, refused: 0 });
    }

    /// All proxies were told.
    pub fn told(&self, generation: u64, pushed: Pushed) {
        if let Some(push) = self.open().iter_mut().find(|p| p.generation == generation) {
            push.pushed = pushed;
        }
        self.close(Instant::now());
    }

    /// When a push that not everybody took is reported all the same.
    pub fn due(&self) -> Option<Instant> {
        self.open().front().map(|push| push.since + PATIENCE)
    }

    /// Reports pushes that are done, or waited for long enough.
    pub fn close(&self, now: Instant) {
        self.open().retain(|push| {
            let over = push.is_done() || (push.pushed.changed != usize::MAX && now >= push.since + PATIENCE);
            if over {
                push.report(now);
            }
            !over
        });
    }

    fn took(&self, generation: u64) {
        let now = Instant::now();
        let mut open = self.open();
        // A proxy that jumped to a later push took the earlier ones as well.
        if let Some(oldest) = open.iter().find(|p| p.generation <= generation) {
            self.metrics.convergence.observe((now - oldest.since).as_secs_f64());
        }
        open.iter_mut().filter(|p| p.generation <= generation).for_each(|p| p.took += 1);
        drop(open);
        self.close(now);
    }

    fn refused(&self) {
        if let Some(push) = self.open().front_mut() {
            push.refused += 1;
        }
        self.close(Instant::now());
    }
}

/// What [`tiphys_view::Views`] tells: to the pushes, the metrics and those who answer debug requests.
pub struct Told {
    /// Pushes under way.
    pub pushes: Arc<Pushes>,
    /// Asks for debug pages.
    pub asker: Asker,
}

impl Observer for Told {
    fn connected(&self, node: &ProxyNode) {
        self.pushes.metrics.xds_clients.with_label_values(&[version(node)]).inc();
        tracing::info!(target: "ads", "{} connected", node.id);
    }

    fn disconnected(&self, node: &ProxyNode) {
        self.pushes.metrics.xds_clients.with_label_values(&[version(node)]).dec();
        tracing::info!(target: "ads", "{} disconnected", node.id);
    }

    fn stream(&self, node: &ProxyNode, event: &StreamEvent<'_>) {
        let metrics = &self.pushes.metrics;
        match event {
            StreamEvent::Sent { ty, resources, removed, bytes, .. } => {
                metrics.pushes.with_label_values(&[ty.short()]).inc();
                // Lengths stay far below 2^52.
                #[allow(clippy::cast_precision_loss)]
                metrics.config_size.with_label_values(&[ty.url()]).observe(*bytes as f64);
                tracing::debug!(target: "ads", "{}: {} was sent {resources} resources, {removed} removals, {bytes} bytes", ty.short().to_uppercase(), node.id);
            }
            StreamEvent::Nacked { ty, error, code, .. } => {
                metrics.rejects.with_label_values(&[ty.short()]).inc();
                tracing::warn!(target: "ads", "{}: {} refuses what it was sent (code {code}): {error}", ty.short().to_uppercase(), node.id);
                self.pushes.refused();
            }
            StreamEvent::Stale { ty } => metrics.expired_nonce.with_label_values(&[ty.short()]).inc(),
            StreamEvent::Synced { generation } => self.pushes.took(*generation),
            StreamEvent::Refused { type_url } => {
                tracing::warn!(target: "ads", "{} asks for {type_url}, which it is not served", node.id);
            }
            StreamEvent::Written { took } => metrics.send_time.observe(took.as_secs_f64()),
            StreamEvent::Subscribed { .. } | StreamEvent::Acked { .. } | StreamEvent::Kept { .. } => {}
        }
    }

    fn made(&self, ty: ResourceType, took: Duration) {
        self.pushes.metrics.push_time.with_label_values(&[ty.short()]).observe(took.as_secs_f64());
    }

    fn woken(&self, after: Duration) {
        self.pushes.metrics.queue_time.observe(after.as_secs_f64());
    }

    fn secret_missing(&self, node: &ProxyNode, name: &str) {
        self.pushes.metrics.missing_secrets.inc();
        tracing::debug!(target: "ads", "{} asks for secret {name}, which is not there or not for it", node.id);
    }

    fn other(&self, _: &ProxyNode, peer: &Peer, request: &OtherRequest<'_>) -> Answer {
        self.asker.ask(peer, request)
    }
}

fn version(node: &ProxyNode) -> &str {
    if node.version.is_empty() { "unknown" } else { &node.version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_few_changes() {
        let key = |name: &str| Key { kind: Kind::VirtualService, namespace: "n".into(), name: name.into() };
        let keys: Vec<Key> = ["a", "b", "c", "d", "e", "a"].map(key).into();
        assert_eq!(What::changed(&keys[..1], false).names, "VirtualService n/a");
        assert_eq!(
            What::changed(&keys, true).names,
            "MeshConfig, VirtualService n/a, VirtualService n/b, VirtualService n/c, and 2 more"
        );
    }

    #[test]
    fn a_push_is_over_when_all_took_it_or_after_a_while() {
        let pushes = Pushes::new(Metrics::new().unwrap());
        let start = Instant::now();
        pushes.begin(1, What::changed([], false), start);
        pushes.took(1);
        pushes.told(1, Pushed { connected: 3, changed: 2 });
        assert_eq!(pushes.open().len(), 1, "one of two took it");
        // The other one jumps to a later push.
        pushes.begin(2, What::changed([], false), start);
        pushes.told(2, Pushed { connected: 3, changed: 2 });
        pushes.took(2);
        assert_eq!(pushes.open().iter().map(|p| p.generation).collect::<Vec<_>>(), [2]);
        pushes.refused();
        assert!(pushes.open().is_empty());
        pushes.begin(3, What::changed([], false), start);
        pushes.told(3, Pushed { connected: 3, changed: 1 });
        pushes.close(start + PATIENCE);
        assert!(pushes.open().is_empty());
        assert_eq!(pushes.metrics.convergence.get_sample_count(), 2);
    }
}
