// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::endpoint::AssignmentPolicy;
use std::time::Duration;
use tiphys_model::{
    Authorizers, ClientTls, ClientTlsMode, ConnectionPool, Endpoint, HttpPool, Labels, ListenerSettings, OutboundMode,
    OutlierDetection, Protocol, ServiceEndpoints, Subset, TcpPool, TrafficDefaults, Visibility,
};
use tiphys_proto::to_any;

fn mesh() -> Mesh {
    Mesh {
        root_namespace: "root".into(),
        trust_domain: "td".into(),
        trust_domain_aliases: Vec::new(),
        domain: "cluster.local".into(),
        short_name_domain: "cluster.local".into(),
        cluster: "c".into(),
        connect_timeout: Duration::from_secs(10),
        protocol_detection_timeout: Duration::ZERO,
        proxy_listen_port: 15001,
        proxy_inbound_listen_port: 15006,
        proxy_http_port: 0,
        outbound_mode: OutboundMode::AllowAny,
        auto_mtls: true,
        h2_upgrade: false,
        default_service_export: Visibility::Public,
        default_virtual_service_export: Visibility::Public,
        default_destination_rule_export: Visibility::Public,
        listener: ListenerSettings::default(),
        default_retries: None,
        telemetry: Default::default(),
        authorizers: Authorizers::default(),
        traffic: TrafficDefaults::default(),
    }
}

