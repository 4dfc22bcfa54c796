// SPDX-License-Identifier: Apache-2.0
//! Services: what clients call, whether declared by Kubernetes or by a ServiceEntry.

use crate::{Host, Labels, Protocol, Str};
use serde::Serialize;

/// Where a service was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Registry {
    /// A Kubernetes Service.
    Kubernetes,
    /// A ServiceEntry.
    External,
}

/// How the addresses behind a service are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Resolution {
    /// The control plane gives the endpoints (EDS).
    ClientSide,
    /// The proxy resolves names and balances over all answers.
    Dns,
    /// The proxy resolves a name and uses the answer of the moment.
    DnsRoundRobin,
    /// The proxy resolves the name that each connection asks for.
    DynamicDns,
    /// The proxy sends on to the address that the client dialled.
    Passthrough,
    /// Another name for a service (ExternalName).
    Alias,
}

/// The namespaces that see an object (exportTo).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Visibility {
    /// Nothing was said: the mesh's default applies.
    #[default]
    Unset,
    /// Every namespace.
    Public,
    /// Its own namespace only.
    Private,
    /// The named namespaces; `.` stands for its own.
    Namespaces(Vec<Str>),
    /// Nobody.
    None,
}

impl Visibility {
    /// Reads an exportTo list: `*` public, `.` own namespace, `~` nobody, else namespaces.
    pub fn from_list<S: AsRef<str>>(list: &[S]) -> Self {
        let has = |wanted: &str| list.iter().any(|item| item.as_ref() == wanted);
        if list.is_empty() {
            Self::Unset
        } else if has("*") {
            Self::Public
        } else if has("~") {
            Self::None
        } else if list.len() == 1 && has(".") {
            Self::Private
        } else {
            let mut names: Vec<Str> = list.iter().map(|item| item.as_ref().into()).collect();
            names.sort();
            names.dedup();
            Self::Namespaces(names)
        }
    }

    /// Whether an object of `owner` is seen from `namespace`; `default` is the mesh's own default for its kind.
    pub fn allows(&self, owner: &str, namespace: &str, default: &Self) -> bool {
        match self {
            Self::Unset if *default == Self::Unset => true,
            Self::Unset => default.allows(owner, namespace, &Self::Public),
            Self::Public => true,
            Self::Private => owner == namespace,
            Self::Namespaces(names) => {
                names.iter().any(|name| &**name == namespace || (&**name == "." && owner == namespace))
            }
            Self::None => false,
        }
    }
}

/// The port of the workloads behind a service's port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum TargetPort {
    /// The same number.
    #[default]
    Same,
    /// Another number.
    Number(u32),
    /// The workload's port of this name.
    Named(Str),
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Port {
    /// Name, unique in the service; may be empty when it is the only one.
    pub name: Str,
    /// Number that clients dial.
    pub number: u32,
    /// What it speaks.
    pub protocol: Protocol,
    /// Port of the workloads.
    pub target: TargetPort,
}

/// A service under one host name and, for a ServiceEntry with several addresses, one address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Service {
    /// Fully qualified host name, or the ServiceEntry's host.
    pub host: Host,
    /// Namespace of the object that declared it.
    pub namespace: Str,
    /// The Service's name, or the ServiceEntry's host.
    pub name: Str,
    /// Name of the object that declared it.
    pub object_name: Str,
    /// Where it was declared.
    pub registry: Registry,
    /// Ports in the order of declaration.
    pub ports: Vec<Port>,
    /// Virtual addresses, the first being the default; `0.0.0.0` when there is none; may be a CIDR for a ServiceEntry.
    pub addresses: Vec<Str>,
    /// Addresses that were allocated for a ServiceEntry without any.
    pub auto_addresses: Vec<Str>,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Outside of the mesh: no mutual TLS, no identity.
    pub mesh_external: bool,
    /// Who sees it.
    pub export_to: Visibility,
    /// Labels of the object.
    pub labels: Labels,
    /// Labels that its workloads carry; empty when endpoints are listed by hand.
    pub selector: Labels,
    /// Creation in seconds since 1970: the older of two wins.
    pub creation: i64,
    /// Identities that its endpoints may have beside those that are known from the endpoints.
    pub subject_alt_names: Vec<Str>,
    /// The other name of an ExternalName service.
    pub external_name: Option<Str>,
    /// Endpoints that are not ready are used all the same.
    pub publish_not_ready: bool,
    /// internalTrafficPolicy Local.
    pub node_local: bool,
    /// trafficDistribution (PreferClose, PreferSameZone, PreferSameNode).
    pub traffic_distribution: Option<Str>,
    /// Type of a Kubernetes Service (ClusterIP, NodePort, LoadBalancer, ExternalName); empty for a ServiceEntry.
    pub kind: Str,
    /// Addresses from outside of the cluster (load balancer, externalIPs), to reach gateways of other networks.
    pub external_addresses: Vec<Str>,
}

/// The address of a service that has none.
pub const UNSPECIFIED: &str = "0.0.0.0";

impl Service {
    /// The default virtual address; `0.0.0.0` when there is none.
    pub fn address(&self) -> &str {
        self.addresses.first().map_or(UNSPECIFIED, |address| address)
    }

    /// Whether it has no virtual address and its endpoints are dialled one by one.
    pub fn is_headless(&self) -> bool {
        self.registry == Registry::Kubernetes && self.resolution == Resolution::Passthrough
    }

    /// Whether proxies resolve its endpoints by DNS.
    pub fn is_dns(&self) -> bool {
        matches!(
            self.resolution,
            Resolution::Dns | Resolution::DnsRoundRobin | Resolution::DynamicDns | Resolution::Alias
        )
    }

    /// The port of a number.
    pub fn port(&self, number: u32) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::Visibility;

    #[test]
    fn visibility_is_read_and_applied() {
        let default = Visibility::Unset;
        assert!(Visibility::from_list::<&str>(&[]).allows("a", "b", &default));
        assert!(!Visibility::from_list(&["."]).allows("a", "b", &default));
        assert!(Visibility::from_list(&["."]).allows("a", "a", &default));
        assert!(Visibility::from_list(&["b", "."]).allows("a", "a", &default));
        assert!(!Visibility::from_list(&["~"]).allows("a", "a", &default));
        assert!(!Visibility::Unset.allows("a", "b", &Visibility::Private));
    }
}
