// SPDX-License-Identifier: Apache-2.0
//! How well the API server is followed: for metrics, and for a log that says what matters once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kube::runtime::watcher;

/// How one watch does.
#[derive(Debug, Clone, Default)]
pub struct WatchHealth {
    /// Its first full picture came.
    pub synced: bool,
    /// Failures so far.
    pub failures: u64,
    /// Full pictures so far.
    pub lists: u64,
    /// What failed last; none while all is well.
    pub error: Option<String>,
}

/// How all watches do, by what they watch (`pods`, `gateways.networking.istio.io`, `secrets default/cert`).
#[derive(Debug, Default)]
pub struct Health {
    watches: Mutex<BTreeMap<Arc<str>, WatchHealth>>,
    /// Since when the API server does not answer.
    away: Mutex<Option<Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Health {
    /// All watches.
    pub fn watches(&self) -> BTreeMap<Arc<str>, WatchHealth> {
        lock(&self.watches).clone()
    }

    /// Since when the API server does not answer; none while it does.
    pub fn away_since(&self) -> Option<Instant> {
        *lock(&self.away)
    }

    pub(super) fn started(&self, what: &Arc<str>) {
        lock(&self.watches).entry(what.clone()).or_default();
    }

    pub(super) fn stopped(&self, what: &str) {
        lock(&self.watches).remove(what);
    }

    pub(super) fn listed(&self, what: &Arc<str>) {
        let mut watches = lock(&self.watches);
        let watch = watches.entry(what.clone()).or_default();
        watch.lists += 1;
        watch.synced = true;
    }

    /// Something came.
    pub(super) fn well(&self, what: &Arc<str>) {
        let mut watches = lock(&self.watches);
        let before = watches.entry(what.clone()).or_default().error.take();
        drop(watches);
        if let Some(since) = lock(&self.away).take() {
            tracing::info!(target: "kube", "the API server answers again, after {:.1} s", since.elapsed().as_secs_f64());
        }
        if before.is_some() {
            tracing::debug!(target: "kube", "{what}: watched again");
        }
    }

    /// The API server did not answer, or not as wanted.
    pub(super) fn failed(&self, what: &Arc<str>, error: &watcher::Error) {
        let text = text_of(error);
        let mut watches = lock(&self.watches);
        let watch = watches.entry(what.clone()).or_default();
        watch.failures += 1;
        let known = watch.error.as_ref() == Some(&text);
        watch.error = Some(text.clone());
        drop(watches);
        if let Some(status) = status(error) {
            // An answer: about this watch alone. That it is too late, or too early, is part of an API server's life.
            match known || matches!(status, 410 | 429 | 500..) {
                true => tracing::debug!(target: "kube", "{what}: {text}"),
                false => tracing::warn!(target: "kube", "{what}: {text}: what is known of them stays in force"),
            }
            return;
        }
        tracing::debug!(target: "kube", "{what}: {text}");
        let mut away = lock(&self.away);
        if away.is_none() {
            *away = Some(Instant::now());
            tracing::warn!(target: "kube", "the API server does not answer ({what}: {text}): what is known stays in force");
        }
    }
}

/// The status that the API server answered with, if it did.
pub(super) fn status(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// What an error says: in an answer that is the API server's own sentence.
pub(super) fn text_of(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => format!("{} ({} {})", status.message, status.code, status.reason),
        error => chain(error),
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
