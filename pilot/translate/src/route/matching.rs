// SPDX-License-Identifier: Apache-2.0
//! What a request has to be like.

use std::collections::BTreeMap;
use tiphys_model::{HttpMatch, Semantics, Str, StringMatch};
use tiphys_proto::boolean;
use tiphys_proto::envoy::config::route::v3::{
    HeaderMatcher, QueryParameterMatcher, RouteMatch, header_matcher, query_parameter_matcher, route_match,
};
use tiphys_proto::envoy::r#type::matcher::v3::{
    ListMatcher, MetadataMatcher, OrMatcher, RegexMatcher, StringMatcher, ValueMatcher, list_matcher, metadata_matcher,
    string_matcher, value_matcher,
};

/// Claims of a request's token are matched like headers of this name.
const CLAIMS: &str = "@request.auth.claims";
/// The filter whose metadata holds the claims, under this key.
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
const PAYLOAD: &str = "payload";

/// The match of a rule; none stands for all requests.
pub(super) fn route_match(rule: Option<&HttpMatch>, semantics: Semantics) -> RouteMatch {
    let all = route_match::PathSpecifier::Prefix("/".into());
    let Some(rule) = rule else { return RouteMatch { path_specifier: Some(all), ..RouteMatch::default() } };
    let (mut headers, dynamic_metadata) = headers(rule);
    for (name, wanted) in [(":method", &rule.method), (":authority", &rule.authority), (":scheme", &rule.scheme)] {
        headers.extend(wanted.as_ref().map(|wanted| header(name, wanted)));
    }
    RouteMatch {
        path_specifier: Some(rule.uri.as_ref().and_then(|uri| path(uri, semantics)).unwrap_or(all)),
        case_sensitive: boolean(!rule.ignore_uri_case),
        headers,
        query_parameters: rule.query_params.iter().map(|(name, wanted)| query_parameter(name, wanted)).collect(),
        dynamic_metadata,
        ..RouteMatch::default()
    }
}

/// Whether every request matches, so that no later rule is ever reached.
pub(super) fn is_catch_all(rule: &RouteMatch) -> bool {
    let path = match &rule.path_specifier {
        Some(route_match::PathSpecifier::Prefix(prefix) | route_match::PathSpecifier::PathSeparatedPrefix(prefix)) => {
            prefix == "/"
        }
        Some(route_match::PathSpecifier::SafeRegex(regex)) => regex.regex == ".*",
        _ => false,
    };
    path && rule.headers.is_empty() && rule.query_parameters.is_empty() && rule.dynamic_metadata.is_empty()
}

fn path(uri: &StringMatch, semantics: Semantics) -> Option<route_match::PathSpecifier> {
    Some(match uri {
        StringMatch::Exact(path) => route_match::PathSpecifier::Path(path.to_string()),
        // Outside of Istio's own API a prefix ends where a path element ends.
        StringMatch::Prefix(prefix) if semantics != Semantics::Istio && &**prefix != "/" => {
            route_match::PathSpecifier::PathSeparatedPrefix(prefix.strip_suffix('/').unwrap_or(prefix).into())
        }
        StringMatch::Prefix(prefix) => route_match::PathSpecifier::Prefix(prefix.to_string()),
        StringMatch::Regex(regex) => route_match::PathSpecifier::SafeRegex(regex_matcher(regex)),
        StringMatch::Present => return None,
    })
}

fn headers(rule: &HttpMatch) -> (Vec<HeaderMatcher>, Vec<MetadataMatcher>) {
    let mut headers = Vec::new();
    let mut metadata = Vec::new();
    let mut add = |map: &BTreeMap<Str, StringMatch>, inverted: bool| {
        for (name, wanted) in map {
            if let Some(claims) = claims(name) {
                metadata.push(MetadataMatcher { invert: inverted, ..claim(&claims, wanted) });
                continue;
            }
            headers.push(HeaderMatcher {
                invert_match: inverted,
                // A header that is not there does not match; it is there for a match of its presence only.
                treat_missing_header_as_empty: inverted && *wanted != StringMatch::Present,
                ..header(name, wanted)
            });
        }
    };
    add(&rule.headers, false);
    add(&rule.without_headers, true);
    headers.sort_by(|a: &HeaderMatcher, b| a.name.cmp(&b.name));
    (headers, metadata)
}

