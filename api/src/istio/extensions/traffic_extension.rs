// SPDX-License-Identifier: Apache-2.0
//! TrafficExtension: a WebAssembly or Lua extension (<https://istio.io/latest/docs/reference/config/proxy_extensions/traffic_extension/>).

use serde::{Deserialize, Serialize};

use crate::istio::extensions::wasm_plugin::{FailStrategy, PluginType, PullPolicy, VmConfig};
use crate::istio::selector::{PolicyTargetReference, PortSelector, WorkloadMode, WorkloadSelector};
use crate::value::open_enum;

/// An extension of workloads' proxies. One of `wasm` and `lua` is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficExtension {
    /// The workloads; unset means all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// Gateways, services and the like that it attaches to.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Where in the chain it is put.
    pub phase: ExecutionPhase,
    /// The order within a phase; higher ones first.
    pub priority: Option<i32>,
    /// Which traffic; empty means all.
    pub r#match: Vec<TrafficSelector>,
    /// A WebAssembly plugin.
    pub wasm: Option<WasmConfig>,
    /// A Lua filter.
    pub lua: Option<LuaConfig>,
}

open_enum! {
    /// Where in the chain an extension is put.
    pub enum ExecutionPhase {
        /// Before the router.
        Unspecified = "UNSPECIFIED" | 0,
        /// Before authentication.
        Authn = "AUTHN" | 1,
        /// Before authorization.
        Authz = "AUTHZ" | 2,
        /// Before statistics.
        Stats = "STATS" | 3,
    }
}

/// A WebAssembly plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WasmConfig {
    /// Where the module is: oci://, http(s):// or file://; without a scheme oci is meant.
    pub url: String,
    /// The module's SHA-256, in hex.
    pub sha256: String,
    /// When an image is fetched again.
    pub image_pull_policy: PullPolicy,
    /// Secret for the image's registry.
    pub image_pull_secret: String,
    /// Not in use.
    pub verification_key: String,
    /// Settings that the plugin gets.
    #[cfg_attr(feature = "schema", schemars(with = "crate::value::FreeForm"))]
    pub plugin_config: Option<serde_json::Value>,
    /// The plugin's root id.
    pub plugin_name: String,
    /// What happens when it cannot be loaded or fails.
    pub fail_strategy: FailStrategy,
    /// The virtual machine.
    pub vm_config: Option<VmConfig>,
    /// For HTTP or for connections.
    pub r#type: PluginType,
}

/// A Lua filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct LuaConfig {
    /// The code.
    pub inline_code: String,
}

/// Which traffic. Both fields must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficSelector {
    /// On which side.
    pub mode: WorkloadMode,
    /// On which ports; empty means all.
    pub ports: Vec<PortSelector>,
}
