// SPDX-License-Identifier: Apache-2.0
//! Proxies, as their xDS Node message describes them.

use crate::{Labels, Locality, Str};
use serde_json::Value;
use std::net::IpAddr;

/// What a proxy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum ProxyType {
    /// Beside a workload.
    Sidecar,
    /// A gateway.
    Router,
    /// A waypoint of an ambient mesh.
    Waypoint,
}

/// How traffic reaches a sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum InterceptionMode {
    /// By iptables REDIRECT.
    #[default]
    Redirect,
    /// By TPROXY: the client's address is kept.
    Tproxy,
    /// Not at all: applications dial the proxy's ports.
    None,
}

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct ProxyNode {
    /// The whole node id, `TYPE~IP~NAME.NAMESPACE~DOMAIN`.
    pub node_id: Str,
    /// `NAME.NAMESPACE`.
    pub id: Str,
    /// What it is for.
    pub kind: ProxyType,
    /// Its addresses, the first being that of the node id.
    pub addresses: Vec<IpAddr>,
    /// Its namespace.
    pub namespace: Str,
    /// Its DNS domain, e.g. `default.svc.cluster.local`.
    pub dns_domain: Str,
    /// Labels of the workload.
    pub labels: Labels,
    /// Where it runs.
    pub locality: Locality,
    /// Cluster that it is in.
    pub cluster: Str,
    /// Network that it is in.
    pub network: Str,
    /// Mesh that it belongs to.
    pub mesh_id: Str,
    /// Name of the workload.
    pub workload: Str,
    /// Service account that it runs as.
    pub service_account: Str,
    /// Version of its agent, e.g. `1.32.0`.
    pub version: Str,
    /// How traffic reaches it.
    pub interception: InterceptionMode,
    /// Whether its Envoy has the filters of Istio's own build (stats, metadata exchange, alpn). Told by the extensions that it lists;
    /// one that lists none is taken for Istio's.
    pub istio_filters: bool,
    /// All metadata of the node, as JSON.
    pub metadata: Value,
}

/// Why a Node message is not that of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeError(pub String);

impl std::fmt::Display for NodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NodeError {}

/// What is read of a Node message.
pub struct NodeParts<'a> {
    /// `TYPE~IP~NAME.NAMESPACE~DOMAIN`.
    pub id: &'a str,
    /// The metadata struct as JSON.
    pub metadata: Value,
    /// The locality that Envoy states.
    pub locality: Locality,
    /// Names of the extensions that Envoy lists.
    pub extensions: &'a [String],
}

