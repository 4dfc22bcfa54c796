// SPDX-License-Identifier: Apache-2.0
//! Security policies: who may call whom, and which tokens count
//! (<https://istio.io/latest/docs/reference/config/security/>).

use crate::{Labels, MutualTls, Str, labels_match};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The workloads that a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum PolicyTarget {
    /// Workloads with these labels; empty = all of the namespace, or of the mesh in the root namespace.
    Selector(Labels),
    /// Gateways of the Gateway API by name, in the policy's own namespace.
    Gateways(Vec<Str>),
}

/// Label that says of which Gateway a proxy is an instance.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

impl PolicyTarget {
    /// Whether a workload is meant. `own` says whether it lives in the policy's namespace.
    pub fn covers(&self, labels: &Labels, own: bool) -> bool {
        match self {
            Self::Selector(selector) => labels_match(selector, labels),
            Self::Gateways(names) => own && labels.get(GATEWAY_NAME).is_some_and(|name| names.contains(name)),
        }
    }
}

/// What becomes of requests that a policy matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum PolicyAction {
    /// They pass; those that no ALLOW policy matches are refused.
    Allow,
    /// They are refused.
    Deny,
    /// They are noted.
    Audit,
    /// A provider decides.
    Custom,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Attribute {
    /// Address that was dialled, as CIDR.
    DestinationIp,
    /// Port that was dialled.
    DestinationPort,
    /// Server name of the TLS handshake.
    ServerName,
    /// Metadata of an Envoy filter, by filter and key.
    EnvoyFilter(Str, Str),
    /// Address of the peer, as CIDR.
    SourceIp,
    /// Address of the client, as forwarded headers say, as CIDR.
    RemoteIp,
    /// Namespace of the peer.
    SourceNamespace,
    /// Trust domain of the peer.
    SourceTrustDomain,
    /// Service account of the peer, `NAMESPACE/NAME`.
    SourceServiceAccount,
    /// Identity of the peer, `DOMAIN/ns/NS/sa/SA`.
    SourcePrincipal,
    /// Identity of the token, `ISSUER/SUBJECT`.
    RequestPrincipal,
    /// Audiences of the token.
    RequestAudiences,
    /// Presenter of the token.
    RequestPresenter,
    /// A claim of the token, by path.
    RequestClaim(Vec<Str>),
    /// A header of the request.
    RequestHeader(Str),
    /// Host of the request.
    Host,
    /// Method of the request.
    Method,
    /// Path of the request.
    Path,
}

impl Attribute {
    /// Whether only requests have it, not connections.
    pub fn is_http_only(&self) -> bool {
        matches!(
            self,
            Self::RequestPrincipal
                | Self::RequestAudiences
                | Self::RequestPresenter
                | Self::RequestClaim(_)
                | Self::RequestHeader(_)
                | Self::Host
                | Self::Method
                | Self::Path
        )
    }
}

/// One attribute that must have one of `values`, when there are any, and none of `not_values`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Condition {
    /// What is looked at.
    pub attribute: Attribute,
    /// Values of which one must match; empty = any.
    pub values: Vec<Str>,
    /// Values of which none may match.
    pub not_values: Vec<Str>,
}

/// A rule matches when any of its sources and any of its operations does; each of these when all of its conditions do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct AuthorizationRule {
    /// About who calls; never empty, an empty list in it matches everybody.
    pub sources: Vec<Vec<Condition>>,
    /// About what is called; never empty, an empty list in it matches everything.
    pub operations: Vec<Vec<Condition>>,
}

/// An AuthorizationPolicy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct AuthorizationPolicy {
    /// Name of the object.
    pub name: Str,
    /// Namespace of the object.
    pub namespace: Str,
    /// The workloads that it is for.
    pub target: PolicyTarget,
    /// What becomes of what it matches.
    pub action: PolicyAction,
    /// It only notes what it would do.
    pub dry_run: bool,
    /// Who decides, for [`PolicyAction::Custom`].
    pub provider: Str,
    /// Rules, with their place in the object; no rule matches nothing.
    pub rules: Vec<(usize, AuthorizationRule)>,
}

/// Where a token may be in a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TokenHeader {
    /// Name of the header.
    pub name: Str,
    /// What stands before the token, e.g. `Bearer `.
    pub prefix: Str,
}

/// Which tokens of one issuer count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct JwtRule {
    /// The issuer.
    pub issuer: Str,
    /// Audiences of which a token must have one; empty = any.
    pub audiences: Vec<Str>,
    /// The key set, as JSON; empty when it is to be fetched.
    pub jwks: Str,
    /// Where the key set is.
    pub jwks_uri: Str,
    /// Headers that may have the token.
    pub from_headers: Vec<TokenHeader>,
    /// Query parameters that may have it.
    pub from_params: Vec<Str>,
    /// Cookies that may have it.
    pub from_cookies: Vec<Str>,
    /// Header in which the payload is passed on; empty = none.
    pub output_payload_to_header: Str,
    /// Claims that are passed on as headers: (header, claim).
    pub output_claims: Vec<(Str, Str)>,
    /// Whether the token is passed on.
    pub forward: bool,
    /// Time for fetching the key set.
    pub timeout: Duration,
    /// Claims that hold words with spaces between them, beside `scope` and `permission`.
    pub space_delimited_claims: Vec<Str>,
}

/// A RequestAuthentication.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct RequestAuthentication {
    /// Name of the object.
    pub name: Str,
    /// Namespace of the object.
    pub namespace: Str,
    /// The workloads that it is for.
    pub target: PolicyTarget,
    /// Its issuers.
    pub rules: Vec<JwtRule>,
}

/// A PeerAuthentication. A mode that is absent is inherited.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PeerAuthentication {
    /// Name of the object.
    pub name: Str,
    /// Namespace of the object.
    pub namespace: Str,
    /// The workloads that it is for; none = all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<Labels>,
    /// Mode of all ports.
    pub mode: Option<MutualTls>,
    /// Modes by port of the workload.
    pub ports: BTreeMap<u32, Option<MutualTls>>,
}

/// The modes that apply to one workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PeerModes {
    /// Mode of ports that are not listed.
    pub mode: MutualTls,
    /// Modes by port of the workload.
    pub ports: BTreeMap<u32, MutualTls>,
}

impl PeerModes {
    /// The mode of a port.
    pub fn of_port(&self, port: u32) -> MutualTls {
        self.ports.get(&port).copied().unwrap_or(self.mode)
    }
}
