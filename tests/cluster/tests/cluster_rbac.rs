// SPDX-License-Identifier: Apache-2.0
//! The control plane may do what it does, and nothing else.
//!
//! The roles that the chart made are held against what the API server's audit log says the control plane asked for, in both directions:
//! no request was refused, and each element of a rule (a verb on a resource, of a name where names are given) is taken out in turn, and there
//! must be a request that nothing else allows. That is a comparison, not a run for each of some hundred elements; a few are really taken away on
//! the cluster, to see what fails then, that it is said, and that it heals without a restart.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tiphys_cluster_tests::audit::{self, Request};
use tiphys_cluster_tests::command::feed;
use tiphys_cluster_tests::process::{metric, page};
use tiphys_cluster_tests::{Cluster, Mesh, Namespace, gateway_api, manifests, mesh};

const PATIENCE: Duration = Duration::from_secs(60);
const USER: &str = "system:serviceaccount:istio-system:istiod";
const CLUSTER_ROLE: &str = "istiod-clusterrole-istio-system";
const ROLE: &str = "istiod";

/// What does not happen here: other tests show that it is needed.
const ELSEWHERE: &[&str] = &[
    // The root is renewed in its Secret after years: root_secret_tests.
    "istio-system: update secrets istio-ca-secret",
];

/// A verb on a resource, of one object or of all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Element {
    /// Empty for all namespaces.
    namespace: String,
    verb: String,
    group: String,
    resource: String,
    name: Option<String>,
}

impl Element {
    fn allows(&self, request: &Request) -> bool {
        (self.namespace.is_empty() || self.namespace == request.namespace)
            && self.verb == request.verb
            && self.group == request.group
            && self.resource == request.resource
            && self.name.as_ref().is_none_or(|name| *name == request.name)
    }

    fn text(&self) -> String {
        let slash = if self.group.is_empty() { "" } else { "/" };
        let scope = if self.namespace.is_empty() { "all" } else { &self.namespace };
        let name = self.name.as_deref().unwrap_or_default();
        format!("{scope}: {} {}{slash}{} {name}", self.verb, self.group, self.resource).trim_end().to_owned()
    }
}

fn elements(role: &Value, namespace: &str) -> Vec<Element> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut all = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        let names: Vec<Option<String>> = match texts(&rule["resourceNames"]) {
            names if names.is_empty() => vec![None],
            names => names.into_iter().map(Some).collect(),
        };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    for name in &names {
                        let (namespace, group, resource) = (namespace.to_owned(), group.clone(), resource.clone());
                        all.push(Element { namespace, verb: verb.clone(), group, resource, name: name.clone() });
                    }
                }
            }
        }
    }
    all
}

/// What the control plane asked for since the cluster came up, each once. A patch that makes an object is a creation by name too.
fn asked(cluster: &Cluster) -> Result<BTreeSet<Request>> {
    let all = audit::requests(cluster)?.into_iter().filter(|request| request.user == USER);
    let once = all.map(|request| Request { pod: String::new(), ..request });
    let creations = |request: Request| {
        let made = request.verb == "patch" && request.code == 201;
        let creation = made.then(|| Request { verb: "create".to_owned(), ..request.clone() });
        creation.into_iter().chain([request])
    };
    Ok(once.flat_map(creations).collect())
}

/// The elements without which each request is allowed all the same. What is followed is listed by API servers that cannot stream a list (before
/// 1.32): the right to list goes with a watch that is needed.
fn idle(elements: &[Element], asked: &BTreeSet<Request>) -> Vec<String> {
    let mut needed = BTreeSet::new();
    for request in asked {
        let mut allow =
            elements.iter().enumerate().filter(|(_, element)| element.allows(request)).map(|(index, _)| index);
        if let (Some(only), None) = (allow.next(), allow.next()) {
            needed.insert(only);
        }
    }
    let watched: BTreeSet<Element> = needed.iter().map(|index| elements[*index].clone()).collect();
    let is_idle = |(index, element): &(usize, &Element)| {
        let watch = Element { verb: "watch".to_owned(), ..(*element).clone() };
        let followed = element.verb == "list" && watched.contains(&watch);
        !needed.contains(index) && !followed
    };
    let idle = elements.iter().enumerate().filter(is_idle).map(|(_, element)| element.text());
    idle.filter(|text| !ELSEWHERE.contains(&text.as_str())).collect()
}

const STATUSES: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio}
spec: {controllerName: istio.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: app}]
  allowedListeners: {namespaces: {from: Same}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more}
spec:
  parentRef: {name: edge}
  listeners: [{name: http, port: 81, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: route}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: app, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: route}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: app, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: route}
spec:
  parentRefs: [{name: edge}]
  hostnames: [a.example.com]
  rules: [{backendRefs: [{name: app, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: route}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: app, port: 80}]}]
";

const SECRET_GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: edge}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ['*']
    tls: {mode: SIMPLE, credentialName: edge}
";

/// Does what makes the control plane ask for everything that it ever does.
fn exercise(cluster: &Cluster) -> Result<Namespace> {
    let namespace = cluster.namespace("rbac", &[("istio-injection", "enabled")])?;
    namespace.apply(&manifests::echo("app", 1))?;
    namespace.apply(STATUSES)?;
    let certificate = rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()])?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "edge"},
        "stringData": {"tls.crt": certificate.cert.pem(), "tls.key": certificate.signing_key.serialize_pem()},
    });
    namespace.apply(&secret.to_string())?;
    namespace.apply(SECRET_GATEWAY)?;
    cluster.helm_install("edge", "gateway", "rbac", &["--set", "service.type=ClusterIP"])?;
    namespace.rollout("app")?;
    // A token that is bound to no pod, which only the API server can judge.
    let token = namespace.kubectl(&["create", "token", "app", "--audience=istio-ca"])?;
    let header = format!("Authorization: Bearer {}", token.trim());
    let url = "http://istiod.istio-system:15014/debug/syncz";
    let answer = namespace.pod("app")?.get(url, &["--header", &header])?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(namespace)
}

