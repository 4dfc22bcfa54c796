// SPDX-License-Identifier: Apache-2.0
//! Classes of Gateways, and what a Gateway of a class is served by.

use super::Inputs;
use std::collections::BTreeMap;
use tiphys_api::gateway::Gateway;
use tiphys_api::{Kind, Meta, Spec};
use tiphys_model::Host;

/// The controller of gateways at the edge.
const GATEWAYS: &str = "istio.io/gateway-controller";
/// The controller of waypoints.
const WAYPOINTS: &str = "istio.io/mesh-controller";
/// The controller of gateways that others look after.
const UNMANAGED: &str = "istio.io/unmanaged-gateway";
/// The controller of gateways between networks.
const EAST_WEST: &str = "istio.io/eastwest-controller";

/// Annotation that names the Service of a Gateway.
const NAME_OVERRIDE: &str = "gateway.istio.io/name-override";
/// Annotation that names the service account of a Gateway.
const SERVICE_ACCOUNT: &str = "gateway.istio.io/service-account";

/// What a class is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Gateways at the edge.
    Gateway,
    /// Waypoints of an ambient mesh.
    Waypoint,
    /// Gateways between networks.
    EastWest,
    /// Gateways that others look after.
    Unmanaged,
}

/// The class of a name; none for another controller's.
pub(super) fn of_name(inputs: &Inputs<'_>, name: &str) -> Option<Class> {
    let stored = inputs.store.get(Kind::GatewayClass, "", name).and_then(|object| match &object.spec {
        Spec::GatewayClass(class) => Some(class.controller_name.as_str()),
        _ => None,
    });
    let controller = stored.or(match name {
        "istio" => Some(GATEWAYS),
        "istio-waypoint" => Some(WAYPOINTS),
        "istio-remote" => Some(UNMANAGED),
        "istio-east-west" => Some(EAST_WEST),
        _ => None,
    })?;
    match controller {
        GATEWAYS => Some(Class::Gateway),
        WAYPOINTS => Some(Class::Waypoint),
        UNMANAGED => Some(Class::Unmanaged),
        EAST_WEST => Some(Class::EastWest),
        _ => None,
    }
}

/// Whether its proxies are deployed for it. Otherwise its address names the Service before proxies that are there already.
fn is_managed(gateway: &Gateway) -> bool {
    match gateway.addresses.as_slice() {
        [] => true,
        [only] => only.address_type.as_deref().is_none_or(|kind| kind == "IPAddress"),
        _ => false,
    }
}

/// The Services before the proxies of a Gateway; addresses other than host names are not supported for that and given back apart.
pub(super) fn services(meta: &Meta, gateway: &Gateway, domain: &str) -> (Vec<Host>, Vec<String>) {
    if is_managed(gateway) {
        let name = deployed_name(&meta.annotations, NAME_OVERRIDE, &meta.name, gateway);
        return (vec![Host::new(&format!("{name}.{}.svc.{domain}", meta.namespace))], Vec::new());
    }
    let is_host = |kind: &Option<String>| kind.as_deref().is_none_or(|kind| kind == "Hostname");
    let (hosts, others): (Vec<_>, Vec<_>) =
        gateway.addresses.iter().partition(|address| is_host(&address.address_type));
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    let hosts = hosts.iter().map(|address| Host::resolve(&value(&address.value), &meta.namespace, domain)).collect();
    (hosts, others.iter().map(|address| value(&address.value)).collect())
}

/// The service account of its proxies; empty when they are not deployed for it, and may run as any.
pub(super) fn service_account(meta: &Meta, gateway: &Gateway) -> String {
    match is_managed(gateway) {
        true => deployed_name(&meta.annotations, SERVICE_ACCOUNT, &meta.name, gateway),
        false => String::new(),
    }
}

fn deployed_name(annotations: &BTreeMap<String, String>, key: &str, name: &str, gateway: &Gateway) -> String {
    annotations.get(key).cloned().unwrap_or_else(|| format!("{name}-{}", gateway.gateway_class_name))
}
