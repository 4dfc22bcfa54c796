// SPDX-License-Identifier: Apache-2.0
//! What MeshConfig says of telemetry: the providers that Telemetry resources may name, those that count without one, and the older
//! settings that count where there is neither.

use crate::{Float, LogFormat, Str};
use serde::Serialize;
use std::time::Duration;

/// Telemetry settings of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct TelemetrySettings {
    /// The providers by name.
    pub providers: Vec<TelemetryProvider>,
    /// Providers of access logs where no resource names any.
    pub default_logging: Vec<Str>,
    /// Providers of spans where no resource names any.
    pub default_tracing: Vec<Str>,
    /// Providers of metrics where no resource names any.
    pub default_metrics: Vec<Str>,
    /// File of access logs where there is no provider; empty = none.
    pub log_file: Str,
    /// How its lines look.
    pub log_format: LogFormat,
    /// The bootstrap's access log service is used where there is no provider.
    pub log_service: bool,
    /// Listeners log connections that no filter chain takes.
    pub listener_logs: bool,
    /// Spans are made where there is no provider.
    pub tracing: bool,
    /// Share of requests that are sampled when nothing else says, in percent (PILOT_TRACE_SAMPLING).
    pub trace_sampling: Float,
}

/// A provider of MeshConfig's extensionProviders.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TelemetryProvider {
    /// Its name.
    pub name: Str,
    /// What it is.
    pub kind: ProviderKind,
}

/// A service that a provider names: `HOST` or `NAMESPACE/HOST`, and a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ProviderService {
    /// The host, maybe with a namespace before it.
    pub service: Str,
    /// Its port.
    pub port: u32,
}

/// What a provider is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ProviderKind {
    /// A file of access logs.
    File {
        /// Its path.
        path: Str,
        /// How a line looks; none = as the provider does not say.
        format: Option<LogFormat>,
        /// Fields without a value are left out.
        omit_empty: bool,
    },
    /// A gRPC access log service, of HTTP or TCP.
    LogService {
        /// It takes HTTP logs, else TCP logs.
        http: bool,
        /// The service.
        service: ProviderService,
        /// Name of the log; empty = the default.
        name: Str,
        /// Filter state that is sent along.
        filter_state: Vec<Str>,
        /// Request headers that are sent along.
        request_headers: Vec<Str>,
        /// Response headers that are sent along.
        response_headers: Vec<Str>,
        /// Response trailers that are sent along.
        response_trailers: Vec<Str>,
    },
    /// OpenTelemetry access logs.
    OpenTelemetryLog {
        /// The collector.
        service: ProviderService,
        /// Name of the log; empty = the default.
        name: Str,
        /// Text of the body; empty = the default.
        body: Str,
        /// Attributes, sorted by name.
        attributes: Vec<(Str, Str)>,
    },
    /// Zipkin spans.
    Zipkin {
        /// The collector.
        service: ProviderService,
        /// Path of the API; empty = the default.
        path: Str,
        /// Trace ids are of 64 bits.
        short_ids: bool,
        /// W3C trace context beside B3.
        w3c: bool,
        /// Time for a report.
        timeout: Option<Duration>,
        /// Headers of a report.
        headers: Vec<(Str, Str)>,
        /// Longest tag in bytes.
        max_tag_length: Option<u32>,
    },
    /// Datadog spans.
    Datadog {
        /// The agent.
        service: ProviderService,
        /// Longest tag in bytes.
        max_tag_length: Option<u32>,
    },
    /// OpenTelemetry spans.
    OpenTelemetry {
        /// The collector.
        service: ProviderService,
        /// HTTP export: path; none = gRPC.
        http_path: Option<Str>,
        /// Time for a report.
        timeout: Option<Duration>,
        /// Headers or initial metadata of a report.
        headers: Vec<(Str, Str)>,
        /// The proxy's environment gives attributes of the resource.
        environment_detector: bool,
        /// Longest tag in bytes.
        max_tag_length: Option<u32>,
    },
    /// Prometheus metrics.
    Prometheus,
    /// A provider that is not for telemetry, or one that is not supported.
    Other,
}
