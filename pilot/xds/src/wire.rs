// SPDX-License-Identifier: Apache-2.0
//! Responses as bytes: what is of one client in front, then pieces that many clients share.
//!
//! The order of fields in a message is free. So a response is `[length][version, type, nonce, control plane][resources ...]`, where
//! the resources are joined runs of encoded fields; a stream only counts references to them.

use crate::Diff;
use crate::entry::{Entry, field_len, put_field, put_prefix};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

/// The variants of the protocol, which frame resources differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// `DeltaAggregatedResources`.
    Delta,
    /// `StreamAggregatedResources`, the state of the world.
    Sotw,
}

/// What an HTTP/2 frame carries, unless a client allows more (RFC 9113).
const FRAME: usize = 16 * 1024;
/// Pieces have this size: whole frames, large enough to cost little, small enough to be dropped early.
const PIECE: usize = 4 * FRAME;
/// A body of this size is not copied into a piece, but becomes one.
const OWN_PIECE: usize = FRAME;

/// Encoded resources and removed names, in a few pieces.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub pieces: Vec<Bytes>,
    pub length: usize,
    pub resources: usize,
    pub removed: usize,
}

impl Joined {
    /// Encodes what is in a diff. The state of the world cannot tell of removed names.
    pub fn new(variant: Variant, diff: &Diff, with_removed: bool) -> Self {
        let mut join = Join::default();
        for entry in &diff.changed {
            match variant {
                Variant::Delta => join.delta(entry),
                Variant::Sotw => join.sotw(entry),
            }
        }
        let mut removed = 0;
        if with_removed && variant == Variant::Delta {
            removed = diff.removed.len();
            diff.removed.iter().for_each(|name| join.removed(name));
        }
        join.cut();
        let length = join.pieces.iter().map(Bytes::len).sum();
        Self { pieces: join.pieces, length, resources: diff.changed.len(), removed }
    }
}

#[derive(Default)]
struct Join {
    pieces: Vec<Bytes>,
    open: BytesMut,
}

impl Join {
    /// `Resource { version = 1, resource = 2, name = 3 }` as field 2 of `DeltaDiscoveryResponse`.
    fn delta(&mut self, entry: &Entry) {
        let version = version_text(entry.version);
        let length = field_len(version.len()) + field_len(entry.name.len()) + field_len(entry.body.len());
        put_prefix(&mut self.open, 2, length);
        put_field(&mut self.open, 1, version.as_bytes());
        put_field(&mut self.open, 3, entry.name.as_bytes());
        put_prefix(&mut self.open, 2, entry.body.len());
        self.body(&entry.body);
    }

    /// `Any` as field 2 of `DiscoveryResponse`.
    fn sotw(&mut self, entry: &Entry) {
        put_prefix(&mut self.open, 2, entry.body.len());
        self.body(&entry.body);
    }

    /// Field 6 of `DeltaDiscoveryResponse`.
    fn removed(&mut self, name: &str) {
        put_field(&mut self.open, 6, name.as_bytes());
        self.cut_whole();
    }

    fn body(&mut self, body: &Bytes) {
        if body.len() >= OWN_PIECE {
            self.cut();
            self.pieces.push(body.clone());
            return;
        }
        self.open.put_slice(body);
        self.cut_whole();
    }

    fn cut_whole(&mut self) {
        while self.open.len() >= PIECE {
            self.pieces.push(self.open.split_to(PIECE).freeze());
        }
    }

    fn cut(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push(self.open.split().freeze());
        }
    }
}

/// What of a response belongs to one client.
pub(crate) struct Head<'a> {
    pub variant: Variant,
    pub type_url: &'a str,
    pub version: &'a str,
    pub nonce: &'a str,
    pub control_plane: &'a str,
    /// Names that the client asked for and that do not exist (delta only).
    pub missing: &'a [Arc<str>],
}

/// A response on its way to the transport: a front part and shared pieces.
pub(crate) struct Outgoing {
    front: Option<Bytes>,
    joined: Arc<Joined>,
    next: usize,
}

impl Outgoing {
    pub fn new(head: &Head<'_>, joined: Arc<Joined>) -> (Self, usize) {
        // ControlPlane { identifier = 1 }
        let identity = field_len(head.control_plane.len());
        let mut length = field_len(head.version.len())
            + field_len(head.type_url.len())
            + field_len(head.nonce.len())
            + field_len(identity)
            + joined.length;
        length += head.missing.iter().map(|name| field_len(name.len())).sum::<usize>();
        // A small response goes out as one frame.
        let whole = joined.length < OWN_PIECE;
        let mut front = BytesMut::with_capacity(5 + if whole { length } else { length - joined.length });
        front.put_u8(0);
        // The length of a gRPC message has 32 bits; no table of resources comes near that.
        front.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        put_field(&mut front, 1, head.version.as_bytes());
        put_field(&mut front, 4, head.type_url.as_bytes());
        put_field(&mut front, 5, head.nonce.as_bytes());
        put_prefix(&mut front, if head.variant == Variant::Delta { 7 } else { 6 }, identity);
        put_field(&mut front, 1, head.control_plane.as_bytes());
        head.missing.iter().for_each(|name| put_field(&mut front, 6, name.as_bytes()));
        let mut next = 0;
        if whole {
            joined.pieces.iter().for_each(|piece| front.put_slice(piece));
            next = joined.pieces.len();
        }
        (Self { front: Some(front.freeze()), joined, next }, length)
    }
}

