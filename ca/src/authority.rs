// SPDX-License-Identifier: Apache-2.0
//! The authority: holds the current [`SigningBundle`] and issues certificates with it.
//!
//! The first bundle comes from a folder ([`crate::folder`]) or from whoever keeps it elsewhere ([`Authority::new`]). Another one that is
//! adopted takes its place without a refused connection: see [`crate::rotation`]. What signs and what is trusted stand behind watch
//! channels, so that requests go on meanwhile, and whoever distributes the roots hears of them.

use crate::bundle::{SigningBundle, TrustBundle};
use crate::root::{CLOCK_SKEW, RootOptions};
use crate::rotation::Rotation;
use crate::{CaError, SpiffeId, csr, folder};
use rand::RngCore;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// Steps of a rotation are taken at least so often.
const STEP: Duration = Duration::from_secs(60);

/// The trust domains that are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomains {
    /// The one of all identities issued.
    pub own: String,
    /// Others whose identities count as our own (`trustDomainAliases`).
    pub aliases: Vec<String>,
}

impl TrustDomains {
    /// Whether identities of this trust domain are ours.
    pub fn owns(&self, trust_domain: &str) -> bool {
        trust_domain == self.own || self.aliases.iter().any(|alias| alias == trust_domain)
    }

    pub(crate) fn check(&self) -> Result<(), CaError> {
        SpiffeId::new(&self.own, "x", "x")
            .map_err(|_| CaError::Settings(format!("trust domain {:?} is not valid", self.own)))?;
        Ok(())
    }
}

impl Default for TrustDomains {
    fn default() -> Self {
        Self { own: "cluster.local".into(), aliases: Vec::new() }
    }
}

/// How long certificates live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Life of a certificate for which no duration was asked (DEFAULT_WORKLOAD_CERT_TTL).
    pub default: Duration,
    /// The longest life that a request may ask for (MAX_WORKLOAD_CERT_TTL).
    pub max: Duration,
}

impl Lifetimes {
    /// The life for a request.
    ///
    /// # Errors
    /// [`CaError::Ttl`] when more is asked for than is given.
    pub(crate) fn of(&self, asked: Option<Duration>) -> Result<Duration, CaError> {
        match asked {
            None | Some(Duration::ZERO) => Ok(self.default),
            Some(asked) if asked > self.max => Err(CaError::Ttl { asked, max: self.max }),
            Some(asked) => Ok(asked),
        }
    }

    pub(crate) fn check(&self) -> Result<(), CaError> {
        let Self { default, max } = self;
        if default > max {
            return Err(CaError::Settings(format!(
                "default certificate lifetime {default:?} is over the maximum {max:?}"
            )));
        }
        Ok(())
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { default: Duration::from_secs(24 * 3600), max: Duration::from_secs(90 * 24 * 3600) }
    }
}

/// Settings of an [`Authority`].
#[derive(Clone, Debug, Default)]
pub struct AuthorityOptions {
    /// Whose identities are issued and accepted.
    pub domains: TrustDomains,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
}

/// What to issue.
#[derive(Clone, Copy, Debug)]
pub struct IssueRequest<'a> {
    /// The signing request in PEM, of which only the public key counts.
    pub csr: &'a str,
    /// The identities of the authenticated caller.
    pub identities: &'a [SpiffeId],
    /// The life asked for; none or zero takes the default.
    pub ttl: Option<Duration>,
}

/// A certificate that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate in PEM.
    pub certificate: String,
    /// The bundle that signed it: chain and roots to hand out with it.
    pub bundle: Arc<SigningBundle>,
    /// Its serial number in hexadecimal, for the audit log.
    pub serial: String,
    /// Its end.
    pub not_after: OffsetDateTime,
}

/// The certificate authority.
#[derive(Debug)]
pub struct Authority {
    options: AuthorityOptions,
    current: watch::Sender<Arc<SigningBundle>>,
    trust: watch::Sender<Arc<TrustBundle>>,
    rotation: Mutex<Rotation>,
    /// The longest life in seconds that was given: so long a former root is still of use.
    longest: AtomicU64,
}

impl Authority {
    /// Opens the authority of our own in a folder. When there is none yet, a key and a self-signed root are made; the key's file has mode 0600.
    ///
    /// # Errors
    /// When the folder cannot be written, holds only a part of an authority, or one that is unusable.
    pub fn self_signed(dir: &Path, root: &RootOptions, options: AuthorityOptions) -> Result<Self, CaError> {
        folder::ensure_root(dir, root)?;
        Self::from_cacerts(dir, options)
    }

    /// Opens an authority that was given: `ca-cert.pem`, `ca-key.pem`, `root-cert.pem` and, unless a root signs,
    /// `cert-chain.pem`. Keys are RSA or EC.
    ///
    /// # Errors
    /// Names the file when something is missing, expired, or does not belong together.
    pub fn from_cacerts(dir: &Path, options: AuthorityOptions) -> Result<Self, CaError> {
        Self::new(folder::read(dir)?, options)
    }

    /// An authority that signs with a bundle.
    ///
    /// # Errors
    /// When the settings contradict themselves.
    pub fn new(bundle: SigningBundle, options: AuthorityOptions) -> Result<Self, CaError> {
        options.lifetimes.check()?;
        options.domains.check()?;
        let bundle = Arc::new(bundle);
        let rotation = Mutex::new(Rotation::new(bundle.clone())?);
        let longest = AtomicU64::new(options.lifetimes.default.as_secs());
        let trust = watch::Sender::new(bundle.trust().clone());
        Ok(Self { options, current: watch::Sender::new(bundle), trust, rotation, longest })
    }

