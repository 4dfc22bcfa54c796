// SPDX-License-Identifier: Apache-2.0
//! Which objects count at all: those of namespaces that MeshConfig's `discoverySelectors` select
//! (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig>), and those that are meant for this revision of the control
//! plane (<https://istio.io/latest/docs/reference/config/labels/#IoIstioRev>).

use std::collections::BTreeMap;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::names::label;
use tiphys_api::{LabelSelector, Object};

/// What decides whether an object counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selection {
    namespaces: Vec<LabelSelector>,
    revision: String,
}

impl Selection {
    /// The selection of a mesh, for a revision; empty = all.
    pub fn new(mesh: &MeshConfig, revision: &str) -> Self {
        Self { namespaces: mesh.discovery_selectors.clone(), revision: revision.to_string() }
    }

    /// Whether all namespaces count.
    pub fn takes_all_namespaces(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Whether a namespace with these labels counts.
    pub fn takes_namespace(&self, labels: &BTreeMap<String, String>) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|selector| selector.matches(labels))
    }

    /// Whether an object is meant for this revision. Only configuration of the mesh says so: `istio.io/rev` of a Pod is about its sidecar.
    pub fn takes_revision(&self, object: &Object) -> bool {
        let kind = object.kind();
        let wanted = object.meta.labels.get(label::REV);
        self.revision.is_empty()
            || !(kind.is_istio() || kind.is_gateway_api())
            || wanted.is_none_or(|wanted| *wanted == self.revision)
    }
}
