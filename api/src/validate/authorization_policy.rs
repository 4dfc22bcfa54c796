// SPDX-License-Identifier: Apache-2.0
//! AuthorizationPolicy: sources, operations and conditions. A policy that is wrong here must deny, never be left out.

use super::report::{At, Report};
use super::rules::{self, Check};
use super::selector::{self, Targets};
use crate::istio::security::AuthorizationPolicy;
use crate::istio::security::authorization_policy::{Action, Condition, Operation, Rule, Source};

pub(super) fn check(report: &mut Report, at: &At<'_>, spec: &AuthorizationPolicy) {
    selector::targets(
        report,
        at,
        &Targets {
            selector: spec.selector.as_ref(),
            target_ref: spec.target_ref.as_ref(),
            target_refs: &spec.target_refs,
        },
    );
    let custom = spec.action == Action::Custom;
    let provider = at.field("provider");
    match &spec.provider {
        Some(_) if !custom => {
            report.error(&provider, format!("works with the action CUSTOM only, not with {}", spec.action))
        }
        Some(named) => report.present(&provider.field("name"), &named.name),
        None if custom => report.error(&provider, "must be set for the action CUSTOM"),
        None => {}
    }
    if spec.rules.is_empty() && (custom || spec.action == Action::Deny) {
        report.error(
            &at.field("rules"),
            format!("{} without rules never happens: an empty rule, {{}}, matches everything", spec.action),
        );
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        self::rule(report, &at.field("rules").index(index), rule, &spec.action);
    }
}

fn rule(report: &mut Report, at: &At<'_>, rule: &Rule, action: &Action) {
    for (index, from) in rule.from.iter().enumerate() {
        let at = at.field("from");
        let at = at.index(index);
        let at = at.field("source");
        match &from.source {
            Some(source) => {
                self::source(report, &at, source);
                if *action == Action::Custom {
                    custom_source(report, &at, source);
                }
            }
            None => report.error(&at, "must be set"),
        }
    }
    for (index, to) in rule.to.iter().enumerate() {
        let at = at.field("to");
        let at = at.index(index);
        let at = at.field("operation");
        match &to.operation {
            Some(operation) => self::operation(report, &at, operation),
            None => report.error(&at, "must be set"),
        }
    }
    for (index, condition) in rule.when.iter().enumerate() {
        self::condition(report, &at.field("when").index(index), condition, action);
    }
    if *action == Action::Deny && http_only(rule) {
        report.warning(
            at,
            "looks at attributes of HTTP only: on TCP ports it denies everything. Name the ports in to.operation.ports",
        );
    }
}

/// Every value of a list passes a rule.
fn each(report: &mut Report, at: &At<'_>, field: &str, values: &[String], rule: impl Fn(&str) -> Check) {
    for (index, value) in values.iter().enumerate() {
        let result = if value.is_empty() { Err("must not be empty".to_owned()) } else { rule(value) };
        report.check(&at.field(field).index(index), result);
    }
}

fn source(report: &mut Report, at: &At<'_>, source: &Source) {
    if *source == Source::default() {
        report.error(at, "must not be empty");
    }
    let any = |_: &str| Ok(());
    each(report, at, "principals", &source.principals, any);
    each(report, at, "notPrincipals", &source.not_principals, any);
    each(report, at, "requestPrincipals", &source.request_principals, any);
    each(report, at, "notRequestPrincipals", &source.not_request_principals, any);
    each(report, at, "namespaces", &source.namespaces, any);
    each(report, at, "notNamespaces", &source.not_namespaces, any);
    each(report, at, "serviceAccounts", &source.service_accounts, service_account);
    each(report, at, "notServiceAccounts", &source.not_service_accounts, service_account);
    each(report, at, "ipBlocks", &source.ip_blocks, rules::subnet);
    each(report, at, "notIpBlocks", &source.not_ip_blocks, rules::subnet);
    each(report, at, "remoteIpBlocks", &source.remote_ip_blocks, rules::subnet);
    each(report, at, "notRemoteIpBlocks", &source.not_remote_ip_blocks, rules::subnet);
    each(report, at, "trustDomains", &source.trust_domains, trust_domain);
    each(report, at, "notTrustDomains", &source.not_trust_domains, trust_domain);
    report.items(&at.field("serviceAccounts"), &source.service_accounts, 0, 16);
    report.items(&at.field("notServiceAccounts"), &source.not_service_accounts, 0, 16);
    let names =
        source.principals.len() + source.not_principals.len() + source.namespaces.len() + source.not_namespaces.len();
    if names > 0 && source.service_accounts.len() + source.not_service_accounts.len() > 0 {
        report.error(&at.field("serviceAccounts"), "does not go with principals or namespaces");
    }
}

/// What an external authorizer's filter cannot match on.
fn custom_source(report: &mut Report, at: &At<'_>, source: &Source) {
    for (field, list) in [
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
        ("trustDomains", &source.trust_domains),
        ("notTrustDomains", &source.not_trust_domains),
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
    ] {
        if !list.is_empty() {
            report.error(&at.field(field), "does not work with the action CUSTOM");
        }
    }
}

