// SPDX-License-Identifier: Apache-2.0
//! What several unit tests need.

use crate::{Authority, AuthorityOptions, RootOptions};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use time::OffsetDateTime;

pub(crate) fn csr() -> (String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (csr_with_key(&key), key)
}

pub(crate) fn csr_with_key(key: &KeyPair) -> String {
    CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()
}

pub(crate) fn csr_pem(der: &[u8]) -> String {
    crate::bundle::to_pem("CERTIFICATE REQUEST", der)
}

pub(crate) fn authority() -> (TempDir, Arc<Authority>) {
    let dir = TempDir::new().unwrap();
    let authority =
        Authority::self_signed(&dir.path().join("ca"), &RootOptions::new("cluster.local"), AuthorityOptions::default())
            .unwrap();
    (dir, Arc::new(authority))
}

/// An authority of a chain.
pub(crate) struct Maker {
    pub issuer: Issuer<'static, KeyPair>,
    pub certificate: Certificate,
}

pub(crate) fn ca_params(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = OffsetDateTime::now_utc() - time::Duration::days(30);
    params.not_after = OffsetDateTime::now_utc() + time::Duration::days(days);
    params
}

pub(crate) fn maker(params: CertificateParams, key: KeyPair, above: Option<&Maker>) -> Maker {
    let certificate = match above {
        None => params.self_signed(&key).unwrap(),
        Some(above) => params.signed_by(&key, &above.issuer).unwrap(),
    };
    Maker { issuer: Issuer::from_ca_cert_der(certificate.der(), key).unwrap(), certificate }
}

/// A `cacerts` folder with a root, an intermediate above the signing one, and the signing one.
pub(crate) fn cacerts(dir: &Path, key: KeyPair, signing: CertificateParams) -> Maker {
    let root = maker(ca_params("root", 1000), KeyPair::generate().unwrap(), None);
    let middle = maker(ca_params("middle", 500), KeyPair::generate().unwrap(), Some(&root));
    let signing = maker(signing, key, Some(&middle));
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    write("ca-cert.pem", signing.certificate.pem());
    write("ca-key.pem", signing.issuer.key().serialize_pem());
    write("root-cert.pem", root.certificate.pem());
    write("cert-chain.pem", signing.certificate.pem() + &middle.certificate.pem());
    root
}
