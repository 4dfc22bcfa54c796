// SPDX-License-Identifier: Apache-2.0
//! The mesh as the plans of one proxy's listeners ask for it.

use crate::Context;
use crate::environment::flag;
use std::net::IpAddr;
use tiphys_model::{
    Algorithm, DestinationRule, HashKey, Host, LoadBalancer, Port, Registry, Service, Str, UNSPECIFIED,
};
use tiphys_translate::listener::connection_chains::{TcpPolicy, World};

/// The mesh as a proxy sees it.
pub(crate) struct ProxyWorld<'a>(pub &'a Context<'a>);

impl ProxyWorld<'_> {
    fn rule(&self, host: &Host) -> Option<&DestinationRule> {
        let (proxy, service) = (self.0.proxy, self.0.scope.service(host)?);
        self.0.snapshot.destination_rules.outbound(&proxy.namespace, &proxy.labels, service).map(|rule| &**rule)
    }

    /// Whether the proxy can dial an address. What is not an address (a range) is not judged.
    fn reaches(&self, address: &str) -> bool {
        match address.parse() {
            Ok(IpAddr::V4(_)) => self.0.proxy.has_ipv4(),
            Ok(IpAddr::V6(_)) => self.0.proxy.has_ipv6(),
            Err(_) => true,
        }
    }

    /// Allocated addresses are known to a proxy that answers DNS queries itself.
    fn takes_allocated(&self) -> bool {
        flag(self.0.proxy, "DNS_CAPTURE")
    }
}

impl World for ProxyWorld<'_> {
    fn service(&self, host: &Host) -> Option<&Service> {
        self.0.scope.service(host).map(|service| &**service)
    }

    fn addresses(&self, service: &Service) -> Vec<Str> {
        let own = service.addresses.first().is_some_and(|first| &**first != UNSPECIFIED);
        let listed = if own {
            &service.addresses
        } else if self.takes_allocated() {
            &service.auto_addresses
        } else {
            return vec![UNSPECIFIED.into()];
        };
        let reached: Vec<Str> = match service.registry {
            Registry::Kubernetes => listed.iter().filter(|address| self.reaches(address)).cloned().collect(),
            Registry::External if own => listed.clone(),
            Registry::External => listed.iter().filter(|address| self.reaches(address)).cloned().collect(),
        };
        if reached.is_empty() { vec![service.address().into()] } else { reached }
    }

    fn endpoints(&self, service: &Service, port: &Port) -> Vec<Vec<Str>> {
        let endpoints = self.0.snapshot.endpoints.of(service);
        endpoints
            .map(|endpoints| endpoints.of_port(port).map(|endpoint| endpoint.addresses.clone()).collect())
            .unwrap_or_default()
    }

    fn tcp_policy(&self, host: &Host, subset: &str) -> TcpPolicy {
        let Some(rule) = self.rule(host) else { return TcpPolicy::default() };
        let whole = rule.policy.as_ref();
        let tcp = whole.and_then(|policy| policy.connection_pool.as_ref()).and_then(|pool| pool.tcp.as_ref());
        let of_subset = rule
            .subset(subset)
            .filter(|_| !subset.is_empty())
            .and_then(|subset| subset.policy.as_ref())
            .and_then(|policy| policy.load_balancer.as_ref());
        let balancer = of_subset.or_else(|| whole.and_then(|policy| policy.load_balancer.as_ref()));
        TcpPolicy {
            idle_timeout: tcp.and_then(|tcp| tcp.idle_timeout),
            max_duration: tcp.and_then(|tcp| tcp.max_connection_duration),
            hash_source_ip: balancer.is_some_and(hashes_source_ip),
        }
    }

    fn subsets(&self, host: &Host) -> Vec<Str> {
        self.rule(host).map(|rule| rule.subsets.iter().map(|subset| subset.name.clone()).collect()).unwrap_or_default()
    }
}

fn hashes_source_ip(balancer: &LoadBalancer) -> bool {
    balancer.algorithm == Algorithm::Unspecified
        && balancer.consistent_hash.as_ref().is_some_and(|hash| hash.key == HashKey::SourceIp)
}
