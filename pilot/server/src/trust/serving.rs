// SPDX-License-Identifier: Apache-2.0
//! Opens what the TLS ports show: certificates of our own authority, of a signer of Kubernetes, or from files that are followed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use time::OffsetDateTime;
use tiphys_ca::{CertificateSigner, ServerIdentity, ServerNames, SignerRequest, Signing, TrustBundle};
use tokio::sync::watch;
use tokio::time::sleep;

use super::TrustInputs;
use crate::cli::TransportArgs;
use crate::kubernetes::signer::KubernetesSigner;
use crate::settings::CertProvider;
use crate::tasks::Tasks;

/// Where a certificate is mounted if no flag says so, as istiod has it.
const MOUNTED: (&str, &str) = ("./var/run/secrets/istiod/tls/tls.crt", "./var/run/secrets/istiod/tls/tls.key");
/// How often mounted files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// Life of a certificate that a signer of Kubernetes is asked for.
const SIGNED_TTL: Duration = Duration::from_secs(90 * 24 * 3_600);
/// Time between two tries.
const AGAIN: Duration = Duration::from_secs(60);

/// The serving certificate, and what keeps it valid.
pub async fn open(
    inputs: &TrustInputs<'_>,
    signing: Option<&Signing>,
    tasks: &mut Tasks,
) -> anyhow::Result<Arc<ServerIdentity>> {
    if let Some(files) = files(&inputs.args.transport) {
        return mounted(files, tasks);
    }
    let names = names(inputs);
    match (&inputs.settings.identity.cert_provider, signing, inputs.cluster) {
        (CertProvider::Own, Some(Signing::Own(authority)), _) => {
            let identity = ServerIdentity::new(authority.clone(), names)?;
            let keeper = identity.clone();
            tasks.spawn("serving certificate", async move {
                keeper.run().await;
                Ok(())
            });
            Ok(identity)
        }
        (CertProvider::Signer(signer), _, Some(cluster)) => {
            let signer = Signed { signs: KubernetesSigner::new(cluster.client.clone()), signer: signer.clone(), names };
            signer.open(tasks).await
        }
        (CertProvider::Signer(_), _, None) => bail!("PILOT_CERT_PROVIDER=k8s.io/... needs a Kubernetes cluster"),
        (CertProvider::Own, _, _) => bail!(
            "PILOT_CERT_PROVIDER=istiod needs an authority of this control plane; set it to k8s.io/SIGNER, or give --tlsCertFile and --tlsKeyFile"
        ),
        (CertProvider::None, _, _) => {
            bail!("PILOT_CERT_PROVIDER=none needs a certificate: give --tlsCertFile and --tlsKeyFile")
        }
    }
}

/// The names by which proxies and the API server reach this control plane. Without a cluster they are on the same machine.
fn names(inputs: &TrustInputs<'_>) -> ServerNames {
    let names = ServerNames::istiod(&inputs.args.namespace, &inputs.settings.revision)
        .with_hosts(inputs.settings.identity.hosts.iter().map(String::as_str));
    if inputs.cluster.is_none() { names.with_loopback() } else { names }
}

