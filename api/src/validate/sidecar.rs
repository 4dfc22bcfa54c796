// SPDX-License-Identifier: Apache-2.0
//! Sidecar: what a sidecar serves and sees.

use std::collections::{BTreeMap, BTreeSet};

use super::istio_gateway::{Owner, namespaced_host};
use super::report::{At, Report};
use super::{destination_rule, rules, selector, tls, virtual_service};
use crate::istio::networking::Sidecar;
use crate::istio::networking::sidecar::{
    CaptureMode, IstioEgressListener, IstioIngressListener, OutboundTrafficPolicy, OutboundTrafficPolicyMode,
    SidecarPort,
};
use crate::istio::networking::tls::{ServerTlsMode, ServerTlsSettings};
use crate::object::Meta;

pub(super) fn check(report: &mut Report, at: &At<'_>, meta: &Meta, spec: &Sidecar) {
    selector::network_workloads(report, at, spec.workload_selector.as_ref());
    if spec.egress.is_empty()
        && spec.ingress.is_empty()
        && spec.outbound_traffic_policy.is_none()
        && spec.inbound_connection_pool.is_none()
    {
        report.error(
            at,
            "sets nothing: one of ingress, egress, outboundTrafficPolicy, inboundConnectionPool must be set",
        );
    }
    let mut ports = BTreeSet::new();
    for (index, listener) in spec.ingress.iter().enumerate() {
        let at = at.field("ingress");
        let at = at.index(index);
        ingress(report, &at, listener);
        if listener.port.as_ref().is_some_and(|port| !ports.insert(port.number)) {
            report.error(&at.field("port").field("number"), "is there twice");
        }
    }
    if let Some(pool) = &spec.inbound_connection_pool {
        destination_rule::connection_pool(report, &at.field("inboundConnectionPool"), pool);
    }
    let mut binds = BTreeSet::new();
    for (index, listener) in spec.egress.iter().enumerate() {
        let at = at.field("egress");
        let at = at.index(index);
        egress(report, &at, listener);
        hosts(report, &at, meta, &listener.hosts);
        match &listener.port {
            None if index + 1 < spec.egress.len() => {
                report.error(&at.field("port"), "must be set: only the last listener may be for all ports")
            }
            None => {}
            // Unix sockets have no number: their path tells them apart.
            Some(port) => {
                let bind = if port.number == 0 { listener.bind.as_str() } else { "" };
                if !binds.insert((port.number, bind)) {
                    report.error(&at.field("port").field("number"), "is there twice");
                }
            }
        }
    }
    if let Some(policy) = &spec.outbound_traffic_policy {
        outbound(report, &at.field("outboundTrafficPolicy"), policy);
    }
}

fn port(report: &mut Report, at: &At<'_>, port: &SidecarPort) {
    if !port.name.is_empty() {
        report.check(&at.field("name"), rules::label(&port.name));
    }
    report.check(&at.field("protocol"), rules::known_protocol(&port.protocol));
    if port.target_port > 0 {
        report.error(&at.field("targetPort"), "has no effect in a Sidecar: remove it");
    }
}

fn ingress(report: &mut Report, at: &At<'_>, listener: &IstioIngressListener) {
    let Some(port) = &listener.port else {
        report.error(&at.field("port"), "must be set");
        return;
    };
    self::port(report, &at.field("port"), port);
    report.check(&at.field("port").field("number"), rules::port(port.number));
    if !listener.bind.is_empty() {
        report.check(&at.field("bind"), rules::ip(&listener.bind));
    }
    if !listener.default_endpoint.is_empty() {
        report.check(&at.field("defaultEndpoint"), endpoint(&listener.default_endpoint));
    }
    let protocol = rules::protocol(&port.protocol);
    if let Some(settings) = &listener.tls {
        ingress_tls(report, &at.field("tls"), settings);
        if !protocol.is_tls() {
            report.error(&at.field("tls"), "needs the protocol HTTPS or TLS");
        }
    }
    if let Some(pool) = &listener.connection_pool {
        destination_rule::connection_pool(report, &at.field("connectionPool"), pool);
        if pool.http.is_some() && !protocol.is_http() {
            report.warning(&at.field("connectionPool").field("http"), "has no effect: the port's protocol is not HTTP");
        }
    }
}

