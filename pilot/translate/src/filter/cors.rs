// SPDX-License-Identifier: Apache-2.0
//! Cross-origin requests: routes carry the policies (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/cors_filter>).

use super::http_filter;
use tiphys_proto::envoy::extensions::filters::http::cors::v3::Cors;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The filter.
pub fn build() -> HttpFilter {
    http_filter("envoy.filters.http.cors", &Cors::default())
}
