// SPDX-License-Identifier: Apache-2.0
//! HTTPRoutes (<https://gateway-api.sigs.k8s.io/api-types/httproute/>): each match of each rule becomes one rule of the model.

use super::backend::{Referrer, destination, weights};
use super::{Refusal, filters};
use std::collections::BTreeMap;
use std::time::Duration;
use tiphys_api::gateway as api;
use tiphys_model::{
    Cors, DirectResponse, Headers, HttpAction, HttpDestination, HttpMatch, HttpRoute, Redirect, RedirectPath,
    RedirectPort, Retries, Rewrite, RewritePath, Str, StringMatch,
};

/// Rules that were made, and what is wrong with some backend.
pub(super) type Rules = (Vec<HttpRoute>, Option<Refusal>);

/// The rules of a route. An error makes all of it unusable.
pub(super) fn rules(route: &api::HttpRoute, referrer: &Referrer<'_>) -> Result<Rules, Refusal> {
    let mut rules = Vec::new();
    let mut refused = None;
    for (index, rule) in route.rules.iter().enumerate() {
        let (made, wrong) = one(rule, index, referrer)?;
        refused = wrong.or(refused);
        for matches in split(&rule.matches)? {
            rules.push(HttpRoute { matches, ..made.clone() });
        }
    }
    Ok((rules, refused))
}

/// Each match by itself, since precedence is by match.
fn split(matches: &[api::http_route::HttpRouteMatch]) -> Result<Vec<Vec<HttpMatch>>, Refusal> {
    if matches.is_empty() {
        return Ok(vec![Vec::new()]);
    }
    matches.iter().map(|one| Ok(vec![http_match(one)?])).collect()
}

fn http_match(one: &api::http_route::HttpRouteMatch) -> Result<HttpMatch, Refusal> {
    Ok(HttpMatch {
        uri: Some(path(one.path.as_ref())?),
        headers: headers(&one.headers)?,
        query_params: one
            .query_params
            .iter()
            .map(|wanted| Ok((wanted.name.as_str().into(), text(wanted.match_type.as_ref(), &wanted.value)?)))
            .collect::<Result<_, Refusal>>()?,
        method: one.method.as_ref().map(|method| StringMatch::Exact(method.as_str().into())),
        ..HttpMatch::default()
    })
}

fn path(wanted: Option<&api::http_route::HttpPathMatch>) -> Result<StringMatch, Refusal> {
    let value = wanted.and_then(|wanted| wanted.value.as_deref()).unwrap_or("/");
    Ok(match wanted.and_then(|wanted| wanted.match_type.as_ref()) {
        None | Some(api::http_route::PathMatchType::PathPrefix) => {
            let value = if value == "/" { value } else { value.strip_suffix('/').unwrap_or(value) };
            StringMatch::Prefix(value.into())
        }
        Some(api::http_route::PathMatchType::Exact) => StringMatch::Exact(value.into()),
        Some(api::http_route::PathMatchType::RegularExpression) => StringMatch::Regex(value.into()),
        Some(other) => return Err(unknown("path match type", other.as_str())),
    })
}

fn unknown(what: &str, word: &str) -> Refusal {
    Refusal::new("InvalidConfiguration", format!("{what} {word:?} is not supported"))
}

/// Headers to match, as GRPCRoute has them too.
pub(super) fn headers(list: &[api::http_route::HttpHeaderMatch]) -> Result<BTreeMap<Str, StringMatch>, Refusal> {
    list.iter()
        .map(|wanted| Ok((wanted.name.as_str().into(), text(wanted.match_type.as_ref(), &wanted.value)?)))
        .collect()
}

fn text(kind: Option<&api::http_route::MatchType>, value: &str) -> Result<StringMatch, Refusal> {
    match kind {
        None | Some(api::http_route::MatchType::Exact) => Ok(StringMatch::Exact(value.into())),
        Some(api::http_route::MatchType::RegularExpression) => Ok(StringMatch::Regex(value.into())),
        Some(other) => Err(unknown("match type", other.as_str())),
    }
}

