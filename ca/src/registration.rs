// SPDX-License-Identifier: Apache-2.0
//! A registration authority: callers are authenticated and their requests checked here, somebody else signs.
//!
//! The signer is one of Kubernetes' CertificateSigningRequest signers (EXTERNAL_CA=ISTIOD_RA_KUBERNETES_API, K8S_SIGNER). What it
//! returns is not believed: the certificate must be for the caller's identities and the caller's key, and verify under the roots.
//! See <https://istio.io/latest/docs/tasks/security/cert-management/custom-ca-k8s/>.

use crate::authority::{Lifetimes, TrustDomains};
use crate::bundle::{certificates, parse, to_pem};
use crate::{CaError, IssueRequest, TrustBundle, csr};
use rcgen::PublicKeyData;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;
use x509_parser::extensions::GeneralName;

/// What is asked of a signer.
#[derive(Clone, Copy, Debug)]
pub struct SignerRequest<'a> {
    /// The request in PEM.
    pub csr: &'a str,
    /// Name of the signer, e.g. `clusterissuers.cert-manager.io/mesh`.
    pub signer: &'a str,
    /// The life asked for.
    pub ttl: Duration,
    /// Whether the certificate is one of a server alone.
    pub server_only: bool,
}

/// Signs certificates elsewhere: Kubernetes.
#[tonic::async_trait]
pub trait CertificateSigner: Send + Sync {
    /// The certificate, and the chain above it, in PEM.
    ///
    /// # Errors
    /// When it was not signed.
    async fn sign(&self, request: SignerRequest<'_>) -> Result<String, CaError>;
}

/// The roots that are known of signers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignerRoots {
    /// Roots in PEM by the name of the signer: MeshConfig's `caCertificates` with `certSigners`.
    pub by_signer: BTreeMap<String, String>,
    /// The root of all others, in PEM: a mounted file.
    pub common: Option<String>,
}

/// Settings of a [`RegistrationAuthority`].
pub struct RegistrationOptions {
    /// Whose identities are certified.
    pub domains: TrustDomains,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
    /// The signer for requests that name none (K8S_SIGNER).
    pub signer: String,
    /// What is put before the signer that a request names (CERT_SIGNER_DOMAIN); without it none may be named.
    pub signer_domain: Option<String>,
    /// Who signs.
    pub signs: Arc<dyn CertificateSigner>,
    /// The roots, which may change.
    pub roots: watch::Receiver<SignerRoots>,
}

/// A certificate that somebody else signed.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The certificate and the chain above it, one PEM text each.
    pub chain: Vec<String>,
    /// The roots.
    pub roots: Arc<TrustBundle>,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Its end.
    pub not_after: OffsetDateTime,
}

/// The registration authority.
pub struct RegistrationAuthority {
    options: RegistrationOptions,
    trust: watch::Sender<Arc<TrustBundle>>,
}

impl RegistrationAuthority {
    /// With the roots of this moment.
    ///
    /// # Errors
    /// When the settings contradict themselves, or no root is known.
    pub fn new(options: RegistrationOptions) -> Result<Self, CaError> {
        options.lifetimes.check()?;
        options.domains.check()?;
        let trust = trust(&options.roots.borrow())?;
        Ok(Self { options, trust: watch::Sender::new(Arc::new(trust)) })
    }

