// SPDX-License-Identifier: Apache-2.0
//! From objects to a [`Snapshot`], an immutable picture of the mesh.
//!
//! The way of the data: a [`Compiler`] keeps every object that is in force ([`Store`]). Each changed object is lowered once to the words
//! of `tiphys-model` and fingerprinted; [`Compiler::snapshot`] then rebuilds the tables whose inputs changed and takes over the
//! others by pointer. A table whose content came out equal keeps its pointer too, so that readers compare pointers only.
//! [`Scope`] answers what one namespace, or one Sidecar object, lets its proxies see of a snapshot.
//!
//! Nothing here does IO, tells the time or depends on the order in which objects arrived.

mod compiler;
mod credentials;
mod endpoints;
mod envoy_filters;
pub mod gateway;
pub mod istio;
mod listener_settings;
mod lower;
mod mesh;
mod mesh_problems;
mod proxy_config;
mod references;
mod scope;
pub mod security;
mod selection;
mod services;
mod settings;
mod snapshot;
mod store;
mod targets;
pub mod telemetry;
mod unsupported;
mod wanted;
mod workloads;

pub use compiler::Compiler;
pub use credentials::NamedCredential;
pub use endpoints::{Endpoints, ServiceKey};
pub use envoy_filters::EnvoyFilters;
pub use istio::{ClientReads, DestinationRules};
pub use lower::{LowerContext, Table};
pub use mesh::lower_mesh;
pub use mesh_problems::mesh_problems;
pub use proxy_config::{idle_timeout, proxy_config};
pub use scope::{Balances, EgressListener, Scope, Scopes};
pub use services::Services;
pub use settings::Settings;
pub use snapshot::Snapshot;
pub use store::Store;
pub use targets::{ServiceTarget, service_targets};
pub use workloads::{Workload, WorkloadPort, Workloads, workload_name};
