// SPDX-License-Identifier: Apache-2.0
//! Rules of listeners: which chains there are, and in which order.

use super::inbound_plan::{InboundPort, chains};
use super::*;
use crate::filter::prepared::SecurityFilters;
use crate::filter::tracing::ServiceTags;
use serde_json::Value;
use std::time::Duration;
use tiphys_model::{
    CertificateFiles, InterceptionMode, ListenerSettings, Marked, MutualTls, Protocol, ProxyConfig, ProxyType,
    Telemetry,
};

/// The environment of a plain sidecar.
pub(crate) fn environment() -> Environment {
    Environment {
        kind: ProxyType::Sidecar,
        families: Families::V4,
        istio_filters: true,
        interception: InterceptionMode::Redirect,
        settings: Marked::new(ListenerSettings {
            connections_per_event: 1,
            handshake_timeout: Duration::from_secs(15),
            mongo_filter: true,
            trust_domains: vec!["cluster.local".into()],
            ..ListenerSettings::default()
        }),
        config: Marked::new(ProxyConfig::default()),
        telemetry: Marked::new(Telemetry { listener_logs: true, ..Telemetry::default() }),
        tags: ServiceTags::default(),
        service_name: "".into(),
        http10: false,
        idle_timeout: None,
        inbound_exact_balance: false,
        outbound_exact_balance: false,
        certificate: CertificateFiles::default(),
        credential_socket: false,
        file_socket: false,
        detection_timeout: Duration::ZERO,
        outbound_port: 15001,
        inbound_port: 15006,
    }
}

fn json(listener: &tiphys_proto::envoy::config::listener::v3::Listener) -> Value {
    tiphys_proto::to_json(&tiphys_proto::to_any(listener)).unwrap()
}

fn inbound_route(port: u32) -> crate::route::InboundRouteInput {
    let cluster = format!("inbound|{port}||").into();
    crate::route::InboundRouteInput { cluster, host: "a.b".into(), port, grpc: false, retries: None }
}

fn port(number: u32, protocol: Protocol) -> InboundPort {
    InboundPort {
        name: Some(format!("0.0.0.0_{number}").into()),
        port: number,
        protocol,
        cluster: format!("inbound|{number}||").into(),
        routes: RouteSource::Inbound(inbound_route(number)),
        tls: None,
        origin: "".into(),
        stat_prefix: "".into(),
    }
}

/// Transport, whether TLS ends and whether requests are routed, of each chain.
fn shape(protocol: Protocol, mode: MutualTls) -> Vec<(String, bool, bool)> {
    let chains = chains(&port(80, protocol), mode, &environment());
    chains.iter().map(|c| (c.matches.transport.to_string(), c.tls.is_some(), c.is_http())).collect()
}

fn row(transport: &str, tls: bool, http: bool) -> (String, bool, bool) {
    (transport.into(), tls, http)
}

#[test]
fn inbound_chains_follow_mode_and_protocol() {
    let (tls, raw) = ("tls", "raw_buffer");
    assert_eq!(shape(Protocol::Http, MutualTls::Strict), [row(tls, true, true)]);
    assert_eq!(shape(Protocol::Tcp, MutualTls::Strict), [row(tls, true, false)]);
    assert_eq!(shape(Protocol::Http, MutualTls::Permissive), [row(tls, true, true), row(raw, false, true)]);
    let permissive = [row(tls, true, false), row(tls, false, false), row(raw, false, false)];
    assert_eq!(shape(Protocol::Tcp, MutualTls::Permissive), permissive);
    let sniffed = [
        row(tls, true, true),
        row(raw, false, true),
        row(tls, true, false),
        row(raw, false, false),
        row(tls, false, false),
    ];
    assert_eq!(shape(Protocol::Unsupported, MutualTls::Permissive), sniffed);
    assert_eq!(shape(Protocol::Unsupported, MutualTls::Disable), [row(raw, false, true), row(raw, false, false)]);
}

