// SPDX-License-Identifier: Apache-2.0
//! Callers with a certificate that this mesh issued.

use super::{AuthenticationError, Authenticator, Caller, Credentials};
use crate::{Authority, CaError, SpiffeId, TrustBundle, TrustDomains};
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::UnixTime;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const NAME: &str = "client certificate";

type Verifier = Arc<dyn ClientCertVerifier>;

/// Accepts a client certificate whose chain ends in a root of the mesh; its SPIFFE names are the identities.
pub struct ClientCertificateAuthenticator {
    domains: TrustDomains,
    roots: watch::Receiver<Arc<TrustBundle>>,
    // Made anew when the roots are others.
    verifier: RwLock<(Arc<TrustBundle>, Verifier)>,
}

impl ClientCertificateAuthenticator {
    /// Trusts the roots of `authority`, also those that it has later.
    ///
    /// # Errors
    /// When its roots cannot be trust anchors.
    pub fn new(authority: Arc<Authority>) -> Result<Self, CaError> {
        Self::with_roots(authority.trust_changes(), authority.options().domains.clone())
    }

    /// Trusts the roots of this moment and those that come later.
    ///
    /// # Errors
    /// When the roots cannot be trust anchors.
    pub fn with_roots(roots: watch::Receiver<Arc<TrustBundle>>, domains: TrustDomains) -> Result<Self, CaError> {
        let trust = roots.borrow().clone();
        let verifier = trust.client_verifier(false)?;
        Ok(Self { domains, roots, verifier: RwLock::new((trust, verifier)) })
    }

    fn verifier(&self) -> Result<Verifier, CaError> {
        let current = self.roots.borrow().clone();
        {
            let held = self.verifier.read().unwrap_or_else(PoisonError::into_inner);
            if Arc::ptr_eq(&held.0, &current) {
                return Ok(held.1.clone());
            }
        }
        let verifier = current.client_verifier(false)?;
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = (current, verifier.clone());
        Ok(verifier)
    }

    fn check(&self, credentials: &Credentials) -> Result<Option<Caller>, String> {
        let Some((own, above)) = credentials.peer.certificates.split_first() else { return Ok(None) };
        let verifier = self.verifier().map_err(|e| e.to_string())?;
        verifier.verify_client_cert(own, above, UnixTime::now()).map_err(|e| e.to_string())?;
        let (_, certificate) = X509Certificate::from_der(own).map_err(|e| format!("cannot be parsed: {e}"))?;
        let names = certificate.subject_alternative_name().map_err(|e| format!("names: {e}"))?;
        let mut identities = Vec::new();
        for name in names.iter().flat_map(|n| &n.value.general_names) {
            let GeneralName::URI(uri) = name else { continue };
            let identity: SpiffeId = uri.parse().map_err(|e: crate::SpiffeError| e.to_string())?;
            if !self.domains.owns(identity.trust_domain()) {
                return Err(format!("{identity} is of another trust domain"));
            }
            identities.push(identity);
        }
        if identities.is_empty() {
            return Err("it has no SPIFFE name".into());
        }
        Ok(Some(Caller { identities, authenticator: NAME, pod: None }))
    }
}

#[tonic::async_trait]
impl Authenticator for ClientCertificateAuthenticator {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Caller>, AuthenticationError> {
        self.check(credentials).map_err(|reason| AuthenticationError { authenticator: NAME, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::Peer;
    use crate::testing::{authority, csr};
    use crate::{IssueRequest, Issued};
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    fn credentials(issued: &Issued) -> Credentials {
        let own = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        Credentials { peer: Peer { certificates: Arc::new(vec![own]), ..Default::default() }, bearer: None }
    }

    fn issue(authority: &Authority, domain: &str) -> Issued {
        let id = SpiffeId::new(domain, "a", "b").unwrap();
        authority.issue(&IssueRequest { csr: &csr().0, identities: &[id], ttl: None }).unwrap()
    }

    #[tokio::test]
    async fn own_certificates_pass_and_others_do_not() {
        let (_a, ours) = authority();
        let (_b, theirs) = authority();
        let check = ClientCertificateAuthenticator::new(ours.clone()).unwrap();
        let caller = check.authenticate(&credentials(&issue(&ours, "cluster.local"))).await.unwrap().unwrap();
        assert_eq!(caller.identities[0].to_string(), "spiffe://cluster.local/ns/a/sa/b");
        assert_eq!(check.authenticate(&Credentials::default()).await.unwrap(), None);
        let error = check.authenticate(&credentials(&issue(&theirs, "cluster.local"))).await.unwrap_err();
        assert!(error.reason.contains("UnknownIssuer") || error.reason.contains("BadSignature"), "{error}");
        let error = check.authenticate(&credentials(&issue(&ours, "elsewhere"))).await.unwrap_err();
        assert!(error.reason.contains("another trust domain"), "{error}");
    }

    #[tokio::test]
    async fn the_control_planes_own_certificate_is_no_caller() {
        let (_a, ours) = authority();
        let key = rcgen::KeyPair::generate().unwrap();
        let public =
            rcgen::SubjectPublicKeyInfo::from_der(&rcgen::PublicKeyData::subject_public_key_info(&key)).unwrap();
        let name = rcgen::SanType::DnsName("istiod.istio-system.svc".try_into().unwrap());
        let issued = ours.sign(&public, vec![name], None).unwrap();
        let check = ClientCertificateAuthenticator::new(ours).unwrap();
        let error = check.authenticate(&credentials(&issued)).await.unwrap_err();
        assert!(error.reason.contains("no SPIFFE name"), "{error}");
    }
}
