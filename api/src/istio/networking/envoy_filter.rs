// SPDX-License-Identifier: Apache-2.0
//! EnvoyFilter: patches of what Envoy gets (<https://istio.io/latest/docs/reference/config/networking/envoy-filter/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::sidecar::WorkloadSelector;
use crate::istio::selector::PolicyTargetReference;
use crate::value::open_enum;

/// Patches of the configuration of workloads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilter {
    /// The workloads; unset means all of the namespace, or of the mesh in the root namespace.
    pub workload_selector: Option<WorkloadSelector>,
    /// Gateways, services and the like that it attaches to.
    pub target_refs: Vec<PolicyTargetReference>,
    /// The patches, in order.
    pub config_patches: Vec<EnvoyConfigObjectPatch>,
    /// The order among filters; lower ones first.
    pub priority: i32,
}

/// One patch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyConfigObjectPatch {
    /// What is patched.
    pub apply_to: ApplyTo,
    /// Which ones; unset means all.
    pub r#match: Option<EnvoyConfigObjectMatch>,
    /// What is done.
    pub patch: Option<Patch>,
}

open_enum! {
    /// What is patched.
    pub enum ApplyTo {
        /// Not written, which is not allowed.
        Invalid = "INVALID" | 0,
        /// Listeners.
        Listener = "LISTENER" | 1,
        /// Filter chains of listeners.
        FilterChain = "FILTER_CHAIN" | 2,
        /// Network filters of filter chains.
        NetworkFilter = "NETWORK_FILTER" | 3,
        /// HTTP filters of HTTP connection managers.
        HttpFilter = "HTTP_FILTER" | 4,
        /// Route configurations.
        RouteConfiguration = "ROUTE_CONFIGURATION" | 5,
        /// Virtual hosts.
        VirtualHost = "VIRTUAL_HOST" | 6,
        /// Routes of virtual hosts.
        HttpRoute = "HTTP_ROUTE" | 7,
        /// Clusters.
        Cluster = "CLUSTER" | 8,
        /// Extensions that are fetched apart.
        ExtensionConfig = "EXTENSION_CONFIG" | 9,
        /// The bootstrap.
        Bootstrap = "BOOTSTRAP" | 10,
        /// Listener filters.
        ListenerFilter = "LISTENER_FILTER" | 11,
    }
}

/// Which objects are patched. One of the last four fields is set at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyConfigObjectMatch {
    /// For which sort of traffic.
    pub context: PatchContext,
    /// Of which proxies.
    pub proxy: Option<ProxyMatch>,
    /// Which listeners.
    pub listener: Option<ListenerMatch>,
    /// Which route configurations.
    pub route_configuration: Option<RouteConfigurationMatch>,
    /// Which clusters.
    pub cluster: Option<ClusterMatch>,
    /// Which parts of a waypoint.
    pub waypoint: Option<WaypointMatch>,
}

open_enum! {
    /// Sorts of traffic.
    pub enum PatchContext {
        /// All.
        Any = "ANY" | 0,
        /// What a sidecar gets.
        SidecarInbound = "SIDECAR_INBOUND" | 1,
        /// What a sidecar's application sends.
        SidecarOutbound = "SIDECAR_OUTBOUND" | 2,
        /// Gateways.
        Gateway = "GATEWAY" | 3,
        /// Waypoints.
        Waypoint = "WAYPOINT" | 4,
    }
}

/// Which proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyMatch {
    /// A regular expression (RE2) for their version.
    pub proxy_version: String,
    /// Node metadata that they must have.
    pub metadata: BTreeMap<String, String>,
}

/// Which clusters; what is unset matches all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterMatch {
    /// The service's port.
    pub port_number: u32,
    /// The service's host.
    pub service: String,
    /// The subset.
    pub subset: String,
    /// The cluster's name.
    pub name: String,
}

/// Which route configurations; what is unset matches all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RouteConfigurationMatch {
    /// The server's port.
    pub port_number: u32,
    /// The server port's name, on gateways.
    pub port_name: String,
    /// The Gateway, as namespace/name.
    pub gateway: String,
    /// Which virtual hosts.
    pub vhost: Option<VirtualHostMatch>,
    /// The route configuration's name.
    pub name: String,
}

