// SPDX-License-Identifier: Apache-2.0
//! Lowering of traffic policies, wherever they are written: DestinationRule, MeshConfig, Sidecar.

use crate::lower::strs;
use std::time::Duration;
use tiphys_api::Problem;
use tiphys_api::istio::networking::{connection_pool as pool_api, destination_rule as api, load_balancer as lb, tls};
use tiphys_model::{
    Algorithm, ClientTls, ClientTlsMode, ConnectionPool, ConsistentHash, Distribute, Float, H2Upgrade, HashCookie,
    HashKey, HashRing, HttpPool, LoadBalancer, LocalityBalancing, OutlierDetection, PortPolicy, RetryBudget, Str,
    TcpKeepalive, TcpPool, TrafficPolicy, Warmup, ZoneAware,
};

/// A traffic policy. What is not served is warned of, with `path` before the field's name.
pub(crate) fn policy(api: &api::TrafficPolicy, path: &str, problems: &mut Vec<Problem>) -> TrafficPolicy {
    if api.tunnel.is_some() {
        let text = "tunnels are not supported: connections go to the host itself; remove the field";
        problems.push(Problem::warning(format!("{path}.tunnel"), text));
    }
    TrafficPolicy {
        load_balancer: api.load_balancer.as_ref().map(load_balancer),
        connection_pool: api.connection_pool.as_ref().map(connection_pool),
        outlier_detection: api.outlier_detection.as_ref().map(outlier_detection),
        tls: api.tls.as_ref().map(client_tls),
        proxy_protocol: api.proxy_protocol.as_ref().map(|proxy| match proxy.version {
            api::ProxyProtocolVersion::V2 => 2,
            _ => 1,
        }),
        retry_budget: api.retry_budget.as_ref().map(|budget| RetryBudget {
            percent: budget.percent.map(Float::new),
            min_concurrency: budget.min_retry_concurrency,
            interval: time(budget.budget_interval),
        }),
        // Of several settings for one port the first counts.
        ports: api.port_level_settings.iter().rev().filter_map(port_policy).collect(),
    }
}

fn port_policy(api: &api::PortTrafficPolicy) -> Option<(u32, PortPolicy)> {
    let policy = PortPolicy {
        load_balancer: api.load_balancer.as_ref().map(load_balancer),
        connection_pool: api.connection_pool.as_ref().map(connection_pool),
        outlier_detection: api.outlier_detection.as_ref().map(outlier_detection),
        tls: api.tls.as_ref().map(client_tls),
    };
    Some((api.port.as_ref()?.number, policy))
}

fn time(duration: Option<tiphys_api::Duration>) -> Option<Duration> {
    duration.map(tiphys_api::Duration::get)
}

/// A limit; what is not positive is none.
fn limit(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// Settings of a connection pool.
pub(crate) fn connection_pool(api: &pool_api::ConnectionPoolSettings) -> ConnectionPool {
    ConnectionPool {
        tcp: api.tcp.as_ref().map(|tcp| TcpPool {
            max_connections: limit(tcp.max_connections),
            connect_timeout: time(tcp.connect_timeout),
            keepalive: tcp.tcp_keepalive.as_ref().map(keepalive),
            max_connection_duration: time(tcp.max_connection_duration),
            idle_timeout: time(tcp.idle_timeout),
        }),
        http: api.http.as_ref().map(|http| HttpPool {
            max_pending_requests: limit(http.http1_max_pending_requests),
            max_requests: limit(http.http2_max_requests),
            max_requests_per_connection: limit(http.max_requests_per_connection),
            max_retries: limit(http.max_retries),
            idle_timeout: time(http.idle_timeout),
            h2_upgrade: match http.h2_upgrade_policy {
                pool_api::H2UpgradePolicy::Upgrade => H2Upgrade::Always,
                pool_api::H2UpgradePolicy::DoNotUpgrade => H2Upgrade::Never,
                _ => H2Upgrade::Default,
            },
            use_client_protocol: http.use_client_protocol,
            max_concurrent_streams: limit(http.max_concurrent_streams),
            http2_keepalive: http.http2_keep_alive.as_ref().map(|ping| (time(ping.interval), time(ping.timeout))),
        }),
    }
}

/// TCP keepalive.
pub(crate) fn keepalive(api: &pool_api::TcpKeepalive) -> TcpKeepalive {
    TcpKeepalive { probes: api.probes, time: time(api.time), interval: time(api.interval) }
}

/// Outlier detection. The older `consecutiveErrors` is read by nobody any more, here as in Istio.
pub(crate) fn outlier_detection(api: &api::OutlierDetection) -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: api.consecutive_5xx_errors,
        consecutive_gateway: api.consecutive_gateway_errors,
        split_local_origin: api.split_external_local_origin_errors,
        consecutive_local_origin: api.consecutive_local_origin_failures.unwrap_or_default(),
        interval: time(api.interval),
        base_ejection_time: time(api.base_ejection_time),
        max_ejection_percent: limit(api.max_ejection_percent),
        min_health_percent: limit(api.min_health_percent),
        error_codes: api.outlier_detection_http_error_codes.clone(),
    }
}

