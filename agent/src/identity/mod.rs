// SPDX-License-Identifier: Apache-2.0
//! The workload's certificate: got, kept and renewed.
//!
//! [`run`] asks the authority (or reads mounted files) and puts each new certificate into the [`SecretStore`], which tells whoever
//! waits for it. When a renewal fails, the certificate that is held goes on being served, and the next try comes after a growing
//! time with jitter.

mod certificate;
mod files;

pub use certificate::WorkloadCertificate;
pub(crate) use files::stamp;

use crate::metrics::Metrics;
use crate::settings::{CertificateFiles, Endpoint, IdentitySettings};
use crate::upstream::{self, Credential, UpstreamError};
use prost::Message;
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;
use tiphys_proto::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};
use tokio::sync::watch;

const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// First and longest wait between tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How often mounted files are looked at.
const FILE_INTERVAL: Duration = Duration::from_secs(2);
/// A certificate is used for at least so long, even if it is about to expire.
const MIN_USE: Duration = Duration::from_millis(500);

/// The certificate that is held, and word of each new one.
#[derive(Debug)]
pub struct SecretStore {
    workload: watch::Sender<Option<Arc<WorkloadCertificate>>>,
}

impl Default for SecretStore {
    fn default() -> Self {
        Self { workload: watch::channel(None).0 }
    }
}

impl SecretStore {
    /// The certificate, when there is one.
    pub fn current(&self) -> Option<Arc<WorkloadCertificate>> {
        self.workload.borrow().clone()
    }

    /// Word of each new certificate.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<WorkloadCertificate>>> {
        self.workload.subscribe()
    }

    /// Puts another certificate in place.
    pub fn put(&self, certificate: WorkloadCertificate) {
        self.workload.send_replace(Some(Arc::new(certificate)));
    }
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The authority cannot be reached or refuses.
    #[error("authority: {0}")]
    Authority(#[from] UpstreamError),
    /// The answer, a file or a key cannot be used.
    #[error("{0}")]
    Unusable(String),
}

/// Keeps the store filled for as long as it is polled.
pub async fn run(settings: Arc<IdentitySettings>, store: Arc<SecretStore>, metrics: Arc<Metrics>) {
    if let Some(files) = &settings.files {
        return watch_files(files, &store).await;
    }
    let mut failures = 0;
    loop {
        metrics.outgoing_requests.add();
        let wait = match request(&settings, &store).await {
            Ok(certificate) => {
                failures = 0;
                tracing::info!(identity = settings.spiffe_id, not_after = %certificate.not_after, "got a certificate");
                if let Some(dir) = &settings.output
                    && let Err(error) = certificate.write(dir)
                {
                    tracing::warn!(%error, "cannot write the certificate (OUTPUT_CERTS)");
                }
                let wait = renewal(&certificate, &settings);
                store.put(certificate);
                wait
            }
            Err(error) => {
                metrics.failed_outgoing_requests.add();
                failures += 1;
                let wait = backoff(failures, BACKOFF);
                let held = store.current().map_or("none is held", |c| match c.expired() {
                    true => "the one held has expired",
                    false => "the one held goes on being served",
                });
                tracing::warn!(%error, ?wait, held, "no new certificate");
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Asks the authority once.
async fn request(settings: &IdentitySettings, store: &SecretStore) -> Result<WorkloadCertificate, IdentityError> {
    let (key, csr) = certificate::key_and_request(settings.algorithm, &settings.spiffe_id).await?;
    let validity = i64::try_from(settings.ttl.as_secs()).unwrap_or(i64::MAX);
    let message = IstioCertificateRequest { csr, validity_duration: validity, metadata: None }.encode_to_vec();
    let endpoint: &Endpoint = &settings.authority;
    let credential = Credential::read(endpoint, store.current().as_deref())?;
    let answer = upstream::unary(endpoint, &credential, CREATE_CERTIFICATE, &message).await?;
    let answer = IstioCertificateResponse::decode(answer)
        .map_err(|e| IdentityError::Unusable(format!("the authority's answer cannot be decoded: {e}")))?;
    WorkloadCertificate::from_answer(&answer.cert_chain, &key)
}

/// When to renew: with the grace ratio of its life left, give or take the jitter.
fn renewal(certificate: &WorkloadCertificate, settings: &IdentitySettings) -> Duration {
    let jitter = rand::rng().random_range(-1.0..=1.0) * settings.grace_jitter;
    let ratio = (settings.grace_ratio + jitter).clamp(0.0, 1.0);
    certificate.left().mul_f64(1.0 - ratio).max(MIN_USE)
}

/// Half to all of a time that doubles with each failure, from the first to the longest.
pub(crate) fn backoff(failures: u32, within: (Duration, Duration)) -> Duration {
    let longest = within.0.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(16))).min(within.1);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// Reads mounted certificates, and again whenever the files change.
async fn watch_files(files: &CertificateFiles, store: &SecretStore) {
    let paths = [&files.chain, &files.key, &files.root];
    let mut seen = None;
    loop {
        let now = Some(paths.map(|p| stamp(p)));
        if now != seen {
            match WorkloadCertificate::read(files) {
                Ok(certificate) => {
                    tracing::info!(chain = %files.chain.display(), "read mounted certificates");
                    store.put(certificate);
                    seen = now;
                }
                Err(error) => tracing::warn!(%error, "mounted certificates cannot be used"),
            }
        }
        tokio::time::sleep(FILE_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_grows_to_a_limit() {
        for failures in 1..40 {
            let longest = Duration::from_millis(500 << (failures - 1).min(10)).min(Duration::from_secs(30));
            let wait = backoff(failures, BACKOFF);
            assert!(wait >= longest / 2 && wait <= longest, "{failures}: {wait:?}");
        }
    }
}
