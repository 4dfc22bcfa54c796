// SPDX-License-Identifier: Apache-2.0
//! One stream: requests in, responses out, no IO.
//!
//! [`Session::receive`] takes a request, [`Session::refresh`] the latest view; [`Session::next`] gives the next response that may be sent now.
//! It is asked only when the transport can take one, so that a slow client never has more than one response of each type before
//! it, and then jumps to the latest view. Nothing is queued: each type knows what the client holds, and what it should hold.

mod offer;
mod refused;
mod request;
mod round;
mod subscribe;
mod subscription;

pub(crate) use request::Request;

use crate::hub::Hub;
use crate::wire::{Outgoing, Variant};
use crate::{Answer, ClientView, ConfigSource, Entry, Later, OtherRequest, Peer, ResourceType, Signal, StreamEvent};
use round::{Round, Stage};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use subscription::Subscription;
use tonic::Status;

/// What a session needs from the service that runs it.
pub(crate) struct Context<S> {
    pub source: Arc<S>,
    pub hub: Arc<Hub>,
    pub control_plane: Arc<str>,
    /// How long a client may take for one stage of a view before the next begins without it.
    pub patience: Duration,
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            hub: Arc::clone(&self.hub),
            control_plane: Arc::clone(&self.control_plane),
            patience: self.patience,
        }
    }
}

/// The state of one stream.
pub(crate) struct Session<S: ConfigSource> {
    context: Context<S>,
    variant: Variant,
    peer: Peer,
    signal: Arc<Signal>,
    /// Tells the nonces of this stream from those of others.
    stream: u64,
    nonces: u64,
    connected: Option<Connected<S::Client>>,
}

struct Connected<C> {
    client: C,
    node: String,
    latest: Arc<ClientView>,
    round: Round,
    /// The view of which listeners and routes are sent: the last that a round brought so far.
    routes: Option<Arc<ClientView>>,
    types: BTreeMap<ResourceType, Subscription>,
    first_round: bool,
    /// The client holds resources of an earlier stream, so that its routes must be thought of although it did not ask for any yet.
    resumed: bool,
    /// Answers to requests of types that are not in the view.
    answers: VecDeque<(String, Vec<Entry>)>,
    /// Answers that are still being made.
    coming: Vec<(String, Later)>,
    /// The client did not ask for endpoints of clusters that it was sent: it is not waited for again.
    ignores_endpoints: bool,
    synced: Option<u64>,
}

impl<S: ConfigSource> Session<S> {
    pub fn new(context: Context<S>, variant: Variant, peer: Peer, signal: Arc<Signal>, stream: u64) -> Self {
        Self { context, variant, peer, signal, stream, nonces: 0, connected: None }
    }

    /// Takes a request.
    ///
    /// # Errors
    /// The stream has to end with this status.
    pub fn receive(&mut self, request: Request, now: Instant) -> Result<(), Status> {
        if self.connected.is_none() {
            self.connect(&request, now)?;
        }
        let Some(connected) = &mut self.connected else { return Ok(()) };
        match ResourceType::find(&request.type_url) {
            Some(ty) if connected.latest.resources(ty).is_some() || connected.types.contains_key(&ty) => {
                connected.subscribe(&self.context, ty, request, now);
            }
            _ => connected.other(&self.context, self.stream, &request),
        }
        Ok(())
    }

    fn connect(&mut self, request: &Request, now: Instant) -> Result<(), Status> {
        let node = request
            .node
            .as_ref()
            .ok_or_else(|| Status::invalid_argument("the first request of a stream must carry a node"))?;
        let client = self.context.source.connect(node, &self.peer, &self.signal)?;
        let latest = self.context.source.view(&client);
        tracing::debug!(node = node.id, peer = ?self.peer.address, variant = ?self.variant, "client connected");
        self.connected = Some(Connected {
            client,
            node: node.id.clone(),
            round: Round::new(Arc::clone(&latest), now),
            latest,
            routes: None,
            types: BTreeMap::new(),
            first_round: true,
            resumed: false,
            answers: VecDeque::new(),
            coming: Vec::new(),
            ignores_endpoints: false,
            synced: None,
        });
        Ok(())
    }

