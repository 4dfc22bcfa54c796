// SPDX-License-Identifier: Apache-2.0
//! The HTTP routes of a VirtualService (<https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::virtual_service::{Delegate, Destination, Headers, Percent, StringMatch};
use crate::value::open_enum;
use crate::value::{Base64, Duration};

/// A route of HTTP: which requests, what is done to them, and where they go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// Name, for logs and telemetry.
    pub name: String,
    /// Any of these must match; empty matches all.
    pub r#match: Vec<HttpMatchRequest>,
    /// Where requests go, by weight.
    pub route: Vec<HttpRouteDestination>,
    /// Answers with a redirect.
    pub redirect: Option<HttpRedirect>,
    /// Answers without asking any service.
    pub direct_response: Option<HttpDirectResponse>,
    /// Leaves the routes to another VirtualService.
    pub delegate: Option<Delegate>,
    /// Changes path and host before the request is sent on; not together with a redirect.
    pub rewrite: Option<HttpRewrite>,
    /// How long a request may take; unset or zero means no limit.
    pub timeout: Option<Duration>,
    /// How failed requests are tried again.
    pub retries: Option<HttpRetry>,
    /// Makes requests fail or wait, to test clients.
    pub fault: Option<HttpFaultInjection>,
    /// Sends a copy here; the answer is dropped.
    pub mirror: Option<Destination>,
    /// Sends copies here; the answers are dropped.
    pub mirrors: Vec<HttpMirrorPolicy>,
    /// Share of requests that `mirror` copies, in percent; in place of it use mirror_percentage.
    pub mirror_percent: Option<u32>,
    /// Share of requests that `mirror` copies; unset means all.
    pub mirror_percentage: Option<Percent>,
    /// Cross-origin resource sharing.
    pub cors_policy: Option<CorsPolicy>,
    /// Changes of headers.
    pub headers: Option<Headers>,
}

/// Conditions on a request; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatchRequest {
    /// Name, for logs; added to the route's.
    pub name: String,
    /// The path.
    pub uri: Option<StringMatch>,
    /// The scheme.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The host and port that the request names.
    pub authority: Option<StringMatch>,
    /// Headers by lower-case name; an empty condition asks only that the header is there.
    pub headers: BTreeMap<String, StringMatch>,
    /// The port that the request goes to.
    pub port: u32,
    /// Labels of the workload that asks.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways that use the route; overrides the VirtualService's.
    pub gateways: Vec<String>,
    /// Query parameters by name.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Compares exact and prefix paths without regard to case.
    pub ignore_uri_case: bool,
    /// Headers that must not match; an empty condition asks that the header is absent.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Namespace of the workload that asks.
    pub source_namespace: String,
    /// Gives the route statistics under this name.
    pub stat_prefix: String,
}

/// A destination with a share of the requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteDestination {
    /// The destination.
    pub destination: Option<Destination>,
    /// The share, relative to the others; a single one gets all.
    pub weight: i32,
    /// Changes of headers for this destination.
    pub headers: Option<Headers>,
}

/// A redirect; what is unset stays as in the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRedirect {
    /// The new path.
    pub uri: String,
    /// The new host.
    pub authority: String,
    /// The new port.
    pub port: Option<u32>,
    /// Where the new port is taken from.
    pub derive_port: Option<RedirectPortSelection>,
    /// The new scheme.
    pub scheme: String,
    /// The status; 0 means 301.
    pub redirect_code: u32,
    /// What replaces the matched prefix of the path.
    pub prefix_rewrite: String,
}

open_enum! {
    /// Where a redirect's port is taken from.
    pub enum RedirectPortSelection {
        /// 80 for HTTP, 443 for HTTPS.
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT" | 0,
        /// The request's port.
        FromRequestPort = "FROM_REQUEST_PORT" | 1,
    }
}

/// An answer of the proxy's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpDirectResponse {
    /// The status.
    pub status: u32,
    /// The body; unset means none.
    pub body: Option<HttpBody>,
}

/// A body.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpBody {
    /// As text.
    pub string: Option<String>,
    /// As base64 bytes.
    pub bytes: Option<Base64>,
}

/// Changes of a request before it is sent on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRewrite {
    /// Replaces the path, or the matched prefix of it.
    pub uri: String,
    /// Replaces the host.
    pub authority: String,
    /// Replaces what a regular expression matches in the path.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A replacement by regular expression (RE2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// The expression; groups can be captured.
    pub r#match: String,
    /// What replaces it; \\1 stands for the first group.
    pub rewrite: String,
}

/// How failed requests are tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRetry {
    /// How often at most; 0 means never.
    pub attempts: i32,
    /// How long each try may take; unset means as long as the whole request.
    pub per_try_timeout: Option<Duration>,
    /// Conditions, as Envoy names them, and status codes; with commas between.
    pub retry_on: String,
    /// Whether other localities are tried too.
    pub retry_remote_localities: Option<bool>,
    /// Whether hosts that failed are left out; unset means yes.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// The wait before the first retry; it grows. Unset means 25ms.
    pub backoff: Option<Duration>,
}

/// Cross-origin resource sharing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// Origins that may ask; use allow_origins.
    pub allow_origin: Vec<String>,
    /// Origins that may ask.
    pub allow_origins: Vec<StringMatch>,
    /// Methods that may be used.
    pub allow_methods: Vec<String>,
    /// Headers that may be sent.
    pub allow_headers: Vec<String>,
    /// Headers that scripts may read.
    pub expose_headers: Vec<String>,
    /// How long browsers may keep the answer.
    pub max_age: Option<Duration>,
    /// Whether credentials may be sent.
    pub allow_credentials: Option<bool>,
    /// What is done with preflight requests of other origins.
    pub unmatched_preflights: UnmatchedPreflights,
}

open_enum! {
    /// What is done with preflight requests of other origins.
    pub enum UnmatchedPreflights {
        /// They are sent on.
        Unspecified = "UNSPECIFIED" | 0,
        /// They are sent on.
        Forward = "FORWARD" | 1,
        /// They are answered here.
        Ignore = "IGNORE" | 2,
    }
}

/// Makes requests fail or wait; at least one is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFaultInjection {
    /// Makes requests wait.
    pub delay: Option<Delay>,
    /// Makes requests fail.
    pub abort: Option<Abort>,
}

/// Makes requests wait.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Delay {
    /// Share of the requests in percent; use percentage.
    pub percent: i32,
    /// How long they wait; at least 1ms.
    pub fixed_delay: Option<Duration>,
    /// Not in use.
    pub exponential_delay: Option<Duration>,
    /// Share of the requests.
    pub percentage: Option<Percent>,
}

/// Makes requests fail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Abort {
    /// With this HTTP status.
    pub http_status: Option<i32>,
    /// With this gRPC status, as UNAVAILABLE.
    pub grpc_status: Option<String>,
    /// Not in use.
    pub http2_error: Option<String>,
    /// Share of the requests; unset means all.
    pub percentage: Option<Percent>,
}

/// A copy of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMirrorPolicy {
    /// Where it goes.
    pub destination: Option<Destination>,
    /// Share of the requests; unset means all.
    pub percentage: Option<Percent>,
}
