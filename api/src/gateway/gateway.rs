// SPDX-License-Identifier: Apache-2.0
//! Gateway: listeners at the edge, or a waypoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::common::{GatewayDefaultScope, LocalObjectReference, ObjectReference, SecretObjectReference};
use crate::LabelSelector;
use crate::value::open_enum;

/// A set of listeners that a proxy serves. <https://gateway-api.sigs.k8s.io/api-types/gateway/>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// The GatewayClass, which names the controller.
    pub gateway_class_name: String,
    /// The listeners; names are unique.
    pub listeners: Vec<Listener>,
    /// The addresses that are asked for.
    pub addresses: Vec<GatewaySpecAddress>,
    /// Labels, annotations and parameters of what is deployed for it.
    pub infrastructure: Option<GatewayInfrastructure>,
    /// Which ListenerSets may add listeners; unset means none.
    pub allowed_listeners: Option<AllowedListeners>,
    /// TLS of all listeners together, and towards backends.
    pub tls: Option<GatewayTlsConfig>,
    /// Makes it a default gateway for routes that ask for one.
    pub default_scope: Option<GatewayDefaultScope>,
}

/// One port, protocol and hostname that are served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listener {
    /// Name, unique in the Gateway.
    pub name: String,
    /// Hostname that is served, perhaps with a wildcard as its first label; unset means all.
    pub hostname: Option<String>,
    /// Port.
    pub port: i32,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP` or a domain-prefixed name.
    pub protocol: String,
    /// TLS; needed for HTTPS and TLS.
    pub tls: Option<ListenerTlsConfig>,
    /// Which routes may attach; unset means those of the Gateway's namespace.
    pub allowed_routes: Option<AllowedRoutes>,
}

/// How a listener speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerTlsConfig {
    /// Terminated here or passed through; unset means terminated.
    pub mode: Option<TlsModeType>,
    /// The certificates.
    pub certificate_refs: Vec<SecretObjectReference>,
    /// Options of the implementation.
    pub options: BTreeMap<String, String>,
}

open_enum! {
    /// Where TLS ends.
    pub enum TlsModeType {
        /// Here.
        Terminate = "Terminate",
        /// At the backend.
        Passthrough = "Passthrough",
    }
}

/// Which routes may attach to a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedRoutes {
    /// From which namespaces; unset means the Gateway's own.
    pub namespaces: Option<RouteNamespaces>,
    /// Of which kinds; empty means those that fit the protocol.
    pub kinds: Vec<RouteGroupKind>,
}

/// Namespaces from which routes or listeners may come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteNamespaces {
    /// Which ones; unset means `Same` for routes and `None` for listeners.
    pub from: Option<FromNamespaces>,
    /// The labels of the namespaces, for `Selector`.
    pub selector: Option<LabelSelector>,
}

open_enum! {
    /// A set of namespaces.
    pub enum FromNamespaces {
        /// Every namespace.
        All = "All",
        /// Those that a selector picks.
        Selector = "Selector",
        /// The Gateway's own.
        Same = "Same",
        /// None.
        None = "None",
    }
}

/// A kind of route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteGroupKind {
    /// API group; unset means gateway.networking.k8s.io.
    pub group: Option<String>,
    /// Kind.
    pub kind: String,
}

/// An address that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewaySpecAddress {
    /// `IPAddress`, `Hostname` or a domain-prefixed name; unset means `IPAddress`.
    #[serde(rename = "type")]
    pub address_type: Option<String>,
    /// The address; empty lets the implementation choose.
    pub value: Option<String>,
}

/// What is deployed for a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayInfrastructure {
    /// Labels of what is deployed.
    pub labels: BTreeMap<String, String>,
    /// Annotations of what is deployed.
    pub annotations: BTreeMap<String, String>,
    /// Parameters of the deployment.
    pub parameters_ref: Option<LocalObjectReference>,
}

/// Which ListenerSets may attach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedListeners {
    /// From which namespaces; unset means none.
    pub namespaces: Option<RouteNamespaces>,
}

/// TLS of a whole Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayTlsConfig {
    /// Towards backends.
    pub backend: Option<GatewayBackendTls>,
    /// Towards clients.
    pub frontend: Option<FrontendTlsConfig>,
}

/// How the Gateway shows itself to backends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayBackendTls {
    /// The client certificate.
    pub client_certificate_ref: Option<SecretObjectReference>,
}

/// How client certificates are checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FrontendTlsConfig {
    /// For every HTTPS port that has no own setting.
    pub default: Option<FrontendTls>,
    /// For single ports.
    pub per_port: Vec<TlsPortConfig>,
}

/// The setting of one port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsPortConfig {
    /// The port.
    pub port: i32,
    /// Its setting.
    pub tls: Option<FrontendTls>,
}

/// A setting for client certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FrontendTls {
    /// How they are checked; unset means not at all.
    pub validation: Option<FrontendTlsValidation>,
}

/// How client certificates are checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FrontendTlsValidation {
    /// Objects that hold the authorities' certificates.
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// What happens to clients without a valid one; unset means they are refused.
    pub mode: Option<FrontendValidationMode>,
}

open_enum! {
    /// What happens to clients without a valid certificate.
    pub enum FrontendValidationMode {
        /// They are refused.
        AllowValidOnly = "AllowValidOnly",
        /// They are let in.
        AllowInsecureFallback = "AllowInsecureFallback",
    }
}
