// SPDX-License-Identifier: Apache-2.0
//! VirtualService: hosts, gateways, and routes of TLS and TCP. Routes of HTTP are in `istio_http`.

use std::collections::BTreeMap;

use super::istio_http;
use super::report::{At, Report};
use super::rules::{self, Check};
use super::selector::{self, Export};
use crate::istio::networking::VirtualService;
use crate::istio::networking::http_route::HttpMatchRequest;
use crate::istio::networking::virtual_service::{
    Destination, L4MatchAttributes, RouteDestination, StringMatch, TcpRoute, TlsMatchAttributes, TlsRoute,
};
use crate::object::Meta;

/// What the routes must know of the whole.
pub(super) struct Context<'a> {
    pub(super) spec: &'a VirtualService,
    /// Some gateway other than `mesh` uses it.
    pub(super) gateway: bool,
}

pub(super) fn check(report: &mut Report, at: &At<'_>, meta: &Meta, spec: &VirtualService) {
    let context = Context { spec, gateway: spec.gateways.iter().any(|gateway| gateway != "mesh") };
    if spec.hosts.is_empty() {
        for (name, set) in
            [("gateways", !spec.gateways.is_empty()), ("tls", !spec.tls.is_empty()), ("tcp", !spec.tcp.is_empty())]
        {
            if set {
                report.error(&at.field(name), "a VirtualService without hosts is a delegate, which must not have it");
            }
        }
    }
    gateways(report, at, &spec.gateways);
    hosts(report, at, &context);
    if spec.http.is_empty() && spec.tcp.is_empty() && spec.tls.is_empty() {
        report.error(at, "one of http, tls, tcp must be set");
    }
    for (index, route) in spec.http.iter().enumerate() {
        istio_http::check(report, &at.field("http").index(index), route, &context);
    }
    for (index, route) in spec.tls.iter().enumerate() {
        tls_route(report, &at.field("tls").index(index), route, &context);
    }
    for (index, route) in spec.tcp.iter().enumerate() {
        tcp_route(report, &at.field("tcp").index(index), route);
    }
    selector::export_to(report, at, &Export { namespace: &meta.namespace, export_to: &spec.export_to, nobody: false });
    unreachable(report, at, spec);
}

fn hosts(report: &mut Report, at: &At<'_>, context: &Context<'_>) {
    let at = at.field("hosts");
    let hosts = &context.spec.hosts;
    let mut valid = true;
    for (index, host) in hosts.iter().enumerate() {
        let result = if generated_sni(host) && context.gateway && !context.spec.tls.is_empty() {
            Ok(())
        } else {
            rules::wildcard_domain(host)
        };
        if rules::is_ip(host) {
            continue;
        }
        let result = result.and_then(|()| {
            if host == "*" && !context.gateway {
                return Err("the host * needs a gateway: sidecars cannot take all hosts".to_owned());
            }
            Ok(())
        });
        valid &= result.is_ok();
        report.check(&at.index(index), result);
    }
    if !valid {
        return;
    }
    for (index, host) in hosts.iter().enumerate() {
        if let Some(other) = hosts[..index].iter().find(|other| overlap(host, other)) {
            report.error(&at.index(index), format!("{host:?} overlaps {other:?}: remove one"));
        }
    }
}

/// Names that clusters of other networks use: outbound_.PORT_.SUBSET_.HOST.
fn generated_sni(host: &str) -> bool {
    let parts: Vec<&str> = host.split('_').collect();
    parts.len() >= 4 && parts[0] == "outbound" && parts[1].trim_matches('.').bytes().any(|b| b.is_ascii_digit())
}

/// Whether two hosts, perhaps with wildcards, have a name in common.
fn overlap(one: &str, other: &str) -> bool {
    match (one.strip_prefix('*'), other.strip_prefix('*')) {
        (Some(one), Some(other)) => one.ends_with(other) || other.ends_with(one),
        (Some(suffix), None) => other.ends_with(suffix),
        (None, Some(suffix)) => one.ends_with(suffix),
        (None, None) => one == other,
    }
}

/// Whether every name of `one` is one of `other`.
fn subset(one: &str, other: &str) -> bool {
    match (one.strip_prefix('*'), other.strip_prefix('*')) {
        (Some(one), Some(suffix)) => one.ends_with(suffix),
        (None, Some(suffix)) => one.ends_with(suffix),
        (Some(_), None) => false,
        (None, None) => one == other,
    }
}

