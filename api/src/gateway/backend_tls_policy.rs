// SPDX-License-Identifier: Apache-2.0
//! BackendTLSPolicy: TLS from a gateway to a backend.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::common::{LocalObjectReference, PolicyTargetReference};
use crate::value::open_enum;

/// How gateways speak TLS to a backend. <https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTlsPolicy {
    /// The backends, in the policy's namespace.
    pub target_refs: Vec<PolicyTargetReference>,
    /// How the backend's certificate is checked.
    pub validation: BackendTlsPolicyValidation,
    /// Options of the implementation.
    pub options: BTreeMap<String, String>,
}

/// How a backend's certificate is checked. Exactly one of the two sources of authorities is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTlsPolicyValidation {
    /// Objects that hold the authorities' certificates.
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// `System` for the authorities that the system trusts.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<String>,
    /// Server name, and the name in the certificate unless `subject_alt_names` is set.
    pub hostname: String,
    /// Names of which the certificate must have one.
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A name in a certificate. `name_type` says which one of the fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubjectAltName {
    /// Which sort of name.
    #[serde(rename = "type")]
    pub name_type: SubjectAltNameType,
    /// A DNS name, perhaps with a wildcard.
    pub hostname: Option<String>,
    /// A URI.
    pub uri: Option<String>,
}

open_enum! {
    /// The sorts of name.
    pub enum SubjectAltNameType {
        /// Not written, which is not allowed.
        Unset = "",
        /// A DNS name.
        Hostname = "Hostname",
        /// A URI.
        Uri = "URI",
    }
}
