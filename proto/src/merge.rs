// SPDX-License-Identifier: Apache-2.0
//! Merging of messages by reflection, as EnvoyFilters ask for it
//! (<https://istio.io/latest/docs/reference/config/networking/envoy-filter/#EnvoyFilter-Patch-Operation>): what is set in one message is set in
//! the other; nested messages are merged, lists are put behind each other, entries of maps and durations are replaced.

use crate::canonical;
use crate::google::protobuf::Any;
use crate::json::{JsonError, pool};
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value};

/// What becomes of a list that both messages have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lists {
    /// The second one is put behind the first.
    Append,
    /// The second one takes its place.
    Replace,
}

/// Merges an encoded message of the same type into a message.
///
/// # Errors
/// When the bytes are none of this type.
pub fn merge<M: Message + Name + Default>(into: &mut M, from: &[u8], lists: Lists) -> Result<(), JsonError> {
    let merged = merge_encoded(&M::full_name(), &into.encode_to_vec(), from, lists)?;
    *into = M::decode(&merged[..]).map_err(malformed)?;
    Ok(())
}

/// Merges what is packed in one `Any` into what is packed in another one of the same type.
///
/// # Errors
/// When the types differ, or no message of the type is known.
pub fn merge_any(into: &mut Any, from: &Any, lists: Lists) -> Result<(), JsonError> {
    let name = |any: &Any| any.type_url.rsplit('/').next().unwrap_or_default().to_owned();
    if name(into) != name(from) {
        let text = format!("{} cannot be merged into {}: they are not of one type", from.type_url, into.type_url);
        return Err(JsonError::Malformed(text));
    }
    into.value = merge_encoded(&name(into), &into.value, &from.value, lists)?.into();
    Ok(())
}

fn merge_encoded(name: &str, into: &[u8], from: &[u8], lists: Lists) -> Result<Vec<u8>, JsonError> {
    let descriptor: MessageDescriptor =
        pool().get_message_by_name(name).ok_or_else(|| JsonError::UnknownType(name.into()))?;
    let mut merged = DynamicMessage::decode(descriptor.clone(), into).map_err(malformed)?;
    let from = DynamicMessage::decode(descriptor, from).map_err(malformed)?;
    merge_messages(&mut merged, from, lists);
    Ok(canonical::encode(&merged))
}

fn malformed(error: prost::DecodeError) -> JsonError {
    JsonError::Malformed(error.to_string())
}

fn merge_messages(into: &mut DynamicMessage, mut from: DynamicMessage, lists: Lists) {
    let fields: Vec<_> = from.take_fields().collect();
    for (field, value) in fields {
        let known = into.has_field(&field);
        match value {
            Value::Message(nested) if known && nested.descriptor().full_name() != "google.protobuf.Duration" => {
                if let Some(own) = into.get_field_mut(&field).as_message_mut() {
                    merge_messages(own, nested, lists);
                }
            }
            Value::List(more) if known && lists == Lists::Append => {
                if let Some(own) = into.get_field_mut(&field).as_list_mut() {
                    own.extend(more);
                }
            }
            Value::Map(more) if known => {
                if let Some(own) = into.get_field_mut(&field).as_map_mut() {
                    own.extend(more);
                }
            }
            value => into.set_field(&field, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode_json;
    use crate::envoy::config::cluster::v3::Cluster;
    use serde_json::json;

    fn cluster(json: serde_json::Value) -> Cluster {
        let (bytes, unknown) = encode_json("envoy.config.cluster.v3.Cluster", &json).unwrap();
        assert_eq!(unknown, None);
        Cluster::decode(&bytes[..]).unwrap()
    }

    fn merged(into: serde_json::Value, from: serde_json::Value, lists: Lists) -> Cluster {
        let mut into = cluster(into);
        merge(&mut into, &cluster(from).encode_to_vec(), lists).unwrap();
        into
    }

    #[test]
    fn lists_are_appended_or_replaced() {
        let (a, b) = (json!({"altStatName": "x", "filters": [{"name": "a"}]}), json!({"filters": [{"name": "b"}]}));
        let names = |cluster: Cluster| cluster.filters.into_iter().map(|f| f.name).collect::<Vec<_>>().join(",");
        assert_eq!(names(merged(a.clone(), b.clone(), Lists::Append)), "a,b");
        assert_eq!(names(merged(a, b, Lists::Replace)), "b");
    }

    #[test]
    fn durations_are_replaced_and_messages_merged() {
        let into = json!({"connectTimeout": "1.5s", "circuitBreakers": {"perHostThresholds": []},
            "metadata": {"filterMetadata": {"istio": {"a": 1}, "x": {"b": 1}}},
            "upstreamConnectionOptions": {"tcpKeepalive": {"keepaliveTime": 5}}});
        let from = json!({"connectTimeout": "2s", "metadata": {"filterMetadata": {"istio": {"c": 1}}},
            "upstreamConnectionOptions": {"tcpKeepalive": {"keepaliveProbes": 3}}});
        let expected = json!({"connectTimeout": "2s",
            "circuitBreakers": {"perHostThresholds": []},
            "metadata": {"filterMetadata": {"istio": {"c": 1}, "x": {"b": 1}}},
            "upstreamConnectionOptions": {"tcpKeepalive": {"keepaliveTime": 5, "keepaliveProbes": 3}}});
        assert_eq!(merged(into, from, Lists::Append), cluster(expected));
    }

    #[test]
    fn what_is_packed_is_merged_when_it_is_of_one_type() {
        let pack = |json| crate::to_any(&cluster(json));
        let mut any = pack(json!({"name": "a"}));
        merge_any(&mut any, &pack(json!({"altStatName": "b"})), Lists::Append).unwrap();
        assert_eq!(any, pack(json!({"name": "a", "altStatName": "b"})));
        let other = crate::to_any(&crate::envoy::config::listener::v3::Listener::default());
        assert!(merge_any(&mut any, &other, Lists::Append).unwrap_err().to_string().contains("not of one type"));
    }
}
