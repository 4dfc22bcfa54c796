// SPDX-License-Identifier: Apache-2.0
//! Node agents that ask for the identities of the pods on their node.
//!
//! A request with the metadata `ImpersonatedIdentity` gets that identity when the caller is one of the trusted node accounts
//! (CA_TRUSTED_NODE_ACCOUNTS), its token is bound to a pod that is there, and a pod of the wanted service account runs on the same node. It is
//! a part of what Kubernetes' node authorizer does, for certificates.

use crate::{Caller, ServiceAccount, SpiffeId, TrustDomains};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What matters of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Its UID.
    pub uid: String,
    /// The node that it runs on; empty before it is scheduled.
    pub node: String,
    /// Name of its service account.
    pub service_account: String,
}

/// Finds pods: the API server.
#[tonic::async_trait]
pub trait PodDirectory: Send + Sync {
    /// A pod by name.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<PodFacts>, String>;

    /// Whether a pod of a service account that has not failed runs on a node.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn runs_on(&self, node: &str, account: &ServiceAccount) -> Result<bool, String>;
}

/// Says which identities node agents may ask for.
pub struct NodeAuthorizer {
    trusted: BTreeSet<ServiceAccount>,
    domains: TrustDomains,
    pods: Arc<dyn PodDirectory>,
}

impl NodeAuthorizer {
    /// Trusts these service accounts with the identities of the pods on their nodes.
    pub fn new(trusted: BTreeSet<ServiceAccount>, domains: TrustDomains, pods: Arc<dyn PodDirectory>) -> Self {
        Self { trusted, domains, pods }
    }

    /// The identity that `caller` may have in place of its own.
    ///
    /// # Errors
    /// Why it may not.
    pub async fn authorize(&self, caller: &Caller, wanted: &str) -> Result<SpiffeId, String> {
        let own = caller.identities.iter().find(|id| self.trusted.contains(&account_of(id)));
        let Some(own) = own else {
            return Err("the caller is not one of the trusted node accounts (CA_TRUSTED_NODE_ACCOUNTS)".into());
        };
        let wanted: SpiffeId = wanted.parse().map_err(|error: crate::SpiffeError| error.to_string())?;
        // What is issued has our own trust domain, as for everybody else.
        if wanted.trust_domain() != self.domains.own {
            return Err(format!("{wanted} is not of the trust domain {}", self.domains.own));
        }
        let Some(reference) = &caller.pod else {
            return Err("the caller's credential is not bound to a pod".into());
        };
        let Some(pod) = self.pods.pod(own.namespace(), &reference.name).await? else {
            return Err(format!("there is no pod {}/{}", own.namespace(), reference.name));
        };
        if pod.uid != reference.uid {
            return Err(format!("pod {}/{} is another one by now (UID {})", own.namespace(), reference.name, pod.uid));
        }
        if pod.service_account != own.service_account() {
            return Err(format!("pod {}/{} has another service account", own.namespace(), reference.name));
        }
        if pod.node.is_empty() {
            return Err(format!("pod {}/{} runs on no node", own.namespace(), reference.name));
        }
        if !self.pods.runs_on(&pod.node, &account_of(&wanted)).await? {
            return Err(format!("no pod of {wanted} runs on node {}", pod.node));
        }
        Ok(wanted)
    }
}

fn account_of(id: &SpiffeId) -> ServiceAccount {
    ServiceAccount { namespace: id.namespace().into(), name: id.service_account().into() }
}

/// Reads service accounts as CA_TRUSTED_NODE_ACCOUNTS lists them: `NAMESPACE/NAME`, with commas between.
///
/// # Errors
/// Names the entry that is not of this form.
pub fn parse_accounts(text: &str) -> Result<BTreeSet<ServiceAccount>, String> {
    let account = |entry: &str| match entry.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ServiceAccount { namespace: namespace.into(), name: name.into() })
        }
        _ => Err(format!("{entry:?} is not NAMESPACE/SERVICE_ACCOUNT")),
    };
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(account).collect()
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
