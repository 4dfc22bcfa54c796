// SPDX-License-Identifier: Apache-2.0
//! TLS of clients and of servers (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings>, <https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings>).

use serde::{Deserialize, Serialize};

use crate::value::open_enum;

/// TLS towards a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTlsSettings {
    /// Whether and how.
    pub mode: ClientTlsMode,
    /// File of the client's certificates; for MUTUAL.
    pub client_certificate: String,
    /// File of the client's key; for MUTUAL.
    pub private_key: String,
    /// File of the authorities that the server's certificate may come from; empty means that it is not checked, or by
    /// the system's.
    pub ca_certificates: String,
    /// Secret with certificates, in place of files; gateways, or workloads that a selector picks.
    pub credential_name: String,
    /// Names of which the server's certificate must have one.
    pub subject_alt_names: Vec<String>,
    /// The server name that is sent.
    pub sni: String,
    /// Does not check the server's certificate.
    pub insecure_skip_verify: Option<bool>,
    /// File of revoked certificates.
    pub ca_crl: String,
}

open_enum! {
    /// Whether and how TLS is spoken.
    pub enum ClientTlsMode {
        /// No TLS.
        Disable = "DISABLE" | 0,
        /// The server shows a certificate.
        Simple = "SIMPLE" | 1,
        /// Both show one.
        Mutual = "MUTUAL" | 2,
        /// Both show the mesh's.
        IstioMutual = "ISTIO_MUTUAL" | 3,
    }
}

/// TLS towards clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTlsSettings {
    /// Redirects plain HTTP to HTTPS.
    pub https_redirect: bool,
    /// Whether and how it is terminated.
    pub mode: ServerTlsMode,
    /// File of the server's certificates.
    pub server_certificate: String,
    /// File of the server's key.
    pub private_key: String,
    /// File of the authorities that clients' certificates may come from.
    pub ca_certificates: String,
    /// File of revoked certificates.
    pub ca_crl: String,
    /// Secret with certificates, in place of files.
    pub credential_name: String,
    /// Secrets with certificates of different sorts (RSA, ECDSA), at most two.
    pub credential_names: Vec<String>,
    /// Secret with the authorities of clients' certificates.
    pub ca_cert_credential_name: String,
    /// Files of certificates of different sorts, at most two.
    pub tls_certificates: Vec<TlsCertificate>,
    /// Names of which a client's certificate must have one.
    pub subject_alt_names: Vec<String>,
    /// Base64 SHA-256 of public keys that clients may have.
    pub verify_certificate_spki: Vec<String>,
    /// Hex SHA-256 of certificates that clients may have.
    pub verify_certificate_hash: Vec<String>,
    /// The lowest version; unset means 1.2.
    pub min_protocol_version: TlsProtocol,
    /// The highest version; unset means Envoy's.
    pub max_protocol_version: TlsProtocol,
    /// Cipher suites; empty means Envoy's.
    pub cipher_suites: Vec<String>,
    /// Does not check clients' certificates against authorities.
    pub insecure_skip_verify: Option<bool>,
}

open_enum! {
    /// Whether and how TLS is terminated.
    pub enum ServerTlsMode {
        /// It is not; the server name chooses the route.
        Passthrough = "PASSTHROUGH" | 0,
        /// The server shows a certificate.
        Simple = "SIMPLE" | 1,
        /// Both show one.
        Mutual = "MUTUAL" | 2,
        /// It is not; the server name is itself the destination.
        AutoPassthrough = "AUTO_PASSTHROUGH" | 3,
        /// Both show the mesh's.
        IstioMutual = "ISTIO_MUTUAL" | 4,
        /// The client may show one.
        OptionalMutual = "OPTIONAL_MUTUAL" | 5,
    }
}

open_enum! {
    /// Versions of TLS.
    pub enum TlsProtocol {
        /// Envoy's choice.
        TlsAuto = "TLS_AUTO" | 0,
        /// TLS 1.0.
        TlsV10 = "TLSV1_0" | 1,
        /// TLS 1.1.
        TlsV11 = "TLSV1_1" | 2,
        /// TLS 1.2.
        TlsV12 = "TLSV1_2" | 3,
        /// TLS 1.3.
        TlsV13 = "TLSV1_3" | 4,
    }
}

/// Files of one certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TlsCertificate {
    /// The certificates.
    pub server_certificate: String,
    /// The key.
    pub private_key: String,
    /// The authorities of clients' certificates.
    pub ca_certificates: String,
}
