// SPDX-License-Identifier: Apache-2.0
//! Which replica writes what: elections by the locks that istiod has, so that an istiod and a Tiphys beside each other never both write.
//!
//! The way of the data: [`Elections::join`] starts a candidate for a kind of work and gives a channel that says whether this replica does
//! it. A writer acts while the channel says true, and stops in the moment it says false.

mod elector;
mod lock;
mod priority;
mod record;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::sync::watch;

pub use elector::{Clock, Elector, Lock, LockError, Pace, SystemClock};
pub use lock::ObjectLock;
pub use priority::Preference;
pub use record::Record;

use crate::tasks::Tasks;

/// Work that one replica does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The root certificate in each namespace.
    Namespaces,
    /// Status of Ingresses.
    Ingress,
    /// Status of the Gateway API's objects.
    GatewayStatus,
    /// Deployments and Services of Gateways.
    GatewayDeployment,
    /// Status of Istio's objects.
    Status,
    /// Analysis messages in the status of Istio's objects.
    Analysis,
    /// Addresses of ServiceEntries.
    AddressAllocation,
    /// Roots and failure policy of the webhooks of a revision.
    Webhooks,
}

impl Work {
    /// Name of the lock, as istiod has it. It has none for webhooks: each of its replicas writes those of its own revision, which a control
    /// plane of another revision never touches.
    pub fn lock(self) -> &'static str {
        match self {
            Self::Namespaces => "istio-namespace-controller-election",
            Self::Ingress => "istio-leader",
            Self::GatewayStatus => "istio-gateway-status-leader",
            Self::GatewayDeployment => "istio-gateway-deployment",
            Self::Status => "istio-status-leader",
            Self::Analysis => "istio-analyze-leader",
            Self::AddressAllocation => "istio-ip-autoallocate",
            Self::Webhooks => "tiphys-webhooks",
        }
    }

    fn form(self) -> Form {
        match self {
            Self::Namespaces | Self::Ingress | Self::Analysis | Self::AddressAllocation => Form::ConfigMap,
            Self::GatewayStatus | Self::GatewayDeployment | Self::Webhooks => Form::LeaseOfRevision,
            Self::Status => Form::Lease,
        }
    }
}

/// What a lock is.
enum Form {
    /// A ConfigMap that all revisions share.
    ConfigMap,
    /// A Lease that all revisions share.
    Lease,
    /// A Lease of each revision.
    LeaseOfRevision,
}

/// What candidates are made of.
#[derive(Clone)]
pub struct Elections {
    /// The API server.
    pub client: Client,
    /// Where the locks are: the control plane's namespace.
    pub namespace: String,
    /// Who this replica is: its pod.
    pub identity: String,
    /// Its revision.
    pub revision: String,
    /// The cluster's default revision.
    pub default_revision: watch::Receiver<Option<String>>,
    /// Whether there are elections at all (ENABLE_LEADER_ELECTION); without them this replica does all work.
    pub enabled: bool,
}

impl Elections {
    /// Takes part in the election for some work until the control plane stops. The channel says whether this replica does it.
    pub fn join(&self, work: Work, tasks: &mut Tasks) -> watch::Receiver<bool> {
        let (leader, leads) = watch::channel(!self.enabled);
        if !self.enabled {
            // The channel stays as it is.
            tasks.before_exit(async move { leader.closed().await });
            return leads;
        }
        let revision = if self.revision.is_empty() { "default" } else { &self.revision };
        let shared = Preference::Revision { own: revision.to_owned(), default: self.default_revision.clone() };
        let stop = tasks.stop.clone();
        let name = work.lock();
        match work.form() {
            Form::ConfigMap => tasks.before_exit(self.elector::<ConfigMap>(name, shared).run(leader, stop)),
            Form::Lease => tasks.before_exit(self.elector::<Lease>(name, shared).run(leader, stop)),
            Form::LeaseOfRevision => {
                let elector = self.elector::<Lease>(&format!("{name}-{revision}"), Preference::None);
                let former = self.former(work);
                tasks.before_exit(async move {
                    tokio::select! {
                        () = until_free(former) => elector.run(leader, stop).await,
                        () = stop.cancelled() => {}
                    }
                });
            }
        }
        leads
    }

    fn elector<K: lock::Holds>(&self, name: &str, preference: Preference) -> Elector<ObjectLock<K>> {
        let lock = ObjectLock::new(self.client.clone(), &self.namespace, name);
        let clock = Arc::new(SystemClock);
        let is_pod = std::env::var_os("POD_NAME").is_some_and(|name| *name == *self.identity);
        Elector { lock, identity: self.identity.clone(), is_pod, preference, pace: Pace::default(), clock }
    }

    /// The lock by which an older istiod does the same work for all revisions.
    fn former(&self, work: Work) -> Option<(Api<ConfigMap>, &'static str)> {
        (work == Work::GatewayStatus).then(|| (Api::namespaced(self.client.clone(), &self.namespace), work.lock()))
    }
}

/// Waits until nobody holds an older lock any more: its record has no holder, or did not change for a whole lease.
async fn until_free(former: Option<(Api<ConfigMap>, &'static str)>) {
    let Some((api, name)) = former else { return };
    let mut last: Option<(Record, tokio::time::Instant)> = None;
    loop {
        match api.get_opt(name).await.map(|found| found.map(|object| lock::Holds::record(&object))) {
            Ok(None) => return,
            Ok(Some(Ok(record))) if record.holder_identity.is_empty() => return,
            Ok(Some(Ok(record))) => match &last {
                Some((known, since)) if *known == record => {
                    if since.elapsed() >= Pace::default().lease {
                        return;
                    }
                }
                _ => {
                    tracing::info!("waiting for {}, which holds ConfigMap {name}", record.holder_identity);
                    last = Some((record, tokio::time::Instant::now()));
                }
            },
            Ok(Some(Err(error))) => tracing::warn!("ConfigMap {name}: {error}"),
            Err(error) => tracing::warn!("ConfigMap {name}: {error}"),
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// Waits while a candidate leads.
pub async fn until_lost(leads: &mut watch::Receiver<bool>) {
    // An ended election is a lost one.
    let _ = leads.wait_for(|leads| !leads).await;
}

/// Waits until a candidate leads. False when the election is over.
pub async fn until_won(leads: &mut watch::Receiver<bool>) -> bool {
    leads.wait_for(|leads| *leads).await.is_ok()
}
