// SPDX-License-Identifier: Apache-2.0
//! Certificates of clients that were called back, by lists in the Secrets of a gateway whose clients show certificates.

use super::{PATIENCE, User};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tiphys_cluster_tests::Namespace;
use tiphys_harness::credentials::{ClientAuthority, ClientCertificate, ServerCertificate};

/// One server with a Secret of type kubernetes.io/tls, and one with a generic pair of Secrets.
const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: mutual}
spec:
  selector: {istio: edge-ingress}
  servers:
  - port: {number: 443, name: https-tls, protocol: HTTPS}
    hosts: [tls.example.com]
    tls: {mode: MUTUAL, credentialName: tls}
  - port: {number: 443, name: https-generic, protocol: HTTPS}
    hosts: [generic.example.com]
    tls: {mode: MUTUAL, credentialName: generic}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: mutual}
spec:
  hosts: [tls.example.com, generic.example.com]
  gateways: [mutual]
  http: [{route: [{destination: {host: app.edge-applications.svc.cluster.local, subset: v1, port: {number: 80}}}]}]
";

fn secret(edge: &Namespace, name: &str, kind: &str, data: Value) -> Result<()> {
    let object =
        json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name}, "stringData": data});
    edge.apply(&object.to_string())
}

/// A client before the gateway, and what curl says of it: status 0 with the alert when it is refused.
struct Client<'a> {
    user: &'a User,
    name: &'a str,
}

impl<'a> Client<'a> {
    fn new(user: &'a User, name: &'a str, of: &ClientCertificate) -> Result<Self> {
        let script = r#"umask 077; printf '%s' "$2" > /tmp/$1.pem; printf '%s' "$3" > /tmp/$1.key"#;
        user.pod.exec(&["sh", "-c", script, "sh", name, &of.certificate, &of.key])?;
        Ok(Self { user, name })
    }

    fn until(&self, host: &str, ca: &str, expected: Result<(), &str>) -> Result<()> {
        let [certificate, key] = ["pem", "key"].map(|kind| format!("/tmp/{}.{kind}", self.name));
        self.user.pod.cluster().eventually(&format!("{} at {host}", self.name), PATIENCE, || {
            let url = format!("https://{host}/");
            let answer = self.user.get(&url, ca, &["--cert", &certificate, "--key", &key])?;
            match expected {
                Ok(()) => ensure!(answer.status == 200, "{answer:?}"),
                Err(why) => ensure!(answer.status == 0 && answer.body.contains(why), "{answer:?}"),
            }
            Ok(())
        })
    }
}

/// Who is on the list is refused from when the Secret has it, and others pass.
pub fn checked(edge: &Namespace, user: &User) -> Result<()> {
    const REVOKED: Result<(), &str> = Err("certificate revoked");
    let authority = ClientAuthority::new()?;
    let (alice, mallory) = (authority.client("alice", 1)?, authority.client("mallory", 2)?);
    let list = authority.revoked(&[&mallory])?;
    let (alice, mallory) = (Client::new(user, "alice", &alice)?, Client::new(user, "mallory", &mallory)?);
    let [tls, generic] = [ServerCertificate::new("tls.example.com")?, ServerCertificate::new("generic.example.com")?];
    let server = |extra: &[(&str, &str)]| {
        let mut data = json!({"tls.crt": tls.certificate, "tls.key": tls.key, "ca.crt": authority.pem()});
        extra.iter().for_each(|(name, text)| data[*name] = (*text).into());
        secret(edge, "tls", "kubernetes.io/tls", data)
    };
    server(&[])?;
    secret(edge, "generic", "Opaque", json!({"cert": generic.certificate, "key": generic.key}))?;
    secret(edge, "generic-cacert", "Opaque", json!({"cacert": authority.pem(), "crl": list}))?;
    edge.apply(GATEWAY)?;
    alice.until("generic.example.com", &generic.ca, Ok(()))?;
    mallory.until("generic.example.com", &generic.ca, REVOKED)?;
    mallory.until("tls.example.com", &tls.ca, Ok(()))?;
    server(&[("ca.crl", &list)])?;
    mallory.until("tls.example.com", &tls.ca, REVOKED)?;
    alice.until("tls.example.com", &tls.ca, Ok(()))
}
