// SPDX-License-Identifier: Apache-2.0
//! WorkloadGroup: a template of workloads outside of Kubernetes (<https://istio.io/latest/docs/reference/config/networking/workload-group/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::workload_entry::WorkloadEntry;

/// From which WorkloadEntries are made when workloads register.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroup {
    /// Labels and annotations of the entries.
    pub metadata: Option<WorkloadMetadata>,
    /// The entries.
    pub template: Option<WorkloadEntry>,
    /// How workloads are found to be ready.
    pub probe: Option<ReadinessProbe>,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadMetadata {
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
}

/// How a workload is found to be ready. One of the methods is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessProbe {
    /// Seconds before the first probe.
    pub initial_delay_seconds: i32,
    /// Seconds that a probe may take; 0 means 1.
    pub timeout_seconds: i32,
    /// Seconds between probes; 0 means 10.
    pub period_seconds: i32,
    /// Successes in a row until it is ready; 0 means 1.
    pub success_threshold: i32,
    /// Failures in a row until it is not; 0 means 3.
    pub failure_threshold: i32,
    /// Asks by HTTP.
    pub http_get: Option<HttpHealthCheckConfig>,
    /// Connects.
    pub tcp_socket: Option<TcpHealthCheckConfig>,
    /// Runs a command.
    pub exec: Option<ExecHealthCheckConfig>,
    /// Asks by gRPC.
    pub grpc: Option<GrpcHealthCheckConfig>,
}

/// A question by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHealthCheckConfig {
    /// The path.
    pub path: String,
    /// The port.
    pub port: u32,
    /// The host; empty means the workload's own.
    pub host: String,
    /// HTTP or HTTPS.
    pub scheme: String,
    /// Headers that are sent.
    pub http_headers: Vec<HttpHeader>,
}

/// A question by gRPC's health service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcHealthCheckConfig {
    /// The port.
    pub port: u32,
    /// The service that is asked for.
    pub service: String,
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TcpHealthCheckConfig {
    /// The host; empty means localhost.
    pub host: String,
    /// The port.
    pub port: u32,
}

/// A command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ExecHealthCheckConfig {
    /// The command and its arguments; it succeeds by ending with 0.
    pub command: Vec<String>,
}