    /// Follows the roots for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut roots = self.options.roots.clone();
        while roots.changed().await.is_ok() {
            let now = roots.borrow_and_update().clone();
            match trust(&now) {
                Ok(trust) => drop(self.trust.send_if_modified(|held| {
                    let changed = **held != trust;
                    *held = Arc::new(trust);
                    changed
                })),
                Err(error) => tracing::error!(%error, "the former roots of the certificate signers stay in force"),
            }
        }
    }

    /// Whose identities are certified.
    pub fn domains(&self) -> &TrustDomains {
        &self.options.domains
    }

    /// The roots that the mesh trusts.
    pub fn trust(&self) -> Arc<TrustBundle> {
        self.trust.borrow().clone()
    }

    /// Tells of each change of the roots.
    pub fn trust_changes(&self) -> watch::Receiver<Arc<TrustBundle>> {
        self.trust.subscribe()
    }

    /// Has a certificate signed for the identities given. `signer` is the one that the request names, if it does.
    ///
    /// # Errors
    /// [`CaError::Csr`] and [`CaError::Ttl`] are the caller's fault.
    pub async fn issue(&self, request: &IssueRequest<'_>, signer: Option<&str>) -> Result<Registered, CaError> {
        let ttl = self.options.lifetimes.of(request.ttl)?;
        csr::require_plain(request.csr, request.identities)?;
        let key = csr::public_key(request.csr)?;
        let signer = self.signer(signer)?;
        let wanted = SignerRequest { csr: request.csr, signer: &signer, ttl, server_only: false };
        let pem = self.options.signs.sign(wanted).await?;
        let chain = certificates(&pem, &signer)?;
        let roots = self.roots_of(&signer, &chain)?;
        self.check(request, &key, &chain, &roots)
            .map_err(|problem| CaError::Signing(format!("what signer {signer} returned cannot be used: {problem}")))?;
        let own = parse(&chain[0], &signer)?;
        let serial = own.raw_serial().iter().map(|b| format!("{b:02x}")).collect();
        let not_after = own.validity().not_after.to_datetime();
        let is_root = |c: &&CertificateDer<'static>| roots.certificates().contains(c);
        let texts = chain.iter().filter(|c| !is_root(c)).map(|c| to_pem("CERTIFICATE", c)).collect();
        Ok(Registered { chain: texts, roots, serial, not_after })
    }

    /// The full name of a signer.
    fn signer(&self, named: Option<&str>) -> Result<String, CaError> {
        match (named, &self.options.signer_domain) {
            (None, _) if self.options.signer.is_empty() => {
                Err(CaError::Csr("it names no signer (CertSigner), and there is no default one (K8S_SIGNER)".into()))
            }
            (None, _) => Ok(self.options.signer.clone()),
            (Some(name), Some(domain)) => Ok(format!("{domain}/{name}")),
            (Some(name), None) => Err(CaError::Csr(format!("signer {name} needs CERT_SIGNER_DOMAIN to be set"))),
        }
    }

    /// The roots of a signer: its own, else the common one, else the root at the end of what it returned.
    fn roots_of(&self, signer: &str, chain: &[CertificateDer<'static>]) -> Result<Arc<TrustBundle>, CaError> {
        let known = self.options.roots.borrow().clone();
        if let Some(pem) = known.by_signer.get(signer).or(known.common.as_ref()) {
            return Ok(Arc::new(TrustBundle::from_pem(pem, signer)?));
        }
        match chain.last() {
            Some(last) if chain.len() > 1 && parse(last, signer).is_ok_and(|c| c.subject() == c.issuer()) => {
                Ok(Arc::new(TrustBundle::of(vec![last.clone()])?))
            }
            _ => Err(CaError::Signing(format!(
                "no root is known of signer {signer}: give it in MeshConfig's caCertificates with certSigners"
            ))),
        }
    }

    fn check(
        &self,
        request: &IssueRequest<'_>,
        key: &rcgen::SubjectPublicKeyInfo,
        chain: &[CertificateDer<'static>],
        roots: &TrustBundle,
    ) -> Result<(), String> {
        let own = parse(&chain[0], "certificate").map_err(|e| e.to_string())?;
        if own.public_key().subject_public_key.data != key.der_bytes() {
            return Err("its key is not that of the request".into());
        }
        let names = own.subject_alternative_name().map_err(|e| format!("names: {e}"))?;
        let names: Vec<String> = names
            .iter()
            .flat_map(|n| &n.value.general_names)
            .map(|name| match name {
                GeneralName::URI(uri) => (*uri).to_string(),
                other => format!("{other}"),
            })
            .collect();
        let wanted: Vec<String> = request.identities.iter().map(ToString::to_string).collect();
        if names != wanted {
            return Err(format!("it is for {names:?} instead of {wanted:?}"));
        }
        let verifier = roots.client_verifier(false).map_err(|e| e.to_string())?;
        verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now()).map_err(|e| e.to_string())?;
        Ok(())
    }
}

/// All roots that are known, each once.
fn trust(roots: &SignerRoots) -> Result<TrustBundle, CaError> {
    let mut all: Vec<CertificateDer<'static>> = Vec::new();
    let named = roots.by_signer.iter().map(|(signer, pem)| (signer.as_str(), pem));
    for (place, pem) in roots.common.iter().map(|pem| ("CA certificate file", pem)).chain(named) {
        for certificate in TrustBundle::from_pem(pem, place)?.certificates() {
            if !all.contains(certificate) {
                all.push(certificate.clone());
            }
        }
    }
    if all.is_empty() {
        return Err(CaError::Settings(
            "no root of the certificate signers is known: give it in MeshConfig's caCertificates with certSigners, or as file".into(),
        ));
    }
    TrustBundle::of(all)
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
