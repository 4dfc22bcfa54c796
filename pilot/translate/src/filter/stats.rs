// SPDX-License-Identifier: Apache-2.0
//! `istio.stats` of Istio's proxy: the mesh's standard metrics
//! (<https://istio.io/latest/docs/reference/config/metrics/>), for HTTP and TCP alike.

use super::{http_filter, network_filter};
use crate::listener::Class;
use tiphys_model::Metrics;
use tiphys_proto::envoy::config::listener::v3::Filter;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use tiphys_proto::stats::{MetricConfig, PluginConfig};

const NAME: &str = "istio.stats";

/// The HTTP filter.
pub fn http(class: Class, metrics: &Metrics) -> HttpFilter {
    http_filter(NAME, &config(class, metrics))
}

/// The network filter.
pub fn tcp(class: Class, metrics: &Metrics) -> Filter {
    network_filter(NAME, &config(class, metrics))
}

fn config(class: Class, metrics: &Metrics) -> PluginConfig {
    let changes = metrics.overrides.iter().map(|change| MetricConfig {
        name: change.name.to_string(),
        drop: change.drop,
        dimensions: change.tags.iter().map(|(tag, value)| (tag.to_string(), value.to_string())).collect(),
        tags_to_remove: change.removed_tags.iter().map(ToString::to_string).collect(),
        ..MetricConfig::default()
    });
    PluginConfig {
        // A Host header that the outside world chose must not become a label.
        disable_host_header_fallback: class != Class::SidecarOutbound,
        tcp_reporting_duration: metrics.reporting_interval.and_then(tiphys_proto::duration),
        metrics: changes.collect(),
        ..PluginConfig::default()
    }
}
