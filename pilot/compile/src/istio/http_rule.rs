// SPDX-License-Identifier: Apache-2.0
//! Lowering of a VirtualService's rules of requests
//! (<https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute>).

use super::virtual_service::Names;
use crate::lower::{labels, strs};
use std::collections::BTreeMap;
use tiphys_api::Problem;
use tiphys_api::istio::networking::http_route as api;
use tiphys_api::istio::networking::virtual_service::{self as shared};
use tiphys_model::{
    Abort, AbortStatus, Body, Cors, Delay, DirectResponse, Fault, HeaderOperations, Headers, HttpAction,
    HttpDestination, HttpMatch, HttpRoute, Mirror, Redirect, RedirectPath, RedirectPort, Retries, Rewrite, RewritePath,
    Share, Str, StringMatch,
};

/// A rule in the words of the model; none when it delegates.
pub(super) fn lower(
    rule: &api::HttpRoute,
    names: &Names<'_>,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<HttpRoute> {
    if rule.delegate.is_some() {
        let message = "delegates are not supported: the rule is left out; put the other VirtualService's rules here";
        problems.push(Problem::warning(format!("{path}.delegate"), message));
        return None;
    }
    let action = if let Some(to) = &rule.redirect {
        HttpAction::Redirect(redirect(to))
    } else if let Some(response) = &rule.direct_response {
        HttpAction::DirectResponse(direct_response(response))
    } else {
        HttpAction::Route(rule.route.iter().filter_map(|one| destination(one, names)).collect())
    };
    Some(HttpRoute {
        name: rule.name.as_str().into(),
        matches: rule.r#match.iter().map(|one| http_match(one, names)).collect(),
        action,
        timeout: rule.timeout.map(Into::into),
        retries: rule.retries.as_ref().map(retries),
        fault: rule.fault.as_ref().and_then(|of| fault(of, &format!("{path}.fault"), problems)),
        cors: rule.cors_policy.as_ref().map(cors),
        headers: headers(rule.headers.as_ref()),
        rewrite: rule.rewrite.as_ref().map(rewrite),
        mirrors: mirrors(rule, names),
    })
}

fn http_match(one: &api::HttpMatchRequest, names: &Names<'_>) -> HttpMatch {
    let map = |map: &BTreeMap<String, shared::StringMatch>| {
        map.iter().map(|(name, wanted)| (Str::from(name.as_str()), present_or(wanted))).collect()
    };
    HttpMatch {
        name: one.name.as_str().into(),
        uri: one.uri.as_ref().and_then(string_match),
        ignore_uri_case: one.ignore_uri_case,
        scheme: one.scheme.as_ref().map(present_or),
        method: one.method.as_ref().map(present_or),
        authority: one.authority.as_ref().map(present_or),
        headers: map(&one.headers),
        without_headers: map(&one.without_headers),
        query_params: map(&one.query_params),
        port: one.port,
        source_labels: labels(&one.source_labels),
        namespace: one.source_namespace.as_str().into(),
        gateways: names.gateways(&one.gateways),
        stat_prefix: one.stat_prefix.as_str().into(),
    }
}

fn string_match(wanted: &shared::StringMatch) -> Option<StringMatch> {
    let shared::StringMatch { exact, prefix, regex } = wanted;
    let exact = exact.as_deref().map(|text| StringMatch::Exact(text.into()));
    let prefix = prefix.as_deref().map(|text| StringMatch::Prefix(text.into()));
    let regex = regex.as_deref().map(|text| StringMatch::Regex(text.into()));
    exact.or(prefix).or(regex)
}

/// Without a text any value will do; `*`, which is no regular expression, is an older way to say so.
fn present_or(wanted: &shared::StringMatch) -> StringMatch {
    match string_match(wanted) {
        Some(StringMatch::Regex(regex)) if &*regex == "*" => StringMatch::Present,
        Some(wanted) => wanted,
        None => StringMatch::Present,
    }
}

fn destination(one: &api::HttpRouteDestination, names: &Names<'_>) -> Option<HttpDestination> {
    Some(HttpDestination {
        destination: names.destination(one.destination.as_ref()?),
        weight: one.weight.try_into().unwrap_or_default(),
        headers: headers(one.headers.as_ref()),
    })
}

fn headers(of: Option<&shared::Headers>) -> Headers {
    let operations = |of: Option<&shared::HeaderOperations>| {
        let map = |map: &BTreeMap<String, String>| {
            map.iter().map(|(key, value)| (Str::from(key.as_str()), Str::from(value.as_str()))).collect()
        };
        of.map_or_else(HeaderOperations::default, |of| HeaderOperations {
            set: map(&of.set),
            add: map(&of.add),
            remove: strs(&of.remove),
        })
    };
    of.map_or_else(Headers::default, |of| Headers {
        request: operations(of.request.as_ref()),
        response: operations(of.response.as_ref()),
    })
}

