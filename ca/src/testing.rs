// SPDX-License-Identifier: Apache-2.0
//! What several unit tests need.

use crate::{Authority, AuthorityOptions};
use rcgen::{CertificateParams, KeyPair};
use std::sync::Arc;
use tempfile::TempDir;

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
    let authority = Authority::self_signed(&dir.path().join("ca"), AuthorityOptions::default()).unwrap();
    (dir, Arc::new(authority))
}
