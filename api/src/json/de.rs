// SPDX-License-Identifier: Apache-2.0
//! The reading half: a deserializer over `serde_json::Value` that tracks the path and collects unknown fields.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde_json::{Map, Number, Value};

/// How lenient the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Protobuf JSON: numbers may be strings, fields may be spelled as in the proto, YAML 1.1 booleans are understood.
    Proto,
    /// Kubernetes JSON: types are exact.
    Kube,
}

/// Why a value could not be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The path of the value, such as `spec.http[0].timeout`; empty for the root.
    pub path: String,
    /// What was wrong.
    pub message: String,
    /// True while the path still has to be filled in by the levels above.
    open: bool,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: String::new(), message: message.to_string(), open: true }
    }
}

/// Reads `value` as a `T`; `root` is where the value stands, as `spec`. The second part of the result lists the paths of unknown fields.
pub fn from_value<T: DeserializeOwned>(
    value: Value,
    root: &str,
    dialect: Dialect,
) -> Result<(T, Vec<String>), ReadError> {
    let context = Context { dialect, unknown: RefCell::new(Vec::new()) };
    let path = Path::Root(root);
    let read = T::deserialize(Reader { value, path: &path, context: &context }).map_err(|error| path.locate(error))?;
    Ok((read, context.unknown.into_inner()))
}

struct Context {
    dialect: Dialect,
    unknown: RefCell<Vec<String>>,
}

