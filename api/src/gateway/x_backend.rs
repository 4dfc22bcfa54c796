// SPDX-License-Identifier: Apache-2.0
//! XBackend: a backend that is not a Service.

use serde::{Deserialize, Serialize};

use super::backend_tls_policy::BackendTlsPolicyValidation;
use super::common::SecretObjectReference;
use crate::value::open_enum;

/// A backend outside of the cluster. <https://gateway-api.sigs.k8s.io/geps/gep-4731/>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XBackend {
    /// Which sort of backend.
    #[serde(rename = "type")]
    pub backend_type: XBackendType,
    /// Its hostname, for `ExternalHostname`.
    pub external_hostname: Option<ExternalHostnameBackend>,
    /// Its port.
    pub port: XBackendPort,
    /// What it speaks; unset means TCP.
    pub protocol: Option<XBackendProtocol>,
    /// How TLS is spoken to it; unset means not at all.
    pub tls: Option<XBackendTls>,
}

open_enum! {
    /// The sorts of backend.
    pub enum XBackendType {
        /// Not written, which is not allowed.
        Unset = "",
        /// A DNS name.
        ExternalHostname = "ExternalHostname",
    }
}

/// A backend by DNS name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalHostnameBackend {
    /// The name.
    pub hostname: String,
}

/// A backend's port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XBackendPort {
    /// Its name.
    pub name: Option<String>,
    /// Its number.
    pub port: i32,
}

open_enum! {
    /// What a backend speaks.
    pub enum XBackendProtocol {
        /// Any TCP protocol.
        Tcp = "TCP",
        /// HTTP of any version.
        Http = "HTTP",
        /// HTTP/2.
        Http2 = "HTTP2",
        /// HTTP/1.1.
        Http11 = "HTTP11",
        /// HTTP/2 without TLS.
        H2c = "H2C",
        /// Model Context Protocol.
        Mcp = "MCP",
    }
}

/// How TLS is spoken to a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XBackendTls {
    /// Who shows a certificate; unset means the server.
    pub mode: Option<XBackendTlsMode>,
    /// The certificate that is shown to the backend.
    pub client_certificate_ref: Option<SecretObjectReference>,
    /// How the backend's certificate is checked.
    pub validation: Option<BackendTlsPolicyValidation>,
}

open_enum! {
    /// Who shows a certificate.
    pub enum XBackendTlsMode {
        /// The server.
        ServerOnly = "ServerOnly",
        /// No TLS.
        None = "None",
        /// Both.
        ClientAndServer = "ClientAndServer",
    }
}
