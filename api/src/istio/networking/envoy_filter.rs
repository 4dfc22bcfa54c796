// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::sidecar::WorkloadSelector;
use crate::istio::selector::PolicyTargetReference;
use crate::value::open_enum;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilter {
    pub workload_selector: Option<WorkloadSelector>,
    #[serde(rename = "targetRefs")]
    pub targetrefs: Vec<PolicyTargetReference>,
    pub config_patches: Vec<EnvoyConfigObjectPatch>,
    pub priority: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyConfigObjectPatch {
    pub apply_to: ApplyTo,
    pub r#match: Option<EnvoyConfigObjectMatch>,
    pub patch: Option<Patch>,
}

open_enum! {
    pub enum ApplyTo {
        Invalid = "INVALID" | 0,
        Listener = "LISTENER" | 1,
        FilterChain = "FILTER_CHAIN" | 2,
        NetworkFilter = "NETWORK_FILTER" | 3,
        HttpFilter = "HTTP_FILTER" | 4,
        RouteConfiguration = "ROUTE_CONFIGURATION" | 5,
        VirtualHost = "VIRTUAL_HOST" | 6,
        HttpRoute = "HTTP_ROUTE" | 7,
        Cluster = "CLUSTER" | 8,
        ExtensionConfig = "EXTENSION_CONFIG" | 9,
        Bootstrap = "BOOTSTRAP" | 10,
        ListenerFilter = "LISTENER_FILTER" | 11,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyConfigObjectMatch {
    pub context: PatchContext,
    pub proxy: Option<ProxyMatch>,
    pub listener: Option<ListenerMatch>,
    pub route_configuration: Option<RouteConfigurationMatch>,
    pub cluster: Option<ClusterMatch>,
    pub waypoint: Option<WaypointMatch>,
}

open_enum! {
    pub enum PatchContext {
        Any = "ANY" | 0,
        SidecarInbound = "SIDECAR_INBOUND" | 1,
        SidecarOutbound = "SIDECAR_OUTBOUND" | 2,
        Gateway = "GATEWAY" | 3,
        Waypoint = "WAYPOINT" | 4,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyMatch {
    pub proxy_version: String,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterMatch {
    pub port_number: u32,
    pub service: String,
    pub subset: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteConfigurationMatch {
    pub port_number: u32,
    pub port_name: String,
    pub gateway: String,
    pub vhost: Option<VirtualHostMatch>,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualHostMatch {
    pub name: String,
    pub domain_name: String,
    pub route: Option<RouteMatch>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteMatch {
    pub name: String,
    pub action: RouteAction,
}

open_enum! {
    pub enum RouteAction {
        Any = "ANY" | 0,
        Route = "ROUTE" | 1,
        Redirect = "REDIRECT" | 2,
        DirectResponse = "DIRECT_RESPONSE" | 3,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerMatch {
    pub port_number: u32,
    pub port_name: String,
    pub filter_chain: Option<FilterChainMatch>,
    pub listener_filter: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterChainMatch {
    pub name: String,
    pub sni: String,
    pub transport_protocol: String,
    pub application_protocols: String,
    pub filter: Option<FilterMatch>,
    pub destination_port: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterMatch {
    pub name: String,
    pub sub_filter: Option<SubFilterMatch>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubFilterMatch {
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointMatch {
    pub port_number: u32,
    pub route: Option<WaypointRouteMatch>,
    pub filter: Option<WaypointFilterMatch>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointRouteMatch {
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointFilterMatch {
    pub name: String,
    pub sub_filter: Option<WaypointSubFilterMatch>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointSubFilterMatch {
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Patch {
    pub operation: PatchOperation,
    pub value: Option<serde_json::Value>,
    pub filter_class: FilterClass,
}

open_enum! {
    pub enum PatchOperation {
        Invalid = "INVALID" | 0,
        Merge = "MERGE" | 1,
        Add = "ADD" | 2,
        Remove = "REMOVE" | 3,
        InsertBefore = "INSERT_BEFORE" | 4,
        InsertAfter = "INSERT_AFTER" | 5,
        InsertFirst = "INSERT_FIRST" | 6,
        Replace = "REPLACE" | 7,
        MergeAndReplaceList = "MERGE_AND_REPLACE_LIST" | 8,
    }
}

open_enum! {
    pub enum FilterClass {
        Unspecified = "UNSPECIFIED" | 0,
        Authn = "AUTHN" | 1,
        Authz = "AUTHZ" | 2,
        Stats = "STATS" | 3,
    }
}
