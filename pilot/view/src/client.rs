// SPDX-License-Identifier: Apache-2.0
//! One connected proxy: who it is, what its view is, what it was sent and what it took.

use crate::class::Class;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tiphys_compile::{Scopes, Services, Snapshot, Workloads};
use tiphys_model::{Fingerprint, ProxyNode, Str};
use tiphys_xds::{ClientView, Peer, ResourceType, Signal, StreamEvent};

/// What was sent of one type, and what became of it.
#[derive(Clone, Debug, Default)]
pub struct SentState {
    /// Nonce of the last response.
    pub sent_nonce: String,
    /// Version of all that the proxy was sent.
    pub sent_version: String,
    /// Nonce of the last response that it took.
    pub acked_nonce: String,
    /// Version that it took.
    pub acked_version: String,
    /// When it was last sent something.
    pub sent_at: Option<SystemTime>,
    /// When it last took something.
    pub acked_at: Option<SystemTime>,
    /// When it was seen that it holds from an earlier connection all that it is to have; `None` from when something is sent.
    pub kept_at: Option<SystemTime>,
    /// Why it refused the last response, if it did.
    pub error: Option<String>,
    /// Whether it wants everything, and the names that it asks for.
    pub subscription: (bool, Arc<[Arc<str>]>),
}

/// One connected proxy, for metrics and debug pages.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// Number of the connection.
    pub connection: u64,
    /// The proxy.
    pub node: ProxyNode,
    /// Its address.
    pub address: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Identities that the connection proved.
    pub identities: Vec<Arc<str>>,
    /// When it connected.
    pub connected_at: SystemTime,
    /// State by type.
    pub types: BTreeMap<ResourceType, SentState>,
    /// Generation of the last snapshot of which it took everything.
    pub synced: u64,
}

/// What a client's class is derived from: as long as it is the same, so is the class.
pub(crate) struct Basis {
    services: Arc<Services>,
    workloads: Arc<Workloads>,
    scopes: Arc<Scopes>,
    /// Stands for the services that list the proxy's address among their endpoints.
    endpoints: Fingerprint,
    /// See [`Class::with_addresses`].
    pub with_addresses: bool,
    envoy_filters: Fingerprint,
    root_namespace: Str,
}

impl Basis {
    pub fn of(client: &ClientState, snapshot: &Snapshot) -> Self {
        Self {
            services: snapshot.services.clone(),
            workloads: snapshot.workloads.clone(),
            scopes: snapshot.scopes().clone(),
            endpoints: own_endpoints(client, snapshot),
            with_addresses: Class::with_addresses(snapshot, &client.node),
            envoy_filters: snapshot.envoy_filters.fingerprint(),
            root_namespace: snapshot.mesh.root_namespace.clone(),
        }
    }

    /// Whether it is the same in a later snapshot. It is asked of each client whenever an endpoint comes or goes.
    pub fn holds(&mut self, client: &ClientState, snapshot: &Snapshot) -> bool {
        let mut holds = Arc::ptr_eq(&self.services, &snapshot.services)
            && Arc::ptr_eq(&self.workloads, &snapshot.workloads)
            && self.envoy_filters == snapshot.envoy_filters.fingerprint()
            && self.root_namespace == snapshot.mesh.root_namespace
            && self.endpoints == own_endpoints(client, snapshot);
        if holds && !Arc::ptr_eq(&self.scopes, snapshot.scopes()) {
            self.scopes.clone_from(snapshot.scopes());
            holds = self.with_addresses == Class::with_addresses(snapshot, &client.node);
        }
        holds
    }
}

fn own_endpoints(client: &ClientState, snapshot: &Snapshot) -> Fingerprint {
    match snapshot.endpoints.of_address(&client.address) {
        [] => Fingerprint::default(),
        services => Fingerprint::of(services),
    }
}

/// What a client has in a snapshot.
pub(crate) struct Resolved {
    /// That of the snapshot.
    pub generation: u64,
    pub basis: Basis,
    pub class: Arc<Class>,
    pub view: Arc<ClientView>,
}

/// With what a stream asked for its secrets.
struct Asked {
    /// The view of its class.
    of_class: Arc<ClientView>,
    /// Who might read what then.
    epoch: u64,
    /// The copy that it was given.
    copy: Arc<ClientView>,
}

