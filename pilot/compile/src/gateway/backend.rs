// SPDX-License-Identifier: Apache-2.0
//! Backends: what a backendRef means, whether it may be referred to, and whether it is there.

use super::grants::Crossing;
use super::{GROUP, Inputs, Refusal, X_GROUP};
use tiphys_api::gateway::common::{BackendObjectReference, BackendRef};
use tiphys_api::gateway::grpc_route::GrpcBackendRef;
use tiphys_api::gateway::http_route::HttpBackendRef;
use tiphys_api::gateway::x_backend::XBackendType;
use tiphys_api::{Kind, Spec};
use tiphys_model::{Destination, Host, Str};

/// Which route refers to backends.
pub(super) struct Referrer<'a> {
    pub inputs: &'a Inputs<'a>,
    /// Kind of the route.
    pub kind: Kind,
    /// Namespace of the route.
    pub namespace: &'a str,
    /// Name of the route.
    pub name: &'a str,
    /// References across namespaces need a grant; not so where the mesh is the parent.
    pub strict: bool,
}

/// What of a backendRef says which backend is meant.
#[derive(Clone, Copy)]
pub(super) struct Reference<'a> {
    group: &'a str,
    kind: &'a str,
    name: &'a str,
    namespace: Option<&'a str>,
    port: Option<i32>,
}

macro_rules! reference {
    ($($ty:ty),*) => {$(
        impl<'a> From<&'a $ty> for Reference<'a> {
            fn from(of: &'a $ty) -> Self {
                Self {
                    group: of.group.as_deref().unwrap_or_default(),
                    kind: of.kind.as_deref().unwrap_or("Service"),
                    name: &of.name,
                    namespace: of.namespace.as_deref(),
                    port: of.port,
                }
            }
        }
    )*};
}
reference!(BackendObjectReference, BackendRef, GrpcBackendRef, HttpBackendRef);

/// A destination that stands for a backend that may not be used: requests for it are answered with 500.
fn nowhere() -> Destination {
    Destination { host: Host::new(""), subset: Str::default(), port: None }
}

fn to(host: &str, port: i32) -> Destination {
    Destination { host: Host::new(host), subset: Str::default(), port: port.try_into().ok() }
}

/// The destination of a backend, and what is wrong with it when the route still works. An error makes the whole route unusable.
pub(super) fn destination(
    referrer: &Referrer<'_>,
    backend: Reference<'_>,
) -> Result<(Destination, Option<Refusal>), Refusal> {
    let own = referrer.namespace;
    let namespace = backend.namespace.unwrap_or(own);
    let crossing = Crossing {
        from: (GROUP, referrer.kind.name(), own),
        to: (backend.group, backend.kind, namespace),
        name: backend.name,
    };
    if referrer.strict && !referrer.inputs.grants.allow(&crossing) {
        let message = format!(
            "backendRef {}/{namespace} not accessible to a {} in namespace {own:?} (missing a ReferenceGrant?)",
            backend.name,
            referrer.kind.name()
        );
        return Ok((nowhere(), Some(Refusal::new("RefNotPermitted", message))));
    }
    let domain = &referrer.inputs.mesh.domain;
    let store = referrer.inputs.store;
    let (host, found) = match (backend.group, backend.kind) {
        (X_GROUP, "XBackend") => return external(referrer, backend, namespace),
        ("", "Service") if backend.name.contains('.') => {
            let message = "service name invalid; the name of the Service must be used, not the hostname.";
            return Err(Refusal::new("InvalidDestination", message));
        }
        ("", "Service") | ("multicluster.x-k8s.io", "ServiceImport") => {
            let host = format!("{}.{namespace}.svc.{domain}", backend.name);
            (host, store.get(Kind::Service, namespace, backend.name).is_some())
        }
        ("networking.istio.io", "Hostname") => {
            if backend.namespace.is_some() {
                let message = "namespace may not be set with Hostname type";
                return Err(Refusal::new("InvalidDestination", message));
            }
            (backend.name.to_string(), is_host(referrer, backend.name, namespace))
        }
        (group, kind) => {
            let message = format!("referencing unsupported backendRef: group {group:?} kind {kind:?}");
            return Ok((nowhere(), Some(Refusal::new("InvalidKind", message))));
        }
    };
    let missing = (!found).then(|| Refusal::new("BackendNotFound", format!("backend({host}) not found")));
    let Some(port) = backend.port else {
        return Err(Refusal::new("InvalidDestination", "port is required in backendRef"));
    };
    Ok((to(&host, port), missing))
}

fn is_host(referrer: &Referrer<'_>, host: &str, namespace: &str) -> bool {
    let inputs = referrer.inputs;
    let default = &inputs.mesh.default_service_export;
    inputs.services.of_host(&Host::new(host)).any(|one| one.export_to.allows(&one.namespace, namespace, default))
}

/// An XBackend, which names a host that a ServiceEntry declares.
fn external(
    referrer: &Referrer<'_>,
    backend: Reference<'_>,
    namespace: &str,
) -> Result<(Destination, Option<Refusal>), Refusal> {
    let name = backend.name;
    let refused = |reason, message: String| Ok((nowhere(), Some(Refusal::new(reason, message))));
    let object = referrer.inputs.store.get(Kind::XBackend, namespace, name);
    let Some(Spec::XBackend(spec)) = object.map(|object| &object.spec) else {
        return refused("BackendNotFound", format!("backend({name}) not found"));
    };
    let hostname = match (&spec.backend_type, &spec.external_hostname) {
        (XBackendType::ExternalHostname, Some(external)) => external.hostname.as_str(),
        (other, _) => {
            let message = format!("backend({name}) type: expected ExternalHostname, got {other}");
            return refused("InvalidKind", message);
        }
    };
    let declared = spec.port.port;
    if let Some(port) = backend.port.filter(|port| *port != declared) {
        let message = format!("backend({name}) does not expose port {port}, expected {declared}");
        return refused("BackendNotFound", message);
    }
    let missing = !is_host(referrer, hostname, namespace);
    let missing = missing.then(|| Refusal::new("BackendNotFound", format!("backend({hostname}) not found")));
    Ok((to(hostname, declared), missing))
}

/// Backends that get a share; a single one needs no weight.
pub(super) fn weights<T>(backends: &[T], weight: impl Fn(&T) -> Option<i32>) -> Vec<(&T, u32)> {
    let share = |one: &T| u32::try_from(weight(one).unwrap_or(1)).unwrap_or_default();
    let mut with: Vec<(&T, u32)> =
        backends.iter().map(|one| (one, share(one))).filter(|(_, share)| *share > 0).collect();
    if let [only] = with.as_mut_slice() {
        only.1 = 0;
    }
    with
}
