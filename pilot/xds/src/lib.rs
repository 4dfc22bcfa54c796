// SPDX-License-Identifier: Apache-2.0
//! The aggregated discovery service: any kind of resource to any number of clients, in both variants of the protocol.
//!
//! This crate knows no kind of configuration. A [`ConfigSource`] gives each client a [`ClientView`]: one [`Table`] of encoded resources
//! for each [`ResourceType`]. A stream keeps the tables that it sent last; what it has to send is the difference to those of the latest
//! view. Differences are encoded once and shared by all streams that need the same one.

mod entry;
mod gathering;
mod hub;
mod selection;
mod service;
mod session;
mod signal;
mod source;
mod table;
mod types;
mod wire;

pub use entry::Entry;
pub use gathering::{ConnectionInfo, Gathering, incoming};
pub use service::{AdsService, Options};
pub use signal::{Signal, Signals};
pub use source::{Answer, ClientView, ConfigSource, Later, OtherRequest, Peer, Resources, StreamEvent};
pub use table::{Diff, Table};
pub use types::{ResourceType, TypeRules};
