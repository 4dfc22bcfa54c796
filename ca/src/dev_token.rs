// SPDX-License-Identifier: Apache-2.0
//! Service account tokens where there is no Kubernetes: for development only, and only when asked for (`--dev-token-issuer`).
//!
//! The issuer has a signing key of its own (`signing-key.pem`, mode 0600). For each [`ServiceAccount`] that it is told of it keeps a
//! token in `DIR/NAMESPACE/NAME/token` (mode 0600): subject `system:serviceaccount:NAMESPACE:NAME`, audience `istio-ca`, valid for an
//! hour, replaced at half its life. An account that is gone loses its file, and its tokens are refused from then on. Who can read
//! the file is that service account: the file system's permissions are the proof of identity here.

use crate::authenticate::{AuthenticationError, Authenticator, Caller, Credentials, JwtAuthenticator, KeySet};
use crate::{CaError, SpiffeId, files};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const NAME: &str = "development token";
const ISSUER: &str = "tiphys-dev-token-issuer";
const SIGNING_KEY: &str = "signing-key.pem";
const KEY_ID: &str = "dev";

/// A service account of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Settings of a [`DevTokenIssuer`].
#[derive(Clone, Debug)]
pub struct DevTokenOptions {
    /// Where key and tokens are kept.
    pub dir: PathBuf,
    /// The trust domain of the identities.
    pub trust_domain: String,
    /// The audience of the tokens.
    pub audience: String,
    /// Life of a token.
    pub ttl: Duration,
}

impl DevTokenOptions {
    /// Tokens for the authority, of one hour.
    pub fn new(dir: impl Into<PathBuf>, trust_domain: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            trust_domain: trust_domain.into(),
            audience: "istio-ca".into(),
            ttl: Duration::from_secs(3600),
        }
    }
}

/// Signs and verifies tokens for the service accounts of a folder.
pub struct DevTokenIssuer {
    options: DevTokenOptions,
    key: EncodingKey,
    verifier: JwtAuthenticator,
    // When the token of each account was written.
    written: Mutex<BTreeMap<ServiceAccount, Instant>>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: String,
    aud: [&'a str; 1],
    iat: u64,
    exp: u64,
}

impl DevTokenIssuer {
    /// Opens the folder, making it and the signing key when they are not there.
    ///
    /// # Errors
    /// When files cannot be written, or others can read the signing key.
    pub fn open(options: DevTokenOptions) -> Result<Self, CaError> {
        files::secret_dir(&options.dir)?;
        let path = options.dir.join(SIGNING_KEY);
        if !path.exists() {
            let key = KeyPair::generate().map_err(|e| CaError::Signing(format!("making a key: {e}")))?;
            files::write(&path, key.serialize_pem().as_bytes(), 0o600)?;
        }
        files::require_private(&path)?;
        let key = KeyPair::from_pem(&files::read(&path)?)
            .map_err(|e| CaError::file(&path, format!("no usable private key: {e}; delete it to get another")))?;
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(CaError::file(&path, "is no ECDSA P-256 key; delete it to get another"));
        }
        let keys = KeySet::of_p256(KEY_ID.into(), key.public_key_raw());
        let audiences = vec![options.audience.clone()];
        let verifier = JwtAuthenticator::new(keys, audiences, Some(ISSUER.into()), options.trust_domain.clone())?;
        let key = EncodingKey::from_ec_der(key.serialized_der());
        Ok(Self { options, key, verifier, written: Mutex::new(BTreeMap::new()) })
    }

    /// Where the token of an account lies.
    pub fn token_path(&self, account: &ServiceAccount) -> PathBuf {
        self.options.dir.join(&account.namespace).join(&account.name).join("token")
    }

    /// How long to wait between two calls of [`DevTokenIssuer::refresh`], so that no token gets older than half its life.
    pub fn refresh_interval(&self) -> Duration {
        self.options.ttl / 4
    }

