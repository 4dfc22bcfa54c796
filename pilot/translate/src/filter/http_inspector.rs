// SPDX-License-Identifier: Apache-2.0
//! Tells HTTP from other plain text (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/http_inspector>).

use super::listener_filter;
use tiphys_proto::envoy::config::listener::v3::ListenerFilter;
use tiphys_proto::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;

/// The filter.
pub fn build() -> ListenerFilter {
    listener_filter("envoy.filters.listener.http_inspector", &HttpInspector::default())
}
