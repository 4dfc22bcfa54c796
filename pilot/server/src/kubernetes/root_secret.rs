// SPDX-License-Identifier: Apache-2.0
//! The self-signed root in the Secret `istio-ca-secret`, which istiod reads and writes in the same form.
//!
//! Whoever comes first makes it; the API server lets one win, and the others take what is there. It is followed, so that all replicas sign
//! with the same key, and renewed with the same key before it expires.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use rand::Rng;
use time::OffsetDateTime;
use tiphys_ca::{Authority, BundleParts, CaError, RootOptions, SelfSignedRoot, SigningBundle};
use tokio::time::sleep;
use tokio_stream::StreamExt;

/// Where the root is kept, and where it may be kept instead.
const OWN: &str = "istio-ca-secret";
const CACERTS: &str = "cacerts";
/// The type of the Secret.
const TYPE: &str = "istio.io/ca-root";
/// Says in `cacerts` that no operator gave it.
const GENERATED: &str = "istio-generated";

const CA_CERT: &str = "ca-cert.pem";
const CA_KEY: &str = "ca-key.pem";
const CERT_CHAIN: &str = "cert-chain.pem";
const KEY: &str = "key.pem";
const ROOT_CERT: &str = "root-cert.pem";

/// How often and how long it is tried at the start.
const TRIES: u32 = 60;
const AGAIN: Duration = Duration::from_secs(2);

/// How the root is kept.
#[derive(Debug, Clone)]
pub struct RootSecretOptions {
    /// The control plane's namespace.
    pub namespace: String,
    /// What a new root is like.
    pub root: RootOptions,
    /// Whether it stands in `cacerts` where there is no `istio-ca-secret` (USE_CACERTS_FOR_SELF_SIGNED_CA).
    pub in_cacerts: bool,
    /// Percent of its life before its end at which it is renewed.
    pub grace: u8,
    /// Time between two looks; zero for never.
    pub interval: Duration,
    /// Whether replicas look at different times.
    pub jitter: bool,
}

/// The Secret.
pub struct RootSecret {
    api: Api<Secret>,
    options: RootSecretOptions,
    name: &'static str,
}

impl RootSecret {
    /// Reads the root, or makes it. A server that does not answer is waited for.
    ///
    /// # Errors
    /// When what is there cannot be used, or may not be read or written.
    pub async fn open(client: Client, options: RootSecretOptions) -> anyhow::Result<(Self, SigningBundle)> {
        let api: Api<Secret> = Api::namespaced(client, &options.namespace);
        let mut secret = Self { api, options, name: OWN };
        let mut tries = 0;
        loop {
            match secret.read_or_make().await {
                Ok(bundle) => return Ok((secret, bundle)),
                Err(error) if is_final(&error) || tries >= TRIES => return Err(error.context(secret.place())),
                Err(error) => tracing::warn!("{}: {error:#}; trying again", secret.place()),
            }
            tries += 1;
            sleep(AGAIN).await;
        }
    }

    fn place(&self) -> String {
        format!("Secret {}/{}", self.options.namespace, self.name)
    }

