// SPDX-License-Identifier: Apache-2.0
//! Where a Gateway can be reached: the Services before its proxies, as far as these have endpoints for its ports.

use crate::{Endpoints, Services, Store};
use std::collections::BTreeSet;
use tiphys_api::Kind;
use tiphys_model::{Host, Marked, Service};

/// The label of what was deployed for a Gateway.
const MANAGED: &str = "gateway.istio.io/managed";

/// What addresses are looked up in.
#[derive(Clone, Copy)]
pub struct AddressInputs<'a> {
    /// The objects in force.
    pub store: &'a Store,
    /// The services.
    pub services: &'a Services,
    /// Their endpoints.
    pub endpoints: &'a Endpoints,
}

/// Where a Gateway can be reached, each list sorted.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// `host:port` in the cluster.
    pub internal: BTreeSet<String>,
    /// Addresses in the cluster.
    pub internal_ips: BTreeSet<String>,
    /// Addresses outside of it.
    pub external: BTreeSet<String>,
    /// Hosts whose load balancer has no address yet.
    pub pending: BTreeSet<String>,
    /// What does not work.
    pub warnings: Vec<String>,
    /// Something is wrong that time alone does not mend.
    pub unusable: bool,
}

/// Looks up the Services of a Gateway's namespace for the ports of its listeners.
pub(super) fn resolve(inputs: AddressInputs<'_>, hosts: &[Host], namespace: &str, ports: &BTreeSet<u32>) -> Resolved {
    let mut found = Resolved::default();
    for host in hosts {
        match inputs.services.get(host, namespace) {
            Some(service) => ports.iter().for_each(|port| found.port(inputs, service, *port)),
            None => found.unknown(inputs, host, namespace),
        }
    }
    found.warnings.sort();
    found
}

impl Resolved {
    fn unknown(&mut self, inputs: AddressInputs<'_>, host: &Host, namespace: &str) {
        let elsewhere: BTreeSet<String> =
            inputs.services.of_host(host).map(|service| format!("{:?}", &*service.namespace)).collect();
        let elsewhere: Vec<String> = elsewhere.into_iter().collect();
        let host = host.as_str();
        self.warnings.push(match elsewhere.is_empty() {
            true => format!("hostname {host:?} not found"),
            false => format!(
                "hostname {host:?} not found in namespace {namespace:?}, but it was found in namespace(s) {}",
                elsewhere.join(", ")
            ),
        });
        self.unusable = true;
    }

    fn port(&mut self, inputs: AddressInputs<'_>, service: &Marked<Service>, port: u32) {
        let host = service.host.as_str();
        let endpoints = inputs.endpoints.of(service).map(|all| all.endpoints.as_slice()).unwrap_or_default();
        let own = service.ports.iter().find(|one| one.number == port);
        if own.is_some_and(|own| endpoints.iter().any(|one| one.port_name == own.name)) {
            self.internal.insert(format!("{host}:{port}"));
            self.internal_ips.extend(service.addresses.iter().map(ToString::to_string));
            if !service.external_addresses.is_empty() {
                self.external.extend(service.external_addresses.iter().map(ToString::to_string));
            } else if &*service.kind == "LoadBalancer" && self.pending.insert(host.to_string()) {
                self.warnings.push(format!("address pending for hostname {host:?}"));
            }
            return;
        }
        if endpoints.is_empty() {
            self.warnings.push(format!("no instances found for hostname {host:?}"));
            return;
        }
        let behind = endpoints.iter().filter(|one| one.port == port);
        let meant: BTreeSet<String> = behind
            .filter_map(|one| service.ports.iter().find(|own| own.name == one.port_name))
            .map(|own| own.number.to_string())
            .collect();
        if !meant.is_empty() {
            let meant: Vec<String> = meant.into_iter().collect();
            self.warnings.push(format!(
                "port {port} not found for hostname {host:?} (hint: the service port should be specified, not the workload port. Did you mean one of these ports: [{}]?)",
                meant.join(" ")
            ));
            self.unusable = true;
            return;
        }
        let object = inputs.store.get(Kind::Service, &service.namespace, &service.name);
        let managed = object.is_some_and(|object| object.meta.labels.contains_key(MANAGED));
        // What was deployed for the Gateway has the port soon.
        if !managed || own.is_none() {
            self.warnings.push(format!("port {port} not found for hostname {host:?}"));
            self.unusable = true;
        }
    }
}
