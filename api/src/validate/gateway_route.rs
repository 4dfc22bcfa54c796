// SPDX-License-Identifier: Apache-2.0
//! What all routes of Gateway API have, and the routes of gRPC, TLS, TCP and UDP.

use std::collections::BTreeSet;

use super::gateway::{Reference, hostname, port, reference, section};
use super::http_route::{header_filter, header_match, mirror};
use super::re2;
use super::report::{At, Report};
use crate::gateway::common::{CookieLifetimeType, ParentReference, Route, SessionPersistence, SessionPersistenceType};
use crate::gateway::grpc_route::{GrpcRouteFilter, GrpcRouteFilterType, GrpcRouteRule};
use crate::gateway::http_route::MatchType;
use crate::gateway::l4_route::L4RouteRule;
use crate::gateway::{GrpcRoute, TlsRoute};

/// The fields of a backend of any route.
pub(super) struct Backend<'a> {
    pub(super) reference: Reference<'a>,
    pub(super) port: Option<i32>,
    pub(super) weight: Option<i32>,
}

/// Names a backend's fields from any of the types that have them.
macro_rules! backend_of {
    ($from:expr, $weight:expr) => {
        crate::validate::gateway_route::Backend {
            reference: crate::validate::gateway::Reference {
                group: $from.group.as_deref(),
                kind: $from.kind.as_deref(),
                name: &$from.name,
                namespace: $from.namespace.as_deref(),
            },
            port: $from.port,
            weight: $weight,
        }
    };
}
pub(super) use backend_of;

pub(super) fn backend(report: &mut Report, at: &At<'_>, backend: &Backend<'_>) {
    reference(report, at, &backend.reference);
    match backend.port {
        Some(number) => port(report, &at.field("port"), number),
        None => {
            let core = backend.reference.group.unwrap_or_default().is_empty();
            if core && backend.reference.kind.is_none_or(|kind| kind == "Service") {
                report.error(&at.field("port"), "must be set for a Service");
            }
        }
    }
    if let Some(weight) = backend.weight.filter(|weight| !(0..=1_000_000).contains(weight)) {
        report.error(&at.field("weight"), format!("{weight} is not a weight: must be from 0 to 1000000"));
    }
}

/// Parents and hostnames.
pub(super) fn common(report: &mut Report, at: &At<'_>, route: &dyn Route) {
    report.items(&at.field("parentRefs"), route.parent_refs(), 0, 32);
    for (index, parent) in route.parent_refs().iter().enumerate() {
        let at = at.field("parentRefs");
        let at = at.index(index);
        let ParentReference { group, kind, name, namespace, section_name, port: number } = parent;
        reference(
            report,
            &at,
            &Reference { group: group.as_deref(), kind: kind.as_deref(), name, namespace: namespace.as_deref() },
        );
        section(report, &at.field("sectionName"), section_name.as_deref());
        if let Some(number) = number {
            port(report, &at.field("port"), *number);
        }
        let same = |other: &&ParentReference| {
            (&other.group, &other.kind, &other.name, &other.namespace) == (group, kind, name, namespace)
        };
        for other in route.parent_refs()[..index].iter().filter(same) {
            if (&other.section_name, &other.port) == (section_name, number) {
                report.error(&at, "is there twice: give each a sectionName or port of its own");
            } else if other.section_name.is_some() != section_name.is_some() || other.port.is_some() != number.is_some()
            {
                report.error(
                    &at,
                    "names a parent that is there already: either all of them or none must have sectionName (or port)",
                );
            }
        }
    }
    for (index, name) in route.hostnames().iter().enumerate() {
        hostname(report, &at.field("hostnames").index(index), name);
    }
}

/// Names of rules are unique.
pub(super) fn rule_names<'a>(report: &mut Report, at: &At<'_>, names: impl Iterator<Item = Option<&'a str>>) {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        let at = at.field("rules");
        let at = at.index(index);
        section(report, &at.field("name"), name);
        if name.is_some_and(|name| !seen.insert(name)) {
            report.error(&at.field("name"), format!("{:?} is there twice", name.unwrap_or_default()));
        }
    }
}

/// Rules and matches in sum are bounded.
pub(super) fn rule_counts(report: &mut Report, at: &At<'_>, matches: &[usize]) {
    let at = at.field("rules");
    report.items(&at, matches, 0, 16);
    for (index, count) in matches.iter().enumerate() {
        if *count > 64 {
            report.error(&at.index(index).field("matches"), format!("has {count} items: at most 64 are allowed"));
        }
    }
    if matches.iter().sum::<usize>() > 128 {
        report.error(&at, "have more than 128 matches in sum");
    }
}

pub(super) fn session(report: &mut Report, at: &At<'_>, session: Option<&SessionPersistence>) {
    let Some(session) = session else { return };
    if session.session_name.as_ref().is_some_and(|name| name.len() > 128) {
        report.error(&at.field("sessionName"), "is longer than 128 characters");
    }
    let Some(cookie) = &session.cookie_config else { return };
    if session.session_type == Some(SessionPersistenceType::Header) {
        report.error(&at.field("cookieConfig"), "works with the type Cookie only");
    }
    if cookie.lifetime_type == Some(CookieLifetimeType::Permanent) && session.absolute_timeout.is_none() {
        report.error(&at.field("absoluteTimeout"), "must be set for a permanent cookie");
    }
}

