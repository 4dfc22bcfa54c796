// SPDX-License-Identifier: Apache-2.0
//! Headers that proxies add, and bounds of connections (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig-ProxyHeaders>).

use serde::{Deserialize, Serialize};

use crate::mesh::proxy_config::ForwardClientCertDetails;
use crate::value::Duration;
use crate::value::open_enum;

/// Headers that a proxy adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyHeaders {
    /// What becomes of the header X-Forwarded-Client-Cert.
    pub forwarded_client_cert: ForwardClientCertDetails,
    /// What is in that header.
    pub set_current_client_cert_details: Option<SetCurrentClientCertDetails>,
    /// The header x-request-id.
    pub request_id: Option<RequestId>,
    /// The header server.
    pub server: Option<Server>,
    /// The header x-envoy-attempt-count.
    pub attempt_count: Option<AttemptCount>,
    /// Envoy's headers such as x-envoy-upstream-service-time.
    pub envoy_debug_headers: Option<EnvoyDebugHeaders>,
    /// The headers x-envoy-peer-metadata and its id.
    pub metadata_exchange_headers: Option<MetadataExchangeHeaders>,
    /// Keeps the case of header names in HTTP/1.
    pub preserve_http1_header_case: Option<bool>,
    /// The header X-Forwarded-Host.
    pub x_forwarded_host: Option<XForwardedHost>,
    /// The header X-Forwarded-Port.
    pub x_forwarded_port: Option<XForwardedPort>,
}

/// The header server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// Leaves it as the application has it.
    pub disabled: Option<bool>,
    /// Its value; empty means istio-envoy.
    pub value: String,
}

/// The header x-request-id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestId {
    /// Does not add it.
    pub disabled: Option<bool>,
}

/// The header x-envoy-attempt-count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttemptCount {
    /// Does not add it.
    pub disabled: Option<bool>,
}

/// The header X-Forwarded-Host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XForwardedHost {
    /// Adds it.
    pub enabled: Option<bool>,
}

/// The header X-Forwarded-Port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XForwardedPort {
    /// Adds it.
    pub enabled: Option<bool>,
}

/// Envoy's own headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyDebugHeaders {
    /// Does not add them.
    pub disabled: Option<bool>,
}

/// The headers of metadata exchange.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetadataExchangeHeaders {
    /// Where they are added.
    pub mode: MetadataExchangeMode,
}

open_enum! {
    /// Where they are added.
    pub enum MetadataExchangeMode {
        /// Everywhere.
        Undefined = "UNDEFINED" | 0,
        /// Only within the mesh.
        InMesh = "IN_MESH" | 1,
    }
}

/// What is in X-Forwarded-Client-Cert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetCurrentClientCertDetails {
    /// The subject; unset means yes.
    pub subject: Option<bool>,
    /// The certificate.
    pub cert: Option<bool>,
    /// The chain.
    pub chain: Option<bool>,
    /// DNS names; unset means yes.
    pub dns: Option<bool>,
    /// URIs; unset means yes.
    pub uri: Option<bool>,
}

/// Bounds of connections; what is unset is as the profile has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionSettings {
    /// Where the proxy stands.
    pub profile: ConnectionProfile,
    /// Bytes that a listener's connection may buffer.
    pub listener_per_connection_buffer_limit_bytes: Option<i32>,
    /// Bytes that a cluster's connection may buffer.
    pub cluster_per_connection_buffer_limit_bytes: Option<i32>,
    /// How long a connection may be idle.
    pub http_idle_timeout: Option<Duration>,
    /// How long a connection may live.
    pub http_max_connection_duration: Option<Duration>,
    /// How long a connection has to end.
    pub http_drain_timeout: Option<Duration>,
    /// How long a request may take to arrive.
    pub http_request_timeout: Option<Duration>,
    /// How long a request's headers may take to arrive.
    pub http_request_headers_timeout: Option<Duration>,
    /// How long a stream may be idle.
    pub http_stream_idle_timeout: Option<Duration>,
    /// How long a stream may live.
    pub http_max_stream_duration: Option<Duration>,
    /// Streams of one HTTP/2 connection.
    pub http_max_concurrent_streams: Option<i32>,
    /// Window of an HTTP/2 stream, in bytes.
    pub http2_initial_stream_window_size: Option<i32>,
    /// Window of an HTTP/2 connection, in bytes.
    pub http2_initial_connection_window_size: Option<i32>,
    /// What becomes of headers with underscores.
    pub http_headers_with_underscores_action: HeadersWithUnderscoresAction,
    /// Slashes in a row become one.
    pub http_merge_slashes: Option<bool>,
    /// What becomes of paths with escaped slashes.
    pub http_path_with_escaped_slashes_action: PathWithEscapedSlashesAction,
    /// Connections of a listener at most.
    pub listener_connection_limit: Option<i32>,
    /// Connections of the proxy at most.
    pub global_downstream_connection_limit: Option<i32>,
}

open_enum! {
    /// Where a proxy stands.
    pub enum ConnectionProfile {
        /// Beside an application.
        Sidecar = "SIDECAR" | 0,
        /// At the edge, where clients are not trusted.
        Edge = "EDGE" | 1,
    }
}

open_enum! {
    /// What becomes of headers with underscores.
    pub enum HeadersWithUnderscoresAction {
        /// As the profile has it.
        HeadersWithUnderscoresUnspecified = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED" | 0,
        /// They are kept.
        HeadersWithUnderscoresAllow = "HEADERS_WITH_UNDERSCORES_ALLOW" | 1,
        /// The request is refused.
        HeadersWithUnderscoresRejectRequest = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST" | 2,
        /// They are dropped.
        HeadersWithUnderscoresDropHeader = "HEADERS_WITH_UNDERSCORES_DROP_HEADER" | 3,
    }
}

open_enum! {
    /// What becomes of paths with escaped slashes.
    pub enum PathWithEscapedSlashesAction {
        /// As the profile has it.
        PathWithEscapedSlashesUnspecified = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED" | 0,
        /// They are kept.
        KeepUnchanged = "KEEP_UNCHANGED" | 1,
        /// The request is refused.
        RejectRequest = "REJECT_REQUEST" | 2,
        /// The client is redirected to the unescaped path.
        UnescapeAndRedirect = "UNESCAPE_AND_REDIRECT" | 3,
        /// They are unescaped.
        UnescapeAndForward = "UNESCAPE_AND_FORWARD" | 4,
    }
}
