// SPDX-License-Identifier: Apache-2.0
//! Classes: proxies that no translation can tell apart.

use std::sync::{Arc, Mutex, PoisonError};
use tiphys_compile::{Scope, ServiceTarget, Snapshot};
use tiphys_model::{CaptureMode, Fingerprint, InterceptionMode, ProxyNode, ProxyType};
use tiphys_xds::ClientView;

/// Proxies that share a view.
pub(crate) struct Class {
    /// The proxy without what tells its members apart.
    pub node: ProxyNode,
    /// The service ports that their workload serves.
    pub targets: Vec<ServiceTarget>,
    view: Mutex<Option<(u64, Arc<ClientView>)>>,
}

impl Class {
    /// The class of a proxy in a snapshot, and its fingerprint.
    pub fn of(snapshot: &Snapshot, scope: &Scope, node: &ProxyNode) -> (Fingerprint, Self) {
        // Targets are found by the proxy's own address, which the class may not have any more.
        let targets = match node.kind {
            ProxyType::Sidecar | ProxyType::Router => snapshot.targets(node),
            ProxyType::Waypoint => Vec::new(),
        };
        let node = node.class(is_bound_to_addresses(scope, node));
        let fingerprint = Fingerprint::of(&(&node, &targets));
        (fingerprint, Self { node, targets, view: Mutex::default() })
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

/// Whether listeners are bound to the proxy's own addresses, or leave its own address out.
fn is_bound_to_addresses(scope: &Scope, node: &ProxyNode) -> bool {
    let captures_none = scope.sidecar.as_ref().is_some_and(|sidecar| {
        sidecar.ingress.iter().any(|listener| listener.capture == CaptureMode::None || listener.bind.is_empty())
            || sidecar.egress.iter().any(|listener| listener.capture == CaptureMode::None)
    });
    let sends_to_own_address = scope.sidecar.as_ref().is_some_and(|sidecar| {
        let of_proxy = |endpoint: &str| endpoint.starts_with("0.0.0.0:") || endpoint.starts_with("[::]:");
        sidecar.ingress.iter().any(|listener| of_proxy(&listener.default_endpoint))
    });
    let dials_pods = |service: &tiphys_model::Service| {
        service.is_headless() && service.ports.iter().any(|port| !port.protocol.is_http())
    };
    node.interception == InterceptionMode::None
        || captures_none
        || sends_to_own_address
        || node.kind == ProxyType::Sidecar && scope.services.iter().any(|service| dials_pods(service))
}
