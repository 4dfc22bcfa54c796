// SPDX-License-Identifier: Apache-2.0
//! HTTPRoute: matches, filters and backends of HTTP requests.

use serde::{Deserialize, Serialize};

use super::common::{
    BackendObjectReference, Fraction, GatewayDefaultScope, LocalObjectReference, ParentReference, Route,
    SessionPersistence,
};
use crate::value::{Duration, open_enum};

/// Routes HTTP requests of a Gateway, of a Service in the mesh, or of the mesh. <https://gateway-api.sigs.k8s.io/api-types/httproute/>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// What it attaches to.
    pub parent_refs: Vec<ParentReference>,
    /// Also attach to default gateways of this scope.
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// The hostnames that are served; empty means those of the parent.
    pub hostnames: Vec<String>,
    /// The rules; the most specific match of all routes wins.
    pub rules: Vec<HttpRouteRule>,
}

impl Route for HttpRoute {
    fn parent_refs(&self) -> &[ParentReference] {
        &self.parent_refs
    }

    fn use_default_gateways(&self) -> Option<&GatewayDefaultScope> {
        self.use_default_gateways.as_ref()
    }

    fn hostnames(&self) -> &[String] {
        &self.hostnames
    }
}

/// Matches, what is done to the request, and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteRule {
    /// Name, unique in the route.
    pub name: Option<String>,
    /// Any of these must match; empty means every path.
    pub matches: Vec<HttpRouteMatch>,
    /// What is done to matching requests.
    pub filters: Vec<HttpRouteFilter>,
    /// Where matching requests go, by weight.
    pub backend_refs: Vec<HttpBackendRef>,
    /// Timeouts.
    pub timeouts: Option<HttpRouteTimeouts>,
    /// Retries.
    pub retry: Option<HttpRouteRetry>,
    /// Binds a client to one backend.
    pub session_persistence: Option<SessionPersistence>,
}

/// Conditions; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteMatch {
    /// The path; unset means every path.
    pub path: Option<HttpPathMatch>,
    /// The headers.
    pub headers: Vec<HttpHeaderMatch>,
    /// The query parameters.
    pub query_params: Vec<HttpQueryParamMatch>,
    /// The method; unset means any.
    pub method: Option<HttpMethod>,
}

/// A condition on the path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPathMatch {
    /// How it is compared; unset means by prefix.
    #[serde(rename = "type")]
    pub match_type: Option<PathMatchType>,
    /// What it is compared with; unset means `/`.
    pub value: Option<String>,
}

open_enum! {
    /// How a path is compared.
    pub enum PathMatchType {
        /// By whole path elements from the start.
        PathPrefix = "PathPrefix",
        /// As a whole.
        Exact = "Exact",
        /// By a regular expression for the whole path.
        RegularExpression = "RegularExpression",
    }
}

/// A condition on a header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeaderMatch {
    /// How it is compared; unset means as a whole.
    #[serde(rename = "type")]
    pub match_type: Option<MatchType>,
    /// Name of the header, in any case.
    pub name: String,
    /// What it is compared with.
    pub value: String,
}

/// A condition on a query parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpQueryParamMatch {
    /// How it is compared; unset means as a whole.
    #[serde(rename = "type")]
    pub match_type: Option<MatchType>,
    /// Name of the parameter.
    pub name: String,
    /// What it is compared with.
    pub value: String,
}

open_enum! {
    /// How a text is compared.
    pub enum MatchType {
        /// As a whole.
        Exact = "Exact",
        /// By a regular expression for the whole text.
        RegularExpression = "RegularExpression",
    }
}

open_enum! {
    /// A method of HTTP.
    pub enum HttpMethod {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// DELETE.
        Delete = "DELETE",
        /// CONNECT.
        Connect = "CONNECT",
        /// OPTIONS.
        Options = "OPTIONS",
        /// TRACE.
        Trace = "TRACE",
        /// PATCH.
        Patch = "PATCH",
    }
}

/// A backend with a share of the traffic, and what is done to its requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpBackendRef {
    /// API group; unset or empty is the core group.
    pub group: Option<String>,
    /// Kind; unset means Service.
    pub kind: Option<String>,
    /// Name of the backend.
    pub name: String,
    /// Namespace; unset means the route's own. Another one needs a ReferenceGrant.
    pub namespace: Option<String>,
    /// Port of the Service; needed for Services.
    pub port: Option<i32>,
    /// Share of the traffic, relative to the others; unset means 1.
    pub weight: Option<i32>,
    /// What is done to requests to this backend.
    pub filters: Vec<HttpRouteFilter>,
}

/// Something that is done to requests. `filter_type` says which one of the fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteFilter {
    /// Which filter it is.
    #[serde(rename = "type")]
    pub filter_type: HttpRouteFilterType,
    /// Changes request headers.
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes response headers.
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Sends a copy elsewhere.
    pub request_mirror: Option<HttpRequestMirrorFilter>,
    /// Answers with a redirect.
    pub request_redirect: Option<HttpRequestRedirectFilter>,
    /// Changes host and path.
    pub url_rewrite: Option<HttpUrlRewriteFilter>,
    /// Cross-origin resource sharing.
    pub cors: Option<HttpCorsFilter>,
    /// Asks another service whether the request may pass.
    pub external_auth: Option<HttpExternalAuthFilter>,
    /// A filter of the implementation.
    pub extension_ref: Option<LocalObjectReference>,
}

