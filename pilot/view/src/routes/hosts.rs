// SPDX-License-Identifier: Apache-2.0
//! Virtual hosts of one route configuration as they come together: no name and no domain may occur twice, since Envoy refuses such a
//! configuration as a whole.

use super::lower;
use crate::{Context, NoteKind};
use std::collections::HashSet;
use tiphys_model::{Marked, Service, Str};
use tiphys_translate::route::{Domains, DomainsInput, RoutesInput, VirtualHostInput, domain_name, domains};

/// Virtual hosts as they come together.
pub(super) struct Hosts<'a, 'b> {
    cx: &'a Context<'b>,
    /// Listener port; 0 where requests for all ports arrive.
    listener_port: u32,
    attempt_count: bool,
    names: HashSet<Str>,
    domains: HashSet<Str>,
    /// Full names of services, which short forms of others must not take.
    known: HashSet<Str>,
    /// The hosts with their ports.
    pub made: Vec<(u32, VirtualHostInput)>,
}

impl<'a, 'b> Hosts<'a, 'b> {
    pub fn new(cx: &'a Context<'b>, listener_port: u32) -> Self {
        Self {
            cx,
            listener_port,
            attempt_count: super::headers(cx).attempt_count,
            names: HashSet::new(),
            domains: HashSet::new(),
            known: HashSet::new(),
            made: Vec::new(),
        }
    }

    /// Notes the full name of a service before any host is added.
    pub fn know(&mut self, service: &Service, port: u32) {
        self.known.insert(service.host.to_str());
        if self.listener_port == 0 {
            self.known.insert(domain_name(service.host.as_str(), port).into());
        }
    }

    /// Adds the host of a VirtualService that no service has.
    pub fn add_host(&mut self, host: &str, port: u32, routes: RoutesInput) {
        let Some(name) = self.name(host, port) else { return };
        let domain = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        self.push(name, port, &Domains { all: [domain.into()].into(), short: [].into() }, routes);
    }

    /// Adds a service.
    pub fn add_service(&mut self, service: &Marked<Service>, aliases: Vec<Str>, port: u32, routes: RoutesInput) {
        let Some(name) = self.name(service.host.as_str(), port) else { return };
        let proxy = self.cx.proxy;
        let input = DomainsInput {
            service: service.clone(),
            aliases,
            port: (self.listener_port == 0).then_some(port),
            proxy_domain: proxy.dns_domain.clone(),
            ipv4: proxy.has_ipv4(),
            ipv6: proxy.has_ipv6(),
            auto_addresses: proxy.metadata_str("DNS_CAPTURE").eq_ignore_ascii_case("true"),
        };
        let made = self.cx.memo.get(&input, domains);
        self.push(name, port, &made, routes);
    }

    fn name(&mut self, host: &str, port: u32) -> Option<Str> {
        let name: Str = domain_name(host, port).into();
        if self.names.insert(name.clone()) {
            return Some(name);
        }
        self.note(&name);
        None
    }

    fn note(&self, name: &Str) {
        let why = "the host has routes already: those of a later VirtualService or service are left out";
        self.cx.notes.add(NoteKind::Domain, &**name, why);
    }

    fn push(&mut self, name: Str, port: u32, domains: &Domains, routes: RoutesInput) {
        let mut own = Vec::with_capacity(domains.all.len());
        for domain in domains.all.iter() {
            let key = lower(domain);
            let hides = |known: &HashSet<Str>| known.contains(domain) && domains.short.contains(domain);
            if self.domains.contains(&key) || hides(&self.known) {
                continue;
            }
            self.domains.insert(key);
            own.push(domain.clone());
        }
        if own.is_empty() {
            return self.note(&name);
        }
        let host = VirtualHostInput {
            name,
            domains: own,
            routes: vec![routes],
            sort: false,
            attempt_count: self.attempt_count,
            require_tls: false,
        };
        self.made.push((port, host));
    }
}
