// SPDX-License-Identifier: Apache-2.0
//! Objects that a program gives: for tests, and for whoever embeds the control plane. Documents have places, as files do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tiphys_api::Kind;
use tokio::sync::mpsc;

use crate::ledger::Ledger;
use crate::{Batch, Running, Sink, Source, read_documents};

/// A source that holds what its [`Handle`] puts into it.
#[derive(Debug)]
pub struct MemSource {
    first: BTreeMap<PathBuf, String>,
    edits: mpsc::UnboundedReceiver<Vec<Edit>>,
}

/// Puts documents into a [`MemSource`] that may be running already.
#[derive(Debug, Clone)]
pub struct Handle {
    edits: mpsc::UnboundedSender<Vec<Edit>>,
}

/// What to do with a place: its text, or none to remove it.
pub type Edit = (PathBuf, Option<String>);

impl MemSource {
    /// A source whose first picture is what these places hold.
    pub fn new(first: impl IntoIterator<Item = (PathBuf, String)>) -> (Self, Handle) {
        let (tx, edits) = mpsc::unbounded_channel();
        (Self { first: first.into_iter().collect(), edits }, Handle { edits: tx })
    }
}

impl Handle {
    /// Edits several places at once: one batch comes of it. Nothing happens when the source has ended.
    pub fn edit(&self, edits: Vec<Edit>) {
        let _ = self.edits.send(edits);
    }

    /// Puts text in a place.
    pub fn put(&self, place: impl Into<PathBuf>, text: impl Into<String>) {
        self.edit(vec![(place.into(), Some(text.into()))]);
    }

    /// Removes a place.
    pub fn remove(&self, place: impl Into<PathBuf>) {
        self.edit(vec![(place.into(), None)]);
    }
}

impl Source for MemSource {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn run(mut self: Box<Self>, sink: Sink) -> Running {
        Box::pin(async move {
            let mut ledger = Ledger::default();
            let mut batch =
                apply(&mut ledger, self.first.into_iter().map(|(place, text)| (place, Some(text))).collect());
            batch.synced = Kind::ALL.to_vec();
            loop {
                if !batch.is_empty() && sink.send(batch).await.is_err() {
                    return Ok(());
                }
                tokio::select! {
                    edits = self.edits.recv() => match edits {
                        Some(edits) => batch = apply(&mut ledger, edits),
                        None => break,
                    },
                    () = sink.closed() => return Ok(()),
                }
            }
            // Nobody can edit any more: what is there stays.
            sink.closed().await;
            Ok(())
        })
    }
}

fn apply(ledger: &mut Ledger, edits: Vec<Edit>) -> Batch {
    let mut leaving: Vec<Arc<Path>> = Vec::new();
    for (place, text) in edits {
        let place: Arc<Path> = place.into();
        let gone = match text {
            Some(text) => ledger.put(&place, read_documents(&text, &place)),
            None => ledger.remove(&place),
        };
        leaving.extend(gone.then_some(place));
    }
    // A program says what it means: nothing has to settle.
    for place in leaving {
        ledger.forget(&place);
    }
    ledger.settle()
}
