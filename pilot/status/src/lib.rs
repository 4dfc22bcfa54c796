// SPDX-License-Identifier: Apache-2.0
//! Statuses of objects, written to the cluster.
//!
//! The way of the data: whoever compiles says which statuses are [`Wanted`]; those that differ from what the objects have wait in one queue
//! ([`Writer`]); while this replica leads, each is laid over the object's status of that moment ([`merge`]) and written as a patch of the
//! status alone. What other controllers say in the same status stays. A write that fails is tried again, later and later.

mod merge;
mod writer;

pub use merge::merge;
pub use writer::{Counts, Writer};

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tiphys_api::Key;

/// The controller that speaks in statuses of routes and policies of the Gateway API.
pub const CONTROLLER: &str = "istio.io/gateway-controller";

/// What the status of an object should say.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The version in which the object was read, as `group/version`.
    pub api_version: String,
    /// Its status as it was read; null for none.
    pub current: Value,
    /// What it should say, without times.
    pub wanted: Value,
    /// The revision or tag that the object's label `istio.io/rev` names, or else that of its namespace.
    pub revision: Option<String>,
}

/// The statuses of all objects that should have one.
pub type Wanted = Arc<BTreeMap<Key, Status>>;