/// One wildcard, at the start or the end.
fn wildcard(value: &str) -> Check {
    let inner = value.strip_prefix('*').or_else(|| value.strip_suffix('*')).unwrap_or(value);
    if inner.contains('*') { Err(format!("{value:?}: one * may start or end the value")) } else { Ok(()) }
}

fn trust_domain(value: &str) -> Check {
    wildcard(value)?;
    if value.contains('/') { Err(format!("{value:?} is not a trust domain: it has a slash")) } else { Ok(()) }
}

fn service_account(value: &str) -> Check {
    let parts: Vec<&str> = value.split('/').collect();
    if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) || value.contains('*') || value.len() > 320 {
        return Err(format!("{value:?} is not a service account: write NAMESPACE/NAME or NAME, without wildcards"));
    }
    Ok(())
}

fn operation(report: &mut Report, at: &At<'_>, operation: &Operation) {
    if *operation == Operation::default() {
        report.error(at, "must not be empty");
    }
    let any = |_: &str| Ok(());
    each(report, at, "hosts", &operation.hosts, any);
    each(report, at, "notHosts", &operation.not_hosts, any);
    each(report, at, "methods", &operation.methods, any);
    each(report, at, "notMethods", &operation.not_methods, any);
    each(report, at, "ports", &operation.ports, port);
    each(report, at, "notPorts", &operation.not_ports, port);
    each(report, at, "paths", &operation.paths, path);
    each(report, at, "notPaths", &operation.not_paths, path);
}

fn port(value: &str) -> Check {
    match value.parse::<u16>() {
        Ok(_) if value.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
        _ => Err(format!("{value:?} is not a port: must be from 0 to 65535")),
    }
}

/// A path, perhaps with `{*}` for one segment and `{**}` for all that follow.
fn path(value: &str) -> Check {
    let template = value.contains("{*}") || value.contains("{**}");
    let mut rest = false;
    for segment in value.trim_matches('/').split('/') {
        match segment {
            "{*}" | "{**}" if rest => {
                return Err(format!("{value:?}: nothing that matches segments may follow {{**}}"));
            }
            "{*}" => continue,
            "{**}" => {
                rest = true;
                continue;
            }
            _ => {}
        }
        if segment.contains(['{', '}']) {
            return Err(format!("{value:?}: braces may only be {{*}} or {{**}}, and a whole segment"));
        }
        let literal = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&b);
        if template && (segment.is_empty() || !segment.bytes().all(literal)) {
            return Err(format!("{value:?}: the segment {segment:?} does not go with {{*}} or {{**}}"));
        }
    }
    Ok(())
}

fn condition(report: &mut Report, at: &At<'_>, condition: &Condition, action: &Action) {
    let key = condition.key.as_str();
    if key.is_empty() {
        report.error(&at.field("key"), "must be set");
        return;
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        report.error(at, "one of values, notValues must be set");
    }
    let rule: fn(&str) -> Check = match key {
        "source.ip" | "remote.ip" | "destination.ip" => rules::subnet,
        "destination.port" => port,
        "source.serviceAccount" => service_account,
        "source.trustDomain" => wildcard,
        "source.namespace"
        | "source.principal"
        | "request.auth.principal"
        | "request.auth.audiences"
        | "request.auth.presenter"
        | "connection.sni" => |_| Ok(()),
        _ if ["request.headers", "request.auth.claims", "experimental.envoy.filters."]
            .iter()
            .any(|prefix| key.starts_with(prefix)) =>
        {
            if !(key.ends_with(']') && key.find('[').is_some_and(|open| open > 0 && open + 2 < key.len())) {
                report.error(&at.field("key"), format!("{key:?} needs a name in brackets, as request.headers[x-user]"));
            }
            |_| Ok(())
        }
        _ => {
            report.error(&at.field("key"), format!("{key:?} is not an attribute that conditions can use"));
            return;
        }
    };
    each(report, at, "values", &condition.values, rule);
    each(report, at, "notValues", &condition.not_values, rule);
    let peer = ["source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal"].contains(&key);
    if *action == Action::Custom && (peer || key.starts_with("request.auth.")) {
        report.error(&at.field("key"), format!("{key:?} does not work with the action CUSTOM"));
    }
}

/// Whether a rule has nothing that a plain connection could be matched by.
fn http_only(rule: &Rule) -> bool {
    let sources = || rule.from.iter().filter_map(|from| from.source.as_ref());
    let operations = || rule.to.iter().filter_map(|to| to.operation.as_ref());
    let connection = |source: &Source| {
        let lists = [
            &source.principals,
            &source.not_principals,
            &source.ip_blocks,
            &source.not_ip_blocks,
            &source.namespaces,
            &source.not_namespaces,
            &source.remote_ip_blocks,
            &source.not_remote_ip_blocks,
            &source.service_accounts,
            &source.not_service_accounts,
        ];
        lists.iter().any(|list| !list.is_empty())
    };
    if operations().next().is_some() {
        return !operations().any(|operation| !operation.ports.is_empty() || !operation.not_ports.is_empty());
    }
    sources().next().is_some() && !sources().any(connection)
}
