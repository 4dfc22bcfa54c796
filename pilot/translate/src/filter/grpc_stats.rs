// SPDX-License-Identifier: Apache-2.0
//! Counts of gRPC messages for telemetry
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/grpc_stats_filter>).

use super::http_filter;
use tiphys_proto::boolean;
use tiphys_proto::envoy::extensions::filters::http::grpc_stats::v3::{
    FilterConfig, filter_config::PerMethodStatSpecifier,
};
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The filter: message counts go to the filter state; no counters per method, of which there may be any number.
pub fn build() -> HttpFilter {
    let config = FilterConfig {
        emit_filter_state: true,
        per_method_stat_specifier: boolean(false).map(PerMethodStatSpecifier::StatsForAllMethods),
        ..FilterConfig::default()
    };
    http_filter("envoy.filters.http.grpc_stats", &config)
}
