// SPDX-License-Identifier: Apache-2.0
//! Canonical protobuf JSON by reflection over the whole descriptor set. The pool is loaded at its first use (some 20 ms, 17 MB):
//! programs that never print configuration never pay for it.

use crate::canonical;
use crate::google::protobuf::Any;
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, SerializeOptions};
use std::sync::OnceLock;

static DESCRIPTORS: &[u8] = include_bytes!("../descriptors.binpb.zst");

/// Why a message could not be written as JSON or read from it.
#[derive(Debug)]
pub enum JsonError {
    /// No message of this type URL is known.
    UnknownType(String),
    /// The bytes or the JSON do not fit the type.
    Malformed(String),
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownType(url) => write!(f, "no message of type {url} is known"),
            Self::Malformed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for JsonError {}

/// Every message of the descriptor set.
pub fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        // The file is part of this binary and a test decodes it, so neither step can fail.
        let raw = zstd::decode_all(DESCRIPTORS).unwrap_or_default();
        DescriptorPool::decode(&raw[..]).unwrap_or_default()
    })
}

/// Writes a packed message as canonical JSON with `@type`, nested `Any` messages expanded.
pub fn to_json(any: &Any) -> Result<serde_json::Value, JsonError> {
    let descriptor = pool()
        .get_message_by_name("google.protobuf.Any")
        .ok_or_else(|| JsonError::UnknownType("google.protobuf.Any".into()))?;
    let message = DynamicMessage::decode(descriptor, &any.encode_to_vec()[..])
        .map_err(|e| JsonError::Malformed(e.to_string()))?;
    let options = SerializeOptions::new().skip_default_fields(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|e| JsonError::Malformed(format!("{}: {e}", any.type_url)))
}

/// Reads a message from canonical JSON that holds its `@type`.
pub fn from_json(value: &serde_json::Value) -> Result<Any, JsonError> {
    let descriptor = pool()
        .get_message_by_name("google.protobuf.Any")
        .ok_or_else(|| JsonError::UnknownType("google.protobuf.Any".into()))?;
    let message = DynamicMessage::deserialize(descriptor, value).map_err(|e| JsonError::Malformed(e.to_string()))?;
    Any::decode(&message.encode_to_vec()[..]).map_err(|e| JsonError::Malformed(e.to_string()))
}

/// Encodes JSON as a message of a type: equal JSON gives equal bytes. Fields that the type does not have are left out; then the second value
/// says which is the first.
///
/// # Errors
/// When the type is not known or a value does not fit its field: with the path of the field.
pub fn encode_json(name: &str, value: &serde_json::Value) -> Result<(Vec<u8>, Option<String>), JsonError> {
    let read = |strict: bool| -> Result<DynamicMessage, JsonError> {
        let descriptor = pool().get_message_by_name(name).ok_or_else(|| JsonError::UnknownType(name.into()))?;
        let options = DeserializeOptions::new().deny_unknown_fields(strict);
        let mut track = serde_path_to_error::Track::new();
        let source = serde_path_to_error::Deserializer::new(value, &mut track);
        DynamicMessage::deserialize_with_options(descriptor, source, &options).map_err(|error| {
            let path = track.path().to_string();
            JsonError::Malformed(if path == "." { error.to_string() } else { format!("{path}: {error}") })
        })
    };
    match read(true) {
        Ok(message) => Ok((canonical::encode(&message), None)),
        Err(strict) => Ok((canonical::encode(&read(false)?), Some(strict.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::config::cluster::v3::Cluster;

    #[test]
    fn the_descriptor_set_is_whole() {
        assert!(pool().all_messages().len() > 1600);
        assert!(pool().get_message_by_name("istio.v1.auth.IstioCertificateRequest").is_some());
    }

    #[test]
    fn json_round_trips_with_nested_any() {
        let cluster = Cluster {
            name: "a".into(),
            connect_timeout: crate::duration(std::time::Duration::from_millis(250)),
            ..Default::default()
        };
        let any = crate::to_any(&cluster);
        let json = to_json(&any).unwrap();
        assert_eq!(json["@type"], "type.googleapis.com/envoy.config.cluster.v3.Cluster");
        assert_eq!(json["connectTimeout"], "0.250s");
        assert_eq!(from_json(&json).unwrap(), any);
    }

    #[test]
    fn equal_json_gives_equal_bytes() {
        let json = serde_json::json!({"name": "f", "typed_config": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "type_url": "x.y/z",
            "value": (0..40).map(|i| (i.to_string(), i.into())).collect::<serde_json::Map<_, _>>(),
        }});
        let name = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter";
        let (bytes, unknown) = encode_json(name, &json).unwrap();
        assert_eq!((encode_json(name, &json).unwrap().0 == bytes, unknown), (true, None));
    }

    #[test]
    fn what_is_wrong_with_json_is_told_by_field() {
        let name = "envoy.config.cluster.v3.Cluster";
        let (_, unknown) =
            encode_json(name, &serde_json::json!({"name": "a", "circuit_breakers": {"nope": 1}})).unwrap();
        let unknown = unknown.unwrap();
        assert!(unknown.starts_with("circuit_breakers") && unknown.contains("nope"), "{unknown}");
        let wrong = encode_json(name, &serde_json::json!({"connect_timeout": "soon"})).unwrap_err().to_string();
        assert!(wrong.starts_with("connect_timeout: "), "{wrong}");
        let config = serde_json::json!({"transport_socket": {"name": "x", "typed_config": {"@type": "type.googleapis.com/a.B"}}});
        let wrong = encode_json(name, &config).unwrap_err().to_string();
        assert!(wrong.starts_with("transport_socket.typed_config: ") && wrong.contains("a.B"), "{wrong}");
    }
}
