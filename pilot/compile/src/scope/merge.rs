// SPDX-License-Identifier: Apache-2.0
//! One service for each host: several declarations of a host become one, or one of them wins.

use std::collections::HashMap;
use tiphys_model::{Host, Marked, Registry, Service};

/// Services by host, in the order of arrival.
#[derive(Default)]
pub(super) struct Merged {
    services: Vec<Marked<Service>>,
    by_host: HashMap<Host, usize>,
}

impl Merged {
    /// Adds a service. A Kubernetes Service takes the place of a ServiceEntry and is never merged with one; services that are alike but for
    /// their ports get the ports of both; otherwise the first stays.
    pub fn add(&mut self, service: Marked<Service>) {
        let Some(index) = self.by_host.get(&service.host).copied() else {
            self.by_host.insert(service.host.clone(), self.services.len());
            self.services.push(service);
            return;
        };
        let known = &self.services[index];
        match (known.registry, service.registry) {
            (Registry::Kubernetes, Registry::External) => {}
            (Registry::External, Registry::Kubernetes) => self.services[index] = service,
            _ if known.ports == service.ports || !alike(known, &service) => {}
            _ => {
                let mut merged = (**known).clone();
                for port in &service.ports {
                    if merged.port(port.number).is_none() {
                        merged.ports.push(port.clone());
                    }
                }
                self.services[index] = Marked::new(merged);
            }
        }
    }

    /// The services.
    pub fn into_services(self) -> Vec<Marked<Service>> {
        self.services
    }
}

fn alike(a: &Service, b: &Service) -> bool {
    a.namespace == b.namespace
        && a.resolution == b.resolution
        && a.labels == b.labels
        && a.selector == b.selector
        && a.export_to == b.export_to
}
