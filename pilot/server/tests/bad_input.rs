// SPDX-License-Identifier: Apache-2.0
//! Input that is wrong: each sort gives a clear error with its place, or a fail-safe form that is reported, and nothing else changes.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panic")]

mod common;

use std::collections::BTreeMap;

use common::{CLUSTERS, ENDPOINTS, Plane, Proxy, node, service_entry};
use serde_json::Value;
use tiphys_server::settings::Settings;

const WEB: &str = "outbound|80||web.example";
const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// Kind, name and spec of an object of Istio's networking API in namespace `shop`.
fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

fn policy(kind: &str, spec: &str) -> String {
    format!("apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: p, namespace: shop}}\nspec: {spec}\n")
}

/// A mesh with one service, and a proxy that holds all that it is given.
struct Mesh {
    plane: Plane,
    proxy: Proxy,
}

impl Mesh {
    async fn start(more: &[(&str, &str)]) -> Self {
        let web = service_entry("web", "10.0.0.1");
        let files = [&[("web.yaml", web.as_str())], more].concat();
        let plane = Plane::start_with(&files, &[], Settings::default()).await;
        let mut proxy = Proxy::connect(plane.plaintext().await, node("shop", "web", "10.0.0.7")).await.unwrap();
        proxy.subscribe(CLUSTERS, &[]).await;
        proxy.until("web", |p| p.names(CLUSTERS).contains(WEB)).await;
        proxy.subscribe(ENDPOINTS, &[WEB]).await;
        proxy.until("endpoints", |p| p.names(ENDPOINTS).contains(WEB)).await;
        proxy.subscribe(LISTENERS, &[]).await;
        proxy.until("listeners", |p| p.held.contains_key(LISTENERS)).await;
        proxy.subscribe(ROUTES, &["80"]).await;
        proxy.until("routes", |p| p.names(ROUTES).contains("80")).await;
        Self { plane, proxy }
    }

    /// All problems that are reported of files and objects, one line each.
    async fn reports(&self) -> Vec<String> {
        let reports = self.plane.json("/debug/reportz").await;
        let lines = reports.as_array().unwrap().iter().flat_map(|report| {
            let object = report["object"].as_str().unwrap_or_default().to_owned();
            report["problems"].as_array().unwrap().iter().map(move |problem| {
                let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
                let place = text("place");
                let file = place.rsplit('/').next().unwrap_or_default();
                format!("{file} {object} {} {}: {}", text("severity"), text("field"), text("message"))
            })
        });
        lines.collect()
    }

    /// What is left out or replaced, by the name that push_status has for it.
    async fn left_out(&self, name: &str) -> BTreeMap<String, String> {
        let status = self.plane.json("/debug/push_status").await;
        let events = status[name].as_object().unwrap().clone();
        events.into_iter().map(|(key, event)| (key, event["message"].as_str().unwrap_or_default().to_owned())).collect()
    }

    /// Writes a file; waits until a report has all these words; the proxy is sent nothing, and a good file beside it works.
    async fn refuses(&mut self, text: &str, words: &[&str]) {
        let held = self.proxy.held.clone();
        self.plane.write("bad.yaml", text);
        let found = |line: &String| words.iter().all(|word| line.contains(word));
        self.plane.until(&format!("{words:?}"), async |_| self.reports().await.iter().any(found)).await;
        self.plane.write("other.yaml", &service_entry("other", "10.0.0.2"));
        self.proxy.until("other", |p| p.names(CLUSTERS).contains("outbound|80||other.example")).await;
        std::fs::remove_file(self.plane.config("other.yaml")).unwrap();
        self.proxy.until("no other", |p| !p.names(CLUSTERS).contains("outbound|80||other.example")).await;
        std::fs::remove_file(self.plane.config("bad.yaml")).unwrap();
        self.plane.until("forgotten", async |_| self.reports().await.is_empty()).await;
        assert_eq!(self.proxy.held[CLUSTERS], held[CLUSTERS], "{words:?}");
        assert_eq!(self.proxy.held[ENDPOINTS], held[ENDPOINTS], "{words:?}");
    }

