// SPDX-License-Identifier: Apache-2.0
//! What of a type can be sent now.

use super::round::Stage;
use super::subscription::{Basis, InFlight, Settled, Subscription};
use super::{Connected, Context};
use crate::hub::Step;
use crate::wire::{Head, Joined, Outgoing, Variant, nonce, set_version};
use crate::{ClientView, ConfigSource, Diff, Entry, ResourceType, Resources, StreamEvent, Table};
use std::sync::Arc;

/// What makes responses of a stream.
pub(super) struct Sender<'a, S> {
    pub context: &'a Context<S>,
    pub variant: Variant,
    pub stream: u64,
    pub nonces: &'a mut u64,
}

/// A response in the making: where it takes the client, and how.
struct Plan {
    target: Table,
    step: Arc<Step>,
    with_removed: bool,
    missing: Vec<Arc<str>>,
}

/// Whether a stream made this nonce.
pub(super) fn is_of(stream: u64, nonce: &str) -> bool {
    nonce.split_once('.').is_some_and(|(of, _)| u64::from_str_radix(of, 16) == Ok(stream))
}

impl<S: ConfigSource> Sender<'_, S> {
    fn nonce(&mut self) -> String {
        *self.nonces += 1;
        nonce(self.stream, *self.nonces)
    }

    /// A response to a request of a type that is not in the view.
    pub fn answer(&mut self, type_url: &str, entries: Vec<Entry>) -> Outgoing {
        let table = Table::from_entries(entries);
        let version = set_version(table.fingerprint());
        let diff = Diff { changed: table.iter().cloned().collect(), removed: Vec::new() };
        let joined = Arc::new(Joined::new(self.variant, &diff, false));
        let nonce = self.nonce();
        Outgoing::new(&self.head(type_url, &version, &nonce, &[]), joined).0
    }

    fn head<'b>(&'b self, type_url: &'b str, version: &'b str, nonce: &'b str, missing: &'b [Arc<str>]) -> Head<'b> {
        Head { variant: self.variant, type_url, version, nonce, control_plane: &self.context.control_plane, missing }
    }

    fn plan(&self, ty: ResourceType, subscription: &mut Subscription, desired: Table, removals: bool) -> Option<Plan> {
        let hub = &self.context.hub;
        let missing: Vec<Arc<str>> = match self.variant {
            Variant::Delta => {
                let gone = |n: &&Arc<str>| !desired.contains(n) && !subscription.held.contains(n);
                subscription.asked.iter().filter(gone).cloned().collect()
            }
            Variant::Sotw => Vec::new(),
        };
        let held = &subscription.held;
        let refused = &mut subscription.refused;
        let mut target = match refused {
            Some(refused) => refused.without(desired, held),
            None => desired,
        };
        let mut step = hub.step(self.variant, ty, held, &target);
        if refused.as_ref().is_some_and(|refused| refused.covers(&step.diff.changed)) {
            target = held.patch(Vec::new(), &step.diff.removed);
            step = hub.step(self.variant, ty, held, &target);
        }
        let with_removed = removals && !step.diff.removed.is_empty();
        let due = with_removed || !step.diff.changed.is_empty() || !missing.is_empty() || subscription.must_answer;
        if !due {
            return None;
        }
        if !removals {
            target = step.union(held, &target);
        }
        if self.variant == Variant::Sotw && ty.rules().full_state {
            step = hub.step(self.variant, ty, &Table::default(), &target);
        }
        Some(Plan { target, step, with_removed, missing })
    }
}

