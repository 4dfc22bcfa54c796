// SPDX-License-Identifier: Apache-2.0
//! Reads responses from the pieces in which they arrive, and copies nothing that is not needed.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};
use prost::encoding::decode_varint;
use std::collections::VecDeque;
use tiphys_proto::envoy::config::cluster::v3::Cluster;
use tiphys_proto::envoy::config::listener::v3::Listener;

/// Bytes in pieces.
#[derive(Default)]
pub struct Rope {
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Rope {
    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Takes the next gRPC message if all of it is there; what follows stays.
    pub fn message(&mut self, delta: bool) -> Result<Option<Message>> {
        if self.length < 5 {
            return Ok(None);
        }
        let mut head = [0u8; 5];
        for (to, from) in head.iter_mut().zip(self.pieces.iter().flat_map(|p| p.iter())) {
            *to = *from;
        }
        ensure!(head[0] == 0, "a compressed message");
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if self.length < 5 + length {
            return Ok(None);
        }
        self.advance(5);
        let end = self.length - length;
        Message::read(self, end, delta).map(Some)
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |p| &p[..])
    }

    fn advance(&mut self, mut count: usize) {
        self.length -= count;
        while let Some(front) = self.pieces.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.pieces.pop_front();
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        if let Some(front) = self.pieces.front_mut()
            && front.len() > length
        {
            self.length -= length;
            return front.split_to(length);
        }
        let mut all = bytes::BytesMut::with_capacity(length);
        while all.len() < length {
            let take = self.chunk().len().min(length - all.len());
            all.extend_from_slice(&self.chunk()[..take]);
            self.advance(take);
        }
        all.freeze()
    }
}

/// What is read of a response of either variant.
#[derive(Default)]
pub struct Message {
    pub type_url: String,
    pub nonce: String,
    pub version: String,
    pub resources: Vec<Resource>,
    pub removed: Vec<String>,
}

/// What is read of a resource.
pub struct Resource {
    /// Its name, where that is cheap to know.
    pub name: String,
    /// Stands for the name and content.
    pub key: u64,
    /// The encoded resource, for clusters and listeners.
    pub value: Bytes,
}

/// Clusters and listeners name other resources: these are read, others are passed over.
fn is_read(type_url: &str) -> bool {
    type_url.is_empty() || type_url.ends_with(".Cluster") || type_url.ends_with(".Listener")
}

impl Message {
    fn read(rope: &mut Rope, end: usize, delta: bool) -> Result<Self> {
        let mut message = Self::default();
        while rope.remaining() > end {
            let (field, length) = field(rope)?;
            match (field, delta) {
                (2, true) => message.resources.push(delta_resource(rope, length, &message.type_url)?),
                (2, false) => message.resources.push(sotw_resource(rope, length, &message.type_url)?),
                (1, _) => message.version = text(rope, length)?,
                (4, _) => message.type_url = text(rope, length)?,
                (5, _) => message.nonce = text(rope, length)?,
                (6, true) => message.removed.push(text(rope, length)?),
                _ => rope.advance(length),
            }
        }
        Ok(message)
    }
}

/// The number and length of a length-delimited field. The messages that are read have others only as numbers, of no length.
fn field(rope: &mut Rope) -> Result<(u64, usize)> {
    let key = decode_varint(rope)?;
    match key & 7 {
        0 => {
            decode_varint(rope)?;
            Ok((0, 0))
        }
        2 => Ok((key >> 3, decode_varint(rope)? as usize)),
        other => bail!("unexpected wire type {other}"),
    }
}

fn text(rope: &mut Rope, length: usize) -> Result<String> {
    Ok(String::from_utf8(rope.copy_to_bytes(length).into())?)
}

fn delta_resource(rope: &mut Rope, length: usize, type_url: &str) -> Result<Resource> {
    let end = rope.remaining() - length;
    let (mut name, mut version, mut value) = (String::new(), Bytes::new(), Bytes::new());
    while rope.remaining() > end {
        let (number, length) = field(rope)?;
        match number {
            1 => version = rope.copy_to_bytes(length),
            3 => name = text(rope, length)?,
            2 if is_read(type_url) => value = any_value(rope, length, usize::MAX)?,
            _ => rope.advance(length),
        }
    }
    let key = xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), xxhash_rust::xxh3::xxh3_64(&version));
    Ok(Resource { name, key, value })
}

