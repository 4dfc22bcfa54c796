// SPDX-License-Identifier: Apache-2.0
//! Routes laid together: for each parent and host one VirtualService with the rules of all routes, in the order of precedence that the
//! Gateway API asks for (<https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule>).

use super::backend::Referrer;
use super::gateway_status::Attached;
use super::gateways::Listener;
use super::http::Rules;
use super::parent::{Parent, ParentKind, Route, parents};
use super::{INTERNAL, Inputs, Refusal, grpc, http, l4, status};
use crate::istio::virtual_service::with_destinations;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use tiphys_api::gateway::common::Route as _;
use tiphys_api::{Key, Kind, Object, Problem, Spec};
use tiphys_model::{
    ConnectionMatch, Host, HttpMatch, HttpRoute, MESH_GATEWAY, Marked, Semantics, Str, StringMatch, TcpRoute, TlsRoute,
    VirtualService, Visibility, WeightedDestination,
};

/// The rules of one route for one parent and host, before they are merged with those of other routes.
struct Part {
    /// What parts are merged by.
    key: String,
    service: VirtualService,
}

/// All routes as VirtualServices.
pub(super) fn lower(
    inputs: &Inputs<'_>,
    listeners: &[Listener],
    warnings: &mut BTreeMap<Key, Vec<Problem>>,
) -> Lowered {
    let mut parts = Vec::new();
    let mut made = Vec::new();
    let (mut statuses, mut attached) = (BTreeMap::new(), Attached::new());
    for kind in [Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute] {
        for object in inputs.store.of_kind(kind) {
            let mut one = One { inputs, object, listeners, warnings, attached: &mut attached };
            let status = match kind {
                Kind::HttpRoute | Kind::GrpcRoute => one.http(&mut parts),
                _ => one.connections(&mut made),
            };
            statuses.extend(status.map(|status| (object.key(), status)));
        }
    }
    for object in inputs.store.of_kind(Kind::UdpRoute) {
        let message = "UDPRoutes are not supported: it has no effect";
        warnings.entry(object.key()).or_default().push(Problem::warning("", message));
    }
    made.extend(merge(parts));
    let services = made.into_iter().map(|service| Marked::new(with_destinations(service))).collect();
    Lowered { services, statuses, attached }
}

/// What routes become.
pub(super) struct Lowered {
    pub services: Vec<Marked<VirtualService>>,
    pub statuses: BTreeMap<Key, Value>,
    /// The number of routes of each listener.
    pub attached: Attached,
}

/// Rules that were made, and what is wrong with them.
type Made<T> = (Vec<T>, Option<Refusal>);

/// An error makes all rules unusable.
type Outcome<T> = Result<Made<T>, Refusal>;

/// One route as it is lowered.
struct One<'a> {
    inputs: &'a Inputs<'a>,
    object: &'a Object,
    listeners: &'a [Listener],
    warnings: &'a mut BTreeMap<Key, Vec<Problem>>,
    attached: &'a mut Attached,
}

