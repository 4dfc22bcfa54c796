// SPDX-License-Identifier: Apache-2.0
use super::environment::parse_pod_info;
use super::*;

fn env(pairs: &[(&str, &str)]) -> Environment {
    Environment(pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect())
}

fn gather(pairs: &[(&str, &str)]) -> Result<Settings, String> {
    let mut all = vec![("POD_NAME", "reviews-1"), ("POD_NAMESPACE", "default"), ("INSTANCE_IP", "127.0.0.5")];
    all.extend(pairs);
    Settings::gather(ProxyArgs { kind: "sidecar".into(), ..Default::default() }, env(&all))
}

#[test]
fn defaults_are_pilot_agents() {
    let s = gather(&[]).unwrap();
    assert_eq!(s.domain, "default.svc.cluster.local");
    assert_eq!(s.addresses, ["127.0.0.5".parse::<IpAddr>().unwrap()]);
    assert_eq!(s.discovery.address, "istiod.istio-system.svc:15012");
    assert_eq!(s.discovery.roots.as_deref(), Some(Path::new("./var/run/secrets/istio/root-cert.pem")));
    assert!(!s.discovery.plaintext);
    assert_eq!(s.identity.authority.address, "istiod.istio-system.svc:15012");
    assert_eq!(s.identity.spiffe_id, "spiffe://cluster.local/ns/default/sa/default");
    assert_eq!(s.identity.ttl, Duration::from_secs(86400));
    assert_eq!(s.identity.algorithm, KeyAlgorithm::P256);
    assert_eq!(s.ports, ports(&env(&[]), false).unwrap());
    assert_eq!(s.admin_address(), "127.0.0.1:15000");
    assert_eq!(s.xds_socket_path(), Path::new("./etc/istio/proxy/XDS"));
    assert_eq!(s.workload_socket_path(), Path::new("./var/run/secrets/workload-spiffe-uds/socket"));
    assert!(s.delta && s.warnings.is_empty());
}

#[test]
fn plaintext_is_by_policy_or_by_port() {
    assert!(gather(&[("PROXY_CONFIG", "controlPlaneAuthPolicy: NONE")]).unwrap().discovery.plaintext);
    let s = gather(&[("PROXY_CONFIG", "discoveryAddress: istiod.istio-system.svc:15010")]).unwrap();
    assert!(s.discovery.plaintext && s.identity.authority.plaintext);
    let s = gather(&[("PROXY_CONFIG", "discoveryAddress: x:15010"), ("CA_ADDR", "ca:15012")]).unwrap();
    assert!(!s.identity.authority.plaintext);
}

#[test]
fn keys() {
    let algorithm = |pairs: &[(&str, &str)]| gather(pairs).map(|s| s.identity.algorithm);
    assert_eq!(algorithm(&[("WORKLOAD_RSA_KEY_SIZE", "3072")]), Ok(KeyAlgorithm::Rsa(3072)));
    assert_eq!(algorithm(&[("ECC_SIGNATURE_ALGORITHM", "ECDSA"), ("ECC_CURVE", "P384")]), Ok(KeyAlgorithm::P384));
    assert!(algorithm(&[("WORKLOAD_RSA_KEY_SIZE", "1024")]).unwrap_err().contains("WORKLOAD_RSA_KEY_SIZE"));
    assert!(algorithm(&[("ECC_SIGNATURE_ALGORITHM", "DSA")]).unwrap_err().contains("ECC_SIGNATURE_ALGORITHM"));
}

#[test]
fn certificates_in_files() {
    let s = gather(&[("PROV_CERT", "/etc/certs")]).unwrap();
    assert_eq!(s.discovery.roots.as_deref(), Some(Path::new("/etc/certs/root-cert.pem")));
    assert_eq!(s.discovery.certificate, s.identity.authority.certificate);
    assert!(s.identity.files.is_none());
    let config = r#"{"proxyMetadata":{"ISTIO_META_TLS_CLIENT_KEY":"/k","ISTIO_META_TLS_CLIENT_ROOT_CERT":"/r"}}"#;
    let s = gather(&[("FILE_MOUNTED_CERTS", "true"), ("PROXY_CONFIG", config)]).unwrap();
    let files = s.identity.files.unwrap();
    assert_eq!((files.key, files.root.clone()), ("/k".into(), PathBuf::from("/r")));
    assert_eq!(s.discovery.roots, Some(files.root));
    assert!(gather(&[("FILE_MOUNTED_CERTS", "true"), ("PROV_CERT", "/x")]).unwrap_err().contains("exclude"));
}

#[test]
fn wrong_settings_are_named() {
    for (name, value) in [
        ("SECRET_TTL", "soon"),
        ("INSTANCE_IP", "here"),
        ("ENVOY_STATUS_PORT", "70000"),
        ("ISTIO_DELTA_XDS", "maybe"),
        ("PILOT_CERT_PROVIDER", "none-such"),
        ("WORKLOAD_IDENTITY_SOCKET_FILE", "../x"),
        ("TIPHYS_LISTEN_ADDRESS", "all"),
        ("SECRET_GRACE_PERIOD_RATIO", "2"),
    ] {
        let error = gather(&[(name, value)]).unwrap_err();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn what_has_no_effect_is_named() {
    let s = gather(&[("PROXY_CONFIG_XDS_AGENT", "true"), ("CA_PROVIDER", "GoogleCA")]).unwrap();
    assert_eq!(s.warnings.len(), 2);
    assert!(s.warnings[0].contains("PROXY_CONFIG_XDS_AGENT") && s.warnings[1].contains("CA_PROVIDER"));
    assert!(gather(&[("PROXY_CONFIG_XDS_AGENT", "false")]).unwrap().warnings.is_empty());
}

#[test]
fn cpu_limit_is_the_weakest_word_on_concurrency() {
    let concurrency = |pairs: &[(&str, &str)]| gather(pairs).unwrap().config().concurrency;
    assert_eq!(concurrency(&[]), None);
    assert_eq!(concurrency(&[("ISTIO_CPU_LIMIT", "3")]), Some(3));
    assert_eq!(concurrency(&[("ISTIO_CPU_LIMIT", "3"), ("PROXY_CONFIG", "concurrency: 1")]), Some(1));
}

#[test]
fn drain_duration_of_the_environment_is_a_default() {
    let drain = |pairs: &[(&str, &str)]| gather(pairs).unwrap().config().termination_drain_duration.clone();
    let seconds = ("TERMINATION_DRAIN_DURATION_SECONDS", "7");
    assert_eq!((drain(&[]).as_str(), drain(&[seconds]).as_str()), ("5s", "7s"));
    assert_eq!(drain(&[seconds, ("PROXY_CONFIG", "terminationDrainDuration: 9s")]), "9s");
}

#[test]
fn pod_information() {
    let parsed = parse_pod_info("app=\"a\"\nnote=\"two\\nlines \\\"x\\\"\"\n").unwrap();
    assert_eq!(parsed["note"], "two\nlines \"x\"");
    assert!(parse_pod_info("a=b").unwrap_err().contains("line 1"));
}
