// SPDX-License-Identifier: Apache-2.0
//! TLS of clients and of servers.

use std::collections::BTreeSet;

use super::report::{At, Report};
use crate::istio::networking::tls::{ClientTlsMode, ClientTlsSettings, ServerTlsMode, ServerTlsSettings, TlsProtocol};

/// The cipher suites that Envoy's TLS library knows.
const CIPHERS: [&str; 15] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

pub(super) fn client(report: &mut Report, at: &At<'_>, tls: &ClientTlsSettings, namespace: &str) {
    let (simple, mutual) = (tls.mode == ClientTlsMode::Simple, tls.mode == ClientTlsMode::Mutual);
    if let Some(map) = tls.credential_name.strip_prefix("configmap://")
        && (map.split_once('/').is_some_and(|(other, _)| other != namespace) || map.is_empty())
    {
        report.error(&at.field("credentialName"), format!("must name a ConfigMap of the namespace {namespace:?}"));
    }
    if tls.insecure_skip_verify == Some(true) && (simple || mutual) {
        let named = simple && !tls.credential_name.is_empty();
        if !tls.ca_certificates.is_empty() || !tls.subject_alt_names.is_empty() || named {
            report.error(
                &at.field("insecureSkipVerify"),
                "does not go with caCertificates, subjectAltNames or credentialName",
            );
        }
    }
    if !tls.credential_name.is_empty() && (simple || mutual) {
        let files = [&tls.client_certificate, &tls.private_key, &tls.ca_certificates, &tls.ca_crl];
        if files.iter().any(|file| !file.is_empty()) {
            report.error(&at.field("credentialName"), "does not go with files of certificates, keys or revocations");
        }
        return;
    }
    if mutual {
        for (field, file) in [("clientCertificate", &tls.client_certificate), ("privateKey", &tls.private_key)] {
            if file.is_empty() {
                report.error(&at.field(field), "must be set for MUTUAL");
            }
        }
    }
}

pub(super) fn server(report: &mut Report, at: &At<'_>, tls: &ServerTlsSettings) {
    ciphers(report, at, tls);
    fingerprints(report, at, tls);
    let sources = [
        ("credentialName", !tls.credential_name.is_empty()),
        ("credentialNames", !tls.credential_names.is_empty()),
        ("serverCertificate", !tls.server_certificate.is_empty()),
        ("privateKey", !tls.private_key.is_empty()),
        ("caCertificates", !tls.ca_certificates.is_empty()),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
    ];
    match tls.mode {
        ServerTlsMode::IstioMutual => {
            for (field, _) in sources.iter().filter(|(_, set)| *set) {
                report.error(&at.field(field), "does not go with ISTIO_MUTUAL, which uses the mesh's certificates");
            }
        }
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            if sources.iter().any(|(_, set)| *set) || !tls.ca_crl.is_empty() {
                report.warning(at, format!("{} uses no certificates: they have no effect", tls.mode));
            }
        }
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => certificates(report, at, tls),
        ServerTlsMode::Unknown(_) => {}
    }
    if tls.min_protocol_version != TlsProtocol::TlsAuto
        && tls.max_protocol_version != TlsProtocol::TlsAuto
        && tls.min_protocol_version > tls.max_protocol_version
    {
        report.error(&at.field("minProtocolVersion"), "is higher than maxProtocolVersion");
    }
}

/// Hashes that Envoy would refuse, and with them the whole listener.
fn fingerprints(report: &mut Report, at: &At<'_>, tls: &ServerTlsSettings) {
    for (index, value) in tls.verify_certificate_spki.iter().enumerate() {
        // 32 bytes in base64: 43 characters and one to fill up.
        let sextets = value.strip_suffix('=').unwrap_or_default();
        let is_sextet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        if sextets.len() != 43 || !sextets.bytes().all(is_sextet) {
            report.error(
                &at.field("verifyCertificateSpki").index(index),
                format!("{value:?} is not the SHA-256 of a public key in base64 (44 characters), which Envoy asks for"),
            );
        }
    }
    for (index, value) in tls.verify_certificate_hash.iter().enumerate() {
        // Hashes may be written with colons between the bytes.
        let plain = value.replace(':', "");
        if plain.len() != 64 || !plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            report.error(
                &at.field("verifyCertificateHash").index(index),
                format!(
                    "{value:?} is not the SHA-256 of a certificate in hexadecimal (64 digits), which Envoy asks for"
                ),
            );
        }
    }
}

fn ciphers(report: &mut Report, at: &At<'_>, tls: &ServerTlsSettings) {
    if matches!(tls.min_protocol_version, TlsProtocol::TlsV10 | TlsProtocol::TlsV11) && tls.cipher_suites.is_empty() {
        report.warning(
            &at.field("minProtocolVersion"),
            "needs cipherSuites that such an old version has: Envoy's own are newer",
        );
    }
    let mut seen = BTreeSet::new();
    for (index, suite) in tls.cipher_suites.iter().enumerate() {
        let at = at.field("cipherSuites");
        let at = at.index(index);
        // Operators such as [A|B] and -ALL are left to Envoy.
        let operator = suite.chars().next().is_none_or(|c| !c.is_alphanumeric());
        if !operator && suite != "ALL" && !CIPHERS.contains(&suite.as_str()) {
            report.warning(&at, format!("{suite:?} is not a cipher suite that is known: it is left out"));
        } else if !seen.insert(suite) {
            report.warning(&at, format!("{suite:?} is there twice"));
        }
    }
}

fn certificates(report: &mut Report, at: &At<'_>, tls: &ServerTlsSettings) {
    report.at_most_one(
        at,
        &[
            ("credentialName", !tls.credential_name.is_empty()),
            ("credentialNames", !tls.credential_names.is_empty()),
            ("serverCertificate with privateKey", !tls.server_certificate.is_empty() && !tls.private_key.is_empty()),
            ("tlsCertificates", !tls.tls_certificates.is_empty()),
        ],
    );
    report.items(&at.field("credentialNames"), &tls.credential_names, 0, 2);
    if !tls.ca_crl.is_empty() {
        if !tls.credential_name.is_empty() {
            report.error(&at.field("caCrl"), "does not go with credentialName: put the revocations into the Secret");
        }
        if tls.mode == ServerTlsMode::Simple {
            report.error(&at.field("caCrl"), "does not go with SIMPLE");
        }
    }
    if !tls.credential_name.is_empty() || !tls.credential_names.is_empty() {
        return;
    }
    if tls.mode != ServerTlsMode::Simple && tls.ca_certificates.is_empty() && tls.ca_cert_credential_name.is_empty() {
        report.error(&at.field("caCertificates"), format!("must be set for {}", tls.mode));
    }
    if tls.tls_certificates.len() > 2 {
        report.warning(&at.field("tlsCertificates"), "has more than two certificates: the others are left out");
    }
    let mut need = |at: &At<'_>, certificate: &str, key: &str| {
        for (field, file) in [("serverCertificate", certificate), ("privateKey", key)] {
            if file.is_empty() {
                report.error(&at.field(field), format!("must be set for {}, or credentialName in its place", tls.mode));
            }
        }
    };
    if tls.tls_certificates.is_empty() {
        need(at, &tls.server_certificate, &tls.private_key);
    }
    for (index, certificate) in tls.tls_certificates.iter().enumerate() {
        need(&at.field("tlsCertificates").index(index), &certificate.server_certificate, &certificate.private_key);
    }
}
