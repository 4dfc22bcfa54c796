// SPDX-License-Identifier: Apache-2.0
//! Sessions that stay with one endpoint: routes carry the configuration (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/stateful_session_filter>).

use super::http_filter;
use tiphys_proto::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The filter.
pub fn build() -> HttpFilter {
    http_filter("envoy.filters.http.stateful_session", &StatefulSession::default())
}
