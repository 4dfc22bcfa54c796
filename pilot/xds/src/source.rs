// SPDX-License-Identifier: Apache-2.0
//! What the discovery service asks of the control plane behind it.
//!
//! A stream's first request makes a client ([`ConfigSource::connect`]). From then on the stream asks for the client's
//! [`ClientView`] whenever its [`Signal`] is raised, compares its tables with those that it sent last, and tells what happened
//! ([`ConfigSource::observe`]).

use crate::{Entry, ResourceType, Signal, Table};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tiphys_proto::envoy::config::core::v3::Node;
use tokio::sync::oneshot;

/// Who is at the other end of a connection, as the transport or a token proved it. The server puts it into the extensions of each
/// request; without it a client counts as [`Peer::default`]: plaintext and unauthenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The remote address, if there is one (a Unix socket has none).
    pub address: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Proven identities, e.g. `spiffe://cluster.local/ns/default/sa/web`. Empty: nothing is proven.
    pub identities: Vec<Arc<str>>,
}

/// All tables of one moment for one client.
#[derive(Clone, Debug, Default)]
pub struct ClientView {
    generation: u64,
    // A handful of types: a sorted vector is smaller and faster than a map.
    tables: Vec<(ResourceType, Resources)>,
}

/// Where the resources of a type come from.
#[derive(Clone, Debug)]
pub enum Resources {
    /// From a table.
    Table(Table),
    /// By asking for each subscribed name ([`ConfigSource::resource`]), again in each generation. For types of which a client wants few
    /// names, such as secrets.
    OnDemand,
}

impl ClientView {
    /// An empty view. Generations grow with time; two views of one client with the same generation are equal.
    pub fn new(generation: u64) -> Self {
        Self { generation, tables: Vec::new() }
    }

    /// Adds or replaces the table of a type.
    #[must_use]
    pub fn with(mut self, ty: ResourceType, table: Table) -> Self {
        self.set(ty, Resources::Table(table));
        self
    }

    /// Says that resources of a type are asked for by name.
    #[must_use]
    pub fn with_on_demand(mut self, ty: ResourceType) -> Self {
        self.set(ty, Resources::OnDemand);
        self
    }

    fn set(&mut self, ty: ResourceType, resources: Resources) {
        match self.tables.binary_search_by_key(&ty, |(t, _)| *t) {
            Ok(i) => self.tables[i].1 = resources,
            Err(i) => self.tables.insert(i, (ty, resources)),
        }
    }

    /// When this view came to be: larger is later.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The resources of a type; `None` when this client is not served that type.
    pub fn resources(&self, ty: ResourceType) -> Option<&Resources> {
        self.tables.binary_search_by_key(&ty, |(t, _)| *t).ok().map(|i| &self.tables[i].1)
    }

    /// The table of a type.
    pub fn table(&self, ty: ResourceType) -> Option<&Table> {
        match self.resources(ty)? {
            Resources::Table(table) => Some(table),
            Resources::OnDemand => None,
        }
    }

    /// All types that this client is served, in the order of sending.
    pub fn types(&self) -> impl Iterator<Item = (ResourceType, &Resources)> {
        self.tables.iter().map(|(t, r)| (*t, r))
    }
}

