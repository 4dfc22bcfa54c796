// SPDX-License-Identifier: Apache-2.0
//! One encoding for equal messages: fields by number, maps by key, also inside of each `Any`. Messages that are read by reflection keep
//! their maps in no order, so that their plain encoding is another one each time.

use crate::json::pool;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage, Value};
use std::collections::HashMap;

const ANY: &str = "google.protobuf.Any";

/// The encoding of a message.
pub(crate) fn encode(message: &DynamicMessage) -> Vec<u8> {
    let mut out = Vec::new();
    if message.descriptor().full_name() == ANY {
        encode_any(message, &mut out);
        return out;
    }
    for (field, value) in message.fields() {
        match value {
            Value::Map(entries) => encode_map(&field, entries, &mut out),
            Value::Message(nested) => put(field.number(), &encode(nested), &mut out),
            Value::List(items) if items.first().is_some_and(|item| item.as_message().is_some()) => {
                for nested in items.iter().filter_map(Value::as_message) {
                    put(field.number(), &encode(nested), &mut out);
                }
            }
            scalar => {
                let mut alone = DynamicMessage::new(message.descriptor());
                alone.set_field(&field, scalar.clone());
                out.extend(alone.encode_to_vec());
            }
        }
    }
    out
}

/// Writes a field of bytes.
fn put(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn encode_map(field: &FieldDescriptor, entries: &HashMap<MapKey, Value>, out: &mut Vec<u8>) {
    let kind = field.kind();
    let Some(entry) = kind.as_message() else { return };
    let mut sorted: Vec<Vec<u8>> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let mut alone = DynamicMessage::new(entry.clone());
        alone.set_field(&entry.map_entry_key_field(), key.clone().into());
        let mut bytes = alone.encode_to_vec();
        match value {
            Value::Message(nested) => put(entry.map_entry_value_field().number(), &encode(nested), &mut bytes),
            scalar => {
                alone = DynamicMessage::new(entry.clone());
                alone.set_field(&entry.map_entry_value_field(), scalar.clone());
                bytes.extend(alone.encode_to_vec());
            }
        }
        sorted.push(bytes);
    }
    sorted.sort();
    for bytes in sorted {
        put(field.number(), &bytes, out);
    }
}

/// What is packed is encoded anew where its type is known.
fn encode_any(any: &DynamicMessage, out: &mut Vec<u8>) {
    let url = any.get_field_by_name("type_url").and_then(|url| url.as_str().map(str::to_owned)).unwrap_or_default();
    let value = any.get_field_by_name("value").and_then(|value| value.as_bytes().cloned()).unwrap_or_default();
    let name = url.rsplit('/').next().unwrap_or_default();
    let packed = pool().get_message_by_name(name).and_then(|known| DynamicMessage::decode(known, value.clone()).ok());
    let value = packed.map_or_else(|| value.to_vec(), |packed| encode(&packed));
    if !url.is_empty() {
        put(1, url.as_bytes(), out);
    }
    if !value.is_empty() {
        put(2, &value, out);
    }
}
