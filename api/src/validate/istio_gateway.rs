// SPDX-License-Identifier: Apache-2.0
//! Istio's Gateway; also the hosts that Gateways and Sidecars name with a namespace.

use std::collections::BTreeSet;

use super::report::{At, Report};
use super::rules::{self, Check, Protocol};
use super::tls;
use crate::istio::networking::Gateway;
use crate::istio::networking::gateway::{Port, Server};
use crate::istio::networking::tls::{ServerTlsMode, ServerTlsSettings};
use crate::object::Meta;

pub(super) fn check(report: &mut Report, at: &At<'_>, meta: &Meta, spec: &Gateway) {
    if !rules::is_label(&meta.name) {
        report.error(&At::Root("metadata").field("name"), "must be a DNS label: no dots");
    }
    if spec.servers.is_empty() {
        report.error(&at.field("servers"), "needs at least one server");
    }
    let mut names = BTreeSet::new();
    for (index, server) in spec.servers.iter().enumerate() {
        let at = at.field("servers");
        let at = at.index(index);
        self::server(report, &at, server);
        let name = server.port.as_ref().map(|port| port.name.as_str()).filter(|name| !name.is_empty());
        if name.is_some_and(|name| !names.insert(name)) {
            report.error(&at.field("port").field("name"), format!("{:?} is there twice", name.unwrap_or_default()));
        }
    }
}

fn server(report: &mut Report, at: &At<'_>, server: &Server) {
    if server.hosts.is_empty() {
        report.error(&at.field("hosts"), "needs at least one host");
    }
    for (index, host) in server.hosts.iter().enumerate() {
        report.check(&at.field("hosts").index(index), namespaced_host(host, Owner::Gateway));
    }
    let Some(port) = &server.port else {
        report.error(&at.field("port"), "must be set");
        return;
    };
    self::port(report, &at.field("port"), port, &server.bind);
    bind(report, at, port.number, &server.bind);
    let protocol = rules::protocol(&port.protocol);
    let Some(settings) = &server.tls else {
        if protocol.is_tls() {
            report.error(&at.field("tls"), format!("must be set for {}", port.protocol));
        }
        return;
    };
    let at = at.field("tls");
    tls::server(report, &at, settings);
    if protocol.is_http() && has_certificates(settings) {
        report.error(&at, "does not go with plain HTTP: use the protocol HTTPS");
    } else if !protocol.is_http() && !protocol.is_tls() && protocol != Protocol::Unknown {
        report.error(&at, "needs the protocol HTTPS or TLS");
    }
    if settings.https_redirect && !protocol.is_http() {
        report.warning(&at.field("httpsRedirect"), "has an effect on HTTP only");
    }
}

fn has_certificates(tls: &ServerTlsSettings) -> bool {
    let files = [&tls.server_certificate, &tls.private_key, &tls.ca_certificates];
    !matches!(tls.mode, ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough)
        || files.iter().any(|file| !file.is_empty())
}

fn port(report: &mut Report, at: &At<'_>, port: &Port, bind: &str) {
    if rules::protocol(&port.protocol) == Protocol::Unknown {
        let message = format!(
            "{:?} is not a protocol: use one of HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP, MONGO, REDIS, MYSQL",
            port.protocol
        );
        report.error(&at.field("protocol"), message);
    }
    if port.number > 0 || !bind.starts_with("unix://") {
        report.check(&at.field("number"), rules::port(port.number));
    }
    if port.target_port > 0 {
        report.error(&at.field("targetPort"), "has no effect in a Gateway: remove it");
    }
    report.present(&at.field("name"), &port.name);
}

/// An address to listen on, or a Unix socket, which has no port.
fn bind(report: &mut Report, at: &At<'_>, number: u32, bind: &str) {
    if let Some(path) = bind.strip_prefix("unix://") {
        report.check(&at.field("bind"), rules::unix_address(path));
        if number != 0 {
            report.error(&at.field("port").field("number"), "must be 0 for a Unix socket");
        }
    } else if !bind.is_empty() {
        report.check(&at.field("bind"), rules::ip(bind));
    }
}

/// Whose hosts are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A Gateway: the namespace may be left out, addresses are hosts too.
    Gateway,
    /// A Sidecar: the namespace may be excluded by `~`.
    Sidecar,
}

/// A host after a namespace and a slash.
pub(super) fn namespaced_host(host: &str, owner: Owner) -> Check {
    let Some((namespace, name)) = host.split_once('/') else {
        return match owner {
            Owner::Gateway => host_part(host, owner),
            Owner::Sidecar => Err(format!("{host:?} must be NAMESPACE/HOST")),
        };
    };
    let namespace = if owner == Owner::Sidecar { namespace.strip_prefix('~').unwrap_or(namespace) } else { namespace };
    let excluded = owner == Owner::Sidecar && host.starts_with("~/");
    if !(excluded || ["*", "."].contains(&namespace) || rules::is_label(namespace)) {
        return Err(format!("{host:?}: {namespace:?} is not a namespace"));
    }
    host_part(name, owner)
}

fn host_part(host: &str, owner: Owner) -> Check {
    if owner == Owner::Gateway && rules::is_ip(host) {
        return Ok(());
    }
    if host != "*" && !host.contains('.') {
        return Err(format!("{host:?} must be a full DNS name: short names do not work here"));
    }
    rules::wildcard_domain(host)?;
    rules::whole_wildcard(host)
}