    /// Reads the folder again and adopts what it holds; the former bundle stays when it is unusable. Gives whether anything changed.
    ///
    /// # Errors
    /// As [`Authority::from_cacerts`].
    pub fn reload(&self, dir: &Path) -> Result<bool, CaError> {
        self.adopt(folder::read(dir)?)
    }

    /// Signs with another bundle as soon as everybody can know its root, and trusts the former roots for as long as certificates under them
    /// may live. Gives whether anything changed.
    ///
    /// # Errors
    /// When a root cannot be parsed.
    pub fn adopt(&self, bundle: SigningBundle) -> Result<bool, CaError> {
        let now = OffsetDateTime::now_utc();
        let overlap = Duration::from_secs(self.longest.load(Relaxed));
        let mut rotation = self.rotation.lock().unwrap_or_else(PoisonError::into_inner);
        if !rotation.differs(&bundle) {
            return Ok(false);
        }
        rotation.adopt(Arc::new(bundle), now, overlap)?;
        if let Some(at) = rotation.switches_at() {
            tracing::info!(
                "a new root is handed out; certificates are issued under it from {at}, when all workloads know it"
            );
        }
        self.publish(&mut rotation, now)?;
        Ok(true)
    }

    /// Takes the steps of a rotation whose time has come.
    fn advance(&self, now: OffsetDateTime) -> Result<(), CaError> {
        let mut rotation = self.rotation.lock().unwrap_or_else(PoisonError::into_inner);
        rotation.advance(now);
        self.publish(&mut rotation, now)
    }

    fn publish(&self, rotation: &mut Rotation, now: OffsetDateTime) -> Result<(), CaError> {
        let bundle = Arc::new(rotation.bundle(now)?);
        // First whom to trust, then what to show.
        self.trust.send_if_modified(|trust| {
            let changed = **trust != **bundle.trust();
            if changed {
                *trust = bundle.trust().clone();
            }
            changed
        });
        self.current.send_if_modified(|current| {
            let changed = !current.same_signer(&bundle) || current.trust() != bundle.trust();
            if changed {
                *current = bundle;
            }
            changed
        });
        Ok(())
    }

    /// Takes the steps of rotations for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut changes = self.subscribe();
        loop {
            let due = self.rotation.lock().unwrap_or_else(PoisonError::into_inner).due();
            let step = async {
                match due {
                    None => std::future::pending().await,
                    Some(due) => {
                        let left = Duration::try_from(due - OffsetDateTime::now_utc()).unwrap_or(Duration::ZERO);
                        tokio::time::sleep(left.min(STEP)).await;
                    }
                }
            };
            tokio::select! {
                () = step => {
                    if let Err(error) = self.advance(OffsetDateTime::now_utc()) {
                        tracing::error!(%error, "the rotation of the root cannot go on");
                        tokio::time::sleep(STEP).await;
                    }
                }
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The settings.
    pub fn options(&self) -> &AuthorityOptions {
        &self.options
    }

    /// What signs now.
    pub fn bundle(&self) -> Arc<SigningBundle> {
        self.current.borrow().clone()
    }

    /// Tells of each bundle that takes the place of the current one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<SigningBundle>> {
        self.current.subscribe()
    }

    /// The roots that the mesh trusts.
    pub fn trust(&self) -> Arc<TrustBundle> {
        self.trust.borrow().clone()
    }

    /// Tells of each change of the roots.
    pub fn trust_changes(&self) -> watch::Receiver<Arc<TrustBundle>> {
        self.trust.subscribe()
    }

    /// Issues a certificate for the identities given. This is CPU work: about 0.1 ms with an EC root, more with RSA.
    ///
    /// # Errors
    /// [`CaError::Csr`] and [`CaError::Ttl`] are the caller's fault.
    pub fn issue(&self, request: &IssueRequest<'_>) -> Result<Issued, CaError> {
        let key = csr::public_key(request.csr)?;
        let mut names = Vec::with_capacity(request.identities.len());
        for identity in request.identities {
            names.push(SanType::URI(identity.to_string().try_into().map_err(|e| CaError::Signing(format!("{e}")))?));
        }
        self.sign(&key, names, request.ttl)
    }

    /// Signs a certificate with any names: for the control plane's own.
    pub(crate) fn sign(
        &self,
        key: &SubjectPublicKeyInfo,
        names: Vec<SanType>,
        ttl: Option<Duration>,
    ) -> Result<Issued, CaError> {
        if names.is_empty() {
            return Err(CaError::Signing("no identity to certify".into()));
        }
        let ttl = self.options.lifetimes.of(ttl)?;
        self.longest.fetch_max(ttl.as_secs(), Relaxed);
        let bundle = self.bundle();
        let now = OffsetDateTime::now_utc();
        if now >= bundle.not_after() {
            return Err(CaError::NotReady(format!("its own certificate expired at {}", bundle.not_after())));
        }
        let mut serial = [0u8; 16];
        rand::rng().fill_bytes(&mut serial);
        // Positive and of constant length (RFC 5280, 4.1.2.2).
        serial[0] = serial[0] & 0x7f | 0x40;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = now - CLOCK_SKEW;
        params.not_after = (now + ttl).min(bundle.not_after());
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after = params.not_after;
        let certificate = params.signed_by(key, bundle.issuer()).map_err(|e| CaError::Signing(e.to_string()))?;
        let serial = serial.iter().map(|b| format!("{b:02x}")).collect();
        Ok(Issued { certificate: certificate.pem(), bundle, serial, not_after })
    }
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
