// SPDX-License-Identifier: Apache-2.0
//! The ports that a sidecar serves: those that its Sidecar object declares, else those of the services that its workload answers for.

use crate::environment::reserved_ports;
use crate::{Context, NoteKind};
use std::collections::BTreeMap;
use std::net::IpAddr;
use tiphys_model::{CaptureMode, ClusterName, Host, InterceptionMode, Protocol, ServerTls, SidecarIngress, Str};
use tiphys_translate::listener::inbound_plan::InboundPort;
use tiphys_translate::listener::{Environment, RouteSource};
use tiphys_translate::route::InboundRouteInput;

/// A port that is served, and where.
pub(crate) struct Served {
    /// Its chains.
    pub port: InboundPort,
    /// Addresses, the first one naming it.
    pub binds: Vec<Str>,
    /// It is a listener of its own, not a part of the virtual one.
    pub own_port: bool,
}

/// What is known of a port before its chains are made.
struct Declared<'a> {
    number: u32,
    service_port: u32,
    protocol: Protocol,
    host: Str,
    origin: Str,
    tls: Option<&'a ServerTls>,
}

/// The ports of the workload in order of their numbers.
pub(crate) fn inbound_ports(cx: &Context<'_>, environment: &Environment) -> Vec<Served> {
    let mut ports = BTreeMap::new();
    let ingress = cx.scope.sidecar.as_ref().map(|sidecar| &sidecar.ingress[..]).unwrap_or_default();
    let declared = |number: u32| ingress.iter().any(|one| one.port.number == number);
    let by_services = match ingress {
        // Without redirection the workload itself holds the ports of its services.
        [] => environment.interception != InterceptionMode::None,
        _ => environment.settings.merge_ingress,
    };
    if by_services {
        of_services(cx, environment, &mut ports);
        ports.retain(|number, _| !declared(*number));
    }
    for one in ingress {
        of_ingress(cx, environment, one, &mut ports);
    }
    ports.into_values().collect()
}

fn of_services(cx: &Context<'_>, environment: &Environment, ports: &mut BTreeMap<u32, Served>) {
    let mut targets: Vec<_> = cx.targets.iter().collect();
    // Of services that share a port the oldest one says what it speaks.
    targets.sort_by(|a, b| (a.service.creation, &a.service.host).cmp(&(b.service.creation, &b.service.host)));
    let reserved = reserved_ports(cx.proxy, environment);
    let mut spoken: BTreeMap<u32, Protocol> = BTreeMap::new();
    for target in targets {
        let number = target.target_port;
        if reserved.contains(&number) {
            continue;
        }
        if ports.contains_key(&number) {
            // Services that share a workload's port are common; what it speaks has to be the same.
            let spoken = spoken.get(&number).copied().unwrap_or_default();
            if spoken != target.port.protocol {
                let of = format!("{}.{}", cx.proxy.workload, cx.proxy.namespace);
                let (host, protocol) = (&target.service.host, target.port.protocol.as_str());
                let why = format!("port {number} speaks {}, not {protocol} as {host} says", spoken.as_str());
                cx.notes.add(NoteKind::InboundListener, of, why);
            }
            continue;
        }
        spoken.insert(number, target.port.protocol);
        let declared = Declared {
            number,
            service_port: target.port.number,
            protocol: target.port.protocol,
            host: target.service.host.to_str(),
            origin: Str::default(),
            tls: None,
        };
        let binds = environment.binds(environment.families.wildcards());
        let own_port = environment.interception == InterceptionMode::None;
        ports.insert(number, served(cx, declared, binds, own_port));
    }
}

fn of_ingress(cx: &Context<'_>, environment: &Environment, one: &SidecarIngress, ports: &mut BTreeMap<u32, Served>) {
    let Some(sidecar) = &cx.scope.sidecar else { return };
    let number = one.port.number;
    let own_port = match one.capture {
        CaptureMode::Default => environment.interception == InterceptionMode::None,
        CaptureMode::Iptables => false,
        CaptureMode::None => true,
    };
    let wildcard = environment.families.wildcards()[0];
    if &*one.bind == wildcard && reserved_ports(cx.proxy, environment).contains(&number) {
        return;
    }
    if ports.contains_key(&number) {
        let why = format!("ingress port {number} of Sidecar {}/{} is there twice", sidecar.namespace, sidecar.name);
        cx.notes.add(NoteKind::InboundListener, format!("{}.{}", cx.proxy.workload, cx.proxy.namespace), why);
        return;
    }
    let (name, namespace) = (&sidecar.name, &sidecar.namespace);
    let declared = Declared {
        number,
        service_port: number,
        protocol: one.port.protocol,
        host: format!("{name}.{namespace}").into(),
        origin: format!("/apis/networking.istio.io/v1/namespaces/{namespace}/sidecar/{name}").into(),
        tls: one.tls.as_ref().filter(|_| environment.settings.ingress_tls),
    };
    let binds = match &*one.bind {
        "" => instance_addresses(cx, environment),
        _ => vec![one.bind.clone()],
    };
    ports.insert(number, served(cx, declared, binds, own_port));
}

/// The address of the instance, so that a listener of its own does not take the port of the whole host.
fn instance_addresses(cx: &Context<'_>, environment: &Environment) -> Vec<Str> {
    let usable = |ip: &&IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local(),
    };
    match cx.proxy.addresses.iter().find(usable) {
        Some(ip) => vec![ip.to_string().into()],
        None => environment.binds(environment.families.wildcards()),
    }
}

fn served(cx: &Context<'_>, declared: Declared<'_>, binds: Vec<Str>, own_port: bool) -> Served {
    let Declared { number, service_port, protocol, host, origin, tls } = declared;
    let cluster = ClusterName::Inbound { port: number }.to_str();
    let routes = inbound_routes(cx, &cluster, (&host, service_port), protocol);
    let bind = binds.first().map_or("", |bind| bind);
    let port = InboundPort {
        name: Some(format!("{bind}_{number}").into()),
        port: number,
        protocol,
        cluster,
        routes,
        tls: tls.cloned(),
        origin,
        stat_prefix: Str::default(),
    };
    Served { port, binds, own_port }
}

/// The routes to the application; host and port of the service are for spans.
pub(crate) fn inbound_routes(
    cx: &Context<'_>,
    cluster: &Str,
    (host, port): (&Str, u32),
    protocol: Protocol,
) -> RouteSource {
    RouteSource::Inbound(InboundRouteInput {
        cluster: cluster.clone(),
        host: Host::new(host).to_str(),
        port,
        grpc: matches!(protocol, Protocol::Grpc | Protocol::GrpcWeb),
        retries: cx.snapshot.mesh.default_retries.clone(),
    })
}