fn sotw_resource(rope: &mut Rope, length: usize, type_url: &str) -> Result<Resource> {
    if is_read(type_url) {
        let value = any_value(rope, length, usize::MAX)?;
        return Ok(Resource { name: String::new(), key: xxhash_rust::xxh3::xxh3_64(&value), value });
    }
    // Load assignments and routes have their name in front, as field 1.
    let head = any_value(rope, length, 512)?;
    let mut rest = &head[..];
    let mut name = String::new();
    if decode_varint(&mut rest)? == (1 << 3 | 2) {
        let length = decode_varint(&mut rest)? as usize;
        name = String::from_utf8(rest.get(..length).context("a very long name")?.to_vec())?;
    }
    Ok(Resource { name, key: 0, value: Bytes::new() })
}

/// The value of an `Any` of a length, or the beginning of it.
fn any_value(rope: &mut Rope, length: usize, limit: usize) -> Result<Bytes> {
    let end = rope.remaining() - length;
    let mut value = Bytes::new();
    while rope.remaining() > end {
        let (number, length) = field(rope)?;
        let skip = if number == 2 {
            value = rope.copy_to_bytes(length.min(limit));
            length - value.len()
        } else {
            length
        };
        rope.advance(skip);
    }
    Ok(value)
}

/// The name of a cluster or listener, and what it makes a proxy ask for: load assignments or route configurations.
pub fn references(type_url: &str, value: Bytes) -> Result<(String, Vec<String>)> {
    use prost::Message as _;
    use tiphys_proto::envoy::config::{cluster::v3::cluster, listener::v3::filter};
    use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3 as http;
    if type_url.ends_with(".Cluster") {
        let cluster = Cluster::decode(value)?;
        let eds = cluster.cluster_discovery_type
            == Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into()));
        let service = cluster.eds_cluster_config.map(|e| e.service_name).filter(|s| !s.is_empty());
        let wanted = eds.then(|| service.unwrap_or_else(|| cluster.name.clone()));
        return Ok((cluster.name, wanted.into_iter().collect()));
    }
    let listener = Listener::decode(value)?;
    let chains = listener.filter_chains.into_iter().chain(listener.default_filter_chain);
    let mut routes = Vec::new();
    for filter in chains.flat_map(|c| c.filters) {
        if let Some(filter::ConfigType::TypedConfig(any)) = filter.config_type
            && any.type_url.ends_with(".HttpConnectionManager")
            && let Some(http::http_connection_manager::RouteSpecifier::Rds(rds)) =
                http::HttpConnectionManager::decode(any.value)?.route_specifier
        {
            routes.push(rds.route_config_name);
        }
    }
    routes.sort_unstable();
    routes.dedup();
    Ok((listener.name, routes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use tiphys_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
    use tiphys_proto::envoy::service::discovery::v3 as xds;

    fn pieces(message: &[u8], size: usize) -> Rope {
        let mut rope = Rope::default();
        let framed = [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
        framed.chunks(size).for_each(|p| rope.push(Bytes::copy_from_slice(p)));
        rope
    }

    #[test]
    fn reads_both_variants_in_any_pieces() {
        let assignment = ClusterLoadAssignment { cluster_name: "outbound|80||a".into(), ..Default::default() };
        let resource = xds::Resource {
            name: "outbound|80||a".into(),
            version: "7".into(),
            resource: Some(tiphys_proto::to_any(&assignment)),
            ..Default::default()
        };
        let type_url = tiphys_proto::type_url::<ClusterLoadAssignment>();
        let delta = xds::DeltaDiscoveryResponse {
            resources: vec![resource.clone(), resource],
            removed_resources: vec!["gone".into()],
            nonce: "n".into(),
            type_url: type_url.clone(),
            ..Default::default()
        };
        let sotw = xds::DiscoveryResponse {
            version_info: "v".into(),
            resources: vec![tiphys_proto::to_any(&assignment)],
            nonce: "n".into(),
            type_url,
            ..Default::default()
        };
        for size in [1, 7, 10_000] {
            let message = pieces(&delta.encode_to_vec(), size).message(true).unwrap().unwrap();
            assert_eq!(message.resources.len(), 2);
            assert_eq!((&*message.resources[1].name, &*message.nonce), ("outbound|80||a", "n"));
            assert_eq!(message.removed, ["gone"]);
            let message = pieces(&sotw.encode_to_vec(), size).message(false).unwrap().unwrap();
            assert_eq!((&*message.version, message.resources.len()), ("v", 1));
        }
        assert!(Rope::default().message(true).unwrap().is_none());
    }
}
