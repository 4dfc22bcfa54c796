// SPDX-License-Identifier: Apache-2.0
//! Rules of plans: which services share a listener, which conflict, and what Sidecars and gateways make of them.

use super::connection_chains::{TcpPolicy, World};
use super::gateway_plan::{self, GatewayFacts};
use super::outbound_plan::{self, Egress, OutboundFacts, OutboundPlan};
use super::tests::environment;
use super::{Body, Environment, RouteSource};
use crate::filter::prepared::SecurityFilters;
use std::collections::BTreeMap;
use tiphys_model::{
    CaptureMode, ConnectionMatch, Destination, Gateway, Host, InterceptionMode, Marked, MergedGateway, Port, Protocol,
    Registry, Resolution, Server, ServerHost, ServerTls, ServerTlsMode, Service, SidecarEgress, Source, Str,
    TargetPort, TcpRoute, TlsRoute, UNSPECIFIED, VirtualService, Visibility, WeightedDestination,
};

#[derive(Default)]
struct Mesh {
    services: Vec<Marked<Service>>,
    endpoints: Vec<Vec<Str>>,
}

impl World for Mesh {
    fn service(&self, host: &Host) -> Option<&Service> {
        self.services.iter().find(|service| service.host == *host).map(|service| &**service)
    }

    fn addresses(&self, service: &Service) -> Vec<Str> {
        vec![service.address().into()]
    }

    fn endpoints(&self, _: &Service, _: &Port) -> Vec<Vec<Str>> {
        self.endpoints.clone()
    }

    fn tcp_policy(&self, _: &Host, _: &str) -> TcpPolicy {
        TcpPolicy::default()
    }

    fn subsets(&self, _: &Host) -> Vec<Str> {
        vec!["v1".into()]
    }
}

fn port(number: u32, protocol: Protocol) -> Port {
    Port { name: "p".into(), number, protocol, target: TargetPort::Same }
}

fn service(host: &str, address: &str, ports: &[(u32, Protocol)]) -> Marked<Service> {
    Marked::new(Service {
        host: host.into(),
        namespace: "ns".into(),
        name: host.into(),
        object_name: host.into(),
        registry: Registry::Kubernetes,
        ports: ports.iter().map(|(number, protocol)| port(*number, *protocol)).collect(),
        addresses: vec![address.into()],
        auto_addresses: Vec::new(),
        resolution: Resolution::ClientSide,
        mesh_external: false,
        export_to: Visibility::Unset,
        labels: BTreeMap::new(),
        selector: BTreeMap::new(),
        creation: 0,
        subject_alt_names: Vec::new(),
        external_name: None,
        publish_not_ready: false,
        node_local: false,
        traffic_distribution: None,
        kind: "ClusterIP".into(),
        external_addresses: Vec::new(),
    })
}

fn facts() -> OutboundFacts {
    OutboundFacts {
        source: Source::default(),
        own_address: "10.0.0.1".into(),
        unprivileged: false,
        reserved_ports: vec![15021],
        catch_all: Some("PassthroughCluster".into()),
        http_proxy_port: 0,
    }
}

