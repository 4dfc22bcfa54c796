// SPDX-License-Identifier: Apache-2.0
//! How many certificates a core issues in a second: request parsed, its signature checked, certificate signed.
//!
//! `cargo bench -p tiphys-ca`. The aim is 2,000 a second and core for P-256 requests under a P-256 root.

#![allow(missing_docs, clippy::unwrap_used)]

use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use tiphys_ca::{Authority, AuthorityOptions, IssueRequest, RootOptions, SpiffeId};

fn main() {
    divan::main();
}

fn issue(bencher: divan::Bencher<'_, '_>, algorithm: &'static SignatureAlgorithm) {
    let dir = tempfile::tempdir().unwrap();
    let authority =
        Authority::self_signed(dir.path(), &RootOptions::new("cluster.local"), AuthorityOptions::default()).unwrap();
    let key = KeyPair::generate_for(algorithm).unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let identities = [SpiffeId::new("cluster.local", "default", "reviews").unwrap()];
    let request = IssueRequest { csr: &csr, identities: &identities, ttl: None };
    bencher.counter(divan::counter::ItemsCount::new(1u32)).bench(|| authority.issue(&request).unwrap());
}

#[divan::bench]
fn p256_request(bencher: divan::Bencher<'_, '_>) {
    issue(bencher, &rcgen::PKCS_ECDSA_P256_SHA256);
}

#[divan::bench]
fn rsa_2048_request(bencher: divan::Bencher<'_, '_>) {
    issue(bencher, &rcgen::PKCS_RSA_SHA256);
}
