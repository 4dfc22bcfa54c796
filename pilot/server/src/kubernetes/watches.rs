// SPDX-License-Identifier: Apache-2.0
//! How well the API server is followed, as metrics.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts};
use tiphys_source::kube::Health;

use crate::metrics::Metrics;

/// Adds the metrics of the watches.
///
/// # Errors
/// When names are taken.
pub fn count(metrics: &Metrics, health: Arc<Health>) -> prometheus::Result<()> {
    fn add<C: Collector + Clone + 'static>(metrics: &Metrics, made: prometheus::Result<C>) -> prometheus::Result<C> {
        let collector = made?;
        metrics.register(|registry| registry.register(Box::new(collector.clone())))?;
        Ok(collector)
    }
    let away =
        IntGauge::new("tiphys_kube_away_seconds", "Time since when the API server does not answer; 0 while it does.");
    let away = add(metrics, away)?;
    let watching =
        Opts::new("tiphys_kube_watch_up", "Whether what is watched is in sync and followed without an error.");
    let watching = add(metrics, IntGaugeVec::new(watching, &["resource"]))?;
    let lists = Opts::new("tiphys_kube_lists_total", "Full pictures that were read.");
    let lists = add(metrics, IntCounterVec::new(lists, &["resource"]))?;
    let failures = Opts::new(
        "tiphys_kube_failures_total",
        "Requests to the API server that failed, and watches that it ended with an error.",
    );
    let failures = add(metrics, IntCounterVec::new(failures, &["resource"]))?;
    metrics.collect(Box::new(move |_| {
        let since = health.away_since().map_or(0, |since| since.elapsed().as_secs());
        away.set(i64::try_from(since).unwrap_or(i64::MAX));
        watching.reset();
        for (what, watch) in health.watches() {
            // Secrets and ConfigMaps are watched one by one: their names are nobody's business.
            let resource = what.split(' ').next().unwrap_or_default();
            let up = watch.synced && watch.error.is_none();
            let gauge = watching.with_label_values(&[resource]);
            gauge.set(if resource == &*what { up.into() } else { gauge.get() + i64::from(up) });
            raise(&lists.with_label_values(&[resource]), watch.lists);
            raise(&failures.with_label_values(&[resource]), watch.failures);
        }
    }));
    Ok(())
}

/// Brings a counter to a total.
fn raise(counter: &prometheus::IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
