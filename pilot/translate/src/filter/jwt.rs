// SPDX-License-Identifier: Apache-2.0
//! Tokens of requests
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/jwt_authn_filter>): a token that is there has to be valid; a
//! request without one passes, and it is for authorization to ask for one.

use super::http_filter;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tiphys_model::{JwtRule, Marked, RequestAuthentication, Str};
use tiphys_proto::envoy::config::core::v3::{DataSource, HttpUri, data_source, http_uri};
use tiphys_proto::envoy::config::route::v3::{RouteMatch, route_match};
use tiphys_proto::envoy::extensions::filters::http::jwt_authn::v3::{
    JwtAuthentication, JwtClaimToHeader, JwtHeader, JwtProvider, JwtRequirement, JwtRequirementAndList,
    JwtRequirementOrList, RemoteJwks, RequirementRule, jwt_provider, jwt_requirement, requirement_rule,
};
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use tiphys_proto::google::protobuf::Empty;

/// A key set without keys: every token of its issuer is refused.
const NO_KEYS: &str = r#"{"keys":[]}"#;
/// How long fetched keys are used.
const CACHE: Duration = Duration::from_secs(300);

/// What a token filter is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JwtInput {
    /// The policies of a workload in the order of precedence.
    pub policies: Vec<Marked<RequestAuthentication>>,
    /// Clusters that reach the hosts of key set addresses, by address. An address without one cannot be fetched.
    pub key_clusters: BTreeMap<Str, Str>,
    /// Routes are chosen anew after a token was read (gateways, whose routes can ask for claims).
    pub clear_route_cache: bool,
}

/// The filter; none when no policy has a rule.
pub fn build(input: &JwtInput) -> Option<HttpFilter> {
    let mut rules: Vec<&JwtRule> = input.policies.iter().flat_map(|policy| &policy.rules).collect();
    rules.sort_by(|a, b| a.issuer.cmp(&b.issuer));
    if rules.is_empty() {
        return None;
    }
    let mut providers = BTreeMap::new();
    let (mut valid, mut valid_or_missing) = (Vec::new(), Vec::new());
    for (index, rule) in rules.into_iter().enumerate() {
        let name = format!("origins-{index}");
        let by_name = requirement(jwt_requirement::RequiresType::ProviderName(name.clone()));
        let missing = requirement(jwt_requirement::RequiresType::AllowMissing(Empty {}));
        valid_or_missing.push(any(vec![by_name.clone(), missing]));
        valid.push(by_name);
        providers.insert(name, provider(rule, input));
    }
    // Providers may look in the same place: then a token has to satisfy one of them, else each of its own.
    let requires = match valid_or_missing.len() {
        1 => valid_or_missing.remove(0),
        _ => {
            let all = JwtRequirementAndList { requirements: valid_or_missing };
            valid.push(requirement(jwt_requirement::RequiresType::RequiresAll(all)));
            any(valid)
        }
    };
    let everything =
        RouteMatch { path_specifier: Some(route_match::PathSpecifier::Prefix("/".into())), ..RouteMatch::default() };
    let config = JwtAuthentication {
        providers,
        rules: vec![RequirementRule {
            r#match: Some(everything),
            requirement_type: Some(requirement_rule::RequirementType::Requires(requires)),
        }],
        bypass_cors_preflight: true,
        ..JwtAuthentication::default()
    };
    Some(http_filter("envoy.filters.http.jwt_authn", &config))
}

fn requirement(requires: jwt_requirement::RequiresType) -> JwtRequirement {
    JwtRequirement { requires_type: Some(requires) }
}

fn any(requirements: Vec<JwtRequirement>) -> JwtRequirement {
    requirement(jwt_requirement::RequiresType::RequiresAny(JwtRequirementOrList { requirements }))
}

fn provider(rule: &JwtRule, input: &JwtInput) -> JwtProvider {
    let strings = |list: &[Str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let standard = ["permission", "scope"].map(String::from);
    let space_delimited: BTreeSet<String> = strings(&rule.space_delimited_claims).into_iter().chain(standard).collect();
    let normalize = jwt_provider::NormalizePayload { space_delimited_claims: space_delimited.into_iter().collect() };
    JwtProvider {
        issuer: rule.issuer.to_string(),
        audiences: strings(&rule.audiences),
        forward: rule.forward,
        forward_payload_header: rule.output_payload_to_header.to_string(),
        payload_in_metadata: "payload".into(),
        normalize_payload_in_metadata: Some(normalize),
        clear_route_cache: input.clear_route_cache,
        claim_to_headers: rule
            .output_claims
            .iter()
            .map(|(header, claim)| JwtClaimToHeader {
                header_name: header.to_string(),
                claim_name: claim.to_string(),
                ..JwtClaimToHeader::default()
            })
            .collect(),
        from_headers: rule
            .from_headers
            .iter()
            .map(|header| JwtHeader { name: header.name.to_string(), value_prefix: header.prefix.to_string() })
            .collect(),
        from_params: strings(&rule.from_params),
        from_cookies: strings(&rule.from_cookies),
        jwks_source_specifier: Some(keys(rule, input)),
        ..JwtProvider::default()
    }
}

fn keys(rule: &JwtRule, input: &JwtInput) -> jwt_provider::JwksSourceSpecifier {
    let inline = |text: &str| {
        jwt_provider::JwksSourceSpecifier::LocalJwks(DataSource {
            specifier: Some(data_source::Specifier::InlineString(text.into())),
            ..DataSource::default()
        })
    };
    if !rule.jwks.is_empty() {
        return inline(&rule.jwks);
    }
    match input.key_clusters.get(&rule.jwks_uri) {
        None => inline(NO_KEYS),
        Some(cluster) => jwt_provider::JwksSourceSpecifier::RemoteJwks(RemoteJwks {
            http_uri: Some(HttpUri {
                uri: rule.jwks_uri.to_string(),
                http_upstream_type: Some(http_uri::HttpUpstreamType::Cluster(cluster.to_string())),
                timeout: tiphys_proto::duration(rule.timeout),
            }),
            cache_duration: tiphys_proto::duration(CACHE),
            ..RemoteJwks::default()
        }),
    }
}
