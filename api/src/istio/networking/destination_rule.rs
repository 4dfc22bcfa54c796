// SPDX-License-Identifier: Apache-2.0
//! DestinationRule: how traffic to a host behaves once it is routed (<https://istio.io/latest/docs/reference/config/networking/destination-rule/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::connection_pool::ConnectionPoolSettings;
use crate::istio::networking::load_balancer::LoadBalancerSettings;
use crate::istio::networking::tls::ClientTlsSettings;
use crate::istio::networking::virtual_service::PortSelector;
use crate::istio::selector::WorkloadSelector;
use crate::value::Duration;
use crate::value::open_enum;

/// Policies for traffic to a host, and its subsets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// The service's name in the registry; wildcard prefixes are allowed.
    pub host: String,
    /// Policies for all of it.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of it.
    pub subsets: Vec<Subset>,
    /// Namespaces that see it: `.` for its own, `*` for all, or names.
    pub export_to: Vec<String>,
    /// Workloads, in its namespace, that use it; unset means all.
    pub workload_selector: Option<WorkloadSelector>,
}

/// A named part of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// Labels of its endpoints; empty means all.
    pub labels: BTreeMap<String, String>,
    /// Policies that override the rule's.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// How traffic behaves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// How many connections and requests there may be.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When failing endpoints are left out.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to the endpoints.
    pub tls: Option<ClientTlsSettings>,
    /// Policies of single ports; they replace these, field by field they do not merge.
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// Tunnels TCP through another host.
    pub tunnel: Option<TunnelSettings>,
    /// Puts a PROXY protocol header before the connection's bytes.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Bounds retries by the number of requests.
    pub retry_budget: Option<RetryBudget>,
}

/// Policies of a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PortTrafficPolicy {
    /// The port.
    pub port: Option<PortSelector>,
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// How many connections and requests there may be.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When failing endpoints are left out.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to the endpoints.
    pub tls: Option<ClientTlsSettings>,
}

/// A tunnel by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelSettings {
    /// CONNECT or POST; empty means CONNECT.
    pub protocol: String,
    /// The host at the tunnel's end.
    pub target_host: String,
    /// The port at the tunnel's end.
    pub target_port: u32,
}

/// The PROXY protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocol {
    /// Its version.
    pub version: ProxyProtocolVersion,
}

open_enum! {
    /// Versions of the PROXY protocol.
    pub enum ProxyProtocolVersion {
        /// Text.
        V1 = "V1" | 0,
        /// Binary.
        V2 = "V2" | 1,
    }
}

/// Bounds retries by the number of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RetryBudget {
    /// Retries per active request, in percent; unset means 20.
    pub percent: Option<f64>,
    /// Retries that are always allowed at a time; 0 means 3.
    pub min_retry_concurrency: u32,
    /// How long requests count.
    pub budget_interval: Option<Duration>,
}

/// When failing endpoints are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Errors in a row; use consecutive_5xx_errors.
    pub consecutive_errors: i32,
    /// Counts errors of the proxy's own apart from those of the endpoint.
    pub split_external_local_origin_errors: bool,
    /// Errors of the proxy's own in a row; unset means 5.
    pub consecutive_local_origin_failures: Option<u32>,
    /// Gateway errors (502, 503, 504) in a row; 0 or unset means they do not count.
    pub consecutive_gateway_errors: Option<u32>,
    /// Errors (5xx) in a row; unset means 5, 0 means they do not count.
    pub consecutive_5xx_errors: Option<u32>,
    /// How often is looked; unset means 10s.
    pub interval: Option<Duration>,
    /// How long an endpoint is left out the first time; unset means 30s.
    pub base_ejection_time: Option<Duration>,
    /// Share of the endpoints that may be left out; 0 means 10.
    pub max_ejection_percent: i32,
    /// Nothing is left out while fewer than this percentage are healthy.
    pub min_health_percent: i32,
    /// Status codes that count as errors, in place of all 5xx.
    pub outlier_detection_http_error_codes: Vec<u32>,
}