/// A rule without its matches.
fn one(
    rule: &api::http_route::HttpRouteRule,
    index: usize,
    referrer: &Referrer<'_>,
) -> Result<(HttpRoute, Option<Refusal>), Refusal> {
    let mut made = HttpRoute { name: rule_name(rule.name.as_deref(), index, referrer), ..HttpRoute::default() };
    let mut redirected = None;
    let mut mirror_refused = None;
    for filter in &rule.filters {
        match apply(filter, &mut made, &mut redirected, referrer) {
            Err(refused) if filter.filter_type == api::http_route::HttpRouteFilterType::RequestMirror => {
                mirror_refused = Some(refused);
            }
            other => other?,
        }
    }
    made.retries = rule.retry.as_ref().map(retries);
    timeouts(rule.timeouts.as_ref(), &mut made);
    let shares = weights(&rule.backend_refs, |backend| backend.weight);
    if let Some(to) = redirected {
        made.action = HttpAction::Redirect(to);
        return Ok((made, mirror_refused));
    }
    if shares.is_empty() {
        made.action = HttpAction::DirectResponse(DirectResponse { status: 500, body: None });
        return Ok((made, mirror_refused));
    }
    let mut refused: Option<Refusal> = None;
    let mut destinations = Vec::new();
    for (backend, weight) in shares {
        let (destination, wrong) = destination(referrer, backend.into())?;
        refused = wrong.or(refused);
        destinations.push(HttpDestination { destination, weight, headers: backend_headers(&backend.filters)? });
    }
    made.action = HttpAction::Route(destinations);
    Ok((made, join(refused, mirror_refused)))
}

fn join(a: Option<Refusal>, b: Option<Refusal>) -> Option<Refusal> {
    match (a, b) {
        (Some(a), Some(b)) => Some(Refusal { message: format!("{}; {}", a.message, b.message), ..a }),
        (a, b) => a.or(b),
    }
}

/// The name of a rule: its own, else one that tells where it stands.
pub(super) fn rule_name(name: Option<&str>, index: usize, referrer: &Referrer<'_>) -> Str {
    match name {
        Some(name) => name.into(),
        None => format!("{}.{}.{index}", referrer.namespace, referrer.name).into(),
    }
}

fn apply(
    filter: &api::http_route::HttpRouteFilter,
    made: &mut HttpRoute,
    redirected: &mut Option<Redirect>,
    referrer: &Referrer<'_>,
) -> Result<(), Refusal> {
    use api::http_route::HttpRouteFilterType as Type;
    match &filter.filter_type {
        Type::RequestHeaderModifier => {
            made.headers.request =
                filter.request_header_modifier.as_ref().map(filters::headers).transpose()?.unwrap_or_default();
        }
        Type::ResponseHeaderModifier => {
            made.headers.response =
                filter.response_header_modifier.as_ref().map(filters::headers).transpose()?.unwrap_or_default();
        }
        Type::RequestRedirect => *redirected = filter.request_redirect.as_ref().map(redirect),
        Type::UrlRewrite => made.rewrite = filter.url_rewrite.as_ref().and_then(rewrite),
        Type::Cors => made.cors = filter.cors.as_ref().map(cors),
        Type::RequestMirror => {
            if let Some(mirror) = &filter.request_mirror {
                made.mirrors.extend(filters::mirror(mirror, referrer)?);
            }
        }
        other => {
            return Err(Refusal::new("InvalidFilter", format!("unsupported filter type {:?}", other.as_str())));
        }
    }
    Ok(())
}

fn backend_headers(list: &[api::http_route::HttpRouteFilter]) -> Result<Headers, Refusal> {
    use api::http_route::HttpRouteFilterType as Type;
    let mut headers = Headers::default();
    for filter in list {
        match (&filter.filter_type, &filter.request_header_modifier, &filter.response_header_modifier) {
            (Type::RequestHeaderModifier, Some(change), _) => headers.request = filters::headers(change)?,
            (Type::ResponseHeaderModifier, _, Some(change)) => headers.response = filters::headers(change)?,
            (Type::RequestHeaderModifier | Type::ResponseHeaderModifier, ..) => {}
            (other, ..) => {
                return Err(Refusal::new("InvalidFilter", format!("unsupported filter type {:?}", other.as_str())));
            }
        }
    }
    Ok(headers)
}

