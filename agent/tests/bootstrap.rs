// SPDX-License-Identifier: Apache-2.0
//! Bootstraps of many settings, given to a real Envoy in validation mode. Skipped aloud without Envoy.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::process::Command;
use tiphys_agent::bootstrap;
use tiphys_agent::cli::ProxyArgs;
use tiphys_agent::node::Node;
use tiphys_agent::settings::{Environment, Settings};

/// Name, flags, environment.
type Case<'a> = (&'a str, ProxyArgs, &'a [(&'a str, &'a str)]);

#[test]
fn envoy_takes_them() {
    let Some(envoy) = support::envoy() else {
        eprintln!("SKIPPED: there is no Envoy; run `make setup`, or name one with TIPHYS_ENVOY");
        return;
    };
    let sidecar = ProxyArgs { kind: "sidecar".into(), ..Default::default() };
    let router = ProxyArgs { kind: "router".into(), ..Default::default() };
    let logs = ProxyArgs { log_as_json: true, outlier_log_path: Some("/dev/stdout".into()), ..sidecar.clone() };
    let stats = r#"{"proxyStatsMatcher":{"inclusionRegexps":[".*x.*"],"inclusionSuffixes":["y"]},"extraStatTags":["a"],
                    "statsCompression":false,"runtimeValues":{"overload.global_downstream_max_connections":"5"},
                    "proxyMetadata":{"METRICS_LOCALHOST_ACCESS_ONLY":"true"}}"#;
    let cases: [Case<'_>; 6] = [
        ("defaults", sidecar.clone(), &[]),
        ("state of the world", sidecar.clone(), &[("ISTIO_DELTA_XDS", "false")]),
        ("gateway", router, &[("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true")]),
        ("logs", logs, &[]),
        ("statistics", sidecar.clone(), &[("PROXY_CONFIG", stats)]),
        ("IPv6", sidecar, &[("INSTANCE_IP", "::1")]),
    ];
    for (name, args, env) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut all = BTreeMap::from([("INSTANCE_IP".to_string(), "127.0.0.1".to_string())]);
        all.extend(env.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())));
        let settings = Settings::gather(args, Environment(all)).unwrap();
        let json = bootstrap::bootstrap(&settings, &Node::new(&settings).0);
        let path = dir.path().join("bootstrap.json");
        std::fs::write(&path, json.to_string()).unwrap();
        let checked =
            Command::new(&envoy).args(["--mode", "validate", "-l", "warning", "-c"]).arg(&path).output().unwrap();
        let words = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{name}: {words}");
        assert!(!words.contains("Deprecated"), "{name}: {words}");
    }
}
