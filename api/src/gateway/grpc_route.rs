// SPDX-License-Identifier: Apache-2.0
//! GRPCRoute: matches, filters and backends of gRPC calls.

use serde::{Deserialize, Serialize};

use super::common::{GatewayDefaultScope, LocalObjectReference, ParentReference, Route, SessionPersistence};
use super::http_route::{HttpHeaderFilter, HttpHeaderMatch, HttpRequestMirrorFilter, MatchType};
use crate::value::open_enum;

/// Routes gRPC calls. <https://gateway-api.sigs.k8s.io/api-types/grpcroute/>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRoute {
    /// What it attaches to.
    pub parent_refs: Vec<ParentReference>,
    /// Also attach to default gateways of this scope.
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// The hostnames that are served; empty means those of the parent.
    pub hostnames: Vec<String>,
    /// The rules; the most specific match of all routes wins.
    pub rules: Vec<GrpcRouteRule>,
}

impl Route for GrpcRoute {
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

/// Matches, what is done to the call, and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRouteRule {
    /// Name, unique in the route.
    pub name: Option<String>,
    /// Any of these must match; empty means every call.
    pub matches: Vec<GrpcRouteMatch>,
    /// What is done to matching calls.
    pub filters: Vec<GrpcRouteFilter>,
    /// Where matching calls go, by weight.
    pub backend_refs: Vec<GrpcBackendRef>,
    /// Binds a client to one backend.
    pub session_persistence: Option<SessionPersistence>,
}

/// Conditions; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRouteMatch {
    /// Service and method; unset means all.
    pub method: Option<GrpcMethodMatch>,
    /// The headers.
    pub headers: Vec<HttpHeaderMatch>,
}

/// A condition on service and method; at least one is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcMethodMatch {
    /// How they are compared; unset means as a whole.
    #[serde(rename = "type")]
    pub match_type: Option<MatchType>,
    /// The service, with its package.
    pub service: Option<String>,
    /// The method.
    pub method: Option<String>,
}

/// A backend with a share of the traffic, and what is done to its calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcBackendRef {
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
    /// What is done to calls to this backend.
    pub filters: Vec<GrpcRouteFilter>,
}

/// Something that is done to calls. `filter_type` says which one of the fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRouteFilter {
    /// Which filter it is.
    #[serde(rename = "type")]
    pub filter_type: GrpcRouteFilterType,
    /// Changes request headers.
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes response headers.
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Sends a copy elsewhere.
    pub request_mirror: Option<HttpRequestMirrorFilter>,
    /// A filter of the implementation.
    pub extension_ref: Option<LocalObjectReference>,
}

open_enum! {
    /// The filters of a GRPCRoute.
    pub enum GrpcRouteFilterType {
        /// Not written, which is not allowed.
        Unset = "",
        /// Changes response headers.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// Changes request headers.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Sends a copy elsewhere.
        RequestMirror = "RequestMirror",
        /// A filter of the implementation.
        ExtensionRef = "ExtensionRef",
    }
}
