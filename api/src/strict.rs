// SPDX-License-Identifier: Apache-2.0
//! A YAML or JSON text as a JSON value, and which fields are there twice. Readers that let the last one win would hide a mistake; `kubectl`
//! refuses such an object as well.

use std::cell::RefCell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Fields that are there twice, by their paths, in the order of the text.
pub(crate) type Twice = RefCell<Vec<String>>;

/// What is wrong with such a field.
pub(crate) const MESSAGE: &str = "the field is there twice: leave one of the two";

/// Where a value stands. A path is only written out when something is there twice.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Self::Root => {}
            Self::Field(above, name) => {
                above.write(out);
                let plain = !name.is_empty() && !name.contains(['.', '[', '"']);
                if !plain {
                    let name = name.replace('\\', "\\\\").replace('"', "\\\"");
                    out.push_str(&format!("[\"{name}\"]"));
                } else {
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(name);
                }
            }
            Self::Item(above, index) => {
                above.write(out);
                out.push_str(&format!("[{index}]"));
            }
        }
    }
}

/// Reads a value; of a field that is there twice the last one counts, and its path is noted.
pub(crate) fn read<'de, D: Deserializer<'de>>(from: D, twice: &Twice) -> Result<Value, D::Error> {
    Reader { place: &Place::Root, twice }.deserialize(from)
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    place: &'a Place<'a>,
    twice: &'a Twice,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has, too")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let place = Place::Item(self.place, values.len());
            match items.next_element_seed(Reader { place: &place, twice: self.twice })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let place = Place::Field(self.place, &name);
            if values.contains_key(&name) {
                let mut path = String::new();
                place.write(&mut path);
                self.twice.borrow_mut().push(path);
            }
            let value = fields.next_value_seed(Reader { place: &place, twice: self.twice })?;
            values.insert(name, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_there_twice_are_named() {
        let twice = Twice::default();
        let text = "a: 1\nb: [{c: 1, d: 2, c: 3}]\n\"x.y\": {z: 1, z: 2}\na: 2\n";
        let value = read(yaml_serde::Deserializer::from_str(text), &twice).unwrap();
        assert_eq!(value, serde_json::json!({"a": 2, "b": [{"c": 3, "d": 2}], "x.y": {"z": 2}}));
        assert_eq!(twice.into_inner(), ["b[0].c", "[\"x.y\"].z", "a"]);
    }

    #[test]
    fn values_are_what_json_has() {
        let text =
            "{1: 1, a: -3, b: 1.5, c: true, d: null, e: ~, f: '1', g: 18446744073709551615, h: .nan, i: [], j: {}}";
        let own = read(yaml_serde::Deserializer::from_str(text), &Twice::default()).unwrap();
        let plain: Value = yaml_serde::from_str(text).unwrap();
        assert_eq!(own, plain);
    }
}
