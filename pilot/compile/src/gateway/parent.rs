// SPDX-License-Identifier: Apache-2.0
//! The parents of a route: listeners, services, or the mesh, and why one of them is denied.
//!
//! The mesh is a parent as `kind: Mesh, name: istio`: the route then acts in every sidecar for its hostnames.

use super::gateways::Listener;
use super::{GROUP, Inputs, Refusal, X_GROUP};
use tiphys_api::gateway::common::ParentReference;
use tiphys_api::{Kind, Object};
use tiphys_model::{Host, MESH_GATEWAY, Str};

/// The only mesh that there is.
const MESH: &str = "istio";

/// What a route attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParentKind {
    /// A listener of a Gateway or ListenerSet.
    Listener,
    /// A Service, in the mesh.
    Service,
    /// A ServiceEntry, in the mesh.
    ServiceEntry,
    /// The mesh itself.
    Mesh,
}

/// One parent of a route; a parentRef that names no listener means all of a Gateway.
pub(super) struct Parent<'a> {
    pub kind: ParentKind,
    /// The reference that it comes from.
    pub reference: &'a ParentReference,
    /// Namespace of the parent.
    pub namespace: &'a str,
    /// `mesh`, or the listener's internal name.
    pub gateway: Str,
    /// Hostname of the listener; empty = all.
    pub hostname: &'a str,
    /// Hostnames of the other listeners of the same port.
    pub others: Vec<&'a str>,
    /// Why the route may not attach.
    pub denied: Option<Refusal>,
}

/// The route that is attached.
pub(super) struct Route<'a> {
    pub object: &'a Object,
    pub parents: &'a [ParentReference],
    pub hostnames: &'a [String],
}

impl Parent<'_> {
    /// Whether the route acts in sidecars.
    pub fn is_mesh(&self) -> bool {
        self.kind != ParentKind::Listener
    }

    /// A host that another listener of the port serves more exactly is that listener's alone.
    pub fn serves(&self, host: &str) -> bool {
        let host = Host::new(host);
        let own = Host::new(self.hostname);
        if !self.hostname.is_empty() && !own.is_wildcard() {
            return true;
        }
        if !self.hostname.is_empty() && !host.matches(&own) {
            return false;
        }
        !self.others.iter().any(|other| self.hostname.len() <= other.len() && host.subset_of(&Host::new(other)))
    }
}

/// The parents of a route, denied ones among them, sorted by reference. References to what is not known here are left out: they may be for
/// another controller.
pub(super) fn parents<'a>(inputs: &Inputs<'_>, route: &Route<'a>, listeners: &'a [Listener]) -> Vec<Parent<'a>> {
    let own = route.object.meta.namespace.as_str();
    let mut parents = Vec::new();
    for reference in route.parents {
        let namespace = reference.namespace.as_deref().unwrap_or(own);
        let group = reference.group.as_deref().unwrap_or(GROUP);
        let mesh = |kind, denied| Parent {
            kind,
            reference,
            namespace,
            gateway: MESH_GATEWAY.into(),
            hostname: "",
            others: Vec::new(),
            denied,
        };
        match (group, reference.kind.as_deref().unwrap_or("Gateway")) {
            (GROUP, "Gateway") => attach(route, reference, (Kind::Gateway, namespace), listeners, &mut parents),
            (GROUP, "ListenerSet") => {
                attach(route, reference, (Kind::ListenerSet, namespace), listeners, &mut parents);
            }
            ("" | "core", "Service") => {
                let found = inputs.store.get(Kind::Service, namespace, &reference.name).is_some();
                parents.push(mesh(ParentKind::Service, missing(found, "service", &reference.name)));
            }
            ("networking.istio.io", "ServiceEntry") => {
                let found = inputs.store.get(Kind::ServiceEntry, namespace, &reference.name).is_some();
                parents.push(mesh(ParentKind::ServiceEntry, missing(found, "service entry", &reference.name)));
            }
            (GROUP | X_GROUP, "Mesh") => parents.push(mesh(ParentKind::Mesh, of_mesh(route, reference))),
            _ => {}
        }
    }
    parents.sort_by_cached_key(|parent| reference_text(parent.reference, own));
    parents
}

