// SPDX-License-Identifier: Apache-2.0
//! Endpoints: addresses of workloads that answer for a service.

use crate::{Labels, Str, name};
use serde::Serialize;
use std::collections::BTreeSet;

/// Whether an endpoint may be sent requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Health {
    /// Nobody tells: used as if ready (endpoints that a ServiceEntry or a WorkloadEntry states).
    #[default]
    Unknown,
    /// Ready.
    Healthy,
    /// Not ready.
    Unhealthy,
    /// Terminating: existing sessions only.
    Draining,
    /// Terminating and no longer serving.
    Terminating,
}

/// Region, zone and subzone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Locality {
    /// Region, e.g. `eu-west`.
    pub region: Str,
    /// Zone of the region.
    pub zone: Str,
    /// Subzone of the zone.
    pub subzone: Str,
}

impl Locality {
    /// Reads `region/zone/subzone`; what is absent is empty.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(Str::from);
        Self {
            region: parts.next().unwrap_or_default(),
            zone: parts.next().unwrap_or_default(),
            subzone: parts.next().unwrap_or_default(),
        }
    }

    /// Whether a pattern `region/zone/subzone` (`*` and absent parts mean any) means this locality.
    pub fn matches(&self, pattern: &str) -> bool {
        let mut parts = pattern.splitn(3, '/');
        let fits =
            |part: &str, own: &str, may_be_empty: bool| part == "*" || (may_be_empty && part.is_empty()) || part == own;
        fits(parts.next().unwrap_or_default(), &self.region, false)
            && fits(parts.next().unwrap_or_default(), &self.zone, true)
            && fits(parts.next().unwrap_or_default(), &self.subzone, true)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.subzone.is_empty()
    }
}

impl std::fmt::Display for Locality {
    /// `region/zone/subzone`, ending at the last part that is known.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.region)?;
        if !self.zone.is_empty() || !self.subzone.is_empty() {
            write!(f, "/{}", self.zone)?;
        }
        if !self.subzone.is_empty() {
            write!(f, "/{}", self.subzone)?;
        }
        Ok(())
    }
}

/// One address and port that answers for one port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Endpoint {
    /// Addresses: IPs (more than one when dual stack), a DNS name, or the path of a Unix socket with port 0.
    pub addresses: Vec<Str>,
    /// Port of the workload.
    pub port: u32,
    /// Name of the service port that it answers for.
    pub port_name: Str,
    /// Number of the service port for which it was listed, when endpoints are listed per port (ServiceEntry).
    pub service_port: u32,
    /// Labels of the workload.
    pub labels: Labels,
    /// Where it runs.
    pub locality: Locality,
    /// Weight relative to the others; 0 = not said, counts as 1.
    pub weight: u32,
    /// Identity `spiffe://DOMAIN/ns/NS/sa/SA`; empty when unknown.
    pub identity: Str,
    /// Network that it is in.
    pub network: Str,
    /// Cluster that it is in.
    pub cluster: Str,
    /// `istio` when it accepts mutual TLS, `disabled` when not, else as labelled.
    pub tls_mode: Str,
    /// Name of the workload (Deployment, WorkloadEntry, ...).
    pub workload: Str,
    /// Namespace of the workload.
    pub namespace: Str,
    /// Own host name (hostname.subdomain of a StatefulSet's pod).
    pub hostname: Str,
    /// Subdomain of the pod.
    pub subdomain: Str,
    /// Node that it runs on.
    pub node: Str,
    /// Readiness.
    pub health: Health,
    /// The workload can take HBONE.
    pub hbone: bool,
}

impl Endpoint {
    /// The first address.
    pub fn address(&self) -> &str {
        self.addresses.first().map_or("", |address| address)
    }

    /// Whether it accepts Istio's mutual TLS.
    pub fn takes_mtls(&self) -> bool {
        &*self.tls_mode == "istio"
    }

    /// A label's value, empty when it is absent.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", |value| value)
    }

    /// `workload;namespace;canonical name;canonical revision;cluster`, as telemetry reads it from endpoint metadata.
    pub fn telemetry_key(&self) -> String {
        let (canonical, revision) = canonical_service(&self.labels, &self.workload);
        // The default is not worth its bytes.
        let revision = if revision == "latest" { "" } else { revision };
        format!("{};{};{canonical};{revision};{}", self.workload, self.namespace, self.cluster)
    }
}

/// Canonical service and revision of labels, the workload's name standing in when no label says it.
pub fn canonical_service<'a>(labels: &'a Labels, workload: &'a str) -> (&'a str, &'a str) {
    let first =
        |keys: &[&str]| keys.iter().find_map(|key| labels.get(*key).map(|v| &**v).filter(|value| !value.is_empty()));
    let service = first(&[name::CANONICAL_NAME, "app.kubernetes.io/name", "app"]).unwrap_or(workload);
    let revision = first(&[name::CANONICAL_REVISION, "app.kubernetes.io/version", "version"]).unwrap_or("latest");
    (service, revision)
}

/// All endpoints of one service, of all ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ServiceEndpoints {
    /// Sorted by port name, then address.
    pub endpoints: Vec<Endpoint>,
}

impl ServiceEndpoints {
    /// The endpoints of a service port.
    pub fn of_port<'a>(&'a self, port: &'a crate::Port) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.iter().filter(move |endpoint| {
            endpoint.port_name == port.name && (endpoint.service_port == 0 || endpoint.service_port == port.number)
        })
    }

    /// The identities of all endpoints.
    pub fn identities(&self) -> BTreeSet<Str> {
        self.endpoints.iter().filter(|e| !e.identity.is_empty()).map(|e| e.identity.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localities_match_patterns() {
        let locality = Locality::parse("us-east/zone-1/rack");
        assert!(
            ["*", "us-east", "us-east/*", "us-east/zone-1/*", "us-east/*/rack"].iter().all(|p| locality.matches(p))
        );
        assert!(!locality.matches("us-west/*") && !locality.matches("us-east/zone-2"));
        assert!(!locality.matches(""));
    }

    #[test]
    fn the_telemetry_key_leaves_the_default_revision_out() {
        let labels = Labels::from([("app".into(), "a".into())]);
        let endpoint = Endpoint {
            workload: "w".into(),
            namespace: "ns".into(),
            cluster: "c".into(),
            labels,
            ..Endpoint::default()
        };
        assert_eq!(endpoint.telemetry_key(), "w;ns;a;;c");
    }
}
