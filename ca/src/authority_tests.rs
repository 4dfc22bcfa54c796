// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::testing::{authority, ca_params, cacerts, csr, maker};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

fn reviews() -> SpiffeId {
    SpiffeId::new("cluster.local", "default", "reviews").unwrap()
}

fn issue(authority: &Authority, ttl: Option<u64>) -> Result<Issued, CaError> {
    let (csr, _) = csr();
    authority.issue(&IssueRequest { csr: &csr, identities: &[reviews()], ttl: ttl.map(Duration::from_secs) })
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()
}

fn verify(issued: &Issued) {
    let verifier: Arc<dyn ClientCertVerifier> = issued.bundle.trust().client_verifier(false).unwrap();
    verifier.verify_client_cert(&der(issued), issued.bundle.chain(), UnixTime::now()).unwrap();
}

#[test]
fn a_root_of_our_own_is_kept() {
    let dir = TempDir::new().unwrap();
    let first =
        Authority::self_signed(dir.path(), &RootOptions::new("cluster.local"), AuthorityOptions::default()).unwrap();
    let again =
        Authority::self_signed(dir.path(), &RootOptions::new("cluster.local"), AuthorityOptions::default()).unwrap();
    assert_eq!(first.trust(), again.trust());
    let years = (first.trust().not_after() - OffsetDateTime::now_utc()).whole_days() / 365;
    assert!((9..=10).contains(&years), "{years}");
    let mode = std::fs::metadata(dir.path().join("ca-key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = TempDir::new().unwrap();
    Authority::self_signed(dir.path(), &RootOptions::new("cluster.local"), AuthorityOptions::default()).unwrap();
    std::fs::set_permissions(dir.path().join("ca-key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let error = Authority::self_signed(dir.path(), &RootOptions::new("cluster.local"), AuthorityOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("ca-key.pem") && error.contains("0644"), "{error}");
    std::fs::remove_file(dir.path().join("ca-key.pem")).unwrap();
    let error = Authority::self_signed(dir.path(), &RootOptions::new("cluster.local"), AuthorityOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("has root-cert.pem but no ca-key.pem"), "{error}");
}

#[test]
fn what_a_certificate_says() {
    let (_dir, authority) = authority();
    let issued = issue(&authority, None).unwrap();
    verify(&issued);
    let der = der(&issued);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.subject().iter().count(), 0);
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(names.value.general_names, vec![GeneralName::URI("spiffe://cluster.local/ns/default/sa/reviews")]);
    assert!(!certificate.is_ca());
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.any);
    let life = certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp();
    assert_eq!(life, 24 * 3600 + 120);
}

#[test]
fn serials_differ_even_for_one_key() {
    let (_dir, authority) = authority();
    let (csr, _) = csr();
    let serial = || authority.issue(&IssueRequest { csr: &csr, identities: &[reviews()], ttl: None }).unwrap().serial;
    assert_ne!(serial(), serial());
}

#[test]
fn lifetimes() {
    let (_dir, authority) = authority();
    let left = |ttl| (issue(&authority, ttl).unwrap().not_after - OffsetDateTime::now_utc()).whole_seconds();
    assert!((86390..=86400).contains(&left(Some(0))));
    assert!((590..=600).contains(&left(Some(600))));
    assert!(matches!(issue(&authority, Some(91 * 24 * 3600)), Err(CaError::Ttl { .. })));
}

#[test]
fn names_in_the_request_are_dropped() {
    let (_dir, authority) = authority();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["istiod.istio-system.svc".to_string()]).unwrap();
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    let issued = authority.issue(&IssueRequest { csr: &csr, identities: &[reviews()], ttl: None }).unwrap();
    let der = der(&issued);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, vec![GeneralName::URI("spiffe://cluster.local/ns/default/sa/reviews")]);
    assert_eq!(certificate.subject().iter().count(), 0);
}

#[test]
fn given_cacerts_ec_and_rsa() {
    for key in [KeyPair::generate().unwrap(), KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()] {
        let dir = TempDir::new().unwrap();
        cacerts(dir.path(), key, ca_params("signing", 200));
        let authority = Authority::from_cacerts(dir.path(), AuthorityOptions::default()).unwrap();
        let issued = issue(&authority, None).unwrap();
        verify(&issued);
        assert_eq!(issued.bundle.chain_pem().len(), 2);
    }
}

