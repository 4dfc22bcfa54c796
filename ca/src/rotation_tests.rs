// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::root::{RootOptions, SelfSignedRoot};
use crate::{BundleParts, SigningBundle};
use rustls_pki_types::UnixTime;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn root() -> SelfSignedRoot {
    SelfSignedRoot::generate(&RootOptions::new("cluster.local")).unwrap()
}

fn bundle(signs: &SelfSignedRoot, others: &[&SelfSignedRoot]) -> Arc<SigningBundle> {
    let roots: String = std::iter::once(signs).chain(others.iter().copied()).map(|r| r.certificate.as_str()).collect();
    let parts = BundleParts {
        certificate: (&signs.certificate, "c"),
        key: (&signs.key, "k"),
        chain: None,
        roots: (&roots, "r"),
    };
    Arc::new(SigningBundle::new(&parts).unwrap())
}

/// A workload: the certificate that it shows and the roots that it trusts, both from its last request.
struct Workload {
    certificate: CertificateDer<'static>,
    trust: Arc<TrustBundle>,
}

fn workload(bundle: &SigningBundle) -> Workload {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    let leaf = params.signed_by(&key, bundle.issuer()).unwrap();
    Workload { certificate: leaf.der().clone(), trust: bundle.trust().clone() }
}

fn accepts(server: &Workload, client: &Workload) -> bool {
    let verifier = server.trust.client_verifier(false).unwrap();
    verifier.verify_client_cert(&client.certificate, &[], UnixTime::now()).is_ok()
}

/// Eight workloads renew at times spread over a day, while the rotation goes from one bundle to the next: nobody is ever refused.
fn no_one_is_refused(steps: &[(i32, Arc<SigningBundle>)], first: Arc<SigningBundle>) -> Rotation {
    let start = OffsetDateTime::now_utc();
    let mut rotation = Rotation::new(first.clone()).unwrap();
    let mut fleet: Vec<Workload> = (0..8).map(|_| workload(&first)).collect();
    for hour in (0..96_i32).step_by(3) {
        let now = start + time::Duration::hours(hour.into());
        for (at, wanted) in steps {
            if (hour..hour + 3).contains(at) {
                rotation.adopt(wanted.clone(), now, DAY).unwrap();
            }
        }
        rotation.advance(now);
        let current = rotation.bundle(now).unwrap();
        for (i, member) in fleet.iter_mut().enumerate() {
            // Each once in 24 hours: the latest that a certificate of a day is renewed.
            if i32::try_from(i * 3).unwrap() == hour % 24 {
                *member = workload(&current);
            }
        }
        for server in &fleet {
            assert!(fleet.iter().all(|client| accepts(server, client)), "hour {hour}");
        }
    }
    rotation
}

#[test]
fn another_root_at_once() {
    let (old, new) = (root(), root());
    let rotation = no_one_is_refused(&[(1, bundle(&new, &[]))], bundle(&old, &[]));
    // After signing under the new root for as long, the old one is gone.
    let end = rotation.bundle(OffsetDateTime::now_utc()).unwrap();
    assert_eq!(end.trust().certificates(), bundle(&new, &[]).trust().certificates());
}

#[test]
fn the_documented_way_by_two_roots() {
    let (old, new) = (root(), root());
    let steps = [(1, bundle(&old, &[&new])), (5, bundle(&new, &[&old])), (30, bundle(&new, &[]))];
    no_one_is_refused(&steps, bundle(&old, &[]));
}

#[test]
fn there_and_back_again() {
    let (old, new) = (root(), root());
    let steps = [(1, bundle(&new, &[])), (3, bundle(&old, &[])), (30, bundle(&new, &[]))];
    no_one_is_refused(&steps, bundle(&old, &[]));
}

#[test]
fn a_renewed_root_signs_at_once() {
    let old = root();
    let new = old.renew(&RootOptions::new("cluster.local")).unwrap();
    let now = OffsetDateTime::now_utc();
    let mut rotation = Rotation::new(bundle(&old, &[])).unwrap();
    let wanted = bundle(&new, &[]);
    rotation.adopt(wanted.clone(), now, DAY).unwrap();
    assert_eq!(rotation.switches_at(), None);
    assert!(rotation.bundle(now).unwrap().same_signer(&wanted));
    assert_eq!(rotation.bundle(now).unwrap().trust().certificates().len(), 2);
    no_one_is_refused(&[(1, wanted)], bundle(&old, &[]));
}

#[test]
fn the_same_again_changes_nothing() {
    let old = root();
    let rotation = Rotation::new(bundle(&old, &[])).unwrap();
    assert!(!rotation.differs(&bundle(&old, &[])));
    assert!(rotation.differs(&bundle(&old, &[&root()])));
    assert_eq!(rotation.due(), None);
}

#[test]
fn a_signer_about_to_expire_gives_way_at_once() {
    let ttl = Duration::from_secs(30);
    let old = SelfSignedRoot::generate(&RootOptions { ttl, ..RootOptions::new("d") }).unwrap();
    let now = OffsetDateTime::now_utc();
    let mut rotation = Rotation::new(bundle(&old, &[])).unwrap();
    rotation.adopt(bundle(&root(), &[]), now, DAY).unwrap();
    assert_eq!(rotation.switches_at(), None);
}
