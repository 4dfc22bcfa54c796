// SPDX-License-Identifier: Apache-2.0
//! The words of the mesh, free of Kubernetes and of protobuf: what compilation produces and translation reads.
//!
//! Everything here is a plain value that can be hashed: a [`Fingerprint`] of an input is what decides whether a resource has to be
//! made again.

mod endpoint;
mod fingerprint;
mod host;
mod labels;
mod mesh;
mod protocol;
mod proxy;
mod route;
mod service;
mod traffic;

pub use endpoint::{Endpoint, Health, Locality, ServiceEndpoints, canonical_service};
pub use fingerprint::{Fingerprint, Marked};
pub use host::Host;
pub use labels::{Labels, labels_match, name};
pub use mesh::{Mesh, OutboundMode};
pub use protocol::Protocol;
pub use proxy::{InterceptionMode, ProxyNode, ProxyType};
pub use route::{MESH_GATEWAY, VirtualService};
pub use service::{Port, Registry, Resolution, Service, UNSPECIFIED, Visibility};
pub use traffic::DestinationRule;

/// A string that is shared, never copied.
pub type Str = std::sync::Arc<str>;
