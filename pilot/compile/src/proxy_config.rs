// SPDX-License-Identifier: Apache-2.0
//! ProxyConfig in the words of the model: the mesh's default, and what a proxy states in its node's metadata.

use std::collections::BTreeMap;
use tiphys_api::mesh::ProxyConfig as Api;
use tiphys_api::mesh::proxy_config as api;
use tiphys_api::mesh::proxy_settings::{self as settings, ConnectionProfile};
use tiphys_api::mesh::tracing as tracing_api;
use tiphys_model::{
    ClientCertDetails, ConnectionSettings, CustomTag, EscapedSlashes, Float, ForwardClientCert, ProxyConfig,
    ProxyHeaders, ProxyNode, ProxyTracing, ProxyType, Str, TagValue, Topology, Underscores,
};

/// The effective configuration of a proxy: what it states, else the mesh's default.
pub fn proxy_config(default: &ProxyConfig, proxy: &ProxyNode) -> ProxyConfig {
    let stated = proxy.metadata.get("PROXY_CONFIG").filter(|value| value.is_object());
    let stated = stated.and_then(|value| serde_json::from_value::<Api>(value.clone()).ok());
    let mut config = match &stated {
        Some(stated) => lower_proxy_config(stated),
        None => default.clone(),
    };
    if stated.is_some_and(|stated| stated.connection_settings.is_none()) {
        config.connection = default.connection;
    }
    // The profile is for what stands at the edge.
    if config.connection.edge && proxy.kind == ProxyType::Router {
        config.connection = config.connection.with_edge_defaults();
    }
    config
}

/// Time after which a proxy closes connections without traffic, as its node's metadata states it.
pub fn idle_timeout(proxy: &ProxyNode) -> Option<std::time::Duration> {
    let text = proxy.metadata_str("IDLE_TIMEOUT");
    text.parse().ok().filter(|_| !text.is_empty()).map(tiphys_api::Duration::get)
}

/// A ProxyConfig in the words of the model.
pub fn lower_proxy_config(config: &Api) -> ProxyConfig {
    ProxyConfig {
        tracing: config.tracing.as_ref().map(tracing).unwrap_or_default(),
        headers: config.proxy_headers.as_ref().map(headers).unwrap_or_default(),
        topology: config.gateway_topology.as_ref().map(topology).unwrap_or_default(),
        connection: config.connection_settings.as_ref().map(connection).unwrap_or_default(),
    }
}

fn text(value: &str) -> Str {
    value.into()
}

fn tracing(tracing: &tracing_api::Tracing) -> ProxyTracing {
    // A share beyond everything is taken for a mistake.
    let share = if tracing.sampling > 100.0 { 1.0 } else { tracing.sampling };
    ProxyTracing {
        sampling: (tracing.sampling != 0.0).then(|| Float::new(share)),
        max_path_tag_length: (tracing.max_path_tag_length > 0).then_some(tracing.max_path_tag_length),
        istio_tags: tracing.enable_istio_tags,
        custom_tags: tags(&tracing.custom_tags),
    }
}

fn tags(tags: &BTreeMap<String, tracing_api::CustomTag>) -> Vec<CustomTag> {
    let of = |(name, tag): (&String, &tracing_api::CustomTag)| {
        let value = if let Some(literal) = &tag.literal {
            TagValue::Literal(text(&literal.value))
        } else if let Some(environment) = &tag.environment {
            TagValue::Environment(text(&environment.name), text(&environment.default_value))
        } else {
            let header = tag.header.as_ref()?;
            TagValue::Header(text(&header.name), text(&header.default_value))
        };
        Some(CustomTag { name: text(name), value })
    };
    tags.iter().filter_map(of).collect()
}

fn forward(details: &api::ForwardClientCertDetails) -> Option<ForwardClientCert> {
    match details {
        api::ForwardClientCertDetails::Sanitize => Some(ForwardClientCert::Sanitize),
        api::ForwardClientCertDetails::ForwardOnly => Some(ForwardClientCert::ForwardOnly),
        api::ForwardClientCertDetails::AppendForward => Some(ForwardClientCert::AppendForward),
        api::ForwardClientCertDetails::SanitizeSet => Some(ForwardClientCert::SanitizeSet),
        api::ForwardClientCertDetails::AlwaysForwardOnly => Some(ForwardClientCert::AlwaysForwardOnly),
        api::ForwardClientCertDetails::Undefined | api::ForwardClientCertDetails::Unknown(_) => None,
    }
}

