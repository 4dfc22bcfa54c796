// SPDX-License-Identifier: Apache-2.0
//! Where spans go: the tracer of an HTTP connection manager
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/trace/v3/trace>).

use std::time::Duration;
use tiphys_model::{Str, TracingProvider};
use tiphys_proto::envoy::config::core::v3::{
    GrpcService, HeaderValue, HeaderValueOption, HttpService, HttpUri, TypedExtensionConfig, grpc_service,
    header_value_option::HeaderAppendAction, http_uri::HttpUpstreamType,
};
use tiphys_proto::envoy::config::trace::v3::{
    DatadogConfig, OpenTelemetryConfig, ZipkinConfig, tracing::Http, tracing::http::ConfigType, zipkin_config,
};
use tiphys_proto::google::protobuf::Any;
use tiphys_proto::{boolean, duration, to_any};

/// Envoy asks for a timeout; this one stands when none is given.
const ZIPKIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The tracer.
pub fn build(provider: &TracingProvider, service_name: &str) -> Http {
    let (name, config) = match provider {
        TracingProvider::Zipkin { .. } => ("envoy.tracers.zipkin", zipkin(provider)),
        TracingProvider::Datadog { cluster, host } => {
            let config = DatadogConfig {
                collector_cluster: cluster.to_string(),
                collector_hostname: host.to_string(),
                service_name: service_name.into(),
                ..DatadogConfig::default()
            };
            ("envoy.tracers.datadog", to_any(&config))
        }
        TracingProvider::OpenTelemetry { .. } => {
            ("envoy.tracers.opentelemetry", open_telemetry(provider, service_name))
        }
    };
    Http { name: name.into(), config_type: Some(ConfigType::TypedConfig(config)) }
}

fn zipkin(provider: &TracingProvider) -> Any {
    let TracingProvider::Zipkin { cluster, host, path, short_ids, w3c, timeout, headers } = provider else {
        return Any::default();
    };
    let path = if path.is_empty() { "/api/v2/spans" } else { path };
    let context = match w3c {
        true => zipkin_config::TraceContextOption::UseB3WithW3cPropagation,
        false => zipkin_config::TraceContextOption::UseB3,
    };
    let config = ZipkinConfig {
        collector_endpoint_version: zipkin_config::CollectorEndpointVersion::HttpJson.into(),
        trace_id_128bit: !short_ids,
        shared_span_context: boolean(false),
        collector_service: Some(HttpService {
            http_uri: Some(HttpUri {
                uri: format!("http://{host}{path}"),
                http_upstream_type: Some(HttpUpstreamType::Cluster(cluster.to_string())),
                timeout: duration(timeout.unwrap_or(ZIPKIN_TIMEOUT)),
            }),
            request_headers_to_add: headers_to_add(headers),
            ..HttpService::default()
        }),
        trace_context_option: context.into(),
        ..ZipkinConfig::default()
    };
    to_any(&config)
}

fn open_telemetry(provider: &TracingProvider, service_name: &str) -> Any {
    let TracingProvider::OpenTelemetry { cluster, host, http_path, timeout, headers, environment_detector } = provider
    else {
        return Any::default();
    };
    let mut config = OpenTelemetryConfig { service_name: service_name.into(), ..OpenTelemetryConfig::default() };
    match http_path {
        Some(path) => {
            config.http_service = Some(HttpService {
                http_uri: Some(HttpUri {
                    uri: format!("{}/{}", host.trim_end_matches('/'), path.trim_start_matches('/')),
                    http_upstream_type: Some(HttpUpstreamType::Cluster(cluster.to_string())),
                    timeout: timeout.and_then(duration),
                }),
                request_headers_to_add: headers_to_add(headers),
                ..HttpService::default()
            });
        }
        None => {
            config.grpc_service = Some(GrpcService {
                target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
                    cluster_name: cluster.to_string(),
                    authority: host.to_string(),
                    ..grpc_service::EnvoyGrpc::default()
                })),
                timeout: timeout.and_then(duration),
                initial_metadata: headers.iter().map(header).collect(),
                ..GrpcService::default()
            });
        }
    }
    let detector = || TypedExtensionConfig {
        name: "envoy.tracers.opentelemetry.resource_detectors.environment".into(),
        // A message without fields.
        typed_config: Some(Any {
            type_url: concat!(
                "type.googleapis.com/envoy.extensions.tracers.opentelemetry.resource_detectors.v3.",
                "EnvironmentResourceDetectorConfig"
            )
            .into(),
            ..Any::default()
        }),
    };
    config.resource_detectors = environment_detector.then(detector).into_iter().collect();
    to_any(&config)
}

fn header((key, value): &(Str, Str)) -> HeaderValue {
    HeaderValue { key: key.to_string(), value: value.to_string(), ..HeaderValue::default() }
}

fn headers_to_add(headers: &[(Str, Str)]) -> Vec<HeaderValueOption> {
    let option = |pair| HeaderValueOption {
        header: Some(header(pair)),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    };
    headers.iter().map(option).collect()
}