/// Certificate and key that the flags name, or that are mounted where istiod looks for them.
fn files(args: &TransportArgs) -> Option<(PathBuf, PathBuf)> {
    match (&args.tls_cert_file, &args.tls_key_file) {
        (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        _ => {
            let (cert, key) = (PathBuf::from(MOUNTED.0), PathBuf::from(MOUNTED.1));
            (cert.exists() && key.exists()).then_some((cert, key))
        }
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn stamp(path: &Path) -> Option<(u64, SystemTime)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// How far a certificate is that somebody else has to renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// In the first four fifths of its life.
    Young,
    /// It should have been renewed.
    Old,
    /// Nobody accepts it any more.
    Over,
}

impl Life {
    fn of(identity: &ServerIdentity, now: OffsetDateTime) -> Self {
        let expires = identity.expires_at();
        // Half of its life is left at this moment.
        let half = expires - identity.renew_at();
        match expires - now {
            left if left <= time::Duration::ZERO => Self::Over,
            left if left < half * 2 / 5 => Self::Old,
            _ => Self::Young,
        }
    }

    /// How far it is now; says so when that is further than before.
    fn noted(self, identity: &ServerIdentity, file: &Path) -> Self {
        let (now, expires, file) =
            (Self::of(identity, OffsetDateTime::now_utc()), identity.expires_at(), file.display());
        if now == self {
            return now;
        }
        match now {
            Self::Young => {}
            Self::Old => {
                tracing::warn!("the serving certificate {file} expires at {expires}, and nobody has renewed it")
            }
            Self::Over => tracing::error!(
                "the serving certificate has expired at {expires}: new pods, changes and proxies that connect are refused until there is another \
                 one in {file}"
            ),
        }
        now
    }
}

fn mounted((cert, key): (PathBuf, PathBuf), tasks: &mut Tasks) -> anyhow::Result<Arc<ServerIdentity>> {
    let stamps = [stamp(&cert), stamp(&key)];
    let identity = ServerIdentity::given(&read(&cert)?, &read(&key)?)
        .with_context(|| format!("{} and {}", cert.display(), key.display()))?;
    tracing::info!("the serving certificate is {}", cert.display());
    let keeper = identity.clone();
    tasks.spawn("serving certificate", async move {
        let mut seen = stamps;
        let mut life = Life::Young;
        loop {
            life = life.noted(&keeper, &cert);
            sleep(INTERVAL).await;
            let now = [stamp(&cert), stamp(&key)];
            if now == seen {
                continue;
            }
            seen = now;
            let replaced = read(&cert).and_then(|cert| Ok(keeper.replace(&cert, &read(&key)?)?));
            match replaced {
                Ok(()) => tracing::info!("took another serving certificate from {}", cert.display()),
                // The other half of a pair that is being written comes in a moment.
                Err(error) => tracing::error!("the former serving certificate stays in force: {error:#}"),
            }
        }
    });
    Ok(identity)
}

/// A serving certificate that a signer of Kubernetes issues.
struct Signed {
    signs: KubernetesSigner,
    signer: String,
    names: ServerNames,
}

impl Signed {
    async fn get(&self) -> anyhow::Result<(String, String)> {
        let (key, csr) = self.names.request()?;
        let request = SignerRequest { csr: &csr, signer: &self.signer, ttl: SIGNED_TTL, server_only: true };
        let chain = self.signs.sign(request).await.with_context(|| format!("signer {}", self.signer))?;
        Ok((chain, key))
    }

    async fn open(self, tasks: &mut Tasks) -> anyhow::Result<Arc<ServerIdentity>> {
        let (chain, key) = self.get().await.context("serving certificate (PILOT_CERT_PROVIDER)")?;
        let identity = ServerIdentity::given(&chain, &key)?;
        let keeper = identity.clone();
        tasks.spawn("serving certificate", async move {
            loop {
                let left = keeper.renew_at() - OffsetDateTime::now_utc();
                sleep(Duration::try_from(left).unwrap_or(AGAIN).max(AGAIN)).await;
                let renewed = self.get().await.and_then(|(chain, key)| Ok(keeper.replace(&chain, &key)?));
                match renewed {
                    Ok(()) => tracing::info!("signer {} renewed the serving certificate", self.signer),
                    Err(error) => tracing::error!("cannot renew the serving certificate: {error:#}"),
                }
            }
        });
        Ok(identity)
    }
}

/// The roots of a mesh whose certificates somebody else issues: `--caCertFile`, followed.
pub fn roots_of_files(
    inputs: &TrustInputs<'_>,
    tasks: &mut Tasks,
) -> anyhow::Result<watch::Receiver<Arc<TrustBundle>>> {
    let Some(path) = inputs.args.transport.ca_cert_file.clone() else {
        bail!("ENABLE_CA_SERVER=false needs the roots of the mesh: give --caCertFile");
    };
    let open = |path: &Path| -> anyhow::Result<Arc<TrustBundle>> {
        Ok(Arc::new(TrustBundle::from_pem(&read(path)?, &path.display().to_string())?))
    };
    let mut seen = stamp(&path);
    let (sender, roots) = watch::channel(open(&path).context("--caCertFile")?);
    tasks.spawn("roots", async move {
        loop {
            sleep(INTERVAL).await;
            let now = stamp(&path);
            if now == seen {
                continue;
            }
            seen = now;
            match open(&path) {
                Ok(trust) => drop(sender.send_replace(trust)),
                Err(error) => tracing::error!("the former roots stay in force: {error:#}"),
            }
        }
    });
    Ok(roots)
}
