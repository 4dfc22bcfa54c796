// SPDX-License-Identifier: Apache-2.0
//! Whom the control plane trusts and who trusts it: the authority, the identity of its TLS port, and who accepts credentials. The one place
//! that puts them together, with a cluster and without.

use std::sync::Arc;

use anyhow::Context;
use tiphys_api::mesh::MeshConfig;
use tiphys_ca::authenticate::ClientCertificateAuthenticator;
use tiphys_ca::{
    Authenticator, Authenticators, Authority, AuthorityOptions, CaCounters, DevTokenIssuer, DevTokenOptions,
    ServerIdentity, ServerNames,
};

use crate::cli::ServeArgs;
use crate::kubernetes::Cluster;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// The authority and who accepts credentials.
pub struct Trust {
    /// Issues certificates.
    pub authority: Arc<Authority>,
    /// What the TLS port shows.
    pub identity: Arc<ServerIdentity>,
    /// Who says whose a credential is.
    pub authenticators: Authenticators,
    /// Counts of what was issued and refused.
    pub counters: Arc<CaCounters>,
    /// Tokens for development, where they are asked for.
    pub tokens: Option<Arc<DevTokenIssuer>>,
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

impl Trust {
    /// Opens the authority, of the folder at `--ca-dir`.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn open(inputs: TrustInputs<'_>) -> anyhow::Result<Self> {
        let TrustInputs { args, settings, mesh, cluster: _ } = inputs;
        let options = AuthorityOptions {
            trust_domain: mesh.trust_domain.clone(),
            trust_domain_aliases: mesh.trust_domain_aliases.clone(),
            default_ttl: settings.certificate_ttl,
            max_ttl: settings.max_certificate_ttl,
        };
        // An operator's authority has a chain; one of our own is its own root.
        let given = args.ca_dir.join("cert-chain.pem").exists();
        let open = if given { Authority::from_cacerts } else { Authority::self_signed };
        let authority = Arc::new(open(&args.ca_dir, options).context("certificate authority (--ca-dir)")?);
        let mut all: Vec<Arc<dyn Authenticator>> =
            vec![Arc::new(ClientCertificateAuthenticator::new(authority.clone())?)];
        let tokens = match &args.dev_token_issuer {
            Some(dir) => {
                tracing::warn!(
                    "development tokens are issued to {}: whoever can read a file there is that service account",
                    dir.display()
                );
                Some(Arc::new(
                    DevTokenIssuer::open(DevTokenOptions::new(dir, &mesh.trust_domain))
                        .context("--dev-token-issuer")?,
                ))
            }
            None => None,
        };
        if let Some(issuer) = &tokens {
            all.push(issuer.clone());
        }
        let names = ServerNames::istiod(&args.namespace, &settings.revision).with_loopback();
        let identity = ServerIdentity::new(authority.clone(), names)?;
        Ok(Self { authority, identity, authenticators: Authenticators::new(all), counters: Arc::default(), tokens })
    }

    /// Enters the authority's counts into the metrics.
    pub fn count(&self, metrics: &Metrics) {
        let (counters, authority) = (self.counters.clone(), self.authority.clone());
        metrics.sample(Box::new(move || counters.samples(&authority)));
    }
}
