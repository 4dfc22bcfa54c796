// SPDX-License-Identifier: Apache-2.0
//! Kubernetes' CertificateSigningRequest signers
//! (<https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>): a request is made, approved, read when it is
//! signed, and deleted.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use tiphys_ca::{CaError, CertificateSigner, SignerRequest};
use tokio::time::{Instant, sleep};

/// How long a signer may take, and how long to wait between looks: briefly at first, because most are quick.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// Signers of a cluster.
pub struct KubernetesSigner {
    api: Api<CertificateSigningRequest>,
}

impl KubernetesSigner {
    /// By a client that may create, approve, get and delete CertificateSigningRequests.
    pub fn new(client: Client) -> Self {
        Self { api: Api::all(client) }
    }

    async fn submit(&self, request: SignerRequest<'_>) -> Result<CertificateSigningRequest, CaError> {
        let mut usages = vec!["digital signature", "key encipherment", "server auth"];
        if !request.server_only {
            usages.push("client auth");
        }
        let object = CertificateSigningRequest {
            metadata: ObjectMeta { generate_name: Some("csr-workload-".into()), ..ObjectMeta::default() },
            spec: CertificateSigningRequestSpec {
                request: ByteString(request.csr.as_bytes().to_vec()),
                signer_name: request.signer.to_owned(),
                usages: Some(usages.into_iter().map(str::to_owned).collect()),
                // No signer of Kubernetes takes less than ten minutes.
                expiration_seconds: i32::try_from(request.ttl.as_secs().max(600)).ok(),
                ..CertificateSigningRequestSpec::default()
            },
            status: None,
        };
        self.api.create(&PostParams::default(), &object).await.map_err(|error| failed("cannot be made", &error))
    }

    async fn approve(&self, mut request: CertificateSigningRequest) -> Result<(), CaError> {
        let name = request.name_any();
        let condition = CertificateSigningRequestCondition {
            type_: "Approved".into(),
            status: "True".into(),
            reason: Some("TiphysAuthenticated".into()),
            message: Some("the caller proved the identity that the request names".into()),
            ..CertificateSigningRequestCondition::default()
        };
        request.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
        let approved = self.api.replace_subresource("approval", &name, &PostParams::default(), &request).await;
        approved.map(drop).map_err(|error| failed("cannot be approved", &error))
    }

    async fn signed(&self, name: &str) -> Result<String, CaError> {
        let until = Instant::now() + PATIENCE;
        let mut wait = FIRST;
        loop {
            let request = self.api.get(name).await.map_err(|error| failed("cannot be read", &error))?;
            let status = request.status.unwrap_or_default();
            if let Some(ByteString(pem)) = status.certificate.filter(|certificate| !certificate.0.is_empty()) {
                return String::from_utf8(pem).map_err(|_| CaError::Signing("the certificate is no text".into()));
            }
            let refused = status.conditions.into_iter().flatten().find(|c| c.type_ == "Denied" || c.type_ == "Failed");
            if let Some(refused) = refused {
                let why = refused.message.or(refused.reason).unwrap_or_default();
                return Err(CaError::Signing(format!("CertificateSigningRequest {name}: {}: {why}", refused.type_)));
            }
            if Instant::now() >= until {
                return Err(CaError::Signing(format!(
                    "CertificateSigningRequest {name} is not signed after {PATIENCE:?}"
                )));
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
        }
    }
}

fn failed(what: &str, error: &kube::Error) -> CaError {
    CaError::Signing(format!("CertificateSigningRequest {what}: {error}"))
}

#[tonic::async_trait]
impl CertificateSigner for KubernetesSigner {
    async fn sign(&self, request: SignerRequest<'_>) -> Result<String, CaError> {
        let made = self.submit(request).await?;
        let name = made.name_any();
        let signed = match self.approve(made).await {
            Ok(()) => self.signed(&name).await,
            Err(error) => Err(error),
        };
        if let Err(error) = self.api.delete(&name, &DeleteParams::default()).await {
            tracing::warn!("CertificateSigningRequest {name} stays behind: {error}");
        }
        signed
    }
}