    /// Makes the files fit the accounts: writes what is missing or at half its life, deletes what is no longer wanted. Returns how
    /// many tokens were written. Accounts whose names no SPIFFE ID can hold are left out with a warning.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn refresh(&self, accounts: &BTreeSet<ServiceAccount>) -> Result<usize, CaError> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<ServiceAccount> = written.keys().filter(|a| !accounts.contains(a)).cloned().collect();
        for account in gone {
            written.remove(&account);
            let path = self.token_path(&account);
            // It may have been deleted by hand; either way it is not valid any more.
            let _ = fs::remove_file(&path);
            let _ = path.parent().map(fs::remove_dir);
        }
        let mut count = 0;
        for account in accounts {
            let fresh = written.get(account).is_some_and(|at| at.elapsed() < self.options.ttl / 2);
            if fresh && self.token_path(account).exists() {
                continue;
            }
            if let Err(error) = SpiffeId::new(&self.options.trust_domain, &account.namespace, &account.name) {
                tracing::warn!(%error, "no token for this service account");
                continue;
            }
            self.write_token(account)?;
            written.insert(account.clone(), Instant::now());
            count += 1;
        }
        Ok(count)
    }

    fn write_token(&self, account: &ServiceAccount) -> Result<(), CaError> {
        let path = self.token_path(account);
        files::secret_dir(path.parent().unwrap_or(Path::new(".")))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let claims = Claims {
            iss: ISSUER,
            sub: format!("system:serviceaccount:{}:{}", account.namespace, account.name),
            aud: [&self.options.audience],
            iat: now,
            exp: now + self.options.ttl.as_secs(),
        };
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(KEY_ID.into());
        let token = jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|e| CaError::Signing(format!("token for {}/{}: {e}", account.namespace, account.name)))?;
        files::write(&path, token.as_bytes(), 0o600)
    }

    fn verify(&self, token: &str) -> Result<Caller, String> {
        let mut caller = self.verifier.verify(token).map_err(|e| e.to_string())?;
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |id: &SpiffeId| {
            written.contains_key(&ServiceAccount {
                namespace: id.namespace().to_string(),
                name: id.service_account().to_string(),
            })
        };
        if let Some(id) = caller.identities.iter().find(|id| !known(id)) {
            return Err(format!("no service account {}/{}", id.namespace(), id.service_account()));
        }
        caller.authenticator = NAME;
        Ok(caller)
    }
}

#[tonic::async_trait]
impl Authenticator for DevTokenIssuer {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Caller>, AuthenticationError> {
        let Some(token) = &credentials.bearer else { return Ok(None) };
        self.verify(token).map(Some).map_err(|reason| AuthenticationError { authenticator: NAME, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn account(namespace: &str, name: &str) -> ServiceAccount {
        ServiceAccount { namespace: namespace.into(), name: name.into() }
    }

    fn open(dir: &TempDir, ttl: Duration) -> DevTokenIssuer {
        DevTokenIssuer::open(DevTokenOptions { ttl, ..DevTokenOptions::new(dir.path().join("t"), "cluster.local") })
            .unwrap()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn tokens_come_and_go_with_the_accounts() {
        let dir = TempDir::new().unwrap();
        let issuer = open(&dir, HOUR);
        let (a, b) = (account("default", "a"), account("other", "b"));
        assert_eq!(issuer.refresh(&[a.clone(), b.clone()].into()).unwrap(), 2);
        assert_eq!(issuer.refresh(&[a.clone(), b.clone()].into()).unwrap(), 0);
        let path = issuer.token_path(&a);
        assert!(path.ends_with("t/default/a/token"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let token = fs::read_to_string(&path).unwrap();
        let caller = issuer.verify(&token).unwrap();
        assert_eq!(caller.identities[0].to_string(), "spiffe://cluster.local/ns/default/sa/a");
        issuer.refresh(&[b].into()).unwrap();
        assert!(!path.exists());
        assert!(issuer.verify(&token).unwrap_err().contains("no service account default/a"));
    }

    #[test]
    fn tokens_survive_a_restart_and_lost_files_come_back() {
        let dir = TempDir::new().unwrap();
        let accounts = BTreeSet::from([account("default", "a")]);
        let first = open(&dir, HOUR);
        first.refresh(&accounts).unwrap();
        let path = first.token_path(&account("default", "a"));
        let token = fs::read_to_string(&path).unwrap();
        let second = open(&dir, HOUR);
        second.refresh(&accounts).unwrap();
        second.verify(&token).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(second.refresh(&accounts).unwrap(), 1);
        assert!(path.exists());
    }

    #[test]
    fn tokens_are_replaced_at_half_their_life() {
        let dir = TempDir::new().unwrap();
        let issuer = open(&dir, Duration::from_millis(40));
        let accounts = BTreeSet::from([account("default", "a")]);
        issuer.refresh(&accounts).unwrap();
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!(issuer.refresh(&accounts).unwrap(), 1);
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let dir = TempDir::new().unwrap();
        let issuer = open(&dir, HOUR);
        assert_eq!(issuer.refresh(&[account("..", "x"), account("a/b", "x"), account("a", "")].into()).unwrap(), 0);
        assert!(!dir.path().join("x").exists());
    }

    #[test]
    fn a_signing_key_that_others_can_read_is_refused() {
        let dir = TempDir::new().unwrap();
        drop(open(&dir, HOUR));
        let key = dir.path().join("t/signing-key.pem");
        fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
        let error = DevTokenIssuer::open(DevTokenOptions::new(dir.path().join("t"), "cluster.local")).err().unwrap();
        assert!(error.to_string().contains("0640"), "{error}");
    }
}
