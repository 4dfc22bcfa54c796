// SPDX-License-Identifier: Apache-2.0
//! The kinds that are read: one table says for each its names, versions, scope and type. `Kind` and `Spec` follow from it.

use std::fmt;

use serde_json::{Map, Value};

use crate::gateway as gw;
use crate::istio::{extensions, networking, security, telemetry};
use crate::json::{self, Dialect, ReadError};
use crate::k8s;

/// Which part of an object its spec type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The field `spec`.
    Spec,
    /// The object itself, less its metadata.
    Root,
}

/// What is fixed for a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// The kind as YAML writes it.
    pub name: &'static str,
    /// The plural that URLs and CRD names use.
    pub plural: &'static str,
    /// Versions that are served, the preferred one first.
    pub versions: &'static [&'static str],
    /// False for cluster-scoped kinds.
    pub namespaced: bool,
    /// Which part of the object is read.
    pub shape: Shape,
    /// How it is read.
    pub dialect: Dialect,
}

macro_rules! kinds {
    ($(
        $(#[$meta:meta])*
        $variant:ident($spec:ty): $group:literal, $name:literal, $plural:literal, [$($version:literal),+], $namespaced:literal, $shape:ident, $dialect:ident;
    )*) => {
        /// A kind of object that is read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$meta])* $variant,)*
        }

        impl Kind {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),*];

            /// Names, versions and scope.
            pub const fn info(self) -> &'static KindInfo {
                match self {
                    $(Self::$variant => &KindInfo {
                        group: $group,
                        name: $name,
                        plural: $plural,
                        versions: &[$($version),+],
                        namespaced: $namespaced,
                        shape: Shape::$shape,
                        dialect: Dialect::$dialect,
                    },)*
                }
            }
        }

        /// What an object says, by kind.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "objects live one by one behind an Arc, never in a Vec")]
        pub enum Spec {
            $($(#[$meta])* $variant($spec),)*
        }

        impl Spec {
            /// The kind.
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$variant(_) => Kind::$variant,)*
                }
            }

            /// Reads the part of an object that its kind's shape names; also returns the paths of unknown fields.
            pub(crate) fn read(kind: Kind, value: Value, root: &str) -> Result<(Self, Vec<String>), ReadError> {
                let dialect = kind.info().dialect;
                match kind {
                    $(Kind::$variant => {
                        json::from_value(value, root, dialect).map(|(spec, unknown)| (Self::$variant(spec), unknown))
                    })*
                }
            }

            /// Words that enums in it do not know; `root` is where the spec stands.
            pub(crate) fn unknown_words(&self, root: &str) -> Vec<json::UnknownWord> {
                match self {
                    $(Self::$variant(spec) => json::unknown_words(spec, root),)*
                }
            }

            /// The JSON of what `read` reads.
            pub(crate) fn write(&self) -> Result<Value, serde_json::Error> {
                match self {
                    $(Self::$variant(spec) => json::to_value(spec),)*
                }
            }
        }

        $(impl From<$spec> for Spec {
            fn from(spec: $spec) -> Self {
                Self::$variant(spec)
            }
        })*
    };
}

