// SPDX-License-Identifier: Apache-2.0
//! The gRPC service `istio.v1.auth.IstioCertificateService`, as istiod, pilot-agent and ztunnel speak it.
//!
//! Statuses are istiod's: UNAUTHENTICATED when the caller is not accepted (the reason is only in the log), INVALID_ARGUMENT for an
//! unusable request or lifetime, INTERNAL when the authority cannot sign. Each issue and each refusal is one line of the log at
//! target `audit`.

use crate::authenticate::{Authenticators, Caller, Credentials};
use crate::{
    Authority, CaCounters, CaError, IssueRequest, Issued, NodeAuthorizer, Registered, RegistrationAuthority, SpiffeId,
    TrustBundle,
};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tiphys_proto::google::protobuf::value::Kind;
use tiphys_proto::istio::v1::auth::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use tiphys_proto::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// Metadata by which a node agent asks for another's identity.
const IMPERSONATED_IDENTITY: &str = "ImpersonatedIdentity";
/// Metadata by which a caller chooses a signer of Kubernetes.
const CERT_SIGNER: &str = "CertSigner";

/// Who signs.
#[derive(Clone)]
pub enum Signing {
    /// The authority of this process.
    Own(Arc<Authority>),
    /// Somebody else, on whose behalf callers and requests are checked.
    Registration(Arc<RegistrationAuthority>),
}

impl Signing {
    /// The roots that are handed out.
    pub fn trust(&self) -> Arc<TrustBundle> {
        match self {
            Self::Own(authority) => authority.trust(),
            Self::Registration(registration) => registration.trust(),
        }
    }

    /// Tells of each change of the roots.
    pub fn trust_changes(&self) -> tokio::sync::watch::Receiver<Arc<TrustBundle>> {
        match self {
            Self::Own(authority) => authority.trust_changes(),
            Self::Registration(registration) => registration.trust_changes(),
        }
    }
}

/// What is handed out.
struct Answer {
    chain: Vec<String>,
    roots: String,
    serial: String,
    not_after: OffsetDateTime,
}

impl From<Issued> for Answer {
    fn from(issued: Issued) -> Self {
        let mut chain = vec![issued.certificate];
        chain.extend(issued.bundle.chain_pem().iter().cloned());
        let roots = issued.bundle.trust().pem().to_string();
        Self { chain, roots, serial: issued.serial, not_after: issued.not_after }
    }
}

impl From<Registered> for Answer {
    fn from(registered: Registered) -> Self {
        let Registered { chain, roots, serial, not_after } = registered;
        Self { chain, roots: roots.pem().to_string(), serial, not_after }
    }
}

/// Issues certificates over gRPC.
pub struct CertificateService {
    signing: Signing,
    authenticators: Authenticators,
    counters: Arc<CaCounters>,
    nodes: Option<Arc<NodeAuthorizer>>,
    // Signing is CPU work: as many at a time as there are cores, on threads of their own, so that configuration goes on flowing.
    turns: Arc<Semaphore>,
}

impl CertificateService {
    /// A service that accepts the callers whom `authenticators` accept.
    pub fn new(signing: Signing, authenticators: Authenticators, counters: Arc<CaCounters>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { signing, authenticators, counters, nodes: None, turns: Arc::new(Semaphore::new(cores)) }
    }

    /// Lets node agents ask for the identities of the pods on their nodes. Without this nobody may have another's identity.
    #[must_use]
    pub fn with_nodes(mut self, nodes: Arc<NodeAuthorizer>) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// As a service for a tonic router. Requests are limited to 64 KiB.
    pub fn into_server(self) -> IstioCertificateServiceServer<Self> {
        IstioCertificateServiceServer::new(self).max_decoding_message_size(64 * 1024)
    }

    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller, Status> {
        match self.authenticators.authenticate(credentials).await {
            Ok(caller) => Ok(caller),
            Err(error) => {
                self.counters.unauthenticated();
                refused(credentials, None, &error.reason);
                Err(Status::unauthenticated("request authenticate failure"))
            }
        }
    }

