// SPDX-License-Identifier: Apache-2.0
//! PeerAuthentication: whether mTLS is asked of clients (<https://istio.io/latest/docs/reference/config/security/peer_authentication/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::selector::WorkloadSelector;
use crate::value::open_enum;

/// Whether workloads ask their clients for mTLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// The workloads; unset means all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// For all ports.
    pub mtls: Option<MutualTls>,
    /// By port of the workload; only with a selector.
    pub port_level_mtls: BTreeMap<u32, MutualTls>,
}

/// A setting of mTLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// The mode.
    pub mode: MutualTlsMode,
}

open_enum! {
    /// Modes of mTLS.
    pub enum MutualTlsMode {
        /// As the next wider policy has it, else permissive.
        Unset = "UNSET" | 0,
        /// No TLS.
        Disable = "DISABLE" | 1,
        /// mTLS or plain text.
        Permissive = "PERMISSIVE" | 2,
        /// mTLS only.
        Strict = "STRICT" | 3,
    }
}
