// SPDX-License-Identifier: Apache-2.0
//! The names under which a service is called, as they depend on where the caller is: in the namespace `ns`, the service
//! `a.ns.svc.cluster.local` is also `a`, `a.ns` and `a.ns.svc`.

use std::sync::Arc;
use tiphys_model::{Marked, Service, Str, UNSPECIFIED};

/// Of what the domains of a service are made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DomainsInput {
    /// The service.
    pub service: Marked<Service>,
    /// Other hosts that stand for it (ExternalName services that name it).
    pub aliases: Vec<Str>,
    /// Port to add to each name; absent when Envoy ignores ports in hosts.
    pub port: Option<u32>,
    /// DNS domain of the caller, e.g. `ns.svc.cluster.local`.
    pub proxy_domain: Str,
    /// Which of the service's addresses the caller can use.
    pub ipv4: bool,
    /// As above.
    pub ipv6: bool,
    /// Addresses that were allocated for services without any are used too.
    pub auto_addresses: bool,
}

/// The domains of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains {
    /// All of them, the full name first.
    pub all: Arc<[Str]>,
    /// Those that are short forms, which give way to another service whose full name they are.
    pub short: Arc<[Str]>,
}

/// `HOST:PORT`, with brackets around an IPv6 address.
pub fn domain_name(host: &str, port: u32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The names under which a service is called.
pub fn domains(input: &DomainsInput) -> Domains {
    let mut all = Vec::new();
    let mut short = Vec::new();
    let own = std::iter::once(input.service.host.as_str());
    for host in own.chain(input.aliases.iter().map(|alias| &**alias)) {
        push(&mut all, host, input.port);
        let start = all.len();
        alternatives(&mut all, host, input.port, &input.proxy_domain);
        short.extend_from_slice(&all[start..]);
    }
    if input.service.is_headless() {
        let wild: Vec<String> = all.iter().map(|domain| format!("*.{domain}")).collect();
        all.extend(wild);
    }
    for address in addresses(input) {
        push(&mut all, address, input.port);
    }
    Domains { all: all.into_iter().map(Str::from).collect(), short: short.into_iter().map(Str::from).collect() }
}

/// The addresses of the service that the caller can use; when none is of its families, the default one all the same.
fn addresses(input: &DomainsInput) -> Vec<&str> {
    let service = &input.service;
    let usable = |address: &&str| if address.contains(':') { input.ipv6 } else { input.ipv4 };
    let own: Vec<&str> =
        service.addresses.iter().map(|address| &**address).filter(|address| *address != UNSPECIFIED).collect();
    if own.is_empty() {
        let auto = service.auto_addresses.iter().map(|address| &**address).filter(usable);
        return auto.filter(|_| input.auto_addresses).collect();
    }
    let fitting: Vec<&str> = own.iter().copied().filter(usable).collect();
    if fitting.is_empty() { own[..1].to_vec() } else { fitting }
}

fn push(domains: &mut Vec<String>, host: &str, port: Option<u32>) {
    domains.push(if host.contains(':') { format!("[{host}]") } else { host.into() });
    if let Some(port) = port {
        domains.push(domain_name(host, port));
    }
}

/// The other names that a caller of `proxy_domain` may use: the name with a dot at its end, and the names without what the two
/// have in common.
fn alternatives(domains: &mut Vec<String>, host: &str, port: Option<u32>, proxy_domain: &str) {
    if host.parse::<std::net::IpAddr>().is_err() {
        push(domains, &format!("{host}."), port);
    }
    if let Some(svc) = proxy_domain.find(".svc.") {
        // Names of Kubernetes services are NAME.NAMESPACE.svc.DOMAIN; no other is shortened, since it could hide one of them.
        if host.ends_with(&proxy_domain[svc..]) {
            kubernetes(domains, host, port, &proxy_domain[..svc]);
        }
        return;
    }
    let ours: Vec<&str> = proxy_domain.split('.').collect();
    let parts: Vec<&str> = host.split('.').collect();
    let shared = parts.iter().rev().zip(ours.iter().rev()).take_while(|(a, b)| a == b).count();
    if shared == 0 || shared == parts.len() {
        return;
    }
    let unique = &parts[..parts.len() - shared];
    push(domains, &unique.join("."), port);
    if unique.len() == 2 {
        push(domains, &format!("{}.{}", unique.join("."), parts[unique.len()]), port);
    }
}

fn kubernetes(domains: &mut Vec<String>, host: &str, port: Option<u32>, proxy_namespace: &str) {
    let Some(svc) = host.find(".svc.").filter(|at| *at > 0) else { return };
    let Some(dot) = host.find('.').filter(|dot| *dot < svc) else { return };
    let (short, with_svc) = (&host[..svc], &host[..svc + 4]);
    if host.get(dot + 1..svc) == Some(proxy_namespace) {
        push(domains, &host[..dot], port);
        push(domains, with_svc, port);
        push(domains, short, port);
    } else {
        push(domains, short, port);
        push(domains, with_svc, port);
    }
}
