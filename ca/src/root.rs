// SPDX-License-Identifier: Apache-2.0
//! A self-signed root: made, and renewed with the same key and name before it expires.
//!
//! Because a renewed root has the key and the name of the one before, certificates of either verify under both: nobody has to learn of it in
//! time. This is how istiod renews the root in its Secret `istio-ca-secret`, so that the two may share it.

use crate::CaError;
use crate::bundle::{certificates, parse};
use rand::RngCore;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};
use std::time::Duration;
use time::OffsetDateTime;
use x509_parser::extensions::ParsedExtension;

/// Clocks may be this much behind; a certificate is valid from this long before it was made.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// What a root is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootOptions {
    /// Its organisation: the trust domain.
    pub organization: String,
    /// Its life (CITADEL_SELF_SIGNED_CA_CERT_TTL).
    pub ttl: Duration,
    /// Bits of an RSA key: 2048, 3072 or 4096 (CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE); none for ECDSA P-256, which signs five times as fast.
    pub rsa_bits: Option<u32>,
}

impl RootOptions {
    /// An ECDSA root of ten years.
    pub fn new(organization: impl Into<String>) -> Self {
        Self { organization: organization.into(), ttl: Duration::from_secs(10 * 365 * 24 * 3600), rsa_bits: None }
    }
}

/// A root and its private key in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct SelfSignedRoot {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for SelfSignedRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelfSignedRoot").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl SelfSignedRoot {
    /// Makes a key and a root.
    ///
    /// # Errors
    /// When the key size is none that is supported.
    pub fn generate(options: &RootOptions) -> Result<Self, CaError> {
        let key = match options.rsa_bits {
            None => KeyPair::generate(),
            Some(2048) => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Some(3072) => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            Some(4096) => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
            Some(other) => {
                return Err(CaError::Settings(format!("RSA key of {other} bits: use 2048, 3072 or 4096")));
            }
        };
        let key = key.map_err(failed)?;
        let mut params = params(options.ttl);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, options.organization.as_str());
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { certificate, key: key.serialize_pem() })
    }

    /// A root with the same key, name and key identifier, and a life from now on.
    ///
    /// # Errors
    /// When key or certificate cannot be used.
    pub fn renew(&self, options: &RootOptions) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(&self.key)
            .map_err(|e| CaError::file("private key of the root", format!("cannot be used: {e}")))?;
        let der = certificates(&self.certificate, "root certificate")?.remove(0);
        let former = parse(&der, "root certificate")?;
        let identifier = former.extensions().iter().find_map(|e| match e.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let mut params = params(options.ttl);
        if let Some(identifier) = identifier {
            params.key_identifier_method = KeyIdMethod::PreSpecified(identifier);
        }
        // Signed by "the former root", which has the same key: the issuer's name is copied to the byte, and so is the subject's.
        let issuer = Issuer::from_ca_cert_der(&der, &key).map_err(failed)?;
        params.distinguished_name = subject(&former)?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        let renewed = parse(certificate.der(), "renewed root certificate")?;
        if renewed.subject().as_raw() != former.subject().as_raw() {
            let problem = format!("its name {} cannot be kept; give it as cacerts to replace it", former.subject());
            return Err(CaError::file("root certificate", problem));
        }
        Ok(Self { certificate: certificate.pem(), key: self.key.clone() })
    }

    /// When to renew it: when this percentage of its life is left.
    ///
    /// # Errors
    /// When the certificate cannot be parsed.
    pub fn renew_at(&self, grace_percent: u8) -> Result<OffsetDateTime, CaError> {
        let der = certificates(&self.certificate, "root certificate")?.remove(0);
        let validity = parse(&der, "root certificate")?.validity().clone();
        let (from, until) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
        Ok(until - (until - from) * i32::from(grace_percent.min(100)) / 100)
    }
}

fn failed(error: rcgen::Error) -> CaError {
    CaError::Signing(format!("making the root: {error}"))
}

/// The name of a certificate, each attribute with its own kind of string.
fn subject(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Result<DistinguishedName, CaError> {
    let mut name = DistinguishedName::new();
    for attribute in certificate.subject().iter_attributes() {
        let kind = match attribute.attr_type().to_id_string().as_str() {
            "2.5.4.3" => DnType::CommonName,
            "2.5.4.6" => DnType::CountryName,
            "2.5.4.7" => DnType::LocalityName,
            "2.5.4.8" => DnType::StateOrProvinceName,
            "2.5.4.10" => DnType::OrganizationName,
            "2.5.4.11" => DnType::OrganizationalUnitName,
            other => {
                let problem = format!("its name has an attribute {other} that cannot be renewed");
                return Err(CaError::file("root certificate", problem));
            }
        };
        let text = attribute.as_str().map_err(|e| CaError::file("root certificate", format!("name: {e}")))?;
        // Go writes what fits as PrintableString, rcgen as UTF8String.
        match attribute.attr_value().tag() {
            x509_parser::der_parser::asn1_rs::Tag::PrintableString => {
                let text = rcgen::string::PrintableString::try_from(text).map_err(failed)?;
                name.push(kind, rcgen::DnValue::PrintableString(text));
            }
            _ => name.push(kind, text),
        }
    }
    Ok(name)
}

fn params(ttl: Duration) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut serial = [0u8; 16];
    rand::rng().fill_bytes(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + ttl;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

#[cfg(test)]
#[path = "root_tests.rs"]
mod tests;
