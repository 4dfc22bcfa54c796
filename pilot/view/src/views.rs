// SPDX-License-Identifier: Apache-2.0
//! The views of all connected proxies, behind the discovery service.

use crate::class::Class;
use crate::client::{Basis, ClientInfo, ClientState, Resolved};
use crate::node::authorize;
use crate::progress::{Behind, Left, lag};
use crate::secrets::{Asking, GatewaysMay, SecretAccess, secret};
use crate::tables::Tables;
use crate::{Context, Generator, Memo, Note, Notes, proxy_of};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tiphys_compile::Snapshot;
use tiphys_model::{Fingerprint, ProxyNode};
use tiphys_proto::envoy::config::core::v3::Node;
use tiphys_xds::{Answer, ClientView, ConfigSource, Entry, OtherRequest, Peer, ResourceType, Signal, StreamEvent};
use tonic::Status;

/// Is told of what happens, for metrics.
pub trait Observer: Send + Sync + 'static {
    /// A proxy connected.
    fn connected(&self, node: &ProxyNode) {
        let _ = node;
    }

    /// A proxy is gone.
    fn disconnected(&self, node: &ProxyNode) {
        let _ = node;
    }

    /// The table of a type was made, or found, for a class of proxies.
    fn made(&self, ty: ResourceType, took: Duration) {
        let _ = (ty, took);
    }

    /// A proxy's stream came to a new snapshot, so long after it was there.
    fn woken(&self, after: Duration) {
        let _ = after;
    }

    /// A proxy asked for a secret that is not there, or not for it.
    fn secret_missing(&self, node: &ProxyNode, name: &str) {
        let _ = (node, name);
    }

    /// A request of a type that no view has: a debug page, for instance.
    fn other(&self, node: &ProxyNode, peer: &Peer, request: &OtherRequest<'_>) -> Answer {
        let _ = (node, peer, request);
        Answer::Unknown
    }

    /// Something happened on a proxy's stream.
    fn stream(&self, node: &ProxyNode, event: &StreamEvent<'_>) {
        let _ = (node, event);
    }
}

impl Observer for () {}

/// What a push did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Proxies that are connected.
    pub connected: usize,
    /// Of these, those whose view changed.
    pub changed: usize,
}

/// The views of all connected proxies.
pub struct Views {
    generators: Vec<Generator>,
    observer: Box<dyn Observer>,
    served: RwLock<Option<Served>>,
    /// That of the snapshot that is served; 0 before the first.
    generation: AtomicU64,
    /// When streams were woken last.
    woken: Mutex<Option<Instant>>,
    memo: Memo,
    tables: Tables,
    classes: Mutex<HashMap<Fingerprint, Arc<Class>>>,
    clients: Mutex<BTreeMap<u64, Arc<ClientState>>>,
    left: Mutex<Left>,
    connections: AtomicU64,
    access: Box<dyn SecretAccess>,
    identity_check: bool,
}

/// The snapshot that is served.
#[derive(Clone)]
struct Served {
    snapshot: Arc<Snapshot>,
    /// Whether Secrets or ConfigMaps are others than those of the snapshot before.
    other_credentials: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Views {
    /// Views without a snapshot: proxies are asked to come back later until the first one is there.
    pub fn new(generators: Vec<Generator>, observer: impl Observer) -> Self {
        Self {
            generators,
            observer: Box::new(observer),
            served: RwLock::default(),
            generation: AtomicU64::new(0),
            woken: Mutex::default(),
            memo: Memo::default(),
            tables: Tables::default(),
            classes: Mutex::default(),
            clients: Mutex::default(),
            left: Mutex::default(),
            connections: AtomicU64::new(0),
            access: Box::new(GatewaysMay),
            identity_check: true,
        }
    }

    /// Asks somebody else who may read Secrets. Tell of changed answers by [`Views::access_changed`].
    #[must_use]
    pub fn with_access(mut self, access: impl SecretAccess) -> Self {
        self.access = Box::new(access);
        self
    }

    /// Whether a proxy may only be what its connection proved (PILOT_ENABLE_XDS_IDENTITY_CHECK). Credentials are given to proven proxies alone
    /// in either case.
    #[must_use]
    pub fn with_identity_check(mut self, check: bool) -> Self {
        self.identity_check = check;
        self
    }

    /// Has streams ask for their secrets again.
    pub fn access_changed(&self) {
        lock(&self.clients).values().for_each(|client| client.signal.raise());
    }

    /// The snapshot that is served.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.served().map(|served| served.snapshot)
    }

