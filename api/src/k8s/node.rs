// SPDX-License-Identifier: Apache-2.0
//! Node: where pods run. Its labels tell the locality.

use serde::{Deserialize, Serialize};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// What is known of it.
    pub status: NodeStatus,
}

/// What is known of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Its addresses.
    pub addresses: Vec<NodeAddress>,
}

/// An address of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAddress {
    /// `ExternalIP`, `InternalIP`, `Hostname`, ...
    #[serde(rename = "type")]
    pub address_type: String,
    /// The address.
    pub address: String,
}
