// SPDX-License-Identifier: Apache-2.0
//! How the control plane and its authority are reached and trusted, and how the workload gets its certificate.

use super::{Environment, ROOT_CERT, TOKEN, WORKLOAD_CREDENTIALS};
use crate::proxy_config::ProxyConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Kind of the workload's private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA P-256: the default.
    P256,
    /// ECDSA P-384.
    P384,
    /// RSA of so many bits.
    Rsa(u32),
}

/// Certificate, key and roots in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, own certificate first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The roots.
    pub root: PathBuf,
}

impl CertificateFiles {
    fn in_dir(dir: &Path) -> Self {
        Self { chain: dir.join("cert-chain.pem"), key: dir.join("key.pem"), root: dir.join("root-cert.pem") }
    }

    fn exist(&self) -> bool {
        [&self.chain, &self.key, &self.root].iter().all(|p| p.is_file())
    }
}

/// How to reach and trust an endpoint of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`
    pub address: String,
    /// The roots by which its certificate is verified; `None` means those of the system.
    pub roots: Option<PathBuf>,
    /// The name that its certificate must have, when it is not the host of the address.
    pub server_name: Option<String>,
    /// No TLS at all.
    pub plaintext: bool,
    /// Headers to send.
    pub headers: BTreeMap<String, String>,
    /// A client certificate that was provisioned.
    pub certificate: Option<CertificateFiles>,
    /// The file of the bearer token.
    pub token: PathBuf,
}

/// How the workload gets its certificate.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// The authority.
    pub authority: Endpoint,
    /// The identity wanted, for the signing request: authorities of the mesh go by the credential.
    pub spiffe_id: String,
    /// The life to ask for (SECRET_TTL).
    pub ttl: Duration,
    /// Which part of its life a certificate has left when it is replaced (SECRET_GRACE_PERIOD_RATIO).
    pub grace_ratio: f64,
    /// By how much that part varies at random (SECRET_GRACE_PERIOD_RATIO_JITTER).
    pub grace_jitter: f64,
    /// Kind of key.
    pub algorithm: KeyAlgorithm,
    /// Where to write key and certificates, if anywhere (OUTPUT_CERTS).
    pub output: Option<PathBuf>,
    /// Certificates that are mounted: the authority is not asked.
    pub files: Option<CertificateFiles>,
}

fn headers(env: &Environment, prefix: &str) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> =
        env.0.iter().filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.to_lowercase(), v.clone()))).collect();
    if let Some(cluster) = env.get("ISTIO_META_CLUSTER_ID") {
        headers.insert("clusterid".into(), cluster.into());
    }
    headers
}

fn provisioned(env: &Environment) -> Option<CertificateFiles> {
    env.get("PROV_CERT").map(|dir| CertificateFiles::in_dir(Path::new(dir)))
}

fn mounted(env: &Environment, config: &ProxyConfig) -> Result<Option<CertificateFiles>, String> {
    let credentials = CertificateFiles::in_dir(Path::new(WORKLOAD_CREDENTIALS));
    if credentials.exist() {
        return Ok(Some(credentials));
    }
    if !env.flag("FILE_MOUNTED_CERTS", false)? {
        return Ok(None);
    }
    if env.get("PROV_CERT").is_some() {
        return Err("PROV_CERT and FILE_MOUNTED_CERTS exclude each other".into());
    }
    let mut files = CertificateFiles::in_dir(Path::new("./etc/certs"));
    for (name, path) in [
        ("ISTIO_META_TLS_CLIENT_CERT_CHAIN", &mut files.chain),
        ("ISTIO_META_TLS_CLIENT_KEY", &mut files.key),
        ("ISTIO_META_TLS_CLIENT_ROOT_CERT", &mut files.root),
    ] {
        if let Some(given) = config.proxy_metadata.get(name).map(String::as_str).or(env.get(name)) {
            *path = given.into();
        }
    }
    Ok(Some(files))
}