    /// The identities to certify: the caller's own, or the one that it may have in their place.
    async fn identities(&self, request: &IstioCertificateRequest, caller: &Caller) -> Result<Vec<SpiffeId>, String> {
        let Some(wanted) = metadata(request, IMPERSONATED_IDENTITY) else { return Ok(caller.identities.clone()) };
        if wanted.parse::<SpiffeId>().is_err() {
            self.counters.unusable_identity();
        }
        let Some(nodes) = &self.nodes else {
            return Err(format!(
                "asks for the identity {wanted:?} of another, which no account may here (CA_TRUSTED_NODE_ACCOUNTS)"
            ));
        };
        let identity = nodes.authorize(caller, wanted).await;
        identity.map(|id| vec![id]).map_err(|why| format!("asks for the identity {wanted:?} of another: {why}"))
    }

    async fn sign(&self, request: IstioCertificateRequest, identities: Vec<SpiffeId>) -> Result<Answer, CaError> {
        // Negative means, as zero, that the default is wanted.
        let ttl = u64::try_from(request.validity_duration).ok().map(Duration::from_secs);
        let signer = metadata(&request, CERT_SIGNER);
        let authority = match &self.signing {
            Signing::Registration(registration) => {
                let wanted = IssueRequest { csr: &request.csr, identities: &identities, ttl };
                return Ok(registration.issue(&wanted, signer).await?.into());
            }
            Signing::Own(_) if signer.is_some() => {
                let text = format!(
                    "certificate signer {signer:?} is not known: this authority signs itself; leave out CertSigner"
                );
                return Err(CaError::Csr(text));
            }
            Signing::Own(authority) => authority.clone(),
        };
        let turn = self.turns.clone().acquire_owned().await.map_err(|e| CaError::NotReady(e.to_string()))?;
        let work = tokio::task::spawn_blocking(move || {
            let issued = authority.issue(&IssueRequest { csr: &request.csr, identities: &identities, ttl });
            drop(turn);
            issued
        });
        Ok(work.await.map_err(|e| CaError::NotReady(e.to_string()))??.into())
    }
}

#[tonic::async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.counters.request();
        let credentials = Credentials::of(request.metadata(), request.extensions());
        let caller = self.authenticate(&credentials).await?;
        let request = request.into_inner();
        let identities = match self.identities(&request, &caller).await {
            Ok(identities) => identities,
            Err(reason) => {
                self.counters.unauthenticated();
                refused(&credentials, Some(&caller), &reason);
                return Err(Status::unauthenticated("request impersonation authentication failure"));
            }
        };
        let given = names(&identities);
        match self.sign(request, identities).await {
            Ok(answer) => {
                self.counters.issued();
                audit(&credentials, &caller, &given, &answer);
                let Answer { mut chain, roots, .. } = answer;
                // One certificate an element, and last the roots in one element.
                chain.push(roots);
                Ok(Response::new(IstioCertificateResponse { cert_chain: chain }))
            }
            Err(error) => {
                self.counters.refused(&error);
                refused(&credentials, Some(&caller), &error.to_string());
                Err((&error).into())
            }
        }
    }
}

fn metadata<'a>(request: &'a IstioCertificateRequest, name: &str) -> Option<&'a str> {
    match request.metadata.as_ref()?.fields.get(name)?.kind.as_ref()? {
        Kind::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn client(credentials: &Credentials) -> String {
    credentials.peer.address.map_or_else(|| "unknown".to_string(), |a| a.to_string())
}

fn names(identities: &[SpiffeId]) -> String {
    identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn audit(credentials: &Credentials, caller: &Caller, given: &str, answer: &Answer) {
    let own = names(&caller.identities);
    tracing::info!(
        target: "audit",
        client = client(credentials),
        identity = given,
        on_behalf_by = (own != given).then_some(own),
        by = caller.authenticator,
        pod = caller.pod.as_ref().map(|p| p.name.as_str()),
        serial = answer.serial,
        not_after = %answer.not_after,
        "certificate issued"
    );
}

fn refused(credentials: &Credentials, caller: Option<&Caller>, reason: &str) {
    let (identity, client) = (caller.map(|c| names(&c.identities)), client(credentials));
    tracing::warn!(target: "audit", client, identity, reason, "certificate refused");
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
