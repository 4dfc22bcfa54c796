// SPDX-License-Identifier: Apache-2.0
//! Tokens of service accounts: reviewed by the API server, and verified with the keys that it publishes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;
use tiphys_ca::authenticate::{KeySet, KubernetesTokenAuthenticator, ReviewError, ReviewedToken, TokenReviewer};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Where an API server publishes its keys and its name
/// (<https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>).
const KEYS: &str = "/openid/v1/jwks";
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Nobody waits longer for a review.
const REVIEW: Duration = Duration::from_secs(10);
/// Keys are read again after this time, sooner when they are wanted, but not more often than that.
const REFRESH: Duration = Duration::from_secs(3_600);
const SOONEST: Duration = Duration::from_secs(10);

/// Reviews by the API server.
pub struct ApiReviewer {
    api: Api<TokenReview>,
}

impl ApiReviewer {
    /// By a client that may create TokenReviews.
    pub fn new(client: Client) -> Self {
        Self { api: Api::all(client) }
    }
}

#[tonic::async_trait]
impl TokenReviewer for ApiReviewer {
    async fn review(&self, token: &str, audiences: &[String]) -> Result<ReviewedToken, ReviewError> {
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: Some(audiences.to_vec()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let unavailable = |why: String| ReviewError::Unavailable(why);
        let params = PostParams::default();
        let answer = timeout(REVIEW, self.api.create(&params, &review))
            .await
            .map_err(|_| unavailable(format!("no answer within {REVIEW:?}")))?
            .map_err(|error| unavailable(error.to_string()))?;
        let status = answer.status.unwrap_or_default();
        if let Some(error) = status.error.filter(|error| !error.is_empty()) {
            return Err(ReviewError::Refused(error));
        }
        if status.authenticated != Some(true) {
            return Err(ReviewError::Refused("the API server does not accept it".into()));
        }
        let user = status.user.unwrap_or_default();
        Ok(ReviewedToken {
            username: user.username.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.map(BTreeMap::from_iter).unwrap_or_default(),
            audiences: status.audiences.unwrap_or_default(),
        })
    }
}

/// Keeps the keys by which tokens are verified those of the API server.
pub async fn keep_keys(client: Client, authenticator: Arc<KubernetesTokenAuthenticator>) {
    loop {
        let read = Instant::now();
        match keys(&client).await {
            Ok((keys, issuer)) => {
                tracing::debug!("verifying tokens of {issuer} by its keys");
                if let Err(error) = authenticator.set_keys(keys, issuer) {
                    tracing::warn!("every token is reviewed: {error}");
                }
            }
            // Not every cluster lets its keys be read.
            Err(error) => tracing::info!("tokens are reviewed, not verified by the cluster's keys: {error:#}"),
        }
        tokio::select! {
            () = sleep(REFRESH) => {}
            () = authenticator.keys_wanted() => sleep_until(read + SOONEST).await,
        }
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

async fn keys(client: &Client) -> anyhow::Result<(KeySet, String)> {
    let text = |path: &'static str| async move {
        let request = http::Request::get(path).body(Vec::new())?;
        client.request_text(request).await.with_context(|| path)
    };
    let discovery: Discovery = serde_json::from_str(&text(DISCOVERY).await?).context(DISCOVERY)?;
    let keys = KeySet::from_jwks(&text(KEYS).await?).context(KEYS)?;
    Ok((keys, discovery.issuer))
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
