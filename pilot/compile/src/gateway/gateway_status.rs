// SPDX-License-Identifier: Apache-2.0
//! Statuses of Gateways and ListenerSets: what became of each listener, and where the Gateway can be reached
//! (<https://gateway-api.sigs.k8s.io/reference/spec/#gatewaystatus>).

use super::Refusal;
use super::addresses::{AddressInputs, Resolved, resolve};
use super::status::{condition, condition_of};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use tiphys_api::gateway as api;
use tiphys_api::{Key, Kind, Object, Spec};
use tiphys_model::{Host, Str};

/// Annotation that says which addresses are told: `IPAddress` or `Hostname`; empty for both.
const ADDRESS_TYPE: &str = "networking.istio.io/address-type";

/// A Gateway as it was read.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub object: Arc<Object>,
    /// It is another's to look after.
    pub unmanaged: bool,
    /// The Services before its proxies.
    pub services: Vec<Host>,
    /// Addresses that are not supported.
    pub ignored: Vec<String>,
    pub listeners: Vec<SeenListener>,
    pub sets: Vec<SeenSet>,
}

/// A ListenerSet of a Gateway.
#[derive(Clone, Debug)]
pub(super) struct SeenSet {
    pub object: Arc<Object>,
    /// The Gateway does not let it add listeners.
    pub refused: bool,
    pub listeners: Vec<SeenListener>,
}

/// A listener as it was read.
#[derive(Clone, Debug)]
pub(super) struct SeenListener {
    pub name: String,
    pub port: i32,
    /// How routes refer to it.
    pub internal: Str,
    /// Kinds of routes that it takes.
    pub kinds: Vec<Kind>,
    /// Kinds that it asks for are not supported.
    pub odd_kinds: bool,
    /// It has no TLS settings, which its protocol needs.
    pub bare: bool,
    pub wrong: Vec<Refusal>,
    /// Another listener has its place.
    pub conflict: Option<&'static str>,
}

/// Number of routes of each listener.
pub(super) type Attached = BTreeMap<Str, usize>;

/// The statuses of all Gateways and ListenerSets.
pub(super) fn statuses(all: &[Seen], attached: &Attached, inputs: AddressInputs<'_>) -> BTreeMap<Key, Value> {
    let mut statuses = BTreeMap::new();
    for gateway in all {
        statuses.insert(gateway.object.key(), gateway.status(attached, inputs));
        let sets = gateway.sets.iter().map(|set| (set.object.key(), gateway.status_of_set(set, attached, inputs)));
        statuses.extend(sets);
    }
    statuses
}

impl SeenListener {
    fn is_valid(&self) -> bool {
        self.wrong.is_empty() && self.conflict.is_none()
    }

    /// Whether its port is to be reached.
    fn is_server(&self) -> bool {
        self.conflict.is_none() && !self.bare
    }

    fn status(&self, generation: i64, attached: &Attached) -> Value {
        let kinds = self.kinds.iter().map(|kind| json!({"group": kind.group(), "kind": kind.name()}));
        json!({
            "name": self.name,
            "attachedRoutes": attached.get(&self.internal).copied().unwrap_or_default(),
            "supportedKinds": kinds.collect::<Vec<_>>(),
            "conditions": self.conditions(generation),
        })
    }

    fn conditions(&self, generation: i64) -> Vec<Value> {
        const FINE: &str = "No errors found";
        if let Some(reason) = self.conflict {
            let message = "Listener has a conflict with another listener attached to the same Gateway";
            return [("Accepted", "False"), ("Conflicted", "True"), ("Programmed", "False")]
                .map(|(kind, status)| condition_of(kind, status, (reason, message), generation))
                .into();
        }
        let (mut accepted, mut programmed, mut resolved) = (None, None, None);
        for refusal in &self.wrong {
            let bad_tls = Refusal::new("Invalid", "Bad TLS configuration");
            match refusal.reason {
                "UnsupportedProtocol" => accepted = Some(refusal.clone()),
                reason => {
                    let authorities =
                        matches!(reason, "InvalidCACertificateRef" | "InvalidCACertificateKind" | "RefNotPermitted");
                    if authorities && accepted.is_none() {
                        accepted = Some(Refusal::new("NoValidCACertificate", refusal.message.clone()));
                    }
                    resolved = Some(refusal.clone());
                    programmed = Some(bad_tls);
                }
            }
            if self.bare {
                programmed = Some(Refusal::new("Invalid", "Bad TLS configuration"));
            }
        }
        if self.odd_kinds {
            resolved = Some(Refusal::new("InvalidRouteKinds", "Invalid route kinds"));
        }
        vec![
            condition("Accepted", ("Accepted", FINE), accepted.as_ref(), generation),
            condition_of("Conflicted", "False", ("NoConflicts", FINE), generation),
            condition("Programmed", ("Programmed", FINE), programmed.as_ref(), generation),
            condition("ResolvedRefs", ("ResolvedRefs", FINE), resolved.as_ref(), generation),
        ]
    }
}

