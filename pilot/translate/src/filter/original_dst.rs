// SPDX-License-Identifier: Apache-2.0
//! Finds the address that was dialled before the connection was redirected (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/original_dst_filter>).

use super::listener_filter;
use tiphys_proto::envoy::config::listener::v3::ListenerFilter;
use tiphys_proto::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;

/// The filter.
pub fn build() -> ListenerFilter {
    listener_filter("envoy.filters.listener.original_dst", &OriginalDst::default())
}