fn redirect(to: &api::HttpRedirect) -> Redirect {
    let path = match (to.prefix_rewrite.as_str(), to.uri.as_str()) {
        ("", "") => RedirectPath::Keep,
        ("", path) => RedirectPath::Full(path.into()),
        (prefix, _) => RedirectPath::Prefix(prefix.into()),
    };
    let port = match (to.port, &to.derive_port) {
        (Some(number), _) => RedirectPort::Number(number),
        (None, Some(api::RedirectPortSelection::FromRequestPort)) => RedirectPort::Request,
        (None, Some(_)) => RedirectPort::Protocol,
        (None, None) => RedirectPort::Keep,
    };
    Redirect {
        path,
        authority: to.authority.as_str().into(),
        scheme: to.scheme.as_str().into(),
        port,
        code: to.redirect_code,
    }
}

fn direct_response(response: &api::HttpDirectResponse) -> DirectResponse {
    let body = response.body.as_ref().and_then(|body| {
        let text = body.string.as_deref().map(|text| Body::Text(text.into()));
        text.or_else(|| body.bytes.as_ref().map(|bytes| Body::Bytes(bytes.0.clone())))
    });
    DirectResponse { status: response.status, body }
}

fn rewrite(of: &api::HttpRewrite) -> Rewrite {
    let path = match (&of.uri_regex_rewrite, of.uri.as_str()) {
        (Some(regex), _) => RewritePath::Regex(regex.r#match.as_str().into(), regex.rewrite.as_str().into()),
        (None, "") => RewritePath::Keep,
        (None, uri) => RewritePath::Prefix(uri.into()),
    };
    Rewrite { path, authority: of.authority.as_str().into() }
}

/// Retries in the words of the model.
pub(crate) fn retries(of: &api::HttpRetry) -> Retries {
    Retries {
        attempts: of.attempts.try_into().unwrap_or_default(),
        per_try_timeout: of.per_try_timeout.map(Into::into),
        retry_on: of.retry_on.as_str().into(),
        remote_localities: of.retry_remote_localities.unwrap_or(false),
        ignore_previous_hosts: of.retry_ignore_previous_hosts,
        backoff: of.backoff.map(Into::into),
    }
}

fn fault(of: &api::HttpFaultInjection, path: &str, problems: &mut Vec<Problem>) -> Option<Fault> {
    let delay = of.delay.as_ref().and_then(|delay| {
        let share = match &delay.percentage {
            Some(percentage) => Share::of_percentage(percentage.value),
            None => Share::Percent(delay.percent.try_into().unwrap_or_default()),
        };
        let fixed = delay.fixed_delay.map(|fixed| Delay { share, fixed: fixed.into() });
        if fixed.is_none() {
            let message = "only fixedDelay is supported: no delay is injected";
            problems.push(Problem::warning(format!("{path}.delay"), message));
        }
        fixed
    });
    let abort = of.abort.as_ref().and_then(|abort| {
        let status = match (abort.http_status, abort.grpc_status.as_deref()) {
            (Some(status), _) => status.try_into().ok().map(AbortStatus::Http),
            (None, Some(name)) => grpc_status(name).map(AbortStatus::Grpc),
            (None, None) => None,
        };
        if status.is_none() {
            let message = "only httpStatus and a known grpcStatus are supported: nothing is aborted";
            problems.push(Problem::warning(format!("{path}.abort"), message));
        }
        let share = abort.percentage.as_ref().map(|percentage| Share::of_percentage(percentage.value));
        Some(Abort { share, status: status? })
    });
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

/// The number of a gRPC status (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
fn grpc_status(name: &str) -> Option<u32> {
    const NAMES: [&str; 17] = [
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
    NAMES.iter().position(|known| *known == name).and_then(|at| at.try_into().ok())
}

fn cors(of: &api::CorsPolicy) -> Cors {
    let exact = || of.allow_origin.iter().map(|origin| StringMatch::Exact(origin.as_str().into())).collect();
    Cors {
        origins: match of.allow_origins.is_empty() {
            true => exact(),
            false => of.allow_origins.iter().filter_map(string_match).collect(),
        },
        methods: strs(&of.allow_methods),
        headers: strs(&of.allow_headers),
        expose: strs(&of.expose_headers),
        max_age: of.max_age.map(Into::into),
        credentials: of.allow_credentials,
        forward_unmatched: of.unmatched_preflights != api::UnmatchedPreflights::Ignore,
    }
}

fn mirrors(rule: &api::HttpRoute, names: &Names<'_>) -> Vec<Mirror> {
    let share = match (&rule.mirror_percentage, rule.mirror_percent) {
        (Some(percentage), _) => Share::of_percentage(percentage.value),
        (None, Some(percent)) => Share::Percent(percent),
        (None, None) => Share::ALL,
    };
    let first = rule.mirror.iter().map(|to| Mirror { destination: names.destination(to), share });
    let others = rule.mirrors.iter().filter_map(|policy| {
        let share = policy.percentage.as_ref().map_or(Share::ALL, |of| Share::of_percentage(of.value));
        Some(Mirror { destination: names.destination(policy.destination.as_ref()?), share })
    });
    // A share of nothing, said outright, is no mirror.
    first.chain(others).filter(|mirror| !mirror.share.is_zero()).collect()
}
