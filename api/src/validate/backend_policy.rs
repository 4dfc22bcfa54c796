// SPDX-License-Identifier: Apache-2.0
//! BackendTLSPolicy, ReferenceGrant, XBackend and XBackendTrafficPolicy.

use super::gateway::{Reference, port, reference, section};
use super::gateway_route::session;
use super::report::{At, Report};
use super::rules;
use crate::gateway::backend_tls_policy::{BackendTlsPolicyValidation, SubjectAltNameType};
use crate::gateway::x_backend::{XBackendTlsMode, XBackendType};
use crate::gateway::{BackendTlsPolicy, ReferenceGrant, XBackend, XBackendTrafficPolicy};
use crate::value::Duration;

pub(super) fn backend_tls(report: &mut Report, at: &At<'_>, spec: &BackendTlsPolicy) {
    report.items(&at.field("targetRefs"), &spec.target_refs, 1, 16);
    for (index, target) in spec.target_refs.iter().enumerate() {
        let at = at.field("targetRefs");
        let at = at.index(index);
        reference(
            report,
            &at,
            &Reference { group: Some(&target.group), kind: Some(&target.kind), name: &target.name, namespace: None },
        );
        section(report, &at.field("sectionName"), target.section_name.as_deref());
        for other in &spec.target_refs[..index] {
            if (&other.group, &other.kind, &other.name) != (&target.group, &target.kind, &target.name) {
                continue;
            }
            if other.section_name == target.section_name {
                report.error(&at, "is there twice: give each a sectionName of its own");
            } else if other.section_name.is_some() != target.section_name.is_some() {
                report.warning(
                    &at,
                    "names a target that is there already: either all of them or none should have a sectionName",
                );
            }
        }
    }
    validation(report, &at.field("validation"), &spec.validation);
}

fn validation(report: &mut Report, at: &At<'_>, validation: &BackendTlsPolicyValidation) {
    let system = validation.well_known_ca_certificates.as_deref().unwrap_or_default();
    report.exactly_one(
        at,
        &[
            ("caCertificateRefs", !validation.ca_certificate_refs.is_empty()),
            ("wellKnownCACertificates", !system.is_empty()),
        ],
    );
    if !system.is_empty() && system != "System" && !system.contains('/') {
        report.error(&at.field("wellKnownCACertificates"), format!("{system:?} is neither System nor DOMAIN/NAME"));
    }
    report.items(&at.field("caCertificateRefs"), &validation.ca_certificate_refs, 0, 8);
    for (index, certificate) in validation.ca_certificate_refs.iter().enumerate() {
        reference(report, &at.field("caCertificateRefs").index(index), &certificate.into());
    }
    if !rules::is_subdomain(&validation.hostname) {
        report.error(&at.field("hostname"), format!("{:?} is not a hostname without wildcards", validation.hostname));
    }
    report.items(&at.field("subjectAltNames"), &validation.subject_alt_names, 0, 5);
    for (index, name) in validation.subject_alt_names.iter().enumerate() {
        let at = at.field("subjectAltNames");
        let at = at.index(index);
        for (field, text, name_type) in
            [("hostname", &name.hostname, SubjectAltNameType::Hostname), ("uri", &name.uri, SubjectAltNameType::Uri)]
        {
            let set = text.as_ref().is_some_and(|text| !text.is_empty());
            if set != (name.name_type == name_type) {
                report.error(&at.field(field), format!("must be set if and only if the type is {name_type}"));
            }
        }
        if let Some(hostname) = name.hostname.as_deref().filter(|hostname| !rules::is_wildcard_subdomain(hostname)) {
            report.error(&at.field("hostname"), format!("{hostname:?} is not a hostname"));
        }
    }
}

pub(super) fn reference_grant(report: &mut Report, at: &At<'_>, spec: &ReferenceGrant) {
    report.items(&at.field("from"), &spec.from, 1, 16);
    report.items(&at.field("to"), &spec.to, 1, 16);
    for (index, from) in spec.from.iter().enumerate() {
        let at = at.field("from");
        let from = Reference {
            group: Some(&from.group),
            kind: Some(&from.kind),
            name: "any",
            namespace: Some(&from.namespace),
        };
        reference(report, &at.index(index), &from);
    }
    for (index, to) in spec.to.iter().enumerate() {
        let at = at.field("to");
        let name = to.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("any");
        reference(
            report,
            &at.index(index),
            &Reference { group: Some(&to.group), kind: Some(&to.kind), name, namespace: None },
        );
    }
}

pub(super) fn x_backend(report: &mut Report, at: &At<'_>, spec: &XBackend) {
    port(report, &at.field("port").field("port"), spec.port.port);
    if let Some(name) = spec.port.name.as_deref().filter(|name| !name.is_empty() && !rules::is_lower_label(name)) {
        report.error(&at.field("port").field("name"), format!("{name:?} is not a DNS label"));
    }
    if spec.backend_type == XBackendType::Unset {
        report.error(&at.field("type"), "must be set");
    }
    let hostname = at.field("externalHostname");
    match &spec.external_hostname {
        Some(external) => {
            let name = external.hostname.as_str();
            if rules::is_ip(name) || !rules::is_subdomain(name) || name.ends_with(".cluster.local") {
                report.error(&hostname.field("hostname"), format!("{name:?} is not a DNS name outside of the cluster"));
            }
        }
        None if spec.backend_type == XBackendType::ExternalHostname => {
            report.error(&hostname, "must be set for ExternalHostname")
        }
        None => {}
    }
    let Some(tls) = &spec.tls else { return };
    let at = at.field("tls");
    if tls.mode.is_none() {
        report.error(&at.field("mode"), "must be set");
    }
    if (tls.mode == Some(XBackendTlsMode::ClientAndServer)) != tls.client_certificate_ref.is_some() {
        report.error(&at.field("clientCertificateRef"), "must be set if and only if the mode is ClientAndServer");
    }
    if let Some(certificate) = &tls.client_certificate_ref {
        reference(report, &at.field("clientCertificateRef"), &certificate.into());
    }
    if let Some(checks) = &tls.validation {
        validation(report, &at.field("validation"), checks);
    }
}

pub(super) fn x_traffic(report: &mut Report, at: &At<'_>, spec: &XBackendTrafficPolicy) {
    report.items(&at.field("targetRefs"), &spec.target_refs, 1, 16);
    for (index, target) in spec.target_refs.iter().enumerate() {
        let at = at.field("targetRefs");
        reference(report, &at.index(index), &target.into());
        if spec.target_refs[..index].contains(target) {
            report.error(&at.index(index), "is there twice");
        }
    }
    session(report, &at.field("sessionPersistence"), spec.session_persistence.as_ref());
    let Some(constraint) = &spec.retry_constraint else { return };
    let at = at.field("retryConstraint");
    let hour = Duration::from_secs(3600);
    if let Some(budget) = &constraint.budget {
        let at = at.field("budget");
        report.percent(&at.field("percent"), f64::from(budget.percent.unwrap_or_default()));
        if budget.interval.is_some_and(|interval| interval < Duration::from_secs(1) || interval > hour) {
            report.error(&at.field("interval"), "must be from 1s to 1h");
        }
    }
    if let Some(rate) = &constraint.min_retry_rate {
        let at = at.field("minRetryRate");
        if rate.count.is_some_and(|count| !(1..=1_000_000).contains(&count)) {
            report.error(&at.field("count"), "must be from 1 to 1000000");
        }
        if rate.interval.is_some_and(|interval| interval.is_zero() || interval > hour) {
            report.error(&at.field("interval"), "must be more than 0 and at most 1h");
        }
    }
}
