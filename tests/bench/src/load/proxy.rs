// SPDX-License-Identifier: Apache-2.0
//! One sidecar: clusters, then the endpoints that they name; listeners, then the routes that they name; every response acknowledged.

use super::rope::{Message, Rope};
use super::{Mode, Reference, Shared, transport};
use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tiphys_proto::envoy::config::core::v3::{Locality, Node};
use tiphys_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use tiphys_proto::google::protobuf::{Struct, Value, value::Kind};

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// Resources that name others, and these others: clusters and endpoints, or listeners and routes.
#[derive(Default)]
struct Family {
    parents: HashMap<Arc<str>, Arc<Reference>>,
    wanted: BTreeSet<Arc<str>>,
    pending: BTreeSet<Arc<str>>,
    asked: bool,
    /// Version and nonce of the last response with the named resources (state of the world).
    last: (String, String),
}

/// One sidecar.
pub struct Proxy<'a> {
    shared: &'a Shared,
    stream: transport::Stream,
    clusters: Family,
    listeners: Family,
    asked_listeners: bool,
}

impl<'a> Proxy<'a> {
    /// Runs until the stream ends, which is an error.
    pub async fn run(shared: &'a Shared, number: usize) -> Result<()> {
        let node = node(shared, number);
        let first = match shared.settings.mode {
            Mode::Delta => {
                frame(&DeltaDiscoveryRequest { node: Some(node), type_url: CLUSTER.into(), ..Default::default() })
            }
            Mode::Sotw => frame(&DiscoveryRequest { node: Some(node), type_url: CLUSTER.into(), ..Default::default() }),
        };
        let stream = transport::open(shared, first).await?;
        let (clusters, listeners) = (Family::default(), Family::default());
        let mut proxy = Self { shared, stream, clusters, listeners, asked_listeners: false };
        let progress = &shared.progress[number];
        let delta = shared.settings.mode == Mode::Delta;
        let mut rope = Rope::default();
        while let Some(piece) = proxy.stream.receive.data().await {
            let piece = piece.context("stream failed")?;
            proxy.stream.receive.flow_control().release_capacity(piece.len())?;
            progress.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            rope.push(piece);
            while let Some(message) = rope.message(delta)? {
                proxy.take(message)?;
                let complete = proxy.asked_listeners
                    && !proxy.listeners.parents.is_empty()
                    && proxy.listeners.pending.is_empty()
                    && proxy.clusters.pending.is_empty();
                progress.complete.store(complete, Ordering::Relaxed);
                progress.last.store(shared.now(), Ordering::Relaxed);
            }
        }
        let trailers = proxy.stream.receive.trailers().await?;
        bail!("the stream ended: {trailers:?}")
    }

    fn take(&mut self, message: Message) -> Result<()> {
        let family =
            if matches!(&*message.type_url, CLUSTER | ENDPOINT) { &mut self.clusters } else { &mut self.listeners };
        match &*message.type_url {
            CLUSTER | LISTENER => {
                let child = if message.type_url == CLUSTER { ENDPOINT } else { ROUTE };
                let ack = family.parents(self.shared, message)?;
                self.stream.send.send_data(ack, false)?;
                if let Some(request) = family.ask(self.shared.settings.mode, child) {
                    self.stream.send.send_data(request, false)?;
                }
            }
            ENDPOINT | ROUTE => {
                let ack = family.children(self.shared.settings.mode, message);
                self.stream.send.send_data(ack, false)?;
            }
            other => bail!("a response of a type that nobody asked for: {other}"),
        }
        // As Envoy does, ask for listeners when the first clusters are ready.
        if !self.asked_listeners && !self.clusters.parents.is_empty() && self.clusters.pending.is_empty() {
            self.asked_listeners = true;
            let request = match self.shared.settings.mode {
                Mode::Delta => frame(&DeltaDiscoveryRequest { type_url: LISTENER.into(), ..Default::default() }),
                Mode::Sotw => frame(&DiscoveryRequest { type_url: LISTENER.into(), ..Default::default() }),
            };
            self.stream.send.send_data(request, false)?;
        }
        Ok(())
    }
}

