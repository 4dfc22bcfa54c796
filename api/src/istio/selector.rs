// SPDX-License-Identifier: Apache-2.0
//! Selectors that several APIs share (<https://istio.io/latest/docs/reference/config/type/workload-selector/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::value::open_enum;

/// Picks the workloads that a policy applies to, in its namespace, or in all when it lives in the root namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels that a workload must have; empty picks all.
    pub match_labels: BTreeMap<String, String>,
}

/// Picks a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// The port's number.
    pub number: u32,
}

/// An object that a policy attaches to, such as a waypoint's Gateway or a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyTargetReference {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target.
    pub name: String,
    /// Namespace of the target; only the policy's own is allowed.
    pub namespace: String,
}

open_enum! {
    /// On which side of a call something applies.
    pub enum WorkloadMode {
        /// Both sides.
        Undefined = "UNDEFINED" | 0,
        /// Calls that the workload makes.
        Client = "CLIENT" | 1,
        /// Calls that the workload gets.
        Server = "SERVER" | 2,
        /// Both sides.
        ClientAndServer = "CLIENT_AND_SERVER" | 3,
    }
}
