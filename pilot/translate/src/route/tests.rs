// SPDX-License-Identifier: Apache-2.0
//! Tests of virtual hosts, domains and splicing.

use super::*;
use prost::Message;
use std::collections::BTreeMap;
use tiphys_model::*;
use tiphys_proto::envoy::config::route::v3::route::Action;
use tiphys_proto::envoy::config::route::v3::route_action::ClusterSpecifier;
use tiphys_proto::envoy::config::route::v3::route_match::PathSpecifier;
use tiphys_proto::envoy::config::route::v3::{Route, RouteAction, RouteConfiguration};

fn service(host: &str, address: &str, resolution: Resolution) -> Marked<Service> {
    let mut service = Service {
        host: host.into(),
        namespace: "ns".into(),
        name: "a".into(),
        object_name: "a".into(),
        registry: Registry::Kubernetes,
        ports: Vec::new(),
        addresses: vec![address.into()],
        auto_addresses: Vec::new(),
        resolution,
        mesh_external: false,
        export_to: Visibility::Unset,
        labels: Labels::new(),
        selector: Labels::new(),
        creation: 0,
        subject_alt_names: Vec::new(),
        external_name: None,
        publish_not_ready: false,
        node_local: false,
        traffic_distribution: None,
        kind: Str::default(),
        external_addresses: Vec::new(),
    };
    service.addresses.retain(|address| !address.is_empty());
    Marked::new(service)
}

fn names(service: Marked<Service>, proxy_domain: &str, port: Option<u32>) -> Vec<String> {
    let input = DomainsInput {
        service,
        aliases: Vec::new(),
        port,
        proxy_domain: proxy_domain.into(),
        ipv4: true,
        ipv6: true,
        auto_addresses: false,
    };
    domains(&input).all.iter().map(ToString::to_string).collect()
}

#[test]
fn a_service_of_the_own_namespace_has_a_short_name() {
    let a = service("a.ns.svc.cluster.local", "10.0.0.1", Resolution::ClientSide);
    let own = names(a.clone(), "ns.svc.cluster.local", None);
    assert_eq!(own, ["a.ns.svc.cluster.local", "a.ns.svc.cluster.local.", "a", "a.ns.svc", "a.ns", "10.0.0.1"]);
    let other = names(a.clone(), "other.svc.cluster.local", None);
    assert_eq!(other, ["a.ns.svc.cluster.local", "a.ns.svc.cluster.local.", "a.ns", "a.ns.svc", "10.0.0.1"]);
    let ported = names(a, "other.svc.cluster.local", Some(80));
    assert!(ported.contains(&"a.ns:80".into()) && ported.contains(&"10.0.0.1:80".into()));
}

#[test]
fn hosts_of_other_domains_are_not_shortened() {
    let entry = service("api.example.com", "", Resolution::Dns);
    assert_eq!(names(entry.clone(), "ns.svc.cluster.local", None), ["api.example.com", "api.example.com."]);
    assert_eq!(names(entry, "example.com", None), ["api.example.com", "api.example.com.", "api"]);
}

#[test]
fn headless_services_have_their_pods_names() {
    let headless = service("a.ns.svc.cluster.local", "", Resolution::Passthrough);
    let names = names(headless, "ns.svc.cluster.local", None);
    assert!(names.contains(&"*.a.ns.svc.cluster.local".into()) && names.contains(&"*.a".into()));
}

#[test]
fn ipv6_addresses_have_brackets() {
    let six = service("a.ns.svc.cluster.local", "fd00::1", Resolution::ClientSide);
    assert_eq!(names(six, "x.svc.cluster.local", Some(80)).last().unwrap(), "[fd00::1]:80");
    assert_eq!(domain_name("fd00::1", 80), "[fd00::1]:80");
}

fn host(n: u32) -> VirtualHostInput {
    let service = ServiceRoute { host: format!("a{n}.ns").as_str().into(), port: 80, hash: None, retries: None };
    VirtualHostInput {
        name: format!("a{n}.ns:80").into(),
        domains: vec![format!("a{n}.ns").into(), "x".repeat(n as usize * 40).into()],
        routes: vec![RoutesInput::Service(service)],
        sort: false,
        attempt_count: true,
        require_tls: false,
    }
}

#[test]
fn a_splice_equals_the_plain_encoding() {
    for input in [RouteConfigurationInput::named("80"), RouteConfigurationInput::empty("gone")] {
        for count in [0, 1, 5] {
            let hosts: Vec<_> = (0..count).map(|n| virtual_host(&host(n))).collect();
            let parts: Vec<_> = hosts.iter().map(encoded).collect();
            let plain = RouteConfiguration { virtual_hosts: hosts, ..input.message() };
            assert_eq!(splice(&input, parts.iter()), plain.encode_to_vec());
        }
    }
}

fn destination(host: &str, weight: u32) -> HttpDestination {
    let destination = Destination { host: host.into(), subset: Str::default(), port: None };
    HttpDestination { destination, weight, headers: Headers::default() }
}