impl Family {
    /// Takes clusters or listeners. Gives the acknowledgement.
    fn parents(&mut self, shared: &Shared, message: Message) -> Result<Bytes> {
        let delta = shared.settings.mode == Mode::Delta;
        if !delta {
            self.parents.clear();
        }
        for resource in message.resources {
            let reference = shared.references.of(&message.type_url, resource)?;
            self.parents.insert(Arc::clone(&reference.name), reference);
        }
        for name in &message.removed {
            self.parents.remove(&**name);
        }
        Ok(if delta {
            acknowledge_delta(message.type_url, message.nonce)
        } else {
            let (version_info, response_nonce) = (message.version, message.nonce);
            frame(&DiscoveryRequest { version_info, response_nonce, type_url: message.type_url, ..Default::default() })
        })
    }

    /// The request for what the parents name, if that is not what was asked for already.
    fn ask(&mut self, mode: Mode, type_url: &str) -> Option<Bytes> {
        let wanted: BTreeSet<Arc<str>> = self.parents.values().flat_map(|r| r.wanted.iter().cloned()).collect();
        let added: Vec<Arc<str>> = wanted.difference(&self.wanted).cloned().collect();
        let gone: Vec<Arc<str>> = self.wanted.difference(&wanted).cloned().collect();
        if (added.is_empty() && gone.is_empty()) || (!self.asked && wanted.is_empty()) {
            return None;
        }
        self.asked = true;
        self.wanted = wanted;
        self.pending.retain(|name| gone.binary_search(name).is_err());
        self.pending.extend(added.iter().cloned());
        let strings = |names: Vec<Arc<str>>| names.iter().map(|n| n.to_string()).collect();
        Some(match mode {
            Mode::Delta => frame(&DeltaDiscoveryRequest {
                type_url: type_url.into(),
                resource_names_subscribe: strings(added),
                resource_names_unsubscribe: strings(gone),
                ..Default::default()
            }),
            Mode::Sotw => self.request(type_url),
        })
    }

    /// Takes endpoints or routes. Gives the acknowledgement.
    fn children(&mut self, mode: Mode, message: Message) -> Bytes {
        for name in message.resources.iter().map(|r| &r.name).chain(&message.removed) {
            self.pending.remove(&**name);
        }
        match mode {
            Mode::Delta => acknowledge_delta(message.type_url, message.nonce),
            Mode::Sotw => {
                self.last = (message.version, message.nonce);
                self.request(&message.type_url)
            }
        }
    }

    /// A request of the state of the world, which names everything each time.
    fn request(&self, type_url: &str) -> Bytes {
        frame(&DiscoveryRequest {
            version_info: self.last.0.clone(),
            response_nonce: self.last.1.clone(),
            resource_names: self.wanted.iter().map(|n| n.to_string()).collect(),
            type_url: type_url.into(),
            ..Default::default()
        })
    }
}

fn acknowledge_delta(type_url: String, response_nonce: String) -> Bytes {
    frame(&DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() })
}

/// A message with its gRPC prefix.
fn frame(message: &impl prost::Message) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + message.encoded_len());
    out.put_u8(0);
    out.put_u32(message.encoded_len() as u32);
    out.put_slice(&message.encode_to_vec());
    out.freeze()
}

/// What an injected sidecar says of itself.
fn node(shared: &Shared, number: usize) -> Node {
    let namespace = &shared.settings.namespace;
    let address = format!("10.{}.{}.{}", 200 + number / 62_500, number / 250 % 250, 1 + number % 250);
    let text = |s: &str| Value { kind: Some(Kind::StringValue(s.into())) };
    let labels = Struct { fields: BTreeMap::from([("app".to_owned(), text("load"))]) };
    let fields = BTreeMap::from([
        ("CLUSTER_ID".to_owned(), text("Kubernetes")),
        ("INSTANCE_IPS".to_owned(), text(&address)),
        ("ISTIO_VERSION".to_owned(), text("1.30.0")),
        ("LABELS".to_owned(), Value { kind: Some(Kind::StructValue(labels)) }),
        ("MESH_ID".to_owned(), text("cluster.local")),
        ("NAME".to_owned(), text(&format!("load-{number}"))),
        ("NAMESPACE".to_owned(), text(namespace)),
        ("SERVICE_ACCOUNT".to_owned(), text("load")),
    ]);
    Node {
        id: format!("sidecar~{address}~load-{number}.{namespace}~{namespace}.svc.cluster.local"),
        cluster: format!("load.{namespace}"),
        metadata: Some(Struct { fields }),
        locality: Some(Locality::default()),
        ..Default::default()
    }
}
