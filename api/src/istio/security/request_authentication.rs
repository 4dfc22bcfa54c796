// SPDX-License-Identifier: Apache-2.0
//! RequestAuthentication: which tokens are taken (<https://istio.io/latest/docs/reference/config/security/request_authentication/>).

use serde::{Deserialize, Serialize};

use crate::istio::selector::{PolicyTargetReference, WorkloadSelector};
use crate::value::Duration;

/// Which JSON Web Tokens are taken. A wrong token is refused; no token at all is not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthentication {
    /// The workloads; unset means all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// A Gateway or the like that it attaches to; use target_refs.
    pub target_ref: Option<PolicyTargetReference>,
    /// Gateways, services and the like that it attaches to.
    pub target_refs: Vec<PolicyTargetReference>,
    /// The issuers.
    pub jwt_rules: Vec<JwtRule>,
}

/// Tokens of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct JwtRule {
    /// The issuer.
    pub issuer: String,
    /// Audiences of which the token must have one; empty means any.
    pub audiences: Vec<String>,
    /// Where the issuer's keys are fetched; empty means by OpenID discovery.
    pub jwks_uri: String,
    /// The issuer's keys.
    pub jwks: String,
    /// Headers that may hold the token; with from_params and from_cookies empty too, Authorization: Bearer and
    /// access_token are looked at.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters that may hold the token.
    pub from_params: Vec<String>,
    /// Header that gets the token's base64 payload.
    pub output_payload_to_header: String,
    /// Cookies that may hold the token.
    pub from_cookies: Vec<String>,
    /// Leaves the token in the request.
    pub forward_original_token: bool,
    /// Headers that get claims.
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// How long fetching the keys may take; unset means 5s.
    pub timeout: Option<Duration>,
    /// Further claims that are lists of words with spaces between.
    pub space_delimited_claims: Vec<String>,
}

/// A header that may hold a token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct JwtHeader {
    /// Its name.
    pub name: String,
    /// What stands before the token.
    pub prefix: String,
}

/// A header that gets a claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimToHeader {
    /// The header.
    pub header: String,
    /// The claim; dots lead into nested ones.
    pub claim: String,
}
