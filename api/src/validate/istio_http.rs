// SPDX-License-Identifier: Apache-2.0
//! The HTTP routes of a VirtualService.

use super::report::{At, Report};
use super::rules;
use super::virtual_service::{Context, Prefix, destination, gateways, string_match, weights};
use crate::istio::networking::http_route::{
    Abort, CorsPolicy, Delay, HttpDirectResponse, HttpFaultInjection, HttpMatchRequest, HttpRedirect, HttpRetry,
    HttpRewrite, HttpRoute,
};
use crate::istio::networking::virtual_service::{HeaderOperations, Headers, Percent};

/// Methods that browsers ask for; Envoy compares texts, and others would be a slip.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

/// Conditions of retries that Envoy knows.
const RETRY_ON: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(super) fn check(report: &mut Report, at: &At<'_>, route: &HttpRoute, context: &Context<'_>) {
    conflicts(report, at, route, context);
    for (index, matched) in route.r#match.iter().enumerate() {
        matches(report, &at.field("match").index(index), matched, context);
    }
    if let Some(headers) = &route.headers {
        self::headers(report, &at.field("headers"), headers);
    }
    if let Some(policy) = &route.cors_policy {
        cors(report, &at.field("corsPolicy"), policy);
    }
    if let Some(fault) = &route.fault {
        self::fault(report, &at.field("fault"), fault);
    }
    mirrors(report, at, route);
    if let Some(redirect) = &route.redirect {
        self::redirect(report, &at.field("redirect"), redirect, route);
    }
    if let Some(response) = &route.direct_response {
        direct_response(report, &at.field("directResponse"), response);
    }
    if let Some(retries) = &route.retries {
        retry(report, &at.field("retries"), retries);
    }
    if let Some(rewrite) = &route.rewrite {
        self::rewrite(report, &at.field("rewrite"), rewrite);
    }
    authority(report, at, route);
    destinations(report, at, route);
    report.duration(&at.field("timeout"), route.timeout.filter(|timeout| !timeout.is_zero()));
}

fn conflicts(report: &mut Report, at: &At<'_>, route: &HttpRoute, context: &Context<'_>) {
    let has_route = !route.route.is_empty();
    if let Some(delegate) = &route.delegate {
        if context.spec.hosts.is_empty() {
            report.error(&at.field("delegate"), "a delegate cannot have a delegate itself");
        }
        report.present(&at.field("delegate").field("name"), &delegate.name);
        if has_route || route.redirect.is_some() || route.direct_response.is_some() {
            report.error(at, "a route with a delegate must not have route, redirect or directResponse");
        }
        return;
    }
    report.exactly_one(
        at,
        &[
            ("route", has_route),
            ("redirect", route.redirect.is_some()),
            ("directResponse", route.direct_response.is_some()),
        ],
    );
    if route.redirect.is_some() || route.direct_response.is_some() {
        for (name, set) in [("fault", route.fault.is_some()), ("rewrite", route.rewrite.is_some())] {
            if set {
                report.error(&at.field(name), "does not go with redirect or directResponse");
            }
        }
    }
    report.at_most_one(at, &[("mirror", route.mirror.is_some()), ("mirrors", !route.mirrors.is_empty())]);
}

fn matches(report: &mut Report, at: &At<'_>, matched: &HttpMatchRequest, context: &Context<'_>) {
    for (field, headers, without) in
        [("headers", &matched.headers, false), ("withoutHeaders", &matched.without_headers, true)]
    {
        for (name, value) in headers {
            let at = at.field(field);
            let at = at.key(name);
            report.check(&at, rules::matched_header(name));
            if rules::is_claim(name) && !context.gateway {
                report.error(&at, "routing by JWT claims works at gateways only");
            }
            // Here `*` is no expression: it asks that the header is there at all.
            if !(without && value.regex.as_deref() == Some("*")) {
                string_match(report, &at, value, Prefix::NotEmpty);
            }
        }
    }
    if let Some(uri) = &matched.uri {
        string_match(report, &at.field("uri"), uri, Prefix::MayBeEmpty);
    }
    for (field, value) in [("scheme", &matched.scheme), ("method", &matched.method), ("authority", &matched.authority)]
    {
        if let Some(value) = value {
            string_match(report, &at.field(field), value, Prefix::NotEmpty);
        }
    }
    for (name, value) in &matched.query_params {
        string_match(report, &at.field("queryParams").key(name), value, Prefix::NotEmpty);
    }
    if matched.port != 0 {
        report.check(&at.field("port"), rules::port(matched.port));
    }
    report.check(&at.field("sourceLabels"), rules::labels(&matched.source_labels));
    gateways(report, at, &matched.gateways);
    if !matched.source_namespace.is_empty() {
        report.check(&at.field("sourceNamespace"), rules::label(&matched.source_namespace));
    }
}

fn headers(report: &mut Report, at: &At<'_>, headers: &Headers) {
    if let Some(request) = &headers.request {
        operations(report, &at.field("request"), request, true);
    }
    if let Some(response) = &headers.response {
        operations(report, &at.field("response"), response, false);
    }
}

