// SPDX-License-Identifier: Apache-2.0
//! MeshConfig, ProxyConfig and MeshNetworks.

use std::collections::BTreeSet;

use super::load_balancer::{self, Localities};
use super::report::{At, Report};
use super::{destination_rule, istio_http, providers, rules, tls, words};
use crate::mesh::proxy_settings::ConnectionSettings;
use crate::mesh::tracing::Tracing;
use crate::mesh::{MeshConfig, MeshNetworks, ProxyConfig};
use crate::problem::Problem;
use crate::value::Duration;

/// The curves that Envoy's TLS library knows.
const CURVES: [&str; 7] = ["P-224", "P-256", "P-384", "P-521", "X25519", "X25519Kyber768Draft00", "X25519MLKEM768"];

impl MeshConfig {
    /// What is wrong with the settings; empty when nothing is.
    pub fn validate(&self) -> Vec<Problem> {
        let mut report = Report::default();
        let at = At::Root("");
        words(&mut report, self);
        listeners(&mut report, &at, self);
        let context = Localities { outlier: true };
        if let Some(setting) = &self.locality_lb_setting {
            load_balancer::locality(&mut report, &at.field("localityLbSetting"), setting, &context);
        }
        if let Some(setting) = &self.zone_aware_lb_setting {
            load_balancer::zone_aware(&mut report, &at.field("zoneAwareLbSetting"), setting, &context);
        }
        for (index, settings) in self.service_settings.iter().enumerate() {
            let at = at.field("serviceSettings");
            let at = at.index(index);
            for (index, host) in settings.hosts.iter().enumerate() {
                report.check(&at.field("hosts").index(index), rules::wildcard_domain(host));
            }
        }
        report.check(&at.field("trustDomain"), trust_domain(&self.trust_domain));
        for (index, domain) in self.trust_domain_aliases.iter().enumerate() {
            report.check(&at.field("trustDomainAliases").index(index), trust_domain(domain));
        }
        providers::check(&mut report, &at, &self.extension_providers);
        mesh_tls(&mut report, &at, self);
        if let Some(policy) = &self.default_traffic_policy {
            let at = at.field("defaultTrafficPolicy");
            if let Some(pool) = &policy.connection_pool {
                destination_rule::connection_pool(&mut report, &at.field("connectionPool"), pool);
            }
            if let Some(outlier) = &policy.outlier_detection {
                destination_rule::outlier_detection(&mut report, &at.field("outlierDetection"), outlier);
            }
        }
        if let Some(retry) = &self.default_http_retry_policy {
            istio_http::retry(&mut report, &at.field("defaultHttpRetryPolicy"), retry);
        }
        match &self.default_config {
            Some(config) => proxy(&mut report, &at.field("defaultConfig"), config),
            None => report.error(&at.field("defaultConfig"), "must be set"),
        }
        report.problems
    }
}

fn listeners(report: &mut Report, at: &At<'_>, mesh: &MeshConfig) {
    for (field, number) in
        [("proxyListenPort", mesh.proxy_listen_port), ("proxyInboundListenPort", mesh.proxy_inbound_listen_port)]
    {
        port(report, &at.field(field), number);
    }
    if mesh.proxy_http_port != 0 {
        port(report, &at.field("proxyHttpPort"), mesh.proxy_http_port);
    }
    let timeout = at.field("connectTimeout");
    report.duration(&timeout, mesh.connect_timeout);
    if mesh.connect_timeout.is_some_and(|timeout| timeout > Duration::from_secs(3600)) {
        report.error(&timeout, "must be at most 1h");
    }
    report.duration(
        &at.field("protocolDetectionTimeout"),
        mesh.protocol_detection_timeout.filter(|timeout| !timeout.is_zero()),
    );
}

fn port(report: &mut Report, at: &At<'_>, number: i32) {
    report.check(at, u32::try_from(number).map_err(|_| format!("{number} is not a port")).and_then(rules::port));
}

