// SPDX-License-Identifier: Apache-2.0
//! The listeners of a proxy: plans are made for each class of proxies, listeners by the memo.

use crate::environment::{environment, flag, reserved_ports};
use crate::gateway_listeners;
use crate::inbound_ports::{inbound_ports, inbound_routes};
use crate::policies::security_filters;
use crate::world::ProxyWorld;
use crate::{Context, Generator, NoteKind};
use std::collections::BTreeSet;
use std::hash::Hash;
use std::time::Duration;
use tiphys_model::{
    Fingerprint, INBOUND_PASSTHROUGH, InterceptionMode, Marked, OutboundMode, PASSTHROUGH, PeerModes, Protocol,
    ProxyType, Str,
};
use tiphys_proto::envoy::config::listener::v3::Listener;
use tiphys_translate::listener::connection_chains::source;
use tiphys_translate::listener::inbound::{InboundInput, VIRTUAL};
use tiphys_translate::listener::inbound_plan::{self, InboundPort};
use tiphys_translate::listener::outbound_plan::{self, Egress, OutboundFacts};
use tiphys_translate::listener::virtual_outbound::{self, VirtualOutboundInput};
use tiphys_translate::listener::{Environment, inbound, outbound};
use tiphys_xds::{Entry, ResourceType};

/// How listeners are made.
pub(crate) const GENERATOR: Generator =
    Generator { ty: ResourceType::LISTENER, proxy: of_proxy, world: of_world, build, patch: None };

fn of_proxy(cx: &Context<'_>) -> Fingerprint {
    Fingerprint::of(&(cx.proxy, cx.targets))
}

fn of_world(cx: &Context<'_>) -> Fingerprint {
    let snapshot = cx.snapshot;
    let routes = (cx.proxy.kind == ProxyType::Router).then_some((&snapshot.virtual_services, &snapshot.gateways));
    // Endpoints matter where each has a listener of its own.
    let dialled = cx
        .scope
        .services
        .iter()
        .filter(|service| service.is_headless() || service.resolution == tiphys_model::Resolution::Passthrough);
    let endpoints: Vec<_> = dialled.map(|service| snapshot.endpoints.of(service)).collect();
    Fingerprint::of(&(
        (cx.scope.fingerprint(), &snapshot.mesh, &snapshot.telemetry, routes, endpoints),
        (snapshot.destination_rules.fingerprint(), snapshot.security.fingerprint(), snapshot.services.fingerprint()),
    ))
}

fn build(cx: &Context<'_>) -> Vec<Entry> {
    match cx.proxy.kind {
        ProxyType::Sidecar if cx.snapshot.mesh.proxy_listen_port > 0 => sidecar(cx),
        ProxyType::Router => gateway_listeners::gateway(cx),
        ProxyType::Sidecar | ProxyType::Waypoint => Vec::new(),
    }
}

/// The entry of a listener, made once for each input.
pub(crate) fn entry<I: Hash + 'static>(cx: &Context<'_>, input: &I, make: impl Fn(&I) -> Listener) -> Entry {
    cx.memo.get(input, |input| {
        let listener = make(input);
        Entry::of(listener.name.as_str(), &listener)
    })
}

fn sidecar(cx: &Context<'_>) -> Vec<Entry> {
    let environment = environment(cx);
    let catch_all: Option<Str> = match cx.scope.outbound_mode {
        OutboundMode::AllowAny => Some(unknown_hosts(cx)),
        OutboundMode::RegistryOnly => None,
    };
    let mut entries = outbound(cx, &environment, catch_all.clone());
    if environment.interception != InterceptionMode::None {
        let input = VirtualOutboundInput { environment: environment.clone(), catch_all };
        entries.push(entry(cx, &input, virtual_outbound::listener));
    }
    entries.extend(inbound(cx, &environment));
    entries
}

/// The cluster for calls to hosts that no service has, where they are let through.
pub(crate) fn unknown_hosts(cx: &Context<'_>) -> Str {
    let proxy = cx.scope.sidecar.as_ref().and_then(|sidecar| sidecar.egress_proxy.clone());
    proxy.unwrap_or_else(|| PASSTHROUGH.into())
}

