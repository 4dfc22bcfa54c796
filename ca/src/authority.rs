// SPDX-License-Identifier: Apache-2.0
//! The authority: holds the current [`SigningBundle`] and issues certificates with it.
//!
//! The bundle comes from a folder: one of our own with a self-signed root ([`Authority::self_signed`]), or one that an operator
//! gives in the form of Istio's Secret `cacerts` ([`Authority::from_cacerts`]). It is kept behind a watch channel, so that another
//! bundle can take its place while requests go on, and whoever distributes the roots hears of it.

use crate::bundle::{BundleParts, SigningBundle, TrustBundle};
use crate::{CaError, SpiffeId, csr, files};
use rand::RngCore;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// Clocks of workloads may be this much behind; a certificate is valid from this long before it was made.
const CLOCK_SKEW: Duration = Duration::from_secs(120);
/// Life of the root of our own.
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Names of the files in a `cacerts` folder, as Istio's documentation of plugged-in CA certificates has them.
const CA_CERT: &str = "ca-cert.pem";
const CA_KEY: &str = "ca-key.pem";
const ROOT_CERT: &str = "root-cert.pem";
const CERT_CHAIN: &str = "cert-chain.pem";

/// Settings of an [`Authority`].
#[derive(Clone, Debug)]
pub struct AuthorityOptions {
    /// The trust domain of all identities issued.
    pub trust_domain: String,
    /// Other trust domains whose identities count as our own (`trustDomainAliases`).
    pub trust_domain_aliases: Vec<String>,
    /// Life of a certificate for which no duration was asked (DEFAULT_WORKLOAD_CERT_TTL).
    pub default_ttl: Duration,
    /// The longest life that a request may ask for (MAX_WORKLOAD_CERT_TTL).
    pub max_ttl: Duration,
}

impl Default for AuthorityOptions {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".into(),
            trust_domain_aliases: Vec::new(),
            default_ttl: Duration::from_secs(24 * 3600),
            max_ttl: Duration::from_secs(90 * 24 * 3600),
        }
    }
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
}

impl Authority {
    /// Opens the authority of our own in a folder. When there is none yet, a key (ECDSA P-256) and a self-signed root of ten years
    /// are made; the key's file has mode 0600.
    ///
    /// # Errors
    /// When the folder cannot be written, holds only a part of an authority, or one that is unusable.
    pub fn self_signed(dir: &Path, options: AuthorityOptions) -> Result<Self, CaError> {
        let key = dir.join(CA_KEY);
        match (key.exists(), dir.join(ROOT_CERT).exists()) {
            (true, true) => files::require_private(&key)?,
            (false, false) => create_root(dir, &options.trust_domain)?,
            (has_key, _) => {
                let (there, missing) = if has_key { (CA_KEY, ROOT_CERT) } else { (ROOT_CERT, CA_KEY) };
                return Err(CaError::file(
                    dir,
                    format!("has {there} but no {missing}; restore it or empty the folder"),
                ));
            }
        }
        Self::from_cacerts(dir, options)
    }

    /// Opens an authority that was given: `ca-cert.pem`, `ca-key.pem`, `root-cert.pem` and, unless a root signs,
    /// `cert-chain.pem`. Keys are RSA or EC.
    ///
    /// # Errors
    /// Names the file when something is missing, expired, or does not belong together.
    pub fn from_cacerts(dir: &Path, options: AuthorityOptions) -> Result<Self, CaError> {
        let bundle = read_bundle(dir)?;
        Self::with_bundle(bundle, options)
    }

    fn with_bundle(bundle: SigningBundle, options: AuthorityOptions) -> Result<Self, CaError> {
        if options.default_ttl > options.max_ttl {
            let (default, max) = (options.default_ttl, options.max_ttl);
            return Err(CaError::Settings(format!(
                "default certificate lifetime {default:?} is over the maximum {max:?}"
            )));
        }
        SpiffeId::new(&options.trust_domain, "x", "x")
            .map_err(|_| CaError::Settings(format!("trust domain {:?} is not valid", options.trust_domain)))?;
        let (current, _) = watch::channel(Arc::new(bundle));
        Ok(Self { options, current })
    }

