// SPDX-License-Identifier: Apache-2.0
//! Metrics of one side.

use super::effective::Sources;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tiphys_model::{MetricOverride, MetricRule, Metrics, MetricsRule, ProviderKind, Side, Str};

/// The mesh's metrics, sorted by Istio's names, with those of Prometheus.
const METRICS: [(&str, &str); 10] = [
    ("GRPC_REQUEST_MESSAGES", "request_messages_total"),
    ("GRPC_RESPONSE_MESSAGES", "response_messages_total"),
    ("REQUEST_COUNT", "requests_total"),
    ("REQUEST_DURATION", "request_duration_milliseconds"),
    ("REQUEST_SIZE", "request_bytes"),
    ("RESPONSE_SIZE", "response_bytes"),
    ("TCP_CLOSED_CONNECTIONS", "tcp_connections_closed_total"),
    ("TCP_OPENED_CONNECTIONS", "tcp_connections_opened_total"),
    ("TCP_RECEIVED_BYTES", "tcp_received_bytes_total"),
    ("TCP_SENT_BYTES", "tcp_sent_bytes_total"),
];

/// What is merged for a provider.
#[derive(Default)]
struct Merged {
    disabled: bool,
    interval: Option<Duration>,
    changes: BTreeMap<Str, Change>,
}

#[derive(Default)]
struct Change {
    disabled: Option<bool>,
    tags: BTreeMap<Str, Option<Str>>,
}

/// The metrics of a side, one for each Prometheus provider.
pub(super) fn merge(sources: &Sources<'_>, side: Side) -> Vec<Metrics> {
    let rules: Vec<&MetricsRule> = sources.levels.iter().flat_map(|policy| &policy.metrics).collect();
    let merged = by_provider(&rules, &sources.settings.default_metrics, side);
    let prometheus = |name: &Str| matches!(sources.provider(name), Some((_, ProviderKind::Prometheus)));
    merged.into_iter().filter(|(name, one)| prometheus(name) && !one.disabled).map(|(_, one)| metrics(one)).collect()
}

fn by_provider(rules: &[&MetricsRule], defaults: &[Str], side: Side) -> BTreeMap<Str, Merged> {
    let mut merged: BTreeMap<Str, Merged> = BTreeMap::new();
    if rules.is_empty() {
        merged.extend(defaults.iter().map(|name| (name.clone(), Merged::default())));
    }
    // The last rule that names providers says which ones count.
    let last = rules.iter().rev().find(|rule| !rule.providers.is_empty());
    let in_scope: BTreeSet<&Str> = last.map_or(defaults, |rule| &rule.providers).iter().collect();
    let mut around = defaults;
    for rule in rules {
        if !rule.providers.is_empty() {
            around = &rule.providers;
        }
        for name in around.iter().filter(|name| in_scope.contains(name)) {
            let one = merged.entry(name.clone()).or_default();
            one.interval = rule.reporting_interval.or(one.interval);
            rule.overrides.iter().filter(|change| change.side.covers(side)).for_each(|change| apply(one, change));
        }
    }
    merged
}

fn apply(merged: &mut Merged, change: &MetricRule) {
    if change.metric.is_none() && change.disabled == Some(true) {
        merged.disabled = true;
        return;
    }
    // What is switched off as a whole comes back with the first change after it.
    merged.disabled = false;
    let names = match &change.metric {
        Some(name) => vec![name.clone()],
        None => METRICS.iter().map(|(name, _)| Str::from(*name)).collect(),
    };
    for name in names {
        let one = merged.changes.entry(name).or_default();
        one.disabled = change.disabled.or(one.disabled);
        one.tags.extend(change.tags.iter().map(|(tag, value)| (tag.clone(), value.clone())));
    }
}

fn metrics(merged: Merged) -> Metrics {
    let of = |(name, change): (Str, Change)| {
        let known = METRICS.iter().find(|(istio, _)| **istio == *name);
        let (set, removed): (Vec<_>, Vec<_>) = change.tags.into_iter().partition(|(_, value)| value.is_some());
        MetricOverride {
            name: known.map_or(name, |(_, prometheus)| (*prometheus).into()),
            drop: change.disabled.unwrap_or(false),
            tags: set.into_iter().filter_map(|(tag, value)| Some((tag, value?))).collect(),
            removed_tags: removed.into_iter().map(|(tag, _)| tag).collect(),
        }
    };
    Metrics { overrides: merged.changes.into_iter().map(of).collect(), reporting_interval: merged.interval }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_metrics_can_be_switched_off_and_on_again() {
        let rule = |metric: Option<&str>, disabled| MetricsRule {
            overrides: vec![MetricRule { metric: metric.map(Str::from), disabled, ..MetricRule::default() }],
            ..MetricsRule::default()
        };
        let (off, on) = (rule(None, Some(true)), rule(Some("REQUEST_COUNT"), Some(false)));
        let defaults = ["prometheus".into()];
        assert!(by_provider(&[&off], &defaults, Side::Client)["prometheus"].disabled);
        let merged = by_provider(&[&off, &on], &defaults, Side::Client).remove("prometheus").unwrap();
        assert!(!merged.disabled);
        assert_eq!(&*metrics(merged).overrides[0].name, "requests_total");
    }
}