#[test]
fn each_right_is_needed_and_none_is_missing() -> Result<()> {
    let Some(cluster) = Cluster::of_test("each_right_is_needed_and_none_is_missing")? else { return Ok(()) };
    gateway_api::install(&cluster)?;
    gateway_api::install_experimental(&cluster)?;
    let mesh = Mesh::shared(&cluster)?;
    let namespace = exercise(&cluster).map_err(|error| error.context(mesh.account()))?;
    let cluster_role = cluster.json(&["get", "clusterrole", CLUSTER_ROLE])?;
    let role = cluster.json(&["--namespace", mesh::SYSTEM, "get", "role", ROLE])?;
    let elements = [elements(&cluster_role, ""), elements(&role, mesh::SYSTEM)].concat();
    cluster.eventually("each element of the roles is needed by a request", PATIENCE, || {
        let idle = idle(&elements, &asked(&cluster)?);
        ensure!(idle.is_empty(), "not needed, as far as the audit log says:\n{}", idle.join("\n"));
        Ok(())
    })?;
    // What the roles allow is refused while they come or go with the mesh.
    let is_refused = |request: &Request| request.code == 403 && !elements.iter().any(|element| element.allows(request));
    let refused: Vec<Request> = asked(&cluster)?.into_iter().filter(is_refused).collect();
    ensure!(refused.is_empty(), "refused: {refused:?}");
    println!("{} elements of roles are needed by {} different requests", elements.len(), asked(&cluster)?.len());
    without_statuses(&cluster, &namespace)?;
    without_roots(&cluster)
}

/// A role without some rules, until it is dropped.
struct Without<'a> {
    cluster: &'a Cluster,
    role: Value,
}

impl<'a> Without<'a> {
    fn rules_on(cluster: &'a Cluster, resource: &str) -> Result<Self> {
        let mut role = cluster.json(&["get", "clusterrole", CLUSTER_ROLE])?;
        if let Some(meta) = role["metadata"].as_object_mut() {
            meta.remove("managedFields");
            meta.remove("resourceVersion");
        }
        let without = Self { cluster, role: role.clone() };
        let rules = role["rules"].as_array_mut().context("rules")?;
        let before = rules.len();
        let writes = |rule: &Value| rule["verbs"].as_array().is_some_and(|verbs| verbs.contains(&json!("patch")));
        let about = |rule: &Value| rule["resources"].as_array().is_some_and(|all| all.contains(&json!(resource)));
        rules.retain(|rule| !(about(rule) && writes(rule)));
        ensure!(rules.len() + 1 == before, "one rule is about writing {resource}");
        feed(&mut cluster.kubectl_command(&["replace", "--filename=-"]), &role.to_string())?;
        Ok(without)
    }
}

impl Drop for Without<'_> {
    fn drop(&mut self) {
        let replaced = feed(&mut self.cluster.kubectl_command(&["replace", "--filename=-"]), &self.role.to_string());
        if let Err(error) = replaced {
            println!("{error:#}");
        }
    }
}

fn without_statuses(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let system = Namespace::existing(cluster, mesh::SYSTEM);
    let failures = || -> Result<f64> {
        let pods = system.pods("app=istiod")?;
        let pages = pods.iter().map(|pod| Ok(metric(&page(pod, 15014, "/metrics")?.1, "tiphys_statuses_failed_total")));
        Ok(pages.collect::<Result<Vec<f64>>>()?.into_iter().sum())
    };
    let before = failures()?;
    let observed = |expected: bool| -> Result<()> {
        let route = namespace.json(&["get", "httproute", "route"])?;
        let observed = &route["status"]["parents"][0]["conditions"][0]["observedGeneration"];
        ensure!((*observed == route["metadata"]["generation"]) == expected, "{route}");
        Ok(())
    };
    let without = Without::rules_on(cluster, "httproutes/status")?;
    // The API server's authorizer follows its roles a moment later.
    std::thread::sleep(Duration::from_secs(2));
    let patch = r#"{"spec":{"hostnames":["other.example.com"]}}"#;
    namespace.kubectl(&["patch", "httproute", "route", "--type=merge", "--patch", patch])?;
    cluster.eventually("writing fails, and is counted", PATIENCE, || {
        ensure!(failures()? > before, "nothing failed");
        Ok(())
    })?;
    observed(false)?;
    drop(without);
    cluster.eventually("the status is written after all", PATIENCE, || observed(true))
}

fn without_roots(cluster: &Cluster) -> Result<()> {
    let without = Without::rules_on(cluster, "configmaps")?;
    std::thread::sleep(Duration::from_secs(2));
    let namespace = cluster.namespace("rbac-roots", &[])?;
    let root = || namespace.kubectl(&["get", "configmap", "istio-ca-root-cert"]).map(drop);
    std::thread::sleep(Duration::from_secs(3));
    ensure!(root().is_err(), "the root certificate cannot be written");
    drop(without);
    cluster.eventually("the root certificate is written after all", PATIENCE, root)
}
