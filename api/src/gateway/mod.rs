// SPDX-License-Identifier: Apache-2.0
//! Kubernetes Gateway API, v1.0 to v1.6 (<https://gateway-api.sigs.k8s.io/reference/spec/>): one file a kind, `common` for what they share.

pub mod backend_tls_policy;
pub mod common;
#[allow(clippy::module_inception, reason = "each kind's room bears its name")]
pub mod gateway;
pub mod gateway_class;
pub mod grpc_route;
pub mod http_route;
pub mod l4_route;
pub mod listener_set;
pub mod reference_grant;
pub mod x_backend;
pub mod x_backend_traffic_policy;

pub use backend_tls_policy::BackendTlsPolicy;
pub use gateway::Gateway;
pub use gateway_class::{GatewayClass, XMesh};
pub use grpc_route::GrpcRoute;
pub use http_route::HttpRoute;
pub use l4_route::{TcpRoute, TlsRoute, UdpRoute};
pub use listener_set::ListenerSet;
pub use reference_grant::ReferenceGrant;
pub use x_backend::XBackend;
pub use x_backend_traffic_policy::XBackendTrafficPolicy;