fn trust_domain(domain: &str) -> rules::Check {
    let labels = domain.strip_suffix('.').unwrap_or(domain);
    if !labels.is_empty() && labels.split('.').all(rules::is_label) {
        return Ok(());
    }
    Err(format!("{domain:?} is not a trust domain: use DNS labels with dots between"))
}

fn mesh_tls(report: &mut Report, at: &At<'_>, mesh: &MeshConfig) {
    if mesh.mesh_mtls.as_ref().is_some_and(|tls| !tls.ecdh_curves.is_empty()) {
        report.error(&at.field("meshMTLS").field("ecdhCurves"), "does not work here: use tlsDefaults");
    }
    let Some(defaults) = &mesh.tls_defaults else { return };
    let mut seen = BTreeSet::new();
    for (index, curve) in defaults.ecdh_curves.iter().enumerate() {
        let at = at.field("tlsDefaults");
        let at = at.field("ecdhCurves");
        if !CURVES.contains(&curve.as_str()) {
            report.warning(&at.index(index), format!("{curve:?} is not a curve that is known"));
        } else if !seen.insert(curve) {
            report.warning(&at.index(index), format!("{curve:?} is there twice"));
        }
    }
}

impl ProxyConfig {
    /// What is wrong with the settings; empty when nothing is.
    pub fn validate(&self) -> Vec<Problem> {
        let mut report = Report::default();
        words(&mut report, self);
        proxy(&mut report, &At::Root(""), self);
        report.problems
    }
}

fn proxy(report: &mut Report, at: &At<'_>, config: &ProxyConfig) {
    report.present(&at.field("configPath"), &config.config_path);
    report.present(&at.field("binaryPath"), &config.binary_path);
    let named = config.service_cluster.as_ref().is_some_and(|name| !name.is_empty());
    if !named && config.tracing_service_name.is_none() {
        report.error(&at.field("serviceCluster"), "must be set, or tracingServiceName in its place");
    }
    report.duration(&at.field("drainDuration"), config.drain_duration);
    if config.drain_duration.is_some_and(|duration| duration.get().subsec_nanos() != 0) {
        report.error(&at.field("drainDuration"), "must be whole seconds");
    }
    report.check(&at.field("discoveryAddress"), rules::host_port(&config.discovery_address));
    port(report, &at.field("proxyAdminPort"), config.proxy_admin_port);
    port(report, &at.field("statusPort"), config.status_port);
    report.not_negative(&at.field("concurrency"), config.concurrency.unwrap_or_default().into());
    for (field, address) in [
        ("statsdUdpAddress", &config.statsd_udp_address),
        ("envoyMetricsServiceAddress", &config.envoy_metrics_service_address),
    ] {
        if !address.is_empty() {
            report.check(&at.field(field), rules::host_port(address));
        }
    }
    for (field, service) in [
        ("envoyMetricsService", &config.envoy_metrics_service),
        ("envoyAccessLogService", &config.envoy_access_log_service),
    ] {
        if let Some(service) = service.as_ref().filter(|service| !service.address.is_empty()) {
            report.check(&at.field(field).field("address"), rules::host_port(&service.address));
        }
    }
    if config.proxy_metadata.contains_key("ISTIO_META_DNS_AUTO_ALLOCATE") {
        let at = at.field("proxyMetadata");
        report.warning(
            &at.key("ISTIO_META_DNS_AUTO_ALLOCATE"),
            "is outdated: the control plane allocates addresses itself",
        );
    }
    if let Some(settings) = &config.tracing {
        tracing(report, &at.field("tracing"), settings);
    }
    if let Some(provider) = &config.private_key_provider {
        let at = at.field("privateKeyProvider");
        report.exactly_one(&at, &[("cryptomb", provider.cryptomb.is_some()), ("qat", provider.qat.is_some())]);
        let delays = [
            ("cryptomb", provider.cryptomb.as_ref().map(|settings| settings.poll_delay)),
            ("qat", provider.qat.as_ref().map(|settings| settings.poll_delay)),
        ];
        for (field, delay) in delays {
            if delay.is_some_and(|delay| delay.is_none_or(Duration::is_zero)) {
                report.error(&at.field(field).field("pollDelay"), "must be set, and more than 0");
            }
        }
    }
    if let Some(settings) = &config.connection_settings {
        connections(report, &at.field("connectionSettings"), settings);
    }
}