#[test]
fn inspectors_are_off_where_nothing_is_to_be_told() {
    let environment = environment();
    let mut all = vec![inbound_plan::refused(&environment)];
    all.extend(chains(
        &InboundPort { name: None, ..port(0, Protocol::Unsupported) },
        MutualTls::Permissive,
        &environment,
    ));
    all.extend(chains(&port(8080, Protocol::Http), MutualTls::Permissive, &environment));
    let input = inbound::InboundInput {
        environment: Marked::new(environment),
        security: Marked::new(SecurityFilters::default()),
        name: inbound::VIRTUAL.into(),
        binds: vec!["0.0.0.0".into()],
        port: 15006,
        own_port: false,
        chains: all,
    };
    let listener = json(&inbound::listener(&input));
    assert_eq!(listener["listenerFilters"][0]["name"], "envoy.filters.listener.original_dst");
    let disabled = &listener["listenerFilters"][1]["filterDisabled"]["destinationPortRange"];
    assert_eq!((disabled["start"].as_u64(), disabled["end"].as_u64()), (Some(15006), Some(15007)));
    let rules = &listener["listenerFilters"][2]["filterDisabled"]["orMatch"]["rules"];
    assert_eq!(rules[0]["destinationPortRange"]["start"], 8080);
    assert_eq!(listener["filterChains"].as_array().unwrap().len(), 8);
}

#[test]
fn upstream_envoy_gets_no_filters_of_istio() {
    let environment = Environment { istio_filters: false, ..environment() };
    let chains = chains(&port(8080, Protocol::Tcp), MutualTls::Strict, &environment);
    let input = inbound::InboundInput {
        environment: Marked::new(environment),
        security: Marked::new(SecurityFilters::default()),
        name: "x".into(),
        binds: vec!["127.0.0.1".into()],
        port: 8080,
        own_port: true,
        chains,
    };
    let text = json(&inbound::listener(&input)).to_string();
    assert!(!text.contains("istio.metadata_exchange") && !text.contains("istio-peer-exchange"));
    assert!(text.contains("spiffe://cluster.local/"));
}

#[test]
fn statistics_of_upstream_envoy_tell_plain_text() {
    let prefixes = |istio_filters: bool, mode: MutualTls| -> Vec<String> {
        let environment = Environment { istio_filters, ..environment() };
        let chains = chains(&port(9000, Protocol::Tcp), mode, &environment);
        let tcp = chains.iter().filter_map(|chain| match &chain.body {
            Body::Tcp(body) => Some(body.target.stat_prefix.to_string()),
            Body::Http(_) => None,
        });
        tcp.collect()
    };
    let (own, plain) = ("inbound|9000||", "inbound|9000||;plaintext");
    // Mutual TLS, the application's own TLS, plain text.
    assert_eq!(prefixes(false, MutualTls::Permissive), [own, plain, plain]);
    assert_eq!(prefixes(false, MutualTls::Strict), [own]);
    assert_eq!(prefixes(false, MutualTls::Disable), [plain]);
    assert_eq!(prefixes(true, MutualTls::Permissive), [own, own, own]);
}

#[test]
fn outbound_listeners_fall_back_to_passthrough() {
    let http = HttpBody {
        routes: RouteSource::Named("80".into()),
        protocol: Protocol::Http,
        stat_prefix: "".into(),
        forward_proxy: false,
    };
    let environment = environment();
    let matches =
        ChainMatch { alpn: environment.plain_http(), transport: chain::PLAIN.into(), ..ChainMatch::default() };
    let input = outbound::OutboundInput {
        environment: Marked::new(environment),
        binds: vec!["0.0.0.0".into()],
        port: 80,
        bind_to_port: false,
        chains: vec![Chain::new(matches, Body::Http(http))],
        catch_all: Some("PassthroughCluster".into()),
    };
    let listener = json(&outbound::listener(&input));
    assert_eq!(listener["name"], "0.0.0.0_80");
    assert_eq!(listener["bindToPort"], false);
    assert_eq!(listener["defaultFilterChain"]["name"], "PassthroughFilterChain");
    assert_eq!(listener["listenerFilters"][0]["name"], "envoy.filters.listener.http_inspector");
    let manager = &listener["filterChains"][0]["filters"][0]["typedConfig"];
    assert_eq!(manager["statPrefix"], "outbound_0.0.0.0_80;");
    assert_eq!(manager["rds"]["routeConfigName"], "80");
}
