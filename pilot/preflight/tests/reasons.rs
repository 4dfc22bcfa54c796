// SPDX-License-Identifier: Apache-2.0
//! Each reason by itself, and what is none.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

mod common;

use common::{Case, Pod, WEB, namespace, objects, service, shop};
use tiphys_preflight::{Ask, PodTaken, PortTaken, Proxies, Proxy, Reason, Severity};

fn peer(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn bare<'a>(name: &'a str, namespace: &'a str, ip: &'a str) -> Pod<'a> {
    Pod { name, namespace, ip, sidecar: false, ..WEB }
}

#[test]
fn a_mesh_in_which_all_have_sidecars_breaks_nothing() {
    let client = Pod { name: "client", ip: "10.1.0.2", ..WEB };
    let report = Case::of(&(shop(&WEB) + &client.yaml())).check();
    assert_eq!((report.strict, report.already, report.findings), (2, 0, vec![]));
    assert_eq!(report.statistics.silent, 2);
}

#[test]
fn clients_without_a_sidecar_are_told_by_namespace_and_cause() {
    let text = shop(&WEB)
        + &bare("old", "shop", "10.1.0.2").yaml()
        + &Pod { labels: "sidecar.istio.io/inject: 'false'", ..bare("batch", "shop", "10.1.0.3") }.yaml()
        + &Pod { spec: "hostNetwork: true", ..bare("node", "shop", "10.0.0.9") }.yaml()
        + &namespace("other", "")
        + &bare("tool", "other", "10.1.0.4").yaml()
        + &bare("dns", "kube-system", "10.1.0.5").yaml()
        + &bare("istiod", "istio-system", "10.1.0.6").yaml();
    let all = Case::of(&text);
    assert_eq!(
        all.lines(),
        [
            "BREAKS no-sidecar other/tool -> web.shop.svc.cluster.local:80",
            "BREAKS no-sidecar shop/batch -> web.shop.svc.cluster.local:80",
            "BREAKS no-sidecar shop/old -> web.shop.svc.cluster.local:80",
            "BREAKS host-network shop/node -> web.shop.svc.cluster.local:80",
        ]
    );
    let fixes: Vec<String> = all.check().findings.into_iter().map(|finding| finding.fix).collect();
    assert!(fixes[0].starts_with("kubectl label namespace other istio-injection=enabled, then kubectl -n other rollout restart deployment/tool;"), "{fixes:?}");
    assert_eq!(fixes[2], "kubectl -n shop rollout restart deployment/old");
    // For one namespace, those of others are a warning.
    let mut own = Case::of(&text).namespace("shop");
    let lines = own.lines();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3], "warning no-sidecar other -> web.shop.svc.cluster.local:80");
    own.ask.ignore = vec!["other".into(), "shop/batch".into(), "shop/node".into()];
    assert_eq!(own.lines(), ["BREAKS no-sidecar shop/old -> web.shop.svc.cluster.local:80"]);
}

#[test]
fn a_thousand_pods_are_one_finding() {
    let mut text = shop(&WEB) + &namespace("many", "");
    for index in 0..1000 {
        let name = format!("w{}", index % 7);
        let ip = format!("10.2.{}.{}", index / 250, index % 250);
        text += &bare(&name, "many", &ip).yaml().replace("-6f7-x", &format!("-6f7-{index}"));
    }
    let case = Case::of(&text);
    let started = std::time::Instant::now();
    let found = case.of_reason(Reason::NoSidecar);
    println!("{:?}", started.elapsed());
    assert_eq!(found.len(), 1);
    assert!(found[0].1.starts_with("1000 pods of many (w0, w1, w2 and 4 more) have no sidecar"), "{}", found[0].1);
}

#[test]
fn exceptions_stay_and_what_is_strict_is_no_news() {
    let text = shop(&WEB) + &bare("old", "shop", "10.1.0.2").yaml();
    for exception in [
        "{selector: {matchLabels: {app: web}}, mtls: {mode: PERMISSIVE}}",
        "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}",
    ] {
        let report = Case::of(&(text.clone() + &peer("web", "shop", exception))).check();
        assert_eq!((report.strict, report.findings.len()), (0, 0), "{exception}");
    }
    // An exception by port: the port itself stays open, other ports of the workload do not.
    let by_port = "{selector: {matchLabels: {app: web}}, portLevelMtls: {8080: {mode: PERMISSIVE}}}";
    let report = Case::of(&(text.clone() + &peer("web", "shop", by_port))).check();
    assert_eq!((report.strict, report.findings[0].server.count), (1, 0));
    // A namespace that says so stays out of what the mesh says.
    let whole = Case::of(&(text.clone() + &peer("default", "shop", "{mtls: {mode: PERMISSIVE}}")));
    assert_eq!(whole.check().strict, 0);
    assert_eq!(whole.namespace("shop").check().strict, 1);
    assert_eq!(Case::of(&(text + &peer("default", "istio-system", "{mtls: {mode: STRICT}}"))).check().already, 1);
}

