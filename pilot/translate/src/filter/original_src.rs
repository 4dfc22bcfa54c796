// SPDX-License-Identifier: Apache-2.0
//! Keeps the client's address towards the application (TPROXY), by the mark 1337 that the routing rules know.

use super::listener_filter;
use tiphys_proto::envoy::config::listener::v3::ListenerFilter;
use tiphys_proto::envoy::extensions::filters::listener::original_src::v3::OriginalSrc;

/// The filter.
pub fn build() -> ListenerFilter {
    listener_filter("envoy.filters.listener.original_src", &OriginalSrc { mark: 1337, ..OriginalSrc::default() })
}
