// SPDX-License-Identifier: Apache-2.0
//! The parts of Istio's `ProxyConfig` that the agent acts on (reference/config/istio.mesh.v1alpha1, ProxyConfig).
//!
//! Layers replace each other field by field: defaults, the mesh configuration file's `defaultConfig`, the environment's
//! `PROXY_CONFIG`, the pod's annotation `proxy.istio.io/config`. The merged JSON goes into Envoy's node metadata whole, so that
//! fields that only the control plane knows arrive there.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Fields that pilot-agent acts on and this agent does not yet: each is named in a warning when it is set.
const REFUSED: [&str; 10] = [
    "tracing",
    "zipkinAddress",
    "statsdUdpAddress",
    "envoyMetricsService",
    "envoyMetricsServiceAddress",
    "envoyAccessLogService",
    "privateKeyProvider",
    "proxyBootstrapTemplatePath",
    "caCertificatesPem",
    "readinessProbe",
];

/// `ProxyConfig`, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// Where Envoy's configuration and the xDS socket lie.
    pub config_path: String,
    /// Envoy's binary.
    pub binary_path: String,
    /// A bootstrap to use in place of the one that the agent writes.
    pub custom_config_file: String,
    /// Name of the cluster, unless the labels say another.
    pub service_cluster: String,
    /// How to name the cluster by labels.
    pub tracing_service_name: Option<String>,
    /// Envoy's drain time.
    pub drain_duration: String,
    /// How long to wait after a drain before Envoy is ended.
    pub termination_drain_duration: String,
    /// `host:port` of the control plane.
    pub discovery_address: String,
    /// Port of Envoy's admin interface.
    pub proxy_admin_port: u16,
    /// Port on which the agent answers probes and metrics.
    pub status_port: u16,
    /// `NONE` means plaintext to the control plane.
    pub control_plane_auth_policy: String,
    /// Envoy's worker threads; zero means one per core.
    pub concurrency: Option<u32>,
    /// Environment of the proxy: those that begin with `ISTIO_META_` become metadata.
    pub proxy_metadata: BTreeMap<String, String>,
    /// Runtime flags of Envoy.
    pub runtime_values: BTreeMap<String, String>,
    /// Further tags of Istio's metrics.
    pub extra_stat_tags: Vec<String>,
    /// Further statistics to keep.
    pub proxy_stats_matcher: StatsMatcher,
    /// Whether 15090 compresses.
    pub stats_compression: Option<bool>,
    /// How often Envoy writes log files.
    pub file_flush_interval: Option<String>,
    /// How much Envoy gathers for a log file.
    pub file_flush_min_size_kb: u32,
    /// Limits of connections.
    pub connection_settings: ConnectionSettings,
}

/// Which statistics to keep beside the necessary ones.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatsMatcher {
    /// By beginning.
    pub inclusion_prefixes: Option<Vec<String>>,
    /// By end.
    pub inclusion_suffixes: Option<Vec<String>>,
    /// By regular expression.
    pub inclusion_regexps: Option<Vec<String>>,
}

/// Limits of connections.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionSettings {
    /// Most connections that Envoy accepts.
    pub global_downstream_connection_limit: Option<u32>,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            config_path: "./etc/istio/proxy".into(),
            binary_path: "/usr/local/bin/envoy".into(),
            custom_config_file: String::new(),
            service_cluster: "istio-proxy".into(),
            tracing_service_name: None,
            drain_duration: "45s".into(),
            termination_drain_duration: "5s".into(),
            discovery_address: "istiod.istio-system.svc:15012".into(),
            proxy_admin_port: 15000,
            status_port: 15020,
            control_plane_auth_policy: "MUTUAL_TLS".into(),
            concurrency: None,
            proxy_metadata: BTreeMap::new(),
            runtime_values: BTreeMap::new(),
            extra_stat_tags: Vec::new(),
            proxy_stats_matcher: StatsMatcher::default(),
            stats_compression: None,
            file_flush_interval: None,
            file_flush_min_size_kb: 0,
            connection_settings: ConnectionSettings::default(),
        }
    }
}

/// The merged layers, and what they mean here.
#[derive(Clone, Debug)]
pub struct Merged {
    /// As JSON, for the node metadata.
    pub json: Value,
    /// The fields that matter here.
    pub config: ProxyConfig,
    /// What is set and has no effect.
    pub warnings: Vec<String>,
}

