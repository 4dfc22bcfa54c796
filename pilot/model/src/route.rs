// SPDX-License-Identifier: Apache-2.0
//! Routes, whichever API they were written in: a VirtualService
//! (<https://istio.io/latest/docs/reference/config/networking/virtual-service/>) or a route of the Gateway API in its form.

use crate::{Host, HttpRoute, Labels, Str, Visibility};
use serde::Serialize;

/// The name that stands for all sidecars in a VirtualService's `gateways`.
pub const MESH_GATEWAY: &str = "mesh";

/// Which API's rules apply where the APIs differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Semantics {
    /// A VirtualService's.
    #[default]
    Istio,
    /// The Gateway API's: prefixes match whole path elements, a missing backend is answered with 500.
    GatewayApi,
    /// A Kubernetes Ingress's: prefixes match whole path elements.
    Ingress,
}

/// One VirtualService, or a route of the Gateway API in its form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct VirtualService {
    /// Name of the object.
    pub name: Str,
    /// Namespace of the object.
    pub namespace: Str,
    /// Creation in seconds since 1970: the older of two wins.
    pub creation: i64,
    /// Which API's rules apply.
    pub semantics: Semantics,
    /// Hosts that it is about, fully qualified.
    pub hosts: Vec<Host>,
    /// `mesh`, or gateways as `NAMESPACE/NAME`.
    pub gateways: Vec<Str>,
    /// Who sees it.
    pub export_to: Visibility,
    /// Hosts that its routes send to, fully qualified, sorted.
    pub destinations: Vec<Host>,
    /// Routes of requests, the first that matches wins.
    pub http: Vec<HttpRoute>,
    /// Routes of TLS connections that are passed on unopened.
    pub tls: Vec<TlsRoute>,
    /// Routes of other connections.
    pub tcp: Vec<TcpRoute>,
    /// It acts on every HTTP port that a sidecar serves, also for hosts that no service has (a route whose parent is the mesh).
    pub all_ports: bool,
}

impl VirtualService {
    /// Whether it acts in sidecars.
    pub fn is_for_mesh(&self) -> bool {
        self.is_for_gateway(MESH_GATEWAY)
    }

    /// Whether it acts at a gateway (`mesh` or `NAMESPACE/NAME`).
    pub fn is_for_gateway(&self, gateway: &str) -> bool {
        self.gateways.iter().any(|name| &**name == gateway)
    }

    /// What of a client workload can make a difference: the labels that some match names, and the namespace if some match does.
    /// Proxies with the same answer share their routes.
    pub fn source_of(&self, labels: &Labels, namespace: &str) -> Source {
        let mut source = Source::default();
        let matches = self.http.iter().flat_map(|route| route.matches.iter().map(|m| (&m.source_labels, &m.namespace)));
        let tls = self.tls.iter().flat_map(|route| route.matches.iter().map(|m| (&m.source_labels, &m.namespace)));
        let tcp = self.tcp.iter().flat_map(|route| route.matches.iter().map(|m| (&m.source_labels, &m.namespace)));
        for (wanted, wanted_namespace) in matches.chain(tls).chain(tcp) {
            for key in wanted.keys() {
                if let Some(value) = labels.get(key) {
                    source.labels.insert(key.clone(), value.clone());
                }
            }
            if !wanted_namespace.is_empty() && source.namespace.is_empty() {
                source.namespace = namespace.into();
            }
        }
        source
    }
}

/// What is known of the workload that sends: the part that matches can ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Source {
    /// Its labels.
    pub labels: Labels,
    /// Its namespace.
    pub namespace: Str,
}

/// A destination of requests or connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Destination {
    /// Host, fully qualified; an empty one stands for a backend that does not exist or may not be used.
    pub host: Host,
    /// Subset of the host's DestinationRule; empty = all.
    pub subset: Str,
    /// Port of the service; absent: its only port, else the port that was dialled.
    pub port: Option<u32>,
}

