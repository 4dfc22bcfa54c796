// SPDX-License-Identifier: Apache-2.0

use serde::{Deserialize, Serialize};

use crate::istio::selector::{PolicyTargetReference, PortSelector, WorkloadMode, WorkloadSelector};
use crate::value::open_enum;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmPlugin {
    pub selector: Option<WorkloadSelector>,
    #[serde(rename = "targetRef")]
    pub targetref: Option<PolicyTargetReference>,
    #[serde(rename = "targetRefs")]
    pub targetrefs: Vec<PolicyTargetReference>,
    pub url: String,
    pub sha256: String,
    pub image_pull_policy: PullPolicy,
    pub image_pull_secret: String,
    pub verification_key: String,
    pub plugin_config: Option<serde_json::Value>,
    pub plugin_name: String,
    pub phase: PluginPhase,
    pub priority: Option<i32>,
    pub fail_strategy: FailStrategy,
    pub vm_config: Option<VmConfig>,
    pub r#match: Vec<TrafficSelector>,
    pub r#type: PluginType,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficSelector {
    pub mode: WorkloadMode,
    pub ports: Vec<PortSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VmConfig {
    pub env: Vec<EnvVar>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    pub name: String,
    pub value_from: EnvValueSource,
    pub value: String,
}

open_enum! {
    pub enum PluginType {
        UnspecifiedPluginType = "UNSPECIFIED_PLUGIN_TYPE" | 0,
        Http = "HTTP" | 1,
        Network = "NETWORK" | 2,
    }
}

open_enum! {
    pub enum PluginPhase {
        UnspecifiedPhase = "UNSPECIFIED_PHASE" | 0,
        Authn = "AUTHN" | 1,
        Authz = "AUTHZ" | 2,
        Stats = "STATS" | 3,
    }
}

open_enum! {
    pub enum PullPolicy {
        UnspecifiedPolicy = "UNSPECIFIED_POLICY" | 0,
        IfNotPresent = "IfNotPresent" | 1,
        Always = "Always" | 2,
    }
}

open_enum! {
    pub enum EnvValueSource {
        Inline = "INLINE" | 0,
        Host = "HOST" | 1,
    }
}

open_enum! {
    pub enum FailStrategy {
        FailClose = "FAIL_CLOSE" | 0,
        FailOpen = "FAIL_OPEN" | 1,
        FailReload = "FAIL_RELOAD" | 2,
    }
}
