// SPDX-License-Identifier: Apache-2.0
//! Services that policies refer to by name (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::value::Duration;
use crate::value::open_enum;

/// A service that policies refer to. One field besides the name is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// The name.
    pub name: String,
    /// Authorization by HTTP.
    pub envoy_ext_authz_http: Option<EnvoyExternalAuthorizationHttpProvider>,
    /// Authorization by gRPC.
    pub envoy_ext_authz_grpc: Option<EnvoyExternalAuthorizationGrpcProvider>,
    /// Traces to Zipkin.
    pub zipkin: Option<ZipkinTracingProvider>,
    /// Traces to Lightstep; gone, use opentelemetry.
    pub lightstep: Option<LightstepTracingProvider>,
    /// Traces to Datadog.
    pub datadog: Option<DatadogTracingProvider>,
    /// Metrics, traces and logs to Stackdriver.
    pub stackdriver: Option<StackdriverProvider>,
    /// Traces to OpenCensus; gone, use opentelemetry.
    pub opencensus: Option<OpenCensusAgentTracingProvider>,
    /// Traces to SkyWalking.
    pub skywalking: Option<SkyWalkingTracingProvider>,
    /// Traces to OpenTelemetry.
    pub opentelemetry: Option<OpenTelemetryTracingProvider>,
    /// Metrics for Prometheus.
    pub prometheus: Option<PrometheusMetricsProvider>,
    /// Access logs to a file.
    pub envoy_file_access_log: Option<EnvoyFileAccessLogProvider>,
    /// Access logs of HTTP by gRPC.
    pub envoy_http_als: Option<EnvoyHttpGrpcV3LogProvider>,
    /// Access logs of TCP by gRPC.
    pub envoy_tcp_als: Option<EnvoyTcpGrpcV3LogProvider>,
    /// Access logs to OpenTelemetry.
    pub envoy_otel_als: Option<EnvoyOpenTelemetryLogProvider>,
    /// Certificates from a service of yours.
    pub sds: Option<SdsProvider>,
}

/// How much of the body is sent along.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyExternalAuthorizationRequestBody {
    /// Bytes at most.
    pub max_request_bytes: u32,
    /// Sends the start of a longer body; otherwise it is refused.
    pub allow_partial_message: bool,
    /// Sends it as bytes, not as text.
    pub pack_as_bytes: bool,
}

/// An authorization service that speaks HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyExternalAuthorizationHttpProvider {
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// How long it may take; unset means 600s.
    pub timeout: Option<Duration>,
    /// Put before the path that is asked.
    pub path_prefix: String,
    /// Lets requests pass when it cannot be asked.
    pub fail_open: bool,
    /// Chooses the route again after its answer.
    pub clear_route_cache: bool,
    /// Status when it cannot be asked; empty means 403.
    pub status_on_error: String,
    /// Use include_request_headers_in_check.
    pub include_headers_in_check: Vec<String>,
    /// Headers that are sent along; `*` may start or end a name.
    pub include_request_headers_in_check: Vec<String>,
    /// Further headers that are sent.
    pub include_additional_headers_in_check: BTreeMap<String, String>,
    /// Sends the body along.
    pub include_request_body_in_check: Option<EnvoyExternalAuthorizationRequestBody>,
    /// Headers of its answer that the service gets.
    pub headers_to_upstream_on_allow: Vec<String>,
    /// Headers of its answer that the client gets when refused.
    pub headers_to_downstream_on_deny: Vec<String>,
    /// Headers of its answer that the client gets when let through.
    pub headers_to_downstream_on_allow: Vec<String>,
}

/// An authorization service that speaks Envoy's gRPC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyExternalAuthorizationGrpcProvider {
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// How long it may take; unset means 600s.
    pub timeout: Option<Duration>,
    /// Lets requests pass when it cannot be asked.
    pub fail_open: bool,
    /// Chooses the route again after its answer.
    pub clear_route_cache: bool,
    /// Status when it cannot be asked; empty means 403.
    pub status_on_error: String,
    /// Sends the body along.
    pub include_request_body_in_check: Option<EnvoyExternalAuthorizationRequestBody>,
}

/// Zipkin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ZipkinTracingProvider {
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// Characters of a path in a span at most; 0 means 256.
    pub max_tag_length: u32,
    /// Uses trace ids of 64 bits.
    pub enable_64bit_trace_id: bool,
    /// Its path; empty means /api/v2/spans.
    pub path: String,
    /// Which headers carry the context.
    pub trace_context_option: TraceContextOption,
    /// How long sending may take; unset means 5s.
    pub timeout: Option<Duration>,
    /// Headers that are sent along.
    pub headers: Vec<HttpHeader>,
}

open_enum! {
    /// Which headers carry a trace's context.
    pub enum TraceContextOption {
        /// B3.
        UseB3 = "USE_B3" | 0,
        /// B3 and W3C.
        UseB3WithW3cPropagation = "USE_B3_WITH_W3C_PROPAGATION" | 1,
    }
}

/// Lightstep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LightstepTracingProvider {
    /// Its host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// Its token.
    pub access_token: String,
    /// Characters of a path in a span at most.
    pub max_tag_length: u32,
}

/// Datadog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DatadogTracingProvider {
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// Characters of a path in a span at most; 0 means 256.
    pub max_tag_length: u32,
}

/// SkyWalking.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SkyWalkingTracingProvider {
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// Its token.
    pub access_token: String,
}

