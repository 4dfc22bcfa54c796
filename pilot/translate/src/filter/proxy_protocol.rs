// SPDX-License-Identifier: Apache-2.0
//! Reads the PROXY protocol header of load balancers (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/proxy_protocol>).

use super::listener_filter;
use tiphys_proto::envoy::config::listener::v3::ListenerFilter;
use tiphys_proto::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;

/// The filter.
pub fn build() -> ListenerFilter {
    listener_filter("envoy.filters.listener.proxy_protocol", &ProxyProtocol::default())
}
