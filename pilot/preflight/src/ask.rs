// SPDX-License-Identifier: Apache-2.0
//! What is asked: which policies would be in force.

use std::fmt;
use std::sync::Arc;

use tiphys_api::Object;
use tiphys_compile::LowerContext;
use tiphys_compile::security::{ClientPolicies, Peers, Security, lower_peer};
use tiphys_model::{Marked, Mesh, MutualTls, PeerAuthentication};

use crate::report::Client;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The namespace whose servers count; none for all.
    pub namespace: Option<String>,
    /// PeerAuthentications that would be applied; empty for STRICT in all of the namespace, or of the mesh.
    pub policies: Vec<Arc<Object>>,
    /// Clients that do not count: `NAMESPACE` or `NAMESPACE/WORKLOAD`.
    pub ignore: Vec<String>,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = match &self.namespace {
            Some(namespace) => format!("namespace {namespace}"),
            None => "the mesh".to_owned(),
        };
        if self.policies.is_empty() {
            return write!(f, "STRICT for {whole}");
        }
        let names: Vec<String> =
            self.policies.iter().map(|object| format!("{}/{}", object.meta.namespace, object.meta.name)).collect();
        write!(f, "PeerAuthentication {} in {whole}", names.join(", "))
    }
}

impl Ask {
    /// STRICT for a namespace, or for the mesh.
    pub fn strict(namespace: Option<&str>) -> Self {
        Self { namespace: namespace.map(str::to_owned), ..Self::default() }
    }

    /// Given policies in place of those of the same names.
    pub fn policies(policies: Vec<Arc<Object>>) -> Self {
        Self { policies, ..Self::default() }
    }

    /// Whether servers of a namespace count.
    pub(crate) fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }

    /// Whether a client was said not to count.
    pub(crate) fn ignores(&self, client: &Client) -> bool {
        if client.namespaces.is_empty() {
            return false;
        }
        let whole = client.namespaces.iter().all(|namespace| self.ignore.contains(namespace));
        let named = |workload: &String| self.ignore.contains(&format!("{}/{workload}", client.namespaces[0]));
        whole || (client.namespaces.len() == 1 && !client.workloads.is_empty() && client.workloads.iter().all(named))
    }

    /// The policies as they would be.
    pub(crate) fn applied(&self, before: &Security, mesh: &Mesh) -> Security {
        let mut peers: Vec<Marked<PeerAuthentication>> = before.peers.to_vec();
        if self.policies.is_empty() {
            let namespace = self.namespace.as_deref().unwrap_or(&mesh.root_namespace);
            let replaced = |peer: &Marked<PeerAuthentication>| &*peer.namespace == namespace && peer.selector.is_none();
            peers.retain(|peer| !replaced(peer));
            peers.push(Marked::new(PeerAuthentication {
                name: "default".into(),
                namespace: namespace.into(),
                selector: None,
                mode: Some(MutualTls::Strict),
                ports: Default::default(),
            }));
        }
        let cx = LowerContext { mesh };
        for object in &self.policies {
            let Some(policy) = lower_peer(object, &cx, &mut Vec::new()).map(Marked::new) else { continue };
            let same = peers.iter().position(|peer| peer.namespace == policy.namespace && peer.name == policy.name);
            match same {
                Some(place) => peers[place] = policy,
                // It would be the youngest, and of two for the same workloads the oldest counts.
                None => peers.push(policy),
            }
        }
        settled(before, Marked::new(peers))
    }
}

/// Policies that every client acts on: a change that is on its way is over.
pub(crate) fn settled(security: &Security, peers: Peers) -> Security {
    Security { told: ClientPolicies::of(&peers), outdated: Vec::new(), peers, ..security.clone() }
}