    /// Takes answers that were made meanwhile. Gives the status with which the stream ends, if one of them is such.
    pub fn poll_answers(&mut self, cx: &mut std::task::Context<'_>) -> Option<Status> {
        let connected = self.connected.as_mut()?;
        let mut end = None;
        let answers = &mut connected.answers;
        connected.coming.retain_mut(|(type_url, coming)| match Pin::new(coming).poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(Ok(entries))) => {
                answers.push_back((std::mem::take(type_url), entries));
                false
            }
            Poll::Ready(Ok(Err(status))) => {
                end = Some(status);
                false
            }
            Poll::Ready(Err(_)) => {
                end = Some(Status::unavailable("the control plane is shutting down"));
                false
            }
        });
        end
    }

    /// Tells that the transport has taken a response.
    pub fn written(&self, took: Duration) {
        if let Some(connected) = &self.connected {
            self.context.source.observe(&connected.client, StreamEvent::Written { took });
        }
    }

    /// Takes the latest view of the client.
    pub fn refresh(&mut self, now: Instant) {
        let Some(connected) = &mut self.connected else { return };
        let view = self.context.source.view(&connected.client);
        if !Arc::ptr_eq(&view, &connected.latest) {
            connected.latest = view;
            connected.restart_round(now);
        }
    }

    /// The next response, if one may be sent now.
    pub fn next(&mut self, now: Instant) -> Option<Outgoing> {
        let connected = self.connected.as_mut()?;
        let mut sender = offer::Sender {
            context: &self.context,
            variant: self.variant,
            stream: self.stream,
            nonces: &mut self.nonces,
        };
        if let Some((type_url, entries)) = connected.answers.pop_front() {
            return Some(sender.answer(&type_url, entries));
        }
        loop {
            let mut next = connected.types.keys().next().copied();
            while let Some(ty) = next {
                if let Some(response) = connected.offer(&mut sender, ty) {
                    return Some(response);
                }
                next = connected.types.range((Excluded(ty), Unbounded)).next().map(|(ty, _)| *ty);
            }
            if !connected.advance(&self.context, now) {
                return None;
            }
        }
    }

    /// When [`Session::next`] must be asked again although nothing happened.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let connected = self.connected.as_ref()?;
        let stage = (connected.round.stage != Stage::Done)
            .then(|| connected.round.since + connected.stage_patience(self.context.patience));
        stage.filter(|deadline| *deadline > now)
    }

    /// Ends the session.
    pub fn close(&mut self) {
        if let Some(connected) = self.connected.take() {
            tracing::debug!(node = connected.node, "client disconnected");
            self.context.source.disconnect(connected.client);
        }
    }
}

