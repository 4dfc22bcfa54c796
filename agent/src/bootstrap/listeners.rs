// SPDX-License-Identifier: Apache-2.0
//! The static listeners: metrics for Prometheus, and readiness, which passes through Envoy so that it proves that Envoy serves.

use super::{TYPE, socket_address};
use crate::settings::Settings;
use serde_json::{Value, json};

pub(super) fn all(settings: &Settings) -> Vec<Value> {
    let config = settings.config();
    let localhost_only = config.proxy_metadata.get("METRICS_LOCALHOST_ACCESS_ONLY").is_some_and(|v| v == "true");
    let metrics_address =
        if localhost_only { settings.ports.admin.to_string() } else { settings.ports.listen.to_string() };
    let mut filters = Vec::new();
    if config.stats_compression != Some(false) {
        filters.extend(["brotli", "zstd", "gzip"].map(compressor));
    }
    let metrics = Listener {
        address: metrics_address,
        port: settings.ports.prometheus,
        stat_prefix: "stats",
        path: "/stats/prometheus",
        cluster: "prometheus_stats",
        filters,
    };
    let readiness = Listener {
        address: settings.ports.listen.to_string(),
        port: settings.ports.envoy_status,
        stat_prefix: "agent",
        path: "/healthz/ready",
        cluster: "agent",
        filters: Vec::new(),
    };
    vec![metrics.to_json(), readiness.to_json()]
}

struct Listener {
    address: String,
    port: u16,
    stat_prefix: &'static str,
    path: &'static str,
    cluster: &'static str,
    filters: Vec<Value>,
}

impl Listener {
    fn to_json(&self) -> Value {
        let mut filters = self.filters.clone();
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": format!("{TYPE}envoy.extensions.filters.http.router.v3.Router") },
        }));
        let manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        json!({
            "name": format!("{}_{}", self.address, self.port),
            "address": socket_address(&self.address, self.port),
            "ignore_global_conn_limit": true,
            "bypass_overload_manager": true,
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": format!("{TYPE}{manager}"),
                    "codec_type": "AUTO",
                    "stat_prefix": self.stat_prefix,
                    "route_config": { "virtual_hosts": [{
                        "name": "backend",
                        "domains": ["*"],
                        "routes": [{ "match": { "prefix": self.path }, "route": { "cluster": self.cluster } }],
                    }]},
                    "http_filters": filters,
                },
            }]}],
        })
    }
}

fn compressor(kind: &str) -> Value {
    let library = match kind {
        "brotli" => "envoy.extensions.compression.brotli.compressor.v3.Brotli",
        "zstd" => "envoy.extensions.compression.zstd.compressor.v3.Zstd",
        _ => "envoy.extensions.compression.gzip.compressor.v3.Gzip",
    };
    json!({
        "name": format!("envoy.filters.http.compressor.{kind}"),
        "typed_config": {
            "@type": format!("{TYPE}envoy.extensions.filters.http.compressor.v3.Compressor"),
            "compressor_library": {
                "name": format!("stats_{kind}"),
                "typed_config": { "@type": format!("{TYPE}{library}") },
            },
            "response_direction_config": { "common_config": { "content_type_matcher": [
                { "prefix": "text/plain" },
                { "prefix": "application/vnd.google.protobuf" },
                { "prefix": "application/openmetrics-" },
            ]}},
        },
    })
}
