// SPDX-License-Identifier: Apache-2.0
//! A certificate with its key and the roots that come with it.

use super::IdentityError;
use crate::settings::{CertificateFiles, KeyAlgorithm};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, RsaKeySize, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificate, key and roots of the workload.
#[derive(Clone)]
pub struct WorkloadCertificate {
    /// The chain in PEM, own certificate first.
    pub chain: String,
    /// The private key in PEM.
    pub key: String,
    /// The roots in PEM.
    pub roots: String,
    /// The end of its life.
    pub not_after: OffsetDateTime,
    /// Which one it is, counted over all of this process: the version that Envoy sees.
    pub version: u64,
}

impl fmt::Debug for WorkloadCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadCertificate").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl WorkloadCertificate {
    /// Takes the answer of the authority: own certificate, certificates between, and roots as last element.
    pub(super) fn from_answer(answer: &[String], key: &KeyPair) -> Result<Self, IdentityError> {
        let unusable = |e: &str| IdentityError::Unusable(format!("the authority's answer: {e}"));
        let Some((roots, chain)) = answer.split_last() else { return Err(unusable("it is empty")) };
        let Some(own) = chain.first() else { return Err(unusable("it has roots only")) };
        let der = CertificateDer::from_pem_slice(own.as_bytes()).map_err(|e| unusable(&e.to_string()))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|e| unusable(&e.to_string()))?;
        if parsed.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(unusable("the certificate is for another key"));
        }
        let chain = chain.iter().map(|c| format!("{}\n", c.trim_end())).collect();
        let not_after = parsed.validity().not_after.to_datetime();
        Ok(Self { chain, key: key.serialize_pem(), roots: roots.clone(), not_after, version: next_version() })
    }

    /// Reads mounted files.
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, IdentityError> {
        let text = |path: &Path| {
            std::fs::read_to_string(path).map_err(|e| IdentityError::Unusable(format!("{}: {e}", path.display())))
        };
        let (chain, key, roots) = (text(&files.chain)?, text(&files.key)?, text(&files.root)?);
        let unusable = |e: String| IdentityError::Unusable(format!("{}: {e}", files.chain.display()));
        let der = CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|e| unusable(e.to_string()))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|e| unusable(e.to_string()))?;
        let pair = KeyPair::from_pem(&key)
            .map_err(|e| IdentityError::Unusable(format!("{}: no private key: {e}", files.key.display())))?;
        if parsed.public_key().subject_public_key.data != pair.public_key_raw() {
            return Err(unusable(format!("does not belong to the key in {}", files.key.display())));
        }
        let not_after = parsed.validity().not_after.to_datetime();
        Ok(Self { chain, key, roots, not_after, version: next_version() })
    }

    /// How much of its life is left.
    pub fn left(&self) -> Duration {
        Duration::try_from(self.not_after - OffsetDateTime::now_utc()).unwrap_or(Duration::ZERO)
    }

    /// Whether its life is over.
    pub fn expired(&self) -> bool {
        self.left().is_zero()
    }

    /// Writes `key.pem`, `cert-chain.pem` and `root-cert.pem` (0600 each) into a folder.
    pub(super) fn write(&self, dir: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        for (name, content) in [("key.pem", &self.key), ("cert-chain.pem", &self.chain), ("root-cert.pem", &self.roots)]
        {
            let (path, temporary) = (dir.join(name), dir.join(format!(".{name}.{}", std::process::id())));
            // A rest of a former process of the same number must not keep its mode.
            let _ = std::fs::remove_file(&temporary);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(content.as_bytes())?;
            std::fs::rename(&temporary, &path)?;
        }
        Ok(())
    }
}

/// Counts from the time of the start, so that versions also differ from those before a restart.
fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let start =
        || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(1);
    let _ = NEXT.compare_exchange(0, start(), Ordering::Relaxed, Ordering::Relaxed);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Makes a key and a signing request for it. RSA keys take long, so that they are made on a thread of their own.
pub(super) async fn key_and_request(
    algorithm: KeyAlgorithm,
    spiffe_id: &str,
) -> Result<(KeyPair, String), IdentityError> {
    let unusable = |e: rcgen::Error| IdentityError::Unusable(format!("making a key: {e}"));
    let key = match algorithm {
        KeyAlgorithm::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyAlgorithm::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyAlgorithm::Rsa(bits) => {
            let size = match bits {
                4096 => RsaKeySize::_4096,
                3072 => RsaKeySize::_3072,
                _ => RsaKeySize::_2048,
            };
            let made =
                tokio::task::spawn_blocking(move || KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size)).await;
            made.map_err(|e| IdentityError::Unusable(format!("making a key: {e}")))?
        }
    }
    .map_err(unusable)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = spiffe_id.to_string().try_into().map_err(unusable)?;
    params.subject_alt_names = vec![SanType::URI(name)];
    let request = params.serialize_request(&key).and_then(|r| r.pem()).map_err(unusable)?;
    Ok((key, request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tiphys_ca::{Authority, AuthorityOptions, IssueRequest, RootOptions, SpiffeId};

    async fn answered(algorithm: KeyAlgorithm) -> (KeyPair, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let authority =
            Authority::self_signed(dir.path(), &RootOptions::new("cluster.local"), AuthorityOptions::default())
                .unwrap();
        let (key, csr) = key_and_request(algorithm, "spiffe://cluster.local/ns/a/sa/b").await.unwrap();
        let identities = [SpiffeId::new("cluster.local", "a", "b").unwrap()];
        let issued = authority.issue(&IssueRequest { csr: &csr, identities: &identities, ttl: None }).unwrap();
        (key, vec![issued.certificate, issued.bundle.trust().pem().to_string()])
    }

    #[tokio::test]
    async fn answers_for_each_kind_of_key() {
        for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa(2048)] {
            let (key, answer) = answered(algorithm).await;
            let certificate = WorkloadCertificate::from_answer(&answer, &key).unwrap();
            assert!(!certificate.expired());
            assert_eq!(certificate.roots, answer[1]);
        }
    }

    #[tokio::test]
    async fn answers_that_are_not_taken() {
        let (key, answer) = answered(KeyAlgorithm::P256).await;
        let other = KeyPair::generate().unwrap();
        let error = |a: &[String], k: &KeyPair| WorkloadCertificate::from_answer(a, k).unwrap_err().to_string();
        assert!(error(&answer, &other).contains("another key"));
        assert!(error(&answer[1..], &key).contains("roots only"));
        assert!(error(&[], &key).contains("empty"));
        assert!(error(&["x".into(), "y".into()], &key).contains("answer"));
    }

    #[tokio::test]
    async fn written_and_read_again() {
        let (key, answer) = answered(KeyAlgorithm::P256).await;
        let certificate = WorkloadCertificate::from_answer(&answer, &key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        certificate.write(dir.path()).unwrap();
        let path = |name: &str| dir.path().join(name);
        assert_eq!(std::fs::metadata(path("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
        let files =
            CertificateFiles { chain: path("cert-chain.pem"), key: path("key.pem"), root: path("root-cert.pem") };
        let read = WorkloadCertificate::read(&files).unwrap();
        assert!(read.version > certificate.version);
        std::fs::write(path("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(WorkloadCertificate::read(&files).unwrap_err().to_string().contains("does not belong"));
    }
}