#[test]
fn given_policies_count_as_they_would() {
    let text =
        shop(&WEB) + &bare("old", "shop", "10.1.0.2").yaml() + &namespace("x", "") + &bare("y", "x", "10.1.0.7").yaml();
    let mut case = Case::of(&text);
    case.ask =
        Ask::policies(objects(&peer("web", "shop", "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}")));
    assert_eq!(case.check().asked, "PeerAuthentication shop/web in the mesh");
    let lines = case.lines();
    assert_eq!(lines[0], "BREAKS no-sidecar shop/old -> web.shop.svc.cluster.local:80");
    assert_eq!(lines[1], "warning no-sidecar x -> web.shop.svc.cluster.local:80");
    case.ask =
        Ask::policies(objects(&peer("web", "shop", "{selector: {matchLabels: {app: db}}, mtls: {mode: STRICT}}")));
    assert_eq!(case.check().strict, 0);
    case.ask = Ask::policies(objects(&peer("default", "istio-system", "{mtls: {mode: STRICT}}")));
    assert!(case.lines()[1].starts_with("BREAKS no-sidecar x/y"), "{:?}", case.lines());
}

#[test]
fn proxies_that_are_not_connected_and_old_ones() {
    let text = shop(&WEB) + &Pod { name: "late", ip: "10.1.0.2", image: "proxyv2:1.4.10", ..WEB }.yaml();
    let mut case = Case::of(&text);
    let old = case.of_reason(Reason::TooOld);
    assert!(old[0].0 == Severity::Breaks && old[0].1.contains("a proxy of version 1.4.10"), "{old:?}");
    assert!(old[0].1.contains("from 1.5 on"));
    assert!(case.of_reason(Reason::NotReady).is_empty());
    let connected = [("web-6f7-x.shop".to_owned(), Proxy { version: "1.30.0".into() })].into();
    case.proxies = Some(Proxies { all: false, connected });
    assert!(case.of_reason(Reason::NotReady).is_empty(), "it may be connected elsewhere");
    case.proxies.as_mut().unwrap().all = true;
    let away = case.of_reason(Reason::NotReady);
    assert_eq!(away.len(), 1);
    assert!(away[0].0 == Severity::Breaks && away[0].1.contains("shop/late (late-6f7-x)"), "{away:?}");
    // Offline only readiness is known.
    let unready = Case::of(&text.replace("status: 'True'", "status: 'False'")).of_reason(Reason::NotReady);
    assert!(unready.len() == 2 && unready[0].0 == Severity::Warning, "{unready:?}");
}

