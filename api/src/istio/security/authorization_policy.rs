// SPDX-License-Identifier: Apache-2.0
//! AuthorizationPolicy: who may do what (<https://istio.io/latest/docs/reference/config/security/authorization-policy/>).

use serde::{Deserialize, Serialize};

use crate::istio::selector::{PolicyTargetReference, WorkloadSelector};
use crate::value::open_enum;

/// Rules of what requests and connections may pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicy {
    /// The workloads; unset means all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// A Gateway or the like that it attaches to; use target_refs.
    pub target_ref: Option<PolicyTargetReference>,
    /// Gateways, services and the like that it attaches to.
    pub target_refs: Vec<PolicyTargetReference>,
    /// The rules, any of which may match; none at all never matches.
    pub rules: Vec<Rule>,
    /// What happens to what matches.
    pub action: Action,
    /// Who decides, for CUSTOM.
    pub provider: Option<ExtensionProvider>,
}

open_enum! {
    /// What happens to what matches.
    pub enum Action {
        /// It passes, and what no rule matches does not.
        Allow = "ALLOW" | 0,
        /// It does not pass.
        Deny = "DENY" | 1,
        /// It is noted.
        Audit = "AUDIT" | 2,
        /// A provider decides.
        Custom = "CUSTOM" | 3,
    }
}

/// Who decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// Name of an extension provider of the mesh.
    pub name: String,
}

/// Matches when a source, an operation and every condition do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Sources, any of which may match; empty matches all.
    pub from: Vec<RuleFrom>,
    /// Operations, any of which may match; empty matches all.
    pub to: Vec<RuleTo>,
    /// Conditions, all of which must match.
    pub when: Vec<Condition>,
}

/// A source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RuleFrom {
    /// The source.
    pub source: Option<Source>,
}

/// An operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RuleTo {
    /// The operation.
    pub operation: Option<Operation>,
}

/// Who asks. Each field matches by any of its values, and all fields must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// Peer identities, as trust domain/ns/namespace/sa/account; `*` may start or end a value.
    pub principals: Vec<String>,
    /// Peer identities that it must not be.
    pub not_principals: Vec<String>,
    /// Token identities, as issuer/subject; `*` may start or end a value.
    pub request_principals: Vec<String>,
    /// Token identities that it must not be.
    pub not_request_principals: Vec<String>,
    /// Namespaces of the peer.
    pub namespaces: Vec<String>,
    /// Namespaces that it must not be in.
    pub not_namespaces: Vec<String>,
    /// Service accounts of the peer, as namespace/name or name.
    pub service_accounts: Vec<String>,
    /// Service accounts that it must not be.
    pub not_service_accounts: Vec<String>,
    /// Addresses or CIDRs of the connection.
    pub ip_blocks: Vec<String>,
    /// Addresses that it must not be.
    pub not_ip_blocks: Vec<String>,
    /// Addresses or CIDRs of the client, by X-Forwarded-For or PROXY protocol.
    pub remote_ip_blocks: Vec<String>,
    /// Addresses that the client must not be.
    pub not_remote_ip_blocks: Vec<String>,
    /// Trust domains of the peer; `*` may start or end a value.
    pub trust_domains: Vec<String>,
    /// Trust domains that it must not be in.
    pub not_trust_domains: Vec<String>,
}

/// What is asked. Each field matches by any of its values, and all fields must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// Hosts; `*` may start or end a value.
    pub hosts: Vec<String>,
    /// Hosts that it must not be.
    pub not_hosts: Vec<String>,
    /// Ports.
    pub ports: Vec<String>,
    /// Ports that it must not be.
    pub not_ports: Vec<String>,
    /// Methods; of gRPC it is always POST.
    pub methods: Vec<String>,
    /// Methods that it must not be.
    pub not_methods: Vec<String>,
    /// Paths; `*` may start or end a value, or {*} and {**} stand for segments.
    pub paths: Vec<String>,
    /// Paths that it must not be.
    pub not_paths: Vec<String>,
}

/// A condition on an attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// The attribute, as request.headers[name].
    pub key: String,
    /// Values, any of which may match.
    pub values: Vec<String>,
    /// Values that it must not be.
    pub not_values: Vec<String>,
}
