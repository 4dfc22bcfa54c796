// SPDX-License-Identifier: Apache-2.0
//! The gRPC service `istio.v1.auth.IstioCertificateService`, as istiod, pilot-agent and ztunnel speak it.
//!
//! Statuses are istiod's: UNAUTHENTICATED when the caller is not accepted (the reason is only in the log), INVALID_ARGUMENT for an
//! unusable request or lifetime, INTERNAL when the authority cannot sign. Each issue and each refusal is one line of the log at
//! target `audit`.

use crate::authenticate::{Authenticators, Caller, Credentials};
use crate::{Authority, CaCounters, CaError, IssueRequest, Issued};
use std::sync::Arc;
use std::time::Duration;
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

/// Issues certificates over gRPC.
pub struct CertificateService {
    authority: Arc<Authority>,
    authenticators: Authenticators,
    counters: Arc<CaCounters>,
    // Signing is CPU work: as many at a time as there are cores, on threads of their own, so that configuration goes on flowing.
    turns: Arc<Semaphore>,
}

impl CertificateService {
    /// A service that accepts the callers whom `authenticators` accept.
    pub fn new(authority: Arc<Authority>, authenticators: Authenticators, counters: Arc<CaCounters>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { authority, authenticators, counters, turns: Arc::new(Semaphore::new(cores)) }
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

    async fn sign(&self, request: IstioCertificateRequest, caller: &Caller) -> Result<Issued, CaError> {
        // Negative means, as zero, that the default is wanted.
        let ttl = u64::try_from(request.validity_duration).ok().map(Duration::from_secs);
        let turn = self.turns.clone().acquire_owned().await.map_err(|e| CaError::NotReady(e.to_string()))?;
        let (authority, identities) = (self.authority.clone(), caller.identities.clone());
        let work = tokio::task::spawn_blocking(move || {
            let issued = authority.issue(&IssueRequest { csr: &request.csr, identities: &identities, ttl });
            drop(turn);
            issued
        });
        work.await.map_err(|e| CaError::NotReady(e.to_string()))?
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
        if let Some(wanted) = metadata(&request, IMPERSONATED_IDENTITY) {
            self.counters.unauthenticated();
            let reason = format!("asks for the identity {wanted:?} of another, which no node account may here");
            refused(&credentials, Some(&caller), &reason);
            return Err(Status::unauthenticated("request impersonation authentication failure"));
        }
        if let Some(signer) = metadata(&request, CERT_SIGNER) {
            let error = CaError::Csr(format!("certificate signer {signer:?} is not supported; leave out CertSigner"));
            self.counters.refused(&error);
            refused(&credentials, Some(&caller), &error.to_string());
            return Err((&error).into());
        }
        match self.sign(request, &caller).await {
            Ok(issued) => {
                self.counters.issued();
                audit(&credentials, &caller, &issued);
                Ok(Response::new(answer(issued)))
            }
            Err(error) => {
                self.counters.refused(&error);
                refused(&credentials, Some(&caller), &error.to_string());
                Err((&error).into())
            }
        }
    }
}

/// The certificate, the chain one certificate an element, and last the roots in one element.
fn answer(issued: Issued) -> IstioCertificateResponse {
    let mut cert_chain = vec![issued.certificate];
    cert_chain.extend(issued.bundle.chain_pem().iter().cloned());
    cert_chain.push(issued.bundle.trust().pem().to_string());
    IstioCertificateResponse { cert_chain }
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

fn names(caller: &Caller) -> String {
    caller.identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn audit(credentials: &Credentials, caller: &Caller, issued: &Issued) {
    tracing::info!(
        target: "audit",
        client = client(credentials),
        identity = names(caller),
        by = caller.authenticator,
        pod = caller.pod.as_ref().map(|p| p.name.as_str()),
        serial = issued.serial,
        not_after = %issued.not_after,
        "certificate issued"
    );
}

fn refused(credentials: &Credentials, caller: Option<&Caller>, reason: &str) {
    let (identity, client) = (caller.map(names), client(credentials));
    tracing::warn!(target: "audit", client, identity, reason, "certificate refused");
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
