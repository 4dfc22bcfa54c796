// SPDX-License-Identifier: Apache-2.0
//! Certificate signing requests (PKCS #10): parsed, checked for possession of the key, and reduced to the public key.
//!
//! Subject, subject alternative names and all other wishes in the request are dropped here: identity comes from the caller's
//! credential alone.

use crate::{CaError, SpiffeId};
use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

/// More than this no honest request has (RSA 8192 with many extensions stays below 4 KiB).
const MAX_PEM_BYTES: usize = 32 * 1024;
/// The weakest RSA key that gets a certificate.
const MIN_RSA_BITS: usize = 2048;

const OID_P256: &str = "1.2.840.10045.3.1.7";
const OID_P384: &str = "1.3.132.0.34";
/// Signature algorithms with SHA-2: ECDSA, RSA PKCS #1 1.5, RSA-PSS.
const SIGNATURES: [&str; 6] = [
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.2.840.113549.1.1.10",
];

/// The public key of a request in PEM whose own signature is right.
///
/// # Errors
/// [`CaError::Csr`] when it cannot be parsed, its signature is wrong, or its key is not ECDSA P-256, ECDSA P-384 or RSA of at
/// least 2048 bits.
pub fn public_key(pem: &str) -> Result<SubjectPublicKeyInfo, CaError> {
    let bad = |problem: String| CaError::Csr(problem);
    if pem.len() > MAX_PEM_BYTES {
        return Err(bad(format!("{} bytes is more than the {MAX_PEM_BYTES} allowed", pem.len())));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|e| bad(format!("no PEM block CERTIFICATE REQUEST: {e}")))?;
    let (rest, request) =
        X509CertificationRequest::from_der(&der).map_err(|e| bad(format!("cannot be parsed: {e}")))?;
    if !rest.is_empty() {
        return Err(bad(format!("{} bytes follow the request", rest.len())));
    }
    let algorithm = request.signature_algorithm.algorithm.to_id_string();
    if !SIGNATURES.contains(&algorithm.as_str()) {
        return Err(bad(format!("signature algorithm {algorithm} is not ECDSA or RSA with SHA-2")));
    }
    let info = &request.certification_request_info.subject_pki;
    require_strong(info).map_err(bad)?;
    request.verify_signature().map_err(|_| bad("its signature does not match its public key".into()))?;
    SubjectPublicKeyInfo::from_der(info.raw).map_err(|e| bad(format!("public key: {e}")))
}

/// Checks a request that is passed on to a signer who may copy what it asks for: it may name identities of the caller and nothing else.
///
/// # Errors
/// [`CaError::Csr`] when it cannot be used, or asks for more.
pub fn require_plain(pem: &str, identities: &[SpiffeId]) -> Result<(), CaError> {
    public_key(pem)?;
    let bad = |problem: String| CaError::Csr(problem);
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|e| bad(format!("no PEM block CERTIFICATE REQUEST: {e}")))?;
    let (_, request) = X509CertificationRequest::from_der(&der).map_err(|e| bad(format!("cannot be parsed: {e}")))?;
    let info = &request.certification_request_info;
    if let Some(attribute) = info.subject.iter_attributes().find(|a| !a.attr_value().data.is_empty()) {
        return Err(bad(format!("it asks for a subject ({})", attribute.attr_type())));
    }
    for attribute in info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(wanted) = attribute.parsed_attribute() else {
            return Err(bad(format!("attribute {} is not allowed", attribute.oid)));
        };
        for extension in &wanted.extensions {
            let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
                return Err(bad(format!("extension {} is not allowed", extension.oid)));
            };
            for name in &names.general_names {
                let own = matches!(name, GeneralName::URI(uri) if identities.iter().any(|id| id.to_string() == *uri));
                if !own {
                    return Err(bad(format!("it asks for the name {name}, which is not the caller's")));
                }
            }
        }
    }
    Ok(())
}

