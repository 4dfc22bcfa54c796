// SPDX-License-Identifier: Apache-2.0
//! Tests on a real Kubernetes. The program `cluster` (src/bin/cluster) brings one up on this machine; [`Cluster`] is a test's hand on
//! it: everything goes through kubectl and helm, as a user's hand would. README.md beside this crate says how to run both.

pub mod afterwards;
pub mod audit;
pub mod cluster;
pub mod command;
pub mod folder;
pub mod gateway_api;
pub mod istio;
pub mod load;
pub mod manifests;
pub mod mesh;
pub mod namespace;
pub mod page;
pub mod pod;
pub mod process;
pub mod startup;

pub use afterwards::Afterwards;
pub use cluster::Cluster;
pub use load::Load;
pub use mesh::Mesh;
pub use namespace::Namespace;
pub use page::Page;
pub use pod::Pod;
