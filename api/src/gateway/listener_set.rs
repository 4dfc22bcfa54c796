// SPDX-License-Identifier: Apache-2.0
//! ListenerSet: more listeners for a Gateway, from elsewhere.

use serde::{Deserialize, Serialize};

use super::gateway::Listener;

/// Listeners that are added to a Gateway. <https://gateway-api.sigs.k8s.io/geps/gep-1713/>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerSet {
    /// The Gateway.
    pub parent_ref: ParentGatewayReference,
    /// The listeners; names are unique in the set.
    pub listeners: Vec<Listener>,
}

/// The Gateway of a ListenerSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentGatewayReference {
    /// API group; unset means gateway.networking.k8s.io.
    pub group: Option<String>,
    /// Kind; unset means Gateway.
    pub kind: Option<String>,
    /// Name of the Gateway.
    pub name: String,
    /// Namespace; unset means the set's own.
    pub namespace: Option<String>,
}
