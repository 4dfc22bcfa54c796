// SPDX-License-Identifier: Apache-2.0
//! Whom the control plane trusts and who trusts it: the authority, the identity of its TLS ports, and who accepts credentials. The one place
//! that puts them together, with a cluster and without.
//!
//! | who signs | when |
//! | --- | --- |
//! | an authority that is given | `--ca-dir` holds one: the mounted Secret `cacerts`, or a folder |
//! | a self-signed root in the Secret `istio-ca-secret` | there is a cluster |
//! | a self-signed root in `--ca-dir` | there is none |
//! | a signer of Kubernetes | EXTERNAL_CA=ISTIOD_RA_KUBERNETES_API |
//! | somebody else, elsewhere | ENABLE_CA_SERVER=false |

mod serving;
mod signing;

use std::sync::Arc;

use anyhow::Context;
use tiphys_api::mesh::MeshConfig;
use tiphys_ca::authenticate::{ClientCertificateAuthenticator, KubernetesTokenAuthenticator, KubernetesTokenOptions};
use tiphys_ca::{
    Authenticator, Authenticators, CaCounters, CertificateService, DevTokenIssuer, DevTokenOptions, Lifetimes,
    NodeAuthorizer, ServerIdentity, Signing, TrustBundle, TrustDomains,
};
use tokio::sync::watch;

use crate::cli::ServeArgs;
use crate::kubernetes::pods::ApiPods;
use crate::kubernetes::tokens::{ApiReviewer, keep_keys};
use crate::kubernetes::{Cluster, live_pods::LivePodIndex};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::writer::Published;

/// The authority and who accepts credentials.
pub struct Trust {
    /// Who signs certificates; none when that is somebody else's business.
    pub signing: Option<Signing>,
    /// The roots that the mesh trusts.
    pub roots: watch::Receiver<Arc<TrustBundle>>,
    /// What the TLS ports show.
    pub identity: Arc<ServerIdentity>,
    /// Who says whose a credential is.
    pub authenticators: Authenticators,
    /// Counts of what was issued and refused.
    pub counters: Arc<CaCounters>,
    /// Tokens for development, where they are asked for.
    pub tokens: Option<Arc<DevTokenIssuer>>,
    /// The pods that live, as the writer learns of them.
    pub pods: LivePodIndex,
    nodes: Option<Arc<NodeAuthorizer>>,
    signer_roots: signing::SignerRootsKeeper,
}

/// What decides whom to trust.
#[derive(Clone, Copy)]
pub struct TrustInputs<'a> {
    /// The flags.
    pub args: &'a ServeArgs,
    /// The environment.
    pub settings: &'a Settings,
    /// The mesh's settings at the start.
    pub mesh: &'a MeshConfig,
    /// The cluster, in Kubernetes mode.
    pub cluster: Option<&'a Cluster>,
}

impl TrustInputs<'_> {
    fn domains(&self) -> TrustDomains {
        TrustDomains { own: self.mesh.trust_domain.clone(), aliases: self.mesh.trust_domain_aliases.clone() }
    }

    fn lifetimes(&self) -> Lifetimes {
        Lifetimes { default: self.settings.certificate_ttl, max: self.settings.max_certificate_ttl }
    }
}

impl Trust {
    /// Opens the authority, and starts what keeps it and the credentials up to date.
    ///
    /// # Errors
    /// When it cannot be used, or the settings contradict themselves.
    pub async fn open(inputs: TrustInputs<'_>, tasks: &mut Tasks) -> anyhow::Result<Self> {
        let signer_roots = signing::SignerRootsKeeper::new(&inputs);
        let signing = signing::open(&inputs, &signer_roots, tasks).await?;
        let roots = match &signing {
            Some(signing) => signing.trust_changes(),
            None => serving::roots_of_files(&inputs, tasks)?,
        };
        let identity = serving::open(&inputs, signing.as_ref(), tasks).await?;
        let pods = LivePodIndex::default();
        let domains = inputs.domains();
        let mut all: Vec<Arc<dyn Authenticator>> =
            vec![Arc::new(ClientCertificateAuthenticator::with_roots(roots.clone(), domains.clone())?)];
        if let Some(cluster) = inputs.cluster {
            let options = KubernetesTokenOptions {
                audiences: inputs.settings.identity.audiences.iter().cloned().collect(),
                trust_domain: domains.own.clone(),
                reviewer: Arc::new(ApiReviewer::new(cluster.client.clone())),
                pods: Some(Arc::new(pods.clone())),
            };
            let tokens = Arc::new(KubernetesTokenAuthenticator::new(options)?);
            all.push(tokens.clone());
            let client = cluster.client.clone();
            tasks.spawn("token keys", async move {
                keep_keys(client, tokens).await;
                Ok(())
            });
        }
        let tokens = development_tokens(&inputs)?;
        if let Some(issuer) = &tokens {
            all.push(issuer.clone());
        }
        let (authenticators, counters) = (Authenticators::new(all), Arc::default());
        let nodes = nodes(&inputs);
        Ok(Self { signing, roots, identity, authenticators, counters, tokens, pods, nodes, signer_roots })
    }

    /// The certificate service; none when somebody else issues certificates.
    pub fn certificates(&self) -> Option<CertificateService> {
        let signing = self.signing.clone()?;
        let service = CertificateService::new(signing, self.authenticators.clone(), self.counters.clone());
        Some(match &self.nodes {
            Some(nodes) => service.with_nodes(nodes.clone()),
            None => service,
        })
    }

    /// Enters the authority's counts into the metrics.
    pub fn count(&self, metrics: &Metrics) {
        if let Some(signing) = self.signing.clone() {
            let counters = self.counters.clone();
            metrics.sample(Box::new(move || counters.samples(&signing)));
        }
    }

    /// Follows what MeshConfig says of the roots of signers.
    pub fn follow_mesh(&self, published: watch::Receiver<Published>, tasks: &mut Tasks) {
        let keeper = self.signer_roots.clone();
        tasks.spawn("signer roots", async move {
            keeper.follow(published).await;
            Ok(())
        });
    }
}

fn development_tokens(inputs: &TrustInputs<'_>) -> anyhow::Result<Option<Arc<DevTokenIssuer>>> {
    let Some(dir) = &inputs.args.dev_token_issuer else { return Ok(None) };
    tracing::warn!(
        "development tokens are issued to {}: whoever can read a file there is that service account",
        dir.display()
    );
    let options = DevTokenOptions::new(dir, &inputs.mesh.trust_domain);
    Ok(Some(Arc::new(DevTokenIssuer::open(options).context("--dev-token-issuer")?)))
}

/// Who may ask for the identities of others.
fn nodes(inputs: &TrustInputs<'_>) -> Option<Arc<NodeAuthorizer>> {
    let trusted = inputs.settings.identity.trusted_node_accounts.clone();
    match inputs.cluster {
        _ if trusted.is_empty() => None,
        Some(cluster) => {
            let pods = Arc::new(ApiPods::new(cluster.client.clone()));
            Some(Arc::new(NodeAuthorizer::new(trusted, inputs.domains(), pods)))
        }
        None => {
            tracing::warn!(
                "CA_TRUSTED_NODE_ACCOUNTS has no effect without a cluster: nobody knows which pods run where"
            );
            None
        }
    }
}