fn redirect(filter: &api::http_route::HttpRequestRedirectFilter) -> Redirect {
    let path = match filter.path.as_ref().map(|path| (&path.replace_full_path, &path.replace_prefix_match)) {
        Some((Some(full), _)) if !full.is_empty() => RedirectPath::Full(full.as_str().into()),
        Some((_, Some(prefix))) if !prefix.is_empty() => RedirectPath::Prefix(prefix.as_str().into()),
        _ => RedirectPath::Keep,
    };
    let port = match (filter.port, &filter.scheme) {
        (Some(port), _) => RedirectPort::Number(port.try_into().unwrap_or_default()),
        (None, Some(_)) => RedirectPort::Protocol,
        (None, None) => RedirectPort::Request,
    };
    Redirect {
        path,
        authority: filter.hostname.as_deref().unwrap_or_default().into(),
        scheme: filter.scheme.as_deref().unwrap_or_default().into(),
        port,
        code: filter.status_code.unwrap_or_default().try_into().unwrap_or_default(),
    }
}

fn rewrite(filter: &api::http_route::HttpUrlRewriteFilter) -> Option<Rewrite> {
    let path = match filter.path.as_ref().map(|path| (&path.replace_full_path, &path.replace_prefix_match)) {
        Some((Some(full), _)) => RewritePath::Regex("/.*".into(), full.as_str().into()),
        Some((None, Some(prefix))) => match prefix.strip_suffix('/').unwrap_or(prefix) {
            "" => RewritePath::Prefix("/".into()),
            prefix => RewritePath::Prefix(prefix.into()),
        },
        _ => RewritePath::Keep,
    };
    let authority: Str = filter.hostname.as_deref().unwrap_or_default().into();
    (path != RewritePath::Keep || !authority.is_empty()).then_some(Rewrite { path, authority })
}

fn cors(filter: &api::http_route::HttpCorsFilter) -> Cors {
    let texts = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
    Cors {
        origins: filter
            .allow_origins
            .iter()
            .filter(|origin| !origin.is_empty())
            .map(|origin| self::origin(origin))
            .collect(),
        methods: texts(&filter.allow_methods),
        headers: texts(&filter.allow_headers),
        expose: texts(&filter.expose_headers),
        max_age: filter.max_age.and_then(|age| u64::try_from(age).ok()).filter(|age| *age > 0).map(Duration::from_secs),
        credentials: filter.allow_credentials.filter(|allowed| *allowed),
        forward_unmatched: false,
    }
}

/// An origin, in which `*` stands for any text; alone it stands for any origin.
fn origin(origin: &str) -> StringMatch {
    match origin.split_once('*') {
        _ if origin == "*" => StringMatch::Regex(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+$".into()),
        None => StringMatch::Exact(origin.into()),
        Some((prefix, "")) => StringMatch::Prefix(prefix.into()),
        Some(_) => {
            let quoted = |part: &str| {
                let special = |c: char| r"\.+*?()|[]{}^$".contains(c);
                part.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect::<String>()
            };
            let parts: Vec<String> = origin.split('*').map(quoted).collect();
            StringMatch::Regex(format!("^{}$", parts.join(".*")).into())
        }
    }
}

fn retries(of: &api::http_route::HttpRouteRetry) -> Retries {
    let attempts = of.attempts.map_or(2, |attempts| attempts.try_into().unwrap_or_default());
    let mut on = vec!["connect-failure".to_string(), "refused-stream".into(), "unavailable".into(), "cancelled".into()];
    on.extend(of.codes.iter().map(ToString::to_string));
    Retries {
        attempts,
        retry_on: if attempts == 0 { Str::default() } else { on.join(",").into() },
        backoff: of.backoff.map(Into::into),
        ..Retries::default()
    }
}

/// A limit of each attempt is one of the whole where nothing is retried; zero means none.
fn timeouts(of: Option<&api::http_route::HttpRouteTimeouts>, made: &mut HttpRoute) {
    let limit = |limit: Option<tiphys_api::Duration>| limit.map(Duration::from).filter(|limit| !limit.is_zero());
    made.timeout = of.and_then(|of| limit(of.request));
    if let Some(each) = of.and_then(|of| limit(of.backend_request)) {
        match &mut made.retries {
            Some(retries) => retries.per_try_timeout = Some(each),
            None => made.timeout = Some(each),
        }
    }
}
