// SPDX-License-Identifier: Apache-2.0
//! The security policies of a proxy's workload, as the filters of its listeners.

use crate::Context;
use std::collections::BTreeMap;
use tiphys_model::{ClusterName, Host, Marked, ProxyType, Str};
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
    let input = SecurityInput {
        tokens: JwtInput { policies: tokens, key_clusters, clear_route_cache: proxy.kind != ProxyType::Sidecar },
        authorization: RbacInput {
            policies: security.authorization_of(mesh, &proxy.namespace, &proxy.labels),
            trust_domains: own.chain(&mesh.trust_domain_aliases).cloned().collect(),
        },
    };
    cx.memo.get(&input, |input| Marked::new(filters(input)))
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
