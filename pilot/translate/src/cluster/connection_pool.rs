// SPDX-License-Identifier: Apache-2.0
//! Connection pools: timeouts, keepalive, circuit breakers and the limits of HTTP connections.

use super::http_options::{HttpOptions, Limits};
use tiphys_model::{ConnectionPool, Mesh, RetryBudget, TcpKeepalive, TrafficPolicy};
use tiphys_proto::envoy::config::cluster::v3::{CircuitBreakers, Cluster, UpstreamConnectionOptions, circuit_breakers};
use tiphys_proto::envoy::config::core::v3::TcpKeepalive as EnvoyKeepalive;
use tiphys_proto::envoy::r#type::v3::Percent;
use tiphys_proto::{duration, uint32};

/// Applies the pool of a policy. Without one circuit breakers never open: Envoy's own defaults are too low for rollouts.
pub(super) fn apply(cluster: &mut Cluster, http: &mut HttpOptions, mesh: &Mesh, policy: Option<&TrafficPolicy>) {
    let pool = policy.and_then(|policy| policy.connection_pool.as_ref());
    let mut thresholds = circuit_breakers::Thresholds {
        max_retries: uint32(u32::MAX),
        max_requests: uint32(u32::MAX),
        max_connections: uint32(u32::MAX),
        max_pending_requests: uint32(u32::MAX),
        retry_budget: policy.and_then(|policy| policy.retry_budget.as_ref()).map(retry_budget),
        ..Default::default()
    };
    let limit = |threshold: &mut Option<_>, value: u32| {
        if value > 0 {
            *threshold = uint32(value);
        }
    };
    cluster.connect_timeout = duration(mesh.connect_timeout);
    let tcp = pool.and_then(|pool| pool.tcp.as_ref());
    if let Some(tcp) = tcp {
        if let Some(timeout) = tcp.connect_timeout {
            cluster.connect_timeout = duration(timeout);
        }
        limit(&mut thresholds.max_connections, tcp.max_connections);
    }
    if let Some(http) = pool.and_then(|pool| pool.http.as_ref()) {
        limit(&mut thresholds.max_requests, http.max_requests);
        limit(&mut thresholds.max_pending_requests, http.max_pending_requests);
        limit(&mut thresholds.max_retries, http.max_retries);
    }
    let keepalives = [mesh.traffic.tcp_keepalive.as_ref(), tcp.and_then(|tcp| tcp.keepalive.as_ref())];
    cluster.upstream_connection_options = keepalive(keepalives);
    cluster.circuit_breakers = Some(CircuitBreakers { thresholds: vec![thresholds], ..CircuitBreakers::default() });
    if let Some(pool) = pool {
        http.limit(&limits(pool));
        if pool.http.as_ref().is_some_and(|http| http.use_client_protocol) {
            http.set_downstream();
        }
    }
}

fn limits(pool: &ConnectionPool) -> Limits {
    let (tcp, http) = (pool.tcp.as_ref(), pool.http.as_ref());
    Limits {
        idle_timeout: http.and_then(|http| http.idle_timeout).or_else(|| tcp.and_then(|tcp| tcp.idle_timeout)),
        max_connection_duration: tcp.and_then(|tcp| tcp.max_connection_duration),
        max_requests_per_connection: http.map_or(0, |http| http.max_requests_per_connection),
        max_concurrent_streams: http.map_or(0, |http| http.max_concurrent_streams),
        keepalive: http.and_then(|http| http.http2_keepalive),
    }
}

/// The mesh's settings, overridden one by one by the rule's.
fn keepalive(settings: [Option<&TcpKeepalive>; 2]) -> Option<UpstreamConnectionOptions> {
    let mut options: Option<EnvoyKeepalive> = None;
    // Envoy counts whole seconds.
    let seconds = |time: std::time::Duration| uint32(u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
    for setting in settings.into_iter().flatten() {
        let envoy = options.get_or_insert_default();
        if setting.probes > 0 {
            envoy.keepalive_probes = uint32(setting.probes);
        }
        if let Some(time) = setting.time {
            envoy.keepalive_time = seconds(time);
        }
        if let Some(interval) = setting.interval {
            envoy.keepalive_interval = seconds(interval);
        }
    }
    options.map(|tcp_keepalive| UpstreamConnectionOptions {
        tcp_keepalive: Some(tcp_keepalive),
        ..UpstreamConnectionOptions::default()
    })
}

fn retry_budget(budget: &RetryBudget) -> circuit_breakers::thresholds::RetryBudget {
    circuit_breakers::thresholds::RetryBudget {
        budget_percent: Some(Percent { value: budget.percent.map_or(20.0, tiphys_model::Float::get) }),
        budget_interval: budget.interval.and_then(duration),
        min_retry_concurrency: uint32(if budget.min_concurrency == 0 { 3 } else { budget.min_concurrency }),
    }
}