/// Something that happened on a client's stream.
#[derive(Clone, Debug)]
pub enum StreamEvent<'a> {
    /// The client subscribed to a type, or to other names of it.
    Subscribed {
        /// The type.
        ty: ResourceType,
        /// Whether it wants everything.
        wildcard: bool,
        /// The names that it asks for, sorted; shared by all clients that ask for the same.
        names: &'a Arc<[Arc<str>]>,
    },
    /// A response was handed to the transport.
    Sent {
        /// The type.
        ty: ResourceType,
        /// The nonce, which is part of a later [`StreamEvent::Acked`] or [`StreamEvent::Nacked`].
        nonce: &'a str,
        /// The version of all that the client now holds of this type.
        version: &'a str,
        /// How many resources are in it.
        resources: usize,
        /// How many removed names are in it.
        removed: usize,
        /// The length of the encoded response.
        bytes: usize,
    },
    /// The client took a response.
    Acked {
        /// The type.
        ty: ResourceType,
        /// The nonce of the response.
        nonce: &'a str,
        /// The version that was sent with it.
        version: &'a str,
    },
    /// The client refused a response and goes on with what it had.
    Nacked {
        /// The type.
        ty: ResourceType,
        /// The nonce of the response.
        nonce: &'a str,
        /// The version that was sent with it.
        version: &'a str,
        /// The gRPC code that the client gave.
        code: i32,
        /// What the client said.
        error: &'a str,
    },
    /// A request answered a response that is not the last one; it was passed over.
    Stale {
        /// The type.
        ty: ResourceType,
    },
    /// The client holds from an earlier stream all that it is to have of a type, of which this stream sent nothing yet.
    Kept {
        /// The type.
        ty: ResourceType,
    },
    /// The transport has taken the whole of a response.
    Written {
        /// The time since its first byte was offered.
        took: Duration,
    },
    /// The client has taken all of a view.
    Synced {
        /// The view's generation.
        generation: u64,
    },
    /// The client asked for a type that it is not served; it will get no answer.
    Refused {
        /// The type URL.
        type_url: &'a str,
    },
}

/// A request of a type that the client's view does not have, such as the proxy's health or a debug page.
#[derive(Clone, Debug)]
pub struct OtherRequest<'a> {
    /// The type URL.
    pub type_url: &'a str,
    /// The names in the request.
    pub names: &'a [String],
    /// Code and text of the error in the request, if it has one.
    pub error: Option<(i32, &'a str)>,
}

/// Where an answer that takes its time arrives.
pub type Later = oneshot::Receiver<Result<Vec<Entry>, tonic::Status>>;

/// What becomes of an [`OtherRequest`].
#[derive(Debug)]
pub enum Answer {
    /// The type is not known here: the request is reported as refused and gets no answer.
    Unknown,
    /// The source took note; there is nothing to send.
    Noted,
    /// One response with these resources.
    Resources(Vec<Entry>),
    /// The answer takes its time: the stream goes on, and one response with the resources follows. A status ends the stream.
    Later(Later),
}

/// What the discovery service serves from. Methods are called from the tasks of the streams and must return soon.
pub trait ConfigSource: Send + Sync + 'static {
    /// What the source knows of one connected client.
    type Client: Send + Sync + 'static;

    /// Takes a new stream, by what its client says of itself and what the connection proves. From then on the signal is to be raised
    /// whenever the client's view may have changed.
    ///
    /// # Errors
    /// The stream ends with this status.
    fn connect(&self, node: &Node, peer: &Peer, signal: &Arc<Signal>) -> Result<Self::Client, tonic::Status>;

    /// The latest view of a client. Called after each signal: it must be cheap when nothing changed for this client, and give the same
    /// pointer then.
    fn view(&self, client: &Self::Client) -> Arc<ClientView>;

    /// One resource of a type that is [`Resources::OnDemand`] in the client's view; `None` when there is none of that name (or not for
    /// this client).
    fn resource(&self, client: &Self::Client, ty: ResourceType, name: &str) -> Option<Entry> {
        let _ = (client, ty, name);
        None
    }

    /// Answers a request of a type that the client's view does not have.
    fn other(&self, client: &Self::Client, request: &OtherRequest<'_>) -> Answer {
        let _ = (client, request);
        Answer::Unknown
    }

    /// Told of what happens on the stream, for metrics and debug pages.
    fn observe(&self, client: &Self::Client, event: StreamEvent<'_>) {
        let _ = (client, event);
    }

    /// Called once when the stream has ended.
    fn disconnect(&self, client: Self::Client) {
        drop(client);
    }
}
