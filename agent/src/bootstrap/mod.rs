// SPDX-License-Identifier: Apache-2.0
//! Envoy's start configuration: who it is, where configuration comes from, and the few things that exist before any arrives.
//!
//! It is what Istio's bootstrap has: ADS by way of the agent's socket; the static clusters `xds-grpc`, `sds-grpc`,
//! `prometheus_stats` and `agent`; listeners for metrics (15090) and readiness (15021); Istio's statistics tags. What only Istio's
//! own build of Envoy has is left out, so that upstream Envoy starts with it too; both accept it.
//!
//! Format: envoy.config.bootstrap.v3.Bootstrap in JSON.

mod clusters;
mod listeners;
mod stats;

use crate::node::Node;
use crate::settings::Settings;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const TYPE: &str = "type.googleapis.com/";

/// The bootstrap for these settings.
pub fn bootstrap(settings: &Settings, node: &Node) -> Value {
    let ads = json!({ "ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3" });
    let api_type = if settings.delta { "DELTA_GRPC" } else { "GRPC" };
    let mut all = json!({
        "application_log_config": { "log_format": log_format(settings.args.log_as_json) },
        "node": node.to_json(),
        "layered_runtime": { "layers": [
            { "name": "global config", "static_layer": runtime(settings) },
            { "name": "admin", "admin_layer": {} },
        ]},
        "bootstrap_extensions": [{
            "name": "envoy.bootstrap.internal_listener",
            "typed_config": {
                "@type": format!("{TYPE}envoy.extensions.bootstrap.internal_listener.v3.InternalListener"),
                "buffer_size_kb": 64,
            },
        }],
        "stats_config": stats::config(settings),
        "admin": {
            "access_log": [{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": format!("{TYPE}envoy.extensions.access_loggers.file.v3.FileAccessLog"),
                    "path": "/dev/null",
                },
            }],
            "profile_path": "/var/lib/istio/data/envoy.prof",
            "address": socket_address(&settings.ports.admin.to_string(), settings.config().proxy_admin_port),
        },
        "dynamic_resources": {
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": api_type,
                "set_node_on_first_message_only": true,
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
            },
        },
        "static_resources": { "clusters": clusters::all(settings), "listeners": listeners::all(settings) },
        "overload_manager": overload(settings),
        "deferred_stat_options": { "enable_deferred_creation_stats": true },
    });
    if let Some(interval) = settings.pod_annotations.get("sidecar.istio.io/statsFlushInterval") {
        all["stats_flush_interval"] = interval.as_str().into();
    }
    if let Some(path) = &settings.args.outlier_log_path {
        all["cluster_manager"] = json!({
            "outlier_detection": { "event_log_path": path },
            "enable_deferred_cluster_creation": true,
        });
    }
    all
}

/// Writes the bootstrap to `CONFIG_PATH/envoy-rev.json` and returns its path; a custom one of ProxyConfig is taken as it is.
///
/// # Errors
/// When the folder or the file cannot be written.
pub fn write(settings: &Settings, node: &Node) -> Result<PathBuf, String> {
    let config = settings.config();
    if !config.custom_config_file.is_empty() {
        return Ok(PathBuf::from(&config.custom_config_file));
    }
    let dir = Path::new(&config.config_path);
    std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let path = dir.join("envoy-rev.json");
    let text = serde_json::to_vec_pretty(&bootstrap(settings, node)).map_err(|e| format!("bootstrap: {e}"))?;
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// The user's additions to the bootstrap (ISTIO_BOOTSTRAP_OVERRIDE, YAML or JSON) as JSON for Envoy's `--config-yaml`, which
/// merges them. `$(HOST_IP)` stands for the node's address.
///
/// # Errors
/// When the file cannot be read or is not YAML.
pub fn custom(settings: &Settings) -> Result<Option<String>, String> {
    let Some(path) = settings.env.get("ISTIO_BOOTSTRAP_OVERRIDE") else { return Ok(None) };
    let bad = |e: String| format!("ISTIO_BOOTSTRAP_OVERRIDE {path}: {e}");
    let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    let host = settings.env.get("HOST_IP").unwrap_or_default();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let text = text.replace("[$(HOST_IP)]", &host).replace("$(HOST_IP)", &host);
    let value: Value = yaml_serde::from_str(&text).map_err(|e| bad(e.to_string()))?;
    Ok(Some(value.to_string()))
}

fn socket_address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "protocol": "TCP", "address": address, "port_value": port } })
}

fn log_format(as_json: bool) -> Value {
    if as_json {
        return json!({ "json_format": {
            "time": "%Y-%m-%dT%T.%fZ",
            "level": "%l",
            "scope": "envoy %n",
            "msg": "%j",
            "caller": "%g:%#",
            "thread": "%t",
        }});
    }
    json!({ "text_format": "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t" })
}

/// Runtime flags: Istio's defaults, over them ProxyConfig.runtimeValues, where an empty value unsets.
fn runtime(settings: &Settings) -> Value {
    let mut flags = Map::new();
    flags.insert("re2.max_program_size.error_level".into(), "32768".into());
    flags.insert("envoy.reloadable_features.http_reject_path_with_fragment".into(), false.into());
    flags.insert("envoy.reloadable_features.fixed_heap_use_allocated".into(), true.into());
    flags.insert("envoy.reloadable_features.coalesce_lb_rebuilds_on_batch_update".into(), false.into());
    for (name, value) in &settings.config().runtime_values {
        match value.as_str() {
            "" => flags.remove(name),
            "true" => flags.insert(name.clone(), true.into()),
            "false" => flags.insert(name.clone(), false.into()),
            other => flags.insert(name.clone(), other.into()),
        };
    }
    Value::Object(flags)
}

fn overload(settings: &Settings) -> Value {
    let config = settings.config();
    let explicit = config.connection_settings.global_downstream_connection_limit.filter(|n| *n > 0);
    let by_metadata = || config.proxy_metadata.get("ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS")?.parse().ok();
    let by_runtime = || config.runtime_values.get("overload.global_downstream_max_connections")?.parse().ok();
    let limit: u32 = explicit.or_else(by_metadata).or_else(by_runtime).unwrap_or(i32::MAX.cast_unsigned());
    json!({ "resource_monitors": [{
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": format!("{TYPE}envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"),
            "max_active_downstream_connections": limit,
        },
    }]})
}

#[cfg(test)]
mod tests;
