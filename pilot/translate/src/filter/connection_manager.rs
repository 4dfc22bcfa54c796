// SPDX-License-Identifier: Apache-2.0
//! The HTTP connection manager: the network filter that reads requests and hands them to HTTP filters and routes
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/http_conn_man>).

use super::access_log::{self, Subject};
use super::tracing::{self, Traced};
use super::{http, network_filter};
use crate::listener::chain::{Frame, HttpBody, RouteSource};
use crate::listener::{Class, Environment};
use crate::route;
use std::time::Duration;
use tiphys_model::{ClientCertDetails, EscapedSlashes, ForwardClientCert, PathNormalization, ProxyType, Underscores};
use tiphys_proto::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions,
    TypedExtensionConfig,
    config_source::ConfigSourceSpecifier,
    http_protocol_options::HeadersWithUnderscoresAction,
    http1_protocol_options::{HeaderKeyFormat, header_key_format::HeaderFormat},
};
use tiphys_proto::envoy::config::listener::v3::Filter;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, Rds, RequestIdExtension,
    http_connection_manager::{
        ForwardClientCertDetails, PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation,
        SetCurrentClientCertDetails, UpgradeConfig,
    },
};
use tiphys_proto::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;
use tiphys_proto::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use tiphys_proto::{boolean, duration, to_any, uint32};

/// The `server` header of inbound listeners and gateways.
const SERVER_NAME: &str = "istio-envoy";

/// What a connection manager depends on.
pub struct Manager<'a> {
    /// Its chain.
    pub body: &'a HttpBody,
    /// Its listener.
    pub frame: &'a Frame<'a>,
}

/// The filter.
pub fn build(manager: &Manager<'_>) -> Filter {
    let Manager { body, frame } = *manager;
    let environment = frame.environment;
    let mut config = HttpConnectionManager {
        stat_prefix: match &*body.stat_prefix {
            "" => frame.stat_prefix.into(),
            own => own.into(),
        },
        http_filters: http::build(manager),
        route_specifier: Some(routes(&body.routes)),
        access_log: access_log::build(&environment.reporting(frame.class).logs, Subject::Http),
        use_remote_address: boolean(frame.class == Class::Gateway),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".into(), ..UpgradeConfig::default() }],
        stream_idle_timeout: duration(Duration::ZERO),
        proxy_100_continue: true,
        ..HttpConnectionManager::default()
    };
    set_headers(&mut config, environment, frame.class);
    set_client_certificate(&mut config, environment, frame.class);
    set_protocols(&mut config, body, frame);
    set_path_normalization(&mut config, environment);
    if let Some(time) = environment.idle_timeout {
        config.common_http_protocol_options.get_or_insert_default().idle_timeout = duration(time);
    }
    set_connection_settings(&mut config, environment);
    set_tracing(&mut config, environment, frame.class);
    network_filter("envoy.filters.network.http_connection_manager", &config)
}

fn routes(source: &RouteSource) -> RouteSpecifier {
    match source {
        RouteSource::Named(name) => RouteSpecifier::Rds(Rds {
            config_source: Some(ConfigSource {
                config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
                // A listener waits for its routes as long as it takes.
                initial_fetch_timeout: duration(Duration::ZERO),
                resource_api_version: ApiVersion::V3.into(),
                ..ConfigSource::default()
            }),
            route_config_name: name.to_string(),
        }),
        RouteSource::Inbound(input) => RouteSpecifier::RouteConfig(route::inbound(input)),
    }
}

fn set_headers(config: &mut HttpConnectionManager, environment: &Environment, class: Class) {
    let headers = &environment.config.headers;
    config.append_x_forwarded_port = headers.x_forwarded_port;
    config.generate_request_id = headers.request_id_disabled.then(|| boolean(false)).flatten();
    if headers.server_disabled {
        config.set_server_header_transformation(ServerHeaderTransformation::PassThrough);
    } else if !headers.server.is_empty() {
        config.server_name = headers.server.to_string();
    } else if class != Class::SidecarOutbound {
        config.server_name = SERVER_NAME.into();
    }
}

fn set_client_certificate(config: &mut HttpConnectionManager, environment: &Environment, class: Class) {
    let headers = &environment.config.headers;
    match class {
        Class::SidecarOutbound => {}
        Class::SidecarInbound => {
            let forward = headers.forwarded_client_cert.unwrap_or(ForwardClientCert::AppendForward);
            config.set_forward_client_cert_details(forward_details(forward));
            let ClientCertDetails { subject, cert, chain, dns, uri } = headers.client_cert_details;
            config.set_current_client_cert_details = Some(SetCurrentClientCertDetails {
                subject: boolean(subject.unwrap_or(true)),
                cert: cert.unwrap_or(false),
                chain: chain.unwrap_or(false),
                dns: dns.unwrap_or(true),
                uri: uri.unwrap_or(true),
                ..SetCurrentClientCertDetails::default()
            });
        }
        Class::Gateway => {
            let topology = environment.config.topology;
            config.xff_num_trusted_hops = topology.trusted_proxies;
            let forward = topology.forward_client_cert.unwrap_or(ForwardClientCert::SanitizeSet);
            config.set_forward_client_cert_details(forward_details(forward));
            if matches!(forward, ForwardClientCert::AppendForward | ForwardClientCert::SanitizeSet) {
                config.set_current_client_cert_details = Some(SetCurrentClientCertDetails {
                    subject: boolean(true),
                    cert: true,
                    dns: true,
                    uri: true,
                    ..SetCurrentClientCertDetails::default()
                });
            }
        }
    }
}

