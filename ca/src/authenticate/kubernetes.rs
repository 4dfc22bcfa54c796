// SPDX-License-Identifier: Apache-2.0
//! Callers with a service account token of the Kubernetes cluster.
//!
//! The way of a token:
//!
//! 1. With the cluster's public keys, what is forged, expired or meant for someone else is refused at once, without asking the API server.
//! 2. A token that is good by the keys and bound to a pod that is known to live is accepted: its pod is what would call it back.
//! 3. Any other token is shown to the API server (TokenReview), which also knows of tokens that were called back. The answer is remembered by
//!    the hash of the token for a short time, because a proxy shows the same token for certificates and for configuration.
//! 4. When the API server cannot be reached, the verdict of the keys stands: running workloads keep their certificates.

use super::jwt::MAX_TOKEN_BYTES;
use super::{
    AuthenticationError, Authenticator, Caller, Credentials, JwtAuthenticator, KeySet, PodReference, TokenError,
};
use crate::{CaError, SpiffeId};
use arc_swap::ArcSwapOption;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const NAME: &str = "service account token";
/// How long an accepted and a refused token is remembered.
const ACCEPTED: Duration = Duration::from_secs(30);
const REFUSED: Duration = Duration::from_secs(5);
/// How many tokens are remembered at most.
const REMEMBERED: usize = 50_000;

const GROUP: &str = "system:serviceaccounts";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// What a TokenReview says of a token that is valid
/// (<https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewedToken {
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub username: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Facts about the token, by key.
    pub extra: BTreeMap<String, Vec<String>>,
    /// The audiences asked for that the token has.
    pub audiences: Vec<String>,
}

/// Why there is no [`ReviewedToken`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// The token is not valid.
    #[error("{0}")]
    Refused(String),
    /// Nobody could say.
    #[error("the API server cannot review tokens: {0}")]
    Unavailable(String),
}

/// Reviews tokens: the API server.
#[tonic::async_trait]
pub trait TokenReviewer: Send + Sync {
    /// Who holds this token for one of these audiences.
    ///
    /// # Errors
    /// When the token is not valid, or when that cannot be found out.
    async fn review(&self, token: &str, audiences: &[String]) -> Result<ReviewedToken, ReviewError>;
}

/// Knows the pods that live.
pub trait LivePods: Send + Sync {
    /// Whether a pod of this namespace, name and UID is there.
    fn lives(&self, namespace: &str, pod: &PodReference) -> bool;
}

/// Settings of a [`KubernetesTokenAuthenticator`].
pub struct KubernetesTokenOptions {
    /// Accepted audiences (TOKEN_AUDIENCES; Istio's is `istio-ca`).
    pub audiences: Vec<String>,
    /// The trust domain of the identities.
    pub trust_domain: String,
    /// The API server.
    pub reviewer: Arc<dyn TokenReviewer>,
    /// The pods that live, if somebody knows them.
    pub pods: Option<Arc<dyn LivePods>>,
}

type Verdict = Result<Caller, String>;

/// Accepts service account tokens of a cluster.
pub struct KubernetesTokenAuthenticator {
    options: KubernetesTokenOptions,
    keys: ArcSwapOption<JwtAuthenticator>,
    keys_wanted: Notify,
    remembered: Mutex<HashMap<[u8; 32], (Instant, Verdict)>>,
}

impl KubernetesTokenAuthenticator {
    /// Without keys at first: until [`KubernetesTokenAuthenticator::set_keys`] every token is reviewed.
    ///
    /// # Errors
    /// When there is no audience: a token for someone else would pass.
    pub fn new(options: KubernetesTokenOptions) -> Result<Self, CaError> {
        if options.audiences.is_empty() {
            return Err(CaError::Settings("accepting tokens needs at least one audience (TOKEN_AUDIENCES)".into()));
        }
        Ok(Self { options, keys: ArcSwapOption::empty(), keys_wanted: Notify::new(), remembered: Mutex::default() })
    }