impl<C: Send + Sync + 'static> Connected<C> {
    /// The next response of a type: `None` when there is nothing to send, or not yet.
    pub(super) fn offer<S: ConfigSource<Client = C>>(
        &mut self,
        sender: &mut Sender<'_, S>,
        ty: ResourceType,
    ) -> Option<Outgoing> {
        let subscription = self.types.get(&ty)?;
        let removals = self.may_remove(sender.variant, ty);
        if subscription.in_flight.is_some() || self.is_settled(subscription, ty, removals) {
            return None;
        }
        let desired = self.desired(sender.context, ty)?;
        let waits: Vec<Arc<str>> = self.awaited(ty);
        let subscription = self.types.get_mut(&ty)?;
        subscription.settle_claim(ty, &desired);
        if subscription.asked.is_empty() && !subscription.must_answer && desired.same(&subscription.held) {
            // The same set, but this one has bodies and is shared with others.
            subscription.held = desired.clone();
            subscription.acked = desired;
            if subscription.last_nonce.is_empty() && !subscription.held.is_empty() {
                sender.context.source.observe(&self.client, StreamEvent::Kept { ty });
            }
            self.settle(ty, removals);
            return None;
        }
        subscription.asked.retain(|n| !waits.contains(n));
        let plan = sender.plan(ty, subscription, desired, removals);
        subscription.asked = waits;
        let Some(Plan { target, step, with_removed, missing }) = plan else {
            self.settle(ty, removals);
            return None;
        };
        let joined = step.joined(with_removed);
        let (version, nonce) = (set_version(target.fingerprint()), sender.nonce());
        let (resources, removed) = (joined.resources, joined.removed + missing.len());
        let (response, bytes) = Outgoing::new(&sender.head(ty.url(), &version, &nonce, &missing), joined);
        sender.context.source.observe(
            &self.client,
            StreamEvent::Sent { ty, nonce: &nonce, version: &version, resources, removed, bytes },
        );
        tracing::debug!(node = self.node, %ty, nonce, resources, removed, bytes, "sent");
        if ty == ResourceType::CLUSTER && self.round.stage <= Stage::Endpoints && self.is_ordered() {
            let subscription = self.types.get(&ty)?;
            let step = sender.context.hub.step(sender.variant, ty, &subscription.held, &target);
            self.round.clusters.push(step);
        }
        let subscription = self.types.get_mut(&ty)?;
        subscription.held = target;
        subscription.must_answer = false;
        subscription.last_nonce.clone_from(&nonce);
        subscription.in_flight = Some(InFlight { nonce, version });
        Some(response)
    }

    /// What the client should hold of a type; `None` when that type has to wait.
    fn desired<S: ConfigSource<Client = C>>(&mut self, context: &Context<S>, ty: ResourceType) -> Option<Table> {
        let view = Arc::clone(self.view_of(ty)?);
        // What was sent counts, not what was acknowledged: Envoy acknowledges clusters only when they are warm, and for that they need
        // their endpoints.
        let renewed = self.renewed(ty).cloned();
        match view.resources(ty) {
            Some(Resources::Table(table)) => {
                // While a round is under way its clusters need their endpoints, though a later view has none for them.
                let table = self.earlier(ty).map_or_else(
                    || table.clone(),
                    |earlier| context.hub.step(Variant::Sotw, ty, earlier, table).union(earlier, table),
                );
                Some(self.types.get_mut(&ty)?.select(&table, renewed.as_ref()))
            }
            Some(Resources::OnDemand) => {
                let client = &self.client;
                Some(self.types.get_mut(&ty)?.demand(&view, |name| context.source.resource(client, ty, name)))
            }
            // The type went out of the client's view: it goes on with what it has.
            None => None,
        }
    }

    /// The view of which a type is sent now; `None` while it has to wait.
    fn view_of(&self, ty: ResourceType) -> Option<&Arc<ClientView>> {
        match ty {
            ResourceType::CLUSTER => Some(&self.round.view),
            ResourceType::LISTENER | ResourceType::ROUTE => self.routes.as_ref(),
            _ => Some(&self.latest),
        }
    }

    /// The endpoints that the client needs besides those of the latest view, if they are others.
    fn earlier(&self, ty: ResourceType) -> Option<&Table> {
        if self.round.stage >= Stage::Removals || ty != ResourceType::ENDPOINT {
            return None;
        }
        let earlier = self.round.view.table(ty)?;
        let latest = self.latest.table(ty);
        latest.is_none_or(|latest| !latest.same(earlier)).then_some(earlier)
    }

    /// What the client was sent of the type whose resources make it want those of this type anew.
    fn renewed(&self, ty: ResourceType) -> Option<&Table> {
        ty.rules().renewed_by.and_then(|parent| self.types.get(&parent)).map(|parent| &parent.held)
    }

    /// Whether nothing that decides about a type is another than when there was nothing to send: all types are looked at in each stage
    /// of each round.
    fn is_settled(&self, subscription: &Subscription, ty: ResourceType, removals: bool) -> bool {
        let (Some(settled), Some(view)) = (&subscription.settled, self.view_of(ty)) else { return false };
        let same_basis = match (&settled.basis, view.resources(ty)) {
            (Basis::Table(known), Some(Resources::Table(table))) => known.same(table),
            (Basis::Demand(known), Some(Resources::OnDemand)) => Arc::ptr_eq(known, view),
            _ => false,
        };
        same_basis
            && (settled.removals || !removals)
            && Table::both_same(settled.earlier.as_ref(), self.earlier(ty))
            && Table::both_same(settled.renewed.as_ref(), self.renewed(ty))
    }

    /// Notes that there is nothing to send, until an input changes or the client asks for something.
    fn settle(&mut self, ty: ResourceType, removals: bool) {
        let basis = self.view_of(ty).and_then(|view| {
            Some(match view.resources(ty)? {
                Resources::Table(table) => Basis::Table(table.clone()),
                Resources::OnDemand => Basis::Demand(view.clone()),
            })
        });
        let (earlier, renewed) = (self.earlier(ty).cloned(), self.renewed(ty).cloned());
        let settled = basis.map(|basis| Settled { basis, earlier, renewed, removals });
        if let Some(subscription) = self.types.get_mut(&ty) {
            subscription.settled = settled.filter(|_| subscription.asked.is_empty() && !subscription.must_answer);
        }
    }

    /// Whether what is gone may be removed from the client now.
    fn may_remove(&self, variant: Variant, ty: ResourceType) -> bool {
        if variant == Variant::Sotw && !ty.rules().full_state {
            // These responses cannot tell what is gone: the client drops what it does not ask for any more.
            return false;
        }
        match ty {
            ResourceType::CLUSTER | ResourceType::ROUTE => self.round.stage >= Stage::Removals,
            ResourceType::ENDPOINT => {
                self.round.stage >= Stage::Removals && Arc::ptr_eq(&self.round.view, &self.latest)
            }
            _ => true,
        }
    }

    /// Names that the client asked for, that are not there yet, but will be when this round comes to them.
    fn awaited(&self, ty: ResourceType) -> Vec<Arc<str>> {
        let Some(subscription) = self.types.get(&ty) else { return Vec::new() };
        if subscription.asked.is_empty()
            || !matches!(ty, ResourceType::CLUSTER | ResourceType::LISTENER | ResourceType::ROUTE)
        {
            // Others are always of the latest view.
            return Vec::new();
        }
        let now = self.view_of(ty);
        let has = |view: &Arc<ClientView>, name: &str| view.table(ty).is_some_and(|t| t.contains(name));
        let later = [&self.round.view, &self.latest];
        let coming = |n: &&Arc<str>| !now.is_some_and(|v| has(v, n)) && later.iter().any(|v| has(v, n));
        subscription.asked.iter().filter(coming).cloned().collect()
    }
}
