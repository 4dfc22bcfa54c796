// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::locality::Spread;
use tiphys_model::{Distribute, Protocol, TargetPort};

fn endpoint(ip: &str, locality: &str) -> Endpoint {
    Endpoint {
        addresses: vec![ip.into()],
        port: 8080,
        port_name: "http".into(),
        locality: Locality::parse(locality),
        tls_mode: "istio".into(),
        ..Endpoint::default()
    }
}

fn input(endpoints: Vec<Endpoint>) -> AssignmentInput {
    AssignmentInput {
        host: "a.b".into(),
        port: Port { name: "http".into(), number: 80, protocol: Protocol::Http, target: TargetPort::Same },
        subset: None,
        sni: false,
        endpoints: Marked::new(ServiceEndpoints { endpoints }),
        plaintext: Vec::new(),
        policy: AssignmentPolicy::default(),
        place: None,
        node: None,
        networks: None,
        dns: false,
        dual_stack: false,
    }
}

/// Region/zone/subzone, priority, weight and number of endpoints of each group.
fn shape(input: &AssignmentInput) -> Vec<(String, u32, u32, usize)> {
    let of = |group: &LocalityLbEndpoints| {
        let locality = group.locality.as_ref().unwrap();
        let name = format!("{}/{}/{}", locality.region, locality.zone, locality.sub_zone);
        (name, group.priority, group.load_balancing_weight.map_or(0, |w| w.value), group.lb_endpoints.len())
    };
    load_assignment(input).endpoints.iter().map(of).collect()
}

fn at(locality: &str) -> Option<Place> {
    Some(Place { locality: Locality::parse(locality), ..Place::default() })
}

fn world() -> Vec<Endpoint> {
    let mut heavy = endpoint("1.0.0.2", "us/a/r1");
    heavy.weight = 3;
    vec![
        endpoint("1.0.0.1", "us/a/r1"),
        heavy,
        endpoint("1.0.0.3", "us/b"),
        endpoint("1.0.0.4", "eu/c"),
        endpoint("1.0.0.5", "asia"),
    ]
}

#[test]
fn endpoints_are_grouped_by_locality() {
    let all = [("asia//", 0, 1, 1), ("eu/c/", 0, 1, 1), ("us/a/r1", 0, 4, 2), ("us/b/", 0, 1, 1)];
    let all: Vec<_> = all.into_iter().map(|(l, p, w, n)| (l.to_owned(), p, w, n)).collect();
    assert_eq!(shape(&input(world())), all);
    let name = load_assignment(&AssignmentInput { subset: Some("v1".into()), ..input(vec![]) }).cluster_name;
    assert_eq!(name, "outbound|80|v1|a.b");
}

#[test]
fn failover_ranks_by_distance() {
    let mut input = input(world());
    input.policy.spread = Some(Spread::Failover { regions: vec![("us".into(), "eu".into())], priority: vec![] });
    input.place = at("us/a/r1");
    let ranks: Vec<u32> = shape(&input).iter().map(|group| group.1).collect();
    assert_eq!(ranks, [3, 2, 0, 1]);
    // Gaps are closed: from asia only two ranks are left.
    input.place = at("asia");
    let ranks: Vec<u32> = shape(&input).iter().map(|group| group.1).collect();
    assert_eq!(ranks, [0, 1, 1, 1]);
}

#[test]
fn distribution_weighs_and_empties() {
    let mut input = input(world());
    let to = [("us/*".into(), 80), ("eu/*".into(), 20)].into();
    input.policy.spread = Some(Spread::Distribute(vec![Distribute { from: "us/a/*".into(), to }]));
    input.place = at("us/a/r9");
    let groups = shape(&input);
    assert_eq!(groups[0], ("asia//".to_owned(), 0, 1, 0));
    assert_eq!((groups[1].2, groups[2].2, groups[3].2), (20, 64, 16));
    input.place = at("us/b");
    assert_eq!(shape(&input)[2].2, 4);
}

#[test]
fn labels_rank_before_places() {
    let labelled = |ip: &str, version: &str, network: &str| {
        let mut endpoint = endpoint(ip, "us/a");
        endpoint.labels = [("version".into(), version.into())].into();
        endpoint.network = network.into();
        endpoint
    };
    let endpoints =
        vec![labelled("1.0.0.1", "v1", "n1"), labelled("1.0.0.2", "v2", "n1"), labelled("1.0.0.3", "v1", "n2")];
    let mut input = input(endpoints);
    let priority = vec![crate::locality::label::NETWORK.into(), "version=v1".into()];
    input.policy.spread = Some(Spread::Failover { regions: vec![], priority });
    let labels = [(crate::locality::label::NETWORK.into(), "n1".into())].into();
    input.place = Some(Place { labels, ..Place::default() });
    let ranks: Vec<(u32, usize)> = shape(&input).iter().map(|group| (group.1, group.3)).collect();
    assert_eq!(ranks, [(0, 1), (1, 1), (2, 1)]);
}

#[test]
fn health_and_node_select() {
    let mut endpoints = world();
    endpoints[0].health = Health::Unhealthy;
    endpoints[1].health = Health::Terminating;
    endpoints[2].labels = [("istio.io/draining".into(), "true".into())].into();
    endpoints[3].node = "n1".into();
    let mut input = input(endpoints);
    let count = |input: &AssignmentInput| shape(input).iter().map(|group| group.3).sum::<usize>();
    assert_eq!(count(&input), 2);
    input.policy.unready = true;
    assert_eq!(count(&input), 3);
    input.policy.draining = true;
    assert_eq!(count(&input), 4);
    input.policy.node_local = true;
    input.node = Some("n1".into());
    assert_eq!(count(&input), 1);
}

#[test]
fn gateways_pass_tls_on_to_endpoints_that_take_it() {
    let mut input = input(world());
    input.sni = true;
    input.plaintext = vec![0, 3];
    let groups = shape(&input);
    assert_eq!((groups[1].3, groups[2].3, groups[2].2), (0, 1, 3));
    assert_eq!(load_assignment(&input).cluster_name, "outbound_.80_._.a.b");
}

#[test]
fn names_and_sockets_are_addresses_where_they_may_be() {
    let mut input = input(vec![endpoint("example.com", ""), endpoint("/run/app.sock", "")]);
    assert_eq!(shape(&input).len(), 0);
    let mut socket = endpoint("unix:///run/app.sock", "");
    socket.port = 0;
    input.endpoints = Marked::new(ServiceEndpoints { endpoints: vec![socket] });
    assert_eq!(shape(&input)[0].3, 1);
    input.dns = true;
    input.endpoints = Marked::new(ServiceEndpoints { endpoints: vec![endpoint("example.com", "")] });
    assert_eq!(shape(&input)[0].3, 1);
}
