// SPDX-License-Identifier: Apache-2.0
//! Gateway API's Gateway, ListenerSet and GatewayClass; also the references that all its kinds have.

use std::collections::BTreeSet;

use super::report::{At, Report};
use super::rules;
use crate::gateway::common::{LocalObjectReference, ObjectReference, ParametersReference, SecretObjectReference};
use crate::gateway::gateway::{
    AllowedRoutes, FrontendTls, GatewaySpecAddress, Listener, ListenerTlsConfig, TlsModeType,
};
use crate::gateway::{Gateway, ListenerSet};

/// A reference to an object; what is unset has a default and is right.
pub(super) struct Reference<'a> {
    pub(super) group: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) namespace: Option<&'a str>,
}

impl<'a> From<&'a SecretObjectReference> for Reference<'a> {
    fn from(from: &'a SecretObjectReference) -> Self {
        Self {
            group: from.group.as_deref(),
            kind: from.kind.as_deref(),
            name: &from.name,
            namespace: from.namespace.as_deref(),
        }
    }
}

impl<'a> From<&'a ObjectReference> for Reference<'a> {
    fn from(from: &'a ObjectReference) -> Self {
        Self {
            group: Some(&from.group),
            kind: Some(&from.kind),
            name: &from.name,
            namespace: from.namespace.as_deref(),
        }
    }
}

impl<'a> From<&'a LocalObjectReference> for Reference<'a> {
    fn from(from: &'a LocalObjectReference) -> Self {
        Self { group: Some(&from.group), kind: Some(&from.kind), name: &from.name, namespace: None }
    }
}

impl<'a> From<&'a ParametersReference> for Reference<'a> {
    fn from(from: &'a ParametersReference) -> Self {
        Self {
            group: Some(&from.group),
            kind: Some(&from.kind),
            name: &from.name,
            namespace: from.namespace.as_deref(),
        }
    }
}

pub(super) fn reference(report: &mut Report, at: &At<'_>, reference: &Reference<'_>) {
    if let Some(group) = reference.group.filter(|group| !group.is_empty() && !rules::is_subdomain(group)) {
        report.error(&at.field("group"), format!("{group:?} is not an API group"));
    }
    if let Some(kind) = reference.kind {
        let letter = kind.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if !(letter && rules::is_label(kind)) {
            report.error(&at.field("kind"), format!("{kind:?} is not a kind"));
        }
    }
    if reference.name.is_empty() || reference.name.len() > 253 {
        report.error(&at.field("name"), "must be set, with at most 253 characters");
    }
    if let Some(namespace) = reference.namespace.filter(|namespace| !rules::is_lower_label(namespace)) {
        report.error(&at.field("namespace"), format!("{namespace:?} is not a namespace"));
    }
}

/// A port as Gateway API has it, a signed number.
pub(super) fn port(report: &mut Report, at: &At<'_>, number: i32) {
    report.check(at, u32::try_from(number).map_err(|_| format!("{number} is not a port")).and_then(rules::port));
}

/// A section or rule name.
pub(super) fn section(report: &mut Report, at: &At<'_>, name: Option<&str>) {
    if let Some(name) = name.filter(|name| !rules::is_subdomain(name)) {
        report.error(at, format!("{name:?} is not a name: use lower-case letters, digits, dots and inner hyphens"));
    }
}

/// A hostname, perhaps with a wildcard, and no address.
pub(super) fn hostname(report: &mut Report, at: &At<'_>, name: &str) {
    if rules::is_ip(name) {
        report.error(at, format!("{name:?} is an address: a hostname is asked for"));
    } else if !rules::is_wildcard_subdomain(name) {
        report
            .error(at, format!("{name:?} is not a hostname: use lower-case labels, and * only as the whole first one"));
    }
}

/// GatewayClass and XMesh have the same fields.
pub(super) fn class(
    report: &mut Report,
    at: &At<'_>,
    controller: &str,
    parameters: Option<&ParametersReference>,
    description: Option<&str>,
) {
    let path = |path: &str| {
        !path.is_empty() && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b))
    };
    if !controller.split_once('/').is_some_and(|(domain, rest)| rules::is_subdomain(domain) && path(rest)) {
        report.error(&at.field("controllerName"), format!("{controller:?} is not a controller: write DOMAIN/PATH"));
    }
    if let Some(parameters) = parameters {
        reference(report, &at.field("parametersRef"), &parameters.into());
    }
    if description.is_some_and(|text| text.chars().count() > 64) {
        report.error(&at.field("description"), "is longer than 64 characters");
    }
}

