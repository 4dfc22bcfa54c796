// SPDX-License-Identifier: Apache-2.0
//! Reads responses out of a stream of bytes as they arrive. What nobody looks at (the bodies of endpoints and routes) is passed over where
//! it lies, so that a sidecar costs little more than the reading of its socket.

use anyhow::{Context, Result, bail, ensure};
use prost::encoding::decode_varint;
use tiphys_proto::envoy::config::cluster::v3::Cluster;
use tiphys_proto::envoy::config::listener::v3::Listener;

/// What is read of a response of either variant.
#[derive(Debug, Default)]
pub struct Message {
    pub type_url: String,
    pub nonce: String,
    pub version: String,
    pub resources: Vec<Resource>,
    pub removed: Vec<String>,
}

/// What is read of a resource.
#[derive(Debug, Default)]
pub struct Resource {
    /// Its name, where that is cheap to know.
    pub name: String,
    /// Stands for the name and content.
    pub key: u64,
    /// The encoded resource, for clusters and listeners.
    pub value: Vec<u8>,
    version: Vec<u8>,
}

/// Which message a field is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// The five bytes in front of a message.
    Prefix,
    Response,
    Resource,
    Any,
}

/// What the bytes of a field are for.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Version,
    TypeUrl,
    Nonce,
    Removed,
    ResourceVersion,
    ResourceName,
    Value,
}

/// The state of one stream of messages.
pub struct Scanner {
    delta: bool,
    /// Bytes since the beginning.
    at: u64,
    /// The open messages, from the outside, and where they end.
    open: Vec<(Level, u64)>,
    /// A head that is not complete yet.
    head: Vec<u8>,
    skip: u64,
    /// A field that is kept, how many bytes of it are to come, and how many of those after it nobody needs.
    field: Option<(Wanted, usize, u64)>,
    kept: Vec<u8>,
    message: Message,
}

/// Load assignments and routes have their name in front, as field 1: so much of them is read in the state of the world.
const NAME_WITHIN: usize = 512;

impl Scanner {
    /// Reads responses of a variant.
    pub fn new(delta: bool) -> Self {
        let message = Message::default();
        let (open, head, kept) = (Vec::new(), Vec::new(), Vec::new());
        Self { delta, at: 0, open, head, skip: 0, field: None, kept, message }
    }

    /// Takes bytes in, gives the messages that they complete to `take`.
    pub fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(Message) -> Result<()>) -> Result<()> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len() as u64);
                self.skip -= count;
                bytes = self.pass(bytes, count as usize);
            } else if let Some((wanted, left, after)) = self.field {
                let count = left.min(bytes.len());
                self.kept.extend_from_slice(&bytes[..count]);
                bytes = self.pass(bytes, count);
                self.field = Some((wanted, left - count, after));
                if count == left {
                    self.field = None;
                    self.skip = after;
                    self.keep(wanted)?;
                }
            } else {
                self.head.push(bytes[0]);
                bytes = self.pass(bytes, 1);
                self.head()?;
            }
            while self.skip == 0 && self.field.is_none() && self.head.is_empty() && self.close() {
                if self.open.is_empty() {
                    take(std::mem::take(&mut self.message))?;
                }
            }
        }
        Ok(())
    }

    fn pass<'a>(&mut self, bytes: &'a [u8], count: usize) -> &'a [u8] {
        self.at += count as u64;
        &bytes[count..]
    }

    /// Closes the innermost message if it ends here.
    fn close(&mut self) -> bool {
        let Some((level, _)) = self.open.pop_if(|(_, end)| *end == self.at) else { return false };
        if level == Level::Response && !self.delta && !is_read(&self.message.type_url) {
            // The type came after the resources.
            for resource in self.message.resources.iter_mut().filter(|resource| resource.name.is_empty()) {
                resource.name = first_field(&resource.value).unwrap_or_default();
            }
        }
        let done = level == Level::Resource || (level == Level::Any && !self.delta);
        if done && let Some(resource) = self.message.resources.last_mut() {
            resource.key = match self.delta {
                true => {
                    let version = xxhash_rust::xxh3::xxh3_64(&resource.version);
                    xxhash_rust::xxh3::xxh3_64_with_seed(resource.name.as_bytes(), version)
                }
                false => xxhash_rust::xxh3::xxh3_64(&resource.value),
            };
        }
        true
    }

    /// Looks whether the head is complete, and begins what it announces.
    fn head(&mut self) -> Result<()> {
        let level = self.open.last().map_or(Level::Prefix, |(level, _)| *level);
        if level == Level::Prefix {
            if let [compressed, length @ ..] = &self.head[..]
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                ensure!(*compressed == 0, "a compressed message");
                self.open.push((Level::Response, self.at + u64::from(u32::from_be_bytes(length))));
                self.head.clear();
            }
            return Ok(());
        }
        // A key and a number: the length, or the value of a field that is a number.
        let Some((key, number)) = two_numbers(&self.head)? else { return Ok(()) };
        self.head.clear();
        match key & 7 {
            0 => Ok(()),
            2 => {
                self.begin(level, key >> 3, number);
                Ok(())
            }
            other => bail!("unexpected wire type {other}"),
        }
    }

    fn begin(&mut self, level: Level, field: u64, length: u64) {
        let wanted = match (level, field) {
            (Level::Response, 2) => {
                self.message.resources.push(Resource::default());
                self.open.push((if self.delta { Level::Resource } else { Level::Any }, self.at + length));
                return;
            }
            (Level::Resource, 2) => {
                self.open.push((Level::Any, self.at + length));
                return;
            }
            (Level::Response, 1) => Wanted::Version,
            (Level::Response, 4) => Wanted::TypeUrl,
            (Level::Response, 5) => Wanted::Nonce,
            (Level::Response, 6) if self.delta => Wanted::Removed,
            (Level::Resource, 1) => Wanted::ResourceVersion,
            (Level::Resource, 3) => Wanted::ResourceName,
            (Level::Any, 2) if !self.delta || is_read(&self.message.type_url) => Wanted::Value,
            _ => {
                self.skip = length;
                return;
            }
        };
        let whole = !matches!(wanted, Wanted::Value) || is_read(&self.message.type_url);
        let kept = if whole { length } else { length.min(NAME_WITHIN as u64) };
        self.kept.clear();
        if length > 0 {
            self.field = Some((wanted, kept as usize, length - kept));
        }
    }

    fn keep(&mut self, wanted: Wanted) -> Result<()> {
        let bytes = std::mem::take(&mut self.kept);
        let message = &mut self.message;
        let resource = message.resources.last_mut();
        match (wanted, resource) {
            (Wanted::Version, _) => message.version = String::from_utf8(bytes)?,
            (Wanted::TypeUrl, _) => message.type_url = String::from_utf8(bytes)?,
            (Wanted::Nonce, _) => message.nonce = String::from_utf8(bytes)?,
            (Wanted::Removed, _) => message.removed.push(String::from_utf8(bytes)?),
            (Wanted::ResourceVersion, Some(resource)) => resource.version = bytes,
            (Wanted::ResourceName, Some(resource)) => resource.name = String::from_utf8(bytes)?,
            (Wanted::Value, Some(resource)) if is_read(&message.type_url) => resource.value = bytes,
            (Wanted::Value, Some(resource)) => resource.name = first_field(&bytes)?,
            (_, None) => bail!("a field of no resource"),
        }
        Ok(())
    }
}

