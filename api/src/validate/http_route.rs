// SPDX-License-Identifier: Apache-2.0
//! HTTPRoute: matches, filters and what excludes what.

use super::gateway::{port, reference};
use super::gateway_route::{backend, backend_of, common, rule_counts, rule_names, session};
use super::report::{At, Report};
use super::{re2, rules};
use crate::gateway::HttpRoute;
use crate::gateway::http_route::{
    HttpCorsFilter, HttpExternalAuthFilter, HttpExternalAuthProtocol, HttpHeaderFilter, HttpHeaderMatch, HttpPathMatch,
    HttpPathModifier, HttpPathModifierType, HttpRequestMirrorFilter, HttpRequestRedirectFilter, HttpRouteFilter,
    HttpRouteFilterType, HttpRouteMatch, HttpRouteRule, MatchType, PathMatchType,
};
use crate::value::Duration;

pub(super) fn check(report: &mut Report, at: &At<'_>, spec: &HttpRoute) {
    common(report, at, spec);
    report.items(&at.field("hostnames"), &spec.hostnames, 0, 16);
    rule_names(report, at, spec.rules.iter().map(|rule| rule.name.as_deref()));
    rule_counts(report, at, &spec.rules.iter().map(|rule| rule.matches.len()).collect::<Vec<_>>());
    for (index, rule) in spec.rules.iter().enumerate() {
        self::rule(report, &at.field("rules").index(index), rule);
    }
}

fn rule(report: &mut Report, at: &At<'_>, rule: &HttpRouteRule) {
    for (index, matched) in rule.matches.iter().enumerate() {
        self::matched(report, &at.field("matches").index(index), matched);
    }
    report.items(&at.field("filters"), &rule.filters, 0, 16);
    filters(report, at, &rule.filters, rule);
    report.items(&at.field("backendRefs"), &rule.backend_refs, 0, 16);
    for (index, target) in rule.backend_refs.iter().enumerate() {
        let at = at.field("backendRefs");
        let at = at.index(index);
        backend(report, &at, &backend_of!(target, target.weight));
        filters(report, &at, &target.filters, rule);
    }
    if !rule.backend_refs.is_empty() && rule.filters.iter().any(|filter| filter.request_redirect.is_some()) {
        report.error(&at.field("backendRefs"), "does not go with the filter RequestRedirect");
    }
    if let Some(timeouts) = &rule.timeouts {
        let whole = timeouts.request.filter(|timeout| !timeout.is_zero());
        if whole.zip(timeouts.backend_request).is_some_and(|(whole, one)| one > whole) {
            report.error(&at.field("timeouts").field("backendRequest"), "is longer than timeouts.request");
        }
    }
    if let Some(retry) = &rule.retry {
        let at = at.field("retry");
        for (index, code) in retry.codes.iter().enumerate() {
            if !(400..600).contains(code) {
                report.error(
                    &at.field("codes").index(index),
                    format!("{code} is no status to try again on: must be from 400 to 599"),
                );
            }
        }
        if retry.attempts.is_some_and(|attempts| attempts < 1) {
            report.error(&at.field("attempts"), "must be at least 1");
        }
        report.duration(&at.field("backoff"), retry.backoff.filter(|wait| *wait != Duration::default()));
    }
    session(report, &at.field("sessionPersistence"), rule.session_persistence.as_ref());
}

fn matched(report: &mut Report, at: &At<'_>, matched: &HttpRouteMatch) {
    if let Some(path) = &matched.path {
        self::path(report, &at.field("path"), path);
    }
    report.items(&at.field("headers"), &matched.headers, 0, 16);
    for (index, header) in matched.headers.iter().enumerate() {
        header_match(report, &at.field("headers").index(index), header);
    }
    report.items(&at.field("queryParams"), &matched.query_params, 0, 16);
    for (index, param) in matched.query_params.iter().enumerate() {
        let at = at.field("queryParams");
        let at = at.index(index);
        report.check(
            &at.field("name"),
            rules::header_name(&param.name).map_err(|_| format!("{:?} is not a parameter name", param.name)),
        );
        if param.match_type == Some(MatchType::RegularExpression) {
            report.check(&at.field("value"), re2::check(&param.value));
        }
    }
}

pub(super) fn header_match(report: &mut Report, at: &At<'_>, header: &HttpHeaderMatch) {
    report.check(&at.field("name"), rules::header_name(&header.name));
    if header.match_type == Some(MatchType::RegularExpression) {
        report.check(&at.field("value"), re2::check(&header.value));
    } else {
        report.present(&at.field("value"), &header.value);
    }
}