/// One layer: where it comes from, and its text in YAML or JSON.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Named in errors.
    pub place: &'a str,
    /// The text.
    pub text: &'a str,
    /// Whether it is a whole mesh configuration, of which `defaultConfig` counts.
    pub mesh: bool,
}

/// Merges the layers over the defaults.
///
/// # Errors
/// Names the layer that cannot be read, and why.
pub fn merge(layers: &[Layer<'_>]) -> Result<Merged, String> {
    let defaults = ProxyConfig::default();
    let mut all = Map::new();
    let mut default = |name: &str, value: Value| all.insert(name.into(), value);
    default("configPath", json!(defaults.config_path));
    default("binaryPath", json!(defaults.binary_path));
    default("serviceCluster", json!(defaults.service_cluster));
    default("drainDuration", json!(defaults.drain_duration));
    default("terminationDrainDuration", json!(defaults.termination_drain_duration));
    default("discoveryAddress", json!(defaults.discovery_address));
    default("proxyAdminPort", json!(defaults.proxy_admin_port));
    default("statusPort", json!(defaults.status_port));
    default("controlPlaneAuthPolicy", json!(defaults.control_plane_auth_policy));
    default("statNameLength", json!(189));
    for layer in layers {
        for (name, value) in read(layer)? {
            // One of the two names the cluster (a oneof).
            if name == "tracingServiceName" {
                all.remove("serviceCluster");
            } else if name == "serviceCluster" {
                all.remove("tracingServiceName");
            }
            all.insert(name, value);
        }
    }
    let json = Value::Object(all);
    let config: ProxyConfig = serde_json::from_value(json.clone()).map_err(|e| format!("ProxyConfig: {e}"))?;
    let warnings = REFUSED
        .iter()
        .filter(|name| json.get(name).is_some_and(|v| !v.is_null() && v != ""))
        .map(|name| format!("ProxyConfig.{name} has no effect on the bootstrap that this agent writes"))
        .collect();
    Ok(Merged { json, config, warnings })
}

fn read(layer: &Layer<'_>) -> Result<Map<String, Value>, String> {
    let place = layer.place;
    let value: Value = yaml_serde::from_str(layer.text).map_err(|e| format!("{place}: {e}"))?;
    let value = if layer.mesh { value.get("defaultConfig").cloned().unwrap_or_default() } else { value };
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(fields) => Ok(fields.into_iter().filter(|(_, v)| !v.is_null()).collect()),
        _ => Err(format!("{place}: ProxyConfig must be an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(text: &str) -> Layer<'_> {
        Layer { place: "PROXY_CONFIG", text, mesh: false }
    }

    #[test]
    fn layers_replace_field_by_field() {
        let mesh = "trustDomain: x\ndefaultConfig:\n  concurrency: 4\n  statusPort: 1\n  proxyMetadata: {A: b}\n";
        let merged = merge(&[
            Layer { place: "mesh", text: mesh, mesh: true },
            env(r#"{"statusPort":15022,"proxyMetadata":{"C":"d"},"tracing":{"zipkin":{}}}"#),
        ])
        .unwrap();
        assert_eq!(merged.config.concurrency, Some(4));
        assert_eq!(merged.config.status_port, 15022);
        assert_eq!(merged.config.proxy_metadata, BTreeMap::from([("C".into(), "d".into())]));
        assert_eq!(merged.config.discovery_address, "istiod.istio-system.svc:15012");
        assert!(merged.warnings[0].contains("ProxyConfig.tracing"));
    }

    #[test]
    fn empty_and_unknown_are_fine_and_nonsense_is_not() {
        assert_eq!(merge(&[env(""), env("{}"), env("someday: 1")]).unwrap().config.proxy_admin_port, 15000);
        assert!(merge(&[env("[1]")]).unwrap_err().contains("PROXY_CONFIG"));
        assert!(merge(&[env("{")]).unwrap_err().contains("PROXY_CONFIG"));
        assert!(merge(&[env("statusPort: many")]).unwrap_err().contains("ProxyConfig"));
    }

    #[test]
    fn one_of_two_names_the_cluster() {
        let merged = merge(&[env("tracingServiceName: CANONICAL_NAME_ONLY")]).unwrap();
        assert!(merged.json.get("serviceCluster").is_none());
        assert_eq!(merged.config.tracing_service_name.as_deref(), Some("CANONICAL_NAME_ONLY"));
    }
}
