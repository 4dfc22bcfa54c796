// SPDX-License-Identifier: Apache-2.0
//! The security policies of a proxy's workload, as the filters of its listeners.

use crate::{Context, NoteKind};
use std::collections::BTreeMap;
use tiphys_model::{AuthorizationPolicy, ClusterName, Host, Marked, PolicyAction, ProxyType, Str};
use tiphys_translate::filter::ext_authz::{ExtAuthzInput, Reached};
use tiphys_translate::filter::jwt::JwtInput;
use tiphys_translate::filter::prepared::SecurityFilters;
use tiphys_translate::filter::rbac::RbacInput;
use tiphys_translate::filter::security::{SecurityInput, filters};

/// The filters of the policies that select the proxy's workload.
pub(crate) fn security_filters(cx: &Context<'_>) -> Marked<SecurityFilters> {
    let (mesh, proxy) = (&cx.snapshot.mesh, cx.proxy);
    let security = &cx.snapshot.security;
    let tokens = security.requests_of(mesh, &proxy.namespace, &proxy.labels);
    let addresses = tokens.iter().flat_map(|policy| &policy.rules).map(|rule| &rule.jwks_uri);
    let key_clusters: BTreeMap<Str, Str> =
        addresses.filter_map(|address| Some((address.clone(), cluster_of(cx, address)?))).collect();
    let own = std::iter::once(&mesh.trust_domain);
    let policies = security.authorization_of(mesh, &proxy.namespace, &proxy.labels);
    let input = SecurityInput {
        tokens: JwtInput { policies: tokens, key_clusters, clear_route_cache: proxy.kind != ProxyType::Sidecar },
        authorizers: authorizers(cx, &policies),
        authorization: RbacInput { policies, trust_domains: own.chain(&mesh.trust_domain_aliases).cloned().collect() },
    };
    cx.memo.get(&input, |input| Marked::new(filters(input)))
}

/// Who is asked for policies with the action CUSTOM. A provider whose service is not there cannot be asked; one whose service the proxy does
/// not see is asked in vain, as its cluster is not there.
fn authorizers(cx: &Context<'_>, policies: &[Marked<AuthorizationPolicy>]) -> ExtAuthzInput {
    let known = &cx.snapshot.mesh.authorizers;
    let mut input = ExtAuthzInput { several: known.several, ..ExtAuthzInput::default() };
    for policy in policies.iter().filter(|policy| policy.action == PolicyAction::Custom) {
        let Ok(authorizer) = known.get(&policy.provider) else { continue };
        let Some((host, cluster)) = cx.snapshot.services.cluster_of(&authorizer.service) else { continue };
        if cx.scope.service(&Host::new(&host)).is_none() {
            let text = format!(
                "provider {} cannot be asked by workloads of namespace {}: they do not see its service; add the host to egress of \
                 their Sidecar object, or to exportTo of the service",
                authorizer.name, cx.proxy.namespace
            );
            cx.notes.add(NoteKind::Authorizer, &*host, text);
        }
        input.reached.insert(authorizer.name.clone(), Reached { authorizer: authorizer.clone(), host, cluster });
    }
    input
}

/// The cluster that reaches the host of a URL; none when no service has it.
fn cluster_of(cx: &Context<'_>, url: &str) -> Option<Str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, if scheme == "https" { 443 } else { 80 }),
    };
    let service = cx.scope.service(&Host::new(host))?;
    service.port(port)?;
    Some(ClusterName::Outbound { port, subset: "", host: service.host.as_str() }.to_str())
}
