// SPDX-License-Identifier: Apache-2.0

use serde::{Deserialize, Serialize};

use crate::value::open_enum;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTlsSettings {
    pub mode: ClientTlsMode,
    pub client_certificate: String,
    pub private_key: String,
    pub ca_certificates: String,
    pub credential_name: String,
    pub subject_alt_names: Vec<String>,
    pub sni: String,
    pub insecure_skip_verify: Option<bool>,
    pub ca_crl: String,
}

open_enum! {
    pub enum ClientTlsMode {
        Disable = "DISABLE" | 0,
        Simple = "SIMPLE" | 1,
        Mutual = "MUTUAL" | 2,
        IstioMutual = "ISTIO_MUTUAL" | 3,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTlsSettings {
    pub https_redirect: bool,
    pub mode: ServerTlsMode,
    pub server_certificate: String,
    pub private_key: String,
    pub ca_certificates: String,
    pub ca_crl: String,
    pub credential_name: String,
    pub credential_names: Vec<String>,
    pub ca_cert_credential_name: String,
    pub tls_certificates: Vec<TlsCertificate>,
    pub subject_alt_names: Vec<String>,
    pub verify_certificate_spki: Vec<String>,
    pub verify_certificate_hash: Vec<String>,
    pub min_protocol_version: TlsProtocol,
    pub max_protocol_version: TlsProtocol,
    pub cipher_suites: Vec<String>,
    pub insecure_skip_verify: Option<bool>,
}

open_enum! {
    pub enum ServerTlsMode {
        Passthrough = "PASSTHROUGH" | 0,
        Simple = "SIMPLE" | 1,
        Mutual = "MUTUAL" | 2,
        AutoPassthrough = "AUTO_PASSTHROUGH" | 3,
        IstioMutual = "ISTIO_MUTUAL" | 4,
        OptionalMutual = "OPTIONAL_MUTUAL" | 5,
    }
}

open_enum! {
    pub enum TlsProtocol {
        TlsAuto = "TLS_AUTO" | 0,
        TlsV10 = "TLSV1_0" | 1,
        TlsV11 = "TLSV1_1" | 2,
        TlsV12 = "TLSV1_2" | 3,
        TlsV13 = "TLSV1_3" | 4,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsCertificate {
    pub server_certificate: String,
    pub private_key: String,
    pub ca_certificates: String,
}
