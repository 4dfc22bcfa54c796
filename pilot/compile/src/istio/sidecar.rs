// SPDX-License-Identifier: Apache-2.0
//! Lowering of Sidecar objects.

use super::traffic_policy::connection_pool;
use super::virtual_service::Names;
use crate::LowerContext;
use crate::lower::labels;
use tiphys_api::istio::networking::sidecar as api;
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{
    CaptureMode, ClusterName, EgressHost, Host, HostNamespace, OutboundMode, Port, Protocol, Sidecar, SidecarEgress,
    SidecarIngress, TargetPort,
};

/// A Sidecar object in the words of the model.
pub fn lower(object: &Object, cx: &LowerContext<'_>, _: &mut Vec<Problem>) -> Option<Sidecar> {
    let Spec::Sidecar(spec) = &object.spec else { return None };
    let selector = spec.workload_selector.as_ref().map(|selector| labels(&selector.labels));
    Some(Sidecar {
        name: object.meta.name.as_str().into(),
        namespace: object.meta.namespace.as_str().into(),
        selector: selector.filter(|labels| !labels.is_empty()),
        ingress: spec.ingress.iter().filter_map(ingress).collect(),
        egress: spec.egress.iter().map(egress).collect(),
        outbound_mode: spec.outbound_traffic_policy.as_ref().map(|policy| match policy.mode {
            api::OutboundTrafficPolicyMode::AllowAny => OutboundMode::AllowAny,
            _ => OutboundMode::RegistryOnly,
        }),
        egress_proxy: spec.outbound_traffic_policy.as_ref().and_then(|policy| {
            let names = Names { namespace: &object.meta.namespace, domain: &cx.mesh.short_name_domain };
            let to = names.destination(policy.egress_proxy.as_ref()?);
            let (port, host) = (to.port.unwrap_or_default(), to.host.as_str());
            Some(ClusterName::Outbound { port, subset: &to.subset, host }.to_str())
        }),
        connection_pool: spec.inbound_connection_pool.as_ref().map(connection_pool),
    })
}

fn port(port: &api::SidecarPort) -> Port {
    let target = if port.target_port > 0 { TargetPort::Number(port.target_port) } else { TargetPort::Same };
    Port { name: port.name.as_str().into(), number: port.number, protocol: Protocol::parse(&port.protocol), target }
}

fn capture(mode: &api::CaptureMode) -> CaptureMode {
    match mode {
        api::CaptureMode::Iptables => CaptureMode::Iptables,
        api::CaptureMode::None => CaptureMode::None,
        _ => CaptureMode::Default,
    }
}

fn ingress(listener: &api::IstioIngressListener) -> Option<SidecarIngress> {
    Some(SidecarIngress {
        port: port(listener.port.as_ref()?),
        bind: listener.bind.as_str().into(),
        capture: capture(&listener.capture_mode),
        default_endpoint: listener.default_endpoint.as_str().into(),
        connection_pool: listener.connection_pool.as_ref().map(connection_pool),
        tls: listener.tls.as_ref().map(super::gateway::server_tls),
    })
}

fn egress(listener: &api::IstioEgressListener) -> SidecarEgress {
    SidecarEgress {
        port: listener.port.as_ref().map(port),
        http_proxy: listener.port.as_ref().is_some_and(|port| port.protocol.eq_ignore_ascii_case("HTTP_PROXY")),
        bind: listener.bind.as_str().into(),
        capture: capture(&listener.capture_mode),
        hosts: listener.hosts.iter().filter_map(|text| egress_host(text)).collect(),
    }
}

/// Reads `NAMESPACE/HOST`; validation has refused objects with anything else.
fn egress_host(text: &str) -> Option<EgressHost> {
    let (namespace, host) = text.split_once('/')?;
    let (namespace, excluded) = match namespace.strip_prefix('~') {
        Some(rest) if !rest.is_empty() || host != "*" => (if rest.is_empty() { "*" } else { rest }, true),
        // `~/*` lets nothing through.
        Some(_) => return None,
        None => (namespace, false),
    };
    let namespace = match namespace {
        "*" => HostNamespace::Any,
        "." => HostNamespace::Own,
        name => HostNamespace::Named(name.into()),
    };
    Some(EgressHost { namespace, host: Host::new(host), excluded })
}
