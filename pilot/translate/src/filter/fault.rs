// SPDX-License-Identifier: Apache-2.0
//! Injected delays and aborts: routes carry them (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter>).

use super::http_filter;
use tiphys_proto::envoy::extensions::filters::http::fault::v3::HttpFault;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The filter.
pub fn build() -> HttpFilter {
    http_filter("envoy.filters.http.fault", &HttpFault::default())
}