/// Where the application listens: on this host, or a Unix socket.
fn endpoint(text: &str) -> rules::Check {
    if let Some(path) = text.strip_prefix("unix://") {
        return rules::unix_address(path);
    }
    let wrong = || format!("{text:?} must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix://PATH");
    let (host, number) = text.rsplit_once(':').ok_or_else(wrong)?;
    if !["", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"].contains(&host) {
        return Err(wrong());
    }
    rules::port(number.parse().map_err(|_| wrong())?)
}

fn ingress_tls(report: &mut Report, at: &At<'_>, settings: &ServerTlsSettings) {
    for (field, set) in [
        ("subjectAltNames", !settings.subject_alt_names.is_empty()),
        ("httpsRedirect", settings.https_redirect),
        ("credentialName", !settings.credential_name.is_empty()),
        ("credentialNames", !settings.credential_names.is_empty()),
        ("tlsCertificates", !settings.tls_certificates.is_empty()),
    ] {
        if set {
            report.error(&at.field(field), "does not work in a Sidecar");
        }
    }
    if matches!(settings.mode, ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough) {
        report.error(&at.field("mode"), format!("{} does not work in a Sidecar", settings.mode));
    }
    tls::server(report, at, settings);
}

fn egress(report: &mut Report, at: &At<'_>, listener: &IstioEgressListener) {
    let Some(port) = &listener.port else { return };
    self::port(report, &at.field("port"), port);
    if port.number != 0 {
        report.check(&at.field("port").field("number"), rules::port(port.number));
        if !listener.bind.is_empty() {
            report.check(&at.field("bind"), rules::ip(&listener.bind));
        }
        return;
    }
    match listener.bind.strip_prefix("unix://") {
        Some(path) => report.check(&at.field("bind"), rules::unix_address(path)),
        None => report.error(&at.field("bind"), "must be unix://PATH when the port's number is 0"),
    }
    if listener.capture_mode == CaptureMode::Iptables {
        report.error(&at.field("captureMode"), "must be DEFAULT or NONE for a Unix socket");
    }
}

fn hosts(report: &mut Report, at: &At<'_>, meta: &Meta, hosts: &[String]) {
    let at = at.field("hosts");
    if hosts.is_empty() {
        report.error(&at, "needs at least one host");
    }
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (index, host) in hosts.iter().enumerate() {
        let at = at.index(index);
        report.check(&at, namespaced_host(host, Owner::Sidecar));
        let Some((namespace, name)) = host.split_once('/').filter(|(namespace, _)| !namespace.starts_with('~')) else {
            continue;
        };
        let namespace = if namespace == "." { &meta.namespace } else { namespace };
        let known = seen.entry(namespace).or_default();
        if known.contains("*") || !known.insert(name) || name == "*" && known.len() > 1 {
            report.warning(&at, format!("{host:?} is there already"));
        }
    }
    if seen.get("*").is_some_and(|names| names.contains("*")) && seen.len() > 1 {
        report.warning(&at, "*/* stands for all hosts: the others have no effect");
    }
}

fn outbound(report: &mut Report, at: &At<'_>, policy: &OutboundTrafficPolicy) {
    let Some(proxy) = &policy.egress_proxy else { return };
    let at = at.field("egressProxy");
    if policy.mode != OutboundTrafficPolicyMode::AllowAny {
        report.error(&at, "works with the mode ALLOW_ANY only");
    }
    report.check(&at.field("host"), rules::fqdn(&proxy.host));
    if proxy.port.is_none() {
        report.error(&at.field("port"), "must be set");
    }
    virtual_service::destination(report, &at, proxy);
}
