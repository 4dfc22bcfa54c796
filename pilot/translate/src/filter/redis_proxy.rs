// SPDX-License-Identifier: Apache-2.0
//! Redis, in place of the TCP proxy
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/redis_proxy_filter>).

use super::network_filter;
use std::time::Duration;
use tiphys_proto::duration;
use tiphys_proto::envoy::config::listener::v3::Filter;
use tiphys_proto::envoy::extensions::filters::network::redis_proxy::v3::{
    RedisProxy,
    redis_proxy::{ConnPoolSettings, PrefixRoutes, prefix_routes::Route},
};

/// Time for one operation.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// The filter; all keys go to one cluster.
pub fn build(stat_prefix: &str, cluster: &str) -> Filter {
    let config = RedisProxy {
        stat_prefix: stat_prefix.into(),
        latency_in_micros: true,
        settings: Some(ConnPoolSettings { op_timeout: duration(OPERATION_TIMEOUT), ..ConnPoolSettings::default() }),
        prefix_routes: Some(PrefixRoutes {
            catch_all_route: Some(Route { cluster: cluster.into(), ..Route::default() }),
            ..PrefixRoutes::default()
        }),
        ..RedisProxy::default()
    };
    network_filter("envoy.filters.network.redis_proxy", &config)
}