fn tracing(report: &mut Report, at: &At<'_>, tracing: &Tracing) {
    report.at_most_one(
        at,
        &[
            ("zipkin", tracing.zipkin.is_some()),
            ("lightstep", tracing.lightstep.is_some()),
            ("datadog", tracing.datadog.is_some()),
            ("stackdriver", tracing.stackdriver.is_some()),
            ("openCensusAgent", tracing.open_census_agent.is_some()),
        ],
    );
    for (field, address) in [
        ("zipkin", tracing.zipkin.as_ref().map(|service| &service.address)),
        ("datadog", tracing.datadog.as_ref().map(|service| &service.address)),
        ("lightstep", tracing.lightstep.as_ref().map(|service| &service.address)),
    ] {
        // The node's address stands in for the variable.
        if let Some(address) = address.map(|address| address.replace("$(HOST_IP)", "127.0.0.1")) {
            report.check(&at.field(field).field("address"), rules::host_port(&address));
        }
    }
    report.percent(&at.field("sampling"), tracing.sampling);
    if let Some(settings) = &tracing.tls_settings {
        tls::client(report, &at.field("tlsSettings"), settings, "");
    }
}

fn connections(report: &mut Report, at: &At<'_>, settings: &ConnectionSettings) {
    for (field, number, least) in [
        ("listenerPerConnectionBufferLimitBytes", settings.listener_per_connection_buffer_limit_bytes, 0),
        ("clusterPerConnectionBufferLimitBytes", settings.cluster_per_connection_buffer_limit_bytes, 0),
        ("httpMaxConcurrentStreams", settings.http_max_concurrent_streams, 1),
        ("http2InitialStreamWindowSize", settings.http2_initial_stream_window_size, 65535),
        ("http2InitialConnectionWindowSize", settings.http2_initial_connection_window_size, 65535),
        ("listenerConnectionLimit", settings.listener_connection_limit, 1),
        ("globalDownstreamConnectionLimit", settings.global_downstream_connection_limit, 1),
    ] {
        if number.is_some_and(|number| number < least) {
            report.error(&at.field(field), format!("must be at least {least}"));
        }
    }
}

impl MeshNetworks {
    /// What is wrong with the networks; empty when nothing is.
    pub fn validate(&self) -> Vec<Problem> {
        let mut report = Report::default();
        let root = At::Root("");
        let at = root.field("networks");
        for (name, network) in &self.networks {
            let at = at.key(name);
            for (index, endpoints) in network.endpoints.iter().enumerate() {
                let at = at.field("endpoints");
                let at = at.index(index);
                report.at_most_one(
                    &at,
                    &[("fromCidr", endpoints.from_cidr.is_some()), ("fromRegistry", endpoints.from_registry.is_some())],
                );
                if let Some(cidr) = &endpoints.from_cidr {
                    report.check(&at.field("fromCidr"), rules::subnet(cidr));
                }
                if let Some(registry) = &endpoints.from_registry {
                    report.check(&at.field("fromRegistry"), rules::label(registry));
                }
            }
            for (index, gateway) in network.gateways.iter().enumerate() {
                let at = at.field("gateways");
                let at = at.index(index);
                report.at_most_one(
                    &at,
                    &[
                        ("registryServiceName", gateway.registry_service_name.is_some()),
                        ("address", gateway.address.is_some()),
                    ],
                );
                if let Some(service) = &gateway.registry_service_name {
                    report.check(&at.field("registryServiceName"), rules::fqdn(service));
                }
                if let Some(address) = gateway.address.as_deref().filter(|address| !rules::is_ip(address)) {
                    report.check(&at.field("address"), rules::fqdn(address));
                }
                report.check(&at.field("port"), rules::port(gateway.port));
            }
        }
        report.problems
    }
}