fn rule(name: &str, matches: Vec<HttpMatch>, destinations: Vec<HttpDestination>) -> HttpRoute {
    HttpRoute { name: name.into(), matches, action: HttpAction::Route(destinations), ..HttpRoute::default() }
}

fn prefix(prefix: &str) -> HttpMatch {
    HttpMatch { uri: Some(StringMatch::Prefix(prefix.into())), ..HttpMatch::default() }
}

fn input(http: Vec<HttpRoute>, semantics: Semantics) -> VirtualServiceRoutes {
    let virtual_service = VirtualService {
        name: "v".into(),
        namespace: "ns".into(),
        semantics,
        gateways: vec![MESH_GATEWAY.into()],
        http,
        ..VirtualService::default()
    };
    VirtualServiceRoutes {
        virtual_service: Marked::new(virtual_service),
        port: 80,
        gateway: MESH_GATEWAY.into(),
        source: Source::default(),
        targets: BTreeMap::new(),
        hashes: BTreeMap::new(),
        default_retries: None,
        tls: false,
        http3: false,
        x_forwarded_host: false,
    }
}

fn action(route: &Route) -> &RouteAction {
    match route.action.as_ref().unwrap() {
        Action::Route(action) => action,
        other => panic!("not a route: {other:?}"),
    }
}

#[test]
fn nothing_follows_a_rule_that_takes_all() {
    let rules = vec![
        rule("one", vec![prefix("/a"), prefix("/")], vec![destination("a", 0)]),
        rule("two", vec![], vec![destination("b", 0)]),
    ];
    let routes = routes_of(&input(rules, Semantics::Istio));
    assert_eq!(routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>(), ["one", "one"]);
}

#[test]
fn a_match_that_is_for_another_port_or_gateway_is_left_out() {
    let other = HttpMatch { gateways: vec!["ns/g".into()], ..prefix("/g") };
    let port = HttpMatch { port: 81, ..prefix("/p") };
    let service = input(vec![rule("r", vec![other, port], vec![destination("a", 0)])], Semantics::Istio);
    assert!(routes_of(&service).is_empty() && !applies_to(&service));
}

#[test]
fn the_port_of_a_destination_is_the_only_one_else_the_dialled_one() {
    let mut service = input(vec![rule("r", vec![], vec![destination("a", 0)])], Semantics::Istio);
    let cluster = |service: &VirtualServiceRoutes| match &action(&routes_of(service)[0]).cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => name.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(cluster(&service), "outbound|80||a");
    service.targets.insert("a".into(), Target { only_port: Some(9000), external_name: None });
    assert_eq!(cluster(&service), "outbound|9000||a");
    service.targets.insert("a".into(), Target { only_port: None, external_name: Some("x.com".into()) });
    assert_eq!(cluster(&service), "outbound|80||x.com");
}

#[test]
fn destinations_without_weight_get_nothing() {
    let destinations = vec![destination("a", 0), destination("b", 1), destination("c", 3)];
    let routes = routes_of(&input(vec![rule("r", vec![], destinations)], Semantics::Istio));
    let Some(ClusterSpecifier::WeightedClusters(weighted)) = &action(&routes[0]).cluster_specifier else { panic!() };
    assert_eq!(
        weighted.clusters.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["outbound|80||b", "outbound|80||c"]
    );
    assert_eq!(routes[0].decorator.as_ref().unwrap().operation, "v:80/*");
}

#[test]
fn prefixes_of_the_gateway_api_end_with_a_path_element() {
    let of = |semantics| {
        let routes = routes_of(&input(vec![rule("r", vec![prefix("/a/")], vec![destination("a", 0)])], semantics));
        routes[0].r#match.as_ref().unwrap().path_specifier.clone().unwrap()
    };
    assert_eq!(of(Semantics::Istio), PathSpecifier::Prefix("/a/".into()));
    assert_eq!(of(Semantics::GatewayApi), PathSpecifier::PathSeparatedPrefix("/a".into()));
}

#[test]
fn rules_that_take_all_come_last_among_several_virtual_services() {
    let first = input(vec![rule("all", vec![], vec![destination("a", 0)])], Semantics::Istio);
    let second = input(vec![rule("some", vec![prefix("/a")], vec![destination("b", 0)])], Semantics::Istio);
    let host = VirtualHostInput {
        routes: [first, second].map(|one| RoutesInput::VirtualService(Box::new(one))).to_vec(),
        sort: true,
        ..host(1)
    };
    let routes = virtual_host(&host).routes;
    assert_eq!(routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>(), ["some", "all"]);
}

#[test]
fn the_authority_is_rewritten_not_set() {
    let mut one = rule("r", vec![], vec![destination("a", 0)]);
    one.headers.request.set = BTreeMap::from([("Host".into(), "h.com".into()), ("x".into(), "1".into())]);
    let routes = routes_of(&input(vec![one], Semantics::Istio));
    assert_eq!(routes[0].request_headers_to_add.len(), 1);
    assert!(action(&routes[0]).host_rewrite_specifier.is_some());
}