/// A destination of connections with its share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct WeightedDestination {
    /// Where to.
    pub destination: Destination,
    /// Share relative to the others; 0 takes nothing beside others.
    pub weight: u32,
}

/// Routes of TLS connections by server name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TlsRoute {
    /// Any of these has to match; never empty.
    pub matches: Vec<ConnectionMatch>,
    /// Where connections go.
    pub destinations: Vec<WeightedDestination>,
}

/// Routes of connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TcpRoute {
    /// Any of these has to match; empty = all connections.
    pub matches: Vec<ConnectionMatch>,
    /// Where connections go.
    pub destinations: Vec<WeightedDestination>,
}

/// What a connection has to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ConnectionMatch {
    /// Server names of the TLS handshake, maybe wildcards; empty for plain TCP.
    pub sni_hosts: Vec<Host>,
    /// Addresses that were dialled, as CIDRs; empty = any.
    pub destination_subnets: Vec<Str>,
    /// Port that was dialled; 0 = any.
    pub port: u32,
    /// Labels of the sending workload.
    pub source_labels: Labels,
    /// Namespace of the sending workload; empty = any.
    pub namespace: Str,
    /// `mesh` or gateways; empty = those of the VirtualService.
    pub gateways: Vec<Str>,
}

impl ConnectionMatch {
    /// Whether it applies to connections of a workload, or through a gateway, on a port.
    pub fn applies(&self, source: &Source, gateways: &[Str], port: u32) -> bool {
        (self.port == 0 || self.port == port)
            && source_applies(&self.gateways, &self.source_labels, &self.namespace, (source, gateways))
    }
}

/// Whether a match's gateways, or else its labels and namespace, are those of a proxy.
pub(crate) fn source_applies(
    wanted_gateways: &[Str],
    wanted_labels: &Labels,
    wanted_namespace: &str,
    (source, gateways): (&Source, &[Str]),
) -> bool {
    if !wanted_gateways.is_empty() {
        return wanted_gateways.iter().any(|gateway| gateways.contains(gateway));
    }
    crate::labels_match(wanted_labels, &source.labels)
        && (wanted_namespace.is_empty() || *wanted_namespace == *source.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HttpMatch;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn only_what_matches_ask_for_is_kept_of_a_source() {
        let mut service = VirtualService { http: vec![HttpRoute::default()], ..VirtualService::default() };
        assert_eq!(service.source_of(&labels(&[("app", "a")]), "ns"), Source::default());
        service.http[0].matches =
            vec![HttpMatch { source_labels: labels(&[("app", "b")]), namespace: "x".into(), ..HttpMatch::default() }];
        let source = service.source_of(&labels(&[("app", "a"), ("version", "v1")]), "ns");
        assert_eq!(source, Source { labels: labels(&[("app", "a")]), namespace: "ns".into() });
    }

    #[test]
    fn gateways_of_a_match_come_before_its_labels() {
        let source = Source { labels: labels(&[("app", "a")]), namespace: "ns".into() };
        let mesh = [Str::from(MESH_GATEWAY)];
        let of = |gateways: &[&str], pairs, namespace: &str| ConnectionMatch {
            gateways: gateways.iter().map(|name| (*name).into()).collect(),
            source_labels: labels(pairs),
            namespace: namespace.into(),
            ..ConnectionMatch::default()
        };
        assert!(of(&["mesh"], &[("app", "b")], "").applies(&source, &mesh, 80));
        assert!(!of(&["ns/g"], &[], "").applies(&source, &mesh, 80));
        assert!(of(&[], &[("app", "a")], "ns").applies(&source, &mesh, 80));
        assert!(!of(&[], &[("app", "a")], "other").applies(&source, &mesh, 80));
        assert!(!ConnectionMatch { port: 81, ..ConnectionMatch::default() }.applies(&source, &mesh, 80));
    }
}