#[test]
fn ports_that_are_left_out_of_the_capture() {
    let excluded = Pod { annotations: "traffic.sidecar.istio.io/excludeInboundPorts: '8080'", ..WEB };
    let case = Case::of(&shop(&excluded));
    assert_eq!(case.lines(), ["warning inbound-excluded anyone -> shop/web:8080"]);
    let none = Pod { annotations: "traffic.sidecar.istio.io/includeInboundPorts: ''", ..WEB };
    assert!(Case::of(&shop(&none)).check().findings[0].message.contains("includeInboundPorts"));
    for (annotation, named) in [
        ("traffic.sidecar.istio.io/excludeOutboundPorts: '80'", "excludeOutboundPorts"),
        ("traffic.sidecar.istio.io/excludeOutboundIPRanges: '10.96.0.0/16'", "excludeOutboundIPRanges"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges: '10.97.0.0/16'", "includeOutboundIPRanges"),
    ] {
        let client = Pod { name: "client", ip: "10.1.0.2", annotations: annotation, ..WEB };
        let found = Case::of(&(shop(&WEB) + &client.yaml())).of_reason(Reason::OutboundExcluded);
        assert!(found.len() == 1 && found[0].1.contains(named), "{annotation}: {found:?}");
    }
    let harmless = Pod {
        name: "client",
        ip: "10.1.0.2",
        annotations: "traffic.sidecar.istio.io/excludeOutboundPorts: '443'",
        ..WEB
    };
    assert!(Case::of(&(shop(&WEB) + &harmless.yaml())).lines().is_empty());
}

#[test]
fn destination_rules_that_turn_mutual_tls_off() {
    let rule = |namespace: &str, spec: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: web, namespace: {namespace}}}\nspec: {{host: web.shop.svc.cluster.local, {spec}}}\n"
        )
    };
    let client = Pod { name: "client", namespace: "front", ip: "10.1.0.2", ..WEB };
    let mesh = shop(&WEB) + &namespace("front", "istio-injection: enabled") + &client.yaml();
    let found = |rule: String| Case::of(&(mesh.clone() + &rule)).of_reason(Reason::DestinationRule);
    let all = found(rule("shop", "trafficPolicy: {tls: {mode: DISABLE}}"));
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].1, "DestinationRule shop/web has tls mode DISABLE: clients in front, shop call in plain text");
    let own = found(rule("front", "trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}"));
    assert!(own[0].1.contains("front/web has tls mode SIMPLE: clients in front call by TLS"), "{own:?}");
    let subset = found(rule(
        "front",
        "trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}, subsets: [{name: v1, trafficPolicy: {tls: {mode: DISABLE}}}]",
    ));
    assert!(subset[0].1.contains("for subset v1"), "{subset:?}");
    assert!(
        found(rule("front", "trafficPolicy: {portLevelSettings: [{port: {number: 81}, tls: {mode: DISABLE}}]}"))
            .is_empty()
    );
    assert!(found(rule("shop", "trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}")).is_empty());
    // Nobody sees it.
    assert!(found(rule("other", "trafficPolicy: {tls: {mode: DISABLE}}")).is_empty());
}

#[test]
fn a_mesh_without_automatic_mutual_tls() {
    let mut case = Case::of(&shop(&WEB));
    case.mesh = "enableAutoMtls: false".to_owned();
    let found = case.of_reason(Reason::AutoMtlsOff);
    assert!(found.len() == 1 && found[0].1.contains("1 port of services has no DestinationRule"), "{found:?}");
}

#[test]
fn probes_that_the_kubelet_sends_past_the_agent() {
    let with = |container: &str, annotations: &str| {
        let pod = Pod { container, annotations, ..WEB };
        Case::of(&shop(&pod)).of_reason(Reason::ProbesNotRewritten)
    };
    let plain = "ports: [{name: web, containerPort: 8080}], readinessProbe: {httpGet: {port: web}}";
    let found = with(plain, "sidecar.istio.io/rewriteAppHTTPProbers: 'false'");
    assert!(found[0].1.contains("go to port 8080 in plain text"), "{found:?}");
    assert!(found[0].2.starts_with("remove the annotation"), "{found:?}");
    assert_eq!(with("livenessProbe: {grpc: {port: 9000}}", "").len(), 1);
    for harmless in [
        "livenessProbe: {httpGet: {port: 15020, path: /app-health/app/livez}}",
        "livenessProbe: {tcpSocket: {port: 8080}}",
        "livenessProbe: {exec: {command: [x]}}",
    ] {
        assert!(with(harmless, "").is_empty(), "{harmless}");
    }
    assert!(with(plain, "traffic.sidecar.istio.io/excludeInboundPorts: '8080'").is_empty());
}

#[test]
fn sidecars_that_clients_do_not_know_of() {
    let unmarked = Pod { labels: "security.istio.io/tlsMode: disabled", ..WEB };
    let found = Case::of(&shop(&unmarked)).of_reason(Reason::NotMarked);
    assert!(found.len() == 1 && found[0].1.contains("without the label security.istio.io/tlsMode=istio"), "{found:?}");
}

#[test]
fn headless_services_with_both_sorts_of_endpoints() {
    let db = |name: &'static str, ip: &'static str, sidecar: bool| {
        Pod { name, ip, sidecar, labels: "db: 'yes'", ..WEB }.yaml()
    };
    let headless = |second: bool| {
        let text = namespace("shop", "istio-injection: enabled")
            + &db("one", "10.1.0.1", true)
            + &db("two", "10.1.0.2", second)
            + &service("db", "shop", "None", "", &[("10.1.0.1", "one"), ("10.1.0.2", "two")])
                .replace("app: db", "db: 'yes'");
        Case::of(&text).of_reason(Reason::HeadlessMixed)
    };
    let found = headless(false);
    assert!(found.len() == 1 && found[0].1.contains("endpoints without a sidecar (two)"), "{found:?}");
    assert!(headless(true).is_empty());
}

