// SPDX-License-Identifier: Apache-2.0
//! A folder of YAML and JSON as a source.
//!
//! The way of the data: the operating system's events settle ([`watch`]), the folder is looked at ([`scan`]), texts that changed are parsed
//! ([`folder`]) and the ledger says what follows. Reading and parsing happen on threads that may block.

mod folder;
mod scan;
mod text;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::RecursiveMode;
use tiphys_api::{Key, Kind, Object};
use tokio::sync::mpsc;
use tokio::task;
use tokio::time::Instant;

use crate::{Running, Sink, Source, SourceError, read_documents, until};
use folder::Folder;
pub use text::{Text, TextFile};
pub use watch::Pace;
use watch::{Pending, Touched, Watch};

/// A folder that is read and watched.
#[derive(Debug, Clone)]
pub struct DirSource {
    root: PathBuf,
    pace: Pace,
}

impl DirSource {
    /// A folder, or a single file.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), pace: Pace::default() }
    }

    /// Other waiting times than the usual ones.
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }
}

/// Reads a folder, or a file, once: for programs that do not go on.
///
/// # Errors
/// When it cannot be read.
pub fn read_once(root: impl Into<PathBuf>) -> Result<crate::Batch, SourceError> {
    let root = root.into();
    let mut folder = Folder::new(root.clone(), Pace::default());
    let everything = Touched { all: true, ..Touched::default() };
    folder.refresh(&everything, Instant::now()).map_err(|error| unreadable(&root, error))?;
    let mut batch = folder.settle();
    batch.synced = Kind::ALL.to_vec();
    Ok(batch)
}

/// Looks through a folder, or a file, for one object, reading as little else as possible; of several the first counts, as it does for
/// [`DirSource`]. None when there is none that can be used.
pub fn find_once(root: &Path, key: &Key) -> Option<Arc<Object>> {
    let listing = scan::walk(root).ok()?;
    listing.files.keys().find_map(|path| {
        let text = std::fs::read_to_string(path).ok()?;
        if !text.contains(key.kind.name()) || !text.contains(&key.name) {
            return None;
        }
        let documents = read_documents(&text, &Arc::from(path.as_path())).documents;
        documents.into_iter().filter(|document| document.key == *key).find_map(|document| document.object.ok())
    })
}

fn unreadable(root: &std::path::Path, error: std::io::Error) -> SourceError {
    SourceError::Folder { folder: root.display().to_string(), error }
}

impl Source for DirSource {
    fn name(&self) -> String {
        format!("folder {}", self.root.display())
    }

    fn run(self: Box<Self>, sink: Sink) -> Running {
        Box::pin(async move {
            // Watching starts before the first look, so that no change falls between the two.
            let (watch, events) = Watch::start(&self.root, RecursiveMode::Recursive);
            let folder = Some(Folder::new(self.root.clone(), self.pace));
            let mut state = State {
                source: *self,
                folder,
                watch,
                events,
                pending: Pending::default(),
                poll_at: Instant::now(),
                root_lost: false,
            };
            state.first(&sink).await?;
            state.follow(&sink).await
        })
    }
}

struct State {
    source: DirSource,
    /// None only while a thread works on it.
    folder: Option<Folder>,
    watch: Watch,
    events: mpsc::UnboundedReceiver<notify::Result<notify::Event>>,
    pending: Pending,
    poll_at: Instant,
    root_lost: bool,
}

impl State {
    async fn first(&mut self, sink: &Sink) -> Result<(), SourceError> {
        let everything = Touched { all: true, ..Touched::default() };
        self.look(everything).await?.map_err(|error| unreadable(&self.source.root, error))?;
        let mut batch = self.folder()?.settle();
        batch.synced = Kind::ALL.to_vec();
        // A reader that is gone is noticed in `follow`.
        let _ = sink.send(batch).await;
        Ok(())
    }

    async fn follow(&mut self, sink: &Sink) -> Result<(), SourceError> {
        loop {
            let due = [self.pending.due(&self.source.pace), self.folder()?.next_removal(), Some(self.poll_at)];
            let due = due.into_iter().flatten().min().unwrap_or(self.poll_at);
            tokio::select! {
                // Without a watcher nothing ever comes, and the clock alone decides.
                Some(event) = self.events.recv() => {
                    self.pending.absorb(event, Instant::now());
                    while let Ok(event) = self.events.try_recv() {
                        self.pending.absorb(event, Instant::now());
                    }
                }
                () = until(due) => {
                    self.tick().await?;
                    let batch = self.folder()?.settle();
                    if !batch.is_empty() && sink.send(batch).await.is_err() {
                        return Ok(());
                    }
                }
                () = sink.closed() => return Ok(()),
            }
        }
    }

    async fn tick(&mut self) -> Result<(), SourceError> {
        let now = Instant::now();
        let settled = self.pending.due(&self.source.pace).is_some_and(|due| due <= now);
        let mut touched = if settled { self.pending.take(&self.source.pace, now) } else { self.pending.held() };
        touched.all |= self.poll_at <= now;
        match self.look(touched).await? {
            Ok(()) if self.root_lost => {
                self.root_lost = false;
                self.watch.renew();
                self.folder()?.root_unreadable(None);
            }
            Ok(()) => {}
            Err(error) => {
                self.root_lost = true;
                self.folder()?.root_unreadable(Some(&error));
                self.poll_at = Instant::now() + self.source.pace.writer;
            }
        }
        Ok(())
    }

    /// Looks at the folder on a thread that may block.
    async fn look(&mut self, touched: Touched) -> Result<std::io::Result<()>, SourceError> {
        let mut folder = self.folder.take().ok_or_else(|| SourceError::Stopped("the folder is lost".to_owned()))?;
        let looking = task::spawn_blocking(move || {
            let walked = folder.refresh(&touched, Instant::now());
            (folder, walked)
        });
        let (folder, walked) = looking.await.map_err(|error| SourceError::Stopped(error.to_string()))?;
        self.folder = Some(folder);
        Ok(walked.map(|listing| {
            if let Some(listing) = listing {
                self.watch.set_beyond(&listing.beyond);
                // Where changes are not notified, looking is all there is.
                let pace = &self.source.pace;
                self.poll_at = Instant::now() + if self.watch.works() { pace.poll } else { pace.writer };
            }
        }))
    }

    fn folder(&mut self) -> Result<&mut Folder, SourceError> {
        self.folder.as_mut().ok_or_else(|| SourceError::Stopped("the folder is lost".to_owned()))
    }
}