/// Where the reader stands; kept on the stack, so that it costs nothing until something is wrong.
enum Path<'a> {
    Root(&'a str),
    Field(&'a Path<'a>, &'a str),
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn locate(&self, mut error: ReadError) -> ReadError {
        if error.open {
            error.path = self.to_string();
            error.open = false;
        }
        error
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(root) => f.write_str(root),
            Self::Field(parent, name) => {
                let parent = parent.to_string();
                if parent.is_empty() { f.write_str(name) } else { write!(f, "{parent}.{name}") }
            }
            Self::Key(parent, key) => write!(f, "{parent}[{key:?}]"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

struct Reader<'a> {
    value: Value,
    path: &'a Path<'a>,
    context: &'a Context,
}

/// What a value is called in an error.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => {
            let short: String = text.chars().take(60).collect();
            format!("the string {short:?}")
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

impl Reader<'_> {
    fn wrong(&self, expected: &str) -> ReadError {
        let message = format!("expected {expected}, found {}", describe(&self.value));
        ReadError { path: self.path.to_string(), message, open: false }
    }

    fn integer(self) -> Result<i128, ReadError> {
        let proto = self.context.dialect == Dialect::Proto;
        let number = match &self.value {
            Value::Null => Some(0),
            Value::Number(number) => whole(number),
            Value::String(text) if proto => text.trim().parse::<Number>().ok().as_ref().and_then(whole),
            _ => None,
        };
        number.ok_or_else(|| self.wrong("a whole number"))
    }

    fn float(self) -> Result<f64, ReadError> {
        let proto = self.context.dialect == Dialect::Proto;
        let number = match &self.value {
            Value::Null => Some(0.0),
            Value::Number(number) => number.as_f64(),
            Value::String(text) if proto => text.trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.wrong("a number"))
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let path = self.path;
        let result = match self.value {
            Value::Array(items) => {
                visitor.visit_seq(Items { items: items.into_iter(), next: 0, path, context: self.context })
            }
            Value::Object(map) => visitor.visit_map(Fields {
                fields: None,
                items: map.into_iter(),
                current: None,
                path,
                context: self.context,
            }),
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::String(text) => visitor.visit_string(text),
            Value::Number(number) => {
                if let Some(value) = number.as_u64() {
                    visitor.visit_u64(value)
                } else if let Some(value) = number.as_i64() {
                    visitor.visit_i64(value)
                } else {
                    visitor.visit_f64(number.as_f64().unwrap_or_default())
                }
            }
        };
        result.map_err(|error| path.locate(error))
    }
}

/// The number when it has no fraction; `1.0` and `1e3` count, as in protobuf JSON.
fn whole(number: &Number) -> Option<i128> {
    if let Some(value) = number.as_u64() {
        return Some(i128::from(value));
    }
    if let Some(value) = number.as_i64() {
        return Some(i128::from(value));
    }
    let value = number.as_f64()?;
    // Above 2^53 a float no longer says which whole number was meant.
    (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i128)
}

macro_rules! integers {
    ($($method:ident $type:ty, $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let path = self.path;
            let number = self.integer()?;
            let number = <$type>::try_from(number).map_err(|_| {
                path.locate(de::Error::custom(format!("{number} is out of range: from {} to {}", <$type>::MIN, <$type>::MAX)))
            })?;
            visitor.$visit(number).map_err(|error| path.locate(error))
        })*
    };
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.any(visitor)
    }

    integers! {
        deserialize_i8 i8, visit_i8;
        deserialize_i16 i16, visit_i16;
        deserialize_i32 i32, visit_i32;
        deserialize_i64 i64, visit_i64;
        deserialize_u8 u8, visit_u8;
        deserialize_u16 u16, visit_u16;
        deserialize_u32 u32, visit_u32;
        deserialize_u64 u64, visit_u64;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let proto = self.context.dialect == Dialect::Proto;
        match &self.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::String(text) if proto => match text.as_str() {
                "true" | "yes" | "on" | "y" | "Yes" | "On" | "True" => visitor.visit_bool(true),
                "false" | "no" | "off" | "n" | "No" | "Off" | "False" => visitor.visit_bool(false),
                _ => Err(self.wrong("true or false")),
            },
            _ => Err(self.wrong("true or false")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let path = self.path;
        match self.value {
            Value::Null => visitor.visit_str("").map_err(|error| path.locate(error)),
            Value::String(text) => visitor.visit_string(text).map_err(|error| path.locate(error)),
            _ => Err(self.wrong("a string")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, ReadError> {
        if self.value.is_null() {
            self.value = Value::Array(Vec::new());
        }
        if self.value.is_array() { self.any(visitor) } else { Err(self.wrong("a list")) }
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, ReadError> {
        if self.value.is_null() {
            self.value = Value::Object(Map::new());
        }
        if self.value.is_object() { self.any(visitor) } else { Err(self.wrong("an object")) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let (path, context) = (self.path, self.context);
        let map = match self.value {
            Value::Null => Map::new(),
            Value::Object(map) => map,
            _ => return Err(self.wrong("an object")),
        };
        visitor
            .visit_map(Fields { fields: Some(fields), items: map.into_iter(), current: None, path, context })
            .map_err(|error| path.locate(error))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier }
}

struct Items<'a> {
    items: std::vec::IntoIter<Value>,
    next: usize,
    path: &'a Path<'a>,
    context: &'a Context,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let path = Path::Index(self.path, self.next);
        self.next += 1;
        let reader = Reader { value, path: &path, context: self.context };
        seed.deserialize(reader).map(Some).map_err(|error| path.locate(error))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The entries of an object: of a struct when `fields` names what it has, else of a map with free keys.
struct Fields<'a> {
    fields: Option<&'static [&'static str]>,
    items: serde_json::map::IntoIter,
    current: Option<(String, Value)>,
    path: &'a Path<'a>,
    context: &'a Context,
}

/// The camelCase spelling of a proto field name.
pub(crate) fn camel_case(name: &str) -> String {
    let mut result = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            result.extend(c.to_uppercase());
        } else {
            result.push(c);
        }
    }
    result
}

impl Fields<'_> {
    /// The struct's name for a key, or none when it has no such field.
    fn known(&self, fields: &'static [&'static str], key: &str) -> Option<String> {
        if fields.contains(&key) {
            return Some(key.to_owned());
        }
        let camel = camel_case(key);
        (self.context.dialect == Dialect::Proto && key.contains('_') && fields.contains(&camel.as_str()))
            .then_some(camel)
    }
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        loop {
            let Some((key, value)) = self.items.next() else { return Ok(None) };
            let Some(fields) = self.fields else {
                let path = Path::Key(self.path, &key);
                let read = seed.deserialize(MapKey { key: &key, path: &path });
                let read = read.map_err(|error| path.locate(error))?;
                self.current = Some((key, value));
                return Ok(Some(read));
            };
            let Some(name) = self.known(fields, &key) else {
                self.context.unknown.borrow_mut().push(Path::Field(self.path, &key).to_string());
                continue;
            };
            let read = seed.deserialize(name.as_str().into_deserializer())?;
            self.current = Some((name, value));
            return Ok(Some(read));
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (key, value) =
            self.current.take().ok_or_else(|| <ReadError as de::Error>::custom("a value without a key"))?;
        let path = match self.fields {
            Some(_) => Path::Field(self.path, &key),
            None => Path::Key(self.path, &key),
        };
        let reader = Reader { value, path: &path, context: self.context };
        seed.deserialize(reader).map_err(|error| path.locate(error))
    }
}

/// A key of a map: a string, or a number as protobuf JSON writes it.
struct MapKey<'a> {
    key: &'a str,
    path: &'a Path<'a>,
}

macro_rules! number_keys {
    ($($method:ident $type:ty, $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let number = self.key.parse::<$type>().map_err(|_| {
                self.path.locate(de::Error::custom(format!("the key {:?} is not a whole number in range", self.key)))
            })?;
            visitor.$visit(number)
        })*
    };
}

impl<'de> de::Deserializer<'de> for MapKey<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_str(self.key)
    }

    number_keys! {
        deserialize_i32 i32, visit_i32;
        deserialize_i64 i64, visit_i64;
        deserialize_u32 u32, visit_u32;
        deserialize_u64 u64, visit_u64;
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}
