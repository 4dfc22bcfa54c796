// SPDX-License-Identifier: Apache-2.0
//! Telemetry resources (<https://istio.io/latest/docs/reference/config/telemetry/>), as they were written.

use crate::{CustomTag, Float, PolicyTarget, Str};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// On which side of a call something applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Side {
    /// Both.
    #[default]
    Both,
    /// Calls that the workload makes.
    Client,
    /// Calls that the workload gets.
    Server,
}

impl Side {
    /// Whether something of this side applies to another, which is not `Both`.
    pub fn covers(self, other: Self) -> bool {
        self == Self::Both || self == other
    }
}

/// A Telemetry resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TelemetryPolicy {
    /// Name of the object.
    pub name: Str,
    /// Namespace of the object.
    pub namespace: Str,
    /// The workloads that it is for.
    pub target: PolicyTarget,
    /// Access logs.
    pub logging: Vec<LoggingRule>,
    /// Spans.
    pub tracing: Vec<TracingRule>,
    /// Metrics.
    pub metrics: Vec<MetricsRule>,
}

impl TelemetryPolicy {
    /// Whether it is for all workloads of its namespace.
    pub fn is_namespace_wide(&self) -> bool {
        matches!(&self.target, PolicyTarget::Selector(labels) if labels.is_empty())
    }
}

/// What is said of access logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct LoggingRule {
    /// The side.
    pub side: Side,
    /// Providers; empty = those of what is around it.
    pub providers: Vec<Str>,
    /// Nothing is logged.
    pub disabled: bool,
    /// CEL expression that a request must meet; empty = all are logged.
    pub filter: Str,
}

/// What is said of spans; what is absent stays as what is around it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct TracingRule {
    /// The side.
    pub side: Side,
    /// Providers, of which the first one counts.
    pub providers: Vec<Str>,
    /// No spans.
    pub disabled: Option<bool>,
    /// Share of requests that are sampled, in percent.
    pub sampling: Option<Float>,
    /// Further tags, sorted by name; empty = as around it.
    pub custom_tags: Vec<CustomTag>,
    /// The request id tells whether a request is sampled.
    pub request_id_sampling: Option<bool>,
    /// The mesh's own tags.
    pub istio_tags: Option<bool>,
    /// Spans are not passed on to upstreams.
    pub no_context_propagation: Option<bool>,
}

/// What is said of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct MetricsRule {
    /// Providers; empty = those of what is around it.
    pub providers: Vec<Str>,
    /// Changes, later ones over earlier ones.
    pub overrides: Vec<MetricRule>,
    /// How often open TCP connections are reported.
    pub reporting_interval: Option<Duration>,
}

/// A change of one metric, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct MetricRule {
    /// The metric as Istio (`REQUEST_COUNT`) or Prometheus names it; none = all.
    pub metric: Option<Str>,
    /// The side.
    pub side: Side,
    /// It is not reported.
    pub disabled: Option<bool>,
    /// Tags that are set to an expression, or removed (none).
    pub tags: BTreeMap<Str, Option<Str>>,
}
