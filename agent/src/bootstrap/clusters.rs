// SPDX-License-Identifier: Apache-2.0
//! The static clusters: all of them lead to the agent or to Envoy's own admin interface.

use super::{TYPE, socket_address};
use crate::settings::Settings;
use serde_json::{Value, json};

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(super) fn all(settings: &Settings) -> Vec<Value> {
    let config = settings.config();
    let admin = settings.ports.admin.to_string();
    let agent = match settings.ports.listen {
        all if all.is_unspecified() => admin.clone(),
        one => one.to_string(),
    };
    let sds = settings.workload_socket_path().display().to_string();
    let xds = format!("{}/XDS", config.config_path);
    let mut xds_grpc = grpc("xds-grpc", &xds);
    let many = |priority: &str| json!({ "priority": priority, "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000 });
    xds_grpc["circuit_breakers"] = json!({ "thresholds": [many("DEFAULT"), many("HIGH")] });
    xds_grpc["upstream_connection_options"] = json!({ "tcp_keepalive": { "keepalive_time": 300 } });
    // A connection for each stream, so that a stream that the agent ends takes nothing else with it.
    xds_grpc["typed_extension_protocol_options"][HTTP_OPTIONS]["common_http_protocol_options"] =
        json!({ "max_requests_per_connection": 1 });
    vec![
        cluster("prometheus_stats", "0.250s", &socket_address(&admin, config.proxy_admin_port)),
        cluster("agent", "0.250s", &socket_address(&agent, config.status_port)),
        grpc("sds-grpc", &sds),
        xds_grpc,
    ]
}

fn cluster(name: &str, connect_timeout: &str, address: &Value) -> Value {
    json!({
        "name": name,
        // The semicolon ends the name for the statistics tag cluster_name.
        "alt_stat_name": format!("{name};"),
        "type": "STATIC",
        "connect_timeout": connect_timeout,
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
    })
}

fn grpc(name: &str, path: &str) -> Value {
    let mut cluster = cluster(name, "1s", &json!({ "pipe": { "path": path } }));
    cluster["typed_extension_protocol_options"] = json!({ HTTP_OPTIONS: {
        "@type": format!("{TYPE}{HTTP_OPTIONS}"),
        "explicit_http_config": { "http2_protocol_options": {} },
    }});
    cluster
}
