// SPDX-License-Identifier: Apache-2.0
//! JSON as these APIs mean it: a `serde_json::Value` goes in or comes out, and the types decide what is lenient.
//!
//! Reading: null is the zero value; unknown fields are collected with their paths, not refused; errors carry the path. In the protobuf
//! dialect (Istio's kinds, MeshConfig) numbers may be strings and field names may have the proto's spelling (`jwks_uri`).
//! Writing: what is unset or zero is left out, unless it sits in an `Option`, where set-to-zero means something.

mod de;
mod ser;
mod words;

pub(crate) use de::camel_case;
pub use de::{Dialect, ReadError, from_value};
pub use ser::to_value;
pub(crate) use words::{UnknownWord, unknown_words};

#[cfg(test)]
mod tests;
