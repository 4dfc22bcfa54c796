// SPDX-License-Identifier: Apache-2.0
//! Statistics of MongoDB, before the TCP proxy
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/mongo_proxy_filter>).

use super::network_filter;
use tiphys_proto::envoy::config::listener::v3::Filter;
use tiphys_proto::envoy::extensions::filters::network::mongo_proxy::v3::MongoProxy;

/// The filter.
pub fn build(stat_prefix: &str) -> Filter {
    let config = MongoProxy { stat_prefix: stat_prefix.into(), ..MongoProxy::default() };
    network_filter("envoy.filters.network.mongo_proxy", &config)
}
