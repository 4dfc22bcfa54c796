// SPDX-License-Identifier: Apache-2.0
//! Opens who signs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tiphys_api::mesh::MeshConfig;
use tiphys_ca::folder::{self, FolderKind};
use tiphys_ca::{
    Authority, AuthorityOptions, RegistrationAuthority, RegistrationOptions, RootOptions, SignerRoots, Signing,
};
use tokio::sync::watch;

use super::TrustInputs;
use crate::kubernetes::Cluster;
use crate::kubernetes::root_secret::{RootSecret, RootSecretOptions};
use crate::kubernetes::signer::KubernetesSigner;
use crate::tasks::Tasks;
use crate::writer::Published;

/// A root that is mounted for signers of Kubernetes.
const EXTERNAL_ROOT: &str = "./etc/external-ca-cert/root-cert.pem";
/// The root of the cluster's own signers.
const CLUSTER_ROOT: &str = "./var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
/// In a mounted `cacerts`: no operator gave it.
const GENERATED: &str = "istio-generated";

/// Who signs; none when nobody does here.
pub async fn open(
    inputs: &TrustInputs<'_>,
    roots: &SignerRootsKeeper,
    tasks: &mut Tasks,
) -> anyhow::Result<Option<Signing>> {
    if !inputs.settings.ca_server && inputs.args.transport.ca_cert_file.is_some() {
        return Ok(None);
    }
    match (inputs.settings.identity.kubernetes_signs, inputs.cluster) {
        (true, Some(cluster)) => Ok(Some(registration(inputs, cluster, roots, tasks)?)),
        (true, None) => bail!("EXTERNAL_CA=ISTIOD_RA_KUBERNETES_API needs a Kubernetes cluster"),
        (false, cluster) => {
            let authority = authority(inputs, cluster, tasks).await?;
            let keeper = authority.clone();
            tasks.spawn("root rotation", async move {
                keeper.run().await;
                Ok(())
            });
            Ok(Some(Signing::Own(authority)))
        }
    }
}

async fn authority(
    inputs: &TrustInputs<'_>,
    cluster: Option<&Cluster>,
    tasks: &mut Tasks,
) -> anyhow::Result<Arc<Authority>> {
    const FLAG: &str = "certificate authority (--ca-dir)";
    let options = AuthorityOptions { domains: inputs.domains(), lifetimes: inputs.lifetimes() };
    let dir = &inputs.args.ca_dir;
    let identity = &inputs.settings.identity;
    let generated = identity.root_in_cacerts && dir.join(GENERATED).exists();
    match (folder::kind(dir), cluster) {
        (FolderKind::Given | FolderKind::OwnRoot, _) if !generated && is_given(dir, cluster) => {
            let authority = Arc::new(Authority::from_cacerts(dir, options).context(FLAG)?);
            follow(&authority, dir, tasks);
            Ok(authority)
        }
        (_, Some(cluster)) => {
            let (secret, bundle) = RootSecret::open(cluster.client.clone(), secret_options(inputs)).await?;
            let authority = Arc::new(Authority::new(bundle, options)?);
            let keeper = authority.clone();
            tasks.spawn("self-signed root", async move {
                secret.keep(keeper).await;
                Ok(())
            });
            Ok(authority)
        }
        (_, None) => {
            let root = root_options(inputs);
            let authority = Arc::new(Authority::self_signed(dir, &root, options).context(FLAG)?);
            follow(&authority, dir, tasks);
            keep_root(inputs, root, tasks);
            Ok(authority)
        }
    }
}

/// In a cluster whatever is mounted was given; in a folder of our own a root without a chain was made by us.
fn is_given(dir: &Path, cluster: Option<&Cluster>) -> bool {
    folder::kind(dir) == FolderKind::Given || cluster.is_some()
}

fn follow(authority: &Arc<Authority>, dir: &Path, tasks: &mut Tasks) {
    let (authority, dir) = (authority.clone(), dir.to_owned());
    tasks.spawn("CA certificates", async move {
        folder::watch(authority, dir).await;
        Ok(())
    });
}

