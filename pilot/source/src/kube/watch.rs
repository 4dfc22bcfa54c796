// SPDX-License-Identifier: Apache-2.0
//! One watch, for as long as it is wanted: a full picture, then what changes. Whatever fails is tried again, later and later up to a few
//! seconds, spread by chance so that not all of a mesh's control planes come at once.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::core::ApiResource;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Client};
use rand::Rng;
use serde_json::Value;
use tiphys_api::Kind;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;

use super::health::{Health, status};
use super::item::{Item, Name};
use super::prune::{Cuts, OfAny, OfDefinition, OfNode, OfPod};
use crate::Document;

/// First and longest waiting time after a failure.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(8));
/// A full picture that makes no progress in this time is asked for again.
const STALLED: Duration = Duration::from_secs(60);

/// What is watched.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// All objects of a kind, in this version.
    Kind(Kind, &'static str),
    /// One object of a kind of the core group.
    One(Kind, Name),
    /// The CustomResourceDefinitions.
    Definitions,
}

impl What {
    fn resource(&self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Kind(kind, version) => (kind.group(), *version, kind.name(), kind.info().plural),
            Self::One(kind, _) => (kind.group(), kind.info().versions[0], kind.name(), kind.info().plural),
            Self::Definitions => {
                ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
            }
        };
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }

    /// What to call it.
    pub(super) fn label(&self) -> Arc<str> {
        let ApiResource { group, plural, .. } = self.resource();
        let dot = if group.is_empty() { "" } else { "." };
        match self {
            Self::One(_, (namespace, name)) => format!("{plural}{dot}{group} {namespace}/{name}").into(),
            _ => format!("{plural}{dot}{group}").into(),
        }
    }
}

/// What a watch tells.
#[derive(Debug)]
pub(super) enum News {
    /// A full picture begins.
    Begin,
    /// An object as it is now.
    Is(Document),
    /// A definition as it is now.
    Defined(Name, Value),
    /// An object is gone.
    Gone(Name),
    /// The full picture is complete.
    End,
    /// The server answered that it will not say.
    Refused,
}

/// News of a watch, by its number.
pub(super) type Message = (u64, News);

/// What watches share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) health: Arc<Health>,
    /// Whether the server streams full pictures.
    pub(super) streaming: Arc<AtomicBool>,
    pub(super) out: mpsc::Sender<Message>,
}

impl Shared {
    /// Watches until the receiver is gone.
    pub(super) async fn watch(self, number: u64, what: What) {
        match &what {
            What::Kind(Kind::Pod, _) => self.follow::<OfPod>(number, what).await,
            What::Kind(Kind::Node, _) => self.follow::<OfNode>(number, what).await,
            What::Definitions => self.follow::<OfDefinition>(number, what).await,
            _ => self.follow::<OfAny>(number, what).await,
        }
    }

    async fn follow<C: Cuts>(self, number: u64, what: What) {
        let label = what.label();
        self.health.started(&label);
        let mut wait = Wait::default();
        loop {
            let streaming = self.streaming.load(Ordering::Relaxed);
            let mut events = pin!(watcher(api::<C>(&self.client, &what), config(&what, streaming)));
            let mut whole = false;
            loop {
                let next = events.next();
                let event = match whole {
                    true => next.await,
                    false => match timeout(STALLED, next).await {
                        Ok(event) => event,
                        Err(_) => break,
                    },
                };
                match event {
                    Some(Ok(event)) => {
                        whole = matches!(event, Event::Apply(_) | Event::Delete(_) | Event::InitDone);
                        if whole {
                            wait = Wait::default();
                        }
                        self.note(&label, &event);
                        if self.out.send((number, news(&what, event))).await.is_err() {
                            return;
                        }
                    }
                    Some(Err(error)) => {
                        self.health.failed(&label, &error);
                        let again = self.again(&error, streaming);
                        if status(&error).is_some_and(|status| (400..500).contains(&status))
                            && !again
                            && self.out.send((number, News::Refused)).await.is_err()
                        {
                            return;
                        }
                        sleep(wait.next()).await;
                        if again {
                            break;
                        }
                    }
                    None => break,
                }
            }
        }
    }

    fn note<K>(&self, label: &Arc<str>, event: &Event<K>) {
        match event {
            // It says only that it begins to ask.
            Event::Init => {}
            Event::InitDone => {
                self.health.listed(label);
                self.health.well(label);
            }
            Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => self.health.well(label),
        }
    }

    /// Whether to begin anew after an error, rather than where the watch was.
    fn again(&self, error: &watcher::Error, streaming: bool) -> bool {
        match (error, status(error)) {
            // The server does not know how, or is told not to.
            (watcher::Error::WatchStartFailed(_), Some(400 | 422)) if streaming => {
                self.streaming.store(false, Ordering::Relaxed);
                tracing::info!(target: "kube", "the API server does not stream lists: they are read in pages");
                true
            }
            // Too old a version, told before the watch began.
            (watcher::Error::WatchStartFailed(_), Some(410)) => true,
            _ => false,
        }
    }
}

fn api<C: Cuts>(client: &Client, what: &What) -> Api<Item<C>> {
    match what {
        What::One(_, (namespace, _)) => Api::namespaced_with(client.clone(), namespace, &what.resource()),
        _ => Api::all_with(client.clone(), &what.resource()),
    }
}

fn config(what: &What, streaming: bool) -> Config {
    let config = match what {
        What::One(_, (_, name)) => Config::default().fields(&format!("metadata.name={name}")),
        _ => Config::default(),
    };
    if streaming { config.streaming_lists() } else { config }
}

fn news<C: Cuts>(what: &What, event: Event<Item<C>>) -> News {
    match event {
        Event::Init => News::Begin,
        Event::InitDone => News::End,
        Event::Delete(item) => News::Gone(item.name()),
        Event::InitApply(item) | Event::Apply(item) => match what {
            What::Definitions => News::Defined(item.name(), item.into_value()),
            What::Kind(kind, _) | What::One(kind, _) => {
                News::Is(item.into_document(*kind, &what.resource().api_version))
            }
        },
    }
}

/// How long to wait after each failure.
#[derive(Debug)]
pub(super) struct Wait {
    next: Duration,
}

impl Default for Wait {
    fn default() -> Self {
        Self { next: WAIT.0 }
    }
}

impl Wait {
    /// The next time, half of it up to chance.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(WAIT.1);
        wait.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}
