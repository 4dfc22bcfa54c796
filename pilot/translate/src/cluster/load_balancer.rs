// SPDX-License-Identifier: Apache-2.0
//! Choice of an endpoint: the algorithm, sticky sessions, warm-up, panic threshold and balancing by locality.

use crate::locality::{Balancing, always_lists_unready, lists_unready};
use tiphys_model::{Algorithm, HashRing, Service, TrafficDefaults, TrafficPolicy, Warmup};
use tiphys_proto::envoy::config::cluster::v3::Cluster;
use tiphys_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig,
    RingHashLbConfig, RoundRobinLbConfig, SlowStartConfig, common_lb_config,
};
use tiphys_proto::envoy::config::core::v3::RuntimeDouble;
use tiphys_proto::envoy::r#type::v3::Percent;
use tiphys_proto::{duration, uint64};

use common_lb_config::{LocalityConfigSpecifier, LocalityWeightedLbConfig, ZoneAwareLbConfig};

/// Entries of a hash ring when nobody says.
const RING_SIZE: u64 = 1024;

/// Applies the load balancer of a policy to an outbound cluster.
pub(super) fn apply(
    cluster: &mut Cluster,
    defaults: &TrafficDefaults,
    policy: Option<&TrafficPolicy>,
    service: &Service,
) {
    let outlier = policy.and_then(|policy| policy.outlier_detection.as_ref());
    let balancer = policy.and_then(|policy| policy.load_balancer.as_ref());
    let common: &mut CommonLbConfig = cluster.common_lb_config.get_or_insert_default();
    let panic = match outlier {
        // Proxies in panic would send to endpoints that are known not to be ready.
        Some(_) if always_lists_unready(defaults, service) => Some(0),
        Some(outlier) => Some(outlier.min_health_percent),
        None => lists_unready(defaults, service).then_some(0),
    };
    common.healthy_panic_threshold = panic.map(|percent| Percent { value: f64::from(percent) });
    let balancing = Balancing::of(defaults, balancer, service);
    common.locality_config_specifier =
        specifier(balancing.as_ref(), outlier.is_some(), defaults.always_weigh_localities);

    if cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into())) {
        cluster.set_lb_policy(LbPolicy::ClusterProvided);
        return;
    }
    let warmup = balancer.and_then(|balancer| balancer.warmup.as_ref()).map(slow_start);
    match balancer.map_or(Algorithm::Unspecified, |balancer| balancer.algorithm) {
        Algorithm::Unspecified | Algorithm::LeastRequest => {
            cluster.set_lb_policy(LbPolicy::LeastRequest);
            cluster.lb_config = warmup.map(|warmup| {
                LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                    slow_start_config: Some(warmup),
                    ..LeastRequestLbConfig::default()
                })
            });
        }
        Algorithm::Random => cluster.set_lb_policy(LbPolicy::Random),
        Algorithm::RoundRobin => {
            cluster.set_lb_policy(LbPolicy::RoundRobin);
            cluster.lb_config = warmup
                .map(|warmup| LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config: Some(warmup) }));
        }
        Algorithm::Passthrough => {
            cluster.set_lb_policy(LbPolicy::ClusterProvided);
            cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into()));
            cluster.load_assignment = None;
        }
    }
    if let Some(hash) = balancer.and_then(|balancer| balancer.consistent_hash.as_ref()) {
        sticky(cluster, hash.ring);
    }
}

fn sticky(cluster: &mut Cluster, ring: HashRing) {
    match ring {
        HashRing::Maglev { table_size } => {
            cluster.set_lb_policy(LbPolicy::Maglev);
            if table_size > 0 {
                cluster.lb_config = Some(LbConfig::MaglevLbConfig(MaglevLbConfig { table_size: uint64(table_size) }));
            }
        }
        HashRing::Ring { minimum_size } => {
            cluster.set_lb_policy(LbPolicy::RingHash);
            if minimum_size > 0 {
                cluster.lb_config = Some(ring_of(minimum_size));
            }
        }
        HashRing::Unspecified { minimum_size } => {
            cluster.set_lb_policy(LbPolicy::RingHash);
            cluster.lb_config = Some(ring_of(if minimum_size == 0 { RING_SIZE } else { minimum_size }));
        }
    }
}

fn ring_of(size: u64) -> LbConfig {
    LbConfig::RingHashLbConfig(RingHashLbConfig { minimum_ring_size: uint64(size), ..RingHashLbConfig::default() })
}

fn slow_start(warmup: &Warmup) -> SlowStartConfig {
    let mut config = SlowStartConfig { slow_start_window: duration(warmup.duration), ..SlowStartConfig::default() };
    if let Some((minimum, aggression)) = warmup.curve {
        // The runtime key is required and is to be one that nobody sets.
        config.aggression = Some(RuntimeDouble { default_value: aggression.get(), runtime_key: "(".into() });
        config.min_weight_percent = Some(Percent { value: minimum.get() });
    }
    config
}

/// Weights of localities are minded only where someone asked for them: otherwise they would skew the algorithm.
fn specifier(
    balancing: Option<&Balancing<'_>>,
    outlier_detection: bool,
    always: bool,
) -> Option<LocalityConfigSpecifier> {
    let weighted = match balancing {
        Some(Balancing::Zones(zones)) => {
            return Some(LocalityConfigSpecifier::ZoneAwareLbConfig(ZoneAwareLbConfig {
                routing_enabled: zones.disabled.then_some(Percent { value: 0.0 }),
                min_cluster_size: zones.min_cluster_size.and_then(uint64),
                ..ZoneAwareLbConfig::default()
            }));
        }
        Some(Balancing::Locality { setting, force }) => {
            let failover = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
            !setting.distribute.is_empty() || (failover && (*force || outlier_detection))
        }
        None => false,
    };
    (always || weighted).then_some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {}))
}
