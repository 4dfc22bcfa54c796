// SPDX-License-Identifier: Apache-2.0
//! Which revisions and tags are this control plane's
//! (<https://istio.io/latest/docs/setup/upgrade/canary/#stable-revision-labels>): of several control planes of one cluster one tells an object
//! about itself, the one that the label `istio.io/rev` of the object or of its namespace names, or else the default one.
//!
//! The way of the data: [`follow`] watches the webhooks' configurations and the Services that are tags, and gives [`Tags`] whenever they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Service;
use kube::api::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tiphys_api::names::label;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt};

/// The webhook whose revision is the default one where no tag says so.
const DEFAULT_VALIDATOR: &str = "istiod-default-validator";
/// The tag of the default revision.
const DEFAULT: &str = "default";
/// What makes a webhook configuration or a Service a tag: its name.
const TAG: &str = "istio.io/tag";

/// What is a revision's or a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// A configuration of webhooks that inject.
    Webhook,
    /// A Service of the control plane's namespace.
    Service,
    /// The default validator.
    Validator,
}

/// A revision and perhaps a tag of it.
type Labels = (String, Option<String>);

/// Revisions and tags that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    own: String,
    known: Known,
    /// The kinds that were not read completely yet: as long as there is one, nobody knows what is this control plane's.
    missing: BTreeSet<Origin>,
}

type Known = BTreeMap<(Origin, String), Labels>;

impl Tags {
    /// Those of a cluster of which nothing is known yet.
    pub fn new(revision: &str) -> Self {
        let own = if revision.is_empty() { DEFAULT } else { revision };
        let missing = BTreeSet::from([Origin::Webhook, Origin::Service, Origin::Validator]);
        Self { own: own.to_owned(), known: Known::new(), missing }
    }

    /// Whether an object is this control plane's, by the label that it or its namespace has.
    pub fn are_of(&self, label: Option<&str>) -> bool {
        let known = self.missing.is_empty();
        known && label.filter(|label| !label.is_empty()).map_or_else(|| self.is_default(), |label| self.is_own(label))
    }

    fn is_own(&self, name: &str) -> bool {
        self.own == name || self.tags().any(|(revision, tag)| *revision == self.own && tag == name)
    }

    fn tags(&self) -> impl Iterator<Item = (&String, &String)> {
        let tags = self.known.iter().filter(|((from, _), _)| *from != Origin::Validator);
        tags.filter_map(|(_, (revision, tag))| Some((revision, tag.as_ref()?)))
    }

    /// Whether what names no revision is this control plane's: it is the default one, or there is no other.
    fn is_default(&self) -> bool {
        if self.is_own(DEFAULT) {
            return true;
        }
        if self.tags().any(|(_, tag)| tag == DEFAULT) {
            return false;
        }
        let of = |wanted: Origin| {
            self.known.iter().filter(move |((from, _), _)| *from == wanted).map(|(_, labels)| &labels.0)
        };
        of(Origin::Validator).any(|revision| *revision == self.own)
            || of(Origin::Webhook).all(|revision| *revision == self.own)
    }
}

/// Follows the tags of a cluster for as long as it is polled.
pub async fn follow(client: Client, namespace: String, tags: watch::Sender<Tags>) {
    let labels = || watcher::Config::default().labels(label::REV);
    let named = watcher::Config::default().fields(&format!("metadata.name={DEFAULT_VALIDATOR}"));
    let webhooks: Api<PartialObjectMeta<MutatingWebhookConfiguration>> = Api::all(client.clone());
    let services: Api<PartialObjectMeta<Service>> = Api::namespaced(client.clone(), &namespace);
    let validators: Api<PartialObjectMeta<ValidatingWebhookConfiguration>> = Api::all(client);
    let webhooks = events(webhooks, labels(), Origin::Webhook);
    let services = events(services, labels(), Origin::Service);
    let validators = events(validators, named, Origin::Validator);
    let mut events = pin!(webhooks.merge(services).merge(validators));
    let mut coming = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => drop(tags.send_if_modified(|tags| {
                let before = tags.clone();
                tags.note(&mut coming, event);
                *tags != before
            })),
            Err(error) => tracing::warn!("revision tags: {error}: what is known of them stays"),
        }
    }
}

fn events<K>(
    api: Api<PartialObjectMeta<K>>,
    config: watcher::Config,
    origin: Origin,
) -> impl Stream<Item = watcher::Result<Said>> + Send
where
    K: Send + 'static,
    PartialObjectMeta<K>: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher(api, config).default_backoff().map(move |event| event.map(|event| said(origin, event)))
}

/// What an event of a kind says.
enum Said {
    /// An object is there.
    Put(Origin, String, Labels),
    /// It is not.
    Gone(Origin, String),
    /// A list begins.
    Begin(Origin),
    /// An object is in the list.
    Listed(Origin, String, Labels),
    /// The list is complete.
    End(Origin),
}

