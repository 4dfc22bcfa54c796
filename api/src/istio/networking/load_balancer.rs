// SPDX-License-Identifier: Apache-2.0
//! How a DestinationRule chooses endpoints (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#LoadBalancerSettings>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::value::Duration;
use crate::value::open_enum;

/// How endpoints are chosen. At most one of `simple` and `consistent_hash` is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerSettings {
    /// By a simple rule.
    pub simple: Option<SimpleLb>,
    /// By a hash of the request, so that like goes to like.
    pub consistent_hash: Option<ConsistentHashLb>,
    /// By locality; overrides the mesh's setting.
    pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
    /// By zone, with Envoy's own balance between zones; overrides the mesh's setting.
    pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
    /// How long a new endpoint gets less traffic; use warmup.
    pub warmup_duration_secs: Option<Duration>,
    /// How new endpoints get their traffic.
    pub warmup: Option<WarmupConfiguration>,
}

open_enum! {
    /// Simple rules of choice.
    pub enum SimpleLb {
        /// As the mesh has it: by least requests.
        Unspecified = "UNSPECIFIED" | 0,
        /// The same as LEAST_REQUEST; an old name.
        LeastConn = "LEAST_CONN" | 1,
        /// At random.
        Random = "RANDOM" | 2,
        /// The address that the client asked for.
        Passthrough = "PASSTHROUGH" | 3,
        /// One after the other.
        RoundRobin = "ROUND_ROBIN" | 4,
        /// The one of two random endpoints with fewer requests.
        LeastRequest = "LEAST_REQUEST" | 5,
    }
}

/// A hash of the request. One of the first four fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ConsistentHashLb {
    /// Of this header.
    pub http_header_name: Option<String>,
    /// Of this cookie, which is made where there is none.
    pub http_cookie: Option<HttpCookie>,
    /// Of the client's address.
    pub use_source_ip: Option<bool>,
    /// Of this query parameter.
    pub http_query_parameter_name: Option<String>,
    /// Places endpoints on a ring.
    pub ring_hash: Option<RingHash>,
    /// Places endpoints in Maglev's table.
    pub maglev: Option<MagLev>,
    /// Size of the ring; use ring_hash.
    pub minimum_ring_size: u64,
}

/// A ring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// Places on the ring at least; 0 means 1024.
    pub minimum_ring_size: u64,
}

/// Maglev's table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct MagLev {
    /// Size of the table, a prime; 0 means 65537.
    pub table_size: u64,
}

/// A cookie.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCookie {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// How long it lives; zero means for the session.
    pub ttl: Option<Duration>,
    /// Further attributes.
    pub attributes: Vec<CookieAttribute>,
}

/// An attribute of a cookie.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct CookieAttribute {
    /// Its name.
    pub name: String,
    /// Its value; empty means none.
    pub value: String,
}

/// How new endpoints get their traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WarmupConfiguration {
    /// How long until they get their full share.
    pub duration: Option<Duration>,
    /// Share they get at first, in percent; unset means 10.
    pub minimum_percent: Option<f64>,
    /// How fast the share grows; unset means 1, which is evenly.
    pub aggression: Option<f64>,
}

/// Choice by locality. At most one of the first three fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLoadBalancerSetting {
    /// Shares of localities.
    pub distribute: Vec<Distribute>,
    /// Regions that take over when one fails.
    pub failover: Vec<Failover>,
    /// Labels that must be equal, the most important first; the more, the closer.
    pub failover_priority: Vec<String>,
    /// Off when false; unset means on.
    pub enabled: Option<bool>,
}

/// Where the traffic of a locality goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Distribute {
    /// The locality of the client, as region/zone/subzone; `*` may end it.
    pub from: String,
    /// Share in percent by locality; the sum is 100.
    pub to: BTreeMap<String, u32>,
}

/// Which region takes over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Failover {
    /// The region that fails.
    pub from: String,
    /// The region that takes over.
    pub to: String,
}

/// Choice by zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneAwareLoadBalancerSetting {
    /// Off when false; unset means on.
    pub enabled: Option<bool>,
    /// Regions that take over when one fails.
    pub failover: Vec<ZoneAwareFailover>,
    /// Labels that must be equal, the most important first.
    pub failover_priority: Vec<String>,
    /// Endpoints that a service must have for it; unset means 6.
    pub min_cluster_size: Option<u64>,
}

/// Which region takes over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneAwareFailover {
    /// The region that fails.
    pub from: String,
    /// The region that takes over.
    pub to: String,
}
