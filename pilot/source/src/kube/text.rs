// SPDX-License-Identifier: Apache-2.0
//! One text of a ConfigMap that is watched, such as MeshConfig.

use std::path::{Path, PathBuf};
use std::pin::pin;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_stream::StreamExt;
use tokio_util::task::AbortOnDropHandle;

use super::health::text_of;
use super::watch::Wait;
use crate::dir::Text;

/// A text of a ConfigMap.
pub struct ConfigMapText {
    place: PathBuf,
    texts: watch::Receiver<Option<Text>>,
    last: Option<Text>,
    _watching: AbortOnDropHandle<()>,
}

impl ConfigMapText {
    /// Starts watching. The ConfigMap need not exist.
    pub fn watch(client: Client, namespace: &str, name: &str, key: &str) -> Self {
        let place = PathBuf::from(format!("ConfigMap {namespace}/{name} data.{key}"));
        let (told, texts) = watch::channel(None);
        let follow = follow(Api::namespaced(client, namespace), name.to_owned(), key.to_owned(), told);
        Self { place, texts, last: None, _watching: AbortOnDropHandle::new(tokio::spawn(follow)) }
    }

    /// What stands for it in reports.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The text: at the first call what it is, as soon as the API server says it, then what it became, once it differs from what was told last.
    /// No change is lost when the caller drops the future and asks again.
    pub async fn next(&mut self) -> Text {
        loop {
            let text = self.texts.borrow_and_update().clone();
            if let Some(now) = text.filter(|now| self.last.as_ref() != Some(now)) {
                self.last = Some(now.clone());
                return now;
            }
            if self.texts.changed().await.is_err() {
                // The watch only ends with this.
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn follow(api: Api<ConfigMap>, name: String, key: String, told: watch::Sender<Option<Text>>) {
    let mut events = pin!(watch_object(api, &name));
    let mut wait = Wait::default();
    let mut said = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(object) => {
                (wait, said) = (Wait::default(), false);
                let text = object.and_then(|mut object| object.data.as_mut()?.remove(&key));
                told.send_replace(Some(text.map_or(Text::Missing, Text::Is)));
            }
            Err(error) => {
                let text = text_of(&error);
                match std::mem::replace(&mut said, true) {
                    true => tracing::debug!(target: "kube", "ConfigMap {name}: {text}"),
                    false => {
                        tracing::warn!(target: "kube", "ConfigMap {name}: {text}: what is known of it stays in force")
                    }
                }
                sleep(wait.next()).await;
            }
        }
    }
}
