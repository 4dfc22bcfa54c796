// SPDX-License-Identifier: Apache-2.0
//! Lowering of AuthorizationPolicy.

use crate::LowerContext;
use crate::lower::strs;
use tiphys_api::istio::security::authorization_policy as api;
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{Attribute, AuthorizationPolicy, AuthorizationRule, Condition, PolicyAction, PolicyTarget, Str};

const DRY_RUN: &str = "istio.io/dry-run";

/// An AuthorizationPolicy in the words of the model.
pub fn lower(object: &Object, cx: &LowerContext<'_>, problems: &mut Vec<Problem>) -> Option<AuthorizationPolicy> {
    let Spec::AuthorizationPolicy(spec) = &object.spec else { return None };
    let action = match spec.action {
        api::Action::Allow => PolicyAction::Allow,
        api::Action::Audit => PolicyAction::Audit,
        api::Action::Custom => PolicyAction::Custom,
        _ => PolicyAction::Deny,
    };
    let provider = spec.provider.as_ref().map_or("", |provider| provider.name.as_str());
    if action == PolicyAction::Custom
        && let Err(why) = cx.mesh.authorizers.get(provider)
    {
        problems.push(Problem::warning("spec.provider.name", format!("{why}: what the rules match is refused")));
    }
    let mut rules = Vec::new();
    for (index, rule) in spec.rules.iter().enumerate() {
        match lower_rule(rule) {
            Ok(rule) => rules.push((index, rule)),
            Err(key) => problems.push(Problem::warning(
                format!("spec.rules[{index}].when"),
                format!("{key:?} is not a condition that can be checked: the rule is left out"),
            )),
        }
    }
    Some(AuthorizationPolicy {
        name: object.meta.name.as_str().into(),
        namespace: object.meta.namespace.as_str().into(),
        target: target(spec),
        action,
        dry_run: object
            .meta
            .annotations
            .get(DRY_RUN)
            .is_some_and(|v| matches!(v.as_str(), "true" | "True" | "1" | "t")),
        provider: provider.into(),
        rules,
    })
}

fn target(spec: &api::AuthorizationPolicy) -> PolicyTarget {
    super::target(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs)
}

fn condition(attribute: Attribute, values: &[String], not_values: &[String]) -> Option<Condition> {
    let given = !values.is_empty() || !not_values.is_empty();
    given.then(|| Condition { attribute, values: strs(values), not_values: strs(not_values) })
}

/// The conditions in the order in which istiod has them; the key of a condition that is not known.
fn lower_rule(rule: &api::Rule) -> Result<AuthorizationRule, String> {
    let (mut about_source, mut about_operation) = (Vec::new(), Vec::new());
    for when in &rule.when {
        let attribute = attribute(&when.key).ok_or_else(|| when.key.clone())?;
        let of_operation = matches!(
            attribute,
            Attribute::DestinationIp | Attribute::DestinationPort | Attribute::ServerName | Attribute::EnvoyFilter(..)
        );
        let list = if of_operation { &mut about_operation } else { &mut about_source };
        list.extend(condition(attribute, &when.values, &when.not_values));
    }
    let sources = rule.from.iter().map(|from| from.source.as_ref().map(source).unwrap_or_default());
    let operations = rule.to.iter().map(|to| to.operation.as_ref().map(operation).unwrap_or_default());
    Ok(AuthorizationRule {
        sources: with_each(sources, &about_source),
        operations: with_each(operations, &about_operation),
    })
}

/// Each list followed by the common conditions; the common ones alone when there is no list.
fn with_each(lists: impl Iterator<Item = Vec<Condition>>, common: &[Condition]) -> Vec<Vec<Condition>> {
    let all: Vec<Vec<Condition>> = lists.map(|list| list.into_iter().chain(common.iter().cloned()).collect()).collect();
    if all.is_empty() { vec![common.to_vec()] } else { all }
}

fn source(source: &api::Source) -> Vec<Condition> {
    [
        condition(Attribute::SourcePrincipal, &source.principals, &source.not_principals),
        condition(Attribute::RequestPrincipal, &source.request_principals, &source.not_request_principals),
        condition(Attribute::SourceServiceAccount, &source.service_accounts, &source.not_service_accounts),
        condition(Attribute::SourceTrustDomain, &source.trust_domains, &source.not_trust_domains),
        condition(Attribute::SourceNamespace, &source.namespaces, &source.not_namespaces),
        condition(Attribute::RemoteIp, &source.remote_ip_blocks, &source.not_remote_ip_blocks),
        condition(Attribute::SourceIp, &source.ip_blocks, &source.not_ip_blocks),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn operation(operation: &api::Operation) -> Vec<Condition> {
    [
        condition(Attribute::Host, &operation.hosts, &operation.not_hosts),
        condition(Attribute::Method, &operation.methods, &operation.not_methods),
        condition(Attribute::Path, &operation.paths, &operation.not_paths),
        condition(Attribute::DestinationPort, &operation.ports, &operation.not_ports),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn attribute(key: &str) -> Option<Attribute> {
    Some(match key {
        "destination.ip" => Attribute::DestinationIp,
        "destination.port" => Attribute::DestinationPort,
        "connection.sni" => Attribute::ServerName,
        "source.ip" => Attribute::SourceIp,
        "remote.ip" => Attribute::RemoteIp,
        "source.namespace" => Attribute::SourceNamespace,
        "source.trustDomain" => Attribute::SourceTrustDomain,
        "source.serviceAccount" => Attribute::SourceServiceAccount,
        "source.principal" => Attribute::SourcePrincipal,
        "request.auth.principal" => Attribute::RequestPrincipal,
        "request.auth.audiences" => Attribute::RequestAudiences,
        "request.auth.presenter" => Attribute::RequestPresenter,
        _ => return bracketed(key),
    })
}

/// `request.headers[NAME]`, `request.auth.claims[A][B]` or `experimental.envoy.filters.FILTER[KEY]`.
fn bracketed(key: &str) -> Option<Attribute> {
    let (prefix, rest) = key.split_once('[')?;
    let names: Vec<Str> = rest.strip_suffix(']')?.split("][").map(Str::from).collect();
    match (prefix, &names[..]) {
        ("request.headers", [name]) => Some(Attribute::RequestHeader(name.clone())),
        ("request.auth.claims", _) => Some(Attribute::RequestClaim(names)),
        (filter, [name]) => {
            let filter = filter.strip_prefix("experimental.").filter(|filter| filter.starts_with("envoy.filters."))?;
            Some(Attribute::EnvoyFilter(filter.into(), name.clone()))
        }
        _ => None,
    }
}
