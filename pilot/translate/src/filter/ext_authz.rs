// SPDX-License-Identifier: Apache-2.0
//! Policies with the action CUSTOM: a service decides
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter>).
//!
//! Two filters for each provider: an RBAC filter that refuses nothing and notes the rule that matched in the request's metadata, and the
//! filter that asks the provider when it finds such a note. What cannot be asked is refused: then the RBAC filter itself denies.

use super::rbac::{HTTP as HTTP_RBAC, NETWORK as NETWORK_RBAC, NETWORK_STAT_PREFIX, RbacInput, plain_name, policies};
use super::string_matcher::pattern;
use super::{http_filter, network_filter};
use std::collections::{BTreeMap, BTreeSet};
use tiphys_model::{Authorizer, HttpCheck, PolicyAction, Str};
use tiphys_proto::duration;
use tiphys_proto::envoy::config::core::v3::{ApiVersion, GrpcService, HeaderValue, HttpUri, grpc_service, http_uri};
use tiphys_proto::envoy::config::listener::v3::Filter;
use tiphys_proto::envoy::config::rbac::v3::{Policy, Rbac, rbac::Action as RbacAction};
use tiphys_proto::envoy::extensions::filters::http::ext_authz::v3::{
    AuthorizationRequest, AuthorizationResponse, BufferSettings, ExtAuthz, HttpService, ext_authz::Services,
};
use tiphys_proto::envoy::extensions::filters::http::rbac::v3::Rbac as HttpRbac;
use tiphys_proto::envoy::extensions::filters::network::ext_authz::v3::ExtAuthz as NetworkExtAuthz;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use tiphys_proto::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;
use tiphys_proto::envoy::r#type::matcher::v3::{
    ListStringMatcher, MetadataMatcher, ValueMatcher, metadata_matcher::PathSegment, metadata_matcher::path_segment,
    string_matcher::MatchPattern, value_matcher,
};
use tiphys_proto::envoy::r#type::v3::HttpStatus;

/// What keys of the noted metadata start with.
const PREFIX: &str = "istio_ext_authz_";
/// The key under which the name of the rule that matched is noted.
const RULE_KEY: &str = "istio_ext_authz_shadow_effective_policy_id";

/// A provider with the cluster that reaches it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reached {
    /// The provider.
    pub authorizer: Authorizer,
    /// The host of its service.
    pub host: Str,
    /// Its cluster.
    pub cluster: Str,
}

/// Who can be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExtAuthzInput {
    /// Providers by name. One that policies name and that is not here cannot be asked.
    pub reached: BTreeMap<Str, Reached>,
    /// Policies of more than one provider may hold for one workload; otherwise all of them deny.
    pub several: bool,
}

/// The rules that lead to one provider, and the provider when it can be asked.
struct Asked<'a> {
    provider: Option<&'a Reached>,
    rules: Rbac,
    name: &'a str,
}

/// The filters of requests, provider by provider.
pub fn http(input: &RbacInput, authorizers: &ExtAuthzInput) -> Vec<HttpFilter> {
    let mut filters = Vec::new();
    for Asked { provider, rules, name } in asked(input, authorizers, false) {
        let Some(provider) = provider else {
            filters.push(http_filter(HTTP_RBAC, &HttpRbac { rules: Some(rules), ..HttpRbac::default() }));
            continue;
        };
        let noted =
            HttpRbac { shadow_rules: Some(rules), shadow_rules_stat_prefix: PREFIX.into(), ..HttpRbac::default() };
        filters.push(http_filter(HTTP_RBAC, &noted));
        filters.push(http_filter("envoy.filters.http.ext_authz", &http_config(provider, name)));
    }
    filters
}

