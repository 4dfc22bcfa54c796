// SPDX-License-Identifier: Apache-2.0
//! EnvoyFilters: patches of what proxies get (<https://istio.io/latest/docs/reference/config/networking/envoy-filter/>).

use crate::{Marked, PolicyTarget, ProxyType, Str};
use serde::Serialize;
use std::sync::Arc;

/// What is patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Patched {
    /// Listeners.
    Listener,
    /// Filter chains of listeners.
    FilterChain,
    /// Network filters of filter chains.
    NetworkFilter,
    /// HTTP filters of connection managers.
    HttpFilter,
    /// Listener filters.
    ListenerFilter,
    /// Route configurations.
    RouteConfiguration,
    /// Virtual hosts of route configurations.
    VirtualHost,
    /// Routes of virtual hosts.
    HttpRoute,
    /// Clusters.
    Cluster,
    /// Extensions that proxies ask for by name.
    ExtensionConfig,
}

/// How it is patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum PatchOperation {
    /// The value is merged in.
    Merge,
    /// The value is merged in, and its lists take the place of those that are there.
    MergeAndReplaceLists,
    /// The value is added.
    Add,
    /// What matches is removed.
    Remove,
    /// The value is put before what matches.
    InsertBefore,
    /// The value is put after what matches.
    InsertAfter,
    /// The value is put first.
    InsertFirst,
    /// The value takes the place of what matches.
    Replace,
}

/// A sort of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Traffic {
    /// What comes in to a sidecar.
    Inbound,
    /// What goes out of a sidecar.
    Outbound,
    /// What a gateway handles.
    Gateway,
}

impl Traffic {
    /// Whether a kind of proxies has this traffic.
    pub fn is_of(self, kind: ProxyType) -> bool {
        match self {
            Self::Inbound | Self::Outbound => kind == ProxyType::Sidecar,
            Self::Gateway => kind == ProxyType::Router,
        }
    }
}

/// Which proxies are patched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ProxyMatch {
    /// A regular expression that some part of the version matches; empty = any version.
    pub version: Str,
    /// Texts of the metadata, all of which must be there.
    pub metadata: Vec<(Str, Str)>,
}

/// Which listeners, and what in them. Empty fields and zeroes match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ListenerMatch {
    /// Name of the listener.
    pub name: Str,
    /// Port of the listener; of a filter chain, in the listeners that all traffic is redirected to.
    pub port: u32,
    /// Name of the listener filter.
    pub listener_filter: Str,
    /// Which filter chains; none = all.
    pub chain: Option<ChainMatch>,
}

/// Which filter chains, and what in them. Empty fields and zeroes match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ChainMatch {
    /// Name of the chain.
    pub name: Str,
    /// A server name of TLS.
    pub server_name: Str,
    /// The transport protocol.
    pub transport_protocol: Str,
    /// Application protocols, all of which must be there.
    pub application_protocols: Vec<Str>,
    /// The destination port.
    pub port: u32,
    /// Name of the network filter.
    pub filter: Option<Str>,
    /// Name of the HTTP filter in it.
    pub sub_filter: Option<Str>,
}

/// Which route configurations, and what in them. Empty fields and zeroes match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct RoutesMatch {
    /// Name of the route configuration.
    pub name: Str,
    /// Port of the service, or of a gateway's server.
    pub port: u32,
    /// Name of a gateway's port.
    pub port_name: Str,
    /// Gateway as `NAMESPACE/NAME`.
    pub gateway: Str,
    /// Which virtual hosts; none = all.
    pub host: Option<VirtualHostMatch>,
}

/// Which virtual hosts, and what in them. Empty fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct VirtualHostMatch {
    /// Name of the virtual host.
    pub name: Str,
    /// A domain of it.
    pub domain: Str,
    /// Which routes; none = all.
    pub route: Option<RouteMatch>,
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum RouteKind {
    /// It sends requests on.
    Route,
    /// It redirects.
    Redirect,
    /// It answers.
    DirectResponse,
}

/// Which routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct RouteMatch {
    /// Name of the route; empty = any.
    pub name: Str,
    /// What it does; none = anything.
    pub kind: Option<RouteKind>,
}

/// Which clusters. Empty fields and zeroes match everything; a name is matched alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ClusterMatch {
    /// Name of the cluster.
    pub name: Str,
    /// Host of the service.
    pub service: Str,
    /// Port of the service, or of the workload for inbound clusters.
    pub port: u32,
    /// Subset.
    pub subset: Str,
}

/// Which objects are patched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum PatchMatch {
    /// All.
    #[default]
    Any,
    /// By listener.
    Listener(ListenerMatch),
    /// By route configuration.
    Routes(RoutesMatch),
    /// By cluster.
    Cluster(ClusterMatch),
}

/// One patch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Patch {
    /// `EnvoyFilter NAMESPACE/NAME configPatches[INDEX]`
    pub origin: Str,
    /// What is patched.
    pub object: Patched,
    /// How.
    pub operation: PatchOperation,
    /// Of which traffic; none = any.
    pub traffic: Option<Traffic>,
    /// Of which proxies.
    pub proxy: ProxyMatch,
    /// Which ones.
    pub matching: PatchMatch,
    /// The encoded message of the value; empty without one. Its type is that of what is patched.
    pub value: Arc<[u8]>,
}

impl Patch {
    /// Whether it is about a sort of traffic.
    pub fn is_for(&self, traffic: Traffic) -> bool {
        self.traffic.is_none_or(|own| own == traffic)
    }
}

/// An EnvoyFilter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnvoyFilter {
    /// Name of the object.
    pub name: Str,
    /// Namespace of the object.
    pub namespace: Str,
    /// The workloads that it is for.
    pub target: PolicyTarget,
    /// Lower ones are applied first.
    pub priority: i32,
    /// When the object was made, in seconds of the epoch.
    pub creation: i64,
    /// Its patches in order.
    pub patches: Vec<Marked<Patch>>,
}

/// A list of patches in the order in which they are applied.
pub type PatchList = Marked<Vec<Marked<Patch>>>;

/// The patches of one proxy, by the resources that they touch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PatchSet {
    /// Listeners, and the routes that are written into inbound ones.
    pub listeners: PatchList,
    /// Route configurations that proxies ask for.
    pub routes: PatchList,
    /// Clusters.
    pub clusters: PatchList,
    /// Extensions.
    pub extensions: PatchList,
}

impl PatchSet {
    /// Sorts patches by what they touch.
    pub fn new(patches: &[Marked<Patch>]) -> Self {
        use Patched as P;
        let of = |wanted: &dyn Fn(&Patch) -> bool| Marked::new(patches.iter().filter(|p| wanted(p)).cloned().collect());
        let routes = |patch: &Patch| matches!(patch.object, P::RouteConfiguration | P::VirtualHost | P::HttpRoute);
        Self {
            listeners: of(&|patch| match patch.object {
                P::Listener | P::FilterChain | P::NetworkFilter | P::HttpFilter | P::ListenerFilter => true,
                _ => routes(patch) && patch.is_for(Traffic::Inbound),
            }),
            routes: of(&|patch| routes(patch) && patch.traffic != Some(Traffic::Inbound)),
            clusters: of(&|patch| patch.object == P::Cluster),
            extensions: of(&|patch| patch.object == P::ExtensionConfig),
        }
    }
}
