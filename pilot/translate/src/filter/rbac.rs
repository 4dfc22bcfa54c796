// SPDX-License-Identifier: Apache-2.0
//! Authorization policies as RBAC filters
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/rbac_filter>), for requests and for connections.
//!
//! On a chain that passes connections on, what asks about requests cannot be answered. An ALLOW rule that asks it is left out, so that less
//! passes; of a DENY or AUDIT rule only the question is left out, so that more is refused or noted.

use super::rbac_condition::{permissions, principals};
use super::{http_filter, network_filter};
use std::collections::BTreeMap;
use tiphys_model::{AuthorizationPolicy, AuthorizationRule, Marked, PolicyAction, Str};
use tiphys_proto::envoy::config::listener::v3::Filter;
use tiphys_proto::envoy::config::rbac::v3::{
    Permission, Policy, Principal, Rbac, permission, principal, rbac::Action as RbacAction,
};
use tiphys_proto::envoy::extensions::filters::http::rbac::v3::Rbac as HttpRbac;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use tiphys_proto::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;

/// The filter of requests.
pub(super) const HTTP: &str = "envoy.filters.http.rbac";
/// The filter of connections.
pub(super) const NETWORK: &str = "envoy.filters.network.rbac";
/// What names of statistics of connections start with.
pub(super) const NETWORK_STAT_PREFIX: &str = "tcp.";

/// What an authorization filter is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RbacInput {
    /// The policies of a workload in the order of precedence.
    pub policies: Vec<Marked<AuthorizationPolicy>>,
    /// The mesh's trust domain, then its aliases: each stands for all of them in a principal.
    pub trust_domains: Vec<Str>,
}

/// How rules are read: as of requests or as of connections.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub connections: bool,
    pub action: PolicyAction,
    pub trust_domains: &'a [Str],
    pub namespace: &'a str,
}

struct Rules {
    enforced: Option<Rbac>,
    shadow: Option<Rbac>,
    shadow_prefix: &'static str,
}

/// The filters of requests: AUDIT, DENY, ALLOW.
pub fn http(input: &RbacInput) -> Vec<HttpFilter> {
    let filter = |rules: Rules| {
        let config = HttpRbac {
            rules: rules.enforced,
            shadow_rules: rules.shadow,
            shadow_rules_stat_prefix: rules.shadow_prefix.into(),
            ..HttpRbac::default()
        };
        http_filter(HTTP, &config)
    };
    ACTIONS.iter().filter_map(|action| rules(input, *action, false)).map(filter).collect()
}

/// The filters of connections: AUDIT, DENY, ALLOW.
pub fn network(input: &RbacInput) -> Vec<Filter> {
    ACTIONS.iter().filter_map(|action| rules(input, *action, true)).map(network_filter_of).collect()
}

const ACTIONS: [PolicyAction; 3] = [PolicyAction::Audit, PolicyAction::Deny, PolicyAction::Allow];

fn network_filter_of(rules: Rules) -> Filter {
    let config = NetworkRbac {
        rules: rules.enforced,
        shadow_rules: rules.shadow,
        shadow_rules_stat_prefix: rules.shadow_prefix.into(),
        stat_prefix: NETWORK_STAT_PREFIX.into(),
        ..NetworkRbac::default()
    };
    network_filter(NETWORK, &config)
}

/// The rules of all policies of an action; none when there is no such policy.
fn rules(input: &RbacInput, action: PolicyAction, connections: bool) -> Option<Rules> {
    let (rbac_action, shadow_prefix) = match action {
        PolicyAction::Allow => (RbacAction::Allow, "istio_dry_run_allow_"),
        PolicyAction::Deny | PolicyAction::Custom => (RbacAction::Deny, "istio_dry_run_deny_"),
        PolicyAction::Audit => (RbacAction::Log, ""),
    };
    let of = |dry_run: bool| {
        let wanted = input.policies.iter().filter(|policy| policy.action == action && policy.dry_run == dry_run);
        policies(wanted, &input.trust_domains, connections, plain_name)
    };
    let rbac = |policies| Rbac { action: rbac_action.into(), policies, ..Rbac::default() };
    let (enforced, shadow) = (of(false).map(rbac), of(true).map(rbac));
    if enforced.is_none() && shadow.is_none() {
        return None;
    }
    // Where nothing is in dry run the prefix is that of ALLOW, whatever the action is.
    let shadow_prefix = if shadow.is_some() { shadow_prefix } else { "istio_dry_run_allow_" };
    Some(Rules { enforced, shadow, shadow_prefix })
}

/// The name of a rule, by policy and place in it.
pub(super) fn plain_name(policy: &AuthorizationPolicy, index: usize) -> String {
    format!("ns[{}]-policy[{}]-rule[{index}]", policy.namespace, policy.name)
}

/// The rules of policies of one action by their names; none when there is no policy.
pub(super) fn policies<'a>(
    wanted: impl Iterator<Item = &'a Marked<AuthorizationPolicy>>,
    trust_domains: &[Str],
    connections: bool,
    name: impl Fn(&AuthorizationPolicy, usize) -> String,
) -> Option<BTreeMap<String, Policy>> {
    let mut list: Option<BTreeMap<String, Policy>> = None;
    for policy in wanted {
        let list = list.get_or_insert_default();
        if policy.rules.is_empty() {
            list.insert(name(policy, 0), never());
        }
        let reading = Reading { connections, action: policy.action, trust_domains, namespace: &policy.namespace };
        for (index, rule) in &policy.rules {
            if let Some(rule) = rule_of(rule, reading) {
                list.insert(name(policy, *index), rule);
            }
        }
    }
    list
}

fn rule_of(rule: &AuthorizationRule, reading: Reading<'_>) -> Option<Policy> {
    let permissions = rule.operations.iter().map(|list| permissions(list, reading)).collect::<Option<Vec<_>>>()?;
    let principals = rule.sources.iter().map(|list| principals(list, reading)).collect::<Option<Vec<_>>>()?;
    Some(Policy { permissions, principals, ..Policy::default() })
}

/// A rule that matches nothing.
fn never() -> Policy {
    let any = Permission { rule: Some(permission::Rule::Any(true)) };
    let anybody = Principal { identifier: Some(principal::Identifier::Any(true)) };
    Policy {
        permissions: vec![Permission { rule: Some(permission::Rule::NotRule(Box::new(any))) }],
        principals: vec![Principal { identifier: Some(principal::Identifier::NotId(Box::new(anybody))) }],
        ..Policy::default()
    }
}