/// The filters of connections. A provider that speaks HTTP cannot be asked about a connection: its policies are for requests.
pub fn network(input: &RbacInput, authorizers: &ExtAuthzInput) -> Vec<Filter> {
    let mut filters = Vec::new();
    for Asked { provider, rules, name } in asked(input, authorizers, true) {
        let stat_prefix = NETWORK_STAT_PREFIX.to_owned();
        let Some(provider) = provider else {
            let denies = NetworkRbac { rules: Some(rules), stat_prefix, ..NetworkRbac::default() };
            filters.push(network_filter(NETWORK_RBAC, &denies));
            continue;
        };
        if provider.authorizer.http.is_some() {
            continue;
        }
        let noted = NetworkRbac {
            shadow_rules: Some(rules),
            shadow_rules_stat_prefix: PREFIX.into(),
            stat_prefix: stat_prefix.clone(),
            ..NetworkRbac::default()
        };
        filters.push(network_filter(NETWORK_RBAC, &noted));
        let asks = NetworkExtAuthz {
            stat_prefix,
            grpc_service: Some(grpc_service(provider)),
            failure_mode_allow: provider.authorizer.fail_open,
            transport_api_version: ApiVersion::V3.into(),
            filter_enabled_metadata: Some(noted_by(NETWORK_RBAC, name)),
            ..NetworkExtAuthz::default()
        };
        filters.push(network_filter("envoy.filters.network.ext_authz", &asks));
    }
    filters
}

/// The rules of each provider, sorted by its name.
fn asked<'a>(input: &'a RbacInput, authorizers: &'a ExtAuthzInput, connections: bool) -> Vec<Asked<'a>> {
    let custom = || input.policies.iter().filter(|one| one.action == PolicyAction::Custom && !one.dry_run);
    let names: BTreeSet<&Str> = custom().map(|policy| &policy.provider).collect();
    let too_many = names.len() > 1 && !authorizers.several;
    let of = |name: &'a Str| {
        let provider = authorizers.reached.get(name).filter(|_| !too_many);
        let suffix = if provider.is_some() { "" } else { "-deny-due-to-bad-CUSTOM-action" };
        let separator = if name.is_empty() { "" } else { "-" };
        let wanted = custom().filter(|policy| policy.provider == *name);
        let list: BTreeMap<String, Policy> = policies(wanted, &input.trust_domains, connections, |policy, index| {
            format!("istio-ext-authz-{name}{separator}{}{suffix}", plain_name(policy, index))
        })?;
        let rules = Rbac { action: RbacAction::Deny.into(), policies: list, ..Rbac::default() };
        Some(Asked { provider, rules, name })
    };
    names.into_iter().filter_map(of).collect()
}

fn http_config(provider: &Reached, name: &str) -> ExtAuthz {
    let Reached { authorizer, .. } = provider;
    let (services, allowed_headers) = match &authorizer.http {
        Some(check) => (Services::HttpService(http_service(provider, check)), header_names(&check.request_headers)),
        None => (Services::GrpcService(grpc_service(provider)), None),
    };
    ExtAuthz {
        transport_api_version: ApiVersion::V3.into(),
        failure_mode_allow: authorizer.fail_open,
        with_request_body: authorizer.body.map(|body| BufferSettings {
            max_request_bytes: body.max_bytes,
            allow_partial_message: body.partial,
            pack_as_bytes: body.as_bytes,
        }),
        clear_route_cache: authorizer.clear_route_cache,
        status_on_error: authorizer.status_on_error.map(|code| HttpStatus { code: code.into() }),
        filter_enabled_metadata: Some(noted_by(HTTP_RBAC, name)),
        allowed_headers,
        services: Some(services),
        ..ExtAuthz::default()
    }
}

fn http_service(provider: &Reached, check: &HttpCheck) -> HttpService {
    let value = |(name, value): &(Str, Str)| HeaderValue {
        key: name.to_string(),
        value: value.to_string(),
        ..HeaderValue::default()
    };
    let request = (!check.additional_headers.is_empty()).then(|| AuthorizationRequest {
        headers_to_add: check.additional_headers.iter().map(value).collect(),
        ..AuthorizationRequest::default()
    });
    let response = AuthorizationResponse {
        allowed_upstream_headers: header_names(&check.upstream_on_allow),
        allowed_client_headers: header_names(&check.downstream_on_deny),
        allowed_client_headers_on_success: header_names(&check.downstream_on_allow),
        ..AuthorizationResponse::default()
    };
    HttpService {
        server_uri: Some(HttpUri {
            // Envoy wants an address, and goes by the cluster.
            uri: format!("http://{}", provider.host),
            timeout: duration(provider.authorizer.timeout),
            http_upstream_type: Some(http_uri::HttpUpstreamType::Cluster(provider.cluster.to_string())),
        }),
        path_prefix: check.path_prefix.to_string(),
        authorization_request: request,
        authorization_response: (response != AuthorizationResponse::default()).then_some(response),
        ..HttpService::default()
    }
}

