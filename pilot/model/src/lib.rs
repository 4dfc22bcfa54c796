// SPDX-License-Identifier: Apache-2.0
//! The words of the mesh, free of Kubernetes and of protobuf: what compilation produces and translation reads.
//!
//! Everything here is a plain value that can be hashed: a [`Fingerprint`] of an input is what decides whether a resource has to be
//! made again.

mod authorizer;
mod cluster_name;
mod endpoint;
mod envoy_filter;
mod fingerprint;
mod float;
mod gateway;
mod gateway_merge;
mod host;
mod http_route;
mod labels;
mod listener;
mod mesh;
mod mutual_tls;
mod protocol;
mod proxy;
mod proxy_config;
mod route;
mod secret;
mod security;
mod service;
mod shards;
mod sidecar;
mod telemetry;
mod telemetry_policy;
mod telemetry_settings;
mod traffic;
mod traffic_policy;

pub use authorizer::{Authorizer, Authorizers, CheckedBody, HttpCheck};
pub use cluster_name::{BLACK_HOLE, ClusterName, INBOUND_PASSTHROUGH, PASSTHROUGH};
pub use endpoint::{Endpoint, Health, Locality, ServiceEndpoints, canonical_service};
pub use envoy_filter::{
    ChainMatch, ClusterMatch, EnvoyFilter, ListenerMatch, Patch, PatchList, PatchMatch, PatchOperation, PatchSet,
    Patched, ProxyMatch, RouteKind, RouteMatch, RoutesMatch, Traffic, VirtualHostMatch,
};
pub use fingerprint::{Fingerprint, Marked};
pub use float::Float;
pub use gateway::{Attachment, CertificateFiles, Gateway, Server, ServerHost, ServerTls, ServerTlsMode, TlsVersion};
pub use gateway_merge::{Conflict, MergedGateway, MergedPort, MergedServer, ServerPort};
pub use host::Host;
pub use http_route::{
    Abort, AbortStatus, Body, Cors, Delay, DirectResponse, Fault, HeaderOperations, Headers, HttpAction,
    HttpDestination, HttpMatch, HttpRoute, Mirror, Redirect, RedirectPath, RedirectPort, Retries, Rewrite, RewritePath,
    Share, StringMatch,
};
pub use labels::{Labels, labels_match, name};
pub use listener::{ListenerSettings, PathNormalization, TlsDefaults};
pub use mesh::{Mesh, OutboundMode};
pub use mutual_tls::MutualTls;
pub use protocol::Protocol;
pub use proxy::{InterceptionMode, NodeError, NodeParts, ProxyNode, ProxyType};
pub use proxy_config::{
    ClientCertDetails, ConnectionSettings, CustomTag, EscapedSlashes, ForwardClientCert, ProxyConfig, ProxyHeaders,
    ProxyTracing, TagValue, Topology, Underscores,
};
pub use route::{
    ConnectionMatch, Destination, MESH_GATEWAY, Semantics, Source, TcpRoute, TlsRoute, VirtualService,
    WeightedDestination,
};
pub use secret::{Credential, Revoked};
pub use security::{
    Attribute, AuthorizationPolicy, AuthorizationRule, Condition, GATEWAY_NAME, JwtRule, PeerAuthentication, PeerModes,
    PolicyAction, PolicyTarget, RequestAuthentication, TokenHeader,
};
pub use service::{Port, Registry, Resolution, Service, TargetPort, UNSPECIFIED, Visibility};
pub use shards::Shards;
pub use sidecar::{CaptureMode, EgressHost, HostNamespace, Sidecar, SidecarEgress, SidecarIngress};
pub use telemetry::{
    AccessLog, LogFormat, LogService, LogSink, MetricOverride, Metrics, Reporting, Telemetry, Tracing, TracingProvider,
};
pub use telemetry_policy::{LoggingRule, MetricRule, MetricsRule, Side, TelemetryPolicy, TracingRule};
pub use telemetry_settings::{ProviderKind, ProviderService, TelemetryProvider, TelemetrySettings};
pub use traffic::{
    Algorithm, ClientTls, ClientTlsMode, ConnectionPool, ConsistentHash, DestinationRule, Distribute, H2Upgrade,
    HashCookie, HashKey, HashRing, HttpPool, ListUnready, LoadBalancer, LocalityBalancing, OutlierDetection,
    PortPolicy, RetryBudget, Subset, TcpKeepalive, TcpPool, TrafficDefaults, TrafficPolicy, Warmup, ZoneAware,
};

/// A string that is shared, never copied.
pub type Str = std::sync::Arc<str>;
