// SPDX-License-Identifier: Apache-2.0
//! Values that many kinds share: durations, base64 bytes, int-or-string, and enums that stay open to words that this version does not know.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time of zero or more, written as protobuf JSON (`1.5s`) or as Go (`1h10m`, `100ms`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub std::time::Duration);

impl Duration {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// Milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// The same length as the standard library's type.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    /// True for a length of nothing, which many fields take as "disabled".
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<std::time::Duration> for Duration {
    fn from(value: std::time::Duration) -> Self {
        Self(value)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(value: Duration) -> Self {
        value.0
    }
}

/// Nanoseconds of each unit that Go's durations have.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a duration: write a number with a unit, such as 1.5s, 100ms or 1h10m");
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest.starts_with('-') {
            return Err(format!("{text:?} is negative: durations here are zero or more"));
        }
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(bad());
        }
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?.1;
            total = total.checked_add(nanos(number, scale).ok_or_else(bad)?).ok_or_else(bad)?;
            rest = tail;
        }
        let seconds = u64::try_from(total / 1_000_000_000).map_err(|_| bad())?;
        let nanos = u32::try_from(total % 1_000_000_000).map_err(|_| bad())?;
        Ok(Self(std::time::Duration::new(seconds, nanos)))
    }
}

/// A decimal number times `scale`, cut at whole nanoseconds; none when it is not a number or far too big.
fn nanos(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 18 || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut result = whole.checked_mul(scale)?;
    if !fraction.is_empty() {
        let fraction = &fraction[..fraction.len().min(15)];
        let power = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        result = result.checked_add(fraction.parse::<u128>().ok()?.checked_mul(scale)? / power)?;
    }
    Some(result)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.subsec_nanos();
        if nanos == 0 {
            return write!(f, "{}s", self.0.as_secs());
        }
        let fraction = format!("{nanos:09}");
        write!(f, "{}.{}s", self.0.as_secs(), fraction.trim_end_matches('0'))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Bytes that JSON carries as base64. `Debug` shows only their number, since they may be a secret.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base64(pub Vec<u8>);

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let standard = text.replace('-', "+").replace('_', "/");
        base64::engine::general_purpose::STANDARD_NO_PAD
            .decode(standard.trim_end_matches('='))
            .map(Self)
            .map_err(|error| de::Error::custom(format!("not base64: {error}")))
    }
}

/// A Kubernetes value that is a number or a name, as a Service's targetPort.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntOrString {
    /// A number.
    Int(i64),
    /// A name.
    Name(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl Serialize for IntOrString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(name) => Ok(Self::Name(name)),
            serde_json::Value::Number(number) if number.as_i64().is_some() => {
                Ok(Self::Int(number.as_i64().unwrap_or_default()))
            }
            serde_json::Value::Null => Ok(Self::default()),
            other => Err(de::Error::custom(format!("expected a number or a name, found {other}"))),
        }
    }
}

/// What [`open_enum!`] gives every enum: its words, so that an error can name them.
pub trait OpenEnum {
    /// The words that are known, in the API's order.
    const WORDS: &'static [&'static str];

    /// The word that was written, when it is none of the known ones.
    fn unknown(&self) -> Option<&str>;
}

/// Declares an enum whose unknown words are kept, not refused: validation then names them, and the object beside it still loads.
/// `Variant = "WORD" | number`: the number is the protobuf one, which protobuf JSON accepts in place of the word.
/// The first variant is the default.
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $(#[$first_meta:meta])*
            $first:ident = $first_word:literal $(| $first_number:literal)?,
            $( $(#[$variant_meta:meta])* $variant:ident = $word:literal $(| $number:literal)?, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[$first_meta])*
            #[default]
            $first,
            $( $(#[$variant_meta])* $variant, )*
            /// A word that this version does not know, as it was written.
            Unknown(String),
        }

        impl $name {
            /// The word as the API writes it.
            pub fn as_str(&self) -> &str {
                match self {
                    Self::$first => $first_word,
                    $( Self::$variant => $word, )*
                    Self::Unknown(word) => word,
                }
            }
        }

        impl $crate::value::OpenEnum for $name {
            const WORDS: &'static [&'static str] = &[$first_word $(, $word)*];

            fn unknown(&self) -> Option<&str> {
                match self {
                    Self::Unknown(word) => Some(word),
                    _ => None,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $first_word => Self::$first,
                    $( $word => Self::$variant, )*
                    other => Self::Unknown(other.to_owned()),
                }
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                $( if number == $first_number { return Self::$first; } )?
                $( $( if number == $number { return Self::$variant; } )? )*
                Self::Unknown(number.to_string())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    // The index tells `json::to_value` that this is the default, which protobuf JSON leaves out.
                    Self::$first => serializer.serialize_unit_variant(stringify!($name), 0, $first_word),
                    $( Self::$variant => serializer.serialize_unit_variant(stringify!($name), 1, $word), )*
                    // The name lets validation find the word and say which ones are known.
                    Self::Unknown(word) => serializer.serialize_newtype_struct(
                        concat!("unknown word, not one of: ", $first_word $(, ", ", $word)*),
                        word,
                    ),
                }
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let words = <Self as $crate::value::OpenEnum>::WORDS;
                schemars::json_schema!({ "type": "string", "enum": words })
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($crate::value::OpenEnumVisitor(std::marker::PhantomData))
            }
        }
    };
}
pub(crate) use open_enum;

/// Reads the words and numbers of the enums that [`open_enum!`] makes.
pub(crate) struct OpenEnumVisitor<T>(pub(crate) std::marker::PhantomData<T>);

impl<T: for<'a> From<&'a str> + From<i64> + Default> de::Visitor<'_> for OpenEnumVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an enum value")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<T, E> {
        Ok(T::from(word))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Ok(T::from(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Ok(T::from(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

/// JSON of any shape, in schemas.
#[cfg(feature = "schema")]
pub(crate) struct FreeForm;

/// Schemas of the values that are written as text.
#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Base64, Duration, FreeForm};

    macro_rules! schema {
        ($type:ty, $name:literal, $schema:tt) => {
            impl JsonSchema for $type {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    $name.into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        };
    }

    schema!(Duration, "Duration", { "type": "string" });
    schema!(Base64, "Base64", { "type": "string", "format": "byte" });
    schema!(FreeForm, "FreeForm", { "type": "object", "x-kubernetes-preserve-unknown-fields": true });
}