fn grpc_service(provider: &Reached) -> GrpcService {
    GrpcService {
        timeout: duration(provider.authorizer.timeout),
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
            cluster_name: provider.cluster.to_string(),
            authority: provider.host.to_string(),
            ..grpc_service::EnvoyGrpc::default()
        })),
        ..GrpcService::default()
    }
}

/// Matches names of headers, which may start or end with `*`; none for no names.
fn header_names(names: &[Str]) -> Option<ListStringMatcher> {
    let matcher = |name: &Str| {
        let kind = if let Some(end) = name.strip_prefix('*') {
            MatchPattern::Suffix(end.into())
        } else if let Some(start) = name.strip_suffix('*') {
            MatchPattern::Prefix(start.into())
        } else {
            MatchPattern::Exact(name.to_string())
        };
        pattern(kind, true)
    };
    (!names.is_empty()).then(|| ListStringMatcher { patterns: names.iter().map(matcher).collect() })
}

/// Matches when a filter noted a rule of the provider.
fn noted_by(filter: &str, provider: &str) -> MetadataMatcher {
    let prefix = MatchPattern::Prefix(format!("istio-ext-authz-{provider}"));
    MetadataMatcher {
        filter: filter.into(),
        path: vec![PathSegment { segment: Some(path_segment::Segment::Key(RULE_KEY.into())) }],
        value: Some(ValueMatcher {
            match_pattern: Some(value_matcher::MatchPattern::StringMatch(pattern(prefix, false))),
        }),
        ..MetadataMatcher::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_model::{AuthorizationPolicy, AuthorizationRule, Marked, PolicyTarget, ProviderService};

    fn policy(name: &str, provider: &str) -> Marked<AuthorizationPolicy> {
        let everything = AuthorizationRule { sources: vec![Vec::new()], operations: vec![Vec::new()] };
        Marked::new(AuthorizationPolicy {
            name: name.into(),
            namespace: "ns".into(),
            target: PolicyTarget::Selector(Default::default()),
            action: PolicyAction::Custom,
            dry_run: false,
            provider: provider.into(),
            rules: vec![(0, everything)],
        })
    }

    fn reached(name: &str, http: Option<HttpCheck>) -> (Str, Reached) {
        let authorizer = Authorizer {
            name: name.into(),
            service: ProviderService { service: "h".into(), port: 1 },
            http,
            timeout: std::time::Duration::from_secs(1),
            fail_open: false,
            status_on_error: None,
            clear_route_cache: false,
            body: None,
        };
        (name.into(), Reached { authorizer, host: "h".into(), cluster: "c".into() })
    }

    fn input(policies: Vec<Marked<AuthorizationPolicy>>) -> RbacInput {
        RbacInput { policies, trust_domains: vec!["cluster.local".into()] }
    }

    fn names(filters: &[HttpFilter]) -> Vec<&str> {
        filters.iter().filter_map(|filter| filter.name.strip_prefix("envoy.filters.http.")).collect()
    }

    #[test]
    fn who_cannot_be_asked_refuses() {
        let policies = input(vec![policy("a", "one"), policy("b", "two")]);
        let both = || [reached("one", None), reached("two", None)];
        let mut authorizers = ExtAuthzInput { reached: both().into(), several: false };
        assert_eq!(names(&http(&policies, &authorizers)), ["rbac", "rbac"]);
        authorizers.several = true;
        assert_eq!(names(&http(&policies, &authorizers)), ["rbac", "ext_authz", "rbac", "ext_authz"]);
        authorizers.reached.remove("one");
        assert_eq!(names(&http(&policies, &authorizers)), ["rbac", "rbac", "ext_authz"]);
        assert_eq!(network(&policies, &authorizers).len(), 3);
    }

    #[test]
    fn connections_are_not_asked_about_by_http() {
        let policies = input(vec![policy("a", "one")]);
        let authorizers =
            ExtAuthzInput { reached: [reached("one", Some(HttpCheck::default()))].into(), several: false };
        assert_eq!((network(&policies, &authorizers).len(), http(&policies, &authorizers).len()), (0, 2));
    }
}
