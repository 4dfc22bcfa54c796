// SPDX-License-Identifier: Apache-2.0
//! Who the proxy says it is: Envoy's node with id, cluster, locality and metadata, as the control plane reads them.
//!
//! `ISTIO_META_X=v` becomes the metadata key `X`; the JSON objects in `ISTIO_METAJSON_*` are merged into the metadata; the fields
//! that the agent knows itself win over both.

use crate::settings::Settings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The Istio version whose contracts the agent fulfils, which control planes read from `ISTIO_VERSION`.
pub const ISTIO_VERSION: &str = "1.30.0";

const META: &str = "ISTIO_META_";
const META_JSON: &str = "ISTIO_METAJSON_";
const LOCALITY_LABEL: &str = "istio-locality";

/// Envoy's node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// `sidecar~IP~NAME.NAMESPACE~DOMAIN`
    pub id: String,
    /// Cluster of the proxy itself.
    pub cluster: String,
    /// Region, zone and subzone, as far as known.
    pub locality: Vec<String>,
    /// Metadata.
    pub metadata: Map<String, Value>,
}

impl Node {
    /// The node for these settings, and what could not be read of them.
    pub fn new(settings: &Settings) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        let mut metadata = free_metadata(settings, &mut warnings);
        let labels = labels(settings, &metadata);
        let locality = labels.get(LOCALITY_LABEL).map(|l| locality(l)).unwrap_or_default();
        known_metadata(settings, &labels, &mut metadata);
        let address = settings.addresses.first().map(ToString::to_string).unwrap_or_default();
        let (kind, name, namespace) = (&settings.args.kind, &settings.name, &settings.namespace);
        let id = format!("{kind}~{address}~{name}.{namespace}~{}", settings.domain);
        let cluster = cluster(settings, &labels, &metadata);
        (Self { id, cluster, locality, metadata }, warnings)
    }

    /// As the `node` of a bootstrap.
    pub fn to_json(&self) -> Value {
        let mut locality = Map::new();
        for (name, value) in ["region", "zone", "sub_zone"].into_iter().zip(&self.locality) {
            if !value.is_empty() {
                locality.insert(name.into(), value.as_str().into());
            }
        }
        json!({ "id": self.id, "cluster": self.cluster, "locality": locality, "metadata": self.metadata })
    }
}

/// Metadata from ProxyConfig.proxyMetadata and the environment, which wins.
fn free_metadata(settings: &Settings, warnings: &mut Vec<String>) -> Map<String, Value> {
    let mut metadata = Map::new();
    let proxy = &settings.config().proxy_metadata;
    for (name, value) in proxy.iter().chain(&settings.env.0) {
        if let Some(key) = name.strip_prefix(META) {
            metadata.insert(key.into(), value.as_str().into());
        }
    }
    for (name, value) in settings.env.0.iter().filter(|(n, _)| n.starts_with(META_JSON)) {
        match serde_json::from_str::<Map<String, Value>>(value) {
            Ok(object) => metadata.extend(object),
            Err(error) => warnings.push(format!("{name}: no JSON object, left out: {error}")),
        }
    }
    metadata
}

fn labels(settings: &Settings, metadata: &Map<String, Value>) -> BTreeMap<String, String> {
    let given = |name: &str| {
        let text = settings.env.get(name)?;
        serde_json::from_str::<BTreeMap<String, String>>(text).ok()
    };
    let mut labels = given("ISTIO_METAJSON_LABELS").unwrap_or_default();
    if let Some(Value::Object(object)) = metadata.get("LABELS") {
        labels.extend(object.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_string()))));
    }
    if let Some(pod) = &settings.pod_labels {
        labels.extend(pod.iter().filter(|(k, _)| *k != "pod-template-hash").map(|(k, v)| (k.clone(), v.clone())));
    }
    if let Some(locality) = labels.get_mut(LOCALITY_LABEL) {
        // Label values cannot hold a slash.
        *locality = if locality.contains('/') { locality.clone() } else { locality.replace('.', "/") };
    }
    labels
}

fn known_metadata(settings: &Settings, labels: &BTreeMap<String, String>, metadata: &mut Map<String, Value>) {
    let mut put = |name: &str, value: Value| metadata.insert(name.into(), value);
    for (name, value) in
        [("NAME", &settings.name), ("NAMESPACE", &settings.namespace), ("SERVICE_ACCOUNT", &settings.service_account)]
    {
        if !value.is_empty() {
            put(name, value.as_str().into());
        }
    }
    if !labels.is_empty() {
        put("LABELS", json!(labels));
    }
    if !settings.pod_annotations.is_empty() {
        put("ANNOTATIONS", json!(settings.pod_annotations));
    }
    let addresses: Vec<String> = settings.addresses.iter().map(ToString::to_string).collect();
    put("INSTANCE_IPS", addresses.join(",").into());
    put("PROXY_CONFIG", settings.proxy.json.clone());
    put("ENVOY_STATUS_PORT", settings.ports.envoy_status.into());
    put("ENVOY_PROMETHEUS_PORT", settings.ports.prometheus.into());
    put("WORKLOAD_IDENTITY_SOCKET_FILE", settings.workload_socket.as_str().into());
    put("METADATA_DISCOVERY", "false".into());
    if settings.exit_on_zero_active_connections {
        put("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true".into());
    }
    if let Some(path) = &settings.args.outlier_log_path {
        put("OUTLIER_LOG_PATH", path.as_str().into());
    }
    if !settings.discovery.plaintext {
        let host = settings.discovery.address.rsplit_once(':').map_or("", |(h, _)| h);
        let name = if host == "localhost" { "istiod.istio-system.svc" } else { host };
        put("PILOT_SAN", json!([name]));
    }
    metadata.entry("ISTIO_VERSION").or_insert_with(|| ISTIO_VERSION.into());
}

