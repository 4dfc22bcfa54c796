// SPDX-License-Identifier: Apache-2.0
//! When to look at a folder again: the operating system's events in, settled [`Touched`] sets out.
//!
//! Events are hints only. They wait until nothing happened for [`Pace::settle`], at most [`Pace::settle_max`], so that one save of an editor or
//! one `cp -r` is one look. A file that is whole, since it was closed after writing or moved into its place, waits for nothing. One that a
//! program is still writing (on Linux: modified, and not yet closed) is left alone until it is closed, at most [`Pace::writer`]: a
//! half-written file is not read at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Quiet time after the last event before files are read.
    pub settle: Duration,
    /// Longest wait when events do not end.
    pub settle_max: Duration,
    /// How long an object that vanished stays in force, for programs that delete a file and create it again.
    pub removal: Duration,
    /// How long a program may hold a file open after its last write.
    pub writer: Duration,
    /// Time between looks at the whole folder that need no event: for file systems that send none.
    pub poll: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(1),
            settle_max: Duration::from_millis(100),
            removal: Duration::from_millis(200),
            writer: Duration::from_secs(1),
            poll: Duration::from_secs(30),
        }
    }
}

/// What to look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// The whole folder has to be walked.
    pub(crate) all: bool,
    /// Paths that events named.
    pub(crate) paths: BTreeSet<PathBuf>,
    /// Paths that are being written: not to be read yet.
    pub(crate) held: BTreeSet<PathBuf>,
}

/// Events that have not settled.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    all: bool,
    paths: BTreeSet<PathBuf>,
    first: Option<Instant>,
    last: Option<Instant>,
    /// The last event said that a file is whole.
    whole: bool,
    /// Files that are open for writing, and when they were last written.
    open: BTreeMap<PathBuf, Instant>,
}

impl Pending {
    /// Takes one event in.
    pub(crate) fn absorb(&mut self, event: notify::Result<notify::Event>, now: Instant) {
        let event = match event {
            Ok(event) => event,
            // Events may have been lost: look at everything.
            Err(error) => {
                tracing::warn!(target: "file", %error, "the file system's notification failed");
                return self.everything(now);
            }
        };
        if event.need_rescan() || event.paths.is_empty() {
            return self.everything(now);
        }
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let moved = |mode| EventKind::Modify(ModifyKind::Name(mode));
        let whole = [closed, moved(RenameMode::To), moved(RenameMode::Both)].contains(&event.kind);
        match event.kind {
            kind if kind == closed => {
                for path in &event.paths {
                    self.open.remove(path);
                }
            }
            EventKind::Access(_) => return,
            EventKind::Modify(ModifyKind::Data(_)) if cfg!(target_os = "linux") => {
                self.open.extend(event.paths.iter().map(|path| (path.clone(), now)));
            }
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => {
                for path in &event.paths {
                    self.open.remove(path);
                }
            }
            _ => {}
        }
        self.paths.extend(event.paths);
        self.stir(now);
        self.whole = whole;
    }

    /// Asks for a look at everything.
    pub(crate) fn everything(&mut self, now: Instant) {
        self.all = true;
        self.stir(now);
    }

    fn stir(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.whole = false;
    }

    /// When [`Pending::take`] has something to give.
    pub(crate) fn due(&self, pace: &Pace) -> Option<Instant> {
        let settle = if self.whole { Duration::ZERO } else { pace.settle };
        let settled = self.first.zip(self.last).map(|(first, last)| (first + pace.settle_max).min(last + settle));
        let written = self.open.values().min().map(|last| *last + pace.writer);
        match (self.all || self.paths.iter().any(|p| !self.open.contains_key(p)), settled, written) {
            (true, Some(settled), written) => Some(written.map_or(settled, |w| w.min(settled))),
            (_, _, written) => written,
        }
    }

    /// What is not to be read, and nothing else.
    pub(crate) fn held(&self) -> Touched {
        Touched { held: self.open.keys().cloned().collect(), ..Touched::default() }
    }

    /// What settled.
    pub(crate) fn take(&mut self, pace: &Pace, now: Instant) -> Touched {
        self.open.retain(|_, last| *last + pace.writer > now);
        let held: BTreeSet<PathBuf> = self.open.keys().cloned().collect();
        let (kept, paths) = std::mem::take(&mut self.paths).into_iter().partition(|path| held.contains(path));
        self.paths = kept;
        self.first = None;
        self.last = None;
        Touched { all: std::mem::take(&mut self.all), paths, held }
    }
}

/// The operating system's watch on a folder and on what its links lead to.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watching: bool,
    mode: RecursiveMode,
    root: PathBuf,
    beyond: BTreeSet<PathBuf>,
}

