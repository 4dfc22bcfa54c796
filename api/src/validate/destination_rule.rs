// SPDX-License-Identifier: Apache-2.0
//! DestinationRule: policies and subsets; also the bounds that MeshConfig shares with it.

use std::collections::BTreeSet;

use super::load_balancer::{self, Localities};
use super::report::{At, Report};
use super::selector::{self, Export};
use super::{rules, tls};
use crate::istio::networking::DestinationRule;
use crate::istio::networking::connection_pool::{ConnectionPoolSettings, H2UpgradePolicy, HttpSettings, TcpSettings};
use crate::istio::networking::destination_rule::{OutlierDetection, PortTrafficPolicy, TrafficPolicy, TunnelSettings};
use crate::object::Meta;

pub(super) fn check(report: &mut Report, at: &At<'_>, meta: &Meta, spec: &DestinationRule) {
    report.check(&at.field("host"), rules::wildcard_domain(&spec.host));
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(report, &at.field("trafficPolicy"), policy, &meta.namespace);
    }
    let mut names = BTreeSet::new();
    for (index, subset) in spec.subsets.iter().enumerate() {
        let at = at.field("subsets");
        let at = at.index(index);
        report.check(&at.field("name"), rules::label(&subset.name));
        if !names.insert(&subset.name) {
            report.error(&at.field("name"), format!("{:?} is there twice", subset.name));
        }
        report.check(&at.field("labels"), rules::labels(&subset.labels));
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(report, &at.field("trafficPolicy"), policy, &meta.namespace);
        }
    }
    selector::export_to(report, at, &Export { namespace: &meta.namespace, export_to: &spec.export_to, nobody: false });
    selector::destination_workloads(report, at, spec.workload_selector.as_ref());
    let own = |entry: &String| entry == "." || *entry == meta.namespace;
    if spec.workload_selector.is_some() && !spec.export_to.iter().all(own) {
        report.error(
            &at.field("exportTo"),
            "a rule with a workloadSelector is for its own namespace only: use . or nothing",
        );
    }
}

fn traffic_policy(report: &mut Report, at: &At<'_>, policy: &TrafficPolicy, namespace: &str) {
    if *policy == TrafficPolicy::default() {
        report.error(at, "sets nothing: remove it, or set one of its fields");
        return;
    }
    report.at_most_one(at, &[("tunnel", policy.tunnel.is_some()), ("proxyProtocol", policy.proxy_protocol.is_some())]);
    let common = PortTrafficPolicy {
        port: None,
        load_balancer: policy.load_balancer.clone(),
        connection_pool: policy.connection_pool.clone(),
        outlier_detection: policy.outlier_detection.clone(),
        tls: policy.tls.clone(),
    };
    common_policy(report, at, &common, namespace);
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        let at = at.field("portLevelSettings");
        let at = at.index(index);
        match &port.port {
            Some(selector) => report.check(&at.field("port").field("number"), rules::port(selector.number)),
            None => report.error(&at.field("port"), "must be set"),
        }
        if *port == (PortTrafficPolicy { port: port.port.clone(), ..PortTrafficPolicy::default() }) {
            report.error(&at, "sets nothing: remove it, or set one of its fields");
        }
        common_policy(report, &at, port, namespace);
    }
    if let Some(settings) = &policy.tunnel {
        tunnel(report, &at.field("tunnel"), settings);
    }
    if let Some(budget) = &policy.retry_budget {
        let at = at.field("retryBudget");
        report.percent(&at.field("percent"), budget.percent.unwrap_or_default());
        report.duration(&at.field("budgetInterval"), budget.budget_interval);
    }
}

fn common_policy(report: &mut Report, at: &At<'_>, policy: &PortTrafficPolicy, namespace: &str) {
    if let Some(outlier) = &policy.outlier_detection {
        outlier_detection(report, &at.field("outlierDetection"), outlier);
    }
    if let Some(pool) = &policy.connection_pool {
        connection_pool(report, &at.field("connectionPool"), pool);
    }
    if let Some(balancer) = &policy.load_balancer {
        let context = Localities { outlier: policy.outlier_detection.is_some() };
        load_balancer::check(report, &at.field("loadBalancer"), balancer, &context);
    }
    if let Some(settings) = &policy.tls {
        tls::client(report, &at.field("tls"), settings, namespace);
    }
}

