// SPDX-License-Identifier: Apache-2.0
//! A Kubernetes cluster as a source.
//!
//! The way of the data: each kind is watched by a task ([`watch`]), which decodes objects without what the mesh never reads ([`prune`], [`item`]);
//! one loop puts what they tell together ([`held`]) and gives it on. Kinds that are defined by CustomResourceDefinitions are watched while
//! these are there ([`definitions`]). When the API server is away, what is known stays in force ([`health`]).

mod definitions;
mod health;
mod held;
mod item;
mod prune;
mod text;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kube::Client;
use tiphys_api::{Key, Kind};
use tokio::sync::{mpsc, watch as channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::{Running, Sink, Source, SourceError};
use definitions::{Definitions, is_defined};
pub use health::{Health, WatchHealth};
use held::Held;
use item::Name;
pub use text::ConfigMapText;
use watch::{Message, News, Shared, Wait, What};

/// Messages that wait for the loop, and that it takes at once.
const MESSAGES: usize = 512;
/// Kinds that are watched by name.
const BY_NAME: [Kind; 2] = [Kind::Secret, Kind::ConfigMap];
/// Kinds that are not read from a cluster: Kubernetes mirrors Endpoints into EndpointSlices; the others are about several clusters.
const NOT_READ: [Kind; 3] = [Kind::Endpoints, Kind::ServiceExport, Kind::ServiceImport];

/// The Secrets and ConfigMaps that are watched, each by its name; none before that is known.
pub type Wanted = Option<BTreeSet<Key>>;

/// A cluster that is watched.
pub struct KubeSource {
    client: Client,
    cluster: String,
    wanted: Option<channel::Receiver<Wanted>>,
    health: Arc<Health>,
}

impl KubeSource {
    /// A cluster by the client of its API server.
    pub fn new(client: Client, cluster: &str) -> Self {
        Self { client, cluster: cluster.to_owned(), wanted: None, health: Arc::default() }
    }

    /// Secrets and ConfigMaps are watched as long as they are in this set; without it none is. The two kinds are in sync once those of the first
    /// set were looked at: who tells it does so when all other kinds are.
    #[must_use]
    pub fn with_wanted(mut self, mut wanted: channel::Receiver<Wanted>) -> Self {
        wanted.mark_changed();
        self.wanted = Some(wanted);
        self
    }

    /// Where the source says how it does.
    #[must_use]
    pub fn with_health(mut self, health: Arc<Health>) -> Self {
        self.health = health;
        self
    }
}

impl Source for KubeSource {
    fn name(&self) -> String {
        format!("cluster {}", self.cluster)
    }

    fn run(self: Box<Self>, sink: Sink) -> Running {
        Box::pin(async move {
            tokio::select! {
                streaming = streams_lists(&self.client) => self.follow(streaming, sink).await,
                () = sink.closed() => Ok(()),
            }
        })
    }
}

/// Whether the server can stream full pictures, as those of 1.32 and later do by default; waits until it answers.
async fn streams_lists(client: &Client) -> bool {
    let mut wait = Wait::default();
    let mut said = false;
    loop {
        match client.apiserver_version().await {
            Ok(version) => {
                tracing::info!(target: "kube", "the API server is Kubernetes {}", version.git_version);
                let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>();
                let version = (number(&version.major), number(&version.minor));
                return matches!(version, (Ok(major), Ok(minor)) if (major, minor) >= (1, 32));
            }
            Err(error) if said => tracing::debug!(target: "kube", "the API server does not answer: {error}"),
            Err(error) => {
                tracing::warn!(target: "kube", "the API server does not answer: {error}: it is asked again");
                said = true;
            }
        }
        sleep(wait.next()).await;
    }
}

impl KubeSource {
    async fn follow(self, streaming: bool, sink: Sink) -> Result<(), SourceError> {
        let (out, mut inbox) = mpsc::channel(MESSAGES);
        let streaming = Arc::new(AtomicBool::new(streaming));
        let shared = Shared { client: self.client, health: self.health, streaming, out };
        let mut cluster = Watched {
            shared,
            held: Held::new(&format!("cluster {}", self.cluster)),
            definitions: Definitions::default(),
            feeds: BTreeMap::new(),
            running: JoinSet::new(),
            started: 0,
            first: First::Untold,
        };
        cluster.begin();
        let mut wanted = self.wanted;
        if wanted.is_none() {
            cluster.want(&BTreeSet::new());
        }
        loop {
            let batch = cluster.held.settle();
            if !batch.is_empty() && sink.send(batch).await.is_err() {
                return Ok(());
            }
            tokio::select! {
                Some(message) = inbox.recv() => {
                    cluster.take(message);
                    for _ in 0..MESSAGES {
                        let Ok(message) = inbox.try_recv() else { break };
                        cluster.take(message);
                    }
                }
                set = next_wanted(&mut wanted) => cluster.want(&set),
                Some(Err(error)) = cluster.running.join_next() => if error.is_panic() {
                    return Err(SourceError::Stopped(error.to_string()));
                },
                () = sink.closed() => return Ok(()),
            }
        }
    }
}

/// The set of wanted objects, once it changed.
async fn next_wanted(wanted: &mut Option<channel::Receiver<Wanted>>) -> BTreeSet<Key> {
    if let Some(receiver) = wanted {
        while receiver.changed().await.is_ok() {
            if let Some(set) = receiver.borrow_and_update().clone() {
                return set;
            }
        }
    }
    // Nobody can want anything any more: what is watched stays so.
    *wanted = None;
    std::future::pending().await
}

/// A watch that runs.
struct Feed {
    what: What,
    task: AbortHandle,
    /// Of a single object: it was seen since its picture began.
    seen: bool,
}

/// How far the objects of the first set that was wanted are.
enum First {
    /// It is not known yet.
    Untold,
    /// These were not looked at yet.
    Waiting(BTreeSet<u64>),
    /// All were, and the kinds are in sync.
    Done,
}

struct Watched {
    shared: Shared,
    held: Held,
    definitions: Definitions,
    feeds: BTreeMap<u64, Feed>,
    running: JoinSet<()>,
    /// How many watches were started: each has a number, so that late news of those that were stopped are known as such.
    started: u64,
    first: First,
}

impl Watched {
    fn begin(&mut self) {
        NOT_READ.into_iter().for_each(|kind| self.held.absent(kind));
        let listed = |kind: &Kind| !BY_NAME.contains(kind) && !NOT_READ.contains(kind);
        for kind in Kind::ALL.iter().filter(|kind| !is_defined(**kind) && listed(kind)) {
            self.start(What::Kind(*kind, kind.info().versions[0]));
        }
        self.start(What::Definitions);
    }

    fn start(&mut self, what: What) {
        self.started += 1;
        let task = self.running.spawn(self.shared.clone().watch(self.started, what.clone()));
        self.feeds.insert(self.started, Feed { what, task, seen: false });
    }

    /// Stops the watches that are no longer wanted.
    fn stop(&mut self, over: impl Fn(&What) -> bool) {
        let health = self.shared.health.clone();
        self.feeds.retain(|_, feed| {
            let over = over(&feed.what);
            if over {
                feed.task.abort();
                health.stopped(&feed.what.label());
            }
            !over
        });
    }

    fn take(&mut self, (number, news): Message) {
        let Some(feed) = self.feeds.get_mut(&number) else { return };
        match (&feed.what, news) {
            (What::Definitions, news) => {
                match news {
                    News::Begin => self.definitions.begin(),
                    News::Defined((_, name), value) => self.definitions.put(name, value),
                    News::Gone((_, name)) => self.definitions.remove(&name),
                    News::End => self.definitions.end(),
                    News::Is(_) | News::Refused => {}
                }
                self.install();
            }
            (_, News::Defined(..)) | (What::Kind(..), News::Refused) => {}
            (What::Kind(kind, _), News::Begin) => self.held.begin(*kind),
            (What::Kind(kind, _), News::End) => self.held.end(*kind),
            (What::One(..), News::Begin) => feed.seen = false,
            (What::One(kind, name), News::End) => {
                if !feed.seen {
                    self.held.remove(*kind, name);
                }
                self.looked(number);
            }
            // It may not be read: that is told, and no reason to wait.
            (What::One(..), News::Refused) => self.looked(number),
            (_, News::Is(document)) => {
                feed.seen = true;
                self.held.put(document);
            }
            (What::Kind(kind, _) | What::One(kind, _), News::Gone(name)) => self.held.remove(*kind, &name),
        }
    }

    /// Watches the kinds that are there, and no others.
    fn install(&mut self) {
        let Some(installed) = self.definitions.installed() else { return };
        let mut watched: BTreeMap<Kind, &'static str> = BTreeMap::new();
        for feed in self.feeds.values() {
            if let What::Kind(kind, version) = &feed.what {
                watched.insert(*kind, version);
            }
        }
        for kind in Kind::ALL.iter().copied().filter(|kind| is_defined(*kind) && !NOT_READ.contains(kind)) {
            match (watched.get(&kind), installed.get(&kind)) {
                (before, Some(now)) if before != Some(now) => {
                    self.stop(|what| matches!(what, What::Kind(of, _) if *of == kind));
                    tracing::debug!(target: "kube", "{kind} is read in {now}");
                    self.start(What::Kind(kind, now));
                }
                (Some(_), None) => {
                    self.stop(|what| matches!(what, What::Kind(of, _) if *of == kind));
                    tracing::info!(target: "kube", "{}.{} is no longer installed", kind.info().plural, kind.group());
                    self.held.absent(kind);
                }
                (None, None) => self.held.missing(kind),
                _ => {}
            }
        }
    }

    /// An object that was wanted was looked at.
    fn looked(&mut self, number: u64) {
        if let First::Waiting(waiting) = &mut self.first {
            waiting.remove(&number);
            if waiting.is_empty() {
                self.held.synced([Kind::Secret, Kind::ConfigMap]);
                self.first = First::Done;
            }
        }
    }

    /// Watches the Secrets and ConfigMaps of a set, and no others.
    fn want(&mut self, wanted: &BTreeSet<Key>) {
        let of = |key: &Key| (key.kind, (key.namespace.clone(), key.name.clone()));
        let wanted: BTreeSet<(Kind, Name)> = wanted.iter().map(of).collect();
        let mut watched = BTreeSet::new();
        for feed in self.feeds.values() {
            if let What::One(kind, name) = &feed.what {
                watched.insert((*kind, name.clone()));
            }
        }
        for (kind, name) in watched.difference(&wanted) {
            self.stop(|what| matches!(what, What::One(of, named) if of == kind && named == name));
            self.held.remove(*kind, name);
        }
        for (kind, name) in wanted.difference(&watched) {
            self.start(What::One(*kind, name.clone()));
        }
        match &mut self.first {
            First::Untold => {
                let numbers = self.feeds.iter().filter(|(_, feed)| matches!(feed.what, What::One(..)));
                self.first = First::Waiting(numbers.map(|(number, _)| *number).collect());
            }
            First::Waiting(waiting) => waiting.retain(|number| self.feeds.contains_key(number)),
            First::Done => {}
        }
        // None may be left to wait for.
        self.looked(0);
    }
}
