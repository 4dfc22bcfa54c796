// SPDX-License-Identifier: Apache-2.0
//! One watched file whose text matters as a whole, such as MeshConfig: the same care for half-written files as in a folder.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use notify::RecursiveMode;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::watch::{Pace, Pending, Watch};
use crate::until;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// There is no such file.
    Missing,
    /// Its text.
    Is(String),
    /// It cannot be read, and why.
    Unreadable(String),
}

/// A file that is watched.
pub struct TextFile {
    path: PathBuf,
    pace: Pace,
    watch: Watch,
    events: mpsc::UnboundedReceiver<notify::Result<notify::Event>>,
    pending: Pending,
    last: Option<Text>,
    /// There is reason to look at the file. Kept here, so that it is not forgotten when the caller gives up waiting while the file is read.
    look: bool,
    missing_since: Option<Instant>,
}

impl TextFile {
    /// Starts watching. The file need not exist, nor its folder.
    pub fn watch(path: &Path, pace: Pace) -> Self {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = path.file_name().map_or_else(|| path.to_owned(), |name| folder.join(name));
        let (watch, events) = Watch::start(folder, RecursiveMode::NonRecursive);
        Self { path, pace, watch, events, pending: Pending::default(), last: None, look: true, missing_since: None }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text: at the first call what it is, then what it became, once it differs from what was told last. No change is lost when the
    /// caller drops the future and asks again.
    pub async fn next(&mut self) -> Text {
        loop {
            if !self.look {
                self.wait().await;
                self.look = true;
            }
            let text = read(&self.path).await;
            self.look = false;
            let now = Instant::now();
            // Deleted and created again: only what stays away is gone.
            if text == Text::Missing && self.last.is_some() && self.last != Some(Text::Missing) {
                let since = *self.missing_since.get_or_insert(now);
                if now < since + self.pace.removal {
                    continue;
                }
            }
            self.missing_since = None;
            if self.last.as_ref() != Some(&text) {
                self.last = Some(text.clone());
                return text;
            }
        }
    }

    /// Until there is reason to look.
    async fn wait(&mut self) {
        if !self.watch.works() {
            // The folder may have come into being, and the file with it before the watch.
            self.watch.renew();
            if self.watch.works() {
                return;
            }
        }
        let poll = Instant::now() + if self.watch.works() { self.pace.poll } else { self.pace.writer };
        let gone = self.missing_since.map(|since| since + self.pace.removal);
        loop {
            let settled = self.pending.due(&self.pace);
            let due = [settled, gone, Some(poll)].into_iter().flatten().min().unwrap_or(poll);
            tokio::select! {
                Some(event) = self.events.recv() => self.pending.absorb(event, Instant::now()),
                () = until(due) => {
                    let touched = self.pending.take(&self.pace, Instant::now());
                    if !touched.held.contains(&self.path) {
                        return;
                    }
                }
            }
        }
    }
}

async fn read(path: &Path) -> Text {
    match tokio::fs::read(path)
        .await
        .and_then(|b| String::from_utf8(b).map_err(|e| io::Error::new(ErrorKind::InvalidData, e)))
    {
        Ok(text) => Text::Is(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Text::Missing,
        Err(error) => Text::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_caller_that_gives_up_misses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mesh.yaml");
        let mut file = TextFile::watch(&path, Pace { settle: Duration::from_millis(1), ..Pace::default() });
        for round in 0..50u64 {
            let text = format!("round {round}");
            std::fs::write(&path, &text).unwrap();
            let began = Instant::now();
            loop {
                // Shorter than reading sometimes takes, so that reading is given up now and then.
                let patience = Duration::from_micros(1_000 + 97 * (round % 20));
                match tokio::time::timeout(patience, file.next()).await {
                    Ok(Text::Is(read)) if read == text => break,
                    _ => assert!(began.elapsed() < Duration::from_secs(20), "{text} was missed"),
                }
            }
        }
    }
}