/// Refuses public keys that are too weak or that no proxy of the mesh could use.
fn require_strong(info: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> Result<(), String> {
    match info.parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() >= MIN_RSA_BITS => Ok(()),
        Ok(PublicKey::RSA(key)) => {
            Err(format!("RSA key of {} bits is too weak; use {MIN_RSA_BITS} bits or more", key.key_size()))
        }
        Ok(PublicKey::EC(_)) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).map(|o| o.to_id_string());
            match curve.as_deref() {
                Some(OID_P256 | OID_P384) => Ok(()),
                Some(other) => Err(format!("elliptic curve {other} is not allowed; use P-256 or P-384")),
                None => Err("elliptic curve key without a named curve; use P-256 or P-384".into()),
            }
        }
        Ok(_) => Err("key type is not allowed; use ECDSA P-256 or P-384, or RSA".into()),
        Err(e) => Err(format!("public key cannot be parsed: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{csr, csr_with_key};
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};

    #[test]
    fn keys_that_are_taken() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let taken = public_key(&csr_with_key(&key)).unwrap();
            assert_eq!(rcgen::PublicKeyData::der_bytes(&taken), key.public_key_raw());
        }
    }

    #[test]
    fn extensions_and_names_do_not_matter() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["admin.example.com".to_string()]).unwrap();
        params
            .custom_extensions
            .push(rcgen::CustomExtension::from_oid_content(&[2, 16, 840, 1, 113730, 1, 13], vec![22, 1, 65]));
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        public_key(&pem).unwrap();
    }

    #[test]
    fn what_is_refused() {
        let ed25519 = csr_with_key(&KeyPair::generate_for(&PKCS_ED25519).unwrap());
        assert!(public_key(&ed25519).unwrap_err().to_string().contains("signature algorithm"));
        assert!(public_key("").unwrap_err().to_string().contains("PEM"));
        assert!(public_key(&"x".repeat(40_000)).unwrap_err().to_string().contains("allowed"));
        assert!(public_key(RSA_1024).unwrap_err().to_string().contains("1024 bits is too weak"));
        assert!(public_key(P521).is_err());
    }

    #[test]
    fn what_a_signer_would_copy() {
        let id = SpiffeId::new("cluster.local", "a", "b").unwrap();
        let key = KeyPair::generate().unwrap();
        let request = |change: &dyn Fn(&mut CertificateParams)| {
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            change(&mut params);
            params.serialize_request(&key).unwrap().pem().unwrap()
        };
        let uri = |text: &str| rcgen::SanType::URI(text.to_string().try_into().unwrap());
        let check =
            |change: &dyn Fn(&mut CertificateParams)| require_plain(&request(change), std::slice::from_ref(&id));
        check(&|_| {}).unwrap();
        check(&|p| p.subject_alt_names.push(uri("spiffe://cluster.local/ns/a/sa/b"))).unwrap();
        // As Go's agents write it.
        check(&|p| p.distinguished_name.push(rcgen::DnType::OrganizationName, "")).unwrap();
        let refused = |change: &dyn Fn(&mut CertificateParams)| check(change).unwrap_err().to_string();
        assert!(
            refused(&|p| p.subject_alt_names.push(uri("spiffe://cluster.local/ns/a/sa/c")))
                .contains("not the caller's")
        );
        let dns = rcgen::SanType::DnsName("istiod.istio-system.svc".try_into().unwrap());
        assert!(refused(&|p| p.subject_alt_names.push(dns.clone())).contains("not the caller's"));
        assert!(
            refused(&|p| p.distinguished_name.push(rcgen::DnType::CommonName, "admin")).contains("subject (2.5.4.3)")
        );
        let ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        assert!(refused(&|p| p.is_ca = ca).contains("2.5.29"));
    }

    #[test]
    fn a_request_for_anothers_key_is_refused() {
        let (mine, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let request = CertificateParams::default().serialize_request(&mine).unwrap();
        let mut der = request.der().to_vec();
        let at = der.windows(65).position(|w| w == mine.public_key_raw()).unwrap();
        der[at..at + 65].copy_from_slice(theirs.public_key_raw());
        let error = public_key(&crate::testing::csr_pem(&der)).unwrap_err();
        assert!(error.to_string().contains("does not match"), "{error}");
    }

    #[test]
    fn mutated_requests_never_panic_nor_bring_another_key() {
        let (pem, key) = csr();
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
        for at in 0..der.len() {
            for bit in [0x01, 0x80] {
                let mut bytes = der.clone();
                bytes[at] ^= bit;
                if let Ok(taken) = public_key(&crate::testing::csr_pem(&bytes)) {
                    assert_eq!(rcgen::PublicKeyData::der_bytes(&taken), key.public_key_raw(), "byte {at}");
                }
            }
        }
    }

    const RSA_1024: &str = include_str!("testdata/rsa1024.csr");
    const P521: &str = include_str!("testdata/p521.csr");
}