fn path(report: &mut Report, at: &At<'_>, path: &HttpPathMatch) {
    let value = path.value.as_deref().unwrap_or("/");
    let at = at.field("value");
    match path.match_type {
        Some(PathMatchType::RegularExpression) => report.check(&at, re2::check(value)),
        Some(PathMatchType::Unknown(_)) => {}
        _ => {
            if !value.starts_with('/') {
                report.error(&at, format!("{value:?} must start with a slash"));
            }
            let parts = ["//", "/./", "/../", "%2f", "%2F", "#"];
            if parts.iter().any(|part| value.contains(part)) || value.ends_with("/.") || value.ends_with("/..") {
                report.error(&at, format!("{value:?} must not have {} in it, nor end with /. or /..", parts.join(" ")));
            }
            let mut rest = value.bytes();
            while let Some(b) = rest.next() {
                let escaped = b == b'%' && (0..2).all(|_| rest.next().is_some_and(|b| b.is_ascii_hexdigit()));
                if !(escaped || b.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&b)) {
                    report.error(&at, format!("{value:?} is not a path: other characters must be written as %XX"));
                    break;
                }
            }
        }
    }
}

/// The filters of a rule or of a backend of it.
fn filters(report: &mut Report, at: &At<'_>, filters: &[HttpRouteFilter], rule: &HttpRouteRule) {
    let at = at.field("filters");
    let count = |wanted: HttpRouteFilterType| filters.iter().filter(|filter| filter.filter_type == wanted).count();
    for once in [
        HttpRouteFilterType::Cors,
        HttpRouteFilterType::RequestHeaderModifier,
        HttpRouteFilterType::ResponseHeaderModifier,
        HttpRouteFilterType::RequestRedirect,
        HttpRouteFilterType::UrlRewrite,
    ] {
        if count(once.clone()) > 1 {
            report.error(&at, format!("has {once} more than once"));
        }
    }
    if count(HttpRouteFilterType::RequestRedirect) > 0 && count(HttpRouteFilterType::UrlRewrite) > 0 {
        report.error(&at, "RequestRedirect and URLRewrite exclude each other");
    }
    for (index, filter) in filters.iter().enumerate() {
        self::filter(report, &at.index(index), filter, rule);
    }
}

