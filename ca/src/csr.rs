// SPDX-License-Identifier: Apache-2.0
//! Certificate signing requests (PKCS #10): parsed, checked for possession of the key, and reduced to the public key.
//!
//! Subject, subject alternative names and all other wishes in the request are dropped here: identity comes from the caller's
//! credential alone.

use crate::CaError;
use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
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
