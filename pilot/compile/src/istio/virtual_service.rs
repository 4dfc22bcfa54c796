// SPDX-License-Identifier: Apache-2.0
//! Lowering of VirtualServices (<https://istio.io/latest/docs/reference/config/networking/virtual-service/>). The rules of requests are
//! in [`super::http_rule`].

use super::http_rule;
use crate::LowerContext;
use crate::lower::labels;
use tiphys_api::istio::networking::virtual_service as api;
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{
    ConnectionMatch, Destination, Host, MESH_GATEWAY, Semantics, Str, TcpRoute, TlsRoute, VirtualService, Visibility,
    WeightedDestination,
};

/// Where the names in one object are looked up.
pub(crate) struct Names<'a> {
    /// Namespace of the object.
    pub namespace: &'a str,
    /// What is appended to short names.
    pub domain: &'a str,
}

impl Names<'_> {
    /// A host as it is meant in the namespace.
    pub fn host(&self, name: &str) -> Host {
        Host::resolve(name, self.namespace, self.domain)
    }

    /// A gateway as `NAMESPACE/NAME`, or `mesh`. Names with dots are of an older form, NAME.NAMESPACE.svc.DOMAIN.
    pub fn gateway(&self, name: &str) -> Str {
        match name.split_once('/') {
            _ if name == MESH_GATEWAY => name.into(),
            Some((".", rest)) => format!("{}/{rest}", self.namespace).into(),
            Some(_) => name.into(),
            None => match name.split_once('.') {
                None => format!("{}/{name}", self.namespace).into(),
                Some((gateway, rest)) => format!("{}/{gateway}", rest.split('.').next().unwrap_or(rest)).into(),
            },
        }
    }

    pub(super) fn destination(&self, destination: &api::Destination) -> Destination {
        Destination {
            host: self.host(&destination.host),
            subset: destination.subset.as_str().into(),
            port: destination.port.as_ref().map(|port| port.number),
        }
    }

    pub(super) fn gateways(&self, names: &[String]) -> Vec<Str> {
        names.iter().map(|name| self.gateway(name)).collect()
    }
}

/// A VirtualService in the words of the model; none for one without hosts, which only others delegate to.
pub fn lower(object: &Object, cx: &LowerContext<'_>, problems: &mut Vec<Problem>) -> Option<VirtualService> {
    let Spec::VirtualService(spec) = &object.spec else { return None };
    if spec.hosts.is_empty() {
        problems.push(Problem::warning(
            "spec.hosts",
            "a VirtualService without hosts, for others to delegate to, is not supported: it has no effect",
        ));
        return None;
    }
    let names = Names { namespace: &object.meta.namespace, domain: &cx.mesh.short_name_domain };
    let gateways = match spec.gateways.is_empty() {
        true => vec![MESH_GATEWAY.into()],
        false => names.gateways(&spec.gateways),
    };
    let mut http = Vec::new();
    for (index, rule) in spec.http.iter().enumerate() {
        http.extend(http_rule::lower(rule, &names, &format!("spec.http[{index}]"), problems));
    }
    let lowered = VirtualService {
        name: object.meta.name.as_str().into(),
        namespace: object.meta.namespace.as_str().into(),
        creation: object.meta.creation,
        semantics: Semantics::Istio,
        hosts: spec.hosts.iter().map(|host| names.host(host)).collect(),
        gateways,
        export_to: Visibility::from_list(&spec.export_to),
        destinations: Vec::new(),
        http,
        tls: spec.tls.iter().map(|rule| tls(rule, &names)).collect(),
        tcp: spec.tcp.iter().map(|rule| tcp(rule, &names)).collect(),
        all_ports: false,
    };
    Some(with_destinations(lowered))
}

/// Notes the hosts that the routes send to.
pub(crate) fn with_destinations(mut service: VirtualService) -> VirtualService {
    let http = service.http.iter().flat_map(|rule| rule.destinations());
    let tls = service.tls.iter().flat_map(|rule| &rule.destinations);
    let tcp = service.tcp.iter().flat_map(|rule| &rule.destinations);
    let connections = tls.chain(tcp).map(|weighted| &weighted.destination);
    let mut hosts: Vec<Host> = http.chain(connections).map(|destination| destination.host.clone()).collect();
    hosts.retain(|host| !host.as_str().is_empty());
    hosts.sort();
    hosts.dedup();
    service.destinations = hosts;
    service
}

fn tls(rule: &api::TlsRoute, names: &Names<'_>) -> TlsRoute {
    let matches = rule.r#match.iter().map(|one| ConnectionMatch {
        sni_hosts: one.sni_hosts.iter().map(|host| Host::new(host)).collect(),
        destination_subnets: crate::lower::strs(&one.destination_subnets),
        port: one.port,
        source_labels: labels(&one.source_labels),
        namespace: one.source_namespace.as_str().into(),
        gateways: names.gateways(&one.gateways),
    });
    TlsRoute { matches: matches.collect(), destinations: weighted(&rule.route, names) }
}

fn tcp(rule: &api::TcpRoute, names: &Names<'_>) -> TcpRoute {
    let matches = rule.r#match.iter().map(|one| ConnectionMatch {
        sni_hosts: Vec::new(),
        destination_subnets: crate::lower::strs(&one.destination_subnets),
        port: one.port,
        source_labels: labels(&one.source_labels),
        namespace: one.source_namespace.as_str().into(),
        gateways: names.gateways(&one.gateways),
    });
    TcpRoute { matches: matches.collect(), destinations: weighted(&rule.route, names) }
}

fn weighted(routes: &[api::RouteDestination], names: &Names<'_>) -> Vec<WeightedDestination> {
    let one = |route: &api::RouteDestination| {
        let destination = names.destination(route.destination.as_ref()?);
        Some(WeightedDestination { destination, weight: route.weight.try_into().unwrap_or_default() })
    };
    routes.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn gateways_are_named_by_namespace() {
        let names = Names { namespace: "ns", domain: "cluster.local" };
        for (written, meant) in [
            ("mesh", "mesh"),
            ("g", "ns/g"),
            ("./g", "ns/g"),
            ("other/g", "other/g"),
            ("g.other", "other/g"),
            ("g.other.svc.cluster.local", "other/g"),
        ] {
            assert_eq!(&*names.gateway(written), meant);
        }
    }

    #[test]
    fn hosts_without_a_dot_are_services_of_the_namespace() {
        let names = Names { namespace: "ns", domain: "cluster.local" };
        assert_eq!(names.host("a").as_str(), "a.ns.svc.cluster.local");
        assert_eq!(Names { domain: "", ..names }.host("a").as_str(), "a.ns");
    }
}