fn outbound(cx: &Context<'_>, environment: &Marked<Environment>, catch_all: Option<Str>) -> Vec<Entry> {
    let proxy = cx.proxy;
    let stated = proxy.metadata_str("HTTP_PROXY_PORT").parse().ok();
    let facts = OutboundFacts {
        source: source(&proxy.labels, &proxy.namespace),
        own_address: proxy.address().to_string().into(),
        unprivileged: flag(proxy, "UNPRIVILEGED_POD"),
        reserved_ports: reserved_ports(proxy, environment),
        catch_all,
        http_proxy_port: stated.unwrap_or(cx.snapshot.mesh.proxy_http_port),
    };
    let egress: Vec<Egress<'_>> = cx
        .scope
        .egress
        .iter()
        .map(|one| Egress {
            declared: one.declared.as_ref(),
            services: &one.services,
            virtual_services: &one.virtual_services,
        })
        .collect();
    let plan = outbound_plan::plan(environment, &ProxyWorld(cx), &facts, &egress);
    for conflict in &plan.conflicts {
        cx.notes.add(NoteKind::OutboundListener, conflict.listener.as_str(), conflict.reason.as_str());
    }
    plan.listeners.iter().map(|input| entry(cx, input, outbound::listener)).collect()
}

/// While a change of mutual TLS is on its way, a port takes plain text and TLS at once. A client of TLS says so with its first bytes; one of
/// plain text may wait for the server to speak first (MySQL, SMTP), and must not wait for ever.
const SPEAK_FIRST: Duration = Duration::from_secs(1);

fn inbound_environment(cx: &Context<'_>, environment: &Marked<Environment>) -> Marked<Environment> {
    let changing = cx.snapshot.security.is_changing(&cx.snapshot.mesh, &cx.proxy.namespace, &cx.proxy.labels);
    if !changing || !environment.detection_timeout.is_zero() {
        return environment.clone();
    }
    Marked::new(Environment { detection_timeout: SPEAK_FIRST, ..Environment::clone(environment) })
}

fn inbound(cx: &Context<'_>, environment: &Marked<Environment>) -> Vec<Entry> {
    let proxy = cx.proxy;
    let environment = &inbound_environment(cx, environment);
    let modes = cx.snapshot.security.modes_of(&cx.snapshot.mesh, &proxy.namespace, &proxy.labels);
    let security = security_filters(cx);
    let served = inbound_ports(cx, environment);
    let known: BTreeSet<u32> = served.iter().map(|one| one.port.port).collect();
    let mut virtual_chains = passthrough(cx, environment, &modes, &known);
    let mut inputs = Vec::new();
    for one in served {
        let chains = inbound_plan::chains(&one.port, modes.of_port(one.port.port), environment);
        if !one.own_port {
            virtual_chains.extend(chains);
            continue;
        }
        inputs.push(InboundInput {
            environment: environment.clone(),
            security: security.clone(),
            name: one.port.name.unwrap_or_default(),
            port: one.port.port,
            binds: one.binds,
            own_port: true,
            chains,
        });
    }
    if environment.interception != InterceptionMode::None {
        inputs.push(InboundInput {
            environment: environment.clone(),
            security,
            name: VIRTUAL.into(),
            binds: environment.binds(environment.families.wildcards()),
            port: environment.inbound_port,
            own_port: false,
            chains: virtual_chains,
        });
    }
    inputs.iter().map(|input| entry(cx, input, inbound::listener)).collect()
}

/// The chains of ports that nobody declared: all of them, and those for which a policy has a mode of its own.
fn passthrough(
    cx: &Context<'_>,
    environment: &Environment,
    modes: &PeerModes,
    known: &BTreeSet<u32>,
) -> Vec<tiphys_translate::listener::Chain> {
    let cluster: Str = INBOUND_PASSTHROUGH.into();
    let mut chains = vec![inbound_plan::refused(environment)];
    let others = modes.ports.keys().copied().filter(|port| !known.contains(port));
    for number in std::iter::once(0).chain(others) {
        let port = InboundPort {
            name: None,
            port: number,
            protocol: Protocol::Unsupported,
            cluster: cluster.clone(),
            routes: inbound_routes(cx, &cluster, (&Str::default(), 0), Protocol::Unsupported),
            tls: None,
            origin: Str::default(),
            stat_prefix: Str::default(),
        };
        let mode = if number == 0 { modes.mode } else { modes.of_port(number) };
        chains.extend(inbound_plan::chains(&port, mode, environment));
    }
    chains
}