impl<'a> One<'a> {
    fn route(&self) -> Option<Route<'a>> {
        let object = self.object;
        let (parents, hostnames) = match &object.spec {
            Spec::HttpRoute(route) => (route.parent_refs(), route.hostnames()),
            Spec::GrpcRoute(route) => (route.parent_refs(), route.hostnames()),
            Spec::TlsRoute(route) => (route.parent_refs(), route.hostnames()),
            Spec::TcpRoute(route) => (route.parent_refs(), route.hostnames()),
            _ => return None,
        };
        Some(Route { object, parents, hostnames })
    }

    fn referrer(&self, strict: bool) -> Referrer<'a> {
        let meta = &self.object.meta;
        Referrer { inputs: self.inputs, kind: self.object.kind(), namespace: &meta.namespace, name: &meta.name, strict }
    }

    /// Warns of the parents that do not take the route, and gives those that do, sorted by internal name.
    fn attached<'p>(&mut self, parents: &'p [Parent<'a>]) -> Vec<&'p Parent<'a>> {
        let (mut attached, denied): (Vec<_>, Vec<_>) = parents.iter().partition(|parent| parent.denied.is_none());
        for parent in &denied {
            // Of a Gateway's listeners it is enough that one takes the route.
            let taken = attached.iter().any(|other| other.reference == parent.reference);
            if let (Some(refusal), false) = (&parent.denied, taken) {
                self.warn(&format!("not accepted by parent {:?}", parent.reference.name), refusal);
            }
        }
        attached.sort_by(|a, b| a.gateway.cmp(&b.gateway));
        let listeners: BTreeSet<&Str> = attached.iter().filter(|one| !one.is_mesh()).map(|one| &one.gateway).collect();
        for listener in listeners {
            *self.attached.entry(listener.clone()).or_default() += 1;
        }
        attached
    }

    fn warn(&mut self, what: &str, Refusal { reason, message }: &Refusal) {
        let problem = Problem::warning("spec", format!("{what}: {message} ({reason})"));
        let list = self.warnings.entry(self.object.key()).or_default();
        if !list.contains(&problem) {
            list.push(problem);
        }
    }

    /// The rules for the mesh, which need no grants, and for gateways, which do; as far as there are such parents.
    fn rules<T: Clone>(&mut self, parents: &[Parent<'_>], make: impl Fn(&Referrer<'_>) -> Outcome<T>) -> [Made<T>; 2] {
        [false, true].map(|strict| {
            if !parents.iter().any(|parent| parent.is_mesh() != strict) {
                return (Vec::new(), None);
            }
            let (rules, refused) = make(&self.referrer(strict)).unwrap_or_else(|refused| (Vec::new(), Some(refused)));
            if let Some(refused) = &refused {
                let what = if rules.is_empty() { "the route is not used" } else { "a backend is not used" };
                self.warn(what, refused);
            }
            (rules, refused)
        })
    }

    fn http(&mut self, parts: &mut Vec<Part>) -> Option<Value> {
        let route = self.route()?;
        let object = self.object;
        let make = |referrer: &Referrer<'_>| -> Result<Rules, Refusal> {
            match &object.spec {
                Spec::GrpcRoute(route) => grpc::rules(route, referrer),
                Spec::HttpRoute(route) => http::rules(route, referrer),
                _ => Ok((Vec::new(), None)),
            }
        };
        let parents = parents(self.inputs, &route, self.listeners);
        let made = self.rules(&parents, make);
        for parent in self.attached(&parents) {
            let mut rules = made[usize::from(!parent.is_mesh())].0.clone();
            if rules.is_empty() {
                continue;
            }
            let port = parent.reference.port.filter(|_| parent.is_mesh());
            if let Some(port) = port {
                narrow(&mut rules, port.try_into().unwrap_or_default());
            }
            rules.sort_by_key(precedence);
            for host in self.hosts(parent, route.hostnames) {
                if !parent.serves(&host) {
                    continue;
                }
                let service = self.service(parent, &host, parts.len());
                let key = self.key(parent, port, &host);
                parts.push(Part { key, service: VirtualService { http: rules.clone(), ..service } });
            }
        }
        Some(status::route(object, &parents, &[made[0].1.as_ref(), made[1].1.as_ref()]))
    }

    /// The hosts that a route is about at a parent.
    fn hosts(&self, parent: &Parent<'_>, hostnames: &[String]) -> Vec<String> {
        let domain = &self.inputs.mesh.domain;
        match parent.kind {
            ParentKind::Listener if hostnames.is_empty() => vec!["*".into()],
            ParentKind::Listener => hostnames.to_vec(),
            ParentKind::Service => vec![format!("{}.{}.svc.{domain}", parent.reference.name, parent.namespace)],
            ParentKind::ServiceEntry => {
                let store = self.inputs.store;
                match store.get(Kind::ServiceEntry, parent.namespace, &parent.reference.name).map(|o| &o.spec) {
                    Some(Spec::ServiceEntry(entry)) => entry.hosts.clone(),
                    _ => Vec::new(),
                }
            }
            ParentKind::Mesh => {
                let own = self.object.meta.namespace.as_str();
                hostnames.iter().map(|host| Host::resolve(host, own, domain).as_str().into()).collect()
            }
        }
    }

    /// Routes are merged that have a host in common at a listener, or, in the mesh, from one namespace and for one port.
    fn key(&self, parent: &Parent<'_>, port: Option<i32>, host: &str) -> String {
        let namespace = &self.object.meta.namespace;
        let port = port.map(|port| format!("/{port}")).unwrap_or_default();
        match parent.kind {
            ParentKind::Listener => format!("{}/{host}", parent.gateway),
            ParentKind::Service | ParentKind::ServiceEntry => format!("{namespace}{port}/{host}"),
            ParentKind::Mesh => format!("{namespace}/{MESH_GATEWAY}{port}/{host}"),
        }
    }

    fn service(&self, parent: &Parent<'_>, host: &str, count: usize) -> VirtualService {
        let meta = &self.object.meta;
        VirtualService {
            name: format!("{}~{count}~{INTERNAL}", meta.name).into(),
            namespace: meta.namespace.as_str().into(),
            creation: meta.creation,
            semantics: Semantics::GatewayApi,
            hosts: vec![Host::new(host)],
            gateways: vec![parent.gateway.clone()],
            export_to: Visibility::Public,
            all_ports: parent.kind == ParentKind::Mesh,
            ..VirtualService::default()
        }
    }

    fn connections(&mut self, services: &mut Vec<VirtualService>) -> Option<Value> {
        let route = self.route()?;
        let (rules, word) = match &self.object.spec {
            Spec::TlsRoute(route) => (&route.rules, "tls"),
            Spec::TcpRoute(route) => (&route.rules, "tcp"),
            _ => return None,
        };
        let make = |referrer: &Referrer<'_>| {
            let mut refused = None;
            let mut made: Vec<Vec<WeightedDestination>> = Vec::new();
            for rule in rules {
                let (destinations, wrong) = l4::destinations(rule, referrer)?;
                refused = wrong.or(refused);
                made.push(destinations);
            }
            Ok((made, refused))
        };
        let parents = parents(self.inputs, &route, self.listeners);
        let made = self.rules(&parents, make);
        let mut count = 0;
        for parent in self.attached(&parents) {
            let destinations = &made[usize::from(!parent.is_mesh())].0;
            if destinations.is_empty() {
                continue;
            }
            for host in self.connection_hosts(parent, route.hostnames) {
                let mut service = self.service(parent, &host, 0);
                service.name = format!("{}~{word}~{count}~{INTERNAL}", self.object.meta.name).into();
                count += 1;
                fill(&mut service, (word, parent), route.hostnames, destinations);
                services.push(service);
            }
        }
        Some(status::route(self.object, &parents, &[made[0].1.as_ref(), made[1].1.as_ref()]))
    }

    fn connection_hosts(&self, parent: &Parent<'_>, hostnames: &[String]) -> Vec<String> {
        let hosts = self.hosts(parent, hostnames);
        match parent.hostname {
            "" => hosts,
            own => hosts.iter().filter_map(|host| common(host, own)).collect(),
        }
    }
}

