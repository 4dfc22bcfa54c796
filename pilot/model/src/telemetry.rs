// SPDX-License-Identifier: Apache-2.0
//! What a proxy reports: access logs, spans and metrics, after Telemetry resources, default providers and MeshConfig were merged
//! (<https://istio.io/latest/docs/reference/config/telemetry/>).

use crate::{CustomTag, Float, Str};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a proxy reports, by the side that it plays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Telemetry {
    /// As a client and as a gateway.
    pub client: Reporting,
    /// As a server.
    pub server: Reporting,
    /// Listeners log connections that no filter chain takes.
    pub listener_logs: bool,
}

/// What is reported on one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Reporting {
    /// Access logs, sorted by provider.
    pub logs: Vec<AccessLog>,
    /// Spans; none = off.
    pub tracing: Option<Tracing>,
    /// Metrics of Istio's stats filter, one for each provider.
    pub metrics: Vec<Metrics>,
}

/// One access log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: LogSink,
    /// CEL expression that a request must meet; empty = all are logged.
    pub filter: Str,
}

/// Where the lines of an access log go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum LogSink {
    /// A file, or `/dev/stdout`.
    File {
        /// Its path.
        path: Str,
        /// How a line looks.
        format: LogFormat,
        /// Fields without a value are left out.
        omit_empty: bool,
    },
    /// The access log service that the bootstrap names (MeshConfig enableEnvoyAccessLogService).
    BootstrapService,
    /// A gRPC access log service for HTTP.
    HttpService(LogService),
    /// A gRPC access log service for TCP.
    TcpService(LogService),
    /// An OpenTelemetry collector.
    OpenTelemetry {
        /// The collector.
        service: LogService,
        /// Text of the body.
        body: Str,
        /// Attributes, sorted by name.
        attributes: Vec<(Str, Str)>,
    },
}

/// How a line of an access log looks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum LogFormat {
    /// A text with commands; empty = the default text.
    Text(Str),
    /// A JSON object; none = the default object.
    Json(Option<serde_json::Value>),
}

impl Default for LogFormat {
    fn default() -> Self {
        Self::Text(Str::default())
    }
}

/// A gRPC access log service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct LogService {
    /// Cluster of the service.
    pub cluster: Str,
    /// Its host name, sent as the authority.
    pub authority: Str,
    /// Name of the log.
    pub name: Str,
    /// Filter state that is sent along; empty = that of the peers.
    pub filter_state: Vec<Str>,
    /// Request headers that are sent along.
    pub request_headers: Vec<Str>,
    /// Response headers that are sent along.
    pub response_headers: Vec<Str>,
    /// Response trailers that are sent along.
    pub response_trailers: Vec<Str>,
}

/// How spans are made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Tracing {
    /// Where spans go; none = what the bootstrap says.
    pub provider: Option<TracingProvider>,
    /// Share of requests that are sampled, in percent.
    pub sampling: Float,
    /// Whether spans carry the mesh's own tags.
    pub istio_tags: bool,
    /// Further tags, sorted by name.
    pub custom_tags: Vec<CustomTag>,
    /// Longest path in a span, in bytes.
    pub max_path_tag_length: Option<u32>,
    /// The request id tells whether a request is sampled.
    pub request_id_sampling: bool,
    /// Spans are not passed on to upstreams.
    pub no_context_propagation: bool,
}

/// Where spans go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum TracingProvider {
    /// A Zipkin collector.
    Zipkin {
        /// Its cluster.
        cluster: Str,
        /// Its host name.
        host: Str,
        /// Path of the API; empty = the default.
        path: Str,
        /// Trace ids are of 64 bits.
        short_ids: bool,
        /// W3C trace context beside B3.
        w3c: bool,
        /// Time for a report; none = 5 s.
        timeout: Option<Duration>,
        /// Headers of a report.
        headers: Vec<(Str, Str)>,
    },
    /// A Datadog agent.
    Datadog {
        /// Its cluster.
        cluster: Str,
        /// Its host name.
        host: Str,
    },
    /// An OpenTelemetry collector.
    OpenTelemetry {
        /// Its cluster.
        cluster: Str,
        /// Its host name.
        host: Str,
        /// HTTP export: path; none = gRPC.
        http_path: Option<Str>,
        /// Time for a report.
        timeout: Option<Duration>,
        /// Headers or initial metadata of a report.
        headers: Vec<(Str, Str)>,
        /// The proxy's environment gives attributes of the resource.
        environment_detector: bool,
    },
}

/// Metrics of one Prometheus provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Metrics {
    /// Overrides, sorted by metric.
    pub overrides: Vec<MetricOverride>,
    /// How often open TCP connections are reported.
    pub reporting_interval: Option<Duration>,
}

/// A change to one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct MetricOverride {
    /// Name of the metric as Prometheus has it, without `istio_`.
    pub name: Str,
    /// The metric is not reported.
    pub drop: bool,
    /// Tags that are set, with their expression.
    pub tags: BTreeMap<Str, Str>,
    /// Tags that are removed.
    pub removed_tags: Vec<Str>,
}