fn missing(found: bool, what: &str, name: &str) -> Option<Refusal> {
    (!found).then(|| Refusal::new("NoMatchingParent", format!("parent {what}: {name:?} not found")))
}

fn of_mesh(route: &Route<'_>, reference: &ParentReference) -> Option<Refusal> {
    if reference.name != MESH {
        return Some(Refusal::new(
            "NoMatchingParent",
            format!("parent mesh: {:?} not found, use {MESH:?}", reference.name),
        ));
    }
    if !matches!(route.object.kind(), Kind::HttpRoute | Kind::GrpcRoute) {
        let message = format!("kind {} is not allowed", route.object.kind().name());
        return Some(Refusal::new("NotAllowedByListeners", message));
    }
    route.hostnames.is_empty().then(|| {
        Refusal::new(
            "NoMatchingListenerHostname",
            "a route of the mesh needs hostnames: name the hosts that it is about",
        )
    })
}

/// Text that references are sorted by.
pub(super) fn reference_text(reference: &ParentReference, own: &str) -> String {
    format!(
        "{}/{}/{}/{}/{}.{}",
        reference.group.as_deref().unwrap_or(GROUP),
        reference.kind.as_deref().unwrap_or("Gateway"),
        reference.name,
        reference.section_name.as_deref().unwrap_or_default(),
        reference.port.unwrap_or_default(),
        reference.namespace.as_deref().unwrap_or(own)
    )
}

fn attach<'a>(
    route: &Route<'_>,
    reference: &'a ParentReference,
    (kind, namespace): (Kind, &'a str),
    listeners: &'a [Listener],
    parents: &mut Vec<Parent<'a>>,
) {
    let of_parent = |listener: &&Listener| {
        let owner = &listener.owner;
        owner.kind == kind && owner.namespace == namespace && owner.name == reference.name
    };
    let all: Vec<&Listener> = listeners.iter().filter(of_parent).collect();
    for listener in &all {
        let same_port = |other: &&&Listener| other.port == listener.port && other.protocol == listener.protocol;
        let others = all.iter().filter(same_port).map(|other| other.hostname.as_str());
        parents.push(Parent {
            kind: ParentKind::Listener,
            reference,
            namespace,
            gateway: listener.internal_name(),
            hostname: &listener.hostname,
            others: others.filter(|other| *other != listener.hostname).collect(),
            denied: denied(route, reference, listener),
        });
    }
}

fn denied(route: &Route<'_>, reference: &ParentReference, listener: &Listener) -> Option<Refusal> {
    if let Some(port) = reference.port.filter(|port| *port != listener.port) {
        return Some(Refusal::new("NoMatchingParent", format!("port {port} not found")));
    }
    if let Some(section) =
        reference.section_name.as_deref().filter(|name| !name.is_empty() && *name != listener.section)
    {
        return Some(Refusal::new("NoMatchingParent", format!("sectionName {section:?} not found")));
    }
    let own = route.object.meta.namespace.as_str();
    let any = [String::from("*")];
    let hostnames = if route.hostnames.is_empty() { &any } else { route.hostnames };
    let served = listener.gateway.servers.first().map(|server| server.hosts.as_slice()).unwrap_or_default();
    let matching: Vec<_> =
        served.iter().filter(|served| hostnames.iter().any(|host| served.host.matches(&Host::new(host)))).collect();
    if matching.is_empty() && !served.is_empty() {
        let message = format!("no hostnames matched parent hostname {:?}", listener.hostname);
        return Some(Refusal::new("NoMatchingListenerHostname", message));
    }
    if !served.is_empty() && !matching.iter().any(|served| served.allows(own)) {
        let message = format!(
            "hostnames matched parent hostname {:?}, but namespace {own:?} is not allowed by the parent",
            listener.hostname
        );
        return Some(Refusal::new("NotAllowedByListeners", message));
    }
    let kind = route.object.kind();
    (!listener.kinds.contains(&kind))
        .then(|| Refusal::new("NotAllowedByListeners", format!("kind {} is not allowed", kind.name())))
}
