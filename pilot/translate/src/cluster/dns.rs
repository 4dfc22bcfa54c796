// SPDX-License-Identifier: Apache-2.0
//! Clusters whose endpoints the proxy resolves by DNS.

use super::Client;
use tiphys_model::TrafficDefaults;
use tiphys_proto::envoy::config::cluster::v3::Cluster;
use tiphys_proto::envoy::config::cluster::v3::cluster::DnsLookupFamily;
use tiphys_proto::envoy::config::core::v3::TypedExtensionConfig;
use tiphys_proto::envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;
use tiphys_proto::{duration, to_any, uint32};

/// Sets the resolver and how often it looks names up.
// Envoy deprecates these fields for a cluster extension of its own, which istiod does not use yet.
#[allow(deprecated)]
pub(super) fn apply(cluster: &mut Cluster, defaults: &TrafficDefaults, client: &Client) {
    cluster.set_dns_lookup_family(family(client, defaults.dual_stack));
    let resolver = CaresDnsResolverConfig { udp_max_queries: uint32(defaults.dns_max_queries), ..Default::default() };
    cluster.typed_dns_resolver_config = Some(TypedExtensionConfig {
        name: "envoy.network.dns_resolver.cares".into(),
        typed_config: Some(to_any(&resolver)),
    });
    cluster.dns_jitter = duration(defaults.dns_jitter);
    cluster.dns_refresh_rate = duration(defaults.dns_refresh_rate);
    cluster.respect_dns_ttl = true;
}

/// The address families that are looked up.
fn family(client: &Client, dual_stack: bool) -> DnsLookupFamily {
    match (client.ipv4, client.ipv6) {
        (false, true) => DnsLookupFamily::V6Only,
        (true, true) if dual_stack => DnsLookupFamily::All,
        _ => DnsLookupFamily::V4Only,
    }
}