impl Seen {
    fn spec(&self) -> Option<&api::Gateway> {
        match &self.object.spec {
            Spec::Gateway(spec) => Some(spec),
            _ => None,
        }
    }

    /// What is wrong with its addresses.
    fn refused(&self) -> Option<Refusal> {
        let message = || format!("only Hostname is supported, ignoring [{}]", self.ignored.join(" "));
        (!self.ignored.is_empty()).then(|| Refusal::new("UnsupportedAddress", message()))
    }

    fn resolve(&self, listeners: &[&SeenListener], inputs: AddressInputs<'_>) -> Resolved {
        let ports = listeners.iter().filter(|one| one.is_server()).filter_map(|one| u32::try_from(one.port).ok());
        resolve(inputs, &self.services, &self.object.meta.namespace, &ports.collect::<BTreeSet<u32>>())
    }

    fn status(&self, attached: &Attached, inputs: AddressInputs<'_>) -> Value {
        let generation = self.object.meta.generation;
        if self.unmanaged {
            return self.status_of_unmanaged(generation);
        }
        let sets: Vec<&SeenSet> =
            self.sets.iter().filter(|set| set.listeners.iter().any(SeenListener::is_valid)).collect();
        let of_sets = sets.iter().flat_map(|set| &set.listeners).filter(|one| one.is_valid());
        let resolved = self.resolve(&self.listeners.iter().chain(of_sets).collect::<Vec<_>>(), inputs);
        let mut conditions = vec![
            self.accepted(generation),
            self.programmed(&resolved, generation),
            condition("ResolvedRefs", ("ResolvedRefs", "All references resolved"), None, generation),
        ];
        if self.is_insecure() {
            let message = "Gateway is operating in AllowInsecureFallback mode for frontend validation";
            let odd =
                condition_of("InsecureFrontendValidationMode", "True", ("ConfigurationChanged", message), generation);
            conditions.insert(1, odd);
        }
        let listeners: Vec<Value> = self.listeners.iter().map(|one| one.status(generation, attached)).collect();
        let mut status = json!({"conditions": conditions, "listeners": listeners});
        let addresses = self.addresses(&resolved);
        // Once there are addresses, they stay while there are none to tell.
        if !addresses.is_empty() {
            status["addresses"] = addresses.into();
        }
        if !sets.is_empty() {
            status["attachedListenerSets"] = sets.len().into();
        }
        status
    }

    fn status_of_unmanaged(&self, generation: i64) -> Value {
        let addresses = self.spec().map(|spec| tiphys_api::json::to_value(&spec.addresses).unwrap_or_default());
        json!({
            "addresses": addresses.unwrap_or_default(),
            "conditions": [
                condition("Accepted", ("Accepted", "Resource accepted"), None, generation),
                condition("Programmed", ("Programmed", "This Gateway is remote; Istio will not program it"), None, generation),
            ],
        })
    }

    fn accepted(&self, generation: i64) -> Value {
        let valid = self.listeners.iter().filter(|one| one.is_valid()).count();
        let refused = self.refused();
        if refused.is_none() && valid > 0 && valid < self.listeners.len() {
            let message = "One or more of the Gateway's listeners are invalid";
            return condition("Accepted", ("ListenersNotValid", message), None, generation);
        }
        let none_valid = || Refusal::new("ListenersNotValid", "None of the Gateway's listeners are valid");
        let refused = refused.or_else(|| (valid == 0 && !self.listeners.is_empty()).then(none_valid));
        condition("Accepted", ("Accepted", "Resource accepted"), refused.as_ref(), generation)
    }

