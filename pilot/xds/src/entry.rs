// SPDX-License-Identifier: Apache-2.0
//! One resource as it goes over the wire: encoded once, then shared.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};
use std::sync::Arc;
use tiphys_proto::google::protobuf::Any;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// A named resource with its encoded body. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name that clients subscribe to.
    pub name: Arc<str>,
    /// What the client is told as this resource's version: by default the hash of [`Entry::body`].
    pub version: u64,
    /// The encoded `google.protobuf.Any` of the resource.
    pub body: Bytes,
}

impl Entry {
    /// Encodes the `Any` of a resource whose own encoding is `value`.
    pub fn new(name: impl Into<Arc<str>>, type_url: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        let length = field_len(type_url.len()) + field_len(value.len());
        let mut body = BytesMut::with_capacity(length);
        put_field(&mut body, 1, type_url.as_bytes());
        put_field(&mut body, 2, value);
        let body = body.freeze();
        Self { name: name.into(), version: xxh3_64(&body), body }
    }

    /// Encodes a message whose type URL follows from its type.
    pub fn of<M: Message + prost::Name>(name: impl Into<Arc<str>>, message: &M) -> Self {
        Self::new(name, &tiphys_proto::type_url::<M>(), message.encode_to_vec())
    }

    /// The `Any` of the body; its value shares the bytes of this entry.
    ///
    /// # Errors
    /// When the body was not made by [`Entry::new`] and is no `Any`.
    pub fn any(&self) -> Result<Any, prost::DecodeError> {
        Any::decode(self.body.clone())
    }

    /// A hash of name and version. Their sum over a set identifies the set.
    pub(crate) fn fingerprint(&self) -> u128 {
        xxh3_128_with_seed(self.name.as_bytes(), self.version)
    }

    /// Whether a client that holds one of the two holds the other. Bodies are left out: equal versions stand for equal bodies.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.version == other.version && self.name == other.name
    }
}

/// The length of a length-delimited field with a one-byte key.
pub(crate) fn field_len(payload: usize) -> usize {
    1 + encoded_len_varint(payload as u64) + payload
}

/// Writes key and length of a length-delimited field; the payload follows. Field numbers are below 16, so that the key is one byte.
pub(crate) fn put_prefix(out: &mut BytesMut, number: u8, payload: usize) {
    out.put_u8(number << 3 | 2);
    encode_varint(payload as u64, out);
}

/// Writes a length-delimited field.
pub(crate) fn put_field(out: &mut BytesMut, number: u8, payload: &[u8]) {
    put_prefix(out, number, payload.len());
    out.put_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_proto::envoy::config::cluster::v3::Cluster;

    #[test]
    fn body_is_an_any() {
        let cluster = Cluster { name: "a".into(), ..Default::default() };
        let entry = Entry::of("a", &cluster);
        let any = entry.any().unwrap();
        assert_eq!(any, tiphys_proto::to_any(&cluster));
        assert_eq!(&entry.body[..], &any.encode_to_vec()[..]);
        assert_eq!(entry.version, xxh3_64(&entry.body));
    }
}
