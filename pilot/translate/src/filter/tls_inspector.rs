// SPDX-License-Identifier: Apache-2.0
//! Tells TLS from plain text, and reads server name and ALPN
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/tls_inspector>).

use super::listener_filter;
use tiphys_proto::envoy::config::listener::v3::ListenerFilter;
use tiphys_proto::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use tiphys_proto::uint32;

/// Most handshakes fit in this many bytes; the buffer grows for those that do not.
const INITIAL_BUFFER: u32 = 512;

/// The filter.
pub fn build() -> ListenerFilter {
    let config = TlsInspector { initial_read_buffer_size: uint32(INITIAL_BUFFER), ..TlsInspector::default() };
    listener_filter("envoy.filters.listener.tls_inspector", &config)
}