    fn programmed(&self, resolved: &Resolved, generation: i64) -> Value {
        let Resolved { internal, warnings, unusable, .. } = resolved;
        let services = join(internal);
        let good = match internal.is_empty() {
            true => "Resource programmed".to_string(),
            false => format!("Resource programmed, assigned to service(s) {services}"),
        };
        let reason = if *unusable { "AddressNotUsable" } else { "AddressNotAssigned" };
        let refused = match (self.services.is_empty(), warnings.is_empty(), internal.is_empty()) {
            (true, _, _) => Some(Refusal::new("UnsupportedAddress", "Failed to assign to any requested addresses")),
            (_, true, _) => None,
            (_, _, true) => {
                let message = format!("Failed to assign to any requested addresses: {}", warnings.join("; "));
                Some(Refusal::new(reason, message))
            }
            (_, _, false) => {
                let message = format!(
                    "Assigned to service(s) {services}, but failed to assign to all requested addresses: {}",
                    warnings.join("; ")
                );
                Some(Refusal::new(reason, message))
            }
        };
        condition("Programmed", ("Programmed", &good), refused.as_ref(), generation)
    }

    fn is_insecure(&self) -> bool {
        let frontend = self.spec().and_then(|spec| spec.tls.as_ref()).and_then(|tls| tls.frontend.as_ref());
        let Some(frontend) = frontend else { return false };
        let all = frontend.default.iter().chain(frontend.per_port.iter().filter_map(|one| one.tls.as_ref()));
        all.filter_map(|tls| tls.validation.as_ref())
            .any(|validation| validation.mode == Some(api::gateway::FrontendValidationMode::AllowInsecureFallback))
    }

    fn addresses(&self, resolved: &Resolved) -> Vec<Value> {
        let mut told: Vec<&str> = resolved.external.iter().map(String::as_str).collect();
        if told.is_empty() {
            let kind = self.object.meta.annotations.get(ADDRESS_TYPE).map_or("Hostname", String::as_str);
            if kind != "Hostname" {
                told.extend(resolved.internal_ips.iter().map(String::as_str));
            }
            if kind != "IPAddress" {
                let hosts = resolved.internal.iter().filter_map(|one| one.rsplit_once(':')).map(|(host, _)| host);
                for host in hosts.filter(|host| !resolved.pending.contains(*host)) {
                    if !told.contains(&host) {
                        told.push(host);
                    }
                }
            }
        }
        let kind = |address: &str| if address.parse::<IpAddr>().is_ok() { "IPAddress" } else { "Hostname" };
        told.into_iter().map(|address| json!({"type": kind(address), "value": address})).collect()
    }

    fn status_of_set(&self, set: &SeenSet, attached: &Attached, inputs: AddressInputs<'_>) -> Value {
        let generation = set.object.meta.generation;
        if set.refused {
            let message = "The parent Gateway does not allow this reference; check the 'spec.allowedRoutes'";
            let refused = Refusal::new("NotAllowed", message);
            let told = ["Accepted", "Programmed"].map(|kind| condition(kind, ("", ""), Some(&refused), generation));
            return json!({"conditions": told, "listeners": []});
        }
        let resolved = self.resolve(&set.listeners.iter().collect::<Vec<_>>(), inputs);
        let none_valid = Refusal::new("ListenersNotValid", "None of the ListenerSet's listeners are valid");
        // Where no address can be used, the listeners are not looked at.
        let hard = self.services.is_empty() && !self.ignored.is_empty();
        let none_valid = (!hard && !set.listeners.iter().any(SeenListener::is_valid)).then_some(none_valid);
        let parent = self
            .refused()
            .map(|refused| Refusal::new(refused.reason, format!("Parent not accepted: {}", refused.message)));
        let programmed = match &none_valid {
            Some(refused) => condition("Programmed", ("", ""), Some(refused), generation),
            None => self.programmed(&resolved, generation),
        };
        let refused = parent.or(none_valid);
        let accepted = condition("Accepted", ("Accepted", "Resource accepted"), refused.as_ref(), generation);
        let listeners = set.listeners.iter().filter(|_| !hard).map(|one| one.status(generation, attached));
        json!({"conditions": [accepted, programmed], "listeners": listeners.collect::<Vec<_>>()})
    }
}

/// `a, b, and c`.
fn join(all: &BTreeSet<String>) -> String {
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    match all.as_slice() {
        [] => String::new(),
        [one] => (*one).to_string(),
        [one, two] => format!("{one} and {two}"),
        [more @ .., last] => format!("{}, and {last}", more.join(", ")),
    }
}
