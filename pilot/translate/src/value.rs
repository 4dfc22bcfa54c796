// SPDX-License-Identifier: Apache-2.0
//! google.protobuf.Value and Struct, of which metadata is made.

use tiphys_proto::google::protobuf::{ListValue, Struct, Value, value::Kind};

/// A text.
pub(crate) fn text(value: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(value.into())) }
}

/// A truth value.
pub(crate) fn boolean(value: bool) -> Value {
    Value { kind: Some(Kind::BoolValue(value)) }
}

/// A list.
pub(crate) fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

/// A struct as a value.
pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value { kind: Some(Kind::StructValue(fields_of(fields))) }
}

/// A struct of a few fields.
pub(crate) fn fields_of<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}
