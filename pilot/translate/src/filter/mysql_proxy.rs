// SPDX-License-Identifier: Apache-2.0
//! Statistics of MySQL, before the TCP proxy
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/mysql_proxy_filter>).

use super::network_filter;
use tiphys_proto::envoy::config::listener::v3::Filter;
use tiphys_proto::envoy::extensions::filters::network::mysql_proxy::v3::MySqlProxy;

/// The filter.
pub fn build(stat_prefix: &str) -> Filter {
    let config = MySqlProxy { stat_prefix: stat_prefix.into(), ..MySqlProxy::default() };
    network_filter("envoy.filters.network.mysql_proxy", &config)
}