open_enum! {
    /// The filters of an HTTPRoute.
    pub enum HttpRouteFilterType {
        /// Not written, which is not allowed.
        Unset = "",
        /// Changes request headers.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Changes response headers.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// Sends a copy elsewhere.
        RequestMirror = "RequestMirror",
        /// Answers with a redirect.
        RequestRedirect = "RequestRedirect",
        /// Changes host and path.
        UrlRewrite = "URLRewrite",
        /// A filter of the implementation.
        ExtensionRef = "ExtensionRef",
        /// Cross-origin resource sharing.
        Cors = "CORS",
        /// Asks another service.
        ExternalAuth = "ExternalAuth",
    }
}

/// Changes headers: set first, then add, then remove.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeaderFilter {
    /// Replaces.
    pub set: Vec<HttpHeader>,
    /// Appends.
    pub add: Vec<HttpHeader>,
    /// Removes.
    pub remove: Vec<String>,
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeader {
    /// Name, in any case.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Sends a copy of requests elsewhere; the answer is dropped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRequestMirrorFilter {
    /// Where the copy goes.
    pub backend_ref: BackendObjectReference,
    /// Part of the requests, in percent; unset (with `fraction` unset) means all.
    pub percent: Option<i32>,
    /// Part of the requests.
    pub fraction: Option<Fraction>,
}

/// Answers with a redirect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRequestRedirectFilter {
    /// `http` or `https`; unset means the request's own.
    pub scheme: Option<String>,
    /// Host; unset means the request's own.
    pub hostname: Option<String>,
    /// Change of the path.
    pub path: Option<HttpPathModifier>,
    /// Port; unset means that of the scheme, or the listener's.
    pub port: Option<i32>,
    /// Status code, one of 301, 302, 303, 307, 308; unset means 302.
    pub status_code: Option<i32>,
}

/// A change of the path. `modifier_type` says which one of the fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPathModifier {
    /// Which change.
    #[serde(rename = "type")]
    pub modifier_type: HttpPathModifierType,
    /// The new path.
    pub replace_full_path: Option<String>,
    /// What stands in place of the matched prefix.
    pub replace_prefix_match: Option<String>,
}

open_enum! {
    /// The changes of a path.
    pub enum HttpPathModifierType {
        /// Not written, which is not allowed.
        Unset = "",
        /// The whole path.
        ReplaceFullPath = "ReplaceFullPath",
        /// The matched prefix.
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }
}

/// Changes host and path before the request is sent on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpUrlRewriteFilter {
    /// The new host.
    pub hostname: Option<String>,
    /// Change of the path.
    pub path: Option<HttpPathModifier>,
}

/// Cross-origin resource sharing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCorsFilter {
    /// Origins that may ask; `*` stands for all or, in a host, for labels.
    pub allow_origins: Vec<String>,
    /// Whether credentials may be sent.
    pub allow_credentials: Option<bool>,
    /// Methods that may be used.
    pub allow_methods: Vec<String>,
    /// Headers that may be sent.
    pub allow_headers: Vec<String>,
    /// Headers that scripts may read.
    pub expose_headers: Vec<String>,
    /// How long the browser may keep the answer, in seconds; unset means 5.
    pub max_age: Option<i32>,
}

/// Asks another service whether a request may pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpExternalAuthFilter {
    /// How it is asked.
    pub protocol: HttpExternalAuthProtocol,
    /// Who is asked.
    pub backend_ref: BackendObjectReference,
    /// Details of gRPC.
    pub grpc: Option<GrpcAuthConfig>,
    /// Details of HTTP.
    pub http: Option<HttpAuthConfig>,
    /// Whether the body is sent along; unset means no.
    pub forward_body: Option<ForwardBodyConfig>,
}

open_enum! {
    /// How an authorization service is asked.
    pub enum HttpExternalAuthProtocol {
        /// Not written, which is not allowed.
        Unset = "",
        /// By HTTP.
        Http = "HTTP",
        /// By Envoy's gRPC service.
        Grpc = "GRPC",
    }
}

/// Details of asking by gRPC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcAuthConfig {
    /// Headers that are sent along; empty means all.
    pub allowed_headers: Vec<String>,
}

/// Details of asking by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpAuthConfig {
    /// Prefix of the path that is asked.
    pub path: Option<String>,
    /// Headers that are sent along.
    pub allowed_headers: Vec<String>,
    /// Headers of the answer that the backend gets; empty means all.
    pub allowed_response_headers: Vec<String>,
}

/// How much of the body is sent along.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ForwardBodyConfig {
    /// Bytes at most; 0 means none.
    pub max_size: i32,
}

/// Timeouts of a rule; zero means none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteTimeouts {
    /// For the whole request, with its retries.
    pub request: Option<Duration>,
    /// For each try.
    pub backend_request: Option<Duration>,
}

/// Retries of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteRetry {
    /// Status codes that are tried again.
    pub codes: Vec<i32>,
    /// How often at most.
    pub attempts: Option<i32>,
    /// The wait before the next try.
    pub backoff: Option<Duration>,
}
