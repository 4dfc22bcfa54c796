// SPDX-License-Identifier: Apache-2.0
//! The network filters of a chain that passes bytes on, in order: metadata exchange, policies, metrics, statistics of the
//! protocol, and what takes the connection.

use super::access_log::{self, Subject};
use super::prepared::Prepared;
use super::{metadata_exchange, mongo_proxy, mysql_proxy, redis_proxy, stats, tcp_proxy};
use crate::listener::chain::{Frame, TcpBody};
use crate::listener::{Class, Environment};
use tiphys_model::Protocol;
use tiphys_proto::envoy::config::listener::v3::Filter;

/// What the network filters of a chain depend on.
pub struct NetworkStack<'a> {
    /// The chain.
    pub body: &'a TcpBody,
    /// The listener.
    pub frame: &'a Frame<'a>,
}

/// The filters of a chain.
pub fn build(stack: &NetworkStack<'_>) -> Vec<Filter> {
    let NetworkStack { body, frame } = *stack;
    let environment = frame.environment;
    let mut filters = Vec::new();
    if environment.istio_filters && body.metadata_exchange {
        filters.push(metadata_exchange::tcp());
    }
    if let Some(security) =
        frame.security.filter(|_| !body.bare && !body.unpoliced && frame.class != Class::SidecarOutbound)
    {
        filters.extend(security.network_custom.iter().map(Prepared::to_network));
        filters.extend(security.network_authorization.iter().map(Prepared::to_network));
    }
    filters.extend(metrics(environment, frame.class));
    let logs = &environment.reporting(frame.class).logs;
    let log = if body.bare { Vec::new() } else { access_log::build(logs, Subject::Tcp) };
    let prefix = &*body.target.stat_prefix;
    let settings = &environment.settings;
    match body.protocol {
        Protocol::Mongo if settings.mongo_filter => filters.push(mongo_proxy::build(prefix)),
        Protocol::MySql if settings.mysql_filter => filters.push(mysql_proxy::build(prefix)),
        Protocol::Redis if settings.redis_filter => {
            let cluster = body.target.clusters.first().map_or("", |(name, _)| name);
            filters.push(redis_proxy::build(prefix, cluster));
            return filters;
        }
        _ => {}
    }
    filters.push(tcp_proxy::build(&body.target, log));
    filters
}

fn metrics(environment: &Environment, class: Class) -> Vec<Filter> {
    let metrics: &[tiphys_model::Metrics] =
        if environment.istio_filters { &environment.reporting(class).metrics } else { &[] };
    metrics.iter().map(|metrics| stats::tcp(class, metrics)).collect()
}