/// Stackdriver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StackdriverProvider {
    /// Logs traces too.
    pub debug: bool,
    /// Attributes of a span at most.
    pub max_number_of_attributes: Option<i64>,
    /// Annotations of a span at most.
    pub max_number_of_annotations: Option<i64>,
    /// Events of a span at most.
    pub max_number_of_message_events: Option<i64>,
    /// Characters of a path in a span at most; 0 means 256.
    pub max_tag_length: u32,
    /// Its logs.
    pub logging: Option<Logging>,
}

/// Logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Logging {
    /// Labels of entries, as CEL expressions by name.
    pub labels: BTreeMap<String, String>,
}

/// OpenCensus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenCensusAgentTracingProvider {
    /// Its host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// Headers that carry the context.
    pub context: Vec<TraceContext>,
    /// Characters of a path in a span at most.
    pub max_tag_length: u32,
}

open_enum! {
    /// Headers that carry a trace's context.
    pub enum TraceContext {
        /// None.
        Unspecified = "UNSPECIFIED" | 0,
        /// W3C's.
        W3cTraceContext = "W3C_TRACE_CONTEXT" | 1,
        /// gRPC's.
        GrpcBin = "GRPC_BIN" | 2,
        /// Google Cloud's.
        CloudTraceContext = "CLOUD_TRACE_CONTEXT" | 3,
        /// B3's.
        B3 = "B3" | 4,
    }
}

/// Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusMetricsProvider {}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFileAccessLogProvider {
    /// Its path; empty means /dev/stdout.
    pub path: String,
    /// Format; unset means the mesh's own.
    pub log_format: Option<LogFormat>,
    /// Leaves out what has no value.
    pub omit_empty_values: bool,
}

/// A format. One field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogFormat {
    /// Text with Envoy's operators.
    pub text: Option<String>,
    /// JSON with Envoy's operators.
    pub labels: Option<serde_json::Value>,
}

/// A service that takes Envoy's access logs of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyHttpGrpcV3LogProvider {
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// Name of the log; empty means http_envoy_accesslog.
    pub log_name: String,
    /// Further filter state.
    pub filter_state_objects_to_log: Vec<String>,
    /// Further request headers.
    pub additional_request_headers_to_log: Vec<String>,
    /// Further response headers.
    pub additional_response_headers_to_log: Vec<String>,
    /// Further response trailers.
    pub additional_response_trailers_to_log: Vec<String>,
}

/// A service that takes Envoy's access logs of TCP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyTcpGrpcV3LogProvider {
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// Name of the log; empty means tcp_envoy_accesslog.
    pub log_name: String,
    /// Further filter state.
    pub filter_state_objects_to_log: Vec<String>,
}

/// OpenTelemetry, for access logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyOpenTelemetryLogProvider {
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// Name of the log; empty means otel_envoy_accesslog.
    pub log_name: String,
    /// Format; unset means the mesh's own.
    pub log_format: Option<OpenTelemetryLogFormat>,
}

/// A format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenTelemetryLogFormat {
    /// The body, with Envoy's operators.
    pub text: String,
    /// Attributes, with Envoy's operators.
    pub labels: Option<serde_json::Value>,
}

/// OpenTelemetry, for traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenTelemetryTracingProvider {
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// Characters of a path in a span at most; 0 means 256.
    pub max_tag_length: u32,
    /// By HTTP in place of gRPC.
    pub http: Option<HttpService>,
    /// Details of gRPC.
    pub grpc: Option<GrpcService>,
    /// What finds out the resource's attributes.
    pub resource_detectors: Option<ResourceDetectors>,
    /// How the service is named.
    pub service_attribute_enrichment: ServiceAttributeEnrichment,
    /// Lets Dynatrace decide what is traced.
    pub dynatrace_sampler: Option<DynatraceSampler>,
}

/// Dynatrace's sampler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DynatraceSampler {
    /// Its tenant.
    pub tenant: String,
    /// Its cluster.
    pub cluster_id: i32,
    /// Traces a minute when it cannot be asked; 0 means 1000.
    pub root_spans_per_minute: u32,
    /// Where it is asked; unset means by the provider's settings.
    pub http_service: Option<DynatraceApi>,
}

/// Where Dynatrace is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DynatraceApi {
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// Details of HTTP.
    pub http: Option<HttpService>,
}

open_enum! {
    /// How a service is named in traces.
    pub enum ServiceAttributeEnrichment {
        /// By Istio's canonical service.
        IstioCanonical = "ISTIO_CANONICAL" | 0,
        /// By OpenTelemetry's conventions for Kubernetes.
        OtelSemanticConventions = "OTEL_SEMANTIC_CONVENTIONS" | 1,
    }
}

/// A service that gives certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SdsProvider {
    /// Name that credentials refer to.
    pub name: String,
    /// Its host, as namespace/host or host.
    pub service: String,
    /// Its port.
    pub port: u32,
}

/// Details of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpService {
    /// The path.
    pub path: String,
    /// How long a request may take.
    pub timeout: Option<Duration>,
    /// Headers that are sent.
    pub headers: Vec<HttpHeader>,
}

/// A header. One of the last two fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// Variable of the proxy's environment with the value.
    pub env_name: Option<String>,
}

/// Details of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcService {
    /// How long a request may take.
    pub timeout: Option<Duration>,
    /// Metadata that is sent.
    pub initial_metadata: Vec<HttpHeader>,
}

/// What finds out a resource's attributes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceDetectors {
    /// The variable OTEL_RESOURCE_ATTRIBUTES.
    pub environment: Option<EnvironmentResourceDetector>,
    /// Dynatrace's files.
    pub dynatrace: Option<DynatraceResourceDetector>,
}

/// The variable OTEL_RESOURCE_ATTRIBUTES.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentResourceDetector {}

/// Dynatrace's files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DynatraceResourceDetector {}
