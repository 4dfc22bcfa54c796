// SPDX-License-Identifier: Apache-2.0
//! Gateways and ListenerSets: each listener becomes a gateway of the model and a parent of routes.

use super::class::{self, Class};
use super::conflicts::Taken;
use super::gateway_status::{Seen, SeenListener, SeenSet};
use super::{INTERNAL, Inputs, Refusal, listener};
use std::collections::BTreeMap;
use std::sync::Arc;
use tiphys_api::gateway as api;
use tiphys_api::{Key, Kind, Object, Problem, Spec};
use tiphys_model::{Attachment, Gateway, Marked, Semantics, Str};

/// A listener as routes attach to it.
pub(super) struct Listener {
    /// The object that it is of: Gateway or ListenerSet.
    pub owner: Key,
    /// Name.
    pub section: String,
    pub port: i32,
    pub protocol: String,
    /// Hostname as it was written; empty = all.
    pub hostname: String,
    /// Kinds of routes that may attach.
    pub kinds: Vec<Kind>,
    /// In the words of the model.
    pub gateway: Marked<Gateway>,
    /// Whether it can be opened.
    pub usable: bool,
}

impl Listener {
    /// How VirtualServices refer to it.
    pub fn internal_name(&self) -> Str {
        self.gateway.key()
    }
}

/// All listeners, those of each Gateway before those of its ListenerSets; and the Gateways, for their statuses.
pub(super) fn lower(inputs: &Inputs<'_>, warnings: &mut BTreeMap<Key, Vec<Problem>>) -> (Vec<Listener>, Vec<Seen>) {
    let (mut listeners, mut all) = (Vec::new(), Vec::new());
    for object in inputs.store.of_kind(Kind::Gateway) {
        let Spec::Gateway(spec) = &object.spec else { continue };
        let mut seen = Seen {
            object: object.clone(),
            unmanaged: false,
            services: Vec::new(),
            ignored: Vec::new(),
            listeners: Vec::new(),
            sets: Vec::new(),
        };
        match class::of_name(inputs, &spec.gateway_class_name) {
            Some(Class::Gateway) => {}
            Some(Class::Waypoint | Class::EastWest) => {
                let message = "waypoints and gateways between networks are not supported: it has no effect";
                warn(warnings, object, "spec.gatewayClassName", message);
                continue;
            }
            Some(Class::Unmanaged) => {
                all.push(Seen { unmanaged: true, ..seen });
                continue;
            }
            None => continue,
        }
        let (services, ignored) = class::services(&object.meta, spec, &inputs.mesh.domain);
        if !ignored.is_empty() {
            let message = format!("only Hostname is supported, ignoring {ignored:?}");
            warn(warnings, object, "spec.addresses", &message);
        }
        (seen.services, seen.ignored) = (services.clone(), ignored);
        let served = !services.is_empty();
        let parent = Parent { inputs, object, spec, attachment: Attachment::Services(services) };
        let mut taken = Taken::default();
        if served {
            let mut making = Making { made: &mut listeners, warnings: &mut *warnings, taken: &mut taken };
            seen.listeners = parent.listeners(object, &spec.listeners, &mut making);
        }
        for (set, entries) in sets(&parent) {
            let refused = !accepts(&parent, &set.meta.namespace);
            let mut making = Making { made: &mut listeners, warnings: &mut *warnings, taken: &mut taken };
            let entries = if refused || !served { &[] } else { entries };
            let listeners = parent.listeners(set, entries, &mut making);
            seen.sets.push(SeenSet { object: set.clone(), refused, listeners });
        }
        all.push(seen);
    }
    (listeners, all)
}

/// What listeners are added to.
struct Making<'a, 'l> {
    made: &'a mut Vec<Listener>,
    warnings: &'a mut BTreeMap<Key, Vec<Problem>>,
    taken: &'a mut Taken<'l>,
}

fn warn(warnings: &mut BTreeMap<Key, Vec<Problem>>, object: &Object, path: &str, message: &str) {
    warnings.entry(object.key()).or_default().push(Problem::warning(path, message));
}

/// A Gateway whose listeners are made.
struct Parent<'a> {
    inputs: &'a Inputs<'a>,
    object: &'a Object,
    spec: &'a api::Gateway,
    attachment: Attachment,
}