    fn served(&self) -> Option<Served> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connected proxies in the order in which they came.
    pub fn clients(&self) -> Vec<ClientInfo> {
        lock(&self.clients).values().map(|client| client.info()).collect()
    }

    /// The proxies that have not taken a snapshot by all that it brought for them: those that are connected, and those that left a moment
    /// ago and may come back.
    pub fn behind(&self, generation: u64) -> Vec<Behind> {
        let clients: Vec<Arc<ClientState>> = lock(&self.clients).values().cloned().collect();
        let connected = clients.iter().filter_map(|client| {
            let lag = lag(client, generation)?;
            Some(Behind { id: client.node.id.to_string(), lag })
        });
        let mut all: Vec<Behind> = connected.collect();
        // A new connection may be there before the old one is seen to be gone.
        let back = |id: &str| clients.iter().any(|client| &*client.node.id == id);
        all.extend(lock(&self.left).behind(generation, Instant::now()).filter(|one| !back(&one.id)));
        all
    }

    /// The view of one connection, for debug pages.
    pub fn view_of(&self, connection: u64) -> Option<Arc<ClientView>> {
        let client = lock(&self.clients).get(&connection)?.clone();
        Some(self.client_view(&client, &self.served()?).0)
    }

    /// The resources of a type that is made on demand which a connection asked for, for debug pages.
    pub fn on_demand(&self, connection: u64, ty: ResourceType) -> Vec<Entry> {
        let Some(client) = lock(&self.clients).get(&connection).cloned() else { return Vec::new() };
        let names = client.info().types.get(&ty).map(|state| state.subscription.1.clone()).unwrap_or_default();
        let client = Client(client);
        names.iter().filter_map(|name| self.resource(&client, ty, name)).collect()
    }

    /// What is left out of the resources of connected proxies, and a workload that would have it.
    pub fn notes(&self) -> BTreeMap<Note, String> {
        self.tables.notes()
    }

    /// Forgets all resources that were made before: they are made anew when they are asked for.
    pub fn forget(&self) {
        self.memo.clear();
    }

    /// Serves a snapshot: makes the view of one client after the other, and wakes its stream.
    pub fn advance(&self, snapshot: Arc<Snapshot>) -> Pushed {
        let generation = snapshot.generation;
        let other_credentials = self.snapshot().is_none_or(|before| {
            before.credentials != snapshot.credentials || before.config_maps != snapshot.config_maps
        });
        let served = Served { snapshot, other_credentials };
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Some(served.clone());
        self.generation.store(generation, Ordering::Release);
        *lock(&self.woken) = Some(Instant::now());
        // Who comes from here on asks for the view of this snapshot by itself.
        let clients: Vec<Arc<ClientState>> = lock(&self.clients).values().cloned().collect();
        let mut changed = 0;
        for client in &clients {
            let (view, moved) = self.client_view(client, &served);
            // A view that the snapshot left as it was keeps its generation.
            changed += usize::from(moved || view.generation() == generation);
            client.signal.raise();
        }
        // Only the registry holds a class without members.
        lock(&self.classes).retain(|_, class| Arc::strong_count(class) > 1);
        self.tables.sweep(generation);
        self.memo.sweep();
        Pushed { connected: clients.len(), changed }
    }

    /// The view of a client in the snapshot that is served, and whether it is of another class than before.
    fn client_view(&self, client: &ClientState, served: &Served) -> (Arc<ClientView>, bool) {
        let mut resolved = lock(&client.resolved);
        let generation = served.snapshot.generation;
        if let Some(known) = resolved.as_ref().filter(|known| known.generation == generation) {
            return (known.view.clone(), false);
        }
        let stays = resolved.take().and_then(|mut known| known.basis.holds(client, &served.snapshot).then_some(known));
        let moved = stays.is_none();
        let (basis, class) = match stays {
            Some(known) => (known.basis, known.class),
            None => {
                let basis = Basis::of(client, &served.snapshot);
                let class = self.class_of(client, &served.snapshot, &basis);
                (basis, class)
            }
        };
        let view = class.view(generation, |before| self.make_view(served, &class, before));
        *resolved = Some(Resolved { generation, basis, class, view: view.clone() });
        (view, moved)
    }