/// The state of one connection.
pub(crate) struct ClientState {
    pub connection: u64,
    pub node: ProxyNode,
    /// The node's first address as endpoints have it.
    pub address: Box<str>,
    pub peer: Peer,
    pub connected_at: SystemTime,
    pub resolved: Mutex<Option<Resolved>>,
    /// Raised when its view may be another.
    pub signal: Arc<Signal>,
    progress: Mutex<(BTreeMap<ResourceType, SentState>, u64)>,
    asked: Mutex<Option<Asked>>,
    /// The generation that its stream came to last; 0 = none yet.
    seen: AtomicU64,
}

impl ClientState {
    pub fn new(connection: u64, node: ProxyNode, peer: Peer, signal: Arc<Signal>) -> Self {
        let connected_at = SystemTime::now();
        let address = node.address().to_string().into();
        let (resolved, progress, seen, asked) = Default::default();
        Self { connection, node, address, peer, connected_at, resolved, signal, progress, seen, asked }
    }

    /// Its view in the snapshot of this generation, if it is known already.
    pub fn view_of(&self, generation: u64) -> Option<Arc<ClientView>> {
        let resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        resolved.as_ref().filter(|known| known.generation == generation).map(|known| known.view.clone())
    }

    /// The view of its class; another copy of it when the answers who may read Secrets are others, so that the stream asks again.
    pub fn with_epoch(&self, view: Arc<ClientView>, epoch: u64) -> Arc<ClientView> {
        if epoch == 0 {
            return view;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match &*asked {
            Some(last) if last.epoch == epoch && Arc::ptr_eq(&last.of_class, &view) => last.copy.clone(),
            _ => {
                let copy = Arc::new((*view).clone());
                *asked = Some(Asked { of_class: view, epoch, copy: copy.clone() });
                copy
            }
        }
    }

    fn progress(&self) -> MutexGuard<'_, (BTreeMap<ResourceType, SentState>, u64)> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is another generation than the one before: not so for the first one.
    pub fn comes_to(&self, generation: u64) -> bool {
        ![0, generation].contains(&self.seen.swap(generation, Ordering::Relaxed))
    }

    /// Notes what happened on the stream.
    pub fn note(&self, event: &StreamEvent<'_>) {
        let mut progress = self.progress();
        match *event {
            StreamEvent::Subscribed { ty, wildcard, names } => {
                progress.0.entry(ty).or_default().subscription = (wildcard, names.clone());
            }
            StreamEvent::Sent { ty, nonce, version, .. } => {
                let state = progress.0.entry(ty).or_default();
                nonce.clone_into(&mut state.sent_nonce);
                version.clone_into(&mut state.sent_version);
                state.sent_at = Some(SystemTime::now());
                state.kept_at = None;
            }
            StreamEvent::Acked { ty, nonce, version } => {
                let state = progress.0.entry(ty).or_default();
                nonce.clone_into(&mut state.acked_nonce);
                version.clone_into(&mut state.acked_version);
                state.acked_at = Some(SystemTime::now());
                state.error = None;
            }
            StreamEvent::Nacked { ty, error, .. } => {
                progress.0.entry(ty).or_default().error = Some(error.into());
            }
            StreamEvent::Kept { ty } => {
                progress.0.entry(ty).or_default().kept_at.get_or_insert_with(SystemTime::now);
            }
            StreamEvent::Synced { generation } => progress.1 = generation,
            StreamEvent::Stale { .. } | StreamEvent::Refused { .. } | StreamEvent::Written { .. } => {}
        }
    }

    /// Generation of the last snapshot of which it took everything.
    pub fn synced(&self) -> u64 {
        self.progress().1
    }

    /// Whether it refused what it was last sent of one of these types.
    pub fn refuses(&self, types: &[ResourceType]) -> bool {
        let progress = self.progress();
        types.iter().any(|ty| progress.0.get(ty).is_some_and(|state| state.error.is_some()))
    }

    pub fn info(&self) -> ClientInfo {
        let progress = self.progress();
        ClientInfo {
            connection: self.connection,
            node: self.node.clone(),
            address: self.peer.address,
            tls: self.peer.tls,
            identities: self.peer.identities.clone(),
            connected_at: self.connected_at,
            types: progress.0.clone(),
            synced: progress.1,
        }
    }
}