impl Watch {
    /// Starts watching. Where that cannot be done (a limit of the system, a file system without events) the source still polls.
    pub(crate) fn start(
        root: &Path,
        mode: RecursiveMode,
    ) -> (Self, mpsc::UnboundedReceiver<notify::Result<notify::Event>>) {
        let (tx, rx) = mpsc::unbounded_channel();
        let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no news; and when the receiver is gone, the source has ended.
            let reading =
                |e: &notify::Event| matches!(e.kind, EventKind::Access(k) if k != AccessKind::Close(AccessMode::Write));
            if !event.as_ref().is_ok_and(reading) {
                let _ = tx.send(event);
            }
        });
        let mut watch = Self { watcher: None, watching: false, mode, root: root.to_owned(), beyond: BTreeSet::new() };
        match made {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => {
                tracing::warn!(target: "file", %error, "no notification of file changes: the folder is polled")
            }
        }
        watch.renew();
        (watch, rx)
    }

    /// Watches the root anew, as after it was replaced by another folder of the same name.
    pub(crate) fn renew(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let _ = watcher.unwatch(&self.root);
        let watched = watcher.watch(&self.root, self.mode);
        self.watching = watched.is_ok();
        if let Err(error) = watched {
            tracing::debug!(target: "file", folder = %self.root.display(), %error, "cannot watch the folder: it is polled");
        }
    }

    /// Whether changes are notified: if not, polling has to be quick.
    pub(crate) fn works(&self) -> bool {
        self.watching
    }

    /// Watches exactly these folders outside the root.
    pub(crate) fn set_beyond(&mut self, wanted: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.beyond.difference(wanted) {
            let _ = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.beyond) {
            if let Err(error) = watcher.watch(new, RecursiveMode::Recursive) {
                tracing::warn!(target: "file", folder = %new.display(), %error, "cannot watch what a link leads to: it is polled");
            }
        }
        self.beyond.clone_from(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::Event;
    use notify::event::{CreateKind, DataChange, RemoveKind};

    const PACE: Pace = Pace {
        settle: Duration::from_millis(10),
        settle_max: Duration::from_millis(100),
        removal: Duration::from_millis(200),
        writer: Duration::from_secs(1),
        poll: Duration::from_secs(30),
    };

    fn event(kind: EventKind, path: &str) -> notify::Result<Event> {
        Ok(Event::new(kind).add_path(path.into()))
    }

    #[test]
    fn events_settle_together_but_not_for_ever() {
        let mut pending = Pending::default();
        let start = Instant::now();
        assert_eq!(pending.due(&PACE), None);
        for i in 0..50 {
            let now = start + Duration::from_millis(i * 5);
            pending.absorb(event(EventKind::Create(CreateKind::File), "a.yaml"), now);
            let wait = Duration::from_millis((i * 5 + 10).min(100));
            assert_eq!(pending.due(&PACE), Some(start + wait));
        }
        let touched = pending.take(&PACE, start + Duration::from_millis(300));
        assert_eq!(touched.paths, BTreeSet::from(["a.yaml".into()]));
        assert_eq!(pending.due(&PACE), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_being_written_is_held_until_it_is_closed() {
        let mut pending = Pending::default();
        let start = Instant::now();
        pending.absorb(event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "a.yaml"), start);
        assert_eq!(pending.due(&PACE), Some(start + PACE.writer));
        let touched = pending.take(&PACE, start + PACE.settle);
        assert!(touched.paths.is_empty() && touched.held.len() == 1);
        let closed = start + Duration::from_millis(500);
        pending.absorb(event(EventKind::Access(AccessKind::Close(AccessMode::Write)), "a.yaml"), closed);
        assert_eq!(pending.due(&PACE), Some(closed), "it is whole");
        pending.absorb(event(EventKind::Create(CreateKind::File), "b.yaml"), closed);
        assert_eq!(pending.due(&PACE), Some(closed + PACE.settle), "another is not");
        assert_eq!(pending.take(&PACE, closed + PACE.settle).paths.len(), 2);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_writer_that_never_closes_is_not_waited_for_for_ever() {
        let mut pending = Pending::default();
        let start = Instant::now();
        pending.absorb(event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "a.yaml"), start);
        assert_eq!(pending.take(&PACE, start + PACE.writer).paths.len(), 1);
    }

    #[test]
    fn a_removed_file_is_not_held() {
        let mut pending = Pending::default();
        let start = Instant::now();
        pending.absorb(event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "a.yaml"), start);
        pending.absorb(event(EventKind::Remove(RemoveKind::File), "a.yaml"), start);
        assert_eq!(pending.take(&PACE, start + PACE.settle).paths.len(), 1);
    }

    #[test]
    fn lost_events_mean_everything() {
        let mut pending = Pending::default();
        pending.absorb(Ok(Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan)), Instant::now());
        assert!(pending.take(&PACE, Instant::now()).all);
    }
}
