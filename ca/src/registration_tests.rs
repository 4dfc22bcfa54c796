// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::SpiffeId;
use crate::testing::{Maker, ca_params, maker};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType, SubjectPublicKeyInfo};
use std::sync::Mutex;

/// A signer that copies the names of the request, or those that it is told to give.
struct Signer {
    ca: Maker,
    names: Option<Vec<SanType>>,
    key: Option<KeyPair>,
    with_root: bool,
    asked: Mutex<Vec<(String, Duration)>>,
}

#[tonic::async_trait]
impl CertificateSigner for Signer {
    async fn sign(&self, request: SignerRequest<'_>) -> Result<String, CaError> {
        self.asked.lock().unwrap().push((request.signer.into(), request.ttl));
        let key = match &self.key {
            Some(key) => SubjectPublicKeyInfo::from_der(&key.subject_public_key_info()).unwrap(),
            None => csr::public_key(request.csr).unwrap(),
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = self.names.clone().unwrap_or_else(|| vec![uri("spiffe://cluster.local/ns/a/sa/b")]);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let mut pem = params.signed_by(&key, &self.ca.issuer).unwrap().pem();
        if self.with_root {
            pem += &self.ca.certificate.pem();
        }
        Ok(pem)
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.to_string().try_into().unwrap())
}

fn signer() -> Signer {
    let ca = maker(ca_params("signer", 100), KeyPair::generate().unwrap(), None);
    Signer { ca, names: None, key: None, with_root: true, asked: Mutex::default() }
}

fn registration(signer: Arc<Signer>, roots: SignerRoots) -> Result<RegistrationAuthority, CaError> {
    RegistrationAuthority::new(RegistrationOptions {
        domains: TrustDomains::default(),
        lifetimes: Lifetimes::default(),
        signer: "example.com/default".into(),
        signer_domain: Some("example.com".into()),
        signs: signer,
        roots: watch::channel(roots).1,
    })
}

fn common(signer: &Signer) -> SignerRoots {
    SignerRoots { common: Some(signer.ca.certificate.pem()), ..SignerRoots::default() }
}

fn csr() -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names.push(uri("spiffe://cluster.local/ns/a/sa/b"));
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

async fn issue(registration: &RegistrationAuthority, csr: &str, signer: Option<&str>) -> Result<Registered, CaError> {
    let id = SpiffeId::new("cluster.local", "a", "b").unwrap();
    let ttl = Some(Duration::from_secs(600));
    registration.issue(&IssueRequest { csr, identities: &[id], ttl }, signer).await
}

#[tokio::test]
async fn by_the_default_signer_and_by_a_named_one() {
    let signer = Arc::new(signer());
    let registration = registration(signer.clone(), common(&signer)).unwrap();
    let registered = issue(&registration, &csr(), None).await.unwrap();
    assert_eq!((registered.chain.len(), registered.roots.certificates().len()), (1, 1));
    issue(&registration, &csr(), Some("other")).await.unwrap();
    let asked = signer.asked.lock().unwrap().clone();
    let ten_minutes = Duration::from_secs(600);
    assert_eq!(asked, [("example.com/default".into(), ten_minutes), ("example.com/other".into(), ten_minutes)]);
}

#[tokio::test]
async fn what_a_signer_may_not_return() {
    let refused = |change: &dyn Fn(&mut Signer)| {
        let mut signer = signer();
        let roots = common(&signer);
        change(&mut signer);
        let registration = registration(Arc::new(signer), roots).unwrap();
        async move { issue(&registration, &csr(), None).await.unwrap_err().to_string() }
    };
    assert!(
        refused(&|s| s.names = Some(vec![uri("spiffe://cluster.local/ns/a/sa/admin")])).await.contains("it is for")
    );
    let both = vec![uri("spiffe://cluster.local/ns/a/sa/b"), SanType::DnsName("x.y".try_into().unwrap())];
    assert!(refused(&|s| s.names = Some(both.clone())).await.contains("it is for"));
    assert!(refused(&|s| s.key = Some(KeyPair::generate().unwrap())).await.contains("its key is not"));
    let other = || maker(ca_params("signer", 100), KeyPair::generate().unwrap(), None);
    assert!(refused(&|s| s.ca = other()).await.contains("cannot be used"));
}

#[tokio::test]
async fn what_is_not_passed_on() {
    let signer = Arc::new(signer());
    let registration = registration(signer.clone(), common(&signer)).unwrap();
    let mut params = CertificateParams::new(vec!["istiod.istio-system.svc".to_string()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    assert!(matches!(issue(&registration, &csr, None).await, Err(CaError::Csr(_))));
    assert!(signer.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn roots_by_signer_and_from_the_chain() {
    let one = Arc::new(signer());
    let pem = one.ca.certificate.pem();
    let by_signer = |name: &str| SignerRoots { by_signer: BTreeMap::from([(name.into(), pem.clone())]), common: None };
    let named = registration(one.clone(), by_signer("example.com/default")).unwrap();
    issue(&named, &csr(), None).await.unwrap();
    // Of another signer only what it returns is known.
    let other = registration(one, by_signer("example.com/other")).unwrap();
    assert_eq!(issue(&other, &csr(), None).await.unwrap().chain.len(), 1);
    let bare = Arc::new(Signer { with_root: false, ..signer() });
    let unknown = registration(bare, by_signer("example.com/other")).unwrap();
    assert!(issue(&unknown, &csr(), None).await.unwrap_err().to_string().contains("no root is known"));
    assert!(registration(Arc::new(signer()), SignerRoots::default()).is_err());
}
