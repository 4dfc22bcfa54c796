// SPDX-License-Identifier: Apache-2.0
//! Which proxy sees what of a snapshot, and as which bytes.
//!
//! The way of the data: [`Views`] holds the latest snapshot. Proxies that no translation could tell apart are of one class and share a
//! view: one table of encoded resources for each type. A [`Generator`] makes the table of a type from a [`Context`]; it is asked again only
//! when the fingerprint of what it reads changed, and it asks the [`Memo`] for each resource, so that a resource whose input did not
//! change is never made twice, by whatever view it is wanted.

mod class;
mod client;
mod clusters;
mod context;
mod destination;
mod endpoints;
mod environment;
mod gateway_listeners;
pub mod gateways;
mod generator;
mod inbound_clusters;
mod inbound_ports;
mod listeners;
mod memo;
mod name_tables;
mod node;
mod notes;
mod patches;
mod policies;
mod progress;
mod render;
mod routes;
mod secrets;
mod tables;
mod views;
mod world;

pub use client::{ClientInfo, SentState};
pub use context::Context;
pub use generator::{Generator, Patch, PatchFn};
pub use memo::Memo;
pub use node::proxy_of;
pub use notes::{Note, NoteKind, Notes};
pub use progress::{Behind, EXPECTED_BACK, Lag};
pub use render::render;
pub use secrets::{GatewaysMay, SecretAccess, SecretReader};
pub use views::{Client, Observer, Pushed, Views};

/// How each type of resources is made, in the order of sending.
pub fn generators() -> Vec<Generator> {
    vec![
        clusters::generator(),
        endpoints::generator(),
        listeners::GENERATOR,
        routes::generator(),
        patches::EXTENSIONS,
        name_tables::GENERATOR,
    ]
}
