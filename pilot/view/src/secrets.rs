// SPDX-License-Identifier: Apache-2.0
//! Which credentials a proxy may have. Nobody gets any over a connection that is not encrypted, or that did not prove the proxy's service
//! account.
//!
//! | resource name | who gets it |
//! | --- | --- |
//! | `kubernetes://NAME` (a certificate and its key) | proxies of the Secret's namespace whose service account may read it ([`SecretAccess`]) |
//! | `kubernetes://NAME-cacert` (authorities, which are public) | proxies of the Secret's namespace |
//! | `kubernetes-gateway://NAMESPACE/NAME` | proxies of a Gateway that refers to it and may: in its namespace, or by a ReferenceGrant |
//! | `configmap://NAMESPACE/NAME-cacert` | all |
//!
//! See <https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/>.

use crate::Context;
use crate::gateways::merged;
use crate::node::account_of;
use tiphys_compile::Snapshot;
use tiphys_model::{Attachment, Credential, ProxyNode, ProxyType};
use tiphys_translate::secret;
use tiphys_xds::{Entry, Peer};

/// Secrets of the proxy's own namespace, or of one that is named: `kubernetes://NAME`, `kubernetes://NAMESPACE/NAME`.
const SECRET: &str = "kubernetes://";
/// Secrets that a Gateway of the Gateway API refers to: `kubernetes-gateway://NAMESPACE/NAME`.
const REFERENCE: &str = "kubernetes-gateway://";
/// Authorities in ConfigMaps: `configmap://NAMESPACE/NAME`.
const CONFIG_MAP: &str = "configmap://";
/// Suffix of the authorities that belong to a credential.
const AUTHORITIES: &str = "-cacert";

/// A proxy that asks for a private key in a Secret of its own namespace.
#[derive(Clone, Copy, Debug)]
pub struct SecretReader<'a> {
    /// What it is.
    pub kind: ProxyType,
    /// Its namespace, which is that of the Secret.
    pub namespace: &'a str,
    /// The service account that it proved.
    pub service_account: &'a str,
}

/// Says who may read the Secrets of its namespace.
pub trait SecretAccess: Send + Sync + 'static {
    /// Whether it may, as far as is known now.
    fn may_read(&self, reader: &SecretReader<'_>) -> bool;

    /// A number that changes whenever an answer may be another one.
    fn epoch(&self) -> u64 {
        0
    }
}

/// Gateways may: where nobody else says who may read what.
#[derive(Clone, Copy, Debug, Default)]
pub struct GatewaysMay;

impl SecretAccess for GatewaysMay {
    fn may_read(&self, reader: &SecretReader<'_>) -> bool {
        reader.kind == ProxyType::Router
    }
}

/// Who asks for a secret.
pub(crate) struct Asking<'a> {
    /// The mesh.
    pub snapshot: &'a Snapshot,
    /// The proxy.
    pub node: &'a ProxyNode,
    /// What its connection proved.
    pub peer: &'a Peer,
    /// Who may read Secrets.
    pub access: &'a dyn SecretAccess,
}

/// The secret of a resource name, if the proxy may have it.
pub(crate) fn secret(of: &Asking<'_>, name: &str) -> Option<Entry> {
    let service_account = proven(of)?;
    let made = if let Some(rest) = name.strip_prefix(SECRET) {
        let own = &*of.node.namespace;
        let (namespace, object) = rest.split_once('/').unwrap_or((own, rest));
        let reader = SecretReader { kind: of.node.kind, namespace, service_account };
        if namespace != own || !(object.ends_with(AUTHORITIES) || of.access.may_read(&reader)) {
            return denied(of, name);
        }
        of_secret(of.snapshot, name, namespace, object)
    } else if let Some(rest) = name.strip_prefix(REFERENCE) {
        let (namespace, object) = rest.split_once('/')?;
        if !is_referred_to(of, name, service_account) {
            return denied(of, name);
        }
        of_secret(of.snapshot, name, namespace, object)
    } else {
        let (namespace, object) = name.strip_prefix(CONFIG_MAP)?.split_once('/')?;
        let object = object.strip_suffix(AUTHORITIES).unwrap_or(object);
        secret::validation(name, of.snapshot.config_map_authorities(namespace, object)?)
    };
    Some(Entry::of(name, &made?))
}

fn denied(of: &Asking<'_>, name: &str) -> Option<Entry> {
    tracing::debug!(
        target: "authorization",
        workload = %of.node.workload,
        namespace = %of.node.namespace,
        "{name} is not for this proxy: its service account may not read Secrets, or another namespace does not grant it"
    );
    None
}

/// The service account that the connection proved for the namespace of the proxy.
fn proven<'a>(of: &'a Asking<'_>) -> Option<&'a str> {
    if !of.peer.tls {
        return None;
    }
    let mut own = of.peer.identities.iter().filter_map(|identity| account_of(identity));
    let is_own = |(namespace, account): &(&str, &str)| {
        let node = &of.node.service_account;
        *namespace == &*of.node.namespace && (node.is_empty() || *account == &**node)
    };
    own.find(is_own).map(|(_, account)| account)
}

fn of_secret(
    snapshot: &Snapshot,
    name: &str,
    namespace: &str,
    object: &str,
) -> Option<tiphys_proto::envoy::extensions::transport_sockets::tls::v3::Secret> {
    let find = |object: &str| snapshot.credential(namespace, object);
    match object.strip_suffix(AUTHORITIES) {
        None => secret::certificate(name, find(object)?),
        // The authorities have a Secret of their own, or stand in that of the certificate.
        Some(base) => {
            let with_authorities = |credential: &&Credential| !credential.authorities.is_empty();
            let own = find(object).filter(with_authorities);
            secret::validation(name, own.or_else(|| find(base))?)
        }
    }
}

/// Whether a Gateway that is served by this proxy refers to a Secret. References into another namespace were checked against ReferenceGrants
/// when the Gateway of the Gateway API was taken; a Gateway of Istio's own API may only refer to its own namespace.
fn is_referred_to(of: &Asking<'_>, name: &str, service_account: &str) -> bool {
    let scope = of.snapshot.scope(of.node);
    let targets = of.snapshot.targets(of.node);
    let (memo, notes) = (crate::Memo::default(), crate::Notes::default());
    let cx = Context {
        snapshot: of.snapshot,
        scope: &scope,
        proxy: of.node,
        targets: &targets,
        patches: None,
        memo: &memo,
        notes: &notes,
    };
    let merged = merged(&cx);
    merged.ports.iter().flat_map(|port| &port.servers).any(|server| {
        let gateway = &server.gateway;
        let expected = if gateway.proxy_namespace.is_empty() { &gateway.namespace } else { &gateway.proxy_namespace };
        let is_its_proxy = *expected == of.node.namespace
            && (gateway.service_account.is_empty() || &*gateway.service_account == service_account);
        let checked = matches!(gateway.attachment, Attachment::Services(_));
        let of_namespace = || name[REFERENCE.len()..].split_once('/').is_some_and(|(ns, _)| ns == &*of.node.namespace);
        let Some(tls) = server.server().tls.as_ref().filter(|_| is_its_proxy && (checked || of_namespace())) else {
            return false;
        };
        let base = name.strip_suffix(AUTHORITIES);
        tls.credentials.iter().any(|own| &**own == name || base == Some(&**own)) || &*tls.ca_credential == name
    })
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
