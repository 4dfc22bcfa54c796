// SPDX-License-Identifier: Apache-2.0
//! GRPCRoutes (<https://gateway-api.sigs.k8s.io/api-types/grpcroute/>): HTTP routes whose path is `/SERVICE/METHOD`.

use super::backend::{Referrer, destination, weights};
use super::http::{Rules, headers, rule_name};
use super::{Refusal, filters};
use tiphys_api::gateway as api;
use tiphys_model::{DirectResponse, Headers, HttpAction, HttpDestination, HttpMatch, HttpRoute, StringMatch};

/// The rules of a route. An error makes all of it unusable.
pub(super) fn rules(route: &api::GrpcRoute, referrer: &Referrer<'_>) -> Result<Rules, Refusal> {
    let mut rules = Vec::new();
    let mut refused = None;
    for (index, rule) in route.rules.iter().enumerate() {
        let (made, wrong) = one(rule, index, referrer)?;
        refused = wrong.or(refused);
        if rule.matches.is_empty() {
            rules.push(made);
            continue;
        }
        for wanted in &rule.matches {
            let one = HttpMatch {
                uri: wanted.method.as_ref().map(method).transpose()?,
                headers: headers(&wanted.headers)?,
                ..HttpMatch::default()
            };
            rules.push(HttpRoute { matches: vec![one], ..made.clone() });
        }
    }
    Ok((rules, refused))
}

fn method(wanted: &api::grpc_route::GrpcMethodMatch) -> Result<StringMatch, Refusal> {
    let exact = match &wanted.match_type {
        None | Some(api::http_route::MatchType::Exact) => true,
        Some(api::http_route::MatchType::RegularExpression) => false,
        Some(other) => {
            let message = format!("method match type {:?} is not supported", other.as_str());
            return Err(Refusal::new("InvalidConfiguration", message));
        }
    };
    Ok(match (wanted.service.as_deref(), wanted.method.as_deref(), exact) {
        (None, None, _) => {
            return Err(Refusal::new("InvalidConfiguration", "gRPC match must have method or service defined"));
        }
        (Some(service), None, true) => StringMatch::Prefix(format!("/{service}/").into()),
        (Some(service), None, false) => StringMatch::Regex(format!("/{service}/.+").into()),
        (None, Some(method), _) => StringMatch::Regex(format!("/[^/]+/{method}").into()),
        (Some(service), Some(method), true) => StringMatch::Exact(format!("/{service}/{method}").into()),
        (Some(service), Some(method), false) => StringMatch::Regex(format!("/{service}/{method}").into()),
    })
}

fn one(
    rule: &api::grpc_route::GrpcRouteRule,
    index: usize,
    referrer: &Referrer<'_>,
) -> Result<(HttpRoute, Option<Refusal>), Refusal> {
    let mut made = HttpRoute { name: rule_name(rule.name.as_deref(), index, referrer), ..HttpRoute::default() };
    for filter in &rule.filters {
        match (&filter.filter_type, &filter.request_mirror) {
            (api::grpc_route::GrpcRouteFilterType::RequestMirror, Some(mirror)) => {
                made.mirrors.extend(filters::mirror(mirror, referrer)?);
            }
            _ => change_headers(filter, &mut made.headers)?,
        }
    }
    let shares = weights(&rule.backend_refs, |backend| backend.weight);
    if shares.is_empty() {
        made.action = HttpAction::DirectResponse(DirectResponse { status: 500, body: None });
        return Ok((made, None));
    }
    let mut refused = None;
    let mut destinations = Vec::new();
    for (backend, weight) in shares {
        let (destination, wrong) = destination(referrer, backend.into())?;
        refused = wrong.or(refused);
        let mut headers = Headers::default();
        for filter in &backend.filters {
            change_headers(filter, &mut headers)?;
        }
        destinations.push(HttpDestination { destination, weight, headers });
    }
    made.action = HttpAction::Route(destinations);
    Ok((made, refused))
}

fn change_headers(filter: &api::grpc_route::GrpcRouteFilter, headers: &mut Headers) -> Result<(), Refusal> {
    use api::grpc_route::GrpcRouteFilterType as Type;
    match (&filter.filter_type, &filter.request_header_modifier, &filter.response_header_modifier) {
        (Type::RequestHeaderModifier, Some(change), _) => headers.request = filters::headers(change)?,
        (Type::ResponseHeaderModifier, _, Some(change)) => headers.response = filters::headers(change)?,
        (Type::RequestHeaderModifier | Type::ResponseHeaderModifier, ..) => {}
        (other, ..) => {
            return Err(Refusal::new("InvalidFilter", format!("unsupported filter type {:?}", other.as_str())));
        }
    }
    Ok(())
}