#[test]
fn a_certificate_does_not_outlive_its_issuer() {
    let dir = TempDir::new().unwrap();
    cacerts(dir.path(), KeyPair::generate().unwrap(), ca_params("signing", 3));
    let authority = Authority::from_cacerts(dir.path(), AuthorityOptions::default()).unwrap();
    let issued = issue(&authority, Some(30 * 24 * 3600)).unwrap();
    assert_eq!(issued.not_after.unix_timestamp(), authority.bundle().not_after().unix_timestamp());
}

#[test]
fn broken_cacerts_name_the_file() {
    let check = |spoil: &dyn Fn(&Path), want: &[&str]| {
        let dir = TempDir::new().unwrap();
        cacerts(dir.path(), KeyPair::generate().unwrap(), ca_params("signing", 200));
        spoil(dir.path());
        let error = Authority::from_cacerts(dir.path(), AuthorityOptions::default()).unwrap_err().to_string();
        for part in want {
            assert!(error.contains(part), "{error} should contain {part}");
        }
    };
    let other = maker(ca_params("other", 10), KeyPair::generate().unwrap(), None);
    let other_pem = other.certificate.pem();
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let write = |d: &Path, n: &str, t: &str| std::fs::write(d.join(n), t).unwrap();
    check(&|d| std::fs::remove_file(d.join("ca-cert.pem")).unwrap(), &["ca-cert.pem", "cannot read"]);
    check(
        &|d| write(d, "ca-key.pem", &other_key),
        &["ca-cert.pem", "does not belong to the private key", "ca-key.pem"],
    );
    check(&|d| write(d, "ca-key.pem", "nonsense"), &["ca-key.pem", "no usable private key"]);
    check(&|d| write(d, "root-cert.pem", &other_pem), &["cert-chain.pem", "no chain to a root", "CN=root"]);
    check(&|d| write(d, "root-cert.pem", ""), &["root-cert.pem", "no certificate"]);
    check(&|d| write(d, "cert-chain.pem", &other_pem), &["cert-chain.pem", "must begin with"]);
    check(&|d| std::fs::remove_file(d.join("cert-chain.pem")).unwrap(), &["ca-cert.pem", "no chain to a root"]);
    check(
        &|d| {
            cacerts(d, KeyPair::generate().unwrap(), ca_params("signing", -1));
        },
        &["ca-cert.pem", "expired"],
    );
    check(
        &|d| {
            let mut params = ca_params("signing", 10);
            params.is_ca = IsCa::ExplicitNoCa;
            cacerts(d, KeyPair::generate().unwrap(), params);
        },
        &["ca-cert.pem", "not one of a CA"],
    );
}

#[test]
fn reload_keeps_the_old_when_the_new_is_broken() {
    let dir = TempDir::new().unwrap();
    cacerts(dir.path(), KeyPair::generate().unwrap(), ca_params("signing", 200));
    let authority = Authority::from_cacerts(dir.path(), AuthorityOptions::default()).unwrap();
    let mut changes = authority.subscribe();
    let old = authority.trust();
    std::fs::write(dir.path().join("root-cert.pem"), "").unwrap();
    assert!(authority.reload(dir.path()).is_err());
    assert_eq!(authority.trust(), old);
    cacerts(dir.path(), KeyPair::generate().unwrap(), ca_params("signing", 200));
    assert!(authority.reload(dir.path()).unwrap());
    assert!(!authority.reload(dir.path()).unwrap());
    assert_ne!(authority.trust(), old);
    assert!(changes.has_changed().unwrap());
    verify(&issue(&authority, None).unwrap());
    changes.mark_unchanged();
}

#[test]
fn settings_that_contradict() {
    let dir = TempDir::new().unwrap();
    let hours = |h: u64| Duration::from_secs(h * 3600);
    let lifetimes = Lifetimes { default: hours(48), max: hours(24) };
    let options = AuthorityOptions { lifetimes, ..Default::default() };
    assert!(
        Authority::self_signed(dir.path(), &RootOptions::new("cluster.local"), options)
            .unwrap_err()
            .to_string()
            .contains("over the maximum")
    );
    let domains = TrustDomains { own: "a/b".into(), aliases: Vec::new() };
    let options = AuthorityOptions { domains, ..Default::default() };
    assert!(
        Authority::self_signed(dir.path(), &RootOptions::new("cluster.local"), options)
            .unwrap_err()
            .to_string()
            .contains("trust domain")
    );
}
