// SPDX-License-Identifier: Apache-2.0
//! Texts with many documents, Lists and faults: what is read, and what is said of the rest, with its place.

use std::path::Path;

use tiphys_api::{Kind, ParseError, Parsed, Spec, parse_yaml};

fn read(text: &str) -> Vec<Result<Parsed, ParseError>> {
    parse_yaml(text, Some(Path::new("a.yaml").into()))
}

fn said(text: &str) -> Vec<String> {
    let say = |result: Result<Parsed, ParseError>| match result {
        Ok(parsed) => format!("{} {}", parsed.object.origin, parsed.object.key()),
        Err(error) => error.to_string(),
    };
    read(text).into_iter().map(say).collect()
}

#[test]
fn documents_lists_and_json() {
    let text = "\
# A comment first.
---
apiVersion: v1
kind: Namespace
metadata: {name: a, namespace: ignored}
---
# Nothing but a comment.
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: s}
- {\"apiVersion\": \"networking.istio.io/v1\", \"kind\": \"Sidecar\", \"metadata\": {\"name\": \"x\", \"namespace\": \"n\"}, \"spec\": {}}
...
--- {\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"c\"}, \"data\": {\"k\": \"---\\nv\"}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayList
items: [{metadata: {name: g}, spec: {gatewayClassName: istio}}]
";
    assert_eq!(
        said(text),
        [
            "a.yaml:3:1 Namespace a",
            "a.yaml:12:3 Service default/s",
            "a.yaml:15:3 Sidecar n/x",
            "a.yaml:17:5 ConfigMap default/c",
            "a.yaml:21:9 Gateway default/g",
        ]
    );
    assert_eq!(read(text).pop().and_then(Result::ok).map(|parsed| parsed.object.kind()), Some(Kind::Gateway));
}

#[test]
fn a_broken_document_hides_nothing() {
    let text = "\
kind: [
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: n}
spec:
  hosts: [a]
  http:
  - timeout: soon
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
---
apiVersion: networking.istio.io/v9
kind: Sidecar
metadata: {name: d}
---
apiVersion: v1
kind: Service
metadata: {}
---
just a text
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: last}
";
    let results = read(text);
    assert_eq!(results.len(), 7);
    assert!(matches!(&results[0], Err(ParseError::Syntax(_))));
    assert!(matches!(&results[2], Err(ParseError::UnknownKind(fault)) if fault.kind == "Deployment"));
    assert!(results[6].is_ok());
    let said = said(text);
    assert!(said[0].starts_with("a.yaml:"), "{}", said[0]);
    assert_eq!(
        said[1],
        "a.yaml:9:5: VirtualService n/v: spec.http[0].timeout: \"soon\" is not a duration: \
         write a number with a unit, such as 1.5s, 100ms or 1h10m"
    );
    assert_eq!(
        said[3],
        "a.yaml:15:1: Sidecar d: apiVersion: networking.istio.io/v9 is not a version of Sidecar: use one of v1, v1beta1, v1alpha3"
    );
    assert!(said[4].starts_with("a.yaml:21:1: Service "), "{}", said[4]);
    assert!(said[4].ends_with("metadata.name: missing: every object needs a name"), "{}", said[4]);
    assert!(said[5].starts_with("a.yaml:23:1: "), "{}", said[5]);
}

#[test]
fn faults_of_list_items_have_their_own_place() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n  spec: {ports: [{port: http}]}\n";
    assert_eq!(
        said(text),
        ["a.yaml:7:19: Service default/a: spec.ports[0].port: expected a whole number, found the string \"http\""]
    );
}

#[test]
fn merge_keys_are_applied() {
    let text = "\
apiVersion: v1
kind: Service
metadata: &m {name: a, labels: {b: c}}
x: &ports {type: NodePort}
spec:
  <<: *ports
  clusterIP: None
";
    let parsed = read(text).remove(0).unwrap_or_else(|error| panic!("{error}"));
    let Spec::Service(service) = parsed.object.spec else { panic!("a Service was written") };
    assert_eq!(service.spec.service_type.as_str(), "NodePort");
    assert_eq!(service.spec.cluster_ip, "None");
}

#[test]
fn large_and_deep_texts_end() {
    let deep = format!("a: {}{}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(said(&deep)[0].ends_with("nested deeper than 128 levels"));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f]\n";
    assert!(read(bomb)[0].is_err());
    let large = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  k: |\n{}",
        "    text\n".repeat(500_000)
    );
    assert!(read(&large)[0].is_ok());
}

/// As `kubectl` does; readers that let the last one win would hide the mistake.
#[test]
fn fields_that_are_there_twice_are_errors_with_their_place() {
    let text = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [a]
  http:
  - route: [{destination: {host: a}}]
    timeout: 1s
    timeout: 2s
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: s}
  spec: {clusterIP: 10.0.0.1}
- apiVersion: v1
  kind: Service
  metadata:
    name: t
    labels: {a.b/c: '1', 'a.b/c': '2'}
---
{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\", \"name\": \"b\"}}
";
    assert_eq!(
        said(text),
        [
            "a.yaml:9:5: VirtualService v: spec.http[0].timeout: the field is there twice: leave one of the two",
            "a.yaml:14:3 Service default/s",
            "a.yaml:22:26: Service t: metadata.labels[\"a.b/c\"]: the field is there twice: leave one of the two",
            "a.yaml:24:69: Namespace b: metadata.name: the field is there twice: leave one of the two",
        ]
    );
}

#[test]
fn settings_that_are_there_twice_are_refused() {
    let error = tiphys_api::mesh::MeshConfig::default()
        .merge_yaml("rootNamespace: a\ndefaultConfig:\n  concurrency: 1\n  concurrency: 2\n")
        .unwrap_err();
    assert_eq!((error.line, error.column, error.path.as_str()), (4, 3, "defaultConfig.concurrency"));
}
