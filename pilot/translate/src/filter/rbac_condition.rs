// SPDX-License-Identifier: Apache-2.0
//! Conditions of authorization rules as Envoy's permissions (what is called) and principals (who calls).

// RBAC's matchers of metadata have a successor, which older proxies of the mesh do not know.
#![allow(deprecated)]

use super::rbac::Reading;
use super::string_matcher::{header, pattern, quote, regex, wildcard};
use tiphys_model::{Attribute, Condition, PolicyAction, Str};
use tiphys_proto::envoy::config::core::v3::{CidrRange, TypedExtensionConfig};
use tiphys_proto::envoy::config::rbac::v3::{Permission, Principal, permission, principal};
use tiphys_proto::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use tiphys_proto::envoy::r#type::matcher::v3::{
    ListMatcher, MetadataMatcher, OrMatcher, PathMatcher, StringMatcher, ValueMatcher, list_matcher,
    metadata_matcher::{PathSegment, path_segment::Segment},
    path_matcher, string_matcher, value_matcher,
};
use tiphys_proto::{to_any, uint32};

/// All conditions about what is called; none when the whole rule has to be left out.
pub(super) fn permissions(conditions: &[Condition], reading: Reading<'_>) -> Option<Permission> {
    let all = collect(conditions, reading, permission_any_of, |p| permission(permission::Rule::NotRule(Box::new(p))))?;
    let rules = if all.is_empty() { vec![permission(permission::Rule::Any(true))] } else { all };
    Some(permission(permission::Rule::AndRules(permission::Set { rules })))
}

/// All conditions about who calls; none when the whole rule has to be left out.
pub(super) fn principals(conditions: &[Condition], reading: Reading<'_>) -> Option<Principal> {
    let not = |p| principal(principal::Identifier::NotId(Box::new(p)));
    let all = collect(conditions, reading, principal_any_of, not)?;
    let ids = if all.is_empty() { vec![principal(principal::Identifier::Any(true))] } else { all };
    Some(principal(principal::Identifier::AndIds(principal::Set { ids })))
}

fn permission(rule: permission::Rule) -> Permission {
    Permission { rule: Some(rule) }
}

