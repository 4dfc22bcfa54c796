// SPDX-License-Identifier: Apache-2.0

use serde::{Deserialize, Serialize};

use crate::mesh::proxy_config::ForwardClientCertDetails;
use crate::value::Duration;
use crate::value::open_enum;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyHeaders {
    pub forwarded_client_cert: ForwardClientCertDetails,
    pub set_current_client_cert_details: Option<SetCurrentClientCertDetails>,
    pub request_id: Option<RequestId>,
    pub server: Option<Server>,
    pub attempt_count: Option<AttemptCount>,
    pub envoy_debug_headers: Option<EnvoyDebugHeaders>,
    pub metadata_exchange_headers: Option<MetadataExchangeHeaders>,
    pub preserve_http1_header_case: Option<bool>,
    pub x_forwarded_host: Option<XForwardedHost>,
    pub x_forwarded_port: Option<XForwardedPort>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    pub disabled: Option<bool>,
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestId {
    pub disabled: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttemptCount {
    pub disabled: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XForwardedHost {
    pub enabled: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XForwardedPort {
    pub enabled: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyDebugHeaders {
    pub disabled: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetadataExchangeHeaders {
    pub mode: MetadataExchangeMode,
}

open_enum! {
    pub enum MetadataExchangeMode {
        Undefined = "UNDEFINED" | 0,
        InMesh = "IN_MESH" | 1,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetCurrentClientCertDetails {
    pub subject: Option<bool>,
    pub cert: Option<bool>,
    pub chain: Option<bool>,
    pub dns: Option<bool>,
    pub uri: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionSettings {
    pub profile: ConnectionProfile,
    pub listener_per_connection_buffer_limit_bytes: Option<i32>,
    pub cluster_per_connection_buffer_limit_bytes: Option<i32>,
    pub http_idle_timeout: Option<Duration>,
    pub http_max_connection_duration: Option<Duration>,
    pub http_drain_timeout: Option<Duration>,
    pub http_request_timeout: Option<Duration>,
    pub http_request_headers_timeout: Option<Duration>,
    pub http_stream_idle_timeout: Option<Duration>,
    pub http_max_stream_duration: Option<Duration>,
    pub http_max_concurrent_streams: Option<i32>,
    pub http2_initial_stream_window_size: Option<i32>,
    pub http2_initial_connection_window_size: Option<i32>,
    pub http_headers_with_underscores_action: HeadersWithUnderscoresAction,
    pub http_merge_slashes: Option<bool>,
    pub http_path_with_escaped_slashes_action: PathWithEscapedSlashesAction,
    pub listener_connection_limit: Option<i32>,
    pub global_downstream_connection_limit: Option<i32>,
}

open_enum! {
    pub enum ConnectionProfile {
        Sidecar = "SIDECAR" | 0,
        Edge = "EDGE" | 1,
    }
}

open_enum! {
    pub enum HeadersWithUnderscoresAction {
        HeadersWithUnderscoresUnspecified = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED" | 0,
        HeadersWithUnderscoresAllow = "HEADERS_WITH_UNDERSCORES_ALLOW" | 1,
        HeadersWithUnderscoresRejectRequest = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST" | 2,
        HeadersWithUnderscoresDropHeader = "HEADERS_WITH_UNDERSCORES_DROP_HEADER" | 3,
    }
}

open_enum! {
    pub enum PathWithEscapedSlashesAction {
        PathWithEscapedSlashesUnspecified = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED" | 0,
        KeepUnchanged = "KEEP_UNCHANGED" | 1,
        RejectRequest = "REJECT_REQUEST" | 2,
        UnescapeAndRedirect = "UNESCAPE_AND_REDIRECT" | 3,
        UnescapeAndForward = "UNESCAPE_AND_FORWARD" | 4,
    }
}
