// SPDX-License-Identifier: Apache-2.0
//! The state of a folder: which file held what when it was last read. Only what changed is read again: a file whose stamp differs or that an
//! event named, and of its text only the documents that are not there already, word for word and at the same line.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use super::scan::{self, Listing, Stamp};
use super::watch::{Pace, Touched};
use crate::Batch;
use crate::ledger::Ledger;
use crate::read::{self, Chunk, Contents};

/// A file changed this shortly before it was read may change again within one tick of the file system's clock: its stamp proves nothing.
const CLOCK_TICK: Duration = Duration::from_millis(20);
/// Below this many bytes starting threads costs more than it saves.
const WORTH_THREADS: usize = 64 * 1024;

/// What each document of a text said, by the hash of its text and its line.
type Parts = HashMap<(u128, usize), Contents>;

struct Known {
    place: Arc<Path>,
    /// None while the file could not be read, or when its stamp proves nothing.
    stamp: Option<Stamp>,
    /// Of the text; 0 while it could not be read.
    hash: u128,
    documents: Parts,
}

/// A text that was read and the parts of it that are to be parsed.
struct Fresh {
    path: PathBuf,
    stamp: Option<Stamp>,
    hash: u128,
    text: String,
}

/// The files of a folder and what follows from them.
pub(crate) struct Folder {
    root: PathBuf,
    pace: Pace,
    files: BTreeMap<PathBuf, Known>,
    ledger: Ledger,
    /// When what a place no longer holds is forgotten.
    removals: BTreeMap<Arc<Path>, Instant>,
    /// Places that could not be looked at in the last walk.
    unreadable: Vec<Arc<Path>>,
}

impl Folder {
    pub(crate) fn new(root: PathBuf, pace: Pace) -> Self {
        Self {
            root,
            pace,
            files: BTreeMap::new(),
            ledger: Ledger::default(),
            removals: BTreeMap::new(),
            unreadable: Vec::new(),
        }
    }

    /// When [`Folder::refresh`] has to be called next even if no event comes.
    pub(crate) fn next_removal(&self) -> Option<Instant> {
        self.removals.values().min().copied()
    }

    /// Looks at what was touched. Returns the listing when the whole folder was walked.
    ///
    /// # Errors
    /// When the root cannot be read: everything stays as it was.
    pub(crate) fn refresh(&mut self, touched: &Touched, now: Instant) -> io::Result<Option<Listing>> {
        let all = touched.all || touched.paths.iter().any(|path| self.needs_walk(path));
        let mut fresh = Vec::new();
        let mut walked = None;
        if all {
            let listing = scan::walk(&self.root)?;
            self.note_unreadable(&listing);
            self.drop_missing(&listing, touched, now);
            for (path, stamp) in &listing.files {
                let changed =
                    touched.paths.contains(path) || self.files.get(path).is_none_or(|k| k.stamp != Some(*stamp));
                if changed && !touched.held.contains(path) {
                    fresh.extend(self.read(path));
                }
            }
            walked = Some(listing);
        } else {
            for path in &touched.paths {
                if self.files.contains_key(path) {
                    fresh.extend(self.read(path));
                }
            }
        }
        self.take(fresh, now);
        let due: Vec<_> = self.removals.iter().filter(|(_, at)| **at <= now).map(|(place, _)| place.clone()).collect();
        for place in due {
            self.removals.remove(&place);
            self.ledger.forget(&place);
        }
        Ok(walked)
    }

    /// What follows from all calls of [`Folder::refresh`] since the last one of this.
    pub(crate) fn settle(&mut self) -> Batch {
        self.ledger.settle()
    }

    /// Whether an event at this path can change which files there are.
    fn needs_walk(&self, path: &Path) -> bool {
        if self.files.contains_key(path) {
            return !path.is_file();
        }
        let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
        // A mounted ConfigMap is swapped by the link `..data`; other hidden names are none of ours.
        let mount = name.starts_with("..");
        let hidden = name.starts_with('.') && !mount;
        // What exists, is a plain file and has no configuration's name, is of no interest; what is gone may have been a folder.
        !hidden && (mount || scan::is_config_name(path) || !path.is_file())
    }

    fn note_unreadable(&mut self, listing: &Listing) {
        let now: Vec<Arc<Path>> = listing.unreadable.iter().map(|(path, _)| Arc::from(path.as_path())).collect();
        for place in self.unreadable.iter().filter(|place| !now.contains(place)) {
            self.ledger.readable(place);
        }
        for (path, error) in &listing.unreadable {
            self.ledger.unreadable(
                &Arc::from(path.as_path()),
                &format!("cannot be read: {error}; what it held stays in force"),
            );
        }
        self.unreadable = now;
    }