/// Renews the self-signed root of a folder before it expires; it is then taken over like any other change of the folder.
fn keep_root(inputs: &TrustInputs<'_>, root: RootOptions, tasks: &mut Tasks) {
    let identity = &inputs.settings.identity;
    let (dir, grace, interval) = (inputs.args.ca_dir.clone(), identity.root_grace, identity.root_interval);
    if interval.is_zero() {
        return;
    }
    tasks.spawn("self-signed root", async move {
        loop {
            tokio::time::sleep(interval.max(Duration::from_secs(1))).await;
            match folder::renew_root(&dir, &root, grace) {
                Ok(false) => {}
                Ok(true) => tracing::info!("renewed the self-signed root in {}", dir.display()),
                Err(error) => tracing::error!("cannot renew the self-signed root: {error}"),
            }
        }
    });
}

fn root_options(inputs: &TrustInputs<'_>) -> RootOptions {
    let identity = &inputs.settings.identity;
    let organization = inputs.mesh.trust_domain.clone();
    RootOptions { organization, ttl: identity.root_ttl, rsa_bits: identity.root_rsa_bits }
}

fn secret_options(inputs: &TrustInputs<'_>) -> RootSecretOptions {
    let identity = &inputs.settings.identity;
    RootSecretOptions {
        namespace: inputs.args.namespace.clone(),
        root: root_options(inputs),
        in_cacerts: identity.root_in_cacerts,
        grace: identity.root_grace,
        interval: identity.root_interval,
        jitter: identity.root_jitter,
    }
}

fn registration(
    inputs: &TrustInputs<'_>,
    cluster: &Cluster,
    roots: &SignerRootsKeeper,
    tasks: &mut Tasks,
) -> anyhow::Result<Signing> {
    let identity = &inputs.settings.identity;
    let options = RegistrationOptions {
        domains: inputs.domains(),
        lifetimes: inputs.lifetimes(),
        signer: identity.signer.clone(),
        signer_domain: Some(identity.signer_domain.clone()).filter(|domain| !domain.is_empty()),
        signs: Arc::new(KubernetesSigner::new(cluster.client.clone())),
        roots: roots.subscribe(),
    };
    let registration = Arc::new(RegistrationAuthority::new(options).context("EXTERNAL_CA")?);
    let keeper = registration.clone();
    tasks.spawn("signers", async move {
        keeper.run().await;
        Ok(())
    });
    Ok(Signing::Registration(registration))
}

/// Holds what is known of the roots of Kubernetes' signers.
#[derive(Clone)]
pub struct SignerRootsKeeper {
    roots: watch::Sender<SignerRoots>,
    common: Option<String>,
}

impl SignerRootsKeeper {
    /// What files and MeshConfig say at the start.
    pub fn new(inputs: &TrustInputs<'_>) -> Self {
        let mut files = vec![EXTERNAL_ROOT];
        if inputs.settings.identity.signer_domain.is_empty() {
            files.push(CLUSTER_ROOT);
        }
        let common = inputs
            .settings
            .identity
            .kubernetes_signs
            .then(|| files.into_iter().find_map(|file| std::fs::read_to_string(file).ok()))
            .flatten();
        let roots = watch::Sender::new(of_mesh(inputs.mesh, common.clone()));
        Self { roots, common }
    }

    /// Tells of each change.
    pub fn subscribe(&self) -> watch::Receiver<SignerRoots> {
        self.roots.subscribe()
    }

    /// Follows MeshConfig for as long as it is polled.
    pub async fn follow(self, mut published: watch::Receiver<Published>) {
        while published.changed().await.is_ok() {
            let mesh = published.borrow_and_update().mesh.clone();
            let now = of_mesh(&mesh, self.common.clone());
            self.roots.send_if_modified(|roots| {
                let changed = *roots != now;
                *roots = now;
                changed
            });
        }
        // The writer ended, and so does the control plane.
        std::future::pending().await
    }
}

fn of_mesh(mesh: &MeshConfig, common: Option<String>) -> SignerRoots {
    let mut by_signer = BTreeMap::new();
    for certificate in &mesh.ca_certificates {
        let Some(pem) = certificate.pem.as_ref().filter(|pem| !pem.is_empty()) else { continue };
        for signer in &certificate.cert_signers {
            by_signer.insert(signer.clone(), pem.clone());
        }
    }
    SignerRoots { by_signer, common }
}