fn operations(report: &mut Report, at: &At<'_>, operations: &HeaderOperations, request: bool) {
    for (field, headers) in [("set", &operations.set), ("add", &operations.add)] {
        for (name, value) in headers {
            let at = at.field(field);
            let at = at.key(name);
            report.check(&at, rules::changed_header(name, request));
            report.check(&at, rules::header_value(value));
        }
    }
    for (index, name) in operations.remove.iter().enumerate() {
        report.check(&at.field("remove").index(index), rules::changed_header(name, false));
    }
}

/// The host may be changed in one place only.
fn authority(report: &mut Report, at: &At<'_>, route: &HttpRoute) {
    let is_authority = |name: &&String| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
    let rewritten = route.rewrite.as_ref().is_some_and(|rewrite| !rewrite.authority.is_empty());
    let request = route.headers.as_ref().and_then(|headers| headers.request.as_ref());
    let set = request.map_or(0, |request| request.set.keys().chain(request.add.keys()).filter(is_authority).count());
    if usize::from(rewritten) + set > 1 {
        report.error(at, "changes the host more than once (rewrite.authority, headers.request): keep one");
    }
}

fn destinations(report: &mut Report, at: &At<'_>, route: &HttpRoute) {
    let at = at.field("route");
    for (index, target) in route.route.iter().enumerate() {
        let at = at.index(index);
        match &target.destination {
            Some(target) => destination(report, &at.field("destination"), target),
            None => report.error(&at.field("destination"), "must be set"),
        }
        if let Some(headers) = &target.headers {
            self::headers(report, &at.field("headers"), headers);
        }
    }
    weights(report, &at, &route.route.iter().map(|route| route.weight).collect::<Vec<_>>());
}

fn cors(report: &mut Report, at: &At<'_>, policy: &CorsPolicy) {
    for (index, origin) in policy.allow_origins.iter().enumerate() {
        let at = at.field("allowOrigins");
        let at = at.index(index);
        if [&origin.exact, &origin.prefix, &origin.regex]
            .iter()
            .all(|text| text.as_deref().unwrap_or_default().is_empty())
        {
            report.error(&at, "one of exact, prefix, regex must be set");
        }
        string_match(report, &at, origin, Prefix::NotEmpty);
    }
    for (index, method) in policy.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            report.error(&at.field("allowMethods").index(index), format!("{method:?} is not a method of HTTP"));
        }
    }
    for (field, names) in [("allowHeaders", &policy.allow_headers), ("exposeHeaders", &policy.expose_headers)] {
        for (index, name) in names.iter().enumerate() {
            report.check(&at.field(field).index(index), rules::header_name(name));
        }
    }
    report.duration(&at.field("maxAge"), policy.max_age);
    if policy.max_age.is_some_and(|age| age.get().subsec_nanos() != 0) {
        report.error(&at.field("maxAge"), "must be whole seconds");
    }
}

/// A share that Envoy can keep apart from none.
fn fine_percent(report: &mut Report, at: &At<'_>, percent: Option<&Percent>) {
    let Some(percent) = percent else { return };
    report.percent(&at.field("value"), percent.value);
    if percent.value > 0.0 && percent.value < 0.0001 {
        report.error(&at.field("value"), "is too small: must be 0 or at least 0.0001");
    }
}

fn fault(report: &mut Report, at: &At<'_>, fault: &HttpFaultInjection) {
    if fault.abort.is_none() && fault.delay.is_none() {
        report.error(at, "one of abort, delay must be set");
    }
    if let Some(Abort { http_status, grpc_status, http2_error, percentage }) = &fault.abort {
        let at = at.field("abort");
        fine_percent(report, &at.field("percentage"), percentage.as_ref());
        report.at_most_one(
            &at,
            &[
                ("httpStatus", http_status.is_some()),
                ("grpcStatus", grpc_status.is_some()),
                ("http2Error", http2_error.is_some()),
            ],
        );
        if let Some(status) = http_status {
            self::status(report, &at.field("httpStatus"), i64::from(*status));
        }
        if let Some(status) = grpc_status.as_deref().filter(|status| !GRPC_STATUSES.contains(status)) {
            report.error(&at.field("grpcStatus"), format!("{status:?} is not a status of gRPC: write it as NOT_FOUND"));
        }
        if http2_error.is_some() {
            report.error(&at.field("http2Error"), "does not work: use httpStatus or grpcStatus");
        }
        if http_status.is_none() && grpc_status.is_none() && http2_error.is_none() {
            report.warning(&at, "has no effect: httpStatus or grpcStatus is missing");
        }
    }
    if let Some(Delay { fixed_delay, exponential_delay, percentage, percent }) = &fault.delay {
        let at = at.field("delay");
        fine_percent(report, &at.field("percentage"), percentage.as_ref());
        report.percent(&at.field("percent"), f64::from(*percent));
        report.duration(&at.field("fixedDelay"), *fixed_delay);
        if exponential_delay.is_some() {
            report.error(&at.field("exponentialDelay"), "does not work: use fixedDelay");
        }
    }
}

fn status(report: &mut Report, at: &At<'_>, status: i64) {
    if !(200..600).contains(&status) {
        report.error(at, format!("{status} is not a status: must be from 200 to 599"));
    }
}

