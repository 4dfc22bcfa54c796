// SPDX-License-Identifier: Apache-2.0
//! The cluster's default revision: the one that the webhook `istio-revision-tag-default` is of.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio_stream::StreamExt;

const WEBHOOK: &str = "istio-revision-tag-default";
const REVISION: &str = "istio.io/rev";

/// Follows the default revision for as long as it is polled.
pub async fn follow(client: Client, default: watch::Sender<Option<String>>) {
    let api: Api<PartialObjectMeta<MutatingWebhookConfiguration>> = Api::all(client);
    let mut changes = std::pin::pin!(watcher::watch_object(api, WEBHOOK).default_backoff());
    while let Some(change) = changes.next().await {
        match change {
            Ok(webhook) => {
                let revision = webhook.and_then(|webhook| webhook.labels().get(REVISION).cloned());
                default.send_if_modified(|known| {
                    let changed = *known != revision;
                    *known = revision;
                    changed
                });
            }
            Err(error) => tracing::debug!("webhook {WEBHOOK}: {error}"),
        }
    }
}
