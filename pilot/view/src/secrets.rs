// SPDX-License-Identifier: Apache-2.0
//! Which credentials a proxy may have: a gateway those of its own namespace, over an encrypted connection that proved who it is. Nobody
//! else gets any.

use tiphys_compile::Snapshot;
use tiphys_model::{Credential, ProxyNode, ProxyType};
use tiphys_translate::secret;
use tiphys_xds::{Entry, Peer};

/// Prefix of names of the proxy's own namespace: `kubernetes://NAME`.
const OWN: &str = "kubernetes://";
/// Prefix of names with a namespace: `kubernetes-gateway://NAMESPACE/NAME`.
const NAMED: &str = "kubernetes-gateway://";
/// Suffix of the authorities that belong to a credential.
const AUTHORITIES: &str = "-cacert";

/// The secret of a resource name, if the proxy may have it.
pub(crate) fn secret(snapshot: &Snapshot, node: &ProxyNode, peer: &Peer, name: &str) -> Option<Entry> {
    let proven = peer.tls && !peer.identities.is_empty();
    if node.kind != ProxyType::Router || !proven {
        return None;
    }
    let (namespace, object) = match (name.strip_prefix(OWN), name.strip_prefix(NAMED)) {
        (Some(object), _) => (&*node.namespace, object),
        (None, Some(rest)) => rest.split_once('/')?,
        (None, None) => return None,
    };
    if namespace != &*node.namespace {
        return None;
    }
    let find = |object: &str| snapshot.credential(namespace, object);
    let made = match object.strip_suffix(AUTHORITIES) {
        None => secret::certificate(name, find(object)?),
        // The authorities have a Secret of their own, or stand in that of the certificate.
        Some(base) => {
            let with_authorities = |credential: &&Credential| !credential.authorities.is_empty();
            let own = find(object).filter(with_authorities);
            secret::validation(name, own.or_else(|| find(base))?)
        }
    };
    Some(Entry::of(name, &made?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tiphys_api::mesh::MeshConfig;
    use tiphys_compile::{Compiler, Settings};
    use tiphys_model::{Locality, NodeParts};

    fn snapshot() -> Arc<Snapshot> {
        let text = "
apiVersion: v1
kind: Secret
metadata: {name: tls, namespace: ns}
stringData: {tls.crt: \"-----BEGIN X-----\\nAAAA\\n-----END X-----\\n\", tls.key: \"-----BEGIN X-----\\nAAAA\\n-----END X-----\\n\"}
";
        let mut compiler = Compiler::new(&MeshConfig::default(), Settings::default());
        for parsed in tiphys_api::parse_yaml(text, None) {
            let object = parsed.unwrap().object;
            compiler.apply(object.key(), Some(Arc::new(object)));
        }
        compiler.snapshot()
    }

    fn node(kind: &str, namespace: &str) -> ProxyNode {
        let id = &format!("{kind}~10.0.0.1~g.{namespace}~d");
        let metadata = serde_json::json!({"NAMESPACE": namespace});
        ProxyNode::parse(NodeParts { id, metadata, locality: Locality::default(), extensions: &[] }).unwrap()
    }

    #[test]
    fn only_a_proven_gateway_gets_the_credentials_of_its_namespace() {
        let snapshot = snapshot();
        let proven = Peer { tls: true, identities: vec!["spiffe://d/ns/ns/sa/g".into()], ..Peer::default() };
        let get = |kind: &str, namespace: &str, peer: &Peer, name: &str| {
            secret(&snapshot, &node(kind, namespace), peer, name).is_some()
        };
        assert!(get("router", "ns", &proven, "kubernetes://tls"));
        assert!(get("router", "ns", &proven, "kubernetes-gateway://ns/tls"));
        assert!(!get("router", "ns", &Peer::default(), "kubernetes://tls"));
        assert!(!get("sidecar", "ns", &proven, "kubernetes://tls"));
        assert!(!get("router", "other", &proven, "kubernetes-gateway://ns/tls"));
        assert!(!get("router", "ns", &proven, "kubernetes://tls-cacert"));
    }
}
