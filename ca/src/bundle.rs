// SPDX-License-Identifier: Apache-2.0
//! The key that signs, its certificate, the chain above it and the roots: read, checked, and then unchangeable.
//!
//! A bundle that passes [`SigningBundle::new`] is proven by use: a certificate signed with it was verified against its own roots
//! the way a proxy would.

use crate::CaError;
use base64::Engine;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::fmt::Write;
use std::sync::Arc;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The roots that everyone in the mesh trusts.
#[derive(Debug, PartialEq, Eq)]
pub struct TrustBundle {
    pem: String,
    certificates: Vec<CertificateDer<'static>>,
    not_after: OffsetDateTime,
}

impl TrustBundle {
    /// Reads roots in PEM. `place` names them in errors.
    ///
    /// # Errors
    /// When there is no certificate or one cannot be parsed.
    pub fn from_pem(pem: &str, place: &str) -> Result<Self, CaError> {
        let certificates = certificates(pem, place)?;
        for certificate in &certificates {
            parse(certificate, place)?;
        }
        Self::of(certificates)
    }

    /// The roots in PEM, one after the other.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The roots in DER.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// A set of roots, of which at least one must be given.
    pub(crate) fn of(certificates: Vec<CertificateDer<'static>>) -> Result<Self, CaError> {
        let Some(first) = certificates.first() else {
            return Err(CaError::Settings("no root certificate is left".into()));
        };
        let not_after = parse(first, "root certificate")?.validity().not_after.to_datetime();
        let pem = certificates.iter().map(|c| to_pem("CERTIFICATE", c)).collect();
        Ok(Self { pem, certificates, not_after })
    }

    /// When the first root expires.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// A verifier of client certificates under these roots. With `optional`, connections without a certificate pass too.
    ///
    /// # Errors
    /// When no root can serve as a trust anchor.
    pub fn client_verifier(&self, optional: bool) -> Result<Arc<dyn ClientCertVerifier>, CaError> {
        let mut store = rustls::RootCertStore::empty();
        for root in &self.certificates {
            store.add(root.clone()).map_err(|e| CaError::Settings(format!("root certificate: {e}")))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
        let builder = if optional { builder.allow_unauthenticated() } else { builder };
        builder.build().map_err(|e| CaError::Settings(format!("root certificates: {e}")))
    }
}

/// The texts from which a bundle is made, each with the place to name in errors.
pub struct BundleParts<'a> {
    /// The certificate of the key that signs.
    pub certificate: (&'a str, &'a str),
    /// Its private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: (&'a str, &'a str),
    /// The certificates from the signing one up, as clients get them; empty when a root signs.
    pub chain: Option<(&'a str, &'a str)>,
    /// The roots.
    pub roots: (&'a str, &'a str),
}

/// The name and key of a root: certificates verify under every root certificate that has both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    subject: Vec<u8>,
    key: Vec<u8>,
}

impl Anchor {
    pub(crate) fn of(root: &CertificateDer<'_>) -> Result<Self, CaError> {
        let root = parse(root, "root certificate")?;
        Ok(Self { subject: root.subject().as_raw().to_vec(), key: root.public_key().raw.to_vec() })
    }
}

/// What signs certificates, and the roots that are handed out with them.
#[derive(Clone)]
pub struct SigningBundle {
    signer: Arc<Signer>,
    trust: Arc<TrustBundle>,
}

struct Signer {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    not_after: OffsetDateTime,
    chain: Vec<CertificateDer<'static>>,
    chain_pem: Vec<String>,
    anchors: Vec<Anchor>,
}

impl std::fmt::Debug for SigningBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningBundle").field("not_after", &self.signer.not_after).finish_non_exhaustive()
    }
}

