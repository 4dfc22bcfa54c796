// SPDX-License-Identifier: Apache-2.0
//! ServiceEntry: hosts, addresses, ports, and what each way of finding endpoints asks for.

use std::collections::BTreeSet;

use super::report::{At, Report};
use super::rules::{self, Protocol};
use super::selector::{self, Export};
use super::workload::{self, Endpoint};
use crate::istio::networking::ServiceEntry;
use crate::istio::networking::service_entry::{Location, Resolution, ServicePort};
use crate::names::label;
use crate::object::Meta;

pub(super) fn check(report: &mut Report, at: &At<'_>, meta: &Meta, spec: &ServiceEntry) {
    selector::network_workloads(report, at, spec.workload_selector.as_ref());
    report.at_most_one(
        at,
        &[("workloadSelector", spec.workload_selector.is_some()), ("endpoints", !spec.endpoints.is_empty())],
    );
    hosts(report, at, spec);
    for (index, address) in spec.addresses.iter().enumerate() {
        let at = at.field("addresses");
        let at = at.index(index);
        report.check(&at, rules::subnet(address));
        if address.contains('/') && !matches!(spec.resolution, Resolution::None | Resolution::Static) {
            report
                .error(&at, format!("a CIDR does not go with the resolution {}: use NONE or STATIC", spec.resolution));
        }
    }
    ports(report, at, spec);
    let names: BTreeSet<&str> = spec.ports.iter().map(|port| port.name.as_str()).collect();
    match spec.resolution {
        Resolution::None => {
            if !spec.endpoints.is_empty() {
                report.error(&at.field("endpoints"), "must be empty for the resolution NONE");
            }
            if spec.workload_selector.is_some() {
                report.warning(&at.field("workloadSelector"), "has no effect with the resolution NONE");
            }
        }
        Resolution::Static => endpoints(report, at, spec, &Endpoint { ports: &names, names: false }),
        Resolution::Dns | Resolution::DnsRoundRobin => dns(report, at, spec, &Endpoint { ports: &names, names: true }),
        Resolution::DynamicDns => dynamic(report, at, meta, spec),
        Resolution::Unknown(_) => {}
    }
    if spec.resolution != Resolution::None && spec.hosts.len() > 1 {
        for (index, port) in spec.ports.iter().enumerate() {
            let protocol = rules::protocol(&port.protocol);
            if !protocol.is_http() && !protocol.is_tls() {
                let at = at.field("ports");
                report.error(
                    &at.index(index).field("protocol"),
                    "several hosts need ports of HTTP or TLS, which name the host",
                );
            }
        }
    }
    selector::export_to(report, at, &Export { namespace: &meta.namespace, export_to: &spec.export_to, nobody: true });
}

fn hosts(report: &mut Report, at: &At<'_>, spec: &ServiceEntry) {
    if spec.hosts.is_empty() {
        report.error(&at.field("hosts"), "needs at least one host");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        let at = at.field("hosts");
        let at = at.index(index);
        if host == "*" {
            report.error(&at, "must name a service: * stands for none");
            continue;
        }
        report.check(&at, rules::wildcard_domain(host));
        if spec.resolution != Resolution::DynamicDns
            && let Err(reason) = rules::whole_wildcard(host)
        {
            report.warning(&at, reason);
        }
    }
}

fn ports(report: &mut Report, at: &At<'_>, spec: &ServiceEntry) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, ServicePort { number, protocol, name, target_port }) in spec.ports.iter().enumerate() {
        let at = at.field("ports");
        let at = at.index(index);
        report.check(&at.field("name"), rules::label(name));
        report.check(&at.field("protocol"), rules::known_protocol(protocol));
        report.check(&at.field("number"), rules::port(*number));
        if *target_port != 0 {
            report.check(&at.field("targetPort"), rules::port(*target_port));
        }
        if !names.insert(name) {
            report.error(&at.field("name"), format!("{name:?} is there twice"));
        }
        if !numbers.insert(number) {
            report.error(&at.field("number"), format!("{number} is there twice"));
        }
    }
}

fn endpoints(report: &mut Report, at: &At<'_>, spec: &ServiceEntry, context: &Endpoint<'_>) {
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        workload::entry(report, &at.field("endpoints").index(index), endpoint, Some(context));
    }
}

fn dns(report: &mut Report, at: &At<'_>, spec: &ServiceEntry, context: &Endpoint<'_>) {
    if spec.endpoints.is_empty() {
        for (index, host) in spec.hosts.iter().enumerate() {
            if rules::fqdn(host).is_err() {
                let at = at.field("hosts");
                report.error(
                    &at.index(index),
                    format!("{host:?} cannot be looked up: use a full DNS name, or set endpoints"),
                );
            }
        }
    }
    if spec.resolution == Resolution::DnsRoundRobin {
        report.items(&at.field("endpoints"), &spec.endpoints, 0, 1);
    }
    endpoints(report, at, spec, context);
    let tcp = spec.ports.iter().any(|port| rules::protocol(&port.protocol).is_tcp());
    if !spec.addresses.is_empty() && spec.hosts.len() > 1 && tcp {
        report.warning(&at.field("hosts"), "several hosts with an address and a TCP port cannot be told apart");
    }
}

fn dynamic(report: &mut Report, at: &At<'_>, meta: &Meta, spec: &ServiceEntry) {
    for (index, host) in spec.hosts.iter().enumerate() {
        if !host.starts_with('*') {
            report.error(&at.field("hosts").index(index), "the resolution DYNAMIC_DNS is for hosts with a wildcard");
        }
    }
    for (field, set) in [("addresses", !spec.addresses.is_empty()), ("endpoints", !spec.endpoints.is_empty())] {
        if set {
            report.error(&at.field(field), "must be empty for the resolution DYNAMIC_DNS");
        }
    }
    for (index, port) in spec.ports.iter().enumerate() {
        let protocol = rules::protocol(&port.protocol);
        if !(protocol == Protocol::Http || protocol == Protocol::Tls) {
            let at = at.field("ports");
            report.error(
                &at.index(index).field("protocol"),
                "the resolution DYNAMIC_DNS works with HTTP, HTTP2, GRPC and TLS",
            );
        }
    }
    let waypoint =
        meta.labels.get(label::USE_WAYPOINT).is_some_and(|name| !name.is_empty() && !name.eq_ignore_ascii_case("none"));
    if spec.location == Location::MeshInternal && waypoint {
        report.error(&at.field("location"), "MESH_INTERNAL with DYNAMIC_DNS does not work behind a waypoint");
    }
}