impl ProxyNode {
    /// Reads a Node message.
    pub fn parse(parts: NodeParts<'_>) -> Result<Self, NodeError> {
        let NodeParts { id, metadata, locality, extensions } = parts;
        let fields: Vec<&str> = id.split('~').collect();
        let [kind, ip, name, domain] = fields[..] else {
            return Err(NodeError(format!("node id {id:?}: expected TYPE~IP~NAME.NAMESPACE~DOMAIN")));
        };
        let kind = match kind {
            "sidecar" => ProxyType::Sidecar,
            "router" => ProxyType::Router,
            "waypoint" => ProxyType::Waypoint,
            other => return Err(NodeError(format!("node id {id:?}: proxies of type {other:?} are not served"))),
        };
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default();
        let labels = labels_of(&metadata);
        let namespace: Str = match text("NAMESPACE") {
            "" => name.rsplit_once('.').map_or("", |(_, namespace)| namespace).into(),
            namespace => namespace.into(),
        };
        let mut addresses: Vec<IpAddr> = ip.parse().into_iter().collect();
        for ip in text("INSTANCE_IPS").split(',').filter_map(|ip| ip.trim().parse().ok()) {
            if !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        if addresses.is_empty() {
            return Err(NodeError(format!("node id {id:?}: no IP address in it nor in INSTANCE_IPS")));
        }
        let locality = match labels.get(crate::name::LOCALITY) {
            Some(label) if !label.is_empty() && locality.is_empty() => Locality::parse(&label.replace('.', "/")),
            _ => locality,
        };
        let interception = match text("INTERCEPTION_MODE") {
            "TPROXY" => InterceptionMode::Tproxy,
            "NONE" => InterceptionMode::None,
            _ => InterceptionMode::Redirect,
        };
        let network = match text("NETWORK") {
            "" => labels.get(crate::name::NETWORK).cloned().unwrap_or_default(),
            network => network.into(),
        };
        Ok(Self {
            node_id: id.into(),
            id: name.into(),
            kind,
            addresses,
            namespace,
            dns_domain: domain.into(),
            locality,
            cluster: text("CLUSTER_ID").into(),
            network,
            mesh_id: text("MESH_ID").into(),
            workload: text("WORKLOAD_NAME").into(),
            service_account: text("SERVICE_ACCOUNT").into(),
            version: text("ISTIO_VERSION").into(),
            interception,
            istio_filters: extensions.is_empty() || extensions.iter().any(|name| name.starts_with("istio.")),
            labels,
            metadata,
        })
    }

    /// The proxy as translation sees it, without what only tells instances of one workload apart, so that replicas share. The
    /// addresses stay only where configuration is bound to them.
    pub fn class(&self, with_addresses: bool) -> Self {
        let mut class = self.clone();
        class.node_id = Str::default();
        class.id = Str::default();
        if !with_addresses {
            // Only which families there are is kept.
            let mut families: Vec<IpAddr> = Vec::new();
            for address in &self.addresses {
                let unspecified = match address {
                    IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
                    IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
                };
                if !families.contains(&unspecified) {
                    families.push(unspecified);
                }
            }
            class.addresses = families;
        }
        if let Some(metadata) = class.metadata.as_object_mut() {
            for key in ["NAME", "INSTANCE_IPS", "OWNER", "PILOT_SAN"] {
                metadata.remove(key);
            }
        }
        class
    }

    /// A text of the metadata, empty when absent.
    pub fn metadata_str(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The address that the proxy is known by.
    pub fn address(&self) -> IpAddr {
        // `parse` refuses a node without addresses.
        self.addresses.first().copied().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
    }

    /// Whether it has an IPv4 address.
    pub fn has_ipv4(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv4)
    }

    /// Whether it has an IPv6 address.
    pub fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }
}

fn labels_of(metadata: &Value) -> Labels {
    let Some(labels) = metadata.get("LABELS").and_then(Value::as_object) else { return Labels::new() };
    labels.iter().filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(id: &str, metadata: Value, extensions: &[String]) -> Result<ProxyNode, NodeError> {
        ProxyNode::parse(NodeParts { id, metadata, locality: Locality::default(), extensions })
    }

    #[test]
    fn a_node_is_read() {
        let metadata =
            json!({"LABELS": {"app": "a"}, "INSTANCE_IPS": "10.0.0.1,fd00::1", "INTERCEPTION_MODE": "TPROXY"});
        let node = parse("sidecar~10.0.0.1~a.ns~ns.svc.cluster.local", metadata, &[]).unwrap();
        assert_eq!((node.kind, &*node.namespace, &*node.id), (ProxyType::Sidecar, "ns", "a.ns"));
        assert_eq!(node.addresses.len(), 2);
        assert_eq!(node.interception, InterceptionMode::Tproxy);
        assert!(node.istio_filters && node.has_ipv6());
    }

    #[test]
    fn replicas_are_of_one_class() {
        let of = |ip: &str| {
            let id = format!("sidecar~{ip}~a-{ip}.ns~d");
            parse(&id, json!({"NAME": ip, "INSTANCE_IPS": ip, "LABELS": {"app": "a"}}), &[]).unwrap()
        };
        assert_eq!(of("10.0.0.1").class(false), of("10.0.0.2").class(false));
        assert_ne!(of("10.0.0.1").class(true), of("10.0.0.2").class(true));
        assert_ne!(of("10.0.0.1").class(false), of("fd00::2").class(false));
    }

    #[test]
    fn upstream_envoy_is_known_by_its_extensions() {
        let extensions = ["envoy.filters.http.router".to_string()];
        assert!(!parse("router~10.0.0.1~g.ns~d", json!({}), &extensions).unwrap().istio_filters);
    }

    #[test]
    fn a_broken_node_is_refused() {
        assert!(parse("sidecar~10.0.0.1~a.ns", json!({}), &[]).unwrap_err().0.contains("TYPE~IP"));
        assert!(parse("ztunnel~10.0.0.1~a.ns~d", json!({}), &[]).unwrap_err().0.contains("not served"));
        assert!(parse("sidecar~x~a.ns~d", json!({}), &[]).unwrap_err().0.contains("no IP address"));
    }
}
