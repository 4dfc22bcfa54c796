// SPDX-License-Identifier: Apache-2.0
//! WasmPlugin: a WebAssembly plugin (<https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/>).

use serde::{Deserialize, Serialize};

use crate::istio::selector::{PolicyTargetReference, PortSelector, WorkloadMode, WorkloadSelector};
use crate::value::open_enum;

/// A WebAssembly plugin of workloads' proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WasmPlugin {
    /// The workloads; unset means all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// A Gateway or the like that it attaches to; use target_refs.
    pub target_ref: Option<PolicyTargetReference>,
    /// Gateways, services and the like that it attaches to.
    pub target_refs: Vec<PolicyTargetReference>,
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
    /// Where in the chain it is put.
    pub phase: PluginPhase,
    /// The order within a phase; higher ones first.
    pub priority: Option<i32>,
    /// What happens when it cannot be loaded or fails.
    pub fail_strategy: FailStrategy,
    /// The virtual machine.
    pub vm_config: Option<VmConfig>,
    /// Which traffic; empty means all.
    pub r#match: Vec<TrafficSelector>,
    /// For HTTP or for connections.
    pub r#type: PluginType,
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

/// The virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct VmConfig {
    /// Environment that the plugin sees.
    pub env: Vec<EnvVar>,
}

/// A variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Where the value comes from.
    pub value_from: EnvValueSource,
    /// The value, when it is given here.
    pub value: String,
}

open_enum! {
    /// What a plugin filters.
    pub enum PluginType {
        /// HTTP.
        UnspecifiedPluginType = "UNSPECIFIED_PLUGIN_TYPE" | 0,
        /// HTTP.
        Http = "HTTP" | 1,
        /// Connections.
        Network = "NETWORK" | 2,
    }
}

open_enum! {
    /// Where in the chain a plugin is put.
    pub enum PluginPhase {
        /// Before the router.
        UnspecifiedPhase = "UNSPECIFIED_PHASE" | 0,
        /// Before authentication.
        Authn = "AUTHN" | 1,
        /// Before authorization.
        Authz = "AUTHZ" | 2,
        /// Before statistics.
        Stats = "STATS" | 3,
    }
}

open_enum! {
    /// When an image is fetched again.
    pub enum PullPolicy {
        /// IfNotPresent, but Always for the tag latest.
        UnspecifiedPolicy = "UNSPECIFIED_POLICY" | 0,
        /// When it is not there.
        IfNotPresent = "IfNotPresent" | 1,
        /// When the plugin changes.
        Always = "Always" | 2,
    }
}

open_enum! {
    /// Where a value comes from.
    pub enum EnvValueSource {
        /// It is given here.
        Inline = "INLINE" | 0,
        /// From the proxy's environment.
        Host = "HOST" | 1,
    }
}

open_enum! {
    /// What happens when a plugin fails.
    pub enum FailStrategy {
        /// Requests fail.
        FailClose = "FAIL_CLOSE" | 0,
        /// Requests pass.
        FailOpen = "FAIL_OPEN" | 1,
        /// It is loaded again; requests fail until then.
        FailReload = "FAIL_RELOAD" | 2,
    }
}
