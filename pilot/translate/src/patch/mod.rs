// SPDX-License-Identifier: Apache-2.0
//! The patches of EnvoyFilters, applied to resources as they are made without them
//! (<https://istio.io/latest/docs/reference/config/networking/envoy-filter/>).
//!
//! The way of the data: a finished resource and the patches of the proxies that get it are the input of [`listener`], [`routes`] or
//! [`cluster`]; what comes out is the resource that is sent, or none. A patch that cannot be applied is left out and told; the others go on.

mod chain;
mod clusters;
mod filters;
mod http;
mod listeners;
mod place;
mod route_configurations;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::{Message, Name};
use tiphys_model::{Patch, PatchList, PatchOperation, Patched, ProxyType, Str, Traffic};
use tiphys_proto::envoy::config::cluster::v3::Cluster;
use tiphys_proto::envoy::config::core::v3::TypedExtensionConfig;
use tiphys_proto::envoy::config::listener::v3::Listener;
use tiphys_proto::envoy::config::route::v3::RouteConfiguration;
use tiphys_proto::{JsonError, Lists};

/// A resource and its patches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PatchInput {
    /// The patches, in order.
    pub patches: PatchList,
    /// Whether a gateway gets the resource.
    pub gateway: bool,
    /// What the resource alone does not tell.
    pub facts: Facts,
    /// The encoded resource.
    pub resource: Bytes,
}

/// What matching asks for and a resource does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Of an inbound cluster: the hosts of the services that it serves.
    pub hosts: Vec<Str>,
    /// Of a gateway's route configuration: the ports of its servers.
    pub ports: Vec<u32>,
}

/// Why a patch was not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchProblem {
    /// The patch.
    pub origin: Str,
    /// What it was about, and why not.
    pub message: String,
}

/// A resource after its patches; none when it was removed.
pub type Outcome<T> = (Option<T>, Vec<PatchProblem>);

/// Patches a listener.
pub fn listener(input: &PatchInput) -> Outcome<Listener> {
    apply(input, listeners::patch)
}

/// Patches a route configuration.
pub fn routes(input: &PatchInput) -> Outcome<RouteConfiguration> {
    let traffic = if input.gateway { Traffic::Gateway } else { Traffic::Outbound };
    apply(input, |patcher, mut configuration: RouteConfiguration| {
        route_configurations::patch(patcher, traffic, &mut configuration);
        Some(configuration)
    })
}

/// Patches a cluster.
pub fn cluster(input: &PatchInput) -> Outcome<Cluster> {
    apply(input, clusters::patch)
}

fn apply<T: Message + Default>(input: &PatchInput, patch: impl Fn(&mut Patcher<'_>, T) -> Option<T>) -> Outcome<T> {
    let mut patcher = Patcher { input, problems: Vec::new() };
    // What is not a message of this type was not made here.
    let patched = T::decode(&input.resource[..]).ok().and_then(|resource| patch(&mut patcher, resource));
    (patched, patcher.problems)
}

/// The listeners that patches add for proxies of a kind.
pub fn added_listeners(patches: &PatchList, kind: ProxyType) -> Vec<Listener> {
    added(patches, Patched::Listener, kind)
}

/// The clusters that patches add for proxies of a kind.
pub fn added_clusters(patches: &PatchList, kind: ProxyType) -> Vec<Cluster> {
    added(patches, Patched::Cluster, kind)
}

/// The extensions that patches add, whatever the traffic.
pub fn added_extensions(patches: &PatchList) -> Vec<TypedExtensionConfig> {
    let adds = patches.iter().filter(|p| (p.object, p.operation) == (Patched::ExtensionConfig, PatchOperation::Add));
    adds.filter_map(|patch| TypedExtensionConfig::decode(&patch.value[..]).ok()).collect()
}

fn added<T: Message + Default>(patches: &PatchList, object: Patched, kind: ProxyType) -> Vec<T> {
    let wanted = |patch: &Patch| patch.traffic.is_none_or(|traffic| traffic.is_of(kind));
    let adds = patches.iter().filter(|p| (p.object, p.operation) == (object, PatchOperation::Add) && wanted(p));
    adds.filter_map(|patch| T::decode(&patch.value[..]).ok()).collect()
}

/// Applies the patches of one resource.
struct Patcher<'a> {
    input: &'a PatchInput,
    problems: Vec<PatchProblem>,
}

impl<'a> Patcher<'a> {
    /// The patches of a sort of objects for a sort of traffic, in order.
    fn of(&self, object: Patched, traffic: Traffic) -> Vec<&'a Patch> {
        let all = self.input.patches.iter().map(|patch| &**patch);
        all.filter(|patch| patch.object == object && patch.is_for(traffic)).collect()
    }

    /// The value of a patch.
    fn value<T: Message + Name + Default>(&mut self, patch: &Patch) -> Option<T> {
        let value = T::decode(&patch.value[..]);
        value.map_err(|error| self.problem(patch, &error.to_string())).ok()
    }

    /// Merges the value of a patch into a message.
    fn merge<T: Message + Name + Default>(&mut self, patch: &Patch, into: &mut T) {
        let Some(lists) = lists(patch.operation) else { return };
        let merged = tiphys_proto::merge(into, &patch.value, lists);
        self.check(patch, merged);
    }

    fn check(&mut self, patch: &Patch, result: Result<(), JsonError>) {
        if let Err(error) = result {
            self.problem(patch, &error.to_string());
        }
    }

    fn problem(&mut self, patch: &Patch, why: &str) {
        self.problems.push(PatchProblem { origin: patch.origin.clone(), message: format!("is left out: {why}") });
    }
}

/// What merging does with lists; none for another operation.
fn lists(operation: PatchOperation) -> Option<Lists> {
    match operation {
        PatchOperation::Merge => Some(Lists::Append),
        PatchOperation::MergeAndReplaceLists => Some(Lists::Replace),
        _ => None,
    }
}