fn filter(report: &mut Report, at: &At<'_>, filter: &HttpRouteFilter, rule: &HttpRouteRule) {
    use HttpRouteFilterType as Type;
    if filter.filter_type == Type::Unset {
        report.error(&at.field("type"), "must be set");
    }
    for (field, set, filter_type) in [
        ("requestHeaderModifier", filter.request_header_modifier.is_some(), Type::RequestHeaderModifier),
        ("responseHeaderModifier", filter.response_header_modifier.is_some(), Type::ResponseHeaderModifier),
        ("requestMirror", filter.request_mirror.is_some(), Type::RequestMirror),
        ("requestRedirect", filter.request_redirect.is_some(), Type::RequestRedirect),
        ("urlRewrite", filter.url_rewrite.is_some(), Type::UrlRewrite),
        ("cors", filter.cors.is_some(), Type::Cors),
        ("externalAuth", filter.external_auth.is_some(), Type::ExternalAuth),
        ("extensionRef", filter.extension_ref.is_some(), Type::ExtensionRef),
    ] {
        match (set, filter.filter_type == filter_type) {
            (true, false) => {
                report.error(&at.field(field), format!("does not go with the type {}", filter.filter_type))
            }
            (false, true) => report.error(&at.field(field), format!("must be set for the type {}", filter.filter_type)),
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
    if let Some(redirect) = &filter.request_redirect {
        self::redirect(report, &at.field("requestRedirect"), redirect, rule);
    }
    if let Some(rewrite) = &filter.url_rewrite {
        let at = at.field("urlRewrite");
        precise_hostname(report, &at, rewrite.hostname.as_deref());
        path_modifier(report, &at.field("path"), rewrite.path.as_ref(), rule);
    }
    if let Some(cors) = &filter.cors {
        self::cors(report, &at.field("cors"), cors);
    }
    if let Some(auth) = &filter.external_auth {
        external_auth(report, &at.field("externalAuth"), auth);
    }
    if let Some(extension) = &filter.extension_ref {
        reference(report, &at.field("extensionRef"), &extension.into());
    }
}

pub(super) fn header_filter(report: &mut Report, at: &At<'_>, filter: &HttpHeaderFilter) {
    for (field, headers) in [("set", &filter.set), ("add", &filter.add)] {
        report.items(&at.field(field), headers, 0, 16);
        for (index, header) in headers.iter().enumerate() {
            let at = at.field(field);
            let at = at.index(index);
            report.check(&at.field("name"), rules::header_name(&header.name));
            if header.value.is_empty() || header.value.chars().any(|c| c.is_control() && c != '\t') {
                report.error(&at.field("value"), "must not be empty, and have no control characters");
            }
        }
    }
    report.items(&at.field("remove"), &filter.remove, 0, 16);
}

pub(super) fn mirror(report: &mut Report, at: &At<'_>, mirror: &HttpRequestMirrorFilter) {
    backend(report, &at.field("backendRef"), &backend_of!(mirror.backend_ref, None));
    report.at_most_one(at, &[("percent", mirror.percent.is_some()), ("fraction", mirror.fraction.is_some())]);
    report.percent(&at.field("percent"), f64::from(mirror.percent.unwrap_or_default()));
    if let Some(fraction) = &mirror.fraction {
        let whole = fraction.denominator.unwrap_or(100);
        if whole < 1 || fraction.numerator < 0 || fraction.numerator > whole {
            report.error(&at.field("fraction"), "must be from 0 to 1");
        }
    }
}

fn precise_hostname(report: &mut Report, at: &At<'_>, name: Option<&str>) {
    if let Some(name) = name.filter(|name| !rules::is_subdomain(name)) {
        report.error(&at.field("hostname"), format!("{name:?} is not a hostname without wildcards"));
    }
}

fn redirect(report: &mut Report, at: &At<'_>, redirect: &HttpRequestRedirectFilter, rule: &HttpRouteRule) {
    if let Some(scheme) = redirect.scheme.as_deref().filter(|scheme| !["http", "https"].contains(scheme)) {
        report.error(&at.field("scheme"), format!("{scheme:?} is neither http nor https"));
    }
    precise_hostname(report, at, redirect.hostname.as_deref());
    if let Some(number) = redirect.port {
        port(report, &at.field("port"), number);
    }
    if let Some(code) = redirect.status_code.filter(|code| ![301, 302, 303, 307, 308].contains(code)) {
        report.error(&at.field("statusCode"), format!("{code} is not one of 301, 302, 303, 307, 308"));
    }
    path_modifier(report, &at.field("path"), redirect.path.as_ref(), rule);
}

fn path_modifier(report: &mut Report, at: &At<'_>, modifier: Option<&HttpPathModifier>, rule: &HttpRouteRule) {
    let Some(modifier) = modifier else { return };
    if modifier.modifier_type == HttpPathModifierType::Unset {
        report.error(&at.field("type"), "must be set");
    }
    for (field, set, modifier_type) in [
        ("replaceFullPath", modifier.replace_full_path.is_some(), HttpPathModifierType::ReplaceFullPath),
        ("replacePrefixMatch", modifier.replace_prefix_match.is_some(), HttpPathModifierType::ReplacePrefixMatch),
    ] {
        if set != (modifier.modifier_type == modifier_type) {
            report.error(&at.field(field), format!("must be set if and only if the type is {modifier_type}"));
        }
    }
    let by_prefix = |matched: &HttpRouteMatch| {
        let path = matched.path.as_ref();
        path.is_none_or(|path| path.match_type.as_ref().is_none_or(|kind| *kind == PathMatchType::PathPrefix))
    };
    // A rule without matches takes every path by the prefix /.
    let single = rule.matches.is_empty() || rule.matches.len() == 1 && rule.matches.iter().all(by_prefix);
    if modifier.replace_prefix_match.is_some() && !single {
        report.error(&at.field("replacePrefixMatch"), "needs a rule with exactly one match, by PathPrefix");
    }
}

fn cors(report: &mut Report, at: &At<'_>, cors: &HttpCorsFilter) {
    for (field, list, most) in [
        ("allowOrigins", &cors.allow_origins, 64),
        ("allowMethods", &cors.allow_methods, 9),
        ("allowHeaders", &cors.allow_headers, 64),
    ] {
        report.items(&at.field(field), list, 0, most);
        if list.len() > 1 && list.iter().any(|value| value == "*") {
            report.error(&at.field(field), "* stands for all: nothing may stand beside it");
        }
    }
    for (index, origin) in cors.allow_origins.iter().enumerate() {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if origin != "*" && host.is_none_or(|host| host.is_empty() || host.contains('/')) {
            report.error(
                &at.field("allowOrigins").index(index),
                format!("{origin:?} is not an origin: write SCHEME://HOST or SCHEME://HOST:PORT"),
            );
        }
    }
    for (field, names) in [("allowHeaders", &cors.allow_headers), ("exposeHeaders", &cors.expose_headers)] {
        for (index, name) in names.iter().enumerate() {
            report.check(&at.field(field).index(index), rules::header_name(name));
        }
    }
    const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"];
    for (index, method) in cors.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            report.error(&at.field("allowMethods").index(index), format!("{method:?} is not a method of HTTP"));
        }
    }
    if cors.max_age.is_some_and(|age| age < 1) {
        report.error(&at.field("maxAge"), "must be at least 1");
    }
}

fn external_auth(report: &mut Report, at: &At<'_>, auth: &HttpExternalAuthFilter) {
    backend(report, &at.field("backendRef"), &backend_of!(auth.backend_ref, None));
    if auth.protocol == HttpExternalAuthProtocol::Unset {
        report.error(&at.field("protocol"), "must be set");
    }
    for (field, set, protocol) in [
        ("grpc", auth.grpc.is_some(), HttpExternalAuthProtocol::Grpc),
        ("http", auth.http.is_some(), HttpExternalAuthProtocol::Http),
    ] {
        if set != (auth.protocol == protocol) {
            report.error(&at.field(field), format!("must be set if and only if the protocol is {protocol}"));
        }
    }
}