    /// Writes a file; waits until push_status tells of `key` with these words.
    async fn tells(&self, text: &str, (name, key): (&str, &str), words: &[&str]) {
        self.plane.write("bad.yaml", text);
        let told = async |_: &Plane| {
            let all = self.left_out(name).await;
            all.get(key).is_some_and(|message| words.iter().all(|word| message.contains(word)))
        };
        self.plane.until(&format!("{key}: {words:?}"), told).await;
        assert!(self.plane.metric(name).await >= 1.0);
        assert_eq!(self.reports().await, Vec::<String>::new(), "what is served in another form is not refused");
    }

    async fn config(&self) -> Value {
        self.plane.json("/debug/config_dump?proxyID=web-1.shop").await
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_place() {
    let mut mesh = Mesh::start(&[]).await;
    // No YAML at all; unknown kinds, versions, values and types of values.
    mesh.refuses("apiVersion: v1\nkind: [broken\n", &["bad.yaml:", "error"]).await;
    mesh.refuses(&object("VirtualServise", "v", "{}"), &["bad.yaml:2:1", "VirtualServise", "not a kind"]).await;
    let text = object("VirtualService", "v", "{hosts: [a]}").replace("/v1", "/v9");
    mesh.refuses(&text, &["bad.yaml:1:1", "v9 is not a version", "use one of v1"]).await;
    let text = object(
        "ServiceEntry",
        "s",
        "{hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: SOMEHOW}",
    );
    mesh.refuses(&text, &["bad.yaml:4:", "spec.resolution", "SOMEHOW"]).await;
    let text = object("VirtualService", "v", "{hosts: [a], http: none}");
    mesh.refuses(&text, &["bad.yaml:4:", "spec.http"]).await;
    // What `kubectl` refuses as well: a field twice, a name that is none.
    let text =
        object("VirtualService", "v", "\n  hosts: [a]\n  hosts: [b]\n  http: [{route: [{destination: {host: a}}]}]");
    mesh.refuses(&text, &["bad.yaml:6:3", "spec.hosts", "there twice"]).await;
    let text = object("VirtualService", "Upper_Case", "{hosts: [a], http: [{route: [{destination: {host: a}}]}]}");
    mesh.refuses(&text, &["bad.yaml:3:", "metadata.name", "lower-case"]).await;
    // An object that is there already.
    let text = service_entry("web", "10.0.0.9");
    mesh.refuses(&text, &["bad.yaml:1:1", "ServiceEntry shop/web", "web.yaml:1:1"]).await;
    mesh.plane.stop().await;
}

#[tokio::test]
async fn what_envoy_would_refuse_is_refused_before() {
    let mut mesh = Mesh::start(&[]).await;
    let with_regex = |regex: &str| {
        object(
            "VirtualService",
            "v",
            &format!(
                "{{hosts: [a], http: [{{match: [{{uri: {{regex: '{regex}'}}}}], route: [{{destination: {{host: a}}}}]}}]}}"
            ),
        )
    };
    for (regex, why) in [
        ("a(?=b)", "RE2"),
        ("(a", "RE2"),
        ("((a{100}){100}){10}", "RE2"),
        ("[[:word:]]{1000}(x{500}|y{500}){60}", "RE2"),
    ] {
        mesh.refuses(&with_regex(regex), &["bad.yaml:4:", "spec.http[0].match[0].uri.regex", why]).await;
    }
    let text = object(
        "ServiceEntry",
        "s",
        "{hosts: [a.example], addresses: [10.0.0.0/99], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC}",
    );
    mesh.refuses(&text, &["bad.yaml:4:", "spec.addresses[0]"]).await;
    let tls = "tls: {mode: SIMPLE, credentialName: a, verifyCertificateSpki: [spki]}";
    let text = object(
        "Gateway",
        "g",
        &format!("{{servers: [{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: ['*'], {tls}}}]}}"),
    );
    mesh.refuses(&text, &["bad.yaml:4:", "spec.servers[0].tls.verifyCertificateSpki[0]"]).await;
    mesh.plane.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_told_and_the_rest_is_served() {
    let mesh = Mesh::start(&[]).await;
    let warnings = |key| ("tiphys_warnings", key);
    let text = object(
        "VirtualService",
        "v",
        "{hosts: [web.example], gateways: [mesh, none], http: [{route: [{destination: {host: nobody}}]}]}",
    );
    let words = [
        "spec.http[0].route[0].destination.host",
        "no service has the host nobody.shop",
        "there is no Gateway shop/none",
    ];
    mesh.tells(&text, warnings("VirtualService shop/v"), &words).await;
    let text = object(
        "VirtualService",
        "v",
        "{hosts: [web.example], http: [{route: [{destination: {host: web.example, subset: v9}}]}]}",
    );
    mesh.tells(&text, warnings("VirtualService shop/v"), &["destination.subset", "has a subset v9"]).await;
    let text = object("DestinationRule", "d", "{host: nobody, subsets: [{name: v1, labels: {version: v1}}]}");
    mesh.tells(&text, warnings("DestinationRule shop/d"), &["spec.host", "no service has the host nobody.shop"]).await;
    let text = format!(
        "{}---\n{}",
        service_entry("a", "10.0.0.3"),
        service_entry("b", "10.0.0.4").replace("b.example", "a.example")
    );
    mesh.tells(&text, ("pilot_duplicate_envoy_clusters", "shop/a.example"), &["has the host of another"]).await;
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: cert, namespace: shop}\nstringData: {tls.crt: nonsense, tls.key: nonsense}\n";
    mesh.tells(text, warnings("Secret shop/cert"), &["tls.crt", "no PEM block"]).await;
    mesh.plane.stop().await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_understood_denies() {
    let mut mesh = Mesh::start(&[]).await;
    for (kind, spec, words) in [
        (
            "AuthorizationPolicy",
            "{action: ALLOW, rules: [{from: [{source: {ipBlocks: [10.0.0.0/99]}}]}]}",
            "ipBlocks[0]",
        ),
        ("AuthorizationPolicy", "{action: PERHAPS, rules: [{}]}", "PERHAPS"),
        ("AuthorizationPolicy", "{action: ALLOW, rules: [{when: [{key: nothing, values: [a]}]}]}", "nothing"),
        ("RequestAuthentication", "{jwtRules: [{issuer: a, jwks: '{broken'}]}", "jwks"),
    ] {
        let listeners = mesh.proxy.held[LISTENERS].clone();
        mesh.plane.write("bad.yaml", &policy(kind, spec));
        mesh.proxy.until("listeners that deny", |p| p.held[LISTENERS] != listeners).await;
        let reports = mesh.reports().await;
        assert!(reports.iter().any(|line| line.contains("bad.yaml:") && line.contains(words)), "{reports:?}");
        let dump = mesh.config().await.to_string();
        assert!(dump.contains("\"action\":\"DENY\"") && dump.contains("\"any\":true"), "{kind} {spec}");
        std::fs::remove_file(mesh.plane.config("bad.yaml")).unwrap();
        mesh.proxy.until("listeners as before", |p| p.held[LISTENERS] == listeners).await;
    }
    // Mutual TLS is asked for where it is not known what was meant.
    let listeners = mesh.proxy.held[LISTENERS].clone();
    mesh.plane.write("bad.yaml", &policy("PeerAuthentication", "{mtls: {mode: MAYBE}}"));
    mesh.proxy.until("listeners that ask for TLS", |p| p.held[LISTENERS] != listeners).await;
    mesh.plane.stop().await;
}

#[tokio::test]
async fn a_large_object_is_served_and_a_larger_one_holds_nothing_up() {
    let mut mesh = Mesh::start(&[]).await;
    let routes = mesh.proxy.held[ROUTES].clone();
    let rule = |n: usize| {
        format!(
            "  - match: [{{uri: {{exact: /{n}}}}}]\n    route: [{{destination: {{host: web.example}}}}]\n    headers: {{request: {{set: {{x: {}}}}}}}\n",
            "y".repeat(21_000)
        )
    };
    let spec = format!("\n  hosts: [web.example]\n  http:\n{}", (0..500).map(rule).collect::<String>());
    let text = object("VirtualService", "large", &spec);
    assert!(text.len() > 10 << 20);
    mesh.plane.write("large.yaml", &text);
    mesh.proxy.until("the large routes", |p| p.held[ROUTES] != routes).await;
    mesh.plane.write("other.yaml", &service_entry("other", "10.0.0.2"));
    mesh.proxy.until("other", |p| p.names(CLUSTERS).contains("outbound|80||other.example")).await;
    std::fs::remove_file(mesh.plane.config("large.yaml")).unwrap();
    mesh.proxy.until("the routes without", |p| p.held[ROUTES]["80"] != routes["80"] || p.held[ROUTES] == routes).await;
    mesh.plane.stop().await;
}

#[tokio::test]
async fn a_namespace_that_is_deleted_takes_its_own_objects_along() {
    let gone = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: gone}}\n---\n{}---\n{}",
        service_entry("old", "10.0.0.8").replace("namespace: shop", "namespace: gone"),
        policy("AuthorizationPolicy", "{action: ALLOW, rules: [{}]}").replace("namespace: shop", "namespace: gone"),
    );
    let mut mesh = Mesh::start(&[("gone.yaml", &gone)]).await;
    mesh.proxy.until("old", |p| p.names(CLUSTERS).contains("outbound|80||old.example")).await;
    let web = mesh.proxy.held[ENDPOINTS].clone();
    std::fs::remove_file(mesh.plane.config("gone.yaml")).unwrap();
    mesh.proxy.until("no old", |p| !p.names(CLUSTERS).contains("outbound|80||old.example")).await;
    assert!(mesh.proxy.names(CLUSTERS).contains(WEB));
    assert_eq!(mesh.proxy.held[ENDPOINTS], web);
    assert_eq!(mesh.reports().await, Vec::<String>::new());
    mesh.plane.stop().await;
}