impl<'l> Parent<'l> {
    fn listeners(
        &self,
        owner: &Object,
        entries: &'l [api::gateway::Listener],
        making: &mut Making<'_, 'l>,
    ) -> Vec<SeenListener> {
        let mut all = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let path = format!("spec.listeners[{index}]");
            let mut seen = SeenListener {
                name: entry.name.clone(),
                port: entry.port,
                internal: Str::default(),
                kinds: listener::kinds(entry),
                odd_kinds: listener::asks_for_odd_kinds(entry),
                bare: false,
                wrong: Vec::new(),
                conflict: making.taken.take(entry),
            };
            if let Some(reason) = seen.conflict {
                let message =
                    format!("another listener has its port and hostname ({reason}): the listener is not opened");
                warn(making.warnings, owner, &path, &message);
                all.push(seen);
                continue;
            }
            let (server, mut wrong) = listener::server(self.inputs, owner, self.spec, entry);
            for Refusal { reason, message } in &wrong {
                warn(making.warnings, owner, &path, &format!("{message} ({reason}): the listener is not opened"));
            }
            seen.bare = listener::lacks_tls(entry);
            if seen.bare && owner.kind() == Kind::Gateway {
                // It is a place for ListenerSets to be.
                wrong.clear();
            }
            seen.wrong = wrong;
            let Some(server) = server else {
                all.push(seen);
                continue;
            };
            let gateway = Gateway {
                name: format!("{}~{INTERNAL}~{}", owner.meta.name, entry.name).into(),
                namespace: owner.meta.namespace.as_str().into(),
                creation: owner.meta.creation,
                semantics: Semantics::GatewayApi,
                attachment: self.attachment.clone(),
                servers: vec![server],
                service_account: class::service_account(&self.object.meta, self.spec).into(),
                proxy_namespace: self.object.meta.namespace.as_str().into(),
                listener_set: owner.kind() == Kind::ListenerSet,
            };
            let listener = Listener {
                owner: owner.key(),
                section: entry.name.clone(),
                port: entry.port,
                protocol: entry.protocol.clone(),
                hostname: entry.hostname.clone().unwrap_or_default(),
                kinds: listener::kinds(entry),
                gateway: Marked::new(gateway),
                usable: seen.wrong.is_empty(),
            };
            seen.internal = listener.internal_name();
            making.made.push(listener);
            all.push(seen);
        }
        all
    }
}

/// The ListenerSets that are of a Gateway, the oldest first.
fn sets<'a>(parent: &Parent<'a>) -> Vec<(&'a Arc<Object>, &'a [api::gateway::Listener])> {
    let mut sets: Vec<(&Arc<Object>, &[api::gateway::Listener])> = parent
        .inputs
        .store
        .of_kind(Kind::ListenerSet)
        .filter_map(|object| match &object.spec {
            Spec::ListenerSet(set) if is_of(&set.parent_ref, object, parent) => {
                Some((object, set.listeners.as_slice()))
            }
            _ => None,
        })
        .collect();
    sets.sort_by(|(a, _), (b, _)| {
        let key = |object: &Object| (object.meta.creation, object.meta.namespace.clone(), object.meta.name.clone());
        key(a).cmp(&key(b))
    });
    sets
}

fn is_of(reference: &api::listener_set::ParentGatewayReference, set: &Object, parent: &Parent<'_>) -> bool {
    reference.group.as_deref().is_none_or(|group| group == super::GROUP)
        && reference.kind.as_deref().is_none_or(|kind| kind == "Gateway")
        && reference.name == parent.object.meta.name
        && reference.namespace.as_deref().unwrap_or(&set.meta.namespace) == parent.object.meta.namespace
}

fn accepts(parent: &Parent<'_>, namespace: &str) -> bool {
    let allowed = parent.spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let Some(allowed) = allowed else { return false };
    match &allowed.from {
        Some(api::gateway::FromNamespaces::All) => true,
        Some(api::gateway::FromNamespaces::Same) => namespace == parent.object.meta.namespace,
        None | Some(api::gateway::FromNamespaces::Selector) => {
            let object = parent.inputs.store.get(Kind::Namespace, "", namespace);
            let labels = object.map(|object| listener::namespace_labels(namespace, &object.meta.labels));
            matches!((&allowed.selector, labels), (Some(selector), Some(labels)) if selector.matches(&labels))
        }
        Some(_) => false,
    }
}
