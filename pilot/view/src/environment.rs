// SPDX-License-Identifier: Apache-2.0
//! What every listener of a proxy depends on, from its node and the mesh.

use crate::Context;
use tiphys_compile::{idle_timeout, proxy_config, telemetry};
use tiphys_model::{CertificateFiles, Labels, Marked, ProxyNode, Str, Telemetry, name};
use tiphys_translate::filter::tracing::ServiceTags;
use tiphys_translate::listener::{Environment, Families};

/// The environment of a proxy.
pub(crate) fn environment(cx: &Context<'_>) -> Marked<Environment> {
    let (proxy, mesh) = (cx.proxy, &*cx.snapshot.mesh);
    let config = proxy_config(&mesh.listener.proxy_config, proxy);
    let telemetry = telemetry::effective(cx.snapshot, proxy, &config);
    let tags = if makes_tags(&telemetry) { tags(proxy) } else { ServiceTags::default() };
    let file = |key: &str| Str::from(proxy.metadata_str(key));
    Marked::new(Environment {
        kind: proxy.kind,
        families: Families::of(proxy.has_ipv4(), proxy.has_ipv6()),
        istio_filters: proxy.istio_filters,
        interception: proxy.interception,
        settings: cx.memo.get(&mesh.listener, |settings| Marked::new(settings.clone())),
        config: Marked::new(config),
        telemetry: Marked::new(telemetry),
        tags,
        service_name: Str::default(),
        http10: proxy.metadata_str("HTTP10") == "1",
        idle_timeout: idle_timeout(proxy),
        inbound_exact_balance: flag(proxy, "INBOUND_LISTENER_EXACT_BALANCE"),
        outbound_exact_balance: flag(proxy, "OUTBOUND_LISTENER_EXACT_BALANCE"),
        certificate: CertificateFiles {
            certificate: file("TLS_SERVER_CERT_CHAIN"),
            key: file("TLS_SERVER_KEY"),
            ca: file("TLS_SERVER_ROOT_CERT"),
        },
        credential_socket: flag(proxy, "credential"),
        file_socket: flag(proxy, "file-credential"),
        detection_timeout: mesh.protocol_detection_timeout,
        outbound_port: mesh.proxy_listen_port,
        inbound_port: mesh.proxy_inbound_listen_port,
    })
}

/// A truth value of a node's metadata, which agents write as text.
pub(crate) fn flag(proxy: &ProxyNode, key: &str) -> bool {
    match proxy.metadata.get(key) {
        Some(serde_json::Value::Bool(value)) => *value,
        Some(serde_json::Value::String(text)) => matches!(text.as_str(), "true" | "1"),
        _ => false,
    }
}

fn makes_tags(telemetry: &Telemetry) -> bool {
    [&telemetry.client, &telemetry.server]
        .iter()
        .any(|side| side.tracing.as_ref().is_some_and(|tracing| tracing.istio_tags))
}

fn tags(proxy: &ProxyNode) -> ServiceTags {
    let label = |labels: &Labels, key: &str| labels.get(key).cloned().unwrap_or_default();
    ServiceTags {
        service: label(&proxy.labels, name::CANONICAL_NAME),
        revision: label(&proxy.labels, name::CANONICAL_REVISION),
        mesh: proxy.mesh_id.clone(),
        namespace: proxy.metadata_str("NAMESPACE").into(),
        cluster: proxy.cluster.clone(),
    }
}

/// Ports that a proxy's bootstrap listens at, and those to which traffic is redirected.
pub(crate) fn reserved_ports(proxy: &ProxyNode, environment: &Environment) -> Vec<u32> {
    let stated = |key: &str| match proxy.metadata.get(key) {
        Some(serde_json::Value::Number(number)) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let keys =
        ["ENVOY_STATUS_PORT", "ENVOY_PROMETHEUS_PORT", "ENVOY_SECURE_METRICS_PORT", "ENVOY_SECURE_MERGED_METRICS_PORT"];
    let own = [environment.outbound_port, environment.inbound_port];
    keys.iter().filter_map(|key| stated(key)).filter(|port| *port != 0).chain(own).collect()
}
