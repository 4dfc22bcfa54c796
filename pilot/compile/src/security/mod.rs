// SPDX-License-Identifier: Apache-2.0
//! Security policies: lowering of each kind, and which of them hold for a workload.

mod authorization;
mod peer;
mod request;

pub use authorization::lower as lower_authorization;
pub use peer::lower as lower_peer;
pub use request::lower as lower_request;

use tiphys_api::istio::selector::{PolicyTargetReference, WorkloadSelector};
use tiphys_model::{
    AuthorizationPolicy, Fingerprint, Labels, Marked, Mesh, MutualTls, PeerAuthentication, PeerModes, PolicyTarget,
    RequestAuthentication,
};

/// All security policies, each list in the order of precedence.
#[derive(Clone, Debug)]
pub struct Security {
    /// Modes of mutual TLS.
    pub peers: Marked<Vec<Marked<PeerAuthentication>>>,
    /// Tokens.
    pub requests: Marked<Vec<Marked<RequestAuthentication>>>,
    /// Who may call whom.
    pub authorization: Marked<Vec<Marked<AuthorizationPolicy>>>,
}

impl Security {
    /// Stands for all policies.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&(&self.peers, &self.requests, &self.authorization))
    }

    /// The authorization policies of a workload: the mesh's first, then its namespace's.
    pub fn authorization_of(&self, mesh: &Mesh, namespace: &str, labels: &Labels) -> Vec<Marked<AuthorizationPolicy>> {
        attached(&self.authorization, mesh, namespace, |policy, of| {
            &*policy.namespace == of && policy.target.covers(labels, of == namespace)
        })
    }

    /// The token rules of a workload: the mesh's first, then its namespace's.
    pub fn requests_of(&self, mesh: &Mesh, namespace: &str, labels: &Labels) -> Vec<Marked<RequestAuthentication>> {
        attached(&self.requests, mesh, namespace, |policy, of| {
            &*policy.namespace == of && policy.target.covers(labels, of == namespace)
        })
    }

    /// The modes of mutual TLS of a workload: its own policy over its namespace's over the mesh's.
    pub fn modes_of(&self, mesh: &Mesh, namespace: &str, labels: &Labels) -> PeerModes {
        let inherited = self.namespace_mode(mesh, namespace).unwrap_or(MutualTls::Permissive);
        let own = self.peers.iter().find(|policy| {
            let in_reach = &*policy.namespace == namespace || policy.namespace == mesh.root_namespace;
            let selects = |selector: &Labels| tiphys_model::labels_match(selector, labels);
            in_reach && policy.selector.as_ref().is_some_and(selects)
        });
        let Some(own) = own else { return PeerModes { mode: inherited, ports: Default::default() } };
        let mode = own.mode.unwrap_or(inherited);
        PeerModes { mode, ports: own.ports.iter().map(|(port, of_port)| (*port, of_port.unwrap_or(mode))).collect() }
    }

    /// The mode that a namespace sets for all of its workloads, or inherits from the mesh; none when nobody says.
    pub fn namespace_mode(&self, mesh: &Mesh, namespace: &str) -> Option<MutualTls> {
        let of = |namespace: &str| {
            let policy = self.peers.iter().find(|p| &*p.namespace == namespace && p.selector.is_none());
            policy.and_then(|policy| policy.mode)
        };
        of(namespace).or_else(|| of(&mesh.root_namespace))
    }
}

/// The policies of the root namespace that hold, then those of the workload's own.
fn attached<T>(all: &[Marked<T>], mesh: &Mesh, namespace: &str, holds: impl Fn(&T, &str) -> bool) -> Vec<Marked<T>> {
    let of = |owner: &str| -> Vec<Marked<T>> { all.iter().filter(|policy| holds(policy, owner)).cloned().collect() };
    match *mesh.root_namespace == *namespace {
        true => of(namespace),
        false => of(&mesh.root_namespace).into_iter().chain(of(namespace)).collect(),
    }
}

/// Where a policy attaches; nothing when it names targets of which none is served here.
pub(crate) fn target(
    selector: Option<&WorkloadSelector>,
    reference: Option<&PolicyTargetReference>,
    references: &[PolicyTargetReference],
) -> PolicyTarget {
    let references: Vec<&PolicyTargetReference> = match references {
        [] => reference.into_iter().collect(),
        list => list.iter().collect(),
    };
    if references.is_empty() {
        return PolicyTarget::Selector(selector.map(|s| crate::lower::labels(&s.match_labels)).unwrap_or_default());
    }
    let gateways = references.iter().filter(|r| r.kind == "Gateway" && r.group == "gateway.networking.k8s.io");
    PolicyTarget::Gateways(gateways.map(|reference| reference.name.as_str().into()).collect())
}
