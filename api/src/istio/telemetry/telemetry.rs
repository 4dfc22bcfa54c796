// SPDX-License-Identifier: Apache-2.0
//! Telemetry: metrics, traces and access logs (<https://istio.io/latest/docs/reference/config/telemetry/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::selector::{PolicyTargetReference, WorkloadSelector};
use crate::value::Duration;
use crate::value::open_enum;

/// What is told of workloads' traffic, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Telemetry {
    /// The workloads; unset means all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// A Gateway or the like that it attaches to; use target_refs.
    pub target_ref: Option<PolicyTargetReference>,
    /// Gateways, services and the like that it attaches to.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Traces.
    pub tracing: Vec<Tracing>,
    /// Metrics.
    pub metrics: Vec<Metrics>,
    /// Access logs.
    pub access_logging: Vec<AccessLogging>,
}

open_enum! {
    /// On which side of a call something applies.
    pub enum WorkloadMode {
        /// Both sides.
        ClientAndServer = "CLIENT_AND_SERVER" | 0,
        /// Calls that the workload makes.
        Client = "CLIENT" | 1,
        /// Calls that the workload gets.
        Server = "SERVER" | 2,
    }
}

/// An extension provider of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderRef {
    /// Its name.
    pub name: String,
}

/// How calls are traced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// Which calls; unset means all.
    pub r#match: Option<TracingSelector>,
    /// To whom; empty means as the wider settings have it.
    pub providers: Vec<ProviderRef>,
    /// Share of the calls, in percent.
    pub random_sampling_percentage: Option<f64>,
    /// Reports nothing.
    pub disable_span_reporting: Option<bool>,
    /// Further tags by name.
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Decides by the request id; unset means yes.
    pub use_request_id_for_trace_sampling: Option<bool>,
    /// Adds the mesh's own tags; unset means yes.
    pub enable_istio_tags: Option<bool>,
    /// Does not hand the trace's context on.
    pub disable_context_propagation: Option<bool>,
}

/// Which calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TracingSelector {
    /// On which side.
    pub mode: WorkloadMode,
}

/// Where a tag's value comes from; one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct CustomTag {
    /// A fixed value.
    pub literal: Option<Literal>,
    /// The proxy's environment.
    pub environment: Option<Environment>,
    /// A request header.
    pub header: Option<RequestHeader>,
    /// An access log format.
    pub formatter: Option<Formatter>,
}

/// A fixed value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Literal {
    /// The value.
    pub value: String,
}

/// A variable of the proxy's environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// The value when it is not there.
    pub default_value: String,
}

/// A request header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RequestHeader {
    /// Its name.
    pub name: String,
    /// The value when it is not there.
    pub default_value: String,
}

/// An access log format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Formatter {
    /// The format.
    pub value: String,
}

/// How metrics are counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Metrics {
    /// To whom; empty means as the wider settings have it.
    pub providers: Vec<ProviderRef>,
    /// Changes of single metrics.
    pub overrides: Vec<MetricsOverrides>,
    /// How often connections that stay open are counted.
    pub reporting_interval: Option<Duration>,
}

/// Which metrics. At most one of the first two fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSelector {
    /// One of the mesh's own.
    pub metric: Option<IstioMetric>,
    /// Another, by name.
    pub custom_metric: Option<String>,
    /// On which side; unset means both.
    pub mode: WorkloadMode,
}

open_enum! {
    /// The mesh's own metrics.
    pub enum IstioMetric {
        /// All of them.
        AllMetrics = "ALL_METRICS" | 0,
        /// istio_requests_total.
        RequestCount = "REQUEST_COUNT" | 1,
        /// istio_request_duration_milliseconds.
        RequestDuration = "REQUEST_DURATION" | 2,
        /// istio_request_bytes.
        RequestSize = "REQUEST_SIZE" | 3,
        /// istio_response_bytes.
        ResponseSize = "RESPONSE_SIZE" | 4,
        /// istio_tcp_connections_opened_total.
        TcpOpenedConnections = "TCP_OPENED_CONNECTIONS" | 5,
        /// istio_tcp_connections_closed_total.
        TcpClosedConnections = "TCP_CLOSED_CONNECTIONS" | 6,
        /// istio_tcp_sent_bytes_total.
        TcpSentBytes = "TCP_SENT_BYTES" | 7,
        /// istio_tcp_received_bytes_total.
        TcpReceivedBytes = "TCP_RECEIVED_BYTES" | 8,
        /// istio_request_messages_total.
        GrpcRequestMessages = "GRPC_REQUEST_MESSAGES" | 9,
        /// istio_response_messages_total.
        GrpcResponseMessages = "GRPC_RESPONSE_MESSAGES" | 10,
    }
}

/// A change of metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsOverrides {
    /// Which metrics; unset means all.
    pub r#match: Option<MetricSelector>,
    /// Does not count them.
    pub disabled: Option<bool>,
    /// Changes of tags by name.
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// A change of a tag.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TagOverride {
    /// Whether it is set or removed.
    pub operation: TagOperation,
    /// Its value, as a CEL expression.
    pub value: String,
}

open_enum! {
    /// What is done to a tag.
    pub enum TagOperation {
        /// It is set.
        Upsert = "UPSERT" | 0,
        /// It is removed.
        Remove = "REMOVE" | 1,
    }
}

/// How calls are logged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogging {
    /// Which calls; unset means all.
    pub r#match: Option<LogSelector>,
    /// To whom; empty means as the wider settings have it.
    pub providers: Vec<ProviderRef>,
    /// Logs nothing.
    pub disabled: Option<bool>,
    /// Logs only some.
    pub filter: Option<Filter>,
}

/// Which calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct LogSelector {
    /// On which side.
    pub mode: WorkloadMode,
}

/// Which calls are logged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    /// A CEL expression that must be true.
    pub expression: String,
}
