// SPDX-License-Identifier: Apache-2.0
//! How many connections and requests there may be (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#ConnectionPoolSettings>).

use serde::{Deserialize, Serialize};

use crate::value::Duration;
use crate::value::open_enum;

/// Bounds of connections and requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPoolSettings {
    /// For TCP and HTTP.
    pub tcp: Option<TcpSettings>,
    /// For HTTP.
    pub http: Option<HttpSettings>,
}

/// Bounds of connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TcpSettings {
    /// Connections at most; 0 means no bound.
    pub max_connections: i32,
    /// How long connecting may take; unset means the mesh's.
    pub connect_timeout: Option<Duration>,
    /// Keepalive of the socket.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// How long a connection may live.
    pub max_connection_duration: Option<Duration>,
    /// How long a TCP connection may be idle; unset means 1h.
    pub idle_timeout: Option<Duration>,
}

/// Keepalive of a socket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TcpKeepalive {
    /// Probes without an answer until the connection counts as dead; 0 means the system's.
    pub probes: u32,
    /// Idle time before the first probe; unset means the system's.
    pub time: Option<Duration>,
    /// Time between probes; unset means the system's.
    pub interval: Option<Duration>,
}

/// Bounds of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpSettings {
    /// Requests that may wait for a connection; 0 means no bound.
    pub http1_max_pending_requests: i32,
    /// Requests at a time; 0 means no bound.
    pub http2_max_requests: i32,
    /// Requests on one connection; 0 means no bound, 1 turns keep-alive off.
    pub max_requests_per_connection: i32,
    /// Retries at a time; 0 means no bound.
    pub max_retries: i32,
    /// How long a connection may be idle; unset means 1h.
    pub idle_timeout: Option<Duration>,
    /// Whether HTTP/1.1 becomes HTTP/2 on the way.
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Speaks the protocol that the client speaks.
    pub use_client_protocol: bool,
    /// Streams of one HTTP/2 connection; 0 means 2147483647.
    pub max_concurrent_streams: i32,
    /// Keepalive of HTTP/2.
    pub http2_keep_alive: Option<ConnectionKeepalive>,
}

open_enum! {
    /// Whether HTTP/1.1 becomes HTTP/2.
    pub enum H2UpgradePolicy {
        /// As the mesh has it.
        Default = "DEFAULT" | 0,
        /// No.
        DoNotUpgrade = "DO_NOT_UPGRADE" | 1,
        /// Yes.
        Upgrade = "UPGRADE" | 2,
    }
}

/// Keepalive of HTTP/2.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionKeepalive {
    /// Time between pings.
    pub interval: Option<Duration>,
    /// How long an answer may take.
    pub timeout: Option<Duration>,
}
