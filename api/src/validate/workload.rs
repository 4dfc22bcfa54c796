// SPDX-License-Identifier: Apache-2.0
//! WorkloadEntry, also as endpoint of a ServiceEntry, and WorkloadGroup.

use std::collections::BTreeSet;

use super::report::{At, Report};
use super::rules;
use crate::istio::networking::workload_group::ReadinessProbe;
use crate::istio::networking::{WorkloadEntry, WorkloadGroup};

/// What a ServiceEntry asks of its endpoints.
pub(super) struct Endpoint<'a> {
    /// Names of the service's ports.
    pub(super) ports: &'a BTreeSet<&'a str>,
    /// DNS names may be addresses.
    pub(super) names: bool,
}

pub(super) fn entry(report: &mut Report, at: &At<'_>, entry: &WorkloadEntry, endpoint: Option<&Endpoint<'_>>) {
    let address = at.field("address");
    let names = endpoint.is_none_or(|endpoint| endpoint.names);
    if entry.address.is_empty() {
        if entry.network.is_empty() {
            report.error(&address, "must be set, or network for an endpoint behind another network's gateway");
        } else if endpoint.is_none() {
            report.warning(&address, format!("is not set: the gateway of the network {:?} is used", entry.network));
        }
    } else if let Some(path) = entry.address.strip_prefix("unix://") {
        report.check(&address, rules::unix_address(path));
        if !entry.ports.is_empty() {
            report.error(&at.field("ports"), "must be empty for a Unix socket");
        }
        if endpoint.is_some_and(|endpoint| endpoint.ports.len() != 1) {
            report.error(&address, "is a Unix socket, which needs a service with exactly one port");
        }
    } else if !rules::is_ip(&entry.address) {
        if names {
            report.check(&address, rules::fqdn(&entry.address));
        } else {
            report.error(&address, format!("{:?} is not an IP address", entry.address));
        }
    }
    for (name, number) in &entry.ports {
        let at = at.field("ports");
        let at = at.key(name);
        report.check(&at, rules::label(name));
        report.check(&at, rules::port(*number));
        if endpoint.is_some_and(|endpoint| !endpoint.ports.contains(name.as_str())) {
            report.error(&at, format!("{name:?} is not a port of the service"));
        }
    }
    report.check(&at.field("labels"), rules::labels(&entry.labels));
}

pub(super) fn group(report: &mut Report, at: &At<'_>, group: &WorkloadGroup) {
    if group.template.is_none() {
        report.error(&at.field("template"), "must be set");
    }
    if let Some(metadata) = &group.metadata {
        report.check(&at.field("metadata").field("labels"), rules::labels(&metadata.labels));
    }
    if let Some(probe) = &group.probe {
        self::probe(report, &at.field("probe"), probe);
    }
}

fn probe(report: &mut Report, at: &At<'_>, probe: &ReadinessProbe) {
    for (field, number) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        report.not_negative(&at.field(field), i64::from(number));
    }
    report.exactly_one(
        at,
        &[
            ("httpGet", probe.http_get.is_some()),
            ("tcpSocket", probe.tcp_socket.is_some()),
            ("exec", probe.exec.is_some()),
            ("grpc", probe.grpc.is_some()),
        ],
    );
    if let Some(http) = &probe.http_get {
        let at = at.field("httpGet");
        report.check(&at.field("port"), rules::port(http.port));
        if !["", "HTTP", "HTTPS"].contains(&http.scheme.as_str()) {
            report.error(&at.field("scheme"), format!("{:?} is neither HTTP nor HTTPS", http.scheme));
        }
        for (index, header) in http.http_headers.iter().enumerate() {
            report.check(&at.field("httpHeaders").index(index).field("name"), rules::header_name(&header.name));
        }
    }
    if let Some(tcp) = &probe.tcp_socket {
        report.check(&at.field("tcpSocket").field("port"), rules::port(tcp.port));
    }
    if let Some(grpc) = &probe.grpc {
        report.check(&at.field("grpc").field("port"), rules::port(grpc.port));
    }
    if probe.exec.as_ref().is_some_and(|exec| exec.command.is_empty()) {
        report.error(&at.field("exec").field("command"), "must be set");
    }
}
