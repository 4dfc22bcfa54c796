// SPDX-License-Identifier: Apache-2.0
//! What the API server asks before it stores an object: pods get their sidecar, the mesh's own kinds are validated.
//!
//! A review comes in by HTTP ([`server`]) and is answered by [`admission`]: pods by [`inject`], which runs [`template`]s, objects of the mesh
//! by [`validation`]. [`registration`] keeps the webhooks' configurations in the cluster right.

pub mod admission;
pub mod cluster;
pub mod inject;
pub mod metrics;
pub mod registration;
pub mod review;
pub mod server;
pub mod template;
pub mod validation;