    /// Reads the folder again and signs with what it holds from now on; the former bundle stays when it is unusable.
    ///
    /// # Errors
    /// As [`Authority::from_cacerts`].
    pub fn reload(&self, dir: &Path) -> Result<(), CaError> {
        let bundle = read_bundle(dir)?;
        self.current.send_replace(Arc::new(bundle));
        Ok(())
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
        self.current.borrow().trust().clone()
    }

    /// Whether identities of this trust domain are ours.
    pub fn owns(&self, trust_domain: &str) -> bool {
        trust_domain == self.options.trust_domain || self.options.trust_domain_aliases.iter().any(|a| a == trust_domain)
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
        let ttl = match ttl {
            None | Some(Duration::ZERO) => self.options.default_ttl,
            Some(asked) if asked > self.options.max_ttl => {
                return Err(CaError::Ttl { asked, max: self.options.max_ttl });
            }
            Some(asked) => asked,
        };
        let bundle = self.bundle();
        let now = OffsetDateTime::now_utc();
        if now >= bundle.not_after {
            return Err(CaError::NotReady(format!("its own certificate expired at {}", bundle.not_after)));
        }
        let mut serial = [0u8; 16];
        rand::rng().fill_bytes(&mut serial);
        // Positive and of constant length (RFC 5280, 4.1.2.2).
        serial[0] = serial[0] & 0x7f | 0x40;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = now - CLOCK_SKEW;
        params.not_after = (now + ttl).min(bundle.not_after);
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after = params.not_after;
        let certificate = params.signed_by(key, &bundle.issuer).map_err(|e| CaError::Signing(e.to_string()))?;
        let serial = serial.iter().map(|b| format!("{b:02x}")).collect();
        Ok(Issued { certificate: certificate.pem(), bundle, serial, not_after })
    }
}

/// Makes a key and a self-signed root in `dir`.
fn create_root(dir: &Path, trust_domain: &str) -> Result<(), CaError> {
    let failed = |e: rcgen::Error| CaError::Signing(format!("making the root: {e}"));
    let key = KeyPair::generate().map_err(failed)?;
    let now = OffsetDateTime::now_utc();
    let mut serial = [0u8; 16];
    rand::rng().fill_bytes(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, trust_domain);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + ROOT_LIFETIME;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params.self_signed(&key).map_err(failed)?.pem();
    files::secret_dir(dir)?;
    files::write(&dir.join(CA_KEY), key.serialize_pem().as_bytes(), 0o600)?;
    files::write(&dir.join(CA_CERT), root.as_bytes(), 0o644)?;
    // Last, because its presence says that the authority is complete.
    files::write(&dir.join(ROOT_CERT), root.as_bytes(), 0o644)?;
    tracing::info!(dir = %dir.display(), "made a self-signed root certificate");
    Ok(())
}

fn read_bundle(dir: &Path) -> Result<SigningBundle, CaError> {
    let place = |name: &str| dir.join(name).display().to_string();
    let certificate = files::read(&dir.join(CA_CERT))?;
    let key = files::read(&dir.join(CA_KEY))?;
    let roots = files::read(&dir.join(ROOT_CERT))?;
    let chain_path = dir.join(CERT_CHAIN);
    let chain = if chain_path.exists() { Some(files::read(&chain_path)?) } else { None };
    let (certificate_place, key_place) = (place(CA_CERT), place(CA_KEY));
    let (chain_place, root_place) = (place(CERT_CHAIN), place(ROOT_CERT));
    SigningBundle::new(&BundleParts {
        certificate: (&certificate, &certificate_place),
        key: (&key, &key_place),
        chain: chain.as_deref().map(|c| (c, chain_place.as_str())),
        roots: (&roots, &root_place),
    })
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