/// The roots by which the control plane's certificate is verified: those told (`SYSTEM` for the machine's), those that came with a
/// provisioned certificate, or those of PILOT_CERT_PROVIDER.
fn roots(env: &Environment, explicit: &str) -> Result<Option<PathBuf>, String> {
    match env.get(explicit) {
        Some("SYSTEM") => return Ok(None),
        Some(path) => return Ok(Some(path.into())),
        None => {}
    }
    if let Some(files) = provisioned(env) {
        return Ok(Some(files.root));
    }
    match env.get("PILOT_CERT_PROVIDER").unwrap_or("istiod") {
        "istiod" => Ok(Some(ROOT_CERT.into())),
        "kubernetes" => Ok(Some("./var/run/secrets/kubernetes.io/serviceaccount/ca.crt".into())),
        "custom" => Ok(Some("./etc/certs/root-cert.pem".into())),
        "none" => Ok(None),
        other if other.starts_with("k8s.io/") => Ok(Some(ROOT_CERT.into())),
        other => Err(format!("PILOT_CERT_PROVIDER: {other:?} is not known; use istiod, kubernetes, custom or none")),
    }
}

pub(super) fn discovery(env: &Environment, config: &ProxyConfig) -> Result<Endpoint, String> {
    let address = config.discovery_address.clone();
    let plaintext = config.control_plane_auth_policy == "NONE" || address.ends_with(":15010");
    let mut certificate = provisioned(env);
    let mut root = roots(env, "XDS_ROOT_CA")?;
    if env.get("XDS_ROOT_CA").is_none() && certificate.is_none() {
        certificate = mounted(env, config)?;
        if let Some(files) = &certificate {
            root = Some(files.root.clone());
        }
    }
    let server_name = env.get("ISTIOD_SAN").map(String::from);
    Ok(Endpoint {
        address,
        roots: root,
        server_name,
        plaintext,
        headers: headers(env, "XDS_HEADER_"),
        certificate,
        token: TOKEN.into(),
    })
}

pub(super) fn identity(env: &Environment, config: &ProxyConfig, who: (&str, &str)) -> Result<IdentitySettings, String> {
    let address = env.text("CA_ADDR", &config.discovery_address);
    let own_name = env.get("CA_ADDR").is_none().then(|| env.get("ISTIOD_SAN").map(String::from)).flatten();
    let authority = Endpoint {
        plaintext: address.ends_with(":15010"),
        roots: roots(env, "CA_ROOT_CA")?,
        server_name: own_name,
        address,
        headers: headers(env, "CA_HEADER_"),
        certificate: provisioned(env),
        token: TOKEN.into(),
    };
    let trust_domain = env.text("TRUST_DOMAIN", "cluster.local");
    let grace_ratio: f64 = env.number("SECRET_GRACE_PERIOD_RATIO", 0.5)?;
    let grace_jitter: f64 = env.number("SECRET_GRACE_PERIOD_RATIO_JITTER", 0.01)?;
    if !(0.0..=1.0).contains(&grace_ratio) || !(0.0..=1.0).contains(&grace_jitter) {
        return Err("SECRET_GRACE_PERIOD_RATIO and its jitter must be between 0 and 1".into());
    }
    Ok(IdentitySettings {
        authority,
        spiffe_id: format!("spiffe://{trust_domain}/ns/{}/sa/{}", who.0, who.1),
        ttl: env.duration("SECRET_TTL", Duration::from_secs(24 * 3600))?,
        grace_ratio,
        grace_jitter,
        algorithm: algorithm(env)?,
        output: env.get("OUTPUT_CERTS").map(PathBuf::from),
        files: mounted(env, config)?,
    })
}

/// pilot-agent's default is RSA 2048; here it is ECDSA P-256, which costs a hundredth to make. RSA is taken when its size is given.
fn algorithm(env: &Environment) -> Result<KeyAlgorithm, String> {
    match (env.get("ECC_SIGNATURE_ALGORITHM"), env.get("ECC_CURVE").unwrap_or("P256")) {
        (Some("ECDSA"), "P256") => Ok(KeyAlgorithm::P256),
        (Some("ECDSA"), "P384") => Ok(KeyAlgorithm::P384),
        (Some("ECDSA"), other) => Err(format!("ECC_CURVE: {other:?} is not known; use P256 or P384")),
        (Some(other), _) => Err(format!("ECC_SIGNATURE_ALGORITHM: {other:?} is not known; use ECDSA")),
        (None, _) => match env.number("WORKLOAD_RSA_KEY_SIZE", 0)? {
            0 => Ok(KeyAlgorithm::P256),
            bits @ (2048 | 3072 | 4096) => Ok(KeyAlgorithm::Rsa(bits)),
            other => Err(format!("WORKLOAD_RSA_KEY_SIZE: {other} is not possible; use 2048, 3072 or 4096")),
        },
    }
}