fn mirrors(report: &mut Report, at: &At<'_>, route: &HttpRoute) {
    if let Some(percent) = route.mirror_percent {
        report.percent(&at.field("mirrorPercent"), f64::from(percent));
        report.warning(&at.field("mirrorPercent"), "is outdated: use mirrorPercentage");
    }
    if let Some(percentage) = &route.mirror_percentage {
        report.percent(&at.field("mirrorPercentage").field("value"), percentage.value);
    }
    if let Some(mirror) = &route.mirror {
        destination(report, &at.field("mirror"), mirror);
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let at = at.field("mirrors");
        let at = at.index(index);
        match &mirror.destination {
            Some(target) => destination(report, &at.field("destination"), target),
            None => report.error(&at.field("destination"), "must be set"),
        }
        if let Some(percentage) = &mirror.percentage {
            report.percent(&at.field("percentage").field("value"), percentage.value);
        }
    }
}

fn redirect(report: &mut Report, at: &At<'_>, redirect: &HttpRedirect, route: &HttpRoute) {
    report
        .at_most_one(at, &[("uri", !redirect.uri.is_empty()), ("prefixRewrite", !redirect.prefix_rewrite.is_empty())]);
    report.at_most_one(at, &[("port", redirect.port.is_some()), ("derivePort", redirect.derive_port.is_some())]);
    let by_prefix = |uri: &crate::istio::networking::virtual_service::StringMatch| uri.prefix.is_some();
    if !redirect.prefix_rewrite.is_empty()
        && !route.r#match.iter().all(|matched| matched.uri.as_ref().is_none_or(by_prefix))
    {
        report.error(&at.field("prefixRewrite"), "needs all matches of the path to be by prefix");
    }
    let texts = [&redirect.uri, &redirect.prefix_rewrite, &redirect.authority, &redirect.scheme];
    if texts.iter().all(|text| text.is_empty()) && redirect.port.is_none() && redirect.derive_port.is_none() {
        report.error(at, "one of uri, prefixRewrite, authority, scheme, port, derivePort must be set");
    }
    if redirect.redirect_code != 0 && !(300..400).contains(&redirect.redirect_code) {
        report.error(
            &at.field("redirectCode"),
            format!("{} is not a redirect: must be from 300 to 399", redirect.redirect_code),
        );
    }
    if !["", "http", "https"].contains(&redirect.scheme.as_str()) {
        report.error(&at.field("scheme"), format!("{:?} is neither http nor https", redirect.scheme));
    }
    if let Some(port) = redirect.port.filter(|port| *port != 0) {
        report.check(&at.field("port"), rules::port(port));
    }
}

fn direct_response(report: &mut Report, at: &At<'_>, response: &HttpDirectResponse) {
    status(report, &at.field("status"), i64::from(response.status));
    let Some(body) = &response.body else { return };
    report.at_most_one(&at.field("body"), &[("string", body.string.is_some()), ("bytes", body.bytes.is_some())]);
    let text = body.string.as_ref().map_or(0, String::len);
    let size = text.max(body.bytes.as_ref().map_or(0, |bytes| bytes.0.len()));
    if size > 1024 * 1024 {
        report.error(&at.field("body"), "is larger than 1 MiB");
    } else if size > 100 * 1024 {
        report.warning(&at.field("body"), "is large: every proxy gets a copy");
    }
}

pub(super) fn retry(report: &mut Report, at: &At<'_>, retry: &HttpRetry) {
    report.not_negative(&at.field("attempts"), i64::from(retry.attempts));
    let set = retry.per_try_timeout.is_some() || !retry.retry_on.is_empty() || retry.retry_remote_localities.is_some();
    if retry.attempts == 0 && set {
        report.error(at, "attempts of 0 turns retries off: nothing else may be set");
    }
    report.duration(&at.field("perTryTimeout"), retry.per_try_timeout);
    report.duration(&at.field("backoff"), retry.backoff);
    for policy in retry.retry_on.split(',').filter(|_| !retry.retry_on.is_empty()) {
        let status = policy.parse::<u16>().is_ok_and(|status| (100..600).contains(&status));
        if !status && !RETRY_ON.contains(&policy) {
            report.error(
                &at.field("retryOn"),
                format!("{policy:?} is neither a status nor one of {}", RETRY_ON.join(", ")),
            );
        }
    }
}

fn rewrite(report: &mut Report, at: &At<'_>, rewrite: &HttpRewrite) {
    let regex = rewrite.uri_regex_rewrite.as_ref();
    report.at_most_one(at, &[("uri", !rewrite.uri.is_empty()), ("uriRegexRewrite", regex.is_some())]);
    if rewrite.uri.is_empty() && regex.is_none() && rewrite.authority.is_empty() {
        report.error(at, "one of uri, uriRegexRewrite, authority must be set");
    }
    if let Some(regex) = regex {
        let at = at.field("uriRegexRewrite");
        report.check(&at.field("match"), super::re2::check(&regex.r#match));
        report.present(&at.field("rewrite"), &regex.rewrite);
    }
}
