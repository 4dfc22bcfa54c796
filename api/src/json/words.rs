// SPDX-License-Identifier: Apache-2.0
//! Finds the words of open enums that are not known, by walking a value as if it were written.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;
use serde::ser::{self, SerializeMap, SerializeSeq, SerializeStruct};

/// Marks, as the name of a newtype, a word that its enum does not know; the known ones follow.
pub(crate) const UNKNOWN: &str = "unknown word, not one of: ";

/// A word that its enum does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownWord {
    /// Where it stands.
    pub(crate) path: String,
    /// The word.
    pub(crate) word: String,
    /// The words that are known.
    pub(crate) known: &'static str,
}

/// The unknown words of a value; `root` is where the value stands.
pub(crate) fn unknown_words<T: Serialize + ?Sized>(value: &T, root: &str) -> Vec<UnknownWord> {
    let found = RefCell::new(Vec::new());
    let path = Path::Root(root);
    // Walking cannot fail on the shapes that these APIs have; what was found before a failure stands.
    let _ = value.serialize(Walker { path: &path, found: &found });
    found.into_inner()
}

enum Path<'a> {
    Root(&'a str),
    Field(&'a Path<'a>, &'a str),
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(root) => f.write_str(root),
            Self::Field(Path::Root(""), name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Key(parent, key) => write!(f, "{parent}[{key:?}]"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[derive(Clone, Copy)]
struct Walker<'a> {
    path: &'a Path<'a>,
    found: &'a RefCell<Vec<UnknownWord>>,
}

struct Items<'a> {
    walker: Walker<'a>,
    next: usize,
    key: String,
}

type Done = Result<(), serde_json::Error>;

macro_rules! nothing {
    ($($method:ident $type:ty;)*) => {
        $(fn $method(self, _: $type) -> Done {
            Ok(())
        })*
    };
}

impl<'a> ser::Serializer for Walker<'a> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = ser::Impossible<(), serde_json::Error>;
    type SerializeTupleStruct = ser::Impossible<(), serde_json::Error>;
    type SerializeTupleVariant = ser::Impossible<(), serde_json::Error>;
    type SerializeMap = Items<'a>;
    type SerializeStruct = Items<'a>;
    type SerializeStructVariant = ser::Impossible<(), serde_json::Error>;

    nothing! {
        serialize_bool bool;
        serialize_i8 i8;
        serialize_i16 i16;
        serialize_i32 i32;
        serialize_i64 i64;
        serialize_u8 u8;
        serialize_u16 u16;
        serialize_u32 u32;
        serialize_u64 u64;
        serialize_f32 f32;
        serialize_f64 f64;
        serialize_char char;
        serialize_str &str;
        serialize_bytes &[u8];
        serialize_unit_struct &'static str;
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Done {
        Ok(())
    }

    fn serialize_none(self) -> Done {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Done {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Done {
        let Some(known) = name.strip_prefix(UNKNOWN) else { return value.serialize(self) };
        let word = super::to_value(value)?.as_str().unwrap_or_default().to_owned();
        self.found.borrow_mut().push(UnknownWord { path: self.path.to_string(), word, known });
        Ok(())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(self, _: &'static str, _: u32, _: &'static str, _: &T) -> Done {
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, serde_json::Error> {
        Ok(Items { walker: self, next: 0, key: String::new() })
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, serde_json::Error> {
        Err(ser::Error::custom("no such shape in these APIs"))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, serde_json::Error> {
        Err(ser::Error::custom("no such shape in these APIs"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, serde_json::Error> {
        Err(ser::Error::custom("no such shape in these APIs"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Items<'a>, serde_json::Error> {
        Ok(Items { walker: self, next: 0, key: String::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Items<'a>, serde_json::Error> {
        Ok(Items { walker: self, next: 0, key: String::new() })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, serde_json::Error> {
        Err(ser::Error::custom("no such shape in these APIs"))
    }
}

impl SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = serde_json::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        let path = Path::Index(self.walker.path, self.next);
        self.next += 1;
        value.serialize(Walker { path: &path, found: self.walker.found })
    }

    fn end(self) -> Done {
        Ok(())
    }
}

impl SerializeMap for Items<'_> {
    type Ok = ();
    type Error = serde_json::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.key = match super::to_value(key)? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        let key = std::mem::take(&mut self.key);
        let path = Path::Key(self.walker.path, &key);
        value.serialize(Walker { path: &path, found: self.walker.found })
    }

    fn end(self) -> Done {
        Ok(())
    }
}

impl SerializeStruct for Items<'_> {
    type Ok = ();
    type Error = serde_json::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Done {
        let path = Path::Field(self.walker.path, key);
        value.serialize(Walker { path: &path, found: self.walker.found })
    }

    fn end(self) -> Done {
        Ok(())
    }
}