#[tokio::test]
async fn of_gateways_that_overlap_the_first_has_the_port() {
    let server = |name: &str, host: &str| {
        let tls = "tls: {mode: SIMPLE, credentialName: cert}";
        let port = "port: {number: 443, name: https, protocol: HTTPS}";
        object("Gateway", name, &format!("{{selector: {{app: edge}}, servers: [{{{port}, hosts: [{host}], {tls}}}]}}"))
    };
    let mesh = Mesh::start(&[("first.yaml", &server("first", "a.example"))]).await;
    let mut edge = node("shop", "edge", "10.0.0.8");
    edge.id = edge.id.replace("sidecar", "router");
    let labels = [("app", "edge")].map(|(name, value)| (name.to_owned(), common::text(value))).into();
    let labels = tiphys_proto::google::protobuf::Struct { fields: labels };
    let kind = Some(tiphys_proto::google::protobuf::value::Kind::StructValue(labels));
    edge.metadata.as_mut().unwrap().fields.insert("LABELS".to_owned(), tiphys_proto::google::protobuf::Value { kind });
    let mut edge = Proxy::connect(mesh.plane.plaintext().await, edge).await.unwrap();
    edge.subscribe(LISTENERS, &[]).await;
    edge.until("a listener", |p| p.held.get(LISTENERS).is_some_and(|held| held.len() == 1)).await;
    let words = ["a.example"];
    mesh.tells(&server("second", "a.example"), ("tiphys_conflict_gateway_server", "shop/second:443"), &words).await;
    mesh.plane.stop().await;
}