fn principal(identifier: principal::Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

/// What a list of values becomes. A value that cannot be understood is an error.
type AnyOf<T> = fn(&Attribute, &[Str], Reading<'_>) -> Result<Option<T>, ()>;

fn collect<T>(
    conditions: &[Condition],
    reading: Reading<'_>,
    any_of: AnyOf<T>,
    not: impl Fn(T) -> T,
) -> Option<Vec<T>> {
    let mut all = Vec::new();
    for condition in conditions {
        for (values, negated) in [(&condition.values, false), (&condition.not_values, true)] {
            if values.is_empty() {
                continue;
            }
            let unanswerable = reading.connections && condition.attribute.is_http_only();
            let made = if unanswerable { Err(()) } else { any_of(&condition.attribute, values, reading) };
            match made {
                Ok(Some(made)) if negated => all.push(not(made)),
                Ok(Some(made)) => all.push(made),
                Ok(None) => {}
                Err(()) if reading.action == PolicyAction::Allow => return None,
                Err(()) => {}
            }
        }
    }
    Some(all)
}

fn permission_any_of(attribute: &Attribute, values: &[Str], reading: Reading<'_>) -> Result<Option<Permission>, ()> {
    use permission::Rule;
    if let Attribute::EnvoyFilter(filter, key) = attribute {
        let matchers = values.iter().map(|value| filter_value(value)).collect();
        return Ok(Some(permission(Rule::Metadata(metadata(filter, std::slice::from_ref(key), or(matchers))))));
    }
    let one = |value: &Str| -> Result<Permission, ()> {
        Ok(permission(match attribute {
            Attribute::DestinationIp => Rule::DestinationIp(cidr(value)?),
            Attribute::DestinationPort => Rule::DestinationPort(value.parse::<u16>().map_err(|_| ())?.into()),
            Attribute::ServerName => Rule::RequestedServerName(wildcard(value, "")),
            Attribute::Host => Rule::Header(header(":authority", value, true)),
            Attribute::Method => Rule::Header(header(":method", value, false)),
            Attribute::Path if is_template(value) => Rule::UriTemplate(template(value)),
            Attribute::Path => Rule::UrlPath(PathMatcher { rule: Some(path_matcher::Rule::Path(wildcard(value, ""))) }),
            _ => return Err(()),
        }))
    };
    let rules = understood(values.iter().map(one), reading)?;
    Ok((!rules.is_empty()).then(|| permission(Rule::OrRules(permission::Set { rules }))))
}

/// All that can be understood; an ALLOW rule needs all of them.
fn understood<T>(made: impl Iterator<Item = Result<T, ()>>, reading: Reading<'_>) -> Result<Vec<T>, ()> {
    match reading.action {
        PolicyAction::Allow => made.collect(),
        _ => Ok(made.flatten().collect()),
    }
}

fn principal_any_of(attribute: &Attribute, values: &[Str], reading: Reading<'_>) -> Result<Option<Principal>, ()> {
    use principal::Identifier;
    let claims = |path: &[Str]| {
        let matchers = values.iter().map(|value| text_value(wildcard(value, ""))).collect();
        Ok(Some(principal(Identifier::Metadata(claim(path, list_or_one(or(matchers)))))))
    };
    match attribute {
        Attribute::RequestPrincipal => return Ok(request_principals(values)),
        Attribute::RequestAudiences => return claims(&["aud".into()]),
        Attribute::RequestPresenter => return claims(&["azp".into()]),
        Attribute::RequestClaim(path) => return claims(path),
        _ => {}
    }
    let values: Vec<Str> = match attribute {
        Attribute::SourcePrincipal => values.iter().flat_map(|v| with_aliases(v, reading.trust_domains)).collect(),
        Attribute::SourceTrustDomain => trust_domains(values, reading.trust_domains),
        _ => values.to_vec(),
    };
    let one = |value: &Str| -> Result<Principal, ()> {
        Ok(match attribute {
            Attribute::SourceIp => principal(Identifier::DirectRemoteIp(cidr(value)?)),
            Attribute::RemoteIp => principal(Identifier::RemoteIp(cidr(value)?)),
            Attribute::RequestHeader(name) => principal(Identifier::Header(header(name, value, false))),
            Attribute::SourcePrincipal => authenticated(wildcard(value, "spiffe://")),
            Attribute::SourceNamespace => {
                let name: Vec<String> = value.split('*').map(quote).collect();
                authenticated(regex(format!(".*/ns/{}/.*", name.join(".*"))))
            }
            Attribute::SourceServiceAccount => authenticated(regex(account(value, reading.namespace))),
            Attribute::SourceTrustDomain => authenticated(trust_domain(value)),
            _ => return Err(()),
        })
    };
    let ids = understood(values.iter().map(one), reading)?;
    Ok((!ids.is_empty()).then(|| principal(Identifier::OrIds(principal::Set { ids }))))
}

fn authenticated(name: StringMatcher) -> Principal {
    let name = principal::Authenticated { principal_name: Some(name) };
    principal(principal::Identifier::Authenticated(name))
}

/// `NAMESPACE/NAME`, or `NAME` in the policy's own namespace, as it stands in an identity.
fn account(value: &str, own: &str) -> String {
    let (namespace, name) = value.split_once('/').unwrap_or((own, value));
    format!("spiffe://.+/ns/{}/(.+/|)sa/{}(/.+)?", quote(namespace), quote(name))
}

fn trust_domain(value: &str) -> StringMatcher {
    let prefix = |text: String| pattern(string_matcher::MatchPattern::Prefix(text), false);
    match value.split_once('*') {
        _ if value == "*" => prefix("spiffe://".into()),
        None => prefix(format!("spiffe://{value}/")),
        Some((start, end)) => regex(format!("spiffe://{}[^/]*{}/.*", quote(start), quote(end))),
    }
}

/// A trust domain of the mesh stands for all of them.
fn trust_domains(values: &[Str], own: &[Str]) -> Vec<Str> {
    let mut all: Vec<Str> = Vec::new();
    for value in values {
        let meant = if own.contains(value) { own } else { std::slice::from_ref(value) };
        for domain in meant {
            if !all.contains(domain) {
                all.push(domain.clone());
            }
        }
    }
    all
}

/// A principal of the mesh's own trust domain, or of `cluster.local`, which always means it, holds for all aliases.
fn with_aliases(principal: &Str, own: &[Str]) -> Vec<Str> {
    let Some((domain, rest)) = principal.split_once('/').filter(|(_, rest)| rest.matches('/').count() == 3) else {
        return vec![principal.clone()];
    };
    let is_meant = |candidate: &str| match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
        (Some(end), _) => candidate.ends_with(end),
        (_, Some(start)) => candidate.starts_with(start),
        _ => candidate == domain,
    };
    let of_mesh = domain == "cluster.local" || own.iter().any(|candidate| is_meant(candidate));
    if domain == "*" || !of_mesh {
        return vec![principal.clone()];
    }
    let mut all: Vec<Str> = Vec::new();
    for alias in own {
        let suffix_matches = domain.strip_prefix('*').map_or(**alias == *domain, |end| alias.ends_with(end));
        let meant = if suffix_matches { principal.clone() } else { format!("{alias}/{rest}").into() };
        if !all.contains(&meant) {
            all.push(meant);
        }
    }
    all
}

fn cidr(text: &str) -> Result<CidrRange, ()> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, length.parse::<u32>().map_err(|_| ())?),
        None => (text, if text.contains(':') { 128 } else { 32 }),
    };
    let address: std::net::IpAddr = address.parse().map_err(|_| ())?;
    Ok(CidrRange { address_prefix: address.to_string(), prefix_len: uint32(length) })
}

fn is_template(path: &str) -> bool {
    path.contains("{*}") || path.contains("{**}")
}

fn template(path: &str) -> TypedExtensionConfig {
    let config = UriTemplateMatchConfig { path_template: path.replace("{**}", "**").replace("{*}", "*") };
    TypedExtensionConfig { name: "uri-template".into(), typed_config: Some(to_any(&config)) }
}

