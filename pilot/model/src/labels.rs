// SPDX-License-Identifier: Apache-2.0
//! Labels, and the few that have a meaning of their own.

use crate::Str;
use std::collections::BTreeMap;

/// Labels of a workload, sorted by key.
pub type Labels = BTreeMap<Str, Str>;

/// Names of labels that the mesh reads.
pub mod name {
    /// `istio` when the workload accepts mutual TLS.
    pub const TLS_MODE: &str = "security.istio.io/tlsMode";
    /// Canonical service of a workload.
    pub const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
    /// Canonical revision of a workload.
    pub const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
    /// Network that a workload is in.
    pub const NETWORK: &str = "topology.istio.io/network";
    /// Locality override of a workload: region.zone.subzone.
    pub const LOCALITY: &str = "istio-locality";
    /// Subzone of a node.
    pub const SUBZONE: &str = "topology.istio.io/subzone";
}

/// Whether labels carry everything that a selector asks for. An empty selector selects all.
pub fn labels_match(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
