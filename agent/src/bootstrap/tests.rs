// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::cli::ProxyArgs;
use crate::settings::Environment;
use std::collections::BTreeMap;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let mut env = BTreeMap::from([("INSTANCE_IP".to_string(), "127.0.0.5".to_string())]);
    env.extend(pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())));
    Settings::gather(ProxyArgs { kind: "sidecar".into(), ..Default::default() }, Environment(env)).unwrap()
}

fn made(settings: &Settings) -> Value {
    bootstrap(settings, &Node::new(settings).0)
}

#[test]
fn addresses_follow_the_settings() {
    let b = made(&settings(&[]));
    assert_eq!(b["admin"]["address"]["socket_address"]["address"], "127.0.0.1");
    assert_eq!(b["static_resources"]["listeners"][0]["name"], "0.0.0.0_15090");
    assert_eq!(b["static_resources"]["listeners"][1]["name"], "0.0.0.0_15021");
    let b = made(&settings(&[("TIPHYS_LISTEN_ADDRESS", "127.0.0.5"), ("TIPHYS_ADMIN_ADDRESS", "127.0.0.5")]));
    assert_eq!(b["admin"]["address"]["socket_address"]["address"], "127.0.0.5");
    assert_eq!(b["static_resources"]["listeners"][1]["name"], "127.0.0.5_15021");
    let agent = &b["static_resources"]["clusters"][1]["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
    assert_eq!(agent["endpoint"]["address"]["socket_address"]["address"], "127.0.0.5");
}

#[test]
fn sockets_are_relative_to_the_working_directory() {
    let b = made(&settings(&[]));
    let path = |i: usize| {
        let c = &b["static_resources"]["clusters"][i];
        c["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["pipe"]["path"].clone()
    };
    assert_eq!(path(2), "./var/run/secrets/workload-spiffe-uds/socket");
    assert_eq!(path(3), "./etc/istio/proxy/XDS");
}

#[test]
fn protocol_of_the_stream() {
    let api = |pairs: &[(&str, &str)]| made(&settings(pairs))["dynamic_resources"]["ads_config"]["api_type"].clone();
    assert_eq!(api(&[]), "DELTA_GRPC");
    assert_eq!(api(&[("ISTIO_DELTA_XDS", "false")]), "GRPC");
}

#[test]
fn runtime_values_replace_and_unset() {
    let config = r#"{"runtimeValues":{"a":"true","b":"5","re2.max_program_size.error_level":""},
                     "connectionSettings":{"globalDownstreamConnectionLimit":77}}"#;
    let b = made(&settings(&[("PROXY_CONFIG", config)]));
    let flags = &b["layered_runtime"]["layers"][0]["static_layer"];
    assert_eq!((&flags["a"], &flags["b"]), (&json!(true), &json!("5")));
    assert!(flags.get("re2.max_program_size.error_level").is_none());
    let monitor = &b["overload_manager"]["resource_monitors"][0]["typed_config"];
    assert_eq!(monitor["max_active_downstream_connections"], 77);
}

#[test]
fn statistics_of_the_user() {
    let config = r#"{"proxyStatsMatcher":{"inclusionPrefixes":["http.{pod_ip}_"]},"extraStatTags":["mine","mine"]}"#;
    let b = made(&settings(&[("PROXY_CONFIG", config)]));
    let patterns = b["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"].as_array().unwrap();
    assert!(patterns.contains(&json!({"prefix": "http.127.0.0.5_"})));
    assert!(patterns.contains(&json!({"prefix": "cluster_manager"})));
    let tags = b["stats_config"]["stats_tags"].as_array().unwrap();
    assert_eq!(tags.iter().filter(|t| t["tag_name"] == "mine").count(), 1);
}

#[test]
fn additions_are_merged_by_envoy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("custom.yaml");
    std::fs::write(&path, "static_resources:\n  clusters:\n  - name: x-$(HOST_IP)\n").unwrap();
    let s = settings(&[("ISTIO_BOOTSTRAP_OVERRIDE", path.to_str().unwrap()), ("HOST_IP", "10.0.0.1")]);
    assert_eq!(custom(&s).unwrap().unwrap(), r#"{"static_resources":{"clusters":[{"name":"x-10.0.0.1"}]}}"#);
    assert_eq!(custom(&settings(&[])).unwrap(), None);
    let error = custom(&settings(&[("ISTIO_BOOTSTRAP_OVERRIDE", "/nonexistent/x")])).unwrap_err();
    assert!(error.contains("ISTIO_BOOTSTRAP_OVERRIDE"));
}
