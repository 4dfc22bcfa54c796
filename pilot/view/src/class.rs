// SPDX-License-Identifier: Apache-2.0
//! Classes: proxies that no translation can tell apart.

use std::sync::{Arc, Mutex, PoisonError};
use tiphys_compile::{ServiceTarget, Snapshot};
use tiphys_model::{Fingerprint, InterceptionMode, PatchSet, ProxyNode, ProxyType};
use tiphys_xds::ClientView;

/// Proxies that share a view.
pub(crate) struct Class {
    /// The proxy without what tells its members apart.
    pub node: ProxyNode,
    /// The service ports that their workload serves.
    pub targets: Vec<ServiceTarget>,
    /// What EnvoyFilters change of what they get.
    pub patches: Option<PatchSet>,
    view: Mutex<Option<(u64, Arc<ClientView>)>>,
}

impl Class {
    /// The class of a proxy in a snapshot, and its fingerprint. Its addresses are part of it where configuration is bound to them.
    pub fn of(snapshot: &Snapshot, node: &ProxyNode, with_addresses: bool) -> (Fingerprint, Self) {
        // Targets are found by the proxy's own address, which the class may not have any more.
        let targets = match node.kind {
            ProxyType::Sidecar | ProxyType::Router => snapshot.targets(node),
            ProxyType::Waypoint => Vec::new(),
        };
        // So are patches, which may ask for its name.
        let patches = snapshot.envoy_filters.of(&snapshot.mesh, node);
        let node = node.class(with_addresses);
        let fingerprint = Fingerprint::of(&(&node, &targets, &patches));
        (fingerprint, Self { node, targets, patches, view: Mutex::default() })
    }

    /// Whether configuration is bound to the addresses of a proxy, so that they are part of its class.
    pub fn with_addresses(snapshot: &Snapshot, node: &ProxyNode) -> bool {
        node.interception == InterceptionMode::None || snapshot.scope(node).binds_addresses()
    }

    /// The latest view that was made.
    pub fn known(&self) -> Option<Arc<ClientView>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, view)| view.clone())
    }

    /// The class's view of a generation, made by `make` from the view before when it is not there yet.
    pub fn view(
        &self,
        generation: u64,
        make: impl FnOnce(Option<&Arc<ClientView>>) -> Arc<ClientView>,
    ) -> Arc<ClientView> {
        // Held while the view is made: members that ask meanwhile wait for it instead of making it again.
        let mut slot = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some((known, view)) if *known >= generation => view.clone(),
            _ => {
                let view = make(slot.as_ref().map(|(_, view)| view));
                *slot = Some((generation, view.clone()));
                view
            }
        }
    }
}