kinds! {
    /// Istio's routes of a host.
    VirtualService(networking::VirtualService): "networking.istio.io", "VirtualService", "virtualservices", ["v1", "v1beta1", "v1alpha3"], true, Spec, Proto;
    /// Istio's policies for traffic to a host.
    DestinationRule(Box<networking::DestinationRule>): "networking.istio.io", "DestinationRule", "destinationrules", ["v1", "v1beta1", "v1alpha3"], true, Spec, Proto;
    /// Istio's gateway.
    IstioGateway(networking::Gateway): "networking.istio.io", "Gateway", "gateways", ["v1", "v1beta1", "v1alpha3"], true, Spec, Proto;
    /// A service that the mesh is told of.
    ServiceEntry(networking::ServiceEntry): "networking.istio.io", "ServiceEntry", "serviceentries", ["v1", "v1beta1", "v1alpha3"], true, Spec, Proto;
    /// A workload outside of Kubernetes.
    WorkloadEntry(networking::WorkloadEntry): "networking.istio.io", "WorkloadEntry", "workloadentries", ["v1", "v1beta1", "v1alpha3"], true, Spec, Proto;
    /// A template of workloads outside of Kubernetes.
    WorkloadGroup(networking::WorkloadGroup): "networking.istio.io", "WorkloadGroup", "workloadgroups", ["v1", "v1beta1", "v1alpha3"], true, Spec, Proto;
    /// What a sidecar sees and serves.
    Sidecar(networking::Sidecar): "networking.istio.io", "Sidecar", "sidecars", ["v1", "v1beta1", "v1alpha3"], true, Spec, Proto;
    /// Patches of what Envoy gets.
    EnvoyFilter(networking::EnvoyFilter): "networking.istio.io", "EnvoyFilter", "envoyfilters", ["v1alpha3"], true, Spec, Proto;
    /// Settings of single proxies.
    ProxyConfig(networking::ProxyConfig): "networking.istio.io", "ProxyConfig", "proxyconfigs", ["v1beta1"], true, Spec, Proto;
    /// Whether mTLS is asked of clients.
    PeerAuthentication(security::PeerAuthentication): "security.istio.io", "PeerAuthentication", "peerauthentications", ["v1", "v1beta1"], true, Spec, Proto;
    /// Which tokens are taken.
    RequestAuthentication(security::RequestAuthentication): "security.istio.io", "RequestAuthentication", "requestauthentications", ["v1", "v1beta1"], true, Spec, Proto;
    /// Who may do what.
    AuthorizationPolicy(security::AuthorizationPolicy): "security.istio.io", "AuthorizationPolicy", "authorizationpolicies", ["v1", "v1beta1"], true, Spec, Proto;
    /// Metrics, traces and access logs.
    Telemetry(telemetry::Telemetry): "telemetry.istio.io", "Telemetry", "telemetries", ["v1", "v1alpha1"], true, Spec, Proto;
    /// A WebAssembly plugin.
    WasmPlugin(extensions::WasmPlugin): "extensions.istio.io", "WasmPlugin", "wasmplugins", ["v1alpha1"], true, Spec, Proto;
    /// A WebAssembly or Lua extension.
    TrafficExtension(extensions::TrafficExtension): "extensions.istio.io", "TrafficExtension", "trafficextensions", ["v1alpha1"], true, Spec, Proto;

    /// A class of gateways.
    GatewayClass(gw::GatewayClass): "gateway.networking.k8s.io", "GatewayClass", "gatewayclasses", ["v1", "v1beta1"], false, Spec, Kube;
    /// Gateway API's gateway.
    Gateway(gw::Gateway): "gateway.networking.k8s.io", "Gateway", "gateways", ["v1", "v1beta1"], true, Spec, Kube;
    /// More listeners for a gateway.
    ListenerSet(gw::ListenerSet): "gateway.networking.k8s.io", "ListenerSet", "listenersets", ["v1"], true, Spec, Kube;
    /// Routes of HTTP.
    HttpRoute(gw::HttpRoute): "gateway.networking.k8s.io", "HTTPRoute", "httproutes", ["v1", "v1beta1"], true, Spec, Kube;
    /// Routes of gRPC.
    GrpcRoute(gw::GrpcRoute): "gateway.networking.k8s.io", "GRPCRoute", "grpcroutes", ["v1", "v1alpha2"], true, Spec, Kube;
    /// Routes of TLS by server name.
    TlsRoute(gw::TlsRoute): "gateway.networking.k8s.io", "TLSRoute", "tlsroutes", ["v1", "v1alpha3", "v1alpha2"], true, Spec, Kube;
    /// Routes of TCP.
    TcpRoute(gw::TcpRoute): "gateway.networking.k8s.io", "TCPRoute", "tcproutes", ["v1", "v1alpha2"], true, Spec, Kube;
    /// Routes of UDP.
    UdpRoute(gw::UdpRoute): "gateway.networking.k8s.io", "UDPRoute", "udproutes", ["v1", "v1alpha2"], true, Spec, Kube;
    /// TLS towards backends.
    BackendTlsPolicy(gw::BackendTlsPolicy): "gateway.networking.k8s.io", "BackendTLSPolicy", "backendtlspolicies", ["v1", "v1alpha3"], true, Spec, Kube;
    /// Leave to refer across namespaces.
    ReferenceGrant(gw::ReferenceGrant): "gateway.networking.k8s.io", "ReferenceGrant", "referencegrants", ["v1", "v1beta1", "v1alpha2"], true, Spec, Kube;
    /// A mesh, for its status.
    XMesh(gw::XMesh): "gateway.networking.x-k8s.io", "XMesh", "xmeshes", ["v1alpha1"], false, Spec, Kube;
    /// A backend outside of the cluster.
    XBackend(gw::XBackend): "gateway.networking.x-k8s.io", "XBackend", "xbackends", ["v1alpha1"], true, Spec, Kube;
    /// Retry budgets and sessions of a backend.
    XBackendTrafficPolicy(gw::XBackendTrafficPolicy): "gateway.networking.x-k8s.io", "XBackendTrafficPolicy", "xbackendtrafficpolicies", ["v1alpha1"], true, Spec, Kube;

    /// A namespace.
    Namespace(k8s::Namespace): "", "Namespace", "namespaces", ["v1"], false, Root, Kube;
    /// A service.
    Service(k8s::Service): "", "Service", "services", ["v1"], true, Root, Kube;
    /// Endpoints of a service.
    EndpointSlice(k8s::EndpointSlice): "discovery.k8s.io", "EndpointSlice", "endpointslices", ["v1", "v1beta1"], true, Root, Kube;
    /// Endpoints of a service, the older way.
    Endpoints(k8s::Endpoints): "", "Endpoints", "endpoints", ["v1"], true, Root, Kube;
    /// A pod.
    Pod(k8s::Pod): "", "Pod", "pods", ["v1"], true, Root, Kube;
    /// A node.
    Node(k8s::Node): "", "Node", "nodes", ["v1"], false, Root, Kube;
    /// Secret bytes.
    Secret(k8s::Secret): "", "Secret", "secrets", ["v1"], true, Root, Kube;
    /// Texts.
    ConfigMap(k8s::ConfigMap): "", "ConfigMap", "configmaps", ["v1"], true, Root, Kube;
    /// An identity.
    ServiceAccount(k8s::ServiceAccount): "", "ServiceAccount", "serviceaccounts", ["v1"], true, Root, Kube;
    /// Routes of HTTP from outside.
    Ingress(k8s::Ingress): "networking.k8s.io", "Ingress", "ingresses", ["v1"], true, Root, Kube;
    /// A class of ingresses.
    IngressClass(k8s::IngressClass): "networking.k8s.io", "IngressClass", "ingressclasses", ["v1"], false, Root, Kube;
    /// A service that is given to other clusters.
    ServiceExport(k8s::ServiceExport): "multicluster.x-k8s.io", "ServiceExport", "serviceexports", ["v1alpha1"], true, Root, Kube;
    /// A service that other clusters give.
    ServiceImport(k8s::ServiceImport): "multicluster.x-k8s.io", "ServiceImport", "serviceimports", ["v1alpha1"], true, Root, Kube;
}