/// `region/zone/subzone`
fn locality(label: &str) -> Vec<String> {
    label.splitn(3, '/').map(String::from).collect()
}

/// The cluster's name: that of ProxyConfig, unless it is the default one; then by the labels, the workload, the namespace.
fn cluster(settings: &Settings, labels: &BTreeMap<String, String>, metadata: &Map<String, Value>) -> String {
    let config = settings.config();
    let workload = metadata.get("WORKLOAD_NAME").and_then(Value::as_str).filter(|w| !w.is_empty());
    let namespace = settings.namespace.as_str();
    let canonical = || {
        ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]
            .iter()
            .find_map(|l| labels.get(*l))
            .map_or_else(|| workload.unwrap_or("istio-proxy").to_string(), Clone::clone)
    };
    let name = match config.tracing_service_name.as_deref() {
        Some("CANONICAL_NAME_ONLY") => canonical(),
        Some("CANONICAL_NAME_AND_NAMESPACE") if !namespace.is_empty() => return format!("{}.{namespace}", canonical()),
        Some("CANONICAL_NAME_AND_NAMESPACE") => canonical(),
        Some(_) => "istio-proxy".into(),
        None => config.service_cluster.clone(),
    };
    if !name.is_empty() && name != "istio-proxy" {
        return name;
    }
    let app = ["app", "app.kubernetes.io/name"].iter().find_map(|l| labels.get(*l)).map(String::as_str);
    match app.or(workload) {
        Some(name) => format!("{name}.{namespace}"),
        None if !namespace.is_empty() => format!("istio-proxy.{namespace}"),
        None => "istio-proxy".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ProxyArgs;
    use crate::settings::Environment;

    fn node(pairs: &[(&str, &str)]) -> (Node, Vec<String>) {
        let mut all = vec![
            ("POD_NAME", "reviews-1"),
            ("POD_NAMESPACE", "default"),
            ("INSTANCE_IP", "127.0.0.5"),
            ("SERVICE_ACCOUNT", "bookinfo-reviews"),
        ];
        all.extend(pairs);
        let env = Environment(all.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect());
        Node::new(&Settings::gather(ProxyArgs { kind: "sidecar".into(), ..Default::default() }, env).unwrap())
    }

    #[test]
    fn id_and_metadata() {
        let (node, warnings) = node(&[
            ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            ("ISTIO_META_INTERCEPTION_MODE", "NONE"),
            ("ISTIO_METAJSON_LABELS", r#"{"app":"reviews","version":"v1","istio-locality":"r1.z1.s1"}"#),
            ("PROXY_CONFIG", r#"{"proxyMetadata":{"ISTIO_META_NETWORK":"n1","ISTIO_META_CLUSTER_ID":"other"}}"#),
        ]);
        assert!(warnings.is_empty());
        assert_eq!(node.id, "sidecar~127.0.0.5~reviews-1.default~default.svc.cluster.local");
        assert_eq!(node.cluster, "reviews.default");
        assert_eq!(node.locality, ["r1", "z1", "s1"]);
        let text = |k: &str| node.metadata[k].as_str().unwrap();
        assert_eq!(text("CLUSTER_ID"), "Kubernetes");
        assert_eq!(text("NETWORK"), "n1");
        assert_eq!(text("INTERCEPTION_MODE"), "NONE");
        assert_eq!(text("NAME"), "reviews-1");
        assert_eq!(text("SERVICE_ACCOUNT"), "bookinfo-reviews");
        assert_eq!(text("INSTANCE_IPS"), "127.0.0.5");
        assert_eq!(text("ISTIO_VERSION"), ISTIO_VERSION);
        assert_eq!(node.metadata["LABELS"]["version"], "v1");
        assert_eq!(node.metadata["LABELS"]["istio-locality"], "r1/z1/s1");
        assert_eq!(node.metadata["PILOT_SAN"][0], "istiod.istio-system.svc");
        assert_eq!(node.metadata["PROXY_CONFIG"]["discoveryAddress"], "istiod.istio-system.svc:15012");
        let json = node.to_json();
        assert_eq!(json["locality"], json!({"region": "r1", "zone": "z1", "sub_zone": "s1"}));
    }

    #[test]
    fn broken_metadata_is_named() {
        let (_, warnings) = node(&[("ISTIO_METAJSON_X", "[1]")]);
        assert!(warnings[0].contains("ISTIO_METAJSON_X"));
    }

    #[test]
    fn cluster_names() {
        let cluster = |pairs: &[(&str, &str)]| node(pairs).0.cluster;
        assert_eq!(cluster(&[]), "istio-proxy.default");
        assert_eq!(cluster(&[("ISTIO_META_WORKLOAD_NAME", "w")]), "w.default");
        assert_eq!(cluster(&[("PROXY_CONFIG", "serviceCluster: mine")]), "mine");
        let canonical = ("PROXY_CONFIG", "tracingServiceName: CANONICAL_NAME_AND_NAMESPACE");
        assert_eq!(cluster(&[canonical, ("ISTIO_METAJSON_LABELS", r#"{"app":"a"}"#)]), "a.default");
    }
}
