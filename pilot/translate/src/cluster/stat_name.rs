// SPDX-License-Identifier: Apache-2.0
//! Names of statistics, by the patterns of MeshConfig's inboundClusterStatName and outboundClusterStatName.

use tiphys_model::{Port, Registry, Service};

/// Ends a name in such a way that Envoy's statistics tell where it ends.
pub(super) fn delimited(name: &str) -> String {
    format!("{name};")
}

/// The names by which a destination goes.
pub(super) struct Names<'a> {
    host: &'a str,
    short: String,
    name: &'a str,
}

impl<'a> Names<'a> {
    /// The names of a service: those of Kubernetes have short ones.
    pub(super) fn of(service: &'a Service) -> Self {
        let host = service.host.as_str();
        if service.registry == Registry::Kubernetes {
            Self { host, short: format!("{}.{}", service.name, service.namespace), name: &service.name }
        } else {
            Self::of_host(host)
        }
    }

    /// A host that is no service.
    pub(super) fn of_host(host: &'a str) -> Self {
        Self { host, short: host.to_owned(), name: host }
    }

    /// Fills a pattern. `target` is the port of the workload, 0 where it has no single one.
    pub(super) fn fill(&self, pattern: &str, subset: &str, port: &Port, target: u32) -> String {
        pattern
            .replace("%SERVICE%", &self.short)
            .replace("%SERVICE_NAME%", self.name)
            .replace("%SERVICE_FQDN%", self.host)
            .replace("%SUBSET_NAME%", subset)
            .replace("%TARGET_PORT%", &target.to_string())
            .replace("%SERVICE_PORT%", &port.number.to_string())
            .replace("%SERVICE_PORT_NAME%", &port.name)
    }
}
