// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::authenticate::{ClientCertificateAuthenticator, Peer};
use crate::testing::{authority, csr};
use crate::{DevTokenIssuer, DevTokenOptions, Sample, ServiceAccount};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::BTreeMap;
use tempfile::TempDir;
use tiphys_proto::google::protobuf::{Struct, Value};
use tonic::Code;

struct Fixture {
    _dir: TempDir,
    authority: Arc<Authority>,
    service: CertificateService,
    token: String,
}

fn fixture() -> Fixture {
    let (dir, authority) = authority();
    let issuer = DevTokenIssuer::open(DevTokenOptions::new(dir.path().join("tokens"), "cluster.local")).unwrap();
    let account = ServiceAccount { namespace: "default".into(), name: "reviews".into() };
    issuer.refresh(&[account.clone()].into()).unwrap();
    let token = std::fs::read_to_string(issuer.token_path(&account)).unwrap();
    let certificates = ClientCertificateAuthenticator::new(authority.clone()).unwrap();
    let authenticators = Authenticators::new(vec![Arc::new(certificates), Arc::new(issuer)]);
    let service = CertificateService::new(Signing::Own(authority.clone()), authenticators, Arc::default());
    Fixture { _dir: dir, authority, service, token }
}

fn request(token: Option<&str>) -> Request<IstioCertificateRequest> {
    let message = IstioCertificateRequest { csr: csr().0, validity_duration: 3600, metadata: None };
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

fn with_metadata(token: &str, name: &str, value: &str) -> Request<IstioCertificateRequest> {
    let mut request = request(Some(token));
    let value = Value { kind: Some(Kind::StringValue(value.into())) };
    request.get_mut().metadata = Some(Struct { fields: BTreeMap::from([(name.to_string(), value)]) });
    request
}

impl Fixture {
    fn count(&self, name: &str) -> f64 {
        let samples = self.service.counters.samples(&self.service.signing);
        samples.iter().filter(|s: &&Sample| s.name == name).map(|s| s.value).sum()
    }

    async fn code(&self, request: Request<IstioCertificateRequest>) -> Code {
        self.service.create_certificate(request).await.unwrap_err().code()
    }
}

#[tokio::test]
async fn by_token_and_then_by_certificate() {
    let f = fixture();
    let chain = f.service.create_certificate(request(Some(&f.token))).await.unwrap().into_inner().cert_chain;
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[1], f.authority.trust().pem());
    let own = CertificateDer::from_pem_slice(chain[0].as_bytes()).unwrap();
    let mut again = request(None);
    again.extensions_mut().insert(Peer { certificates: Arc::new(vec![own]), ..Default::default() });
    f.service.create_certificate(again).await.unwrap();
    assert_eq!(f.count("citadel_server_csr_count"), 2.0);
    assert_eq!(f.count("citadel_server_success_cert_issuance_count"), 2.0);
}

#[tokio::test]
async fn callers_that_are_refused() {
    let f = fixture();
    assert_eq!(f.code(request(None)).await, Code::Unauthenticated);
    assert_eq!(f.code(request(Some("nonsense"))).await, Code::Unauthenticated);
    let other = "spiffe://cluster.local/ns/default/sa/admin";
    assert_eq!(f.code(with_metadata(&f.token, IMPERSONATED_IDENTITY, other)).await, Code::Unauthenticated);
    assert_eq!(f.count("citadel_server_authentication_failure_count"), 3.0);
    assert_eq!(f.count("citadel_server_success_cert_issuance_count"), 0.0);
}

#[tokio::test]
async fn requests_that_are_refused() {
    let f = fixture();
    let mut bad = request(Some(&f.token));
    bad.get_mut().csr = "nonsense".into();
    assert_eq!(f.code(bad).await, Code::InvalidArgument);
    let mut long = request(Some(&f.token));
    long.get_mut().validity_duration = i64::MAX;
    assert_eq!(f.code(long).await, Code::InvalidArgument);
    assert_eq!(f.code(with_metadata(&f.token, CERT_SIGNER, "x")).await, Code::InvalidArgument);
    assert_eq!(f.count("citadel_server_csr_sign_err_count"), 3.0);
    let mut negative = request(Some(&f.token));
    negative.get_mut().validity_duration = -5;
    f.service.create_certificate(negative).await.unwrap();
}
