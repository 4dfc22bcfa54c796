// SPDX-License-Identifier: Apache-2.0
//! What a request means for a subscription.

use super::request::Names;
use super::subscription::Subscription;
use super::{Connected, Context, Request};
use crate::{ConfigSource, ResourceType, StreamEvent};
use std::sync::Arc;
use std::time::Instant;

const WILDCARD: &str = "*";

impl<C: Send + Sync + 'static> Connected<C> {
    /// Takes a request of a type that this client is served.
    pub(super) fn subscribe<S: ConfigSource<Client = C>>(
        &mut self,
        context: &Context<S>,
        ty: ResourceType,
        request: Request,
        now: Instant,
    ) {
        let fresh = !self.types.contains_key(&ty);
        let resumed = request.names.resumes();
        if fresh && (resumed || ty == ResourceType::CLUSTER) {
            self.start_over(resumed, now);
        }
        let subscription = self.types.entry(ty).or_default();
        subscription.settled = None;
        let before = Arc::clone(&subscription.selection);
        let current = subscription.answered(context, &self.client, (ty, &self.node), &request);
        match request.names {
            Names::Delta { subscribe, unsubscribe, initial } => {
                // What a delta request says of names counts whatever response it answers.
                subscription.change(context, ty, fresh, (subscribe, unsubscribe));
                if fresh {
                    subscription.adopt(initial);
                    subscription.must_answer = subscription.selection.wildcard() && subscription.held.is_empty();
                }
            }
            Names::Sotw { names, version } if current => {
                subscription.replace(context, ty, names);
                if fresh {
                    subscription.must_answer = subscription.selection.wildcard() && version.is_empty();
                    subscription.claim = Some(version).filter(|v| !v.is_empty());
                }
            }
            Names::Sotw { .. } => {}
        }
        let selection = &subscription.selection;
        if fresh || !Arc::ptr_eq(&before, selection) {
            let (wildcard, names) = (selection.wildcard(), selection.names());
            context.source.observe(&self.client, StreamEvent::Subscribed { ty, wildcard, names });
        }
        // The answer to the clusters may be what the rest waits for.
        self.restart_round(now);
    }
}

impl Subscription {
    /// Takes what the request says of the last response. Gives whether the request is one after that response, and not stale.
    fn answered<S: ConfigSource>(
        &mut self,
        context: &Context<S>,
        client: &S::Client,
        (ty, node): (ResourceType, &str),
        request: &Request,
    ) -> bool {
        // A nonce on a stream on which nothing was sent is left from an earlier stream.
        if request.nonce.is_empty() || self.last_nonce.is_empty() {
            return true;
        }
        if request.nonce != self.last_nonce {
            context.source.observe(client, StreamEvent::Stale { ty });
            return false;
        }
        let Some(flight) = self.in_flight.take() else { return true };
        let (nonce, version) = (flight.nonce.as_str(), flight.version.as_str());
        match &request.error {
            None => {
                self.ack();
                context.source.observe(client, StreamEvent::Acked { ty, nonce, version });
            }
            Some((code, error)) => {
                self.nack();
                tracing::warn!(node, %ty, code, error, "client refused configuration and keeps what it had");
                context.source.observe(client, StreamEvent::Nacked { ty, nonce, version, code: *code, error });
            }
        }
        true
    }

    /// A delta request: names come and go.
    fn change<S: ConfigSource>(
        &mut self,
        context: &Context<S>,
        ty: ResourceType,
        fresh: bool,
        (mut subscribe, mut unsubscribe): (Vec<String>, Vec<String>),
    ) {
        let legacy = fresh && subscribe.is_empty() && ty.rules().wildcard;
        let star = take_wildcard(&mut subscribe);
        let unstar = take_wildcard(&mut unsubscribe);
        let wildcard = (self.selection.wildcard() || legacy || star) && !unstar;
        let old = Arc::clone(&self.selection);
        self.selection = context.hub.selections.changed(&old, wildcard, &subscribe, &unsubscribe);
        // Whoever asks for a name gets an answer, even if it holds the resource already or there is none; and so does who gives up a
        // name and still wants everything.
        let renewed = subscribe.into_iter().chain(unsubscribe.iter().filter(|n| wildcard && old.has(n)).cloned());
        let renewed: Vec<Arc<str>> = renewed.map(Arc::from).collect();
        if !fresh {
            let dropped = unsubscribe.into_iter().map(Arc::from);
            self.forget(&dropped.chain(renewed.iter().cloned()).collect::<Vec<_>>());
        }
        if unstar {
            self.forget_unselected();
        }
        self.asked.extend(renewed);
        self.asked.retain(|n| self.selection.matches(n));
    }

    /// A request of the state of the world: these names and no others.
    fn replace<S: ConfigSource>(&mut self, context: &Context<S>, ty: ResourceType, mut names: Vec<String>) {
        self.named |= !names.is_empty();
        let legacy = !self.named && ty.rules().wildcard;
        let wildcard = take_wildcard(&mut names) || legacy;
        let selection = context.hub.selections.exactly(&self.selection, wildcard, &names);
        if Arc::ptr_eq(&selection, &self.selection) {
            return;
        }
        self.selection = selection;
        // The version that the client has must name the set that it has, or a later stream would take it for another. A client
        // that wants nothing any more would not acknowledge.
        if self.forget_unselected() && !ty.rules().full_state && !self.selection.is_empty() {
            self.must_answer = true;
        }
    }
}

fn take_wildcard(names: &mut Vec<String>) -> bool {
    let before = names.len();
    names.retain(|n| n != WILDCARD);
    names.len() < before
}
