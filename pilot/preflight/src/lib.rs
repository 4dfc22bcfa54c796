// SPDX-License-Identifier: Apache-2.0
//! What mutual TLS in mode STRICT would break, told before it is in force.
//!
//! The way of the data: [`Inputs`] are the mesh as it is (a [`Snapshot`] and the objects that it was made of), what is asked ([`Ask`]:
//! STRICT for the mesh or a namespace, or given PeerAuthentications), which proxies are connected, and which connections they took.
//! [`check`] sorts pods into workloads ([`pods`]), finds the ports that would become STRICT ([`servers`]), and asks of each reason why a
//! client could be refused there, one module a reason. What comes out is a [`Report`]: findings with the fix for each, worst first.
//!
//! Nothing here does IO. What is STRICT already is no news, and exceptions that PeerAuthentications make stay exceptions.

mod ask;
mod capture;
mod clients;
mod entries;
mod outbound;
mod pods;
mod proxies;
mod report;
mod rules;
mod servers;
mod taken;
mod words;

pub use ask::Ask;
pub use proxies::{Proxies, Proxy};
pub use report::{Client, Finding, Reason, Report, Server, Severity, Statistics};
pub use taken::{Agent, PodTaken, PortTaken, Taken};

use std::collections::BTreeSet;
use std::sync::Arc;

use tiphys_api::{Kind, Object};
use tiphys_compile::Snapshot;
use tiphys_compile::security::Security;

use crate::pods::Pods;
use crate::servers::Servers;

/// What a preflight is made of.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The mesh as it is.
    pub snapshot: &'a Snapshot,
    /// The objects in force.
    pub objects: &'a [Arc<Object>],
    /// What is asked.
    pub ask: &'a Ask,
    /// The proxies that are connected, when somebody can say.
    pub proxies: Option<&'a Proxies>,
    /// Connections that were taken.
    pub taken: &'a Taken,
    /// Revision of the control plane that injects; empty or `default` for the default one.
    pub revision: &'a str,
}

/// What the modules for single reasons work with.
pub(crate) struct Context<'a> {
    pub inputs: Inputs<'a>,
    pub pods: Pods<'a>,
    pub servers: Servers<'a>,
    /// Namespaces whose new pods are injected.
    pub injected: BTreeSet<&'a str>,
    /// Policies as they are.
    pub before: Security,
    /// Policies as they would be.
    pub after: Security,
}

impl<'a> Context<'a> {
    /// The objects of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'a Object> {
        self.inputs.objects.iter().filter(move |object| object.kind() == kind).map(|object| &**object)
    }
}

/// What would break, and how to mend it before.
pub fn check(inputs: Inputs<'_>) -> Report {
    let snapshot = inputs.snapshot;
    let after = inputs.ask.applied(&snapshot.security, &snapshot.mesh);
    let before = ask::settled(&snapshot.security, snapshot.security.peers.clone());
    let pods = Pods::of(inputs.objects);
    let servers = Servers::find(&inputs, &pods, (&before, &after));
    let injected = pods::injected_namespaces(inputs.objects);
    let cx = Context { inputs, pods, servers, injected, before, after };
    let mut findings: Vec<Finding> = Vec::new();
    if cx.servers.any() {
        for reason in
            [clients::find, outbound::find, proxies::find, servers::find, rules::find, entries::find, taken::find]
        {
            findings.extend(reason(&cx));
        }
    }
    findings.retain(|finding| !inputs.ask.ignores(&finding.client));
    findings.sort();
    findings.dedup();
    let (strict, already) = cx.servers.counts();
    Report {
        asked: inputs.ask.to_string(),
        strict,
        already,
        limited: false,
        statistics: taken::statistics(&cx),
        findings,
    }
}

/// The agents that know what servers took which would become STRICT.
pub fn agents(inputs: &Inputs<'_>) -> Vec<Agent> {
    let after = inputs.ask.applied(&inputs.snapshot.security, &inputs.snapshot.mesh);
    let pods = Pods::of(inputs.objects);
    let before = ask::settled(&inputs.snapshot.security, inputs.snapshot.security.peers.clone());
    let servers = Servers::find(inputs, &pods, (&before, &after));
    taken::agents(&pods, &servers)
}