pub(super) fn grpc(report: &mut Report, at: &At<'_>, spec: &GrpcRoute) {
    common(report, at, spec);
    report.items(&at.field("hostnames"), &spec.hostnames, 0, 16);
    rule_names(report, at, spec.rules.iter().map(|rule| rule.name.as_deref()));
    rule_counts(report, at, &spec.rules.iter().map(|rule| rule.matches.len()).collect::<Vec<_>>());
    for (index, rule) in spec.rules.iter().enumerate() {
        grpc_rule(report, &at.field("rules").index(index), rule);
    }
}

fn grpc_rule(report: &mut Report, at: &At<'_>, rule: &GrpcRouteRule) {
    for (index, matched) in rule.matches.iter().enumerate() {
        let at = at.field("matches");
        let at = at.index(index);
        for (index, header) in matched.headers.iter().enumerate() {
            header_match(report, &at.field("headers").index(index), header);
        }
        let Some(method) = &matched.method else { continue };
        let at = at.field("method");
        if method.service.is_none() && method.method.is_none() {
            report.error(&at, "one of service, method must be set");
        }
        for (field, text, dots) in [("service", &method.service, true), ("method", &method.method, false)] {
            let Some(text) = text else { continue };
            if method.match_type == Some(MatchType::RegularExpression) {
                report.check(&at.field(field), re2::check(text));
            } else if !is_proto_name(text, dots) {
                report.error(&at.field(field), format!("{text:?} is not a name of a gRPC {field}"));
            }
        }
    }
    report.items(&at.field("filters"), &rule.filters, 0, 16);
    grpc_filters(report, at, &rule.filters);
    report.items(&at.field("backendRefs"), &rule.backend_refs, 0, 16);
    for (index, target) in rule.backend_refs.iter().enumerate() {
        let at = at.field("backendRefs");
        let at = at.index(index);
        backend(report, &at, &backend_of!(target, target.weight));
        grpc_filters(report, &at, &target.filters);
    }
    session(report, &at.field("sessionPersistence"), rule.session_persistence.as_ref());
}

fn is_proto_name(text: &str, dots: bool) -> bool {
    let part = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if dots { text.strip_prefix('.').unwrap_or(text).split('.').all(part) } else { part(text) }
}

fn grpc_filters(report: &mut Report, at: &At<'_>, filters: &[GrpcRouteFilter]) {
    for (index, filter) in filters.iter().enumerate() {
        let at = at.field("filters");
        let at = at.index(index);
        let fields = [
            (
                "requestHeaderModifier",
                filter.request_header_modifier.is_some(),
                GrpcRouteFilterType::RequestHeaderModifier,
            ),
            (
                "responseHeaderModifier",
                filter.response_header_modifier.is_some(),
                GrpcRouteFilterType::ResponseHeaderModifier,
            ),
            ("requestMirror", filter.request_mirror.is_some(), GrpcRouteFilterType::RequestMirror),
            ("extensionRef", filter.extension_ref.is_some(), GrpcRouteFilterType::ExtensionRef),
        ];
        if filter.filter_type == GrpcRouteFilterType::Unset {
            report.error(&at.field("type"), "must be set");
        }
        for (field, set, filter_type) in fields {
            match (set, filter.filter_type == filter_type) {
                (true, false) => {
                    report.error(&at.field(field), format!("does not go with the type {}", filter.filter_type))
                }
                (false, true) => {
                    report.error(&at.field(field), format!("must be set for the type {}", filter.filter_type))
                }
                _ => {}
            }
        }
        for (field, headers) in [
            ("requestHeaderModifier", &filter.request_header_modifier),
            ("responseHeaderModifier", &filter.response_header_modifier),
        ] {
            if let Some(headers) = headers {
                header_filter(report, &at.field(field), headers);
            }
        }
        if let Some(target) = &filter.request_mirror {
            mirror(report, &at.field("requestMirror"), target);
        }
    }
}

pub(super) fn tls(report: &mut Report, at: &At<'_>, spec: &TlsRoute) {
    report.items(&at.field("hostnames"), &spec.hostnames, 1, 1024);
    l4(report, at, spec, &spec.rules);
}

pub(super) fn l4(report: &mut Report, at: &At<'_>, spec: &dyn Route, rules: &[L4RouteRule]) {
    common(report, at, spec);
    rule_names(report, at, rules.iter().map(|rule| rule.name.as_deref()));
    report.items(&at.field("rules"), rules, 1, 16);
    for (index, rule) in rules.iter().enumerate() {
        let at = at.field("rules");
        let at = at.index(index);
        report.items(&at.field("backendRefs"), &rule.backend_refs, 1, 16);
        for (index, target) in rule.backend_refs.iter().enumerate() {
            backend(report, &at.field("backendRefs").index(index), &backend_of!(target, target.weight));
        }
    }
}