/// The more specific of two hosts that overlap.
fn common(a: &str, b: &str) -> Option<String> {
    let (first, second) = (Host::new(a), Host::new(b));
    if first.subset_of(&second) { Some(a.into()) } else { second.subset_of(&first).then(|| b.into()) }
}

/// Puts the rules of connections into a VirtualService of one host.
fn fill(
    service: &mut VirtualService,
    (word, parent): (&str, &Parent<'_>),
    hostnames: &[String],
    rules: &[Vec<WeightedDestination>],
) {
    let port = parent.reference.port.filter(|_| parent.is_mesh()).and_then(|port| port.try_into().ok());
    if word == "tcp" {
        let matches: Vec<_> =
            port.map(|port| ConnectionMatch { port, ..ConnectionMatch::default() }).into_iter().collect();
        let rule = |destinations: &Vec<WeightedDestination>| TcpRoute {
            matches: matches.clone(),
            destinations: destinations.clone(),
        };
        service.tcp = rules.iter().map(rule).collect();
        return;
    }
    let names: Vec<Host> = match (hostnames, parent.is_mesh()) {
        // In the mesh the names that clients ask for are those of the service.
        ([], true) => service.hosts.clone(),
        ([], false) if parent.hostname.is_empty() => vec![Host::new("*")],
        ([], false) => vec![Host::new(parent.hostname)],
        (names, true) => names.iter().map(|name| Host::new(name)).collect(),
        (names, false) if parent.hostname.is_empty() => names.iter().map(|name| Host::new(name)).collect(),
        (names, false) => {
            names.iter().filter_map(|name| common(name, parent.hostname)).map(|n| Host::new(&n)).collect()
        }
    };
    let one = ConnectionMatch { sni_hosts: names, port: port.unwrap_or_default(), ..ConnectionMatch::default() };
    service.tls = rules.iter().map(|to| TlsRoute { matches: vec![one.clone()], destinations: to.clone() }).collect();
}

/// Lets rules match one port only.
fn narrow(rules: &mut [HttpRoute], port: u32) {
    for rule in rules {
        if rule.matches.is_empty() {
            rule.matches.push(HttpMatch::default());
        }
        for one in &mut rule.matches {
            one.port = port;
        }
    }
}

/// Rank and length of the path, whether there is a method, how many headers and parameters there are.
type Exactness = (i32, usize, bool, usize, usize);

/// Smaller comes first: the more exact path, then a method, then more headers, then more parameters; a rule without matches is last. What is
/// equal stays in the order of creation and name.
fn precedence(rule: &HttpRoute) -> (bool, Reverse<Exactness>) {
    let Some(one) = rule.matches.first() else { return (true, Reverse((0, 0, false, 0, 0))) };
    let (rank, length) = match &one.uri {
        Some(StringMatch::Exact(path)) => (3, path.len()),
        Some(StringMatch::Prefix(path)) => (2, path.len()),
        Some(StringMatch::Regex(path)) => (1, path.len()),
        Some(StringMatch::Present) | None => (-1, 0),
    };
    (false, Reverse((rank, length, one.method.is_some(), one.headers.len(), one.query_params.len())))
}

/// Merges the parts of each key, those of older routes first.
fn merge(parts: Vec<Part>) -> Vec<VirtualService> {
    let mut by_key: BTreeMap<String, Vec<VirtualService>> = BTreeMap::new();
    for part in parts {
        by_key.entry(part.key).or_default().push(part.service);
    }
    by_key
        .into_iter()
        .filter_map(|(key, mut services)| {
            services.sort_by(|a, b| (a.creation, &a.namespace, &a.name).cmp(&(b.creation, &b.namespace, &b.name)));
            let mut services = services.into_iter();
            let mut first = services.next()?;
            first.http.extend(services.flat_map(|service| service.http));
            first.http.sort_by_key(precedence);
            first.name = Str::from(key.replace('/', "~"));
            Some(first)
        })
        .collect()
}
