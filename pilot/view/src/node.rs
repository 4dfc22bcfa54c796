// SPDX-License-Identifier: Apache-2.0
//! From an xDS Node message to a proxy, and whether its connection may speak for it.

use serde_json::{Map, Value};
use tiphys_model::{Locality, NodeError, NodeParts, ProxyNode};
use tiphys_proto::envoy::config::core::v3::Node;
use tiphys_proto::google::protobuf::{self, value::Kind};
use tiphys_xds::Peer;

/// Reads a Node message.
pub fn proxy_of(node: &Node) -> Result<ProxyNode, NodeError> {
    let locality = node.locality.as_ref().map_or_else(Locality::default, |locality| Locality {
        region: locality.region.as_str().into(),
        zone: locality.zone.as_str().into(),
        subzone: locality.sub_zone.as_str().into(),
    });
    let extensions: Vec<String> = node.extensions.iter().map(|extension| extension.name.clone()).collect();
    ProxyNode::parse(NodeParts {
        id: &node.id,
        metadata: node.metadata.as_ref().map_or(Value::Null, object),
        locality,
        extensions: &extensions,
    })
}

fn object(fields: &protobuf::Struct) -> Value {
    Value::Object(fields.fields.iter().map(|(name, value)| (name.clone(), json(value))).collect::<Map<_, _>>())
}

fn json(value: &protobuf::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(value)) => serde_json::Number::from_f64(*value).map_or(Value::Null, Value::Number),
        Some(Kind::StringValue(value)) => Value::String(value.clone()),
        Some(Kind::StructValue(value)) => object(value),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(json).collect()),
    }
}

/// Refuses a proxy that claims a namespace or service account other than those its connection proved. A connection that proved nothing is
/// let through here: whether it is accepted at all is decided where it came in.
pub(crate) fn authorize(proxy: &ProxyNode, peer: &Peer) -> Result<(), String> {
    if peer.identities.is_empty() {
        return Ok(());
    }
    let speaks_for = |identity: &str| {
        let Some((namespace, account)) = account_of(identity) else { return false };
        namespace == &*proxy.namespace && (proxy.service_account.is_empty() || account == &*proxy.service_account)
    };
    if peer.identities.iter().any(|identity| speaks_for(identity)) {
        return Ok(());
    }
    Err(format!(
        "node {} claims namespace {:?} and service account {:?}, but the connection proved {:?}",
        proxy.node_id, proxy.namespace, proxy.service_account, peer.identities
    ))
}

/// Namespace and service account of `spiffe://DOMAIN/ns/NS/sa/SA`.
pub(crate) fn account_of(identity: &str) -> Option<(&str, &str)> {
    let path = identity.strip_prefix("spiffe://")?.split_once('/')?.1;
    let (namespace, account) = path.strip_prefix("ns/")?.split_once("/sa/")?;
    (!account.contains('/')).then_some((namespace, account))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(namespace: &str, account: &str) -> ProxyNode {
        let metadata = serde_json::json!({"NAMESPACE": namespace, "SERVICE_ACCOUNT": account});
        let id = &format!("sidecar~10.0.0.1~a.{namespace}~d");
        ProxyNode::parse(NodeParts { id, metadata, locality: Locality::default(), extensions: &[] }).unwrap()
    }

    #[test]
    fn a_node_cannot_claim_what_its_connection_did_not_prove() {
        let peer = |identity: &str| Peer { tls: true, identities: vec![identity.into()], ..Peer::default() };
        assert!(authorize(&proxy("ns", "a"), &peer("spiffe://d/ns/ns/sa/a")).is_ok());
        assert!(authorize(&proxy("other", "a"), &peer("spiffe://d/ns/ns/sa/a")).is_err());
        assert!(authorize(&proxy("ns", "b"), &peer("spiffe://d/ns/ns/sa/a")).is_err());
        assert!(authorize(&proxy("ns", "a"), &peer("https://d/ns/ns/sa/a")).is_err());
        assert!(authorize(&proxy("ns", "a"), &Peer::default()).is_ok());
    }
}
