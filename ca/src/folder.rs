// SPDX-License-Identifier: Apache-2.0
//! An authority that lies in a folder: one of our own with a self-signed root, or one that an operator gives.
//!
//! What is given has the form of Istio's Secret `cacerts` (`ca-cert.pem`, `ca-key.pem`, `root-cert.pem`, `cert-chain.pem`) or that of a Secret
//! of type `kubernetes.io/tls` (`tls.crt`, `tls.key`, `ca.crt`). [`watch`] follows changes, also those by which the kubelet brings a new
//! version of a mounted Secret. See <https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/>.

use crate::bundle::{BundleParts, SigningBundle};
use crate::root::{RootOptions, SelfSignedRoot};
use crate::{Authority, CaError, files};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const CA_CERT: &str = "ca-cert.pem";
const CA_KEY: &str = "ca-key.pem";
const ROOT_CERT: &str = "root-cert.pem";
const CERT_CHAIN: &str = "cert-chain.pem";
const TLS_CERT: &str = "tls.crt";
const TLS_KEY: &str = "tls.key";
const TLS_ROOT: &str = "ca.crt";

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderKind {
    /// Nothing of an authority.
    Empty,
    /// An authority that was given: it has a chain, or is of type `kubernetes.io/tls`.
    Given,
    /// An authority whose root signs: made by [`Authority::self_signed`], or half of one.
    OwnRoot,
}

/// Looks what kind of authority a folder holds.
pub fn kind(dir: &Path) -> FolderKind {
    let has = |name: &str| dir.join(name).exists();
    if has(CERT_CHAIN) || has(TLS_CERT) {
        FolderKind::Given
    } else if has(CA_CERT) || has(CA_KEY) || has(ROOT_CERT) {
        FolderKind::OwnRoot
    } else {
        FolderKind::Empty
    }
}

/// Reads what signs from a folder.
pub(crate) fn read(dir: &Path) -> Result<SigningBundle, CaError> {
    let place = |name: &str| dir.join(name).display().to_string();
    let tls = dir.join(TLS_CERT).exists();
    let (cert, key, root) = if tls { (TLS_CERT, TLS_KEY, TLS_ROOT) } else { (CA_CERT, CA_KEY, ROOT_CERT) };
    let certificate = files::read(&dir.join(cert))?;
    let key_pem = files::read(&dir.join(key))?;
    let roots = files::read(&dir.join(root))?;
    let chain_name = if tls { TLS_CERT } else { CERT_CHAIN };
    let chain_path = dir.join(chain_name);
    let chain = if chain_path.exists() { Some(files::read(&chain_path)?) } else { None };
    let (certificate_place, key_place) = (place(cert), place(key));
    let (chain_place, root_place) = (place(chain_name), place(root));
    SigningBundle::new(&BundleParts {
        certificate: (&certificate, &certificate_place),
        key: (&key_pem, &key_place),
        chain: chain.as_deref().map(|c| (c, chain_place.as_str())),
        roots: (&roots, &root_place),
    })
}

/// Makes a self-signed root in a folder that has none yet.
///
/// # Errors
/// When the folder holds half of an authority, or one that others can read.
pub(crate) fn ensure_root(dir: &Path, options: &RootOptions) -> Result<(), CaError> {
    let key = dir.join(CA_KEY);
    match (key.exists(), dir.join(ROOT_CERT).exists()) {
        (true, true) => files::require_private(&key),
        (false, false) => {
            let root = SelfSignedRoot::generate(options)?;
            files::secret_dir(dir)?;
            write(dir, &root)?;
            tracing::info!(dir = %dir.display(), "made a self-signed root certificate");
            Ok(())
        }
        (has_key, _) => {
            let (there, missing) = if has_key { (CA_KEY, ROOT_CERT) } else { (ROOT_CERT, CA_KEY) };
            Err(CaError::file(dir, format!("has {there} but no {missing}; restore it or empty the folder")))
        }
    }
}

fn write(dir: &Path, root: &SelfSignedRoot) -> Result<(), CaError> {
    files::write(&dir.join(CA_KEY), root.key.as_bytes(), 0o600)?;
    files::write(&dir.join(CA_CERT), root.certificate.as_bytes(), 0o644)?;
    // Last, because its presence says that the authority is complete.
    files::write(&dir.join(ROOT_CERT), root.certificate.as_bytes(), 0o644)
}

/// Renews the self-signed root of a folder when no more than this percentage of its life is left. Gives whether it did.
///
/// # Errors
/// When the files cannot be read, renewed or written.
pub fn renew_root(dir: &Path, options: &RootOptions, grace_percent: u8) -> Result<bool, CaError> {
    let root = SelfSignedRoot { certificate: files::read(&dir.join(CA_CERT))?, key: files::read(&dir.join(CA_KEY))? };
    if time::OffsetDateTime::now_utc() < root.renew_at(grace_percent)? {
        return Ok(false);
    }
    write(dir, &root.renew(options)?)?;
    Ok(true)
}

/// Length and time of change of each file, behind links.
fn stamps(dir: &Path) -> Vec<Option<(u64, SystemTime)>> {
    let stamp = |name: &&str| {
        let metadata = std::fs::metadata(dir.join(name)).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    [CA_CERT, CA_KEY, ROOT_CERT, CERT_CHAIN, TLS_CERT, TLS_KEY, TLS_ROOT].iter().map(stamp).collect()
}

/// Follows the changes of a folder for as long as it is polled. What is unusable is named in the log once, and what was read last stays in force.
pub async fn watch(authority: Arc<Authority>, dir: PathBuf) {
    // What is in force was read a moment ago; reading it once more costs nothing and misses nothing.
    let mut seen = None;
    loop {
        let now = stamps(&dir);
        if seen.as_ref() != Some(&now) {
            let first = seen.replace(now).is_none();
            match authority.reload(&dir) {
                Ok(false) => {}
                Ok(true) => tracing::info!(dir = %dir.display(), first, "took over changed CA certificates"),
                Err(error) => tracing::error!(%error, "the former CA certificates stay in force"),
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