    /// Verifies with the cluster's keys from now on.
    ///
    /// # Errors
    /// As [`JwtAuthenticator::new`].
    pub fn set_keys(&self, keys: KeySet, issuer: String) -> Result<(), CaError> {
        let (audiences, domain) = (self.options.audiences.clone(), self.options.trust_domain.clone());
        self.keys.store(Some(Arc::new(JwtAuthenticator::new(keys, audiences, Some(issuer), domain)?)));
        Ok(())
    }

    /// Comes when a token was shown that none of the keys signed: the cluster may have others by now.
    pub async fn keys_wanted(&self) {
        self.keys_wanted.notified().await;
    }

    async fn verdict(&self, token: &str) -> Verdict {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("longer than a token can be".into());
        }
        let by_keys = match self.keys.load().as_ref().map(|keys| keys.verify(token)) {
            Some(Ok(caller)) if self.is_bound_to_a_live_pod(&caller) => {
                return Ok(Caller { authenticator: NAME, ..caller });
            }
            Some(Ok(caller)) => Some(caller),
            Some(Err(TokenError::Refused(reason))) => return Err(reason),
            Some(Err(TokenError::Unknown(_))) => {
                self.keys_wanted.notify_one();
                None
            }
            None => None,
        };
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(verdict) = self.recall(&hash) {
            return verdict;
        }
        let verdict = match self.options.reviewer.review(token, &self.options.audiences).await {
            Ok(reviewed) => self.caller(&reviewed),
            Err(ReviewError::Refused(reason)) => Err(reason),
            Err(error @ ReviewError::Unavailable(_)) => {
                let Some(caller) = by_keys else { return Err(error.to_string()) };
                tracing::warn!(target: "security", %error, "a token is accepted by the cluster's keys alone");
                return Ok(Caller { authenticator: NAME, ..caller });
            }
        };
        self.remember(hash, verdict.clone());
        verdict
    }

    fn is_bound_to_a_live_pod(&self, caller: &Caller) -> bool {
        let (Some(pods), Some(pod), Some(identity)) = (&self.options.pods, &caller.pod, caller.identities.first())
        else {
            return false;
        };
        !pod.uid.is_empty() && pods.lives(identity.namespace(), pod)
    }

    /// The caller of a review. See `ServiceAccountInfo` of Kubernetes for the form of the user.
    fn caller(&self, reviewed: &ReviewedToken) -> Verdict {
        if !reviewed.audiences.iter().any(|a| self.options.audiences.contains(a)) {
            return Err(format!("the token is for {:?}, not for {:?}", reviewed.audiences, self.options.audiences));
        }
        if !reviewed.groups.iter().any(|group| group == GROUP) {
            return Err(format!("{} is no service account", reviewed.username));
        }
        let parts: Vec<&str> = reviewed.username.split(':').collect();
        let ["system", "serviceaccount", namespace, account] = parts.as_slice() else {
            return Err(format!("{} is no service account", reviewed.username));
        };
        let identity =
            SpiffeId::new(&self.options.trust_domain, namespace, account).map_err(|error| error.to_string())?;
        let extra = |key: &str| reviewed.extra.get(key).and_then(|values| values.first()).cloned();
        let pod = extra(POD_NAME).map(|name| PodReference { name, uid: extra(POD_UID).unwrap_or_default() });
        Ok(Caller { identities: vec![identity], authenticator: NAME, pod })
    }

    fn recall(&self, hash: &[u8; 32]) -> Option<Verdict> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, verdict) = remembered.get(hash)?;
        (Instant::now() < *until).then(|| verdict.clone())
    }

    fn remember(&self, hash: [u8; 32], verdict: Verdict) {
        let now = Instant::now();
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, (until, _)| now < *until);
        }
        // Still full: somebody makes up tokens. They are reviewed, not remembered.
        if remembered.len() < REMEMBERED {
            let life = if verdict.is_ok() { ACCEPTED } else { REFUSED };
            remembered.insert(hash, (now + life, verdict));
        }
    }
}

#[tonic::async_trait]
impl Authenticator for KubernetesTokenAuthenticator {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Caller>, AuthenticationError> {
        let Some(token) = &credentials.bearer else { return Ok(None) };
        self.verdict(token).await.map(Some).map_err(|reason| AuthenticationError { authenticator: NAME, reason })
    }
}

#[cfg(test)]
#[path = "kubernetes_tests.rs"]
mod tests;
