// SPDX-License-Identifier: Apache-2.0
//! Which Secrets and ConfigMaps the gateways use: a source that watches them one by one watches these, and no others.
//!
//! A credential by name only lies in the namespace of the proxy that uses it: that of the workloads which a Gateway selects. Those of the
//! Gateway API are named with their namespace, as far as a ReferenceGrant allows it.

use crate::Workloads;
use std::collections::BTreeSet;
use tiphys_api::{Key, Kind};
use tiphys_model::{Attachment, DestinationRule, Gateway, Labels, Marked, ServerTls, ServerTlsMode, Str, labels_match};

/// What is looked at.
pub(crate) struct WantedInputs<'a> {
    pub gateways: &'a [Marked<Gateway>],
    pub rules: &'a [Marked<DestinationRule>],
    pub workloads: &'a Workloads,
    /// What the Gateway API refers to.
    pub referred: &'a BTreeSet<Key>,
}

/// The Secrets and ConfigMaps that are wanted.
#[derive(Debug, Default)]
pub(crate) struct WantedTable {
    keys: BTreeSet<Key>,
    /// Who is selected by Gateways that name credentials, and where such are.
    selectors: BTreeSet<Labels>,
    namespaces: BTreeSet<Str>,
}

impl WantedTable {
    /// What is wanted.
    pub fn keys(&self) -> &BTreeSet<Key> {
        &self.keys
    }

    /// Whether a workload is a gateway in a namespace that had none.
    pub fn is_news(&self, namespace: &Str, labels: &Labels) -> bool {
        !self.namespaces.contains(namespace) && self.selectors.iter().any(|selector| labels_match(selector, labels))
    }

    /// Looks anew.
    pub fn update(&mut self, inputs: &WantedInputs<'_>) {
        let mut next = Self { keys: inputs.referred.clone(), ..Self::default() };
        let clients: BTreeSet<&Str> = inputs.rules.iter().flat_map(|rule| names(rule)).collect();
        for gateway in inputs.gateways {
            let servers: Vec<&ServerTls> = gateway.servers.iter().filter_map(|server| server.tls.as_ref()).collect();
            let credentials: BTreeSet<String> = servers.iter().flat_map(|tls| of_server(tls)).collect();
            let Attachment::Labels(selector) = &gateway.attachment else { continue };
            if credentials.is_empty() && clients.is_empty() {
                continue;
            }
            for namespace in next.places(gateway, selector, inputs.workloads) {
                credentials.iter().for_each(|name| next.add(name, &namespace));
            }
        }
        for rule in inputs.rules {
            next.namespaces.extend(names(rule).next().map(|_| rule.namespace.clone()));
        }
        for namespace in next.namespaces.clone() {
            for name in &clients {
                next.add(name, &namespace);
                next.add(&format!("{name}{AUTHORITIES}"), &namespace);
            }
        }
        *self = next;
    }

    /// The namespaces of the workloads that a Gateway selects.
    fn places(&mut self, gateway: &Gateway, selector: &Labels, workloads: &Workloads) -> BTreeSet<Str> {
        let mut places = BTreeSet::new();
        if selector.is_empty() {
            // All gateways, wherever they are: those of its own namespace are the ones that can be known.
            places.insert(gateway.namespace.clone());
        } else {
            self.selectors.insert(selector.clone());
            let selected = workloads.all().filter(|workload| labels_match(selector, &workload.labels));
            places.extend(selected.map(|workload| workload.namespace.clone()));
        }
        self.namespaces.extend(places.iter().cloned());
        places
    }

    /// A credential by the name that SDS serves it by.
    fn add(&mut self, name: &str, namespace: &str) {
        let (namespace, name) = match name.split_once("://") {
            None => (namespace, name),
            Some(("kubernetes", name)) => (namespace, name),
            // Others are no Secrets, or are among those that the Gateway API refers to.
            Some(_) => return,
        };
        self.keys.insert(Key { kind: Kind::Secret, namespace: namespace.to_string(), name: name.to_string() });
    }
}

/// What Secrets of authorities are called after the credential that they belong to.
const AUTHORITIES: &str = "-cacert";

/// The Secrets that a server may need: authorities have one of their own, or stand in that of the certificate.
fn of_server(tls: &ServerTls) -> Vec<String> {
    let mut names: Vec<String> = tls.credentials.iter().map(ToString::to_string).collect();
    if matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) {
        names.extend(tls.credentials.first().map(|name| format!("{name}{AUTHORITIES}")));
    }
    if !tls.ca_credential.is_empty() {
        names.extend([tls.ca_credential.to_string(), format!("{}{AUTHORITIES}", tls.ca_credential)]);
    }
    names
}

/// The credentials that clients of a host show.
fn names(rule: &DestinationRule) -> impl Iterator<Item = &Str> {
    let policies = rule.policy.iter().chain(rule.subsets.iter().filter_map(|subset| subset.policy.as_ref()));
    let settings =
        policies.flat_map(|policy| policy.tls.iter().chain(policy.ports.values().filter_map(|port| port.tls.as_ref())));
    settings.map(|tls| &tls.credential_name).filter(|name| !name.is_empty())
}