/// Clusters and listeners name other resources: these are read, others are passed over. (Where resources come before the type, all are read.)
fn is_read(type_url: &str) -> bool {
    type_url.is_empty() || type_url.ends_with(".Cluster") || type_url.ends_with(".Listener")
}

fn two_numbers(head: &[u8]) -> Result<Option<(u64, u64)>> {
    ensure!(head.len() <= 20, "no protobuf");
    // A varint ends with a byte below 128.
    if head.iter().filter(|byte| **byte < 128).count() < 2 {
        return Ok(None);
    }
    let mut rest = head;
    Ok(Some((decode_varint(&mut rest)?, decode_varint(&mut rest)?)))
}

fn first_field(mut bytes: &[u8]) -> Result<String> {
    if decode_varint(&mut bytes)? != (1 << 3 | 2) {
        return Ok(String::new());
    }
    let length = decode_varint(&mut bytes)? as usize;
    Ok(String::from_utf8(bytes.get(..length).context("a very long name")?.to_vec())?)
}

/// The name of a cluster or listener, and what it makes a proxy ask for: load assignments or route configurations.
pub fn references(type_url: &str, value: &[u8]) -> Result<(String, Vec<String>)> {
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

    fn scan(messages: &[Vec<u8>], size: usize, delta: bool) -> Vec<Message> {
        let framed: Vec<u8> =
            messages.iter().flat_map(|m| [&[0][..], &(m.len() as u32).to_be_bytes(), m].concat()).collect();
        let (mut scanner, mut all) = (Scanner::new(delta), Vec::new());
        for piece in framed.chunks(size) {
            scanner
                .feed(piece, |message| {
                    all.push(message);
                    Ok(())
                })
                .unwrap();
        }
        all
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
        let cluster = Cluster { name: "c".into(), ..Default::default() };
        let clusters = xds::DiscoveryResponse {
            resources: vec![tiphys_proto::to_any(&cluster)],
            type_url: tiphys_proto::type_url::<Cluster>(),
            ..Default::default()
        };
        for size in [1, 7, 10_000] {
            let messages = scan(&[delta.encode_to_vec(), Vec::new(), delta.encode_to_vec()], size, true);
            assert_eq!(messages.len(), 3);
            for message in [&messages[0], &messages[2]] {
                assert_eq!(message.resources.len(), 2);
                assert_eq!((&*message.resources[1].name, &*message.nonce), ("outbound|80||a", "n"));
                assert_eq!(message.removed, ["gone"]);
            }
            let messages = scan(&[sotw.encode_to_vec(), clusters.encode_to_vec()], size, false);
            assert_eq!((&*messages[0].version, messages[0].resources.len()), ("v", 1));
            let (name, wanted) = references(&messages[1].type_url, &messages[1].resources[0].value).unwrap();
            assert_eq!((&*name, wanted.len()), ("c", 0));
        }
    }
}
