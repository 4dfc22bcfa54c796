// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::{Authority, AuthorityOptions, BundleParts, IssueRequest, SigningBundle, SpiffeId};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

fn authority(root: &SelfSignedRoot) -> Authority {
    let parts = BundleParts {
        certificate: (&root.certificate, "c"),
        key: (&root.key, "k"),
        chain: None,
        roots: (&root.certificate, "r"),
    };
    Authority::new(SigningBundle::new(&parts).unwrap(), AuthorityOptions::default()).unwrap()
}

fn verifies_under(signer: &Authority, trusting: &Authority) -> bool {
    let id = SpiffeId::new("cluster.local", "a", "b").unwrap();
    let issued = signer.issue(&IssueRequest { csr: &crate::testing::csr().0, identities: &[id], ttl: None }).unwrap();
    let leaf = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    trusting.trust().client_verifier(false).unwrap().verify_client_cert(&leaf, &[], UnixTime::now()).is_ok()
}

#[test]
fn a_renewed_root_and_the_former_one_take_each_others_certificates() {
    for rsa_bits in [None, Some(2048)] {
        let options = RootOptions { rsa_bits, ..RootOptions::new("cluster.local") };
        let former = SelfSignedRoot::generate(&options).unwrap();
        let renewed = former.renew(&options).unwrap();
        assert_ne!(former.certificate, renewed.certificate);
        let (former, renewed) = (authority(&former), authority(&renewed));
        assert!(verifies_under(&former, &renewed) && verifies_under(&renewed, &former));
        let other = authority(&SelfSignedRoot::generate(&options).unwrap());
        assert!(!verifies_under(&former, &other));
    }
}

#[test]
fn a_root_is_renewed_when_the_grace_is_left() {
    let ttl = Duration::from_secs(100 * 24 * 3600);
    let root = SelfSignedRoot::generate(&RootOptions { ttl, ..RootOptions::new("d") }).unwrap();
    let days = (root.renew_at(20).unwrap() - OffsetDateTime::now_utc()).whole_hours();
    assert!((79 * 24..=80 * 24).contains(&days), "{days}");
}

#[test]
fn a_root_that_istiod_made_is_renewed_with_its_name() {
    // Go writes the name as PrintableString, and has key identifiers of its own.
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let mut params = params(Duration::from_secs(3600));
    params.distinguished_name = DistinguishedName::new();
    let name = rcgen::DnValue::PrintableString("cluster.local".try_into().unwrap());
    params.distinguished_name.push(DnType::OrganizationName, name);
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
    let certificate = params.self_signed(&key).unwrap().pem();
    let former = SelfSignedRoot { certificate, key: key.serialize_pem() };
    let renewed = former.renew(&RootOptions::new("cluster.local")).unwrap();
    let (former, renewed) = (authority(&former), authority(&renewed));
    assert!(verifies_under(&former, &renewed) && verifies_under(&renewed, &former));
}

#[test]
fn keys_are_not_printed() {
    let root = SelfSignedRoot::generate(&RootOptions::new("d")).unwrap();
    assert!(!format!("{root:?}").contains("PRIVATE"));
}
