// SPDX-License-Identifier: Apache-2.0
//! Keys, certificates and tokens of a cluster, made once when it first comes up.

use crate::plan::Plan;
use crate::state::write_private;
use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256,
};
use std::fs;
use std::net::IpAddr;
use time::{Duration, OffsetDateTime};

/// How long all of it holds. A test cluster lives for hours.
const LIFETIME: Duration = Duration::days(365);

/// Makes what is not there yet:
/// `ca.crt`, `ca.key` sign everything, also the certificate requests that the cluster's users approve;
/// `server.crt`, `server.key` are the API server's; with `kubelet-client.crt`, `kubelet-client.key` it calls kubelets;
/// with `accounts.key` it signs the tokens of ServiceAccounts, whose public half is `accounts.pub`;
/// `tokens.csv` has the administrator's token, and `token` the token alone.
///
/// # Errors
/// When they cannot be made or written.
pub fn make(plan: &Plan) -> Result<()> {
    if plan.pki("tokens.csv").exists() {
        return Ok(());
    }
    let ca_key = KeyPair::generate()?;
    let mut params = params(&format!("{} cluster", plan.name));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let ca = params.self_signed(&ca_key)?;
    write_private(&plan.pki("ca.crt"), &ca.pem())?;
    write_private(&plan.pki("ca.key"), &ca_key.serialize_pem())?;
    let issuer = Issuer::from_ca_cert_der(ca.der(), ca_key)?;
    server(plan, &issuer)?;
    kubelet_client(plan, &issuer)?;
    // RSA, as most clusters have it.
    let accounts = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    write_private(&plan.pki("accounts.key"), &accounts.serialize_pem())?;
    write_private(&plan.pki("accounts.pub"), &accounts.public_key_pem())?;
    // As unguessable as a key: it is a part of one.
    let token: String =
        KeyPair::generate()?.serialized_der().iter().rev().take(32).map(|b| format!("{b:02x}")).collect();
    write_private(&plan.pki("token"), &token)?;
    write_private(&plan.pki("tokens.csv"), &format!("{token},admin,admin,\"system:masters\"\n"))
}

fn server(plan: &Plan, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    let mut params = params("kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
    for name in names.into_iter().chain(["localhost"]) {
        params.subject_alt_names.push(rcgen::SanType::DnsName(name.try_into()?));
    }
    for ip in [plan.control_plane().ip, plan.kubernetes_ip(), [127, 0, 0, 1].into()] {
        params.subject_alt_names.push(rcgen::SanType::IpAddress(IpAddr::V4(ip)));
    }
    issue(plan, "server", params, issuer)
}

fn kubelet_client(plan: &Plan, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    let mut params = params("kube-apiserver-kubelet-client");
    params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    issue(plan, "kubelet-client", params, issuer)
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::HOUR, now + LIFETIME);
    params
}

fn issue(plan: &Plan, name: &str, params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    let key = KeyPair::generate()?;
    write_private(&plan.pki(&format!("{name}.crt")), &params.signed_by(&key, issuer)?.pem())?;
    write_private(&plan.pki(&format!("{name}.key")), &key.serialize_pem())
}

/// Writes the administrator's kubeconfig.
///
/// # Errors
/// When the token cannot be read or the file cannot be written.
pub fn kubeconfig(plan: &Plan) -> Result<()> {
    let text = format!(
        "apiVersion: v1
kind: Config
current-context: {name}
clusters:
- name: {name}
  cluster: {{server: '{server}', certificate-authority: '{ca}'}}
contexts:
- name: {name}
  context: {{cluster: {name}, user: {name}}}
users:
- name: {name}
  user: {{token: '{token}'}}
",
        name = plan.name,
        server = plan.server(),
        ca = plan.pki("ca.crt").display(),
        token = fs::read_to_string(plan.pki("token"))?.trim(),
    );
    write_private(&plan.kubeconfig(), &text)
}