fn headers(headers: &settings::ProxyHeaders) -> ProxyHeaders {
    let details = headers.set_current_client_cert_details.clone().unwrap_or_default();
    let on = |flag: Option<bool>| flag.unwrap_or(false);
    let server = headers.server.clone().unwrap_or_default();
    let in_mesh = |mode: &settings::MetadataExchangeHeaders| mode.mode == settings::MetadataExchangeMode::InMesh;
    ProxyHeaders {
        forwarded_client_cert: forward(&headers.forwarded_client_cert),
        client_cert_details: ClientCertDetails {
            subject: details.subject,
            cert: details.cert,
            chain: details.chain,
            dns: details.dns,
            uri: details.uri,
        },
        request_id_disabled: on(headers.request_id.as_ref().and_then(|field| field.disabled)),
        server_disabled: on(server.disabled),
        server: text(&server.value),
        attempt_count_disabled: on(headers.attempt_count.as_ref().and_then(|field| field.disabled)),
        debug_headers_disabled: on(headers.envoy_debug_headers.as_ref().and_then(|field| field.disabled)),
        metadata_exchange_in_mesh: headers.metadata_exchange_headers.as_ref().is_some_and(in_mesh),
        preserve_case: on(headers.preserve_http1_header_case),
        x_forwarded_host: on(headers.x_forwarded_host.as_ref().and_then(|field| field.enabled)),
        x_forwarded_port: on(headers.x_forwarded_port.as_ref().and_then(|field| field.enabled)),
    }
}

fn topology(topology: &api::Topology) -> Topology {
    Topology {
        trusted_proxies: topology.num_trusted_proxies,
        forward_client_cert: forward(&topology.forward_client_cert_details),
        proxy_protocol: topology.proxy_protocol.is_some(),
    }
}

fn connection(connection: &settings::ConnectionSettings) -> ConnectionSettings {
    let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    let time = |value: Option<tiphys_api::Duration>| value.map(tiphys_api::Duration::get);
    ConnectionSettings {
        edge: connection.profile == ConnectionProfile::Edge,
        buffer_limit: number(connection.listener_per_connection_buffer_limit_bytes),
        idle_timeout: time(connection.http_idle_timeout),
        max_connection_duration: time(connection.http_max_connection_duration),
        max_stream_duration: time(connection.http_max_stream_duration),
        stream_idle_timeout: time(connection.http_stream_idle_timeout),
        request_timeout: time(connection.http_request_timeout),
        request_headers_timeout: time(connection.http_request_headers_timeout),
        drain_timeout: time(connection.http_drain_timeout),
        max_concurrent_streams: number(connection.http_max_concurrent_streams),
        initial_stream_window: number(connection.http2_initial_stream_window_size),
        initial_connection_window: number(connection.http2_initial_connection_window_size),
        underscores: match connection.http_headers_with_underscores_action {
            settings::HeadersWithUnderscoresAction::HeadersWithUnderscoresAllow => Some(Underscores::Allow),
            settings::HeadersWithUnderscoresAction::HeadersWithUnderscoresRejectRequest => {
                Some(Underscores::RejectRequest)
            }
            settings::HeadersWithUnderscoresAction::HeadersWithUnderscoresDropHeader => Some(Underscores::DropHeader),
            _ => None,
        },
        merge_slashes: connection.http_merge_slashes,
        escaped_slashes: match connection.http_path_with_escaped_slashes_action {
            settings::PathWithEscapedSlashesAction::KeepUnchanged => Some(EscapedSlashes::KeepUnchanged),
            settings::PathWithEscapedSlashesAction::RejectRequest => Some(EscapedSlashes::RejectRequest),
            settings::PathWithEscapedSlashesAction::UnescapeAndRedirect => Some(EscapedSlashes::UnescapeAndRedirect),
            settings::PathWithEscapedSlashesAction::UnescapeAndForward => Some(EscapedSlashes::UnescapeAndForward),
            _ => None,
        },
    }
}