/// Which virtual hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualHostMatch {
    /// By name, as host:port.
    pub name: String,
    /// By domain.
    pub domain_name: String,
    /// Which routes.
    pub route: Option<RouteMatch>,
}

/// Which routes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RouteMatch {
    /// By name.
    pub name: String,
    /// By what they do.
    pub action: RouteAction,
}

open_enum! {
    /// What a route does.
    pub enum RouteAction {
        /// Anything.
        Any = "ANY" | 0,
        /// Sends on.
        Route = "ROUTE" | 1,
        /// Redirects.
        Redirect = "REDIRECT" | 2,
        /// Answers itself.
        DirectResponse = "DIRECT_RESPONSE" | 3,
    }
}

/// Which listeners; what is unset matches all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerMatch {
    /// The port.
    pub port_number: u32,
    /// Not in use.
    pub port_name: String,
    /// Which filter chains.
    pub filter_chain: Option<FilterChainMatch>,
    /// Which listener filters.
    pub listener_filter: String,
    /// The listener's name.
    pub name: String,
}

/// Which filter chains; what is unset matches all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct FilterChainMatch {
    /// By name.
    pub name: String,
    /// By server name.
    pub sni: String,
    /// By transport protocol, `raw_buffer` or `tls`.
    pub transport_protocol: String,
    /// By application protocols, with commas between.
    pub application_protocols: String,
    /// Which network filters.
    pub filter: Option<FilterMatch>,
    /// By destination port.
    pub destination_port: u32,
}

/// Which network filters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct FilterMatch {
    /// By name.
    pub name: String,
    /// Which filters in it.
    pub sub_filter: Option<SubFilterMatch>,
}

/// Which HTTP filters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SubFilterMatch {
    /// By name.
    pub name: String,
}

/// Which parts of a waypoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointMatch {
    /// The port.
    pub port_number: u32,
    /// Which routes.
    pub route: Option<WaypointRouteMatch>,
    /// Which network filters.
    pub filter: Option<WaypointFilterMatch>,
}

/// Which routes of a waypoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointRouteMatch {
    /// By name.
    pub name: String,
}

/// Which network filters of a waypoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointFilterMatch {
    /// By name.
    pub name: String,
    /// Which filters in it.
    pub sub_filter: Option<WaypointSubFilterMatch>,
}

/// Which HTTP filters of a waypoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointSubFilterMatch {
    /// By name.
    pub name: String,
}

/// What is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Patch {
    /// How.
    pub operation: PatchOperation,
    /// The configuration, as Envoy's JSON.
    #[cfg_attr(feature = "schema", schemars(with = "crate::value::FreeForm"))]
    pub value: Option<serde_json::Value>,
    /// Where a filter is put, relative to the mesh's own.
    pub filter_class: FilterClass,
}

open_enum! {
    /// How a patch is applied.
    pub enum PatchOperation {
        /// Not written, which is not allowed.
        Invalid = "INVALID" | 0,
        /// Merged into what is there.
        Merge = "MERGE" | 1,
        /// Added to a list.
        Add = "ADD" | 2,
        /// What is there is removed.
        Remove = "REMOVE" | 3,
        /// Put before what is matched.
        InsertBefore = "INSERT_BEFORE" | 4,
        /// Put after what is matched.
        InsertAfter = "INSERT_AFTER" | 5,
        /// Put first.
        InsertFirst = "INSERT_FIRST" | 6,
        /// Put in the place of a filter.
        Replace = "REPLACE" | 7,
        /// Merged, but lists are replaced.
        MergeAndReplaceList = "MERGE_AND_REPLACE_LIST" | 8,
    }
}

open_enum! {
    /// Where a filter is put.
    pub enum FilterClass {
        /// Anywhere.
        Unspecified = "UNSPECIFIED" | 0,
        /// After authentication.
        Authn = "AUTHN" | 1,
        /// After authorization.
        Authz = "AUTHZ" | 2,
        /// Before statistics.
        Stats = "STATS" | 3,
    }
}
