// SPDX-License-Identifier: Apache-2.0
//! What a pod's annotations leave out of the capture of its traffic
//! (<https://istio.io/latest/docs/reference/config/annotations/>). Defaults of the installation stand in no object, and are not known here.

use std::net::IpAddr;

use ipnet::IpNet;
use tiphys_api::names::annotation;

use crate::pods::Group;

/// Ports of the agent and the proxy, which are never captured.
const OWN: [u32; 4] = [15090, 15021, 15020, 15008];

/// Ports that a list names, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    All,
    Listed(Vec<u32>),
}

impl Ports {
    fn read(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::All;
        }
        Self::Listed(text.split(',').filter_map(|port| port.trim().parse().ok()).collect())
    }

    fn has(&self, port: u32) -> bool {
        match self {
            Self::All => true,
            Self::Listed(ports) => ports.contains(&port),
        }
    }
}

/// What is captured of the connections to a pod.
pub(crate) struct Inbound {
    included: Ports,
    excluded: Ports,
    off: bool,
}

impl Inbound {
    pub fn of(group: &Group<'_>) -> Self {
        let excluded = group.annotation(annotation::EXCLUDE_INBOUND_PORTS).unwrap_or_default();
        let included = group.annotation(annotation::INCLUDE_INBOUND_PORTS).map_or(Ports::All, Ports::read);
        Self { included, excluded: Ports::read(excluded), off: is_off(group) }
    }

    /// Whether connections to a port of the pod go through its proxy.
    pub fn takes(&self, port: u32) -> bool {
        !self.off && self.included.has(port) && !self.excluded.has(port) && !OWN.contains(&port)
    }

    /// The annotation that leaves a port out.
    pub fn cause(&self, port: u32) -> &'static str {
        if self.off {
            annotation::INTERCEPTION_MODE
        } else if self.excluded.has(port) {
            annotation::EXCLUDE_INBOUND_PORTS
        } else {
            annotation::INCLUDE_INBOUND_PORTS
        }
    }
}

fn is_off(group: &Group<'_>) -> bool {
    group.annotation(annotation::INTERCEPTION_MODE).is_some_and(|mode| mode.eq_ignore_ascii_case("NONE"))
}

/// What is left out of the connections that a pod makes.
pub(crate) struct Outbound {
    ports: Option<Ports>,
    /// None stands for all.
    included: Option<Vec<IpNet>>,
    excluded: Vec<IpNet>,
}

fn ranges(text: &str) -> Vec<IpNet> {
    let read = |one: &str| one.parse::<IpNet>().ok().or_else(|| one.parse::<IpAddr>().ok().map(IpNet::from));
    text.split(',').filter_map(|one| read(one.trim())).collect()
}

impl Outbound {
    /// What a workload leaves out; none when that is nothing.
    pub fn of(group: &Group<'_>) -> Option<Self> {
        let said = |name: &str| group.annotation(name).map(str::trim);
        let ports = said(annotation::EXCLUDE_OUTBOUND_PORTS).filter(|text| !text.is_empty()).map(Ports::read);
        let included = said(annotation::INCLUDE_OUTBOUND_IP_RANGES).filter(|text| *text != "*").map(ranges);
        let excluded = said(annotation::EXCLUDE_OUTBOUND_IP_RANGES).map(ranges).unwrap_or_default();
        let off = is_off(group);
        if ports.is_none() && included.is_none() && excluded.is_empty() && !off {
            return None;
        }
        Some(Self { ports, included: if off { Some(Vec::new()) } else { included }, excluded })
    }

    /// The annotation that leaves connections to an address and port out; none when they are captured.
    pub fn leaves_out(&self, address: Option<IpAddr>, port: u32) -> Option<&'static str> {
        if self.ports.as_ref().is_some_and(|ports| ports.has(port)) {
            return Some(annotation::EXCLUDE_OUTBOUND_PORTS);
        }
        let address = address?;
        let within = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&address));
        if within(&self.excluded) {
            return Some(annotation::EXCLUDE_OUTBOUND_IP_RANGES);
        }
        let included = self.included.as_ref()?;
        (!within(included)).then_some(annotation::INCLUDE_OUTBOUND_IP_RANGES)
    }
}
