// SPDX-License-Identifier: Apache-2.0
//! The values that a template works on, with as much of Go's types as templates can notice: what a field or key that is not there
//! gives depends on what it is missing from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Number, Value as Json};

/// A value. Cheap to clone: what is large is shared.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing: `nil`, a null, or a key that a map of anything does not have. Printed as `<no value>`.
    Nil,
    /// The zero of a type that is not known: a field that a struct has but that is not set. It prints as nothing, equals the zero of any
    /// type, and its fields and entries are unset as well.
    Unset,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(Arc<str>),
    /// A list.
    List(Arc<Vec<Value>>),
    /// A map or a struct.
    Map(Arc<Map>),
}

/// A map or a struct.
#[derive(Clone, Debug)]
pub struct Map {
    /// Which of both.
    pub kind: MapKind,
    /// What is in it, by key.
    pub entries: BTreeMap<Arc<str>, Value>,
}

/// What a map gives for what it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Go's `map[string]any`: nothing.
    Any,
    /// Go's `map[string]string`: the empty text.
    Texts,
    /// A struct whose fields are not all known: unset. Fields have Go's names or JSON's.
    Open,
    /// A struct with exactly the fields that it has and those that are named here, which are unset. Any other is a mistake.
    Closed(&'static str, &'static [&'static str]),
}

impl Value {
    /// A text.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(text.as_ref().into())
    }

    /// A list.
    pub fn list(items: Vec<Value>) -> Self {
        Self::List(Arc::new(items))
    }

    /// A map or struct.
    pub fn map<K: Into<Arc<str>>>(kind: MapKind, entries: impl IntoIterator<Item = (K, Value)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
        Self::Map(Arc::new(Map { kind, entries }))
    }

    /// A map of texts.
    pub fn texts<'a>(entries: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self::map(MapKind::Texts, entries.into_iter().map(|(key, value)| (key.as_str(), Self::text(value))))
    }

    /// JSON with each object as a `kind`.
    pub fn from_json(json: &Json, kind: MapKind) -> Self {
        match json {
            // A field of a struct that is null is not set.
            Json::Null if kind == MapKind::Any => Self::Nil,
            Json::Null => Self::Unset,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(value) => Self::text(value),
            Json::Array(items) => Self::list(items.iter().map(|item| Self::from_json(item, kind)).collect()),
            Json::Object(fields) => {
                let entries = fields.iter().map(|(key, value)| (key.as_str(), Self::from_json(value, kind)));
                Self::map(kind, entries)
            }
        }
    }

    /// As JSON. What is unset or nothing is null; a number that JSON does not have is null too.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Nil | Self::Unset => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Float(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Self::Text(value) => Json::from(&**value),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(map) => {
                let fields = map.entries.iter().map(|(key, value)| (key.to_string(), value.to_json()));
                Json::Object(fields.collect::<JsonMap<_, _>>())
            }
        }
    }

    /// What an `if` takes for true: anything but false, zero, nothing and what is empty.
    pub fn truth(&self) -> bool {
        match self {
            Self::Nil | Self::Unset => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(value) => !value.is_empty(),
            Self::List(items) => !items.is_empty(),
            // A struct is never empty.
            Self::Map(map) => !map.is_map() || !map.entries.is_empty(),
        }
    }

    /// The kind's name for messages.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nothing",
            Self::Unset => "an unset field",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// The field `.name` of it.
    ///
    /// # Errors
    /// When a value of its kind has no fields, or no such field.
    pub fn field(&self, name: &str) -> Result<Self, String> {
        match self {
            Self::Nil => Ok(Self::Nil),
            Self::Unset => Ok(Self::Unset),
            Self::Map(map) => map.field(name),
            // Wrapped scalars and enums of protobuf messages.
            scalar if matches!(name, "GetValue" | "Value" | "String") && !matches!(scalar, Self::List(_)) => {
                Ok(scalar.clone())
            }
            other => Err(format!("{} has no field {name}", other.kind())),
        }
    }

    /// The entry at a key or position, as the function `index` gives it.
    ///
    /// # Errors
    /// When it is no collection, when the key has the wrong type, or when the position is outside of the list.
    pub fn index(&self, key: &Self) -> Result<Self, String> {
        match (self, key) {
            (Self::Unset, _) => Ok(Self::Unset),
            (Self::Nil, _) => Err("index of nothing".to_owned()),
            (Self::Map(map), Self::Text(key)) => Ok(map.get(key)),
            (Self::Map(map), Self::Unset) => Ok(map.get("")),
            (Self::Map(_), key) => Err(format!("the key of a map is a text, not {}", key.kind())),
            (Self::List(items), Self::Int(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| items.get(at)).cloned();
                found.ok_or_else(|| format!("index {at} is out of range: the list has {} items", items.len()))
            }
            (Self::Text(text), Self::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at).copied());
                byte.map(|byte| Self::Int(byte.into())).ok_or_else(|| format!("index {at} is out of range of the text"))
            }
            (Self::List(_) | Self::Text(_), key) => Err(format!("the index of a list is a number, not {}", key.kind())),
            (other, _) => Err(format!("cannot index {}", other.kind())),
        }
    }
}

