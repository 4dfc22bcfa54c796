// SPDX-License-Identifier: Apache-2.0
//! Settings of the authority, of who accepts credentials, and of who writes.

use std::collections::BTreeSet;
use std::time::Duration;

use tiphys_ca::ServiceAccount;

use super::{Reader, Setting, SettingError};

/// A setting without a word about its default.
const fn row(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default, meaning }
}

/// Settings of identity that are obeyed.
#[rustfmt::skip]
pub const IDENTITY_TABLE: &[Setting] = &[
    row("CA_TRUSTED_NODE_ACCOUNTS", "", "Service accounts (NAMESPACE/NAME, with commas between) whose pods may ask for certificates of the pods on their node"),
    row("CERT_SIGNER_DOMAIN", "", "What is put before the signer that a workload names, when Kubernetes signs"),
    row("CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR", "true", "Whether replicas look after the self-signed root at different times"),
    row("CITADEL_SELF_SIGNED_CA_CERT_TTL", "87600h", "Life of the self-signed root"),
    row("CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE", "", "Bits of the RSA key of a new self-signed root: 2048, 3072 or 4096; ECDSA P-256 without it"),
    row("CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", "1h", "Time between two looks whether the self-signed root is to be renewed; 0 = never"),
    row("CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", "20", "Percent of the self-signed root's life before its end at which it is renewed"),
    row("ENABLE_LEADER_ELECTION", "true", "Whether replicas elect who writes; without it every replica does"),
    row("EXTERNAL_CA", "", "ISTIOD_RA_KUBERNETES_API: Kubernetes' CertificateSigningRequest signers sign in place of this authority"),
    row("ISTIOD_CUSTOM_HOST", "", "Further DNS names of the serving certificate, with commas between"),
    row("K8S_SIGNER", "", "The signer for workloads that name none, when Kubernetes signs"),
    row("PILOT_CA_CERT_CONFIGMAP", "istio-ca-root-cert", "Name of the ConfigMap that has the root in each namespace"),
    row("PILOT_CERT_PROVIDER", "istiod", "Who issues the serving certificate: istiod (this authority), k8s.io/SIGNER, or none"),
    row("PILOT_MAX_REQUESTS_PER_SECOND", "0", "New streams a second; more wait up to a second and are refused then; 0 = no limit"),
    row("TOKEN_AUDIENCES", "istio-ca", "Audiences of service account tokens that are accepted, with commas between"),
    row("USE_CACERTS_FOR_SELF_SIGNED_CA", "false", "Whether a self-signed root is kept in the Secret cacerts where istio-ca-secret does not exist"),
];

/// Who issues the serving certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertProvider {
    /// The authority of this control plane.
    Own,
    /// A signer of Kubernetes.
    Signer(String),
    /// Nobody: it is mounted, or there is none.
    None,
}

/// The settings of identity in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Service accounts of node agents.
    pub trusted_node_accounts: BTreeSet<ServiceAccount>,
    /// What is put before a signer's name.
    pub signer_domain: String,
    /// Whether replicas look after the root at different times.
    pub root_jitter: bool,
    /// Life of the self-signed root.
    pub root_ttl: Duration,
    /// Bits of its RSA key; none for ECDSA.
    pub root_rsa_bits: Option<u32>,
    /// Time between two looks after it.
    pub root_interval: Duration,
    /// Percent of its life at which it is renewed.
    pub root_grace: u8,
    /// Whether replicas elect who writes.
    pub elections: bool,
    /// Whether Kubernetes signs.
    pub kubernetes_signs: bool,
    /// Further names of the serving certificate.
    pub hosts: BTreeSet<String>,
    /// The signer for workloads that name none.
    pub signer: String,
    /// Name of the ConfigMap with the root.
    pub root_config_map: String,
    /// Who issues the serving certificate.
    pub cert_provider: CertProvider,
    /// New streams a second; zero without a limit.
    pub max_requests: u32,
    /// Accepted audiences.
    pub audiences: BTreeSet<String>,
    /// Whether the self-signed root may stand in `cacerts`.
    pub root_in_cacerts: bool,
}