fn text_value(matcher: StringMatcher) -> ValueMatcher {
    ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::StringMatch(matcher)) }
}

fn list(of: ValueMatcher) -> ValueMatcher {
    let one = Some(list_matcher::MatchPattern::OneOf(Box::new(of)));
    let list = ListMatcher { match_pattern: one };
    ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::ListMatch(Box::new(list))) }
}

fn or(mut matchers: Vec<ValueMatcher>) -> ValueMatcher {
    match matchers.len() {
        1 => matchers.remove(0),
        _ => ValueMatcher {
            match_pattern: Some(value_matcher::MatchPattern::OrMatch(OrMatcher { value_matchers: matchers })),
        },
    }
}

/// A claim is a list, or one text.
fn list_or_one(value: ValueMatcher) -> ValueMatcher {
    or(vec![list(value.clone()), value])
}

/// `[VALUE]` asks for a list that has the value.
fn filter_value(value: &str) -> ValueMatcher {
    match value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => list(text_value(wildcard(inner, ""))),
        None => text_value(wildcard(value, "")),
    }
}

fn metadata(filter: &str, path: &[Str], value: ValueMatcher) -> MetadataMatcher {
    let path = path.iter().map(|key| PathSegment { segment: Some(Segment::Key(key.to_string())) }).collect();
    MetadataMatcher { filter: filter.into(), path, value: Some(value), ..MetadataMatcher::default() }
}

fn claim(path: &[Str], value: ValueMatcher) -> MetadataMatcher {
    let path: Vec<Str> = std::iter::once(Str::from("payload")).chain(path.iter().cloned()).collect();
    metadata("envoy.filters.http.jwt_authn", &path, value)
}

/// `ISSUER/SUBJECT` pairs: both claims have to match.
fn request_principals(values: &[Str]) -> Option<Principal> {
    let mut ids: Vec<Principal> = values.iter().map(|value| request_principal(value)).collect();
    match ids.len() {
        0 => None,
        1 => Some(ids.remove(0)),
        _ => Some(principal(principal::Identifier::OrIds(principal::Set { ids }))),
    }
}

fn request_principal(value: &str) -> Principal {
    use string_matcher::MatchPattern::{Exact, Prefix, Suffix};
    let any = || regex(".+");
    let exact = |text: &str| pattern(Exact(text.into()), false);
    let (issuer, subject) = match (value, value.rsplit_once('/')) {
        ("*", _) => (any(), any()),
        (_, Some((issuer, subject))) if value.starts_with('*') => {
            let end = issuer.strip_prefix('*').unwrap_or(issuer);
            let issuer = if end.is_empty() { any() } else { pattern(Suffix(end.into()), false) };
            (issuer, exact(subject))
        }
        (_, None) if value.starts_with('*') => (any(), pattern(Suffix(value[1..].into()), false)),
        (_, Some((issuer, subject))) if value.ends_with('*') => {
            let start = subject.strip_suffix('*').unwrap_or(subject);
            let subject = if start.is_empty() { any() } else { pattern(Prefix(start.into()), false) };
            (exact(issuer), subject)
        }
        (_, None) if value.ends_with('*') => (pattern(Prefix(value[..value.len() - 1].into()), false), any()),
        (_, Some((issuer, subject))) => (exact(issuer), exact(subject)),
        (issuer, None) => (exact(issuer), exact("")),
    };
    let of =
        |name: &str, matcher| principal(principal::Identifier::Metadata(claim(&[name.into()], text_value(matcher))));
    let ids = vec![of("iss", issuer), of("sub", subject)];
    principal(principal::Identifier::AndIds(principal::Set { ids }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_of_the_mesh_holds_for_its_aliases() {
        let own: [Str; 2] = ["td1".into(), "td2".into()];
        let of = |text: &str| with_aliases(&text.into(), &own).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of("td1/ns/a/sa/b"), ["td1/ns/a/sa/b", "td2/ns/a/sa/b"]);
        assert_eq!(of("cluster.local/ns/a/sa/b"), ["td1/ns/a/sa/b", "td2/ns/a/sa/b"]);
        assert_eq!(of("other/ns/a/sa/b"), ["other/ns/a/sa/b"]);
        assert_eq!(of("*/ns/a/sa/b"), ["*/ns/a/sa/b"]);
        assert_eq!(of("*"), ["*"]);
    }

    #[test]
    fn what_connections_cannot_tell_makes_allow_narrower_and_deny_wider() {
        let conditions = [
            Condition { attribute: Attribute::Method, values: vec!["GET".into()], not_values: Vec::new() },
            Condition { attribute: Attribute::DestinationPort, values: vec!["80".into()], not_values: Vec::new() },
        ];
        let reading = |action| Reading { connections: true, action, trust_domains: &[], namespace: "ns" };
        assert!(permissions(&conditions, reading(PolicyAction::Allow)).is_none());
        let denied = permissions(&conditions, reading(PolicyAction::Deny)).unwrap();
        let Some(permission::Rule::AndRules(set)) = denied.rule else { panic!("{denied:?}") };
        assert_eq!(set.rules.len(), 1);
    }
}
