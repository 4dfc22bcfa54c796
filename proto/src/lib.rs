// SPDX-License-Identifier: Apache-2.0
//! Messages of the data plane: Envoy's configuration and discovery services, and Istio's own extensions and certificate service.
//!
//! All of them come from one descriptor set (`descriptors.binpb.zst`, made by `cargo xtask protos`): the Rust types below, and by
//! [`pool`] every other message for reflection. [`to_any`] packs a message, [`to_json`] writes canonical JSON with each nested
//! `Any` expanded, [`encode_json`] reads it, [`merge`] merges messages.

mod canonical;
mod json;
mod merge;

pub use json::{JsonError, encode_json, from_json, pool, to_json};
pub use merge::{Lists, merge, merge_any};
pub use messages::*;

#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

use google::protobuf::{Any, BoolValue, DoubleValue, Duration, UInt32Value, UInt64Value};
use prost::{Message, Name};

/// The prefix of the type URL of every message.
pub const TYPE_PREFIX: &str = "type.googleapis.com/";

/// Packs a message into an `Any`.
pub fn to_any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: type_url::<M>(), value: message.encode_to_vec().into() }
}

/// The type URL of a message, e.g. `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
pub fn type_url<M: Name>() -> String {
    format!("{TYPE_PREFIX}{}", M::full_name())
}

/// A wrapped 32-bit number.
pub fn uint32(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

/// A wrapped 64-bit number.
pub fn uint64(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

/// A wrapped boolean.
pub fn boolean(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

/// A wrapped double.
pub fn double(value: f64) -> Option<DoubleValue> {
    Some(DoubleValue { value })
}

/// A duration as Envoy takes it.
pub fn duration(value: std::time::Duration) -> Option<Duration> {
    // Envoy refuses durations beyond some 292 years, so that the seconds always fit.
    let seconds = i64::try_from(value.as_secs()).unwrap_or(i64::MAX);
    Some(Duration { seconds, nanos: value.subsec_nanos().cast_signed() })
}
