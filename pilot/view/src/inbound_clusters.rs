// SPDX-License-Identifier: Apache-2.0
//! The clusters that lead to a sidecar's own workload: by the ports that its services have, or by those that its Sidecar object declares.

use crate::Context;
use crate::clusters::{client, entry};
use std::collections::BTreeMap;
use std::net::IpAddr;
use tiphys_compile::ServiceTarget;
use tiphys_model::{DestinationRule, InterceptionMode, Marked, ProxyType, Service, Sidecar, SidecarIngress, Str};
use tiphys_translate::cluster::{self, InboundInput, InboundTarget};
use tiphys_xds::Entry;

/// The inbound clusters of a proxy.
pub(crate) fn inbound(cx: &Context<'_>) -> Vec<Entry> {
    if cx.proxy.kind != ProxyType::Sidecar {
        return Vec::new();
    }
    let inputs = match &cx.scope.sidecar {
        Some(sidecar) if !sidecar.ingress.is_empty() => of_sidecar(cx, sidecar),
        // Without interception the ports of the workload are its own: a proxy listens only where a Sidecar says so.
        _ if cx.proxy.interception == InterceptionMode::None => Vec::new(),
        _ => of_services(cx),
    };
    inputs.iter().map(|input| cx.memo.get(input, |input| entry(&cluster::inbound(input)))).collect()
}

/// One cluster for each port of the workload; of several services that share one, the first one's rule counts.
fn of_services(cx: &Context<'_>) -> Vec<InboundInput> {
    let mut by_port: BTreeMap<u32, Vec<&ServiceTarget>> = BTreeMap::new();
    for target in cx.targets {
        by_port.entry(target.target_port).or_default().push(target);
    }
    let client = client(cx);
    let pool = cx.scope.sidecar.as_ref().and_then(|sidecar| sidecar.connection_pool.clone());
    let of_port = |(port, targets): (u32, Vec<&ServiceTarget>)| {
        let first = targets.first()?;
        Some(InboundInput {
            mesh: cx.snapshot.mesh.clone(),
            client: client.clone(),
            cluster_port: port,
            target: match cx.snapshot.mesh.traffic.inbound_loopback {
                true => InboundTarget::Address(loopback(cx, false), port),
                false => InboundTarget::Dialled,
            },
            services: targets.iter().map(|target| (target.service.clone(), target.port.number)).collect(),
            port: first.port.clone(),
            host: first.service.host.to_str(),
            rule: rule(cx, &first.service),
            connection_pool: pool.clone(),
        })
    };
    by_port.into_iter().filter_map(of_port).collect()
}

/// One cluster for each ingress listener.
fn of_sidecar(cx: &Context<'_>, sidecar: &Sidecar) -> Vec<InboundInput> {
    let client = client(cx);
    let of_listener = |listener: &SidecarIngress| {
        let service = cx.targets.iter().find(|target| target.target_port == listener.port.number);
        let service = service.map(|target| &target.service);
        Some(InboundInput {
            mesh: cx.snapshot.mesh.clone(),
            client: client.clone(),
            cluster_port: listener.port.number,
            target: target(cx, &listener.default_endpoint)?,
            services: service.map(|service| (service.clone(), listener.port.number)).into_iter().collect(),
            port: listener.port.clone(),
            host: format!("{}.{}", sidecar.name, sidecar.namespace).into(),
            rule: service.and_then(|service| rule(cx, service)),
            connection_pool: listener.connection_pool.clone().or_else(|| sidecar.connection_pool.clone()),
        })
    };
    sidecar.ingress.iter().filter_map(of_listener).collect()
}

/// The rule of a service that counts at its workloads, which have to see the service themselves.
fn rule(cx: &Context<'_>, service: &Service) -> Option<Marked<DestinationRule>> {
    cx.scope.service(&service.host)?;
    cx.snapshot.destination_rules.inbound(&cx.proxy.namespace, service).cloned()
}

/// Where a default endpoint leads: `unix://PATH`, `127.0.0.1:PORT` and `[::1]:PORT` (this host), `0.0.0.0:PORT` and `[::]:PORT` (the proxy's
/// own address), or nothing, which is the address that the client dialled. None when it is none of these.
fn target(cx: &Context<'_>, endpoint: &str) -> Option<InboundTarget> {
    if endpoint.is_empty() {
        return Some(InboundTarget::Dialled);
    }
    if endpoint.starts_with("unix://") {
        return Some(InboundTarget::Address(endpoint.into(), 0));
    }
    let (host, port) = endpoint.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let own =
        |of_family: fn(&IpAddr) -> bool| cx.proxy.addresses.iter().find(|ip| of_family(ip)).map(ToString::to_string);
    let address: Str = match host.trim_matches(['[', ']']) {
        "0.0.0.0" => own(IpAddr::is_ipv4).unwrap_or_else(|| "127.0.0.1".into()).into(),
        "::" => own(IpAddr::is_ipv6).unwrap_or_else(|| "::1".into()).into(),
        "127.0.0.1" => loopback(cx, false),
        "::1" => loopback(cx, true),
        _ => return Some(InboundTarget::Dialled),
    };
    Some(InboundTarget::Address(address, port))
}

/// The address of this host, of the preferred family if the proxy has it.
fn loopback(cx: &Context<'_>, prefer_ipv6: bool) -> Str {
    let ipv6 = if prefer_ipv6 { cx.proxy.has_ipv6() } else { !cx.proxy.has_ipv4() };
    if ipv6 { "::1".into() } else { "127.0.0.1".into() }
}
