// SPDX-License-Identifier: Apache-2.0
//! GatewayClass, which names the controller of a set of Gateways, and XMesh, its counterpart for a mesh.

use serde::{Deserialize, Serialize};

use super::common::ParametersReference;

/// A class of Gateways that one controller manages. <https://gateway-api.sigs.k8s.io/api-types/gatewayclass/>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayClass {
    /// The controller, as a domain-prefixed path.
    pub controller_name: String,
    /// Parameters of the controller.
    pub parameters_ref: Option<ParametersReference>,
    /// What the class is for, in words.
    pub description: Option<String>,
}

/// The mesh of a controller; only its status is of interest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XMesh {
    /// The controller, as a domain-prefixed path.
    pub controller_name: String,
    /// Parameters of the controller.
    pub parameters_ref: Option<ParametersReference>,
    /// What the mesh is for, in words.
    pub description: Option<String>,
}