impl IdentitySettings {
    pub(super) fn read<F: Fn(&str) -> Option<String>>(read: &Reader<F>) -> Result<Self, SettingError> {
        let provider = |text: &str| match text {
            "istiod" => Some(CertProvider::Own),
            "none" | "custom" => Some(CertProvider::None),
            other => {
                other.strip_prefix("k8s.io/").filter(|s| !s.is_empty()).map(|s| CertProvider::Signer(s.to_owned()))
            }
        };
        let accounts = |text: &str| tiphys_ca::parse_accounts(text).ok();
        let bits = |text: &str| match text {
            "" => Some(None),
            "2048" | "3072" | "4096" => text.parse().ok().map(Some),
            _ => None,
        };
        let external = |text: &str| match text {
            "" => Some(false),
            "ISTIOD_RA_KUBERNETES_API" => Some(true),
            _ => None,
        };
        let percent = |text: &str| text.parse().ok().filter(|percent: &u8| *percent <= 100);
        // Fractions of a stream are of no use.
        let rate =
            |text: &str| text.parse().ok().filter(|rate| (0.0..1e9).contains(rate)).map(|rate: f64| rate.ceil() as u32);
        Ok(Self {
            trusted_node_accounts: read.parse(
                "CA_TRUSTED_NODE_ACCOUNTS",
                "list of NAMESPACE/SERVICE_ACCOUNT",
                accounts,
            )?,
            signer_domain: read.text("CERT_SIGNER_DOMAIN"),
            root_jitter: read.bool("CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR")?,
            root_ttl: read.duration("CITADEL_SELF_SIGNED_CA_CERT_TTL")?,
            root_rsa_bits: read.parse("CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE", "key size of 2048, 3072 or 4096", bits)?,
            root_interval: read.duration("CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL")?,
            root_grace: read.parse("CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", "percentage", percent)?,
            elections: read.bool("ENABLE_LEADER_ELECTION")?,
            kubernetes_signs: read.parse("EXTERNAL_CA", "authority: only ISTIOD_RA_KUBERNETES_API is", external)?,
            hosts: read.list("ISTIOD_CUSTOM_HOST"),
            signer: read.text("K8S_SIGNER"),
            root_config_map: read.text("PILOT_CA_CERT_CONFIGMAP"),
            cert_provider: read.parse("PILOT_CERT_PROVIDER", "provider: istiod, k8s.io/SIGNER or none is", provider)?,
            max_requests: read.parse("PILOT_MAX_REQUESTS_PER_SECOND", "number", rate)?,
            audiences: read.list("TOKEN_AUDIENCES"),
            root_in_cacerts: read.bool("USE_CACERTS_FOR_SELF_SIGNED_CA")?,
        })
    }
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            trusted_node_accounts: BTreeSet::new(),
            signer_domain: String::new(),
            root_jitter: true,
            root_ttl: Duration::from_secs(87_600 * 3_600),
            root_rsa_bits: None,
            root_interval: Duration::from_secs(3_600),
            root_grace: 20,
            elections: true,
            kubernetes_signs: false,
            hosts: BTreeSet::new(),
            signer: String::new(),
            root_config_map: "istio-ca-root-cert".to_owned(),
            cert_provider: CertProvider::Own,
            max_requests: 0,
            audiences: BTreeSet::from(["istio-ca".to_owned()]),
            root_in_cacerts: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    #[test]
    fn values_and_mistakes() {
        let set =
            |name: &'static str, value: &'static str| Settings::read(move |n| (n == name).then(|| value.to_owned()));
        let identity = |name, value| set(name, value).unwrap().identity;
        assert_eq!(identity("CA_TRUSTED_NODE_ACCOUNTS", "a/b,c/d").trusted_node_accounts.len(), 2);
        assert_eq!(
            identity("PILOT_CERT_PROVIDER", "k8s.io/x.io/y").cert_provider,
            CertProvider::Signer("x.io/y".into())
        );
        assert_eq!(identity("CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE", "4096").root_rsa_bits, Some(4096));
        assert_eq!(identity("PILOT_MAX_REQUESTS_PER_SECOND", "25.5").max_requests, 26);
        for (name, value) in [
            ("CA_TRUSTED_NODE_ACCOUNTS", "b"),
            ("PILOT_CERT_PROVIDER", "kubernetes"),
            ("CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE", "1024"),
            ("EXTERNAL_CA", "VAULT"),
            ("CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", "101"),
            ("PILOT_MAX_REQUESTS_PER_SECOND", "-1"),
        ] {
            assert!(set(name, value).unwrap_err().to_string().contains(name), "{name}");
        }
    }
}