/// The frames of the response.
impl Iterator for Outgoing {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(front) = self.front.take() {
            return Some(front);
        }
        let piece = self.joined.pieces.get(self.next)?.clone();
        self.next += 1;
        Some(piece)
    }
}

/// A version as clients see it.
pub(crate) fn version_text(version: u64) -> String {
    let mut text = Hex::new();
    text.put(version, 16);
    text.as_str().to_owned()
}

/// The nonce of one response of a stream.
pub(crate) fn nonce(stream: u64, number: u64) -> String {
    let mut text = Hex::new();
    text.put(number, 1);
    text.byte(b'.');
    text.put(stream, 1);
    text.as_str().to_owned()
}

/// Hexadecimal numbers, written from the end. Each response has two texts of them, and `format!` takes as long as all the rest of it.
struct Hex {
    bytes: [u8; 33],
    length: usize,
}

impl Hex {
    fn new() -> Self {
        Self { bytes: [0; 33], length: 0 }
    }

    fn byte(&mut self, byte: u8) {
        self.length += 1;
        self.bytes[33 - self.length] = byte;
    }

    /// Puts a number before the rest, with so many digits or more.
    fn put(&mut self, mut number: u64, digits: usize) {
        let end = self.length + digits;
        while number > 0 || self.length < end {
            self.byte(b"0123456789abcdef"[(number & 15) as usize]);
            number >>= 4;
        }
    }

    fn as_str(&self) -> &str {
        // There are digits only.
        std::str::from_utf8(&self.bytes[33 - self.length..]).unwrap_or_default()
    }
}

/// The version of a whole set, from its fingerprint.
pub(crate) fn set_version(fingerprint: u128) -> String {
    version_text((fingerprint >> 64) as u64 ^ fingerprint as u64)
}

/// Reads back a version that [`version_text`] wrote. A version of another control plane gives a number that no resource has.
pub(crate) fn parse_version(text: &str) -> u64 {
    match u64::from_str_radix(text, 16) {
        Ok(version) if text.len() == 16 => version,
        _ => xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ResourceType, Table};
    use prost::Message;
    use tiphys_proto::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};

    fn diff() -> Diff {
        let sizes = [0, 10, 700, 15_000, 16_384, 200_000, 3, 31_000];
        let entries = sizes.iter().enumerate().map(|(i, n)| Entry::new(format!("r{i}"), "type/x", vec![i as u8; *n]));
        let old = Table::from_entries(vec![Entry::new("gone", "type/x", [])]);
        Table::diff(&old, &Table::from_entries(entries.collect()))
    }

    fn send(variant: Variant, diff: &Diff, missing: &[Arc<str>]) -> Bytes {
        let ty = ResourceType::CLUSTER;
        let head = Head { variant, type_url: ty.url(), version: "v", nonce: "n", control_plane: "c", missing };
        let (out, length) = Outgoing::new(&head, Arc::new(Joined::new(variant, diff, true)));
        let all: Bytes = out.flatten().collect::<Vec<u8>>().into();
        assert_eq!(all.len(), length + 5);
        assert_eq!(all[..5], [&[0][..], &(length as u32).to_be_bytes()].concat());
        all.slice(5..)
    }

    #[test]
    fn delta_is_read_back() {
        let diff = diff();
        let message = DeltaDiscoveryResponse::decode(send(Variant::Delta, &diff, &["m".into()])).unwrap();
        assert_eq!((&*message.nonce, &*message.system_version_info), ("n", "v"));
        assert_eq!(message.type_url, ResourceType::CLUSTER.url());
        assert_eq!(message.control_plane.unwrap().identifier, "c");
        assert_eq!(message.removed_resources, ["m", "gone"]);
        assert_eq!(message.resources.len(), diff.changed.len());
        for (resource, entry) in message.resources.iter().zip(&diff.changed) {
            assert_eq!(resource.name, *entry.name);
            assert_eq!(parse_version(&resource.version), entry.version);
            assert_eq!(resource.resource, entry.any().ok());
        }
    }

    #[test]
    fn state_of_the_world_is_read_back() {
        let diff = diff();
        let message = DiscoveryResponse::decode(send(Variant::Sotw, &diff, &[])).unwrap();
        assert_eq!((&*message.nonce, &*message.version_info), ("n", "v"));
        assert_eq!(message.control_plane.unwrap().identifier, "c");
        assert_eq!(message.resources, diff.changed.iter().map(|e| e.any().unwrap()).collect::<Vec<_>>());
    }

    #[test]
    fn versions() {
        for number in [0, 7, 0x10, 0xfedc_ba98_7654_3210, u64::MAX] {
            assert_eq!(version_text(number), format!("{number:016x}"));
            assert_eq!(nonce(number, 31), format!("{number:x}.1f"));
        }
        assert_eq!(parse_version(&version_text(7)), 7);
        assert_ne!(parse_version("7"), 7);
        assert_ne!(parse_version("2026-08-22T00:00:00Z/1"), parse_version("2026-08-22T00:00:00Z/2"));
    }
}