    async fn read_or_make(&mut self) -> anyhow::Result<SigningBundle> {
        self.name = OWN;
        if let Some(found) = self.api.get_opt(OWN).await? {
            return Ok(bundle(&found, &self.place())?);
        }
        if self.options.in_cacerts {
            self.name = CACERTS;
            if let Some(found) = self.api.get_opt(CACERTS).await? {
                return Ok(bundle(&found, &self.place())?);
            }
        }
        let root = SelfSignedRoot::generate(&self.options.root)?;
        let made = self.api.create(&PostParams::default(), &object(self.name, &self.options.namespace, &root)).await;
        match made {
            Ok(made) => {
                tracing::info!("made a self-signed root in {}", self.place());
                Ok(bundle(&made, &self.place())?)
            }
            // Another replica, or an istiod, was first: theirs counts.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let found = self.api.get_opt(self.name).await?.ok_or_else(|| anyhow!("it was deleted"))?;
                Ok(bundle(&found, &self.place())?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Follows the Secret and renews the root for as long as it is polled.
    pub async fn keep(self, authority: Arc<Authority>) {
        tokio::join!(self.follow(&authority), self.renew());
    }

    async fn follow(&self, authority: &Authority) {
        let mut changes = std::pin::pin!(watcher::watch_object(self.api.clone(), self.name).default_backoff());
        while let Some(change) = changes.next().await {
            match change {
                Ok(Some(secret)) => match bundle(&secret, &self.place()).and_then(|bundle| authority.adopt(bundle)) {
                    Ok(false) => {}
                    Ok(true) => tracing::info!("took over the root of {}", self.place()),
                    Err(error) => tracing::error!("the former root stays in force: {error}"),
                },
                // It is what the mesh trusts: it goes on, and whoever starts anew would make another one.
                Ok(None) => tracing::error!(
                    "{} was deleted: the root that it had stays in force until a restart; restore it",
                    self.place()
                ),
                Err(error) => tracing::debug!("{}: {error}", self.place()),
            }
        }
    }

    async fn renew(&self) {
        let Self { options, .. } = self;
        if options.interval.is_zero() {
            return;
        }
        if options.jitter {
            let share = rand::rng().random_range(0.0..1.0);
            sleep(options.interval.mul_f64(share)).await;
        }
        loop {
            match self.renew_if_due().await {
                Ok(false) => {}
                Ok(true) => tracing::info!("renewed the root in {}", self.place()),
                Err(error) => tracing::error!("cannot renew the root: {error:#}"),
            }
            sleep(options.interval).await;
        }
    }

    /// Renews the root when it is about to expire; everybody hears of it by [`RootSecret::follow`].
    async fn renew_if_due(&self) -> anyhow::Result<bool> {
        let Some(mut secret) = self.api.get_opt(self.name).await? else { bail!("{} is gone", self.place()) };
        let root = SelfSignedRoot { certificate: text(&secret, CA_CERT), key: text(&secret, CA_KEY) };
        if OffsetDateTime::now_utc() < root.renew_at(self.options.grace)? {
            return Ok(false);
        }
        let renewed = root.renew(&self.options.root)?;
        let data = secret.data.get_or_insert_default();
        let roots = format!("{}{}", renewed.certificate, root.certificate);
        data.insert(CA_CERT.into(), ByteString(renewed.certificate.into_bytes()));
        data.insert(ROOT_CERT.into(), ByteString(roots.into_bytes()));
        match self.api.replace(self.name, &PostParams::default(), &secret).await {
            Ok(_) => Ok(true),
            // Somebody else renewed it.
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(false),
            Err(error) => Err(error).context("writing it"),
        }
    }
}

/// Whether trying again is no use.
fn is_final(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.is_forbidden() || status.is_invalid(),
        Some(_) => false,
        None => error.downcast_ref::<CaError>().is_some(),
    }
}

fn text(secret: &Secret, name: &str) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(name));
    bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}

/// What signs by a Secret: its certificate is a root, and others may stand beside it that are still trusted.
fn bundle(secret: &Secret, place: &str) -> Result<SigningBundle, CaError> {
    let (certificate, key) = (text(secret, CA_CERT), text(secret, CA_KEY));
    let others = text(secret, ROOT_CERT);
    // istiod renews ca-cert.pem alone.
    let roots = if others.contains(certificate.trim()) { others } else { format!("{certificate}\n{others}") };
    let place = |name: &str| format!("{place} data[{name}]");
    let (certificate_place, key_place, root_place) = (place(CA_CERT), place(CA_KEY), place(ROOT_CERT));
    let parts = BundleParts {
        certificate: (&certificate, &certificate_place),
        key: (&key, &key_place),
        chain: None,
        roots: (&roots, &root_place),
    };
    tracing::debug!("read {} with resourceVersion {:?}", place(CA_CERT), secret.resource_version());
    SigningBundle::new(&parts)
}

/// The Secret of a new root, as istiod writes it.
fn object(name: &str, namespace: &str, root: &SelfSignedRoot) -> Secret {
    let entry = |name: &str, text: &str| (name.to_owned(), ByteString(text.as_bytes().to_vec()));
    let mut data = BTreeMap::from([
        entry(CA_CERT, &root.certificate),
        entry(CA_KEY, &root.key),
        entry(CERT_CHAIN, ""),
        entry(KEY, ""),
        entry(ROOT_CERT, &root.certificate),
    ]);
    if name == CACERTS {
        data.extend([entry(GENERATED, "")]);
    }
    let metadata = ObjectMeta { name: Some(name.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() };
    Secret { metadata, data: Some(data), type_: Some(TYPE.into()), ..Secret::default() }
}

#[cfg(test)]
#[path = "root_secret_tests.rs"]
mod tests;
