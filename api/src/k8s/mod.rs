// SPDX-License-Identifier: Apache-2.0
//! The Kubernetes kinds that a mesh reads, with the fields that it reads and no others; labels and annotations are in [`crate::Meta`].
//! Field meanings are those of <https://kubernetes.io/docs/reference/kubernetes-api/>.

pub mod config_map;
pub mod endpoints;
pub mod ingress;
pub mod multicluster;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod service;

pub use config_map::{ConfigMap, Secret};
pub use endpoints::{EndpointSlice, Endpoints};
pub use ingress::{Ingress, IngressClass};
pub use multicluster::{ServiceExport, ServiceImport};
pub use namespace::{Namespace, ServiceAccount};
pub use node::Node;
pub use pod::Pod;
pub use service::Service;
