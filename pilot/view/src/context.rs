// SPDX-License-Identifier: Apache-2.0
//! What the making of one proxy class's resources may read.

use crate::{Memo, Notes};
use tiphys_compile::{Scope, ServiceTarget, Snapshot};
use tiphys_model::{PatchSet, ProxyNode};

/// What the making of one proxy class's resources may read.
pub struct Context<'a> {
    /// The mesh.
    pub snapshot: &'a Snapshot,
    /// What the class sees of it.
    pub scope: &'a Scope,
    /// The class of the proxy (see [`ProxyNode::class`]).
    pub proxy: &'a ProxyNode,
    /// The service ports that its workload serves.
    pub targets: &'a [ServiceTarget],
    /// What EnvoyFilters change of its resources.
    pub patches: Option<&'a PatchSet>,
    /// Resources that were made before.
    pub memo: &'a Memo,
    /// Takes down what is left out.
    pub notes: &'a Notes,
}