fn tunnel(report: &mut Report, at: &At<'_>, tunnel: &TunnelSettings) {
    if !["", "CONNECT", "POST"].contains(&tunnel.protocol.as_str()) {
        report.error(&at.field("protocol"), format!("{:?} is neither CONNECT nor POST", tunnel.protocol));
    }
    if !rules::is_ip(&tunnel.target_host) {
        report.check(&at.field("targetHost"), rules::fqdn(&tunnel.target_host));
    }
    report.check(&at.field("targetPort"), rules::port(tunnel.target_port));
}

pub(super) fn outlier_detection(report: &mut Report, at: &At<'_>, outlier: &OutlierDetection) {
    report.duration(&at.field("baseEjectionTime"), outlier.base_ejection_time);
    report.duration(&at.field("interval"), outlier.interval);
    if outlier.consecutive_errors != 0 {
        report.warning(
            &at.field("consecutiveErrors"),
            "is outdated: use consecutive5xxErrors or consecutiveGatewayErrors",
        );
    }
    if !outlier.split_external_local_origin_errors && outlier.consecutive_local_origin_failures.unwrap_or_default() > 0
    {
        report.error(&at.field("consecutiveLocalOriginFailures"), "needs splitExternalLocalOriginErrors: true");
    }
    report.percent(&at.field("maxEjectionPercent"), f64::from(outlier.max_ejection_percent));
    report.percent(&at.field("minHealthPercent"), f64::from(outlier.min_health_percent));
    for (index, code) in outlier.outlier_detection_http_error_codes.iter().enumerate() {
        if !(100..600).contains(code) {
            report.error(&at.field("outlierDetectionHttpErrorCodes").index(index), format!("{code} is not a status"));
        }
    }
}

pub(super) fn connection_pool(report: &mut Report, at: &At<'_>, pool: &ConnectionPoolSettings) {
    if pool.http.is_none() && pool.tcp.is_none() {
        report.error(at, "sets nothing: one of tcp, http must be set");
    }
    if let Some(http) = &pool.http {
        http_settings(report, &at.field("http"), http);
    }
    if let Some(tcp) = &pool.tcp {
        tcp_settings(report, &at.field("tcp"), tcp);
    }
}

fn http_settings(report: &mut Report, at: &At<'_>, http: &HttpSettings) {
    for (field, number) in [
        ("http1MaxPendingRequests", http.http1_max_pending_requests),
        ("http2MaxRequests", http.http2_max_requests),
        ("maxRequestsPerConnection", http.max_requests_per_connection),
        ("maxRetries", http.max_retries),
        ("maxConcurrentStreams", http.max_concurrent_streams),
    ] {
        report.not_negative(&at.field(field), i64::from(number));
    }
    report.duration(&at.field("idleTimeout"), http.idle_timeout.filter(|timeout| !timeout.is_zero()));
    if http.h2_upgrade_policy == H2UpgradePolicy::Upgrade && http.use_client_protocol {
        report.error(&at.field("useClientProtocol"), "does not go with h2UpgradePolicy: UPGRADE");
    }
    if let Some(keepalive) = &http.http2_keep_alive {
        let at = at.field("http2KeepAlive");
        for (field, value) in [("interval", keepalive.interval), ("timeout", keepalive.timeout)] {
            if value.is_none() {
                report.error(&at.field(field), "must be set");
            }
            report.duration(&at.field(field), value);
        }
    }
}

fn tcp_settings(report: &mut Report, at: &At<'_>, tcp: &TcpSettings) {
    report.not_negative(&at.field("maxConnections"), i64::from(tcp.max_connections));
    report.duration(&at.field("connectTimeout"), tcp.connect_timeout);
    report.duration(&at.field("maxConnectionDuration"), tcp.max_connection_duration);
    // Zero turns the timeout off.
    report.duration(&at.field("idleTimeout"), tcp.idle_timeout.filter(|timeout| !timeout.is_zero()));
    if let Some(keepalive) = &tcp.tcp_keepalive {
        let at = at.field("tcpKeepalive");
        report.duration(&at.field("time"), keepalive.time);
        report.duration(&at.field("interval"), keepalive.interval);
    }
}
