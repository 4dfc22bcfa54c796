// SPDX-License-Identifier: Apache-2.0
//! Statuses of objects, written by the replica that leads: those of objects that are this revision's.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::IntCounter;
use tiphys_status::{Status, Wanted, Writer};
use tokio::sync::watch;

use super::Cluster;
use super::tags::Tags;
use crate::metrics::Metrics;
use crate::tasks::Tasks;

/// Whose statuses are written, and when.
pub(super) struct Writes {
    /// The statuses that objects should have.
    pub wanted: watch::Receiver<Wanted>,
    /// Which objects are this revision's.
    pub tags: watch::Receiver<Tags>,
    /// Whether this replica leads.
    pub leads: watch::Receiver<bool>,
}

/// Starts the writer, which writes while this replica leads.
///
/// # Errors
/// When names of metrics are taken.
pub(super) fn start(cluster: &Cluster, writes: Writes, metrics: &Metrics, tasks: &mut Tasks) -> prometheus::Result<()> {
    let Writes { wanted, tags, leads } = writes;
    let (own, of_revision) = watch::channel(Wanted::default());
    tasks.spawn("statuses of this revision", async move {
        sift(wanted, tags, own).await;
        // Whoever wants something is gone: the control plane stops.
        std::future::pending().await
    });
    let writer = Writer::new(cluster.client.clone(), of_revision, leads);
    let counts = writer.counts();
    let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
        let counter = IntCounter::new(name, help)?;
        metrics.register(|registry| registry.register(Box::new(counter.clone())))?;
        Ok(counter)
    };
    let written = counter("tiphys_statuses_written_total", "Statuses of objects that were written.")?;
    let failed =
        counter("tiphys_statuses_failed_total", "Statuses of objects whose writing failed, and is tried again.")?;
    metrics.collect(Box::new(move |_| {
        written.inc_by(counts.written.load(Ordering::Relaxed).saturating_sub(written.get()));
        failed.inc_by(counts.failed.load(Ordering::Relaxed).saturating_sub(failed.get()));
    }));
    tasks.spawn("statuses", async move {
        writer.run().await;
        // Nobody leads any more: the control plane stops.
        std::future::pending().await
    });
    Ok(())
}

/// Passes on what is wanted of objects of this revision.
async fn sift(mut wanted: watch::Receiver<Wanted>, mut tags: watch::Receiver<Tags>, own: watch::Sender<Wanted>) {
    loop {
        let (all, tags_now) = (wanted.borrow_and_update().clone(), tags.borrow_and_update().clone());
        let is_own = |status: &Status| tags_now.are_of(status.revision.as_deref());
        let of_revision = match all.values().all(is_own) {
            true => all,
            false => {
                let mine = all.iter().filter(|(_, status)| is_own(status));
                Arc::new(mine.map(|(key, status)| (key.clone(), status.clone())).collect())
            }
        };
        own.send_replace(of_revision);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            // Without anybody who follows tags they stay as they are.
            Ok(()) = tags.changed() => {}
        }
    }
}