fn plan_of(mesh: &Mesh, environment: Environment, egress: &[Egress<'_>]) -> OutboundPlan {
    outbound_plan::plan(&Marked::new(environment), mesh, &facts(), egress)
}

fn plan(services: Vec<Marked<Service>>, routes: &[Marked<VirtualService>]) -> OutboundPlan {
    let mesh = Mesh { services, endpoints: vec![vec!["10.0.0.1".into()], vec!["10.0.0.2".into()]] };
    let egress = [Egress { declared: None, services: &mesh.services, virtual_services: routes }];
    plan_of(&mesh, environment(), &egress)
}

/// Address, port and whether each chain routes requests.
fn shape(plan: &OutboundPlan) -> Vec<(String, Vec<bool>)> {
    let of = |input: &super::outbound::OutboundInput| {
        (format!("{}_{}", input.binds[0], input.port), input.chains.iter().map(super::Chain::is_http).collect())
    };
    plan.listeners.iter().map(of).collect()
}

fn row(name: &str, chains: &[bool]) -> (String, Vec<bool>) {
    (name.into(), chains.to_vec())
}

#[test]
fn http_shares_a_port_and_tcp_has_addresses() {
    let plan = plan(
        vec![
            service("a", "10.1.0.1", &[(80, Protocol::Http), (9000, Protocol::Tcp)]),
            service("b", "10.1.0.2", &[(80, Protocol::Http), (9000, Protocol::Tcp), (53, Protocol::Udp)]),
        ],
        &[],
    );
    let expected = [row("0.0.0.0_80", &[true]), row("10.1.0.1_9000", &[false]), row("10.1.0.2_9000", &[false])];
    assert_eq!(shape(&plan), expected);
    assert!(plan.conflicts.is_empty());
}

#[test]
fn mixed_protocols_at_one_address_are_sniffed() {
    let tcp = |host| service(host, UNSPECIFIED, &[(80, Protocol::Tcp)]);
    let http = || service("h", "10.1.0.1", &[(80, Protocol::Http)]);
    assert_eq!(shape(&plan(vec![tcp("t"), http()], &[])), [row("0.0.0.0_80", &[false, true])]);
    assert_eq!(shape(&plan(vec![http(), tcp("t")], &[])), [row("0.0.0.0_80", &[true, false])]);
    let twice = plan(vec![tcp("t"), tcp("u")], &[]);
    assert_eq!(shape(&twice), [row("0.0.0.0_80", &[false])]);
    assert!(twice.conflicts[0].reason.contains('u'), "{:?}", twice.conflicts);
}

#[test]
fn servers_that_speak_first_share_with_nobody() {
    let plan = plan(
        vec![service("m", UNSPECIFIED, &[(80, Protocol::Mongo)]), service("h", "10.1.0.1", &[(80, Protocol::Http)])],
        &[],
    );
    assert_eq!(shape(&plan), [row("0.0.0.0_80", &[false])]);
    assert!(plan.conflicts[0].reason.contains("HTTP"), "{:?}", plan.conflicts);
}

#[test]
fn sniffed_services_have_routes_of_their_own() {
    let plan = plan(vec![service("a", "10.1.0.1", &[(80, Protocol::Unsupported)])], &[]);
    assert_eq!(shape(&plan), [row("10.1.0.1_80", &[false, true])]);
    let Body::Http(http) = &plan.listeners[0].chains[1].body else { panic!("no HTTP chain") };
    assert_eq!(http.routes, RouteSource::Named("a:80".into()));
}

#[test]
fn headless_services_are_dialled_by_endpoint_but_not_by_themselves() {
    let mut headless = (*service("a", UNSPECIFIED, &[(9000, Protocol::Tcp), (80, Protocol::Http)])).clone();
    headless.resolution = Resolution::Passthrough;
    let plan = plan(vec![Marked::new(headless)], &[]);
    assert_eq!(shape(&plan), [row("0.0.0.0_80", &[true]), row("10.0.0.2_9000", &[false])]);
}

#[test]
fn ranges_and_server_names_tell_services_apart() {
    let plan = plan(
        vec![
            service("a", "10.1.0.0/16", &[(443, Protocol::Tls)]),
            service("b", "10.2.0.0/16", &[(443, Protocol::Tls)]),
        ],
        &[],
    );
    assert_eq!(shape(&plan), [row("0.0.0.0_443", &[false, false])]);
    let matches = &plan.listeners[0].chains[0].matches;
    assert_eq!((&*matches.cidrs[0], &*matches.server_names[0]), ("10.1.0.0/16", "a"));
}

#[test]
fn the_ports_of_the_proxy_itself_stay_free() {
    let plan = plan(vec![service("a", "10.1.0.1", &[(15021, Protocol::Http), (15001, Protocol::Http)])], &[]);
    assert!(plan.listeners.is_empty());
    assert_eq!(plan.conflicts.len(), 2);
}

#[test]
fn a_declared_port_is_closed_to_other_services() {
    let mesh = Mesh {
        services: vec![
            service("a", "10.1.0.1", &[(80, Protocol::Http)]),
            service("b", "10.1.0.2", &[(80, Protocol::Tcp)]),
        ],
        endpoints: Vec::new(),
    };
    let declared = SidecarEgress {
        port: Some(port(80, Protocol::Http)),
        bind: "10.1.0.2".into(),
        capture: CaptureMode::None,
        ..SidecarEgress::default()
    };
    let egress = [
        Egress { declared: Some(&declared), services: &mesh.services[..1], virtual_services: &[] },
        Egress { declared: None, services: &mesh.services[1..], virtual_services: &[] },
    ];
    let plan = plan_of(&mesh, environment(), &egress);
    assert_eq!(shape(&plan), [row("10.1.0.2_80", &[true])]);
    assert!(plan.listeners[0].bind_to_port);
}

#[test]
fn without_interception_listeners_are_of_the_host_itself() {
    let mesh = Mesh { services: vec![service("a", "10.1.0.1", &[(80, Protocol::Http)])], endpoints: Vec::new() };
    let environment = Environment { interception: InterceptionMode::None, ..environment() };
    let egress = [Egress { declared: None, services: &mesh.services, virtual_services: &[] }];
    let plan = plan_of(&mesh, environment, &egress);
    assert_eq!(shape(&plan), [row("127.0.0.1_80", &[true])]);
}

fn destination(host: &str, weight: u32) -> WeightedDestination {
    WeightedDestination { destination: Destination { host: host.into(), subset: "".into(), port: None }, weight }
}

#[test]
fn tcp_routes_have_weights() {
    let route = VirtualService {
        name: "r".into(),
        namespace: "ns".into(),
        hosts: vec!["a".into()],
        gateways: vec!["mesh".into()],
        tcp: vec![TcpRoute { matches: Vec::new(), destinations: vec![destination("a", 80), destination("b", 20)] }],
        ..VirtualService::default()
    };
    let plan = plan(vec![service("a", "10.1.0.1", &[(9000, Protocol::Tcp)])], &[Marked::new(route)]);
    let Body::Tcp(body) = &plan.listeners[0].chains[0].body else { panic!("no TCP chain") };
    assert_eq!(&*body.target.stat_prefix, "r.ns");
    let clusters: Vec<(&str, u32)> = body.target.clusters.iter().map(|(name, weight)| (&**name, *weight)).collect();
    assert_eq!(clusters, [("outbound|9000||a", 80), ("outbound|9000||b", 20)]);
}

fn gateway(server: Server) -> MergedGateway {
    let gateway = Gateway { name: "g".into(), namespace: "ns".into(), servers: vec![server], ..Gateway::default() };
    MergedGateway::merge(&[Marked::new(gateway)], |_, port| vec![port + 8000])
}

fn gateway_plan(merged: &MergedGateway, route: VirtualService) -> gateway_plan::GatewayPlan {
    let mesh = Mesh { services: vec![service("a", "10.1.0.1", &[(443, Protocol::Tls)])], endpoints: Vec::new() };
    let routes = [("ns/g".into(), vec![Marked::new(route)])].into();
    let facts = GatewayFacts { merged, routes: &routes, services: &mesh.services, unprivileged: false };
    gateway_plan::plan(&Marked::new(environment()), &Marked::new(SecurityFilters::default()), &mesh, &facts)
}

fn tls_server(mode: ServerTlsMode, host: &str) -> Server {
    let tls = Some(ServerTls { mode, ..ServerTls::default() });
    let hosts = vec![ServerHost::parse(host, "ns")];
    Server { port: 443, port_name: "tls".into(), protocol: Protocol::Tls, hosts, tls, ..Server::default() }
}

#[test]
fn gateways_pass_tls_on_by_server_name_once() {
    let by_name = |name: &str| TlsRoute {
        matches: vec![ConnectionMatch { sni_hosts: vec![name.into()], ..ConnectionMatch::default() }],
        destinations: vec![destination("a", 0)],
    };
    let route = VirtualService {
        hosts: vec!["x.com".into()],
        gateways: vec!["ns/g".into()],
        namespace: "ns".into(),
        tls: vec![by_name("x.com"), by_name("x.com")],
        ..VirtualService::default()
    };
    let plan = gateway_plan(&gateway(tls_server(ServerTlsMode::Passthrough, "*.com")), route);
    assert_eq!((plan.listeners[0].port, plan.listeners[0].chains.len()), (8443, 1));
    assert_eq!(plan.conflicts.len(), 1);
}

#[test]
fn gateways_between_networks_have_a_chain_for_each_cluster() {
    let plan = gateway_plan(&gateway(tls_server(ServerTlsMode::AutoPassthrough, "*")), VirtualService::default());
    let names: Vec<&str> = plan.listeners[0].chains.iter().map(|chain| &*chain.matches.server_names[0]).collect();
    assert_eq!(names, ["outbound_.443_._.a", "outbound_.443_.v1_.a"]);
}

#[test]
fn a_gateway_without_a_route_has_no_listener_for_tcp() {
    let server =
        Server { port: 9000, protocol: Protocol::Tcp, hosts: vec![ServerHost::parse("*", "ns")], ..Server::default() };
    let plan = gateway_plan(&gateway(server), VirtualService::default());
    assert!(plan.listeners.is_empty());
    assert!(plan.conflicts[0].reason.contains("no route"));
}