fn header(name: &str, wanted: &StringMatch) -> HeaderMatcher {
    let specifier = match string_matcher(wanted) {
        None => header_matcher::HeaderMatchSpecifier::PresentMatch(true),
        Some(matcher) => header_matcher::HeaderMatchSpecifier::StringMatch(matcher),
    };
    HeaderMatcher { name: name.into(), header_match_specifier: Some(specifier), ..HeaderMatcher::default() }
}

fn query_parameter(name: &str, wanted: &StringMatch) -> QueryParameterMatcher {
    let specifier = match string_matcher(wanted) {
        None => query_parameter_matcher::QueryParameterMatchSpecifier::PresentMatch(true),
        Some(matcher) => query_parameter_matcher::QueryParameterMatchSpecifier::StringMatch(matcher),
    };
    QueryParameterMatcher { name: name.into(), query_parameter_match_specifier: Some(specifier) }
}

/// The matcher of a text; none for a match of its presence.
pub(super) fn string_matcher(wanted: &StringMatch) -> Option<StringMatcher> {
    let pattern = match wanted {
        StringMatch::Exact(text) => string_matcher::MatchPattern::Exact(text.to_string()),
        StringMatch::Prefix(text) => string_matcher::MatchPattern::Prefix(text.to_string()),
        StringMatch::Regex(regex) => string_matcher::MatchPattern::SafeRegex(regex_matcher(regex)),
        StringMatch::Present => return None,
    };
    Some(StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() })
}

/// A regular expression for the engine that Envoy uses when none is named (RE2).
pub(super) fn regex_matcher(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.into(), ..RegexMatcher::default() }
}

/// The claims that a header's name stands for: `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`.
fn claims(name: &str) -> Option<Vec<&str>> {
    let head = name.get(..CLAIMS.len())?;
    if !head.eq_ignore_ascii_case(CLAIMS) {
        return None;
    }
    let rest = &name[CLAIMS.len()..];
    if let Some(path) = rest.strip_prefix('.').filter(|path| !path.is_empty()) {
        return Some(path.split('.').collect());
    }
    let path = rest.strip_prefix('[')?.strip_suffix(']').filter(|path| !path.is_empty())?;
    Some(path.split("][").collect())
}

/// A claim is a text, or a list that holds the text.
fn claim(claims: &[&str], wanted: &StringMatch) -> MetadataMatcher {
    let segment = |key: &str| metadata_matcher::PathSegment {
        segment: Some(metadata_matcher::path_segment::Segment::Key(key.into())),
    };
    let value = |pattern| ValueMatcher { match_pattern: Some(pattern) };
    let pattern = match string_matcher(wanted) {
        None => value_matcher::MatchPattern::PresentMatch(true),
        Some(matcher) => {
            let text = value(value_matcher::MatchPattern::StringMatch(matcher));
            let one_of = list_matcher::MatchPattern::OneOf(Box::new(text.clone()));
            let list = ListMatcher { match_pattern: Some(one_of) };
            let list = value(value_matcher::MatchPattern::ListMatch(Box::new(list)));
            value_matcher::MatchPattern::OrMatch(OrMatcher { value_matchers: vec![list, text] })
        }
    };
    MetadataMatcher {
        filter: JWT_FILTER.into(),
        path: std::iter::once(PAYLOAD).chain(claims.iter().copied()).map(segment).collect(),
        value: Some(value(pattern)),
        invert: false,
    }
}
