// SPDX-License-Identifier: Apache-2.0
//! JSON, YAML, base64 and hashes.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Function, Outcome, text};
use crate::template::value::{MapKind, Value};

pub const TABLE: &[Function] = &[
    Function::new("toJson", 1, Some(1), |a| Ok(Value::text(a[0].to_json().to_string()))),
    Function::new("mustToJson", 1, Some(1), |a| Ok(Value::text(a[0].to_json().to_string()))),
    Function::new("toRawJson", 1, Some(1), |a| Ok(Value::text(a[0].to_json().to_string()))),
    Function::new("toPrettyJson", 1, Some(1), |a| Ok(Value::text(pretty(&a[0])?))),
    Function::new("fromJson", 1, Some(1), |a| parse_json(text(a, 0)?)),
    Function::new("mustFromJson", 1, Some(1), |a| parse_json(text(a, 0)?)),
    Function::new("fromYaml", 1, Some(1), |a| {
        let json: serde_json::Value = yaml_serde::from_str(text(a, 0)?).map_err(|error| error.to_string())?;
        Ok(Value::from_json(&json, MapKind::Any))
    }),
    Function::new("b64enc", 1, Some(1), |a| Ok(Value::text(STANDARD.encode(text(a, 0)?)))),
    Function::new("b64dec", 1, Some(1), |a| {
        let bytes = STANDARD.decode(text(a, 0)?).map_err(|error| format!("no base64: {error}"))?;
        String::from_utf8(bytes).map(Value::text).map_err(|_| "what is encoded is not UTF-8".to_owned())
    }),
    Function::new("sha256sum", 1, Some(1), |a| {
        let hex = Sha256::digest(text(a, 0)?).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Ok(Value::text(hex))
    }),
];

/// JSON as a value.
pub fn parse_json(text: &str) -> Outcome {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    Ok(Value::from_json(&json, MapKind::Any))
}

/// YAML of a value, with a newline at the end.
pub fn yaml(value: &Value) -> Result<String, String> {
    yaml_serde::to_string(&value.to_json()).map_err(|error| error.to_string())
}

fn pretty(value: &Value) -> Result<String, String> {
    let mut bytes = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"  ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, format);
    value.to_json().serialize(&mut writer).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}