#[test]
fn services_that_are_open_to_the_outside() {
    let text = |kind: &str| {
        let service = service("web", "shop", "10.96.0.1", &format!("type: {kind}"), &[]);
        namespace("shop", "istio-injection: enabled") + &WEB.yaml() + &service
    };
    for kind in ["LoadBalancer", "NodePort"] {
        let found = Case::of(&text(kind)).of_reason(Reason::Exposed);
        assert!(found.len() == 1 && found[0].1.contains(kind), "{found:?}");
    }
    assert!(Case::of(&text("ClusterIP")).of_reason(Reason::Exposed).is_empty());
}

#[test]
fn service_entries_without_identity() {
    let entry = |more: &str, endpoints: &str| {
        let text = format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: vm, namespace: shop}}\nspec: {{hosts: [vm.example], location: MESH_INTERNAL, resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}], endpoints: [{endpoints}]{more}}}\n"
        );
        Case::of(&(shop(&WEB) + &text)).of_reason(Reason::NoIdentity)
    };
    let unknown = entry("", "{address: 10.9.0.1}");
    assert!(
        unknown[0].0 == Severity::Warning && unknown[0].1.contains("1 endpoint (10.9.0.1) have no identity"),
        "{unknown:?}"
    );
    let of_pod = entry("", "{address: 10.1.0.1}");
    assert!(of_pod[0].0 == Severity::Breaks && of_pod[0].1.contains("are pods of the mesh"), "{of_pod:?}");
    let mode = "labels: {security.istio.io/tlsMode: istio}";
    let stranger =
        entry("", &format!("{{address: 10.9.0.1, {mode}, serviceAccount: a}}, {{address: 10.9.0.2, {mode}}}"));
    assert!(stranger[0].0 == Severity::Breaks && stranger[0].1.contains("(10.9.0.2)"), "{stranger:?}");
    assert!(entry("", &format!("{{address: 10.9.0.1, {mode}, serviceAccount: a}}")).is_empty());
    assert!(entry(", subjectAltNames: ['spiffe://x']", "{address: 10.9.0.1}").is_empty());
}

#[test]
fn connections_that_were_taken() {
    let text = shop(&WEB) + &namespace("batch", "") + &bare("job", "batch", "10.1.0.9").yaml();
    let mut case = Case::of(&text).namespace("shop");
    let taken = PodTaken {
        minutes: 60,
        ports: vec![PortTaken { port: 8080, plaintext: 12, last_minutes: 3 }],
        peers: vec!["10.1.0.9".parse().unwrap()],
    };
    case.taken.insert("web-6f7-x.shop".to_owned(), taken);
    let report = case.check();
    assert_eq!((report.statistics.reporting, report.statistics.silent, report.statistics.minutes), (1, 0, 60));
    assert_eq!(case.lines(), ["BREAKS plaintext-taken batch/job -> web.shop.svc.cluster.local:80"]);
    assert_eq!(
        report.findings[0].message,
        "shop/web took 12 connections on port 8080 without mutual TLS in the last 60 minutes, the last one 3 minutes ago; batch/job without a sidecar was seen there"
    );
    assert!(report.findings[0].fix.starts_with("label namespace batch for injection"));
    // Without mutual TLS clients with a sidecar send plain text, too.
    case.objects.extend(objects(&peer("off", "shop", "{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}}")));
    case.ask =
        Ask::policies(objects(&peer("off", "shop", "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}")));
    let found = case.of_reason(Reason::PlaintextTaken);
    assert!(found[0].0 == Severity::Warning && found[0].1.starts_with("mode DISABLE: shop/web took 12"), "{found:?}");
    case.objects.pop();
    case.ask = Ask::strict(Some("shop"));
    // Who it was is not known.
    case.taken.get_mut("web-6f7-x.shop").unwrap().peers.clear();
    let lines = case.lines();
    assert_eq!(lines[0], "BREAKS plaintext-taken clients without mutual TLS -> web.shop.svc.cluster.local:80");
    assert_eq!(lines[1], "warning no-sidecar batch -> web.shop.svc.cluster.local:80");
    case.taken.get_mut("web-6f7-x.shop").unwrap().ports.clear();
    assert!(!case.check().breaks());
}
