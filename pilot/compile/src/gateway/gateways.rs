// SPDX-License-Identifier: Apache-2.0
//! Gateways and ListenerSets: each listener becomes a gateway of the model and a parent of routes.

use super::class::{self, Class};
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

/// All listeners, those of each Gateway before those of its ListenerSets.
pub(super) fn lower(inputs: &Inputs<'_>, warnings: &mut BTreeMap<Key, Vec<Problem>>) -> Vec<Listener> {
    let mut listeners = Vec::new();
    for object in inputs.store.of_kind(Kind::Gateway) {
        let Spec::Gateway(spec) = &object.spec else { continue };
        match class::of_name(inputs, &spec.gateway_class_name) {
            Some(Class::Gateway) => {}
            Some(Class::Waypoint | Class::EastWest) => {
                let message = "waypoints and gateways between networks are not supported: it has no effect";
                warn(warnings, object, "spec.gatewayClassName", message);
                continue;
            }
            Some(Class::Unmanaged) | None => continue,
        }
        let (services, ignored) = class::services(&object.meta, spec, &inputs.mesh.domain);
        if !ignored.is_empty() {
            let message = format!("only Hostname is supported, ignoring {ignored:?}");
            warn(warnings, object, "spec.addresses", &message);
        }
        if services.is_empty() {
            continue;
        }
        let parent = Parent { inputs, object, spec, attachment: Attachment::Services(services) };
        parent.listeners(object, &spec.listeners, &mut listeners, warnings);
        for (set, entries) in sets(&parent) {
            parent.listeners(set, entries, &mut listeners, warnings);
        }
    }
    listeners
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

impl Parent<'_> {
    fn listeners(
        &self,
        owner: &Object,
        entries: &[api::gateway::Listener],
        made: &mut Vec<Listener>,
        warnings: &mut BTreeMap<Key, Vec<Problem>>,
    ) {
        for (index, entry) in entries.iter().enumerate() {
            let (server, wrong) = listener::server(self.inputs, owner, self.spec, entry);
            for Refusal { reason, message } in &wrong {
                let path = format!("spec.listeners[{index}]");
                warn(warnings, owner, &path, &format!("{message} ({reason}): the listener is not opened"));
            }
            let Some(server) = server else { continue };
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
            made.push(Listener {
                owner: owner.key(),
                section: entry.name.clone(),
                port: entry.port,
                protocol: entry.protocol.clone(),
                hostname: entry.hostname.clone().unwrap_or_default(),
                kinds: listener::kinds(entry),
                gateway: Marked::new(gateway),
                usable: wrong.is_empty(),
            });
        }
    }
}

/// The ListenerSets of a Gateway that it lets add listeners, the oldest first.
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
        .filter(|(object, _)| accepts(parent, &object.meta.namespace))
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
            matches!((&allowed.selector, labels), (Some(selector), Some(labels)) if listener::selects(selector, &labels))
        }
        Some(_) => false,
    }
}