fn service(protocol: Protocol) -> Service {
    Service {
        host: "a.ns.svc.cluster.local".into(),
        namespace: "ns".into(),
        name: "a".into(),
        object_name: "a".into(),
        registry: Registry::Kubernetes,
        ports: vec![Port { name: "p".into(), number: 80, protocol, target: TargetPort::Same }],
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

fn client(kind: ProxyType) -> Client {
    Client {
        kind,
        istio_filters: true,
        ipv4: true,
        ipv6: false,
        certificates: None,
        credential_socket: false,
        files_socket: false,
        preserve_case: false,
    }
}

fn input(protocol: Protocol, policy: Option<TrafficPolicy>) -> OutboundInput {
    let rule = policy.map(|policy| DestinationRule {
        name: "r".into(),
        namespace: "ns".into(),
        creation: 0,
        host: "a.ns.svc.cluster.local".into(),
        export_to: Visibility::Unset,
        workload_selector: None,
        policy: Some(policy),
        subsets: vec![Subset { name: "v1".into(), labels: Labels::new(), policy: None }],
        backend_policy: false,
    });
    OutboundInput {
        mesh: Marked::new(mesh()),
        client: client(ProxyType::Sidecar),
        service: Marked::new(service(protocol)),
        port: 80,
        subset: None,
        sni: false,
        rule: rule.map(Marked::new),
        auto_mtls: true,
        identities: vec!["spiffe://td/ns/ns/sa/a".into()],
        endpoints: None,
    }
}

fn json(input: &OutboundInput) -> serde_json::Value {
    tiphys_proto::to_json(&to_any(&outbound(input).unwrap())).unwrap()
}

const HTTP: &str = "/typedExtensionProtocolOptions/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const TLS: &str = "/transportSocketMatches/0/transportSocket/typedConfig";

fn http(json: &serde_json::Value, path: &str) -> serde_json::Value {
    json.pointer(HTTP).and_then(|options| options.pointer(path)).cloned().unwrap_or_default()
}

fn with_tls(tls: ClientTls) -> Option<TrafficPolicy> {
    Some(TrafficPolicy { tls: Some(tls), ..TrafficPolicy::default() })
}

#[test]
fn mutual_tls_is_offered_to_endpoints_that_take_it() {
    let json = json(&input(Protocol::Http, None));
    assert_eq!(json["name"], "outbound|80||a.ns.svc.cluster.local");
    assert_eq!(json["type"], "EDS");
    let tls = json.pointer(TLS).unwrap();
    assert_eq!(tls["sni"], "outbound_.80_._.a.ns.svc.cluster.local");
    assert_eq!(tls["commonTlsContext"]["alpnProtocols"], serde_json::json!(["istio-peer-exchange", "istio"]));
    assert_eq!(json["transportSocketMatches"][1]["name"], "tlsMode-disabled");
    assert!(json.get("transportSocket").is_none());
}

#[test]
fn upstream_envoy_gets_nothing_of_istios_own() {
    let mut input = input(Protocol::Http, None);
    input.client.istio_filters = false;
    let json = json(&input);
    assert!(json.get("filters").is_none());
    let alpn = &json.pointer(TLS).unwrap()["commonTlsContext"]["alpnProtocols"];
    assert_eq!(*alpn, serde_json::json!(["istio-http/1.1", "istio", "http/1.1"]));
}

#[test]
fn written_tls_replaces_the_meshs() {
    let plain = json(&input(Protocol::Http, with_tls(ClientTls::default())));
    assert!(plain.get("transportSocketMatches").is_none() && plain.get("transportSocket").is_none());
    let istio = ClientTls { mode: ClientTlsMode::IstioMutual, ..ClientTls::default() };
    let istio = json(&input(Protocol::Http, with_tls(istio)));
    assert_eq!(istio["transportSocket"]["name"], "envoy.transport_sockets.tls");
    let simple = ClientTls { mode: ClientTlsMode::Simple, sni: "x.example.com".into(), ..ClientTls::default() };
    let simple = json(&input(Protocol::Http2, with_tls(simple)));
    let context = &simple["transportSocket"]["typedConfig"];
    let root = &context["commonTlsContext"]["combinedValidationContext"]["validationContextSdsSecretConfig"]["name"];
    assert_eq!((&context["sni"], root), (&"x.example.com".into(), &"file-root:system".into()));
    assert_eq!(context["commonTlsContext"]["alpnProtocols"], serde_json::json!(["h2"]));
    assert_eq!(simple["metadata"]["filterMetadata"]["istio"]["alpn_override"], "false");
}

#[test]
fn a_sidecar_waits_for_no_secret_that_it_may_not_read() {
    let tls = ClientTls { mode: ClientTlsMode::Simple, credential_name: "cert".into(), ..ClientTls::default() };
    let mut input = input(Protocol::Http, with_tls(tls));
    assert!(json(&input).get("transportSocket").is_none());
    input.client.kind = ProxyType::Router;
    let common = &json(&input)["transportSocket"]["typedConfig"]["commonTlsContext"];
    let secret = &common["combinedValidationContext"]["validationContextSdsSecretConfig"]["name"];
    assert_eq!(secret, "kubernetes://cert-cacert");
}

#[test]
fn the_protocol_is_the_ports() {
    assert!(json(&input(Protocol::Http, None)).pointer(HTTP).is_none());
    let grpc = json(&input(Protocol::Grpc, None));
    assert!(http(&grpc, "/explicitHttpConfig/http2ProtocolOptions").is_object());
    let unknown = json(&input(Protocol::Unsupported, None));
    assert!(http(&unknown, "/useDownstreamProtocolConfig").is_object());
    let mut gateway = input(Protocol::Unsupported, None);
    gateway.client.kind = ProxyType::Router;
    assert!(json(&gateway).pointer(HTTP).is_none());
}

#[test]
fn pools_limit_and_upgrade() {
    let http_pool =
        HttpPool { h2_upgrade: tiphys_model::H2Upgrade::Always, max_concurrent_streams: 7, ..HttpPool::default() };
    let tcp = TcpPool { max_connections: 3, connect_timeout: Some(Duration::from_secs(1)), ..TcpPool::default() };
    let pool = ConnectionPool { tcp: Some(tcp), http: Some(http_pool) };
    let policy = TrafficPolicy { connection_pool: Some(pool), ..TrafficPolicy::default() };
    let json = json(&input(Protocol::Http, Some(policy)));
    assert_eq!(json["connectTimeout"], "1s");
    assert_eq!(json["circuitBreakers"]["thresholds"][0]["maxConnections"], 3);
    assert_eq!(json["circuitBreakers"]["thresholds"][0]["maxRequests"], u32::MAX);
    assert_eq!(http(&json, "/explicitHttpConfig/http2ProtocolOptions/maxConcurrentStreams"), 7);
}

#[test]
fn ejection_sets_the_panic_threshold() {
    let outlier = OutlierDetection { consecutive_5xx: Some(0), min_health_percent: 40, ..OutlierDetection::default() };
    let policy = TrafficPolicy { outlier_detection: Some(outlier), ..TrafficPolicy::default() };
    let json = json(&input(Protocol::Http, Some(policy)));
    assert_eq!(json["outlierDetection"]["enforcingConsecutive5xx"], 0);
    assert_eq!(json["commonLbConfig"]["healthyPanicThreshold"]["value"], 40.0);
}

#[test]
fn passthrough_dials_what_the_client_dialled() {
    let balancer = tiphys_model::LoadBalancer { algorithm: Algorithm::Passthrough, ..Default::default() };
    let policy = TrafficPolicy { load_balancer: Some(balancer), ..TrafficPolicy::default() };
    let json = json(&input(Protocol::Http, Some(policy)));
    assert_eq!((&json["type"], &json["lbPolicy"]), (&"ORIGINAL_DST".into(), &"CLUSTER_PROVIDED".into()));
    // Endpoints cannot be told apart here: mutual TLS is used with all of them.
    assert!(json.get("edsClusterConfig").is_none() && json.get("transportSocketMatches").is_none());
    assert_eq!(json["transportSocket"]["name"], "envoy.transport_sockets.tls");
}

#[test]
fn names_are_resolved_by_the_proxy() {
    let mut input = input(Protocol::Https, None);
    let mut external = service(Protocol::Https);
    (external.resolution, external.registry, external.mesh_external) = (Resolution::Dns, Registry::External, true);
    let endpoint =
        Endpoint { addresses: vec!["x.example.com".into()], port: 443, port_name: "p".into(), ..Endpoint::default() };
    let assignment = |endpoints: Vec<Endpoint>| AssignmentInput {
        host: external.host.clone(),
        port: external.ports[0].clone(),
        subset: None,
        sni: false,
        endpoints: Marked::new(ServiceEndpoints { endpoints }),
        plaintext: Vec::new(),
        policy: AssignmentPolicy::default(),
        place: None,
        node: None,
        networks: None,
        dns: true,
        dual_stack: false,
    };
    input.endpoints = Some(assignment(vec![endpoint]));
    let none = assignment(Vec::new());
    input.service = Marked::new(external);
    input.auto_mtls = false;
    let json = json(&input);
    assert_eq!((&json["type"], &json["dnsRefreshRate"]), (&"STRICT_DNS".into(), &"60s".into()));
    assert_eq!(json["metadata"]["filterMetadata"]["istio"]["external"], true);
    input.endpoints = Some(none);
    assert_eq!(outbound(&input), None);
}

#[test]
fn subsets_are_named_and_described() {
    let mut input = input(Protocol::Http, Some(TrafficPolicy::default()));
    input.subset = Some("v1".into());
    let json = json(&input);
    assert_eq!(json["name"], "outbound|80|v1|a.ns.svc.cluster.local");
    assert_eq!(json.pointer(TLS).unwrap()["sni"], "outbound_.80_.v1_.a.ns.svc.cluster.local");
    let metadata = &json["metadata"]["filterMetadata"]["istio"];
    assert_eq!(metadata["subset"], "v1");
    assert_eq!(metadata["config"], "/apis/networking.istio.io/v1/namespaces/ns/destination-rule/r");
    input.sni = true;
    let passed = outbound(&input).unwrap();
    assert_eq!(passed.name, "outbound_.80_.v1_.a.ns.svc.cluster.local");
    assert!(passed.transport_socket.is_none() && passed.transport_socket_matches.is_empty());
}

#[test]
fn inbound_clusters_lead_to_the_application() {
    let mut input = InboundInput {
        mesh: Marked::new(mesh()),
        client: client(ProxyType::Sidecar),
        cluster_port: 8080,
        target: InboundTarget::Dialled,
        services: vec![(Marked::new(service(Protocol::Http)), 80)],
        port: service(Protocol::Http).ports[0].clone(),
        host: "a".into(),
        rule: None,
        connection_pool: None,
    };
    let dialled = inbound(&input);
    assert_eq!((dialled.name.as_str(), dialled.lb_policy()), ("inbound|8080||", LbPolicy::ClusterProvided));
    assert!(dialled.upstream_bind_config.is_some() && dialled.metadata.is_some());
    input.target = InboundTarget::Address("127.0.0.1".into(), 9090);
    let fixed = inbound(&input);
    assert!(fixed.upstream_bind_config.is_none() && fixed.load_assignment.is_some());
    input.target = InboundTarget::Address("unix:///run/app.sock".into(), 0);
    assert!(format!("{:?}", inbound(&input).load_assignment).contains("\"/run/app.sock\""));
}