impl Map {
    /// False for structs.
    pub const fn is_map(&self) -> bool {
        matches!(self.kind, MapKind::Any | MapKind::Texts)
    }

    /// The entry of a key, or what the map gives in its place.
    pub fn get(&self, key: &str) -> Value {
        let missing = match self.kind {
            MapKind::Any => Value::Nil,
            MapKind::Texts => Value::text(""),
            MapKind::Open | MapKind::Closed(..) => Value::Unset,
        };
        self.entries.get(key).cloned().unwrap_or(missing)
    }

    fn field(&self, name: &str) -> Result<Value, String> {
        if self.is_map() {
            return Ok(self.get(name));
        }
        // Messages have a getter for each field.
        let getter = name.strip_prefix("Get").filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
        for name in [Some(name), getter].into_iter().flatten() {
            let json = json_name(name);
            for key in [name, &json] {
                if let Some(value) = self.entries.get(key) {
                    return Ok(value.clone());
                }
            }
            match self.kind {
                MapKind::Closed(_, known) if known.contains(&json.as_str()) || known.contains(&name) => {
                    return Ok(Value::Unset);
                }
                MapKind::Closed(..) => {}
                _ => return Ok(Value::Unset),
            }
        }
        let MapKind::Closed(kind, _) = self.kind else { return Ok(Value::Unset) };
        Err(format!("{kind} has no field {name}"))
    }
}

/// Go's name of a field as JSON has it: `ServiceAccountName` as `serviceAccountName`, `DNSPolicy` as `dnsPolicy`, `HTTPGet` as `httpGet`.
fn json_name(name: &str) -> String {
    let upper = name.bytes().take_while(u8::is_ascii_uppercase).count();
    let lower = match upper {
        0 | 1 => upper,
        all if all == name.len() => all,
        // The last capital starts the next word.
        several => several - 1,
    };
    name[..lower].to_ascii_lowercase() + &name[lower..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_fields() {
        for (go, json) in [
            ("ServiceAccountName", "serviceAccountName"),
            ("DNSPolicy", "dnsPolicy"),
            ("HTTPGet", "httpGet"),
            ("IP", "ip"),
            ("HostIP", "hostIP"),
            ("APIVersion", "apiVersion"),
            ("name", "name"),
        ] {
            assert_eq!(json_name(go), json);
        }
    }

    #[test]
    fn what_is_missing_depends_on_the_map() {
        let json = json!({"a": 1});
        assert!(matches!(Value::from_json(&json, MapKind::Any).field("b"), Ok(Value::Nil)));
        assert!(matches!(Value::from_json(&json, MapKind::Open).field("B"), Ok(Value::Unset)));
        let closed = Value::from_json(&json, MapKind::Closed("Thing", &["c"]));
        assert!(matches!(closed.field("A"), Ok(Value::Int(1))));
        assert!(matches!(closed.field("GetA"), Ok(Value::Int(1))));
        assert!(matches!(closed.field("C"), Ok(Value::Unset)));
        assert_eq!(closed.field("B").unwrap_err(), "Thing has no field B");
        let texts = Value::texts(&std::collections::BTreeMap::new());
        assert!(matches!(texts.index(&Value::text("x")), Ok(Value::Text(t)) if t.is_empty()));
    }
}