    /// Lets go of files that are gone, unless they are out of sight only because a folder above them cannot be read.
    fn drop_missing(&mut self, listing: &Listing, touched: &Touched, now: Instant) {
        let hidden = |path: &Path| listing.unreadable.iter().any(|(above, _)| path.starts_with(above));
        let gone: Vec<PathBuf> = self
            .files
            .keys()
            .filter(|path| !listing.files.contains_key(*path) && !touched.held.contains(*path) && !hidden(path))
            .cloned()
            .collect();
        for path in gone {
            if let Some(known) = self.files.remove(&path)
                && self.ledger.remove(&known.place)
            {
                self.removals.entry(known.place).or_insert(now + self.pace.removal);
            }
        }
    }

    /// Reads one file; none when its text is what it was, or it could not be read.
    fn read(&mut self, path: &Path) -> Option<Fresh> {
        match read_file(path) {
            Ok((text, stamp)) => {
                let hash = xxh3_128(text.as_bytes());
                if let Some(known) = self.files.get_mut(path).filter(|known| known.hash == hash) {
                    known.stamp = stamp;
                    return None;
                }
                Some(Fresh { path: path.to_owned(), stamp, hash, text })
            }
            // Deleted since it was listed: the walk that its event asks for will see that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let known = self.files.entry(path.to_owned()).or_insert_with(|| Known {
                    place: Arc::from(path),
                    stamp: None,
                    hash: 0,
                    documents: HashMap::new(),
                });
                (known.stamp, known.hash) = (None, 0);
                self.ledger.unreadable(&known.place, &format!("cannot be read: {error}; what it held stays in force"));
                None
            }
        }
    }

    /// Parses texts, as many at a time as there are cores, and hands their contents to the ledger.
    fn take(&mut self, fresh: Vec<Fresh>, now: Instant) {
        struct Job<'a> {
            file: usize,
            chunk: Chunk<'a>,
            hash: u128,
            place: Arc<Path>,
            done: Option<Contents>,
        }
        let places: Vec<Arc<Path>> = fresh
            .iter()
            .map(|f| self.files.get(&f.path).map_or_else(|| Arc::from(f.path.as_path()), |known| known.place.clone()))
            .collect();
        let mut jobs: Vec<Mutex<Job<'_>>> = Vec::new();
        let mut bytes = 0;
        for (file, f) in fresh.iter().enumerate() {
            let known = self.files.get_mut(&f.path);
            let mut before = known.map(|k| std::mem::take(&mut k.documents)).unwrap_or_default();
            for chunk in read::chunks(&f.text) {
                let hash = xxh3_128(chunk.text.as_bytes());
                let done = before.remove(&(hash, chunk.line));
                bytes += if done.is_some() { 0 } else { chunk.text.len() };
                jobs.push(Mutex::new(Job { file, chunk, hash, place: places[file].clone(), done }));
            }
        }
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut job = job.lock().unwrap_or_else(PoisonError::into_inner);
                if job.done.is_none() {
                    job.done = Some(read::read_chunk(job.chunk, &job.place));
                }
            }
        };
        if bytes < WORTH_THREADS {
            work();
        } else {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        }
        let mut contents: Vec<(Contents, Parts)> = Vec::new();
        contents.resize_with(fresh.len(), Default::default);
        for job in jobs {
            let job = job.into_inner().unwrap_or_else(PoisonError::into_inner);
            let part = job.done.unwrap_or_default();
            let (whole, documents) = &mut contents[job.file];
            whole.append(part.clone());
            documents.insert((job.hash, job.chunk.line), part);
        }
        for ((f, place), (contents, documents)) in fresh.into_iter().zip(places).zip(contents) {
            if self.ledger.put(&place, contents) {
                self.removals.entry(place.clone()).or_insert(now + self.pace.removal);
            } else {
                self.removals.remove(&place);
            }
            self.files.insert(f.path, Known { place, stamp: f.stamp, hash: f.hash, documents });
        }
    }

    /// Reports that the root cannot be looked at, or that it can again.
    pub(crate) fn root_unreadable(&mut self, error: Option<&io::Error>) {
        let place: Arc<Path> = Arc::from(self.root.as_path());
        match error {
            Some(error) => {
                self.ledger.unreadable(&place, &format!("cannot be read: {error}; what it held stays in force"))
            }
            None => self.ledger.readable(&place),
        }
    }
}

/// The text of a file and its stamp, if the stamp will show the next change.
fn read_file(path: &Path) -> io::Result<(String, Option<Stamp>)> {
    let mut file = File::open(path)?;
    let before = Stamp::of(&file.metadata()?);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let after = Stamp::of(&fs::metadata(path)?);
    let (seconds, nanos) = after.changed();
    let changed = Duration::new(seconds.try_into().unwrap_or(0), nanos.try_into().unwrap_or(0));
    let settled = SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now > changed + CLOCK_TICK);
    let text = String::from_utf8(bytes).map_err(|e| {
        io::Error::new(io::ErrorKind::InvalidData, format!("not UTF-8 from byte {}", e.utf8_error().valid_up_to()))
    })?;
    Ok((text, (before == after && settled).then_some(after)))
}
