// SPDX-License-Identifier: Apache-2.0
//! The router, last of all HTTP filters
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter>).

use super::http_filter;
use tiphys_proto::envoy::extensions::filters::http::router::v3::Router;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The filter; X-Envoy-* headers for debugging may be left out.
pub fn build(suppress_debug_headers: bool) -> HttpFilter {
    let config = Router { suppress_envoy_headers: suppress_debug_headers, ..Router::default() };
    http_filter("envoy.filters.http.router", &config)
}
