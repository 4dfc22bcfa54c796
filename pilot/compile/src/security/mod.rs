// SPDX-License-Identifier: Apache-2.0
//! Security policies: lowering of each kind, and which of them hold for a workload.

mod authorization;
mod authorizers;
mod modes;
mod peer;
mod request;
mod rollout;
#[cfg(test)]
mod rollout_tests;

pub use authorization::lower as lower_authorization;
pub use authorizers::lower as lower_authorizers;
pub use modes::{ClientPolicies, Peers};
pub use peer::lower as lower_peer;
pub use request::lower as lower_request;
pub use rollout::{Rollout, Step};

use modes::{Calls, MixedCalls};
use std::collections::BTreeSet;
use tiphys_api::istio::selector::{PolicyTargetReference, WorkloadSelector};
use tiphys_model::{
    AuthorizationPolicy, Fingerprint, Labels, Marked, Mesh, MutualTls, PeerModes, PolicyTarget, RequestAuthentication,
};

/// All security policies, each list in the order of precedence.
#[derive(Clone, Debug)]
pub struct Security {
    /// Modes of mutual TLS, as they are wanted.
    pub peers: Peers,
    /// What of them clients are told; while a change is on its way, that may be what was wanted before.
    pub told: ClientPolicies,
    /// What some clients may still act on although it is not what is wanted: servers take those, too.
    pub outdated: Vec<ClientPolicies>,
    /// Tokens.
    pub requests: Marked<Vec<Marked<RequestAuthentication>>>,
    /// Who may call whom.
    pub authorization: Marked<Vec<Marked<AuthorizationPolicy>>>,
}

impl Security {
    /// Stands for all policies.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&(&self.peers, &self.told, &self.outdated, &self.requests, &self.authorization))
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

    /// The modes of mutual TLS of a workload: its own policy over its namespace's over the mesh's. It takes both where some clients may
    /// call otherwise than is wanted.
    pub fn modes_of(&self, mesh: &Mesh, namespace: &str, labels: &Labels) -> PeerModes {
        let mut modes = modes::modes_of(&self.peers, mesh, namespace, labels);
        let Some(calls) = self.calls_of(mesh, namespace, labels) else { return modes };
        let ports: BTreeSet<u32> = modes.ports.keys().copied().chain(calls.ports()).collect();
        let of_port = |port| if calls.differ(Some(port)) { MutualTls::Permissive } else { modes.of_port(port) };
        let ports = ports.into_iter().map(|port| (port, of_port(port))).collect();
        if calls.differ(None) {
            modes.mode = MutualTls::Permissive;
        }
        PeerModes { mode: modes.mode, ports }
    }

    /// Whether a change of mutual TLS is on its way for a workload: some clients may call it otherwise than is wanted.
    pub fn is_changing(&self, mesh: &Mesh, namespace: &str, labels: &Labels) -> bool {
        let calls = self.calls_of(mesh, namespace, labels);
        calls.is_some_and(|calls| calls.differ(None) || calls.ports().any(|port| calls.differ(Some(port))))
    }

    /// What clients do with a workload; none when all do as is wanted.
    fn calls_of(&self, mesh: &Mesh, namespace: &str, labels: &Labels) -> Option<MixedCalls> {
        if self.outdated.is_empty() {
            return None;
        }
        let calls = |policies: &ClientPolicies| Calls::of(policies, mesh, namespace, labels);
        let wanted = calls(&ClientPolicies::of(&self.peers));
        Some(MixedCalls { wanted, outdated: self.outdated.iter().map(calls).collect() })
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
