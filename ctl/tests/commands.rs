// SPDX-License-Identifier: Apache-2.0
//! The program as a user calls it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panic")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn ctl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tiphysctl")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const GOOD: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.example]
  addresses: [10.9.9.9]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints: [{address: 10.0.0.1}]
";

const BAD: &str = "# A route whose hosts are none.
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: {a: b}
";

fn files(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
}

#[test]
fn validate_names_every_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    files(dir.path(), &[("a.yaml", GOOD)]);
    let good = ctl(&["validate", "-f", root]);
    assert_eq!(
        (good.status.code(), text(&good.stdout).as_str()),
        (Some(0), "1 objects are good, 0 errors, 0 warnings\n")
    );
    files(
        dir.path(),
        &[
            ("b.yaml", BAD),
            ("c.yaml", GOOD),
            ("d.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n"),
        ],
    );
    let bad = ctl(&["validate", "-f", root]);
    let out = text(&bad.stdout).replace(&format!("{root}/"), "");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(bad.status.code(), Some(1), "{out}");
    assert!(lines[0].starts_with("b.yaml:6:3: error: VirtualService shop/web: spec.hosts: "), "{out}");
    assert!(
        lines[1].starts_with("c.yaml:1:1: error: ServiceEntry shop/web: is also in ")
            && lines[1].contains("a.yaml:1:1"),
        "{out}"
    );
    assert!(lines[2].starts_with("d.yaml:") && lines[2].contains(": warning: Deployment x: "), "{out}");
    assert_eq!(lines[3], "1 objects are good, 2 errors, 1 warnings");
}

#[test]
fn validate_speaks_json_and_yaml_and_reads_its_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tiphysctl"))
        .args(["validate", "-f", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(BAD.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        (&found[0]["field"], &found[0]["line"], &found[0]["kind"]),
        (&"spec.hosts".into(), &6.into(), &"VirtualService".into())
    );
    let dir = tempfile::tempdir().unwrap();
    files(dir.path(), &[("b.yaml", BAD)]);
    let yaml = ctl(&["validate", "-f", dir.path().to_str().unwrap(), "-o", "yaml"]);
    assert!(text(&yaml.stdout).contains("field: spec.hosts"));
}

#[test]
fn render_writes_what_each_proxy_gets() {
    let dir = tempfile::tempdir().unwrap();
    let node = "- name: one\n  node:\n    id: sidecar~10.0.0.7~one.shop~shop.svc.cluster.local\n    metadata: {NAMESPACE: shop}\n";
    files(dir.path(), &[("a.yaml", GOOD), ("proxies.txt", node)]);
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (config, proxies, out) = (path("a.yaml"), path("proxies.txt"), path("out"));
    let args = ["render", "--config", &config, "--proxies", &proxies, "--out", &out];
    let done = ctl(&args);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let read = |ty: &str| -> Value {
        serde_json::from_slice(&fs::read(dir.path().join(format!("out/one/{ty}.json"))).unwrap()).unwrap()
    };
    let clusters = read("cds");
    let names: Vec<&str> = clusters.as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert!(names.contains(&"outbound|80||web.example") && names.is_sorted(), "{names:?}");
    assert_eq!(read("eds")[0]["clusterName"], "outbound|80||web.example");
    assert!(!dir.path().join("out/one/nds.json").exists() && !dir.path().join("out/one/sds.json").exists());
    // A mistake is named, and the rest is rendered.
    files(dir.path(), &[("a.yaml", &format!("{GOOD}---\n{BAD}"))]);
    let done = ctl(&args);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("VirtualService shop/web: spec.hosts: "), "{}", text(&done.stderr));
    // Broken settings stop it.
    files(dir.path(), &[("mesh.yaml", "accessLogFile: a\nconnectTimeout: [1]\n")]);
    let mesh = path("mesh.yaml");
    let done = ctl(&[&args[..], &["--mesh-config", &mesh]].concat());
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("mesh.yaml:2:1: connectTimeout"), "{}", text(&done.stderr));
}

#[test]
fn the_rest_of_the_command_line() {
    assert!(text(&ctl(&["completions", "bash"]).stdout).contains("_tiphysctl"));
    assert_eq!(text(&ctl(&["version", "--short"]).stdout), format!("{}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(ctl(&["validate"]).status.code(), Some(2));
    assert_eq!(ctl(&["nonsense"]).status.code(), Some(2));
    assert!(text(&ctl(&["render", "--help"]).stdout).contains("Exit codes: 0 rendered"));
    assert!(text(&ctl(&["validate", "-f", "/nonexistent"]).stderr).contains("/nonexistent"));
}

const MESH: &str = "apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: web, ports: [{containerPort: 8080}]}, {name: istio-proxy}]}
status: {phase: Running, podIP: 10.1.0.1, conditions: [{type: Ready, status: 'True'}]}
";

const CLIENT: &str = "apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {containers: [{name: client}]}
status: {phase: Running, podIP: 10.1.0.2}
";

const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";

#[test]
fn preflight_names_who_would_be_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("mesh")).unwrap();
    files(dir.path(), &[("mesh/a.yaml", MESH), ("mesh/b.yaml", CLIENT), ("strict.yaml", STRICT), ("other.yaml", GOOD)]);
    let mesh = path("mesh");
    let run = |more: &[&str]| ctl(&[&["preflight", "strict", "--config", &mesh], more].concat());
    let told = run(&["-n", "shop"]);
    let out = text(&told.stdout);
    assert_eq!(told.status.code(), Some(1), "{out}{}", text(&told.stderr));
    assert!(out.starts_with("BREAKS   no-sidecar           shop/client -> web.shop.svc.cluster.local:80\n"), "{out}");
    assert!(out.contains("1 workload would become STRICT") && out.contains("no statistics of 1 pod"), "{out}");
    let json: Value = serde_json::from_slice(&run(&["-f", &path("strict.yaml"), "-o", "json"]).stdout).unwrap();
    assert_eq!(
        (&json["asked"], &json["findings"][0]["reason"]),
        (&"PeerAuthentication shop/default in the mesh".into(), &"no-sidecar".into())
    );
    assert!(text(&run(&["-o", "yaml"]).stdout).contains("reason: no-sidecar"));
    // What is known to call nobody, and what is mended.
    assert_eq!(run(&["--ignore", "shop/client"]).status.code(), Some(0));
    fs::remove_file(path("mesh/b.yaml")).unwrap();
    assert_eq!(run(&[]).status.code(), Some(0));
    // What cannot be found out is neither.
    for (more, why) in [
        (vec!["-f", "/nonexistent"], "/nonexistent"),
        (vec!["-f", &path("other.yaml")], "there is no PeerAuthentication in it"),
        (vec!["--mesh-config", "/nonexistent"], "/nonexistent"),
        (vec!["--since", "61"], "61 is not in 1..=60"),
    ] {
        let wrong = run(&more);
        assert_eq!(wrong.status.code(), Some(2), "{more:?}");
        assert!(text(&wrong.stderr).contains(why), "{}", text(&wrong.stderr));
    }
    let away = ctl(&["preflight", "strict", "--address", "http://127.0.0.1:1"]);
    assert_eq!(away.status.code(), Some(2));
    assert!(text(&away.stderr).contains("http://127.0.0.1:1"), "{}", text(&away.stderr));
    assert!(text(&ctl(&["preflight", "strict", "--help"]).stdout).contains("Exit codes: 0 nothing would break"));
}
