// SPDX-License-Identifier: Apache-2.0
//! Keeps the webhooks' configurations of this revision right: the roots by which the API server knows these webhooks, also after they were
//! rotated, and, for validation, that the API server refuses what it cannot have validated, from when validation answers.
//!
//! Both are written by server-side apply under a field manager of its own, and nothing else is: the chart leaves these fields out, so that
//! neither Helm nor a GitOps controller sees a difference between what it renders and what lives in the cluster
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>). A field that somebody else owns by intent, such as a caBundle from
//! the chart's values, is left to them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Error};
use serde_json::{Value as Json, json};
use tiphys_api::names::label;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_stream::StreamExt;

use crate::metrics::WebhookMetrics;
use crate::validation::ALWAYS_REJECT;

/// The field manager.
pub const MANAGER: &str = "tiphys-webhooks";
/// istiod's, whose place this takes.
const ISTIOD: &str = "pilot-discovery";
/// Waiting times after what failed: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// Which webhooks a configuration has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Those that inject.
    Mutating,
    /// Those that validate.
    Validating,
}

impl Kind {
    fn resource(self) -> ApiResource {
        match self {
            Self::Mutating => ApiResource::erase::<MutatingWebhookConfiguration>(&()),
            Self::Validating => ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
        }
    }

    /// Whether a webhook is one of the mesh's.
    fn has(self, name: &str) -> bool {
        name.ends_with(match self {
            Self::Mutating => "sidecar-injector.istio.io",
            Self::Validating => "validation.istio.io",
        })
    }
}

/// Keeps configurations right.
pub struct Registration {
    /// The cluster.
    pub client: Client,
    /// The namespace of the control plane.
    pub namespace: String,
    /// Its revision; configurations with this value of the label istio.io/rev are its own.
    pub revision: String,
    /// The roots that the webhooks' certificate leads to, in PEM.
    pub roots: watch::Receiver<Arc<str>>,
    /// Counts.
    pub metrics: WebhookMetrics,
}

/// Versions of configurations.
type Warned = BTreeMap<(Kind, String), String>;

/// What came of a trial whether a refusal of these webhooks arrives at who asks the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trial {
    /// It does.
    Obeyed,
    /// Without Istio's kinds there is nothing to refuse.
    NothingToRefuse,
    /// What had to be refused was taken.
    LetThrough,
    /// The API server says something else.
    Unknown(String),
}

impl Trial {
    fn log(&self) {
        match self {
            Self::NothingToRefuse => {}
            Self::Obeyed => {
                tracing::info!(target: "webhook", "validation answers: from now on what it cannot check is refused");
            }
            Self::LetThrough => {
                tracing::info!(target: "webhook", "validation does not answer yet: what it cannot check is let through");
            }
            Self::Unknown(error) => {
                tracing::warn!(target: "webhook", "whether validation answers cannot be told: {error}");
            }
        }
    }
}

/// What is known while this replica leads.
struct State {
    configurations: BTreeMap<(Kind, String), Json>,
    /// What came of the last trial whether the API server obeys a refusal of these webhooks.
    trial: Option<Trial>,
    /// What was said of caBundles of others: the version by configuration.
    warned: Warned,
    /// When to try again, and how long that took to wait.
    retry: Option<(Instant, Duration)>,
}

impl State {
    /// The API server was seen to obey a refusal of these webhooks.
    fn answers(&self) -> bool {
        matches!(self.trial, Some(Trial::Obeyed | Trial::NothingToRefuse))
    }
}

impl Registration {
    /// Works while `leads` says true, and never ends.
    pub async fn run(mut self, mut leads: watch::Receiver<bool>) {
        loop {
            if leads.wait_for(|leads| *leads).await.is_err() {
                return std::future::pending().await;
            }
            tokio::select! {
                () = self.follow() => {}
                // Where nobody elects, this replica leads for ever.
                Ok(_) = leads.wait_for(|leads| !*leads) => {}
            }
        }
    }

