// SPDX-License-Identifier: Apache-2.0
//! Which balancing by locality counts for a service: its rule's, then its own traffic distribution, then the mesh's.

use std::borrow::Cow;
use tiphys_model::{
    Distribute, ListUnready, LoadBalancer, LocalityBalancing, Service, Str, TrafficDefaults, ZoneAware,
};

/// Labels of a network, region, zone, subzone and node, as failover priorities name them.
pub(crate) mod label {
    pub(crate) const NETWORK: &str = "topology.istio.io/network";
    pub(crate) const CLUSTER: &str = "topology.istio.io/cluster";
    pub(crate) const REGION: &str = "topology.kubernetes.io/region";
    pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
    pub(crate) const SUBZONE: &str = "topology.istio.io/subzone";
    pub(crate) const NODE: &str = "kubernetes.io/hostname";
}

/// How the endpoints of a cluster are ranked and weighed for a client, by where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Spread {
    /// Weights by locality.
    Distribute(Vec<Distribute>),
    /// Priorities by labels, then by locality.
    Failover {
        /// Regions to fail over to: from, to.
        regions: Vec<(Str, Str)>,
        /// Labels, the most important first.
        priority: Vec<Str>,
    },
    /// Priorities by labels, then by region; zones are left to the proxy.
    Zones {
        /// Regions to fail over to: from, to.
        regions: Vec<(Str, Str)>,
        /// Labels, the most important first.
        priority: Vec<Str>,
    },
}

/// The balancing by locality that counts.
pub(crate) enum Balancing<'a> {
    /// By locality.
    Locality {
        setting: Cow<'a, LocalityBalancing>,
        /// Failover works without outlier detection.
        force: bool,
    },
    /// By zone.
    Zones(&'a ZoneAware),
}

impl<'a> Balancing<'a> {
    /// Finds it; none when it is switched off or nobody asks for it.
    pub(crate) fn of(
        defaults: &'a TrafficDefaults,
        balancer: Option<&'a LoadBalancer>,
        service: &Service,
    ) -> Option<Self> {
        let by_locality = |setting: &'a LocalityBalancing| {
            (!setting.disabled).then_some(Self::Locality { setting: Cow::Borrowed(setting), force: false })
        };
        if let Some(zones) = balancer.and_then(|balancer| balancer.zone_aware.as_ref()) {
            return Some(Self::Zones(zones));
        }
        if let Some(setting) = balancer.and_then(|balancer| balancer.locality.as_ref()) {
            return by_locality(setting);
        }
        if let Some(priority) = distribution(service) {
            let failover_priority = priority.iter().map(|label| Str::from(*label)).collect();
            let setting = LocalityBalancing { failover_priority, ..LocalityBalancing::default() };
            return Some(Self::Locality { setting: Cow::Owned(setting), force: true });
        }
        if let Some(zones) = &defaults.zone_aware {
            return Some(Self::Zones(zones));
        }
        defaults.locality.as_ref().and_then(by_locality)
    }

    /// What it does to endpoints, when something. Failover without outlier detection would never happen, hence is left out.
    pub(crate) fn spread(&self, outlier_detection: bool) -> Option<Spread> {
        match self {
            Self::Locality { setting, .. } if !setting.distribute.is_empty() => {
                Some(Spread::Distribute(setting.distribute.clone()))
            }
            Self::Locality { setting, force } => (*force || outlier_detection).then(|| Spread::Failover {
                regions: setting.failover.clone(),
                priority: setting.failover_priority.clone(),
            }),
            Self::Zones(zones) => (!zones.disabled)
                .then(|| Spread::Zones { regions: zones.failover.clone(), priority: zones.failover_priority.clone() }),
        }
    }
}

/// The labels that a service's traffic distribution prefers to be equal, the most important first.
fn distribution(service: &Service) -> Option<&'static [&'static str]> {
    let wanted = service.traffic_distribution.as_deref()?;
    if ["PreferClose", "PreferSameZone"].iter().any(|word| word.eq_ignore_ascii_case(wanted)) {
        Some(&[label::NETWORK, label::REGION, label::ZONE])
    } else if wanted.eq_ignore_ascii_case("PreferSameNode") {
        Some(&[label::NETWORK, label::REGION, label::ZONE, label::SUBZONE, label::NODE])
    } else {
        None
    }
}

/// Whether endpoints that are not ready are always listed: to spill over, proxies have to know them.
pub(crate) fn always_lists_unready(defaults: &TrafficDefaults, service: &Service) -> bool {
    defaults.list_unready == ListUnready::Always || distribution(service).is_some()
}

/// Whether endpoints that are not ready are listed where nothing speaks against it.
pub(crate) fn lists_unready(defaults: &TrafficDefaults, service: &Service) -> bool {
    defaults.list_unready != ListUnready::Never || always_lists_unready(defaults, service)
}
