// SPDX-License-Identifier: Apache-2.0
//! What MeshConfig says of telemetry, in the words of the model.

use crate::Settings;
use crate::lower::strs;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::mesh::config::AccessLogEncoding;
use tiphys_api::mesh::extension_provider::{
    ExtensionProvider, HttpHeader, OpenTelemetryTracingProvider, ServiceAttributeEnrichment, TraceContextOption,
};
use tiphys_model::{Float, LogFormat, ProviderKind, ProviderService, Str, TelemetryProvider, TelemetrySettings};

/// The provider of access logs that takes its format from MeshConfig.
const BUILT_IN: &str = "envoy";

/// The telemetry settings of the mesh.
pub fn lower_telemetry_settings(config: &MeshConfig, settings: &Settings) -> TelemetrySettings {
    let defaults = config.default_providers.clone().unwrap_or_default();
    TelemetrySettings {
        providers: config.extension_providers.iter().map(|one| provider(one, config)).collect(),
        default_logging: strs(&defaults.access_logging),
        default_tracing: strs(&defaults.tracing),
        default_metrics: strs(&defaults.metrics),
        log_file: config.access_log_file.as_str().into(),
        log_format: log_format(config),
        log_service: config.enable_envoy_access_log_service,
        listener_logs: !config.disable_envoy_listener_log,
        tracing: config.enable_tracing,
        trace_sampling: Float::new(settings.text("PILOT_TRACE_SAMPLING", "1").parse().unwrap_or(1.0)),
    }
}

fn log_format(config: &MeshConfig) -> LogFormat {
    let format = config.access_log_format.as_str();
    match config.access_log_encoding {
        // A format that is no JSON object gives way to the default one.
        AccessLogEncoding::Json => {
            LogFormat::Json(serde_json::from_str(format).ok().filter(serde_json::Value::is_object))
        }
        _ => LogFormat::Text(format.into()),
    }
}

fn service(service: &str, port: u32) -> ProviderService {
    ProviderService { service: service.into(), port }
}

fn length(value: u32) -> Option<u32> {
    (value > 0).then_some(value)
}

fn headers(list: &[HttpHeader]) -> Vec<(Str, Str)> {
    let value = |header: &HttpHeader| Str::from(header.value.as_deref().unwrap_or_default());
    list.iter().map(|header| (Str::from(header.name.as_str()), value(header))).collect()
}

fn attributes(labels: Option<&serde_json::Value>) -> Vec<(Str, Str)> {
    let fields = labels.and_then(serde_json::Value::as_object);
    let mut attributes: Vec<(Str, Str)> = fields
        .into_iter()
        .flatten()
        .map(|(key, value)| (Str::from(key.as_str()), Str::from(value.as_str().unwrap_or_default())))
        .collect();
    attributes.sort();
    attributes
}

fn provider(one: &ExtensionProvider, config: &MeshConfig) -> TelemetryProvider {
    let kind = logs(one, config).or_else(|| spans(one)).unwrap_or(match one.prometheus {
        Some(_) => ProviderKind::Prometheus,
        None => ProviderKind::Other,
    });
    TelemetryProvider { name: one.name.as_str().into(), kind }
}

fn logs(one: &ExtensionProvider, config: &MeshConfig) -> Option<ProviderKind> {
    if let Some(file) = &one.envoy_file_access_log {
        let format = file.log_format.as_ref().map(|format| match (&format.text, &format.labels) {
            (_, Some(labels)) => LogFormat::Json(Some(labels.clone())),
            (text, None) => LogFormat::Text(text.as_deref().unwrap_or_default().into()),
        });
        let of_mesh = one.name == BUILT_IN && format.is_none() && !file.omit_empty_values;
        return Some(ProviderKind::File {
            path: if file.path.is_empty() { "/dev/stdout".into() } else { file.path.as_str().into() },
            format: if of_mesh { Some(log_format(config)) } else { format },
            omit_empty: file.omit_empty_values,
        });
    }
    if let Some(http) = &one.envoy_http_als {
        return Some(ProviderKind::LogService {
            http: true,
            service: service(&http.service, http.port),
            name: http.log_name.as_str().into(),
            filter_state: strs(&http.filter_state_objects_to_log),
            request_headers: strs(&http.additional_request_headers_to_log),
            response_headers: strs(&http.additional_response_headers_to_log),
            response_trailers: strs(&http.additional_response_trailers_to_log),
        });
    }
    if let Some(tcp) = &one.envoy_tcp_als {
        return Some(ProviderKind::LogService {
            http: false,
            service: service(&tcp.service, tcp.port),
            name: tcp.log_name.as_str().into(),
            filter_state: strs(&tcp.filter_state_objects_to_log),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            response_trailers: Vec::new(),
        });
    }
    let otel = one.envoy_otel_als.as_ref()?;
    let format = otel.log_format.as_ref();
    Some(ProviderKind::OpenTelemetryLog {
        service: service(&otel.service, otel.port),
        name: otel.log_name.as_str().into(),
        body: format.map_or("", |format| &format.text).into(),
        attributes: attributes(format.and_then(|format| format.labels.as_ref())),
    })
}

fn spans(one: &ExtensionProvider) -> Option<ProviderKind> {
    if let Some(zipkin) = &one.zipkin {
        return Some(ProviderKind::Zipkin {
            service: service(&zipkin.service, zipkin.port),
            path: zipkin.path.as_str().into(),
            short_ids: zipkin.enable_64bit_trace_id,
            w3c: zipkin.trace_context_option == TraceContextOption::UseB3WithW3cPropagation,
            timeout: zipkin.timeout.map(tiphys_api::Duration::get),
            headers: headers(&zipkin.headers),
            max_tag_length: length(zipkin.max_tag_length),
        });
    }
    if let Some(datadog) = &one.datadog {
        let service = service(&datadog.service, datadog.port);
        return Some(ProviderKind::Datadog { service, max_tag_length: length(datadog.max_tag_length) });
    }
    one.opentelemetry.as_ref().map(open_telemetry)
}

fn open_telemetry(otel: &OpenTelemetryTracingProvider) -> ProviderKind {
    let http = otel.http.as_ref();
    let grpc = otel.grpc.as_ref();
    let timeout = http.map_or_else(|| grpc.and_then(|grpc| grpc.timeout), |http| http.timeout);
    let headers_given = http.map_or_else(
        || grpc.map(|grpc| headers(&grpc.initial_metadata)).unwrap_or_default(),
        |http| headers(&http.headers),
    );
    ProviderKind::OpenTelemetry {
        service: service(&otel.service, otel.port),
        http_path: http.map(|http| http.path.as_str().into()),
        timeout: timeout.map(tiphys_api::Duration::get),
        headers: headers_given,
        environment_detector: otel.resource_detectors.as_ref().is_some_and(|found| found.environment.is_some())
            || otel.service_attribute_enrichment == ServiceAttributeEnrichment::OtelSemanticConventions,
        max_tag_length: length(otel.max_tag_length),
    }
}
