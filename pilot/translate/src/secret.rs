// SPDX-License-Identifier: Apache-2.0
//! Credentials as SDS secrets (<https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret>).

use tiphys_model::{Credential, Revoked};
use tiphys_proto::envoy::config::core::v3::{DataSource, data_source};
use tiphys_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};

/// The certificate and key of a credential; none when it lacks either.
pub fn certificate(name: &str, credential: &Credential) -> Option<Secret> {
    if credential.certificate.is_empty() || credential.key.is_empty() {
        return None;
    }
    let certificate = TlsCertificate {
        certificate_chain: Some(inline(&credential.certificate)),
        private_key: Some(inline(&credential.key)),
        ..TlsCertificate::default()
    };
    Some(Secret { name: name.into(), r#type: Some(secret::Type::TlsCertificate(certificate)) })
}

/// What clients are checked against; none when the credential has no authorities, or a list of revoked certificates that cannot be read: it is
/// better that nobody passes than somebody whose certificate was called back.
pub fn validation(name: &str, credential: &Credential) -> Option<Secret> {
    if credential.authorities.is_empty() {
        return None;
    }
    let crl = match &credential.revoked {
        Revoked::Nothing => None,
        Revoked::Lists(lists) => Some(inline(lists)),
        Revoked::Unreadable => return None,
    };
    let context = CertificateValidationContext {
        trusted_ca: Some(inline(&credential.authorities)),
        crl,
        ..CertificateValidationContext::default()
    };
    Some(Secret { name: name.into(), r#type: Some(secret::Type::ValidationContext(context)) })
}

fn inline(text: &str) -> DataSource {
    DataSource {
        specifier: Some(data_source::Specifier::InlineBytes(text.as_bytes().to_vec())),
        ..DataSource::default()
    }
}
