// SPDX-License-Identifier: Apache-2.0
//! One sidecar: clusters, then the endpoints that they name; listeners, then the routes that they name; every response acknowledged.

use super::scan::Message;
use super::{Mode, Progress, Reference, Shared, transport};
use anyhow::{Result, bail};
use prost::Message as _;
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
    /// The names that are wanted, as a request of the state of the world has them: each acknowledgement repeats them all.
    names: Vec<u8>,
    /// Version and nonce of the last response with the named resources (state of the world).
    last: (String, String),
}

/// One sidecar.
pub struct Proxy<'a> {
    shared: &'a Shared,
    progress: &'a Progress,
    clusters: Family,
    listeners: Family,
    asked_listeners: bool,
}

impl<'a> Proxy<'a> {
    /// Runs until the stream ends, which is an error.
    pub async fn run(shared: &'a Shared, number: usize) -> Result<()> {
        let node = node(shared, number);
        let mut first = Vec::new();
        match shared.settings.mode {
            Mode::Delta => {
                let request =
                    DeltaDiscoveryRequest { node: Some(node), type_url: CLUSTER.into(), ..Default::default() };
                frame(&mut first, &request);
            }
            Mode::Sotw => {
                let request = DiscoveryRequest { node: Some(node), type_url: CLUSTER.into(), ..Default::default() };
                frame(&mut first, &request);
            }
        }
        let (clusters, listeners) = (Family::default(), Family::default());
        let progress = &shared.progress[number];
        let mut proxy = Self { shared, progress, clusters, listeners, asked_listeners: false };
        transport::run(shared, &first, &mut proxy).await
    }
}

impl transport::Handler for Proxy<'_> {
    fn received(&mut self, bytes: usize) {
        self.shared.turns.received();
        self.progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn take(&mut self, message: Message, requests: &mut Vec<u8>) -> Result<()> {
        let family =
            if matches!(&*message.type_url, CLUSTER | ENDPOINT) { &mut self.clusters } else { &mut self.listeners };
        match &*message.type_url {
            CLUSTER | LISTENER => {
                let child = if message.type_url == CLUSTER { ENDPOINT } else { ROUTE };
                family.parents(self.shared, message, requests)?;
                family.ask(self.shared.settings.mode, child, requests);
            }
            ENDPOINT | ROUTE => family.children(self.shared.settings.mode, message, requests),
            other => bail!("a response of a type that nobody asked for: {other}"),
        }
        // As Envoy does, ask for listeners when the first clusters are ready.
        if !self.asked_listeners && !self.clusters.parents.is_empty() && self.clusters.pending.is_empty() {
            self.asked_listeners = true;
            let type_url = LISTENER.to_owned();
            match self.shared.settings.mode {
                Mode::Delta => frame(requests, &DeltaDiscoveryRequest { type_url, ..Default::default() }),
                Mode::Sotw => frame(requests, &DiscoveryRequest { type_url, ..Default::default() }),
            }
        }
        let complete = self.asked_listeners
            && !self.listeners.parents.is_empty()
            && self.listeners.pending.is_empty()
            && self.clusters.pending.is_empty();
        self.progress.complete.store(complete, Ordering::Relaxed);
        self.progress.last.store(self.shared.now(), Ordering::Relaxed);
        Ok(())
    }
}

impl Family {
    /// Takes clusters or listeners, and acknowledges them.
    fn parents(&mut self, shared: &Shared, message: Message, requests: &mut Vec<u8>) -> Result<()> {
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
        let Message { type_url, nonce: response_nonce, version: version_info, .. } = message;
        if delta {
            frame(requests, &DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() });
        } else {
            frame(requests, &DiscoveryRequest { version_info, response_nonce, type_url, ..Default::default() });
        }
        Ok(())
    }

    /// Asks for what the parents name, if that is not what was asked for already.
    fn ask(&mut self, mode: Mode, type_url: &str, requests: &mut Vec<u8>) {
        let wanted: BTreeSet<Arc<str>> = self.parents.values().flat_map(|r| r.wanted.iter().cloned()).collect();
        let added: Vec<Arc<str>> = wanted.difference(&self.wanted).cloned().collect();
        let gone: Vec<Arc<str>> = self.wanted.difference(&wanted).cloned().collect();
        if (added.is_empty() && gone.is_empty()) || (!self.asked && wanted.is_empty()) {
            return;
        }
        self.asked = true;
        self.wanted = wanted;
        self.pending.retain(|name| gone.binary_search(name).is_err());
        self.pending.extend(added.iter().cloned());
        let strings = |names: Vec<Arc<str>>| names.iter().map(|n| n.to_string()).collect();
        match mode {
            Mode::Delta => {
                let request = DeltaDiscoveryRequest {
                    type_url: type_url.into(),
                    resource_names_subscribe: strings(added),
                    resource_names_unsubscribe: strings(gone),
                    ..Default::default()
                };
                frame(requests, &request);
            }
            Mode::Sotw => {
                let resource_names = self.wanted.iter().map(|n| n.to_string()).collect();
                self.names = DiscoveryRequest { resource_names, ..Default::default() }.encode_to_vec();
                self.request(type_url, requests);
            }
        }
    }

    /// Takes endpoints or routes, and acknowledges them.
    fn children(&mut self, mode: Mode, message: Message, requests: &mut Vec<u8>) {
        for name in message.resources.iter().map(|r| &r.name).chain(&message.removed) {
            self.pending.remove(&**name);
        }
        let Message { type_url, nonce: response_nonce, version, .. } = message;
        match mode {
            Mode::Delta => frame(requests, &DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }),
            Mode::Sotw => {
                self.last = (version, response_nonce);
                self.request(&type_url, requests);
            }
        }
    }

    /// A request of the state of the world, which names everything each time.
    fn request(&self, type_url: &str, requests: &mut Vec<u8>) {
        let request = DiscoveryRequest {
            version_info: self.last.0.clone(),
            response_nonce: self.last.1.clone(),
            type_url: type_url.into(),
            ..Default::default()
        };
        framed(requests, &[&request.encode_to_vec(), &self.names]);
    }
}

/// Appends a message with its gRPC prefix.
fn frame(out: &mut Vec<u8>, message: &impl prost::Message) {
    framed(out, &[&message.encode_to_vec()]);
}

/// Appends a message that is there in parts.
fn framed(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.push(0);
    out.extend((parts.iter().map(|part| part.len()).sum::<usize>() as u32).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
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