fn said<K>(from: Origin, event: watcher::Event<PartialObjectMeta<K>>) -> Said
where
    PartialObjectMeta<K>: Resource<DynamicType = ()>,
{
    let labels = |object: &PartialObjectMeta<K>| -> Labels {
        let labels = object.labels();
        (labels.get(label::REV).cloned().unwrap_or_default(), labels.get(TAG).cloned())
    };
    match event {
        watcher::Event::Apply(object) => Said::Put(from, object.name_any(), labels(&object)),
        watcher::Event::Delete(object) => Said::Gone(from, object.name_any()),
        watcher::Event::Init => Said::Begin(from),
        watcher::Event::InitApply(object) => Said::Listed(from, object.name_any(), labels(&object)),
        watcher::Event::InitDone => Said::End(from),
    }
}

impl Tags {
    /// Takes what is said; `coming` is what lists that are not complete had so far.
    fn note(&mut self, coming: &mut Known, said: Said) {
        let known = &mut self.known;
        match said {
            Said::Put(from, name, labels) => drop(known.insert((from, name), labels)),
            Said::Gone(from, name) => drop(known.remove(&(from, name))),
            Said::Begin(from) => coming.retain(|(of, _), _| *of != from),
            Said::Listed(from, name, labels) => drop(coming.insert((from, name), labels)),
            Said::End(from) => {
                known.retain(|(of, _), _| *of != from);
                let listed = std::mem::take(coming).into_iter().partition(|((of, _), _)| *of == from);
                let (listed, others): (Known, Known) = listed;
                known.extend(listed);
                *coming = others;
                self.missing.remove(&from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(own: &str, known: &[(Origin, &str, &str)]) -> Tags {
        let mut tags = Tags::new(own);
        assert!(!tags.are_of(None) && !tags.are_of(Some(own)), "nothing is known yet");
        tags.missing.clear();
        for (index, (from, revision, tag)) in known.iter().enumerate() {
            let tag = Some((*tag).to_owned()).filter(|tag| !tag.is_empty());
            tags.known.insert((*from, index.to_string()), ((*revision).to_owned(), tag));
        }
        tags
    }

    #[test]
    fn objects_are_of_the_revision_or_tag_that_they_name() {
        let known = [
            (Origin::Webhook, "blue", "prod"),
            (Origin::Service, "blue", "stable"),
            (Origin::Webhook, "green", "next"),
        ];
        let blue = tags("blue", &known);
        for (label, expected) in [("blue", true), ("prod", true), ("stable", true), ("green", false), ("next", false)] {
            assert_eq!(blue.are_of(Some(label)), expected, "{label}");
        }
        assert!(tags("", &[]).are_of(Some("default")) && !tags("", &[]).are_of(Some("blue")));
    }

    #[test]
    fn what_names_none_is_of_the_default_one() {
        let of = |own: &str, known: &[(Origin, &str, &str)]| tags(own, known).are_of(None);
        assert!(of("", &[(Origin::Webhook, "blue", "")]), "the revision is called so");
        let tagged =
            [(Origin::Webhook, "blue", ""), (Origin::Webhook, "green", ""), (Origin::Webhook, "green", "default")];
        assert!(of("green", &tagged) && !of("blue", &tagged));
        // The tag goes before the validator.
        let both = [tagged.as_slice(), &[(Origin::Validator, "blue", "")]].concat();
        assert!(of("green", &both) && !of("blue", &both));
        let validator =
            [(Origin::Webhook, "blue", ""), (Origin::Webhook, "green", ""), (Origin::Validator, "blue", "")];
        assert!(of("blue", &validator) && !of("green", &validator));
        // Who is alone has all, whatever the base chart took for the default.
        assert!(of("blue", &[(Origin::Webhook, "blue", ""), (Origin::Validator, "default", "")]));
        assert!(!of("blue", &[(Origin::Webhook, "blue", ""), (Origin::Webhook, "green", "")]));
    }

    #[test]
    fn a_list_replaces_what_was_known_of_its_kind() {
        let labels = |revision: &str| (revision.to_owned(), None);
        let (mut tags, mut coming) = (Tags::new("a"), Known::new());
        let mut say = |said| tags.note(&mut coming, said);
        say(Said::Put(Origin::Service, "s".into(), labels("a")));
        say(Said::Put(Origin::Webhook, "w".into(), labels("a")));
        say(Said::Begin(Origin::Webhook));
        say(Said::Listed(Origin::Webhook, "v".into(), labels("b")));
        say(Said::End(Origin::Webhook));
        say(Said::Gone(Origin::Service, "s".into()));
        assert_eq!(tags.known, Known::from([((Origin::Webhook, "v".into()), labels("b"))]));
        assert_eq!(tags.missing, BTreeSet::from([Origin::Service, Origin::Validator]));
    }
}