pub(super) fn gateways(report: &mut Report, at: &At<'_>, names: &[String]) {
    for (index, name) in names.iter().enumerate() {
        let at = at.field("gateways");
        let at = at.index(index);
        let Some((namespace, name)) = name.split_once('/') else {
            if let Some((name, namespace)) = name.split_once('.') {
                let namespace = namespace.split('.').next().unwrap_or_default();
                report.warning(&at, format!("is written the old way: use {namespace}/{name}"));
            }
            report.check(&at, rules::fqdn(name));
            continue;
        };
        for part in [namespace, name] {
            report.check(&at, rules::label(part).map_err(|reason| format!("must be NAMESPACE/NAME: {reason}")));
        }
    }
}

fn tls_route(report: &mut Report, at: &At<'_>, route: &TlsRoute, context: &Context<'_>) {
    if route.r#match.is_empty() {
        report.error(&at.field("match"), "a TLS route must match something");
    }
    for (index, matched) in route.r#match.iter().enumerate() {
        tls_match(report, &at.field("match").index(index), matched, context);
    }
    if route.route.is_empty() {
        report.error(&at.field("route"), "must be set");
    }
    destinations(report, at, &route.route);
}

fn tls_match(report: &mut Report, at: &At<'_>, matched: &TlsMatchAttributes, context: &Context<'_>) {
    if matched.sni_hosts.is_empty() {
        report.error(&at.field("sniHosts"), "a TLS match needs at least one host");
    }
    for (index, host) in matched.sni_hosts.iter().enumerate() {
        let at = at.field("sniHosts");
        let at = at.index(index);
        if rules::is_ip(host) {
            report.warning(&at, "is an IP address, which most clients never send as server name");
        } else if !(context.gateway && generated_sni(host)) {
            report.check(&at, rules::wildcard_domain(host));
            if !context.spec.hosts.iter().any(|other| subset(host, other)) {
                report.error(&at, format!("{host:?} is in none of spec.hosts ({})", context.spec.hosts.join(", ")));
            }
        }
    }
    connection(
        report,
        at,
        &Connection {
            subnets: &matched.destination_subnets,
            port: matched.port,
            labels: &matched.source_labels,
            gateways: &matched.gateways,
        },
    );
}

fn tcp_route(report: &mut Report, at: &At<'_>, route: &TcpRoute) {
    for (index, matched) in route.r#match.iter().enumerate() {
        let L4MatchAttributes { destination_subnets, port, source_labels, gateways, .. } = matched;
        let connection = Connection { subnets: destination_subnets, port: *port, labels: source_labels, gateways };
        self::connection(report, &at.field("match").index(index), &connection);
    }
    if route.route.is_empty() {
        report.error(&at.field("route"), "must be set");
    }
    destinations(report, at, &route.route);
}

/// What both matches of connections have.
struct Connection<'a> {
    subnets: &'a [String],
    port: u32,
    labels: &'a BTreeMap<String, String>,
    gateways: &'a [String],
}

fn connection(report: &mut Report, at: &At<'_>, connection: &Connection<'_>) {
    for (index, subnet) in connection.subnets.iter().enumerate() {
        report.check(&at.field("destinationSubnets").index(index), rules::subnet(subnet));
    }
    if connection.port != 0 {
        report.check(&at.field("port"), rules::port(connection.port));
    }
    report.check(&at.field("sourceLabels"), rules::labels(connection.labels));
    gateways(report, at, connection.gateways);
}

fn destinations(report: &mut Report, at: &At<'_>, routes: &[RouteDestination]) {
    let at = at.field("route");
    for (index, route) in routes.iter().enumerate() {
        let at = at.index(index);
        match &route.destination {
            Some(target) => destination(report, &at.field("destination"), target),
            None => report.error(&at.field("destination"), "must be set"),
        }
    }
    weights(report, &at, &routes.iter().map(|route| route.weight).collect::<Vec<_>>());
}

/// Weights of several destinations are not negative and not all zero.
pub(super) fn weights(report: &mut Report, at: &At<'_>, weights: &[i32]) {
    for (index, weight) in weights.iter().enumerate() {
        report.not_negative(&at.index(index).field("weight"), i64::from(*weight));
    }
    if weights.len() > 1 && weights.iter().all(|weight| *weight == 0) {
        report.error(at, "the weights of several destinations are all 0: at least one must be more");
    }
}