impl Kind {
    /// The kind of a group and name, in any version; none when it is not read.
    pub fn find(group: &str, name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.info().group == group && kind.info().name == name)
    }

    /// The name as YAML writes it; two kinds are called Gateway.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The API group; empty for the core group.
    pub const fn group(self) -> &'static str {
        self.info().group
    }

    /// False for cluster-scoped kinds.
    pub const fn namespaced(self) -> bool {
        self.info().namespaced
    }

    /// `group/version` of the preferred version.
    pub fn api_version(self) -> String {
        let info = self.info();
        if info.group.is_empty() { info.versions[0].to_owned() } else { format!("{}/{}", info.group, info.versions[0]) }
    }

    /// True for the kinds of istio.io groups.
    pub fn is_istio(self) -> bool {
        self.group().ends_with(".istio.io")
    }

    /// True for the kinds of Gateway API.
    pub fn is_gateway_api(self) -> bool {
        self.group().starts_with("gateway.networking.")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Takes the part of an object that the kind reads; also the names of other fields at the top, which are unknown.
pub(crate) fn body(kind: Kind, mut object: Map<String, Value>) -> (Value, Option<Value>, Vec<String>) {
    for known in ["apiVersion", "kind", "metadata"] {
        object.remove(known);
    }
    match kind.info().shape {
        Shape::Spec => {
            let spec = object.remove("spec").unwrap_or_default();
            let status = object.remove("status").filter(|status| !status.is_null());
            (spec, status, object.keys().cloned().collect())
        }
        Shape::Root => {
            let status = object.get("status").filter(|status| !status.is_null()).cloned();
            (Value::Object(object), status, Vec::new())
        }
    }
}