    fn make_view(&self, served: &Served, class: &Class, before: Option<&Arc<ClientView>>) -> Arc<ClientView> {
        let snapshot = &*served.snapshot;
        let scope = snapshot.scope(&class.node);
        let (notes, memo) = (Notes::default(), &self.memo);
        let (proxy, targets, patches) = (&class.node, &class.targets, class.patches.as_ref());
        let cx = Context { snapshot, scope: &scope, proxy, targets, patches, memo, notes: &notes };
        let mut view = ClientView::new(snapshot.generation).with_on_demand(ResourceType::SECRET);
        // Streams ask for secrets again whenever the view is another.
        let mut same = !served.other_credentials;
        for generator in &self.generators {
            let began = Instant::now();
            let table = self.tables.get(generator, &cx);
            self.observer.made(generator.ty, began.elapsed());
            same &= before.and_then(|view| view.table(generator.ty)).is_some_and(|known| known.same(&table));
            view = view.with(generator.ty, table);
        }
        match before.filter(|_| same) {
            Some(before) => before.clone(),
            None => Arc::new(view),
        }
    }

    fn class_of(&self, client: &ClientState, snapshot: &Snapshot, basis: &Basis) -> Arc<Class> {
        let (fingerprint, class) = Class::of(snapshot, &client.node, basis.with_addresses);
        lock(&self.classes).entry(fingerprint).or_insert_with(|| Arc::new(class)).clone()
    }
}

/// One connection.
pub struct Client(Arc<ClientState>);

impl ConfigSource for Views {
    type Client = Client;

    fn connect(&self, node: &Node, peer: &Peer, signal: &Arc<Signal>) -> Result<Self::Client, Status> {
        if self.snapshot().is_none() {
            return Err(Status::unavailable("the first picture of the mesh is not complete yet: try again"));
        }
        let node = proxy_of(node).map_err(|error| Status::invalid_argument(error.to_string()))?;
        if self.identity_check {
            authorize(&node, peer).map_err(|why| {
                tracing::warn!(target: "authorization", peer = ?peer.address, "a stream is refused: {why}");
                Status::permission_denied(why)
            })?;
        }
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(ClientState::new(connection, node, peer.clone(), signal.clone()));
        lock(&self.clients).insert(connection, client.clone());
        lock(&self.left).come(&client.node.id);
        self.observer.connected(&client.node);
        Ok(Client(client))
    }

    fn view(&self, client: &Self::Client) -> Arc<ClientView> {
        let generation = self.generation.load(Ordering::Acquire);
        let known = client.0.view_of(generation);
        let Some(view) = known.or_else(|| Some(self.client_view(&client.0, &self.served()?).0)) else {
            return Arc::new(ClientView::new(0));
        };
        if client.0.comes_to(generation)
            && let Some(woken) = *lock(&self.woken)
        {
            self.observer.woken(woken.elapsed());
        }
        client.0.with_epoch(view, self.access.epoch())
    }

    fn resource(&self, client: &Self::Client, ty: ResourceType, name: &str) -> Option<Entry> {
        let snapshot = self.snapshot()?;
        match ty {
            ResourceType::SECRET => {
                let (node, peer) = (&client.0.node, &client.0.peer);
                let found = secret(&Asking { snapshot: &snapshot, node, peer, access: &*self.access }, name);
                if found.is_none() {
                    self.observer.secret_missing(node, name);
                }
                found
            }
            _ => None,
        }
    }

    fn other(&self, client: &Self::Client, request: &OtherRequest<'_>) -> Answer {
        self.observer.other(&client.0.node, &client.0.peer, request)
    }

    fn observe(&self, client: &Self::Client, event: StreamEvent<'_>) {
        client.0.note(&event);
        self.observer.stream(&client.0.node, &event);
    }

    fn disconnect(&self, client: Self::Client) {
        lock(&self.clients).remove(&client.0.connection);
        lock(&self.left).leave(&client.0.node.id, client.0.synced(), Instant::now());
        self.observer.disconnected(&client.0.node);
    }
}
