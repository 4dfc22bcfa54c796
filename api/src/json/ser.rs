// SPDX-License-Identifier: Apache-2.0
//! The writing half: what is unset or zero is left out.

use serde::Serialize;
use serde::ser::{self, SerializeMap, SerializeSeq, SerializeStruct};
use serde_json::{Map, Value};

/// Writes a value as JSON. Fields of a struct that are `None`, zero, false, empty or an enum's default are left out; what an `Option`
/// holds is always written, since there the difference matters.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, serde_json::Error> {
    value.serialize(Writer).map(|written| written.value)
}

/// A written value, and whether a struct may leave it out.
struct Written {
    value: Value,
    zero: bool,
}

impl Written {
    fn new(value: Value, zero: bool) -> Result<Self, serde_json::Error> {
        Ok(Self { value, zero })
    }
}

struct Writer;

struct Items(Vec<Value>);

struct Entries {
    map: Map<String, Value>,
    key: Option<String>,
    /// Structs leave out zeros; maps keep them.
    sparse: bool,
}

macro_rules! numbers {
    ($($method:ident $type:ty;)*) => {
        $(fn $method(self, value: $type) -> Result<Written, serde_json::Error> {
            Written::new(Value::from(value), value == <$type>::default())
        })*
    };
}

fn unsupported<T>() -> Result<T, serde_json::Error> {
    Err(ser::Error::custom("no such shape in these APIs"))
}

impl ser::Serializer for Writer {
    type Ok = Written;
    type Error = serde_json::Error;
    type SerializeSeq = Items;
    type SerializeTuple = ser::Impossible<Written, serde_json::Error>;
    type SerializeTupleStruct = ser::Impossible<Written, serde_json::Error>;
    type SerializeTupleVariant = ser::Impossible<Written, serde_json::Error>;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = ser::Impossible<Written, serde_json::Error>;

    numbers! {
        serialize_bool bool;
        serialize_i8 i8;
        serialize_i16 i16;
        serialize_i32 i32;
        serialize_i64 i64;
        serialize_u8 u8;
        serialize_u16 u16;
        serialize_u32 u32;
        serialize_u64 u64;
    }

    fn serialize_f32(self, value: f32) -> Result<Written, serde_json::Error> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<Written, serde_json::Error> {
        if value.fract() == 0.0 && value.abs() < 1e15 {
            return Written::new(Value::from(value as i64), value == 0.0);
        }
        Written::new(Value::from(value), false)
    }

    fn serialize_char(self, value: char) -> Result<Written, serde_json::Error> {
        Written::new(Value::from(value.to_string()), false)
    }

    fn serialize_str(self, value: &str) -> Result<Written, serde_json::Error> {
        Written::new(Value::from(value), value.is_empty())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Written, serde_json::Error> {
        unsupported()
    }

    fn serialize_none(self) -> Result<Written, serde_json::Error> {
        Written::new(Value::Null, true)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Written, serde_json::Error> {
        let written = value.serialize(self)?;
        Written::new(written.value, false)
    }

    fn serialize_unit(self) -> Result<Written, serde_json::Error> {
        Written::new(Value::Null, true)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Written, serde_json::Error> {
        Written::new(Value::Object(Map::new()), true)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        word: &'static str,
    ) -> Result<Written, serde_json::Error> {
        Written::new(Value::from(word), index == 0)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Written, serde_json::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Written, serde_json::Error> {
        unsupported()
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Items, serde_json::Error> {
        Ok(Items(Vec::with_capacity(len.unwrap_or_default())))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, serde_json::Error> {
        unsupported()
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, serde_json::Error> {
        unsupported()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, serde_json::Error> {
        unsupported()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries, serde_json::Error> {
        Ok(Entries { map: Map::new(), key: None, sparse: false })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries, serde_json::Error> {
        Ok(Entries { map: Map::new(), key: None, sparse: true })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, serde_json::Error> {
        unsupported()
    }
}

impl SerializeSeq for Items {
    type Ok = Written;
    type Error = serde_json::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), serde_json::Error> {
        self.0.push(to_value(value)?);
        Ok(())
    }

    fn end(self) -> Result<Written, serde_json::Error> {
        let zero = self.0.is_empty();
        Written::new(Value::Array(self.0), zero)
    }
}

impl SerializeMap for Entries {
    type Ok = Written;
    type Error = serde_json::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), serde_json::Error> {
        self.key = Some(match to_value(key)? {
            Value::String(text) => text,
            other => other.to_string(),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), serde_json::Error> {
        let key = self.key.take().unwrap_or_default();
        self.map.insert(key, to_value(value)?);
        Ok(())
    }

    fn end(self) -> Result<Written, serde_json::Error> {
        let zero = self.map.is_empty();
        Written::new(Value::Object(self.map), zero)
    }
}

impl SerializeStruct for Entries {
    type Ok = Written;
    type Error = serde_json::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), serde_json::Error> {
        let written = value.serialize(Writer)?;
        if !(self.sparse && written.zero) {
            self.map.insert(key.to_owned(), written.value);
        }
        Ok(())
    }

    fn end(self) -> Result<Written, serde_json::Error> {
        let zero = self.map.is_empty();
        Written::new(Value::Object(self.map), zero)
    }
}