    async fn follow(&mut self) {
        let revision = if self.revision.is_empty() { "default" } else { &self.revision };
        let wanted = watcher::Config::default().labels(&format!("{}={revision}", label::REV));
        let events = |kind: Kind| {
            let resource = kind.resource();
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            watcher(api, wanted.clone()).default_backoff().map(move |event| (kind, event))
        };
        let mut events = pin!(events(Kind::Mutating).merge(events(Kind::Validating)));
        let mut state = State { configurations: BTreeMap::new(), trial: None, warned: BTreeMap::new(), retry: None };
        loop {
            let due = state.retry.map_or_else(|| Instant::now() + RETRY.1, |(due, _)| due);
            tokio::select! {
                Some((kind, event)) = events.next() => match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                        let name = object.metadata.name.clone().unwrap_or_default();
                        match serde_json::to_value(&object) {
                            Ok(object) => drop(state.configurations.insert((kind, name), object)),
                            Err(error) => tracing::error!(target: "webhook", "{name}: {error}"),
                        }
                    }
                    Ok(watcher::Event::Delete(object)) => {
                        state.configurations.remove(&(kind, object.metadata.name.unwrap_or_default()));
                    }
                    Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                    Err(error) => {
                        tracing::warn!(target: "webhook", "webhook configurations: {error}");
                        continue;
                    }
                },
                Ok(()) = self.roots.changed() => {}
                () = sleep_until(due), if state.retry.is_some() => {}
            }
            self.work(&mut state).await;
        }
    }

    /// Brings all configurations to what they have to be.
    async fn work(&mut self, state: &mut State) {
        let roots = self.roots.borrow_and_update().clone();
        let bundle = STANDARD.encode(roots.as_bytes());
        let ignored = |state: &State| {
            let validating = state.configurations.iter().filter(|((kind, _), _)| *kind == Kind::Validating);
            validating.flat_map(|(_, object)| webhooks(object)).any(|w| w["failurePolicy"] == "Ignore")
        };
        let mut again = false;
        // First the roots, without which no refusal can arrive, then the question whether one does.
        for asked in [false, true] {
            if asked {
                if state.answers() || !ignored(state) {
                    break;
                }
                let trial = Some(self.trial().await);
                if state.trial != trial {
                    trial.iter().for_each(Trial::log);
                    state.trial = trial;
                }
                again |= !state.answers();
            }
            let answers = state.answers();
            for (key, object) in &mut state.configurations {
                if !asked {
                    self.warn_of_others(key, object, &bundle, &mut state.warned);
                }
                if let Some(patch) = plan(key.0, object, &bundle, answers) {
                    match self.apply(key, &patch).await {
                        // The watch tells it too, but later.
                        Some(applied) => *object = applied,
                        None => again = true,
                    }
                }
            }
        }
        state.retry = again.then(|| {
            let wait = state.retry.map_or(RETRY.0, |(_, wait)| (wait * 2).min(RETRY.1));
            (Instant::now() + wait, wait)
        });
    }

    /// Says once of each version of a configuration which caBundles stay as others set them although these webhooks do not lead to them.
    fn warn_of_others(&self, (kind, name): &(Kind, String), object: &Json, bundle: &str, warned: &mut Warned) {
        let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let named = webhooks(object).filter(|webhook| webhook["clientConfig"]["caBundle"] != bundle);
        let named = named.filter(|webhook| !webhook["clientConfig"]["url"].is_string());
        let named = named.filter_map(|webhook| webhook["name"].as_str());
        let others: Vec<&str> =
            named.filter(|webhook| kind.has(webhook) && belongs_to_another(object, webhook)).collect();
        let known = warned.insert((*kind, name.clone()), version.to_owned());
        if !others.is_empty() && known.is_none_or(|known| known != version) {
            tracing::warn!(
                target: "webhook",
                "{kind:?}WebhookConfiguration {name}: somebody else owns the caBundle of {}, which has not the roots of this control plane: it \
                 is left alone, and the API server may not reach these webhooks",
                others.join(", ")
            );
        }
    }

    /// Applies a patch, and gives what the configuration is then.
    async fn apply(&self, (kind, name): &(Kind, String), patch: &Json) -> Option<Json> {
        self.metrics.patches.with_label_values(&[name]).inc();
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind.resource());
        let done = api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await;
        match done {
            Ok(applied) => {
                if *kind == Kind::Validating {
                    self.metrics.validator_updates.inc();
                }
                tracing::info!(target: "webhook", "{kind:?}WebhookConfiguration {name}: brought up to date");
                serde_json::to_value(&applied).ok()
            }
            // Somebody was faster: the watch brings what there is now.
            Err(Error::Api(status)) if status.code == 409 => {
                self.metrics.patch_retries.with_label_values(&[name]).inc();
                None
            }
            Err(error) => {
                let reason = if let Error::Api(status) = &error { status.reason.clone() } else { "unknown".to_owned() };
                self.metrics.patch_failures.with_label_values(&[name, &reason]).inc();
                if *kind == Kind::Validating {
                    self.metrics.validator_errors.with_label_values(&[&reason]).inc();
                }
                tracing::error!(target: "webhook", "{kind:?}WebhookConfiguration {name}: {error}");
                None
            }
        }
    }

    /// Makes an object for trial that these webhooks always refuse.
    async fn trial(&self) -> Trial {
        let revision = if self.revision.is_empty() { "default" } else { &self.revision };
        let resource = ApiResource {
            group: "networking.istio.io".to_owned(),
            version: "v1".to_owned(),
            api_version: "networking.istio.io/v1".to_owned(),
            kind: "Gateway".to_owned(),
            plural: "gateways".to_owned(),
        };
        let trial = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {
                "name": format!("tiphys-trial-of-validation-{revision}"), "namespace": self.namespace,
                "labels": { label::REV: revision }, "annotations": { ALWAYS_REJECT: "true" }
            },
            "spec": {"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}
        });
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let trial = match serde_json::from_value(trial) {
            Ok(trial) => trial,
            Err(error) => return Trial::Unknown(error.to_string()),
        };
        match api.create(&PostParams { dry_run: true, ..PostParams::default() }, &trial).await {
            Ok(_) => Trial::LetThrough,
            Err(Error::Api(status)) if status.message.contains("denied the request") => Trial::Obeyed,
            Err(Error::Api(status)) if status.code == 404 => Trial::NothingToRefuse,
            Err(error) => Trial::Unknown(error.to_string()),
        }
    }
}