pub(super) fn check(report: &mut Report, at: &At<'_>, spec: &Gateway) {
    report.present(&at.field("gatewayClassName"), &spec.gateway_class_name);
    listeners(report, at, &spec.listeners, "Gateway");
    report.items(&at.field("addresses"), &spec.addresses, 0, 16);
    for (index, address) in spec.addresses.iter().enumerate() {
        self::address(report, &at.field("addresses").index(index), address);
        if address.value.is_some() && spec.addresses[..index].contains(address) {
            report.error(&at.field("addresses").index(index), "is there twice");
        }
    }
    if let Some(parameters) =
        spec.infrastructure.as_ref().and_then(|infrastructure| infrastructure.parameters_ref.as_ref())
    {
        let at = at.field("infrastructure");
        reference(report, &at.field("parametersRef"), &parameters.into());
    }
    if let Some(infrastructure) = &spec.infrastructure {
        report.check(&at.field("infrastructure").field("labels"), rules::labels(&infrastructure.labels));
    }
    let Some(tls) = &spec.tls else { return };
    let at = at.field("tls");
    if let Some(certificate) = tls.backend.as_ref().and_then(|backend| backend.client_certificate_ref.as_ref()) {
        let at = at.field("backend");
        reference(report, &at.field("clientCertificateRef"), &certificate.into());
    }
    let Some(frontend) = &tls.frontend else { return };
    let at = at.field("frontend");
    match &frontend.default {
        Some(tls) => frontend_tls(report, &at.field("default"), tls),
        None => report.error(&at.field("default"), "must be set"),
    }
    let mut ports = BTreeSet::new();
    for (index, config) in frontend.per_port.iter().enumerate() {
        let at = at.field("perPort");
        let at = at.index(index);
        port(report, &at.field("port"), config.port);
        if !ports.insert(config.port) {
            report.error(&at.field("port"), format!("{} is there twice", config.port));
        }
        match &config.tls {
            Some(tls) => frontend_tls(report, &at.field("tls"), tls),
            None => report.error(&at.field("tls"), "must be set"),
        }
    }
}

fn address(report: &mut Report, at: &At<'_>, address: &GatewaySpecAddress) {
    let value = address.value.as_deref().unwrap_or_default();
    match address.address_type.as_deref().unwrap_or("IPAddress") {
        "IPAddress" if !value.is_empty() => report.check(&at.field("value"), rules::ip(value)),
        "Hostname" if !value.is_empty() => hostname(report, &at.field("value"), value),
        _ => {}
    }
}

fn frontend_tls(report: &mut Report, at: &At<'_>, tls: &FrontendTls) {
    let Some(validation) = &tls.validation else { return };
    let at = at.field("validation");
    report.items(&at.field("caCertificateRefs"), &validation.ca_certificate_refs, 1, 16);
    for (index, certificate) in validation.ca_certificate_refs.iter().enumerate() {
        reference(report, &at.field("caCertificateRefs").index(index), &certificate.into());
    }
}

pub(super) fn listener_set(report: &mut Report, at: &At<'_>, spec: &ListenerSet) {
    let parent = &spec.parent_ref;
    let parent = Reference {
        group: parent.group.as_deref(),
        kind: parent.kind.as_deref(),
        name: &parent.name,
        namespace: parent.namespace.as_deref(),
    };
    reference(report, &at.field("parentRef"), &parent);
    listeners(report, at, &spec.listeners, "ListenerSet");
}

fn listeners(report: &mut Report, at: &At<'_>, listeners: &[Listener], owner: &str) {
    let at = at.field("listeners");
    report.items(&at, listeners, 0, 64);
    if listeners.is_empty() {
        report.warning(&at, "has no listener");
    }
    let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
    for (index, listener) in listeners.iter().enumerate() {
        let at = at.index(index);
        self::listener(report, &at, listener);
        if !names.insert(&listener.name) {
            report.error(&at.field("name"), format!("{:?} is there twice in the {owner}", listener.name));
        }
        if !places.insert((listener.port, &listener.protocol, &listener.hostname)) {
            report.error(&at, "port, protocol and hostname are those of another listener");
        }
    }
}

fn listener(report: &mut Report, at: &At<'_>, listener: &Listener) {
    section(report, &at.field("name"), Some(&listener.name));
    port(report, &at.field("port"), listener.port);
    let protocol = listener.protocol.as_str();
    report.present(&at.field("protocol"), protocol);
    if let Some(name) = listener.hostname.as_deref().filter(|name| !name.is_empty()) {
        hostname(report, &at.field("hostname"), name);
        if ["TCP", "UDP"].contains(&protocol) {
            report.error(&at.field("hostname"), format!("does not go with {protocol}"));
        }
    }
    match &listener.tls {
        Some(_) if ["HTTP", "TCP", "UDP"].contains(&protocol) => {
            report.error(&at.field("tls"), format!("does not go with {protocol}"))
        }
        Some(tls) => listener_tls(report, &at.field("tls"), tls, protocol),
        None if protocol == "TLS" => report.error(&at.field("tls"), "must be set for TLS"),
        None => {}
    }
    if let Some(allowed) = &listener.allowed_routes {
        allowed_routes(report, &at.field("allowedRoutes"), allowed);
    }
}

fn listener_tls(report: &mut Report, at: &At<'_>, tls: &ListenerTlsConfig, protocol: &str) {
    let terminates = tls.mode.as_ref().is_none_or(|mode| *mode == TlsModeType::Terminate);
    if protocol == "HTTPS" && !terminates {
        report.error(&at.field("mode"), "must be Terminate for HTTPS");
    }
    if terminates && tls.certificate_refs.is_empty() && tls.options.is_empty() {
        report.error(&at.field("certificateRefs"), "must be set for Terminate");
    }
    report.items(&at.field("certificateRefs"), &tls.certificate_refs, 0, 64);
    for (index, certificate) in tls.certificate_refs.iter().enumerate() {
        reference(report, &at.field("certificateRefs").index(index), &certificate.into());
    }
}

fn allowed_routes(report: &mut Report, at: &At<'_>, allowed: &AllowedRoutes) {
    report.items(&at.field("kinds"), &allowed.kinds, 0, 8);
    for (index, kind) in allowed.kinds.iter().enumerate() {
        report.present(&at.field("kinds").index(index).field("kind"), &kind.kind);
    }
}