impl SigningBundle {
    /// Checks that key, certificate, chain and roots belong together and are valid now.
    ///
    /// # Errors
    /// Names the place when something is missing, expired, or does not belong together.
    pub fn new(parts: &BundleParts<'_>) -> Result<Self, CaError> {
        let now = OffsetDateTime::now_utc();
        let (certificate_pem, place) = parts.certificate;
        let certificate = certificates(certificate_pem, place)?.remove(0);
        let (key_pem, key_place) = parts.key;
        let key = KeyPair::from_pem(key_pem).map_err(|e| {
            CaError::file(key_place, format!("no usable private key ({e}); give an unencrypted RSA or EC key in PEM"))
        })?;
        let parsed = parse(&certificate, place)?;
        if parsed.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(CaError::file(place, format!("does not belong to the private key in {key_place}")));
        }
        require_authority(&parsed, place, now)?;
        let not_after = parsed.validity().not_after.to_datetime();
        let trust = TrustBundle::from_pem(parts.roots.0, parts.roots.1)?;
        let chain = match parts.chain {
            Some((pem, _)) if pem.trim().is_empty() => Vec::new(),
            Some((pem, place)) => certificates(pem, place)?,
            None => Vec::new(),
        };
        let chain_place = parts.chain.map_or(place, |(_, p)| p);
        if !chain.is_empty() && chain[0] != certificate {
            return Err(CaError::file(chain_place, format!("must begin with the certificate of {place}")));
        }
        let path = chain.get(1..).unwrap_or_default();
        let anchors = require_path(&certificate, path, trust.certificates(), chain_place)?;
        if !trust.certificates().contains(&certificate) && chain.is_empty() {
            return Err(CaError::file(place, "is no root; give the chain from it up in cert-chain.pem"));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|e| CaError::file(place, format!("cannot sign with this certificate: {e}")))?;
        let chain_pem = chain.iter().map(|c| to_pem("CERTIFICATE", c)).collect();
        let signer = Arc::new(Signer { certificate, issuer, not_after, chain, chain_pem, anchors });
        let bundle = Self { signer, trust: Arc::new(trust) };
        bundle.prove().map_err(|e| CaError::file(place, format!("certificates signed with it do not verify: {e}")))?;
        Ok(bundle)
    }

    /// The same signer with other roots to hand out.
    pub(crate) fn with_trust(&self, trust: TrustBundle) -> Self {
        Self { signer: self.signer.clone(), trust: Arc::new(trust) }
    }

    /// The roots under which what it signs verifies.
    pub(crate) fn anchors(&self) -> &[Anchor] {
        &self.signer.anchors
    }

    /// Whether both sign with the same key and certificate.
    pub(crate) fn same_signer(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.signer, &other.signer)
    }

    /// The certificate of the key that signs.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.signer.certificate
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.signer.issuer
    }

    /// The chain from the signing certificate up, in DER; empty when a root signs.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.signer.chain
    }

    /// The same in PEM, one text a certificate.
    pub fn chain_pem(&self) -> &[String] {
        &self.signer.chain_pem
    }

    /// The roots.
    pub fn trust(&self) -> &Arc<TrustBundle> {
        &self.trust
    }

    /// When the signing certificate expires; nothing that it signs lives longer.
    pub fn not_after(&self) -> OffsetDateTime {
        self.signer.not_after
    }

    /// Signs a throw-away certificate and verifies it as a proxy would.
    fn prove(&self) -> Result<(), String> {
        let key = KeyPair::generate().map_err(|e| e.to_string())?;
        let mut params = CertificateParams::default();
        params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
        let leaf = params.signed_by(&key, self.issuer()).map_err(|e| e.to_string())?;
        let verifier = self.trust.client_verifier(false).map_err(|e| e.to_string())?;
        verifier.verify_client_cert(leaf.der(), self.chain(), UnixTime::now()).map_err(|e| e.to_string())?;
        Ok(())
    }
}

/// All certificates of a PEM text, at least one.
pub(crate) fn certificates(pem: &str, place: &str) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| CaError::file(place, format!("cannot be read as PEM: {e}")))?;
    if found.is_empty() {
        return Err(CaError::file(place, "has no certificate in PEM"));
    }
    Ok(found)
}

pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>, place: &str) -> Result<X509Certificate<'a>, CaError> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(e) => Err(CaError::file(place, format!("a certificate cannot be parsed: {e}"))),
    }
}

/// The certificate may sign certificates, now.
fn require_authority(c: &X509Certificate<'_>, place: &str, now: OffsetDateTime) -> Result<(), CaError> {
    let subject = c.subject();
    if !c.is_ca() {
        return Err(CaError::file(place, format!("certificate of {subject} is not one of a CA (basicConstraints)")));
    }
    if let Ok(Some(usage)) = c.key_usage()
        && !usage.value.key_cert_sign()
    {
        return Err(CaError::file(place, format!("certificate of {subject} may not sign certificates (keyUsage)")));
    }
    let (from, until) = (c.validity().not_before.to_datetime(), c.validity().not_after.to_datetime());
    if now < from {
        return Err(CaError::file(place, format!("certificate of {subject} is valid only from {from}")));
    }
    if now >= until {
        return Err(CaError::file(place, format!("certificate of {subject} expired at {until}; replace it")));
    }
    Ok(())
}

/// There is a path of signatures from `leaf` by way of `between` to one of `roots`, and each link is valid now. Gives the roots in which it
/// ends: several when one root has several certificates.
fn require_path(
    leaf: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    place: &str,
) -> Result<Vec<Anchor>, CaError> {
    let now = OffsetDateTime::now_utc();
    let mut current = parse(leaf, place)?;
    // Each step uses up one certificate of the chain, so that loops end.
    for _ in 0..=between.len() + 1 {
        let mut anchors = Vec::new();
        let mut unusable = None;
        for root in roots {
            let parsed = parse(root, place)?;
            if !signed_by(&current, &parsed) {
                continue;
            }
            match require_authority(&parsed, "root-cert.pem", now) {
                Ok(()) => anchors.push(Anchor::of(root)?),
                Err(error) => unusable = Some(error),
            }
        }
        match unusable {
            _ if !anchors.is_empty() => return Ok(anchors),
            Some(error) => return Err(error),
            None => {}
        }
        let next = between.iter().filter_map(|c| parse(c, place).ok()).find(|c| signed_by(&current, c));
        let Some(next) = next else { break };
        require_authority(&next, place, now)?;
        current = next;
    }
    let issuer = current.issuer();
    Err(CaError::file(place, format!("no chain to a root: neither here nor in root-cert.pem is the issuer {issuer}")))
}

fn signed_by(child: &X509Certificate<'_>, parent: &X509Certificate<'_>) -> bool {
    child.issuer().as_raw() == parent.subject().as_raw() && child.verify_signature(Some(parent.public_key())).is_ok()
}

/// A PEM block.
pub(crate) fn to_pem(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
        rest = more;
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}