/// TLS settings of a client.
pub(crate) fn client_tls(api: &tls::ClientTlsSettings) -> ClientTls {
    ClientTls {
        mode: match api.mode {
            tls::ClientTlsMode::Simple => ClientTlsMode::Simple,
            tls::ClientTlsMode::Mutual => ClientTlsMode::Mutual,
            tls::ClientTlsMode::IstioMutual => ClientTlsMode::IstioMutual,
            _ => ClientTlsMode::Disable,
        },
        client_certificate: api.client_certificate.as_str().into(),
        private_key: api.private_key.as_str().into(),
        ca_certificates: api.ca_certificates.as_str().into(),
        ca_crl: api.ca_crl.as_str().into(),
        credential_name: api.credential_name.as_str().into(),
        subject_alt_names: strs(&api.subject_alt_names),
        sni: api.sni.as_str().into(),
        insecure_skip_verify: api.insecure_skip_verify.unwrap_or(false),
    }
}

fn load_balancer(api: &lb::LoadBalancerSettings) -> LoadBalancer {
    LoadBalancer {
        algorithm: match &api.simple {
            Some(lb::SimpleLb::LeastConn | lb::SimpleLb::LeastRequest) => Algorithm::LeastRequest,
            Some(lb::SimpleLb::Random) => Algorithm::Random,
            Some(lb::SimpleLb::Passthrough) => Algorithm::Passthrough,
            Some(lb::SimpleLb::RoundRobin) => Algorithm::RoundRobin,
            _ => Algorithm::Unspecified,
        },
        consistent_hash: api.consistent_hash.as_ref().map(consistent_hash),
        locality: api.locality_lb_setting.as_ref().map(locality),
        zone_aware: api.zone_aware_lb_setting.as_ref().map(zone_aware),
        warmup: warmup(api),
    }
}

fn warmup(api: &lb::LoadBalancerSettings) -> Option<Warmup> {
    match &api.warmup {
        Some(warmup) => Some(Warmup {
            duration: time(warmup.duration)?,
            curve: Some((
                Float::new(warmup.minimum_percent.unwrap_or(10.0)),
                Float::new(warmup.aggression.unwrap_or(1.0)),
            )),
        }),
        None => time(api.warmup_duration_secs).map(|duration| Warmup { duration, curve: None }),
    }
}

fn consistent_hash(api: &lb::ConsistentHashLb) -> ConsistentHash {
    let key = if let Some(name) = &api.http_header_name {
        HashKey::Header(name.as_str().into())
    } else if let Some(cookie) = &api.http_cookie {
        HashKey::Cookie(Box::new(HashCookie {
            name: cookie.name.as_str().into(),
            path: cookie.path.as_str().into(),
            ttl: time(cookie.ttl),
            attributes: cookie
                .attributes
                .iter()
                .map(|attribute| (attribute.name.as_str().into(), attribute.value.as_str().into()))
                .collect(),
        }))
    } else if api.use_source_ip == Some(true) {
        HashKey::SourceIp
    } else if let Some(name) = &api.http_query_parameter_name {
        HashKey::QueryParameter(name.as_str().into())
    } else {
        HashKey::None
    };
    let ring = match (&api.maglev, &api.ring_hash) {
        (Some(maglev), _) => HashRing::Maglev { table_size: maglev.table_size },
        (None, Some(ring)) => HashRing::Ring { minimum_size: ring.minimum_ring_size },
        (None, None) => HashRing::Unspecified { minimum_size: api.minimum_ring_size },
    };
    ConsistentHash { key, ring }
}

/// Balancing by locality.
pub(crate) fn locality(api: &lb::LocalityLoadBalancerSetting) -> LocalityBalancing {
    LocalityBalancing {
        disabled: api.enabled == Some(false),
        distribute: api
            .distribute
            .iter()
            .map(|rule| Distribute {
                from: rule.from.as_str().into(),
                to: rule.to.iter().map(|(to, percent)| (Str::from(to.as_str()), *percent)).collect(),
            })
            .collect(),
        failover: api.failover.iter().map(|pair| (pair.from.as_str().into(), pair.to.as_str().into())).collect(),
        failover_priority: strs(&api.failover_priority),
    }
}

/// Balancing by zone.
pub(crate) fn zone_aware(api: &lb::ZoneAwareLoadBalancerSetting) -> ZoneAware {
    ZoneAware {
        disabled: api.enabled == Some(false),
        failover: api.failover.iter().map(|pair| (pair.from.as_str().into(), pair.to.as_str().into())).collect(),
        failover_priority: strs(&api.failover_priority),
        min_cluster_size: api.min_cluster_size,
    }
}
