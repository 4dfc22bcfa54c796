// SPDX-License-Identifier: Apache-2.0
//! `istio.alpn` of Istio's proxy: tells the upstream, by the ALPN of mutual TLS, which HTTP the downstream spoke, so that the
//! upstream's sidecar need not sniff.

use super::http_filter;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use tiphys_proto::istio::envoy::config::filter::http::alpn::v2alpha1::{
    FilterConfig,
    filter_config::{AlpnOverride, Protocol},
};

/// The filter.
pub fn build() -> HttpFilter {
    let of = |protocol: Protocol, names: [&str; 3]| AlpnOverride {
        upstream_protocol: protocol.into(),
        alpn_override: names.map(String::from).to_vec(),
    };
    // The last of each is for servers outside of the mesh.
    let config = FilterConfig {
        alpn_override: vec![
            of(Protocol::Http10, ["istio-http/1.0", "istio", "http/1.0"]),
            of(Protocol::Http11, ["istio-http/1.1", "istio", "http/1.1"]),
            of(Protocol::Http2, ["istio-h2", "istio", "h2"]),
        ],
    };
    http_filter("istio.alpn", &config)
}