fn forward_details(forward: ForwardClientCert) -> ForwardClientCertDetails {
    match forward {
        ForwardClientCert::Sanitize => ForwardClientCertDetails::Sanitize,
        ForwardClientCert::ForwardOnly => ForwardClientCertDetails::ForwardOnly,
        ForwardClientCert::AppendForward => ForwardClientCertDetails::AppendForward,
        ForwardClientCert::SanitizeSet => ForwardClientCertDetails::SanitizeSet,
        ForwardClientCert::AlwaysForwardOnly => ForwardClientCertDetails::AlwaysForwardOnly,
    }
}

fn set_protocols(config: &mut HttpConnectionManager, body: &HttpBody, frame: &Frame<'_>) {
    let environment = frame.environment;
    if frame.class == Class::Gateway {
        config.http_protocol_options = Some(Http1ProtocolOptions::default());
    }
    if body.forward_proxy {
        config.http_protocol_options.get_or_insert_default().allow_absolute_url = boolean(true);
    }
    if environment.accepts_http10() {
        config.http_protocol_options.get_or_insert_default().accept_http_10 = true;
    }
    if environment.config.headers.preserve_case {
        let formatter = TypedExtensionConfig {
            name: "preserve_case".into(),
            typed_config: Some(to_any(&PreserveCaseFormatterConfig::default())),
        };
        let format = HeaderKeyFormat { header_format: Some(HeaderFormat::StatefulFormatter(formatter)) };
        config.http_protocol_options.get_or_insert_default().header_key_format = Some(format);
    }
    if frame.class == Class::SidecarInbound && body.protocol.is_http2() {
        config.http2_protocol_options = Some(Http2ProtocolOptions::default());
    }
}

fn set_path_normalization(config: &mut HttpConnectionManager, environment: &Environment) {
    let normalization = environment.settings.path_normalization;
    config.normalize_path = boolean(normalization != PathNormalization::None);
    config.merge_slashes =
        matches!(normalization, PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes);
    config.set_path_with_escaped_slashes_action(match normalization {
        PathNormalization::DecodeAndMergeSlashes => PathWithEscapedSlashesAction::UnescapeAndForward,
        _ => PathWithEscapedSlashesAction::KeepUnchanged,
    });
}

/// ConnectionSettings win over what was set before.
fn set_connection_settings(config: &mut HttpConnectionManager, environment: &Environment) {
    let settings = &environment.config.connection;
    let underscores = settings.underscores.map(|action| match action {
        Underscores::Allow => HeadersWithUnderscoresAction::Allow,
        Underscores::RejectRequest => HeadersWithUnderscoresAction::RejectRequest,
        Underscores::DropHeader => HeadersWithUnderscoresAction::DropHeader,
    });
    let times = [settings.idle_timeout, settings.max_connection_duration, settings.max_stream_duration];
    if times.iter().any(Option::is_some) || underscores.is_some() {
        let common: &mut HttpProtocolOptions = config.common_http_protocol_options.get_or_insert_default();
        let [idle, connection, stream] = times.map(|time| time.and_then(duration));
        common.idle_timeout = idle.or(common.idle_timeout.take());
        common.max_connection_duration = connection.or(common.max_connection_duration.take());
        common.max_stream_duration = stream.or(common.max_stream_duration.take());
        if let Some(action) = underscores {
            common.set_headers_with_underscores_action(action);
        }
    }
    let time = |wanted: Option<Duration>| wanted.and_then(duration);
    config.stream_idle_timeout = time(settings.stream_idle_timeout).or(config.stream_idle_timeout.take());
    config.request_timeout = time(settings.request_timeout);
    config.request_headers_timeout = time(settings.request_headers_timeout);
    config.drain_timeout = time(settings.drain_timeout);
    let windows = [settings.max_concurrent_streams, settings.initial_stream_window, settings.initial_connection_window];
    if windows.iter().any(Option::is_some) {
        let [streams, stream, connection] = windows.map(|value| value.and_then(uint32));
        let http2 = config.http2_protocol_options.get_or_insert_default();
        http2.max_concurrent_streams = streams;
        http2.initial_stream_window_size = stream;
        http2.initial_connection_window_size = connection;
    }
    config.merge_slashes = settings.merge_slashes.unwrap_or(config.merge_slashes);
    if let Some(action) = settings.escaped_slashes {
        config.set_path_with_escaped_slashes_action(match action {
            EscapedSlashes::KeepUnchanged => PathWithEscapedSlashesAction::KeepUnchanged,
            EscapedSlashes::RejectRequest => PathWithEscapedSlashesAction::RejectRequest,
            EscapedSlashes::UnescapeAndRedirect => PathWithEscapedSlashesAction::UnescapeAndRedirect,
            EscapedSlashes::UnescapeAndForward => PathWithEscapedSlashesAction::UnescapeAndForward,
        });
    }
}

fn set_tracing(config: &mut HttpConnectionManager, environment: &Environment, class: Class) {
    let settings = environment.reporting(class).tracing.as_ref();
    let traced = Traced {
        tags: &environment.tags,
        service_name: &environment.service_name,
        is_gateway: environment.kind == ProxyType::Router,
    };
    config.tracing = settings.map(|settings| tracing::build(settings, &traced));
    let by_request_id = settings.is_none_or(|settings| settings.request_id_sampling);
    let uuid = UuidRequestIdConfig {
        use_request_id_for_trace_sampling: boolean(by_request_id),
        ..UuidRequestIdConfig::default()
    };
    config.request_id_extension = Some(RequestIdExtension { typed_config: Some(to_any(&uuid)) });
}
