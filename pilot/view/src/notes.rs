// SPDX-License-Identifier: Apache-2.0
//! What had to be left out of the resources of a class of proxies because two things of the mesh cannot both be there.
//!
//! Notes are made beside a table of resources and live as long as it does. Whoever wants to know asks [`crate::Views::notes`].

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What cannot be there beside what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// Two services behind one listener of a sidecar that cannot be told apart, or that cannot share it.
    OutboundListener,
    /// Two declarations of one port of a workload.
    InboundListener,
    /// Two VirtualServices for one host on one port.
    Domain,
    /// Two servers of gateways on one port, or one that cannot be opened.
    GatewayServer,
    /// A service that decides requests, and that a proxy cannot reach.
    Authorizer,
    /// A patch of an EnvoyFilter that cannot be applied.
    Patch,
}

/// One thing that was left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Note {
    /// What it is.
    pub kind: NoteKind,
    /// The listener, virtual host or gateway that it is about.
    pub key: String,
    /// What was left out, and why.
    pub message: String,
}

/// The notes of one table while it is made.
#[derive(Debug, Default)]
pub struct Notes(Mutex<BTreeSet<Note>>);

impl Notes {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something.
    pub fn add(&self, kind: NoteKind, key: impl Into<String>, message: impl Into<String>) {
        self.lock().insert(Note { kind, key: key.into(), message: message.into() });
    }

    /// Takes all notes.
    pub fn take(&self) -> BTreeSet<Note> {
        std::mem::take(&mut *self.lock())
    }
}