impl<C: Send + Sync + 'static> Connected<C> {
    fn restart_round(&mut self, now: Instant) {
        if self.round.stage != Stage::Done || Arc::ptr_eq(&self.round.view, &self.latest) {
            return;
        }
        self.first_round = false;
        if self.round.has_all_of(&self.latest) {
            self.round.view = Arc::clone(&self.latest);
            self.routes = Some(Arc::clone(&self.latest));
        } else {
            self.round = Round::new(Arc::clone(&self.latest), now);
        }
    }

    /// How long the client may take for this stage: less, and only once, if it does not ask for endpoints at all.
    fn stage_patience(&self, patience: Duration) -> Duration {
        let unasked = self.round.stage == Stage::Endpoints && !self.types.contains_key(&ResourceType::ENDPOINT);
        if unasked { patience / 5 } else { patience }
    }

    /// Takes the round to its next stage if this one is over: all of it was sent and answered, or the client had its time. Gives whether
    /// there is anything new to offer.
    fn advance<S: ConfigSource<Client = C>>(&mut self, context: &Context<S>, now: Instant) -> bool {
        let settled = |ty| self.types.get(&ty).is_none_or(|s: &Subscription| s.in_flight.is_none());
        let unasked = self.resumed && !self.types.contains_key(&ResourceType::LISTENER);
        let late = now.saturating_duration_since(self.round.since) >= self.stage_patience(context.patience);
        let next = match self.round.stage {
            Stage::Clusters if late || settled(ResourceType::CLUSTER) || !self.is_ordered() => Stage::Endpoints,
            Stage::Endpoints if late || self.endpoints_settled() || !self.is_ordered() => {
                self.ignores_endpoints = !self.has_endpoints() && (late || self.ignores_endpoints);
                self.routes = Some(Arc::clone(&self.round.view));
                Stage::Routes
            }
            Stage::Routes if late || (!unasked && settled(ResourceType::LISTENER) && settled(ResourceType::ROUTE)) => {
                self.resumed = false;
                Stage::Removals
            }
            Stage::Removals if late || (settled(ResourceType::CLUSTER) && settled(ResourceType::ROUTE)) => Stage::Done,
            Stage::Done => {
                self.tell_synced(context);
                return false;
            }
            _ => return false,
        };
        if late {
            tracing::debug!(node = self.node, stage = ?self.round.stage, "client did not answer in time");
        }
        self.round.enter(next, now);
        self.restart_round(now);
        true
    }

    /// The client asks for its first type, or for clusters: it has none of them yet, so that routes of a view whose clusters it was never
    /// sent must not reach it. With `resumed` it holds something of an earlier stream: what it is sent has to be in order from the first
    /// response.
    fn start_over(&mut self, resumed: bool, now: Instant) {
        if self.resumed || !self.routes_unasked() {
            return;
        }
        self.resumed = resumed;
        self.first_round = true;
        self.routes = None;
        self.round = Round::new(Arc::clone(&self.latest), now);
    }

    fn routes_unasked(&self) -> bool {
        ![ResourceType::LISTENER, ResourceType::ROUTE].iter().any(|ty| self.types.contains_key(ty))
    }

    fn tell_synced<S: ConfigSource<Client = C>>(&mut self, context: &Context<S>) {
        let generation = self.round.view.generation();
        if self.synced != Some(generation) && self.types.values().all(|s| s.in_flight.is_none()) {
            self.synced = Some(generation);
            context.source.observe(&self.client, StreamEvent::Synced { generation });
        }
    }

    /// Whether stages wait for each other. When a client starts, it has nothing that could refer to anything, and is not to wait.
    fn is_ordered(&self) -> bool {
        self.resumed || !self.first_round
    }

    /// Whether the client has the endpoints of all clusters that this round sent.
    fn endpoints_settled(&self) -> bool {
        let in_flight = self.types.get(&ResourceType::ENDPOINT).is_some_and(|s| s.in_flight.is_some());
        !in_flight && (self.ignores_endpoints || self.has_endpoints())
    }

    fn has_endpoints(&self) -> bool {
        let endpoints = self.types.get(&ResourceType::ENDPOINT);
        self.round.expected().all(|name| endpoints.is_some_and(|s| s.held.contains(name)))
    }

    /// A request of a type that this client is not served.
    fn other<S: ConfigSource<Client = C>>(&mut self, context: &Context<S>, stream: u64, request: &Request) {
        let error = request.error.as_ref().map(|(code, text)| (*code, text.as_str()));
        if offer::is_of(stream, &request.nonce) && error.is_none() {
            // It acknowledges an answer of ours. A nonce of its own, such as istioctl's first request has, acknowledges nothing.
            return;
        }
        let type_url = request.type_url.as_str();
        match context.source.other(&self.client, &OtherRequest { type_url, names: request.names.wanted(), error }) {
            Answer::Resources(entries) => self.answers.push_back((type_url.to_owned(), entries)),
            Answer::Later(coming) => self.coming.push((type_url.to_owned(), coming)),
            Answer::Noted => {}
            Answer::Unknown => {
                tracing::debug!(node = self.node, type_url, "refused a request of a type that is not served");
                context.source.observe(&self.client, StreamEvent::Refused { type_url });
            }
        }
    }
}

#[cfg(test)]
mod tests;
