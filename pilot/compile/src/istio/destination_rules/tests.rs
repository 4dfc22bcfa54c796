// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::{Settings, lower_mesh};
use tiphys_api::mesh::MeshConfig;
use tiphys_model::{ClientTls, ClientTlsMode, OutlierDetection, Registry, Resolution, Subset};

fn rule(namespace: &str, name: &str, host: &str) -> DestinationRule {
    DestinationRule {
        name: name.into(),
        namespace: namespace.into(),
        creation: 0,
        host: host.into(),
        export_to: Visibility::Unset,
        workload_selector: None,
        policy: None,
        subsets: Vec::new(),
        backend_policy: false,
    }
}

fn with_subset(mut rule: DestinationRule, name: &str) -> DestinationRule {
    rule.subsets.push(Subset { name: name.into(), labels: Labels::new(), policy: None });
    rule
}

fn with_tls(mut rule: DestinationRule, mode: ClientTlsMode) -> DestinationRule {
    let tls = Some(ClientTls { mode, ..ClientTls::default() });
    rule.policy = Some(TrafficPolicy { tls, ..TrafficPolicy::default() });
    rule
}

fn mesh() -> Mesh {
    let mut mesh = lower_mesh(&MeshConfig::default(), &Settings::default());
    mesh.root_namespace = "root".into();
    mesh
}

fn build(rules: Vec<DestinationRule>) -> DestinationRules {
    DestinationRules::build(&Marked::new(rules.into_iter().map(Marked::new).collect()), &mesh())
}

fn service(host: &str, namespace: &str) -> Service {
    Service {
        host: host.into(),
        namespace: namespace.into(),
        name: "a".into(),
        object_name: "a".into(),
        registry: Registry::Kubernetes,
        ports: Vec::new(),
        addresses: Vec::new(),
        auto_addresses: Vec::new(),
        resolution: Resolution::ClientSide,
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
    }
}

/// Name of the rule that a client finds.
fn found(rules: &DestinationRules, client: &str, host: &str, namespace: &str) -> Option<String> {
    let found = rules.outbound(client, &Labels::new(), &service(host, namespace))?;
    Some(found.name.to_string())
}

const HOST: &str = "a.svc.svc.cluster.local";

#[test]
fn client_then_service_then_root_namespace_are_asked() {
    let rules = build(vec![rule("client", "c", HOST), rule("svc", "s", HOST), rule("root", "r", "*.cluster.local")]);
    assert_eq!(found(&rules, "client", HOST, "svc").unwrap(), "c");
    assert_eq!(found(&rules, "other", HOST, "svc").unwrap(), "s");
    assert_eq!(found(&rules, "other", "b.x.svc.cluster.local", "x").unwrap(), "r");
    assert_eq!(found(&rules, "other", "example.com", "x"), None);
    // A client in the root namespace finds the service's rule before the mesh's.
    assert_eq!(found(&rules, "root", HOST, "svc").unwrap(), "s");
}

#[test]
fn the_most_specific_host_counts() {
    let rules =
        build(vec![rule("c", "wide", "*"), rule("c", "narrow", "*.svc.svc.cluster.local"), rule("c", "exact", HOST)]);
    assert_eq!(found(&rules, "c", HOST, "svc").unwrap(), "exact");
    assert_eq!(found(&rules, "c", "b.svc.svc.cluster.local", "svc").unwrap(), "narrow");
    assert_eq!(found(&rules, "c", "*.example.com", "svc").unwrap(), "wide");
}

#[test]
fn export_to_limits_who_sees_a_rule() {
    let mut private = rule("svc", "private", HOST);
    private.export_to = Visibility::Private;
    let mut named = rule("svc", "named", "b.svc.svc.cluster.local");
    named.export_to = Visibility::Namespaces(vec!["friend".into()]);
    let mut hidden = rule("svc", "hidden", "c.svc.svc.cluster.local");
    hidden.export_to = Visibility::None;
    let mut root = rule("root", "root", "d.svc.svc.cluster.local");
    root.export_to = Visibility::Private;
    let rules = build(vec![private, named, hidden, root]);
    assert_eq!(found(&rules, "svc", HOST, "svc").unwrap(), "private");
    assert_eq!(found(&rules, "other", HOST, "svc"), None);
    assert_eq!(found(&rules, "friend", "b.svc.svc.cluster.local", "svc").unwrap(), "named");
    assert_eq!(found(&rules, "svc", "b.svc.svc.cluster.local", "svc"), None);
    assert_eq!(found(&rules, "svc", "c.svc.svc.cluster.local", "svc"), None);
    assert_eq!(found(&rules, "root", "d.svc.svc.cluster.local", "svc").unwrap(), "root");
    assert_eq!(found(&rules, "svc", "d.svc.svc.cluster.local", "svc"), None);
}

#[test]
fn rules_for_one_host_are_merged() {
    let first = with_tls(with_subset(rule("ns", "a", HOST), "v1"), ClientTlsMode::Simple);
    let second = with_tls(with_subset(with_subset(rule("ns", "b", HOST), "v1"), "v2"), ClientTlsMode::Disable);
    let rules = build(vec![first, second]);
    let merged = rules.outbound("ns", &Labels::new(), &service(HOST, "svc")).unwrap();
    let names: Vec<&str> = merged.subsets.iter().map(|subset| &*subset.name).collect();
    assert_eq!((&*merged.name, names), ("a", vec!["v1", "v2"]));
    assert_eq!(merged.tls_mode(80, None), Some(ClientTlsMode::Simple));
}

#[test]
fn rules_that_others_see_stay_apart() {
    let mut first = with_subset(rule("ns", "a", HOST), "v1");
    first.export_to = Visibility::Namespaces(vec!["x".into()]);
    let mut second = with_subset(rule("ns", "b", HOST), "v2");
    second.export_to = Visibility::Namespaces(vec!["x".into(), "y".into()]);
    let rules = build(vec![first, second]);
    let subsets = |client: &str| {
        let found = rules.outbound(client, &Labels::new(), &service(HOST, "ns")).unwrap();
        found.subsets.iter().map(|subset| subset.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(subsets("y"), ["v2"]);
}

#[test]
fn a_workload_selector_goes_before_the_rest() {
    let mut selecting = rule("ns", "some", HOST);
    selecting.workload_selector = Some([("app".into(), "x".into())].into());
    selecting.export_to = Visibility::Private;
    let rules = build(vec![rule("ns", "all", HOST), selecting]);
    let service = service(HOST, "svc");
    let of = |labels: &Labels| rules.outbound("ns", labels, &service).unwrap().name.to_string();
    assert_eq!(of(&[("app".into(), "x".into())].into()), "some");
    assert_eq!(of(&Labels::new()), "all");
    assert_eq!(&*rules.inbound("ns", &service).unwrap().name, "all");
    assert_eq!(found(&rules, "other", HOST, "svc"), None);
}

#[test]
fn what_users_wrote_goes_before_gateway_api_policies() {
    let mut backend = with_tls(rule("ns", "backend", HOST), ClientTlsMode::Simple);
    backend.backend_policy = true;
    let mut user = rule("ns", "user", HOST);
    user.policy =
        Some(TrafficPolicy { outlier_detection: Some(OutlierDetection::default()), ..TrafficPolicy::default() });
    let both = [vec![backend.clone(), user.clone()], vec![user, backend]];
    for order in both {
        let rules = build(order);
        let merged = rules.outbound("ns", &Labels::new(), &service(HOST, "svc")).unwrap();
        let policy = merged.policy.as_ref().unwrap();
        assert!(policy.outlier_detection.is_some() && policy.tls.is_some());
    }
}
