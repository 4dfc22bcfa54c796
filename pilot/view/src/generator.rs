// SPDX-License-Identifier: Apache-2.0
//! How the table of one type of resources is made.

use crate::Context;
use std::collections::BTreeSet;
use std::sync::Arc;
use tiphys_compile::ServiceKey;
use tiphys_model::Fingerprint;
use tiphys_xds::{Entry, ResourceType};

/// The resources of some services.
#[derive(Debug, Default)]
pub struct Patch {
    /// Those that there are.
    pub upserts: Vec<Entry>,
    /// Names of those that are there no more.
    pub removals: Vec<Arc<str>>,
}

/// Makes the resources of some services only.
pub type PatchFn = fn(&Context<'_>, &BTreeSet<ServiceKey>) -> Patch;

/// How the table of one type is made. Two contexts with equal `proxy` and `world` fingerprints must have equal tables: whatever `build`
/// reads has to be in one of the two.
#[derive(Clone, Copy)]
pub struct Generator {
    /// The type.
    pub ty: ResourceType,
    /// What it reads of the proxy: the less, the more proxies share a table.
    pub proxy: fn(&Context<'_>) -> Fingerprint,
    /// What it reads of the mesh, apart from endpoints when `patch` is given.
    pub world: fn(&Context<'_>) -> Fingerprint,
    /// All resources of the type, in any order, names unique.
    pub build: fn(&Context<'_>) -> Vec<Entry>,
    /// The resources of some services only, when nothing but the endpoints of these changed.
    pub patch: Option<PatchFn>,
}
