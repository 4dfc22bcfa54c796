// SPDX-License-Identifier: Apache-2.0
//! Traffic policies: how clients behave towards a host (DestinationRule, BackendTLSPolicy, XBackendTrafficPolicy).

use crate::{Host, Labels, Str, Visibility};
use serde::Serialize;

/// One DestinationRule, or several for one host merged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct DestinationRule {
    /// Name of the (first) object.
    pub name: Str,
    /// Namespace of the object.
    pub namespace: Str,
    /// Creation in seconds since 1970.
    pub creation: i64,
    /// Host that it is about, fully qualified, maybe a wildcard.
    pub host: Host,
    /// Who sees it.
    pub export_to: Visibility,
    /// Client workloads to which it is limited; empty = all.
    pub workload_selector: Labels,
}