pub(super) fn destination(report: &mut Report, at: &At<'_>, destination: &Destination) {
    let host = at.field("host");
    if destination.host == "*" {
        report.error(&host, "must name a service: * stands for none");
    } else {
        report.check(&host, rules::wildcard_domain(&destination.host));
    }
    if !destination.subset.is_empty() {
        report.check(&at.field("subset"), rules::label(&destination.subset));
    }
    if let Some(port) = &destination.port {
        report.check(&at.field("port").field("number"), rules::port(port.number));
    }
}

/// How strict a comparison of texts is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// An empty prefix matches everything.
    MayBeEmpty,
    /// Envoy refuses an empty prefix.
    NotEmpty,
}

pub(super) fn string_match(report: &mut Report, at: &At<'_>, matched: &StringMatch, prefix: Prefix) {
    report.at_most_one(
        at,
        &[("exact", matched.exact.is_some()), ("prefix", matched.prefix.is_some()), ("regex", matched.regex.is_some())],
    );
    if prefix == Prefix::NotEmpty && matched.prefix.as_deref() == Some("") {
        report.error(&at.field("prefix"), "must not be empty");
    }
    if let Some(regex) = &matched.regex {
        report.check(&at.field("regex"), super::re2::check(regex) as Check);
    }
}

/// The matches of earlier routes, in a form in which thousands are looked up quickly.
#[derive(Default)]
struct Earlier {
    /// Routes by their matches as text.
    same: BTreeMap<String, usize>,
    /// Routes by the beginning of the path that they take, whatever else a request is.
    prefixes: BTreeMap<String, usize>,
}

impl Earlier {
    fn add(&mut self, matched: &HttpMatchRequest, route: usize) {
        self.same.entry(text(matched)).or_insert(route);
        let by_path_alone = HttpMatchRequest {
            name: matched.name.clone(),
            stat_prefix: matched.stat_prefix.clone(),
            uri: matched.uri.clone(),
            ..HttpMatchRequest::default()
        };
        let prefix = matched.uri.as_ref().and_then(|uri| uri.prefix.as_ref());
        if let Some(prefix) = prefix.filter(|_| *matched == by_path_alone) {
            self.prefixes.entry(prefix.clone()).or_insert(route);
        }
    }

    /// Which earlier route takes all that a match does.
    fn uses_up(&self, matched: &HttpMatchRequest) -> Option<String> {
        if let Some(route) = self.same.get(&text(matched)) {
            return Some(format!("http[{route}] has the same match"));
        }
        let path = matched.uri.as_ref().filter(|_| !matched.ignore_uri_case)?;
        let path = path.exact.as_deref().or(path.prefix.as_deref())?;
        let starts = path.char_indices().map(|(index, _)| index).chain([path.len()]);
        let route = starts.filter_map(|end| self.prefixes.get(&path[..end])).min()?;
        Some(format!("http[{route}] takes every path that begins so"))
    }
}

/// A match as text; equal ones have equal texts.
fn text(matched: &HttpMatchRequest) -> String {
    serde_json::to_string(matched).unwrap_or_default()
}

/// Routes after one that takes everything are never used.
fn unreachable(report: &mut Report, at: &At<'_>, spec: &VirtualService) {
    let mut all: Option<usize> = None;
    for (index, route) in spec.http.iter().enumerate() {
        let at = at.field("http");
        if let Some(before) = all {
            report.warning(&at.index(index), format!("is never used: http[{before}] takes every request"));
        } else if route.r#match.is_empty() {
            all = Some(index);
        }
    }
    let mut all: Option<usize> = None;
    for (index, route) in spec.tcp.iter().enumerate() {
        let at = at.field("tcp");
        if let Some(before) = all {
            report.warning(&at.index(index), format!("is never used: tcp[{before}] takes every connection"));
        } else if route.r#match.is_empty() {
            all = Some(index);
        }
    }
    let mut known = Earlier::default();
    for (index, route) in spec.http.iter().enumerate() {
        for (second, matched) in route.r#match.iter().enumerate() {
            if let Some(text) = known.uses_up(matched) {
                let at = at.field("http");
                report.warning(&at.index(index).field("match").index(second), format!("is never used: {text}"));
            }
        }
        route.r#match.iter().for_each(|matched| known.add(matched, index));
    }
}
