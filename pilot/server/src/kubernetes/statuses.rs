// SPDX-License-Identifier: Apache-2.0
//! Statuses of objects, written by the replica that leads.

use std::sync::atomic::Ordering;

use prometheus::IntCounter;
use tiphys_status::{Wanted, Writer};
use tokio::sync::watch;

use super::Cluster;
use crate::metrics::Metrics;
use crate::tasks::Tasks;

/// Starts the writer, which writes while this replica leads.
///
/// # Errors
/// When names of metrics are taken.
pub(super) fn start(
    cluster: &Cluster,
    wanted: watch::Receiver<Wanted>,
    leads: watch::Receiver<bool>,
    metrics: &Metrics,
    tasks: &mut Tasks,
) -> prometheus::Result<()> {
    let writer = Writer::new(cluster.client.clone(), wanted, leads);
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