fn webhooks(object: &Json) -> impl Iterator<Item = &Json> {
    object["webhooks"].as_array().into_iter().flatten()
}

/// What to apply to a configuration; none when it is as it has to be.
fn plan(kind: Kind, object: &Json, bundle: &str, answers: bool) -> Option<Json> {
    let mut differs = false;
    let mut entries = Vec::new();
    for webhook in webhooks(object) {
        let name = webhook["name"].as_str().unwrap_or_default();
        // One that is reached by URL is another control plane's.
        if !kind.has(name) || webhook["clientConfig"]["url"].is_string() {
            continue;
        }
        let mut entry = json!({ "name": name });
        if !belongs_to_another(object, name) {
            differs |= webhook["clientConfig"]["caBundle"] != bundle;
            entry["clientConfig"] = json!({ "caBundle": bundle });
        }
        let fails = webhook["failurePolicy"] == "Fail";
        if kind == Kind::Validating && (answers || fails) {
            differs |= !fails;
            entry["failurePolicy"] = "Fail".into();
        }
        if entry.as_object().is_some_and(|entry| entry.len() > 1) {
            entries.push(entry);
        }
    }
    differs.then(|| {
        let meta = &object["metadata"];
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": format!("{kind:?}WebhookConfiguration"),
            // With the version nothing is made anew that was deleted, nor written over what is newer.
            "metadata": { "name": meta["name"], "resourceVersion": meta["resourceVersion"] },
            "webhooks": entries,
        })
    })
}

/// Whether the caBundle of a webhook is somebody else's on purpose.
fn belongs_to_another(object: &Json, webhook: &str) -> bool {
    let key = format!("k:{{\"name\":\"{webhook}\"}}");
    let managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut others = managers.filter(|entry| entry["manager"] != MANAGER && entry["manager"] != ISTIOD);
    others.any(|entry| entry["fieldsV1"]["f:webhooks"][&key]["f:clientConfig"].get("f:caBundle").is_some())
}

#[cfg(test)]
mod tests;
