// SPDX-License-Identifier: Apache-2.0
//! A persistent sorted map from names to resources.
//!
//! Entries live in chunks of about 64 behind `Arc`. Where a chunk ends depends on the names alone: after each name whose hash has
//! six zero bits. So two tables with the same entries have the same chunks, however they came about; a change touches the chunks
//! around it and shares the others; and a diff walks two lists of chunks and passes over those that are the same.

use crate::Entry;
use std::cmp::Ordering;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

#[derive(Debug)]
struct Chunk {
    entries: Vec<Entry>,
    fingerprint: u128,
}

/// A sorted map from names to entries; cloning is a reference count.
#[derive(Clone, Debug, Default)]
pub struct Table(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    chunks: Vec<Arc<Chunk>>,
    len: usize,
    fingerprint: u128,
}

/// What leads from one table to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Entries that are new or have another version, sorted by name.
    pub changed: Vec<Entry>,
    /// Names that are gone, sorted.
    pub removed: Vec<Arc<str>>,
}

impl Diff {
    /// Whether both tables hold the same.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Equal names and versions.
impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}

impl Eq for Table {}

impl Table {
    /// Builds a table. Of entries with one name the last wins.
    pub fn from_entries(entries: Vec<Entry>) -> Self {
        Self::default().replace(entries)
    }

    /// A table of exactly these entries, which shares with this one the chunks that are equal. Of entries with one name the last wins.
    pub fn replace(&self, mut entries: Vec<Entry>) -> Self {
        sort_last_wins(&mut entries);
        let mut builder = Builder::reusing(self);
        for entry in entries {
            builder.push(entry);
        }
        builder.finish()
    }

    /// A table with some entries added or replaced and some names removed; a name in both is removed first and then added.
    pub fn patch(&self, mut upserts: Vec<Entry>, removals: &[Arc<str>]) -> Self {
        sort_last_wins(&mut upserts);
        let mut removals: Vec<&Arc<str>> = removals.iter().collect();
        removals.sort_unstable();
        let mut upserts = upserts.into_iter().peekable();
        let mut removals = removals.into_iter().peekable();
        let mut builder = Builder::reusing(self);
        for (i, chunk) in self.0.chunks.iter().enumerate() {
            let next = self.0.chunks.get(i + 1).and_then(|c| c.entries.first());
            // The last chunk takes all that is left.
            let here = |name: &str| next.is_none_or(|n| name < &*n.name);
            if !upserts.peek().is_some_and(|e| here(&e.name)) && !removals.peek().is_some_and(|n| here(n)) {
                builder.push_chunk(chunk);
                continue;
            }
            for old in &chunk.entries {
                while let Some(new) = upserts.next_if(|e| e.name < old.name) {
                    builder.push(new);
                }
                while removals.next_if(|n| **n < old.name).is_some() {}
                let gone = removals.next_if(|n| **n == old.name).is_some();
                match upserts.next_if(|e| e.name == old.name) {
                    Some(new) => builder.push(if new.same(old) { old.clone() } else { new }),
                    None if gone => {}
                    None => builder.push(old.clone()),
                }
            }
            while let Some(new) = upserts.next_if(|e| here(&e.name)) {
                builder.push(new);
            }
            while removals.next_if(|n| here(n)).is_some() {}
        }
        upserts.for_each(|e| builder.push(e));
        builder.finish()
    }

    /// The entry of a name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        let after = self.0.chunks.partition_point(|c| c.entries.first().is_some_and(|e| &*e.name <= name));
        let entries = &self.0.chunks[after.checked_sub(1)?].entries;
        entries.binary_search_by(|e| (*e.name).cmp(name)).ok().map(|i| &entries[i])
    }

    /// Whether a name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All entries in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.chunks.iter().flat_map(|c| c.entries.iter())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// A hash of all names and versions. Equal sets have equal fingerprints, whatever led to them.
    pub fn fingerprint(&self) -> u128 {
        self.0.fingerprint
    }

    /// Whether both hold the same names and versions; constant time.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.len == other.0.len && self.0.fingerprint == other.0.fingerprint)
    }

    /// Whether both are the same, or neither is there.
    pub(crate) fn both_same(a: Option<&Self>, b: Option<&Self>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => a.same(b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    /// What leads from `old` to `new`. Chunks that both share are passed over.
    pub fn diff(old: &Self, new: &Self) -> Diff {
        let mut diff = Diff::default();
        if !old.same(new) {
            let mut walk = Walk { old: Cursor::new(old), new: Cursor::new(new) };
            walk.run(&mut diff);
        }
        diff
    }

    /// How many chunks of this table are the very same as in the other.
    #[cfg(test)]
    fn shared_chunks(&self, other: &Self) -> usize {
        self.0.chunks.iter().filter(|c| other.0.chunks.iter().any(|o| Arc::ptr_eq(c, o))).count()
    }
}

/// Sorts by name and keeps the last of equal names.
fn sort_last_wins(entries: &mut Vec<Entry>) {
    if entries.is_sorted_by(|a, b| a.name < b.name) {
        return;
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries.dedup_by(|later, earlier| {
        let equal = later.name == earlier.name;
        if equal {
            // `dedup_by` keeps the earlier of the two.
            std::mem::swap(later, earlier);
        }
        equal
    });
}

/// Whether a chunk ends after this name.
fn ends_chunk(name: &str) -> bool {
    xxh3_64(name.as_bytes()) & 63 == 0
}

/// Takes entries in order and cuts them into chunks, using those of an older table where they are equal.
struct Builder<'a> {
    old: &'a [Arc<Chunk>],
    open: Vec<Entry>,
    built: Inner,
}

impl<'a> Builder<'a> {
    fn reusing(old: &'a Table) -> Self {
        let chunks = Vec::with_capacity(old.0.chunks.len());
        Self { old: &old.0.chunks, open: Vec::new(), built: Inner { chunks, len: 0, fingerprint: 0 } }
    }

    fn push(&mut self, entry: Entry) {
        let last = ends_chunk(&entry.name);
        self.open.push(entry);
        if last {
            self.cut();
        }
    }

    /// Takes a whole chunk of the old table.
    fn push_chunk(&mut self, chunk: &Arc<Chunk>) {
        if self.open.is_empty() {
            self.add(Arc::clone(chunk));
            return;
        }
        // The end of the chunk before was removed: this one continues it, and ends as before.
        self.open.extend(chunk.entries.iter().cloned());
        if self.open.last().is_some_and(|e| ends_chunk(&e.name)) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let Some(first) = self.open.first() else { return };
        let at = self.old.partition_point(|c| c.entries.first().is_some_and(|e| e.name < first.name));
        if let Some(old) = self.old.get(at)
            && old.entries.len() == self.open.len()
            && old.entries.iter().zip(&self.open).all(|(a, b)| a.same(b))
        {
            self.open.clear();
            self.add(Arc::clone(old));
            return;
        }
        let capacity = self.open.len();
        let entries = std::mem::replace(&mut self.open, Vec::with_capacity(capacity.min(128)));
        let fingerprint = entries.iter().fold(0u128, |sum, e| sum.wrapping_add(e.fingerprint()));
        self.add(Arc::new(Chunk { entries, fingerprint }));
    }

    fn add(&mut self, chunk: Arc<Chunk>) {
        self.built.len += chunk.entries.len();
        self.built.fingerprint = self.built.fingerprint.wrapping_add(chunk.fingerprint);
        self.built.chunks.push(chunk);
    }

    fn finish(mut self) -> Table {
        self.cut();
        Table(Arc::new(self.built))
    }
}

/// A place in a table: a chunk and an entry in it.
struct Cursor<'a> {
    chunks: &'a [Arc<Chunk>],
    chunk: usize,
    entry: usize,
}

impl<'a> Cursor<'a> {
    fn new(table: &'a Table) -> Self {
        Self { chunks: &table.0.chunks, chunk: 0, entry: 0 }
    }

    /// The chunk that begins here, if one does.
    fn whole(&self) -> Option<&'a Arc<Chunk>> {
        if self.entry == 0 { self.chunks.get(self.chunk) } else { None }
    }

    fn skip(&mut self) {
        self.chunk += 1;
    }

    fn peek(&self) -> Option<&'a Entry> {
        self.chunks.get(self.chunk)?.entries.get(self.entry)
    }

    fn advance(&mut self) {
        self.entry += 1;
        if self.chunks.get(self.chunk).is_some_and(|c| self.entry == c.entries.len()) {
            self.chunk += 1;
            self.entry = 0;
        }
    }
}

struct Walk<'a> {
    old: Cursor<'a>,
    new: Cursor<'a>,
}

impl Walk<'_> {
    fn run(&mut self, diff: &mut Diff) {
        loop {
            if let (Some(a), Some(b)) = (self.old.whole(), self.new.whole())
                && (Arc::ptr_eq(a, b) || (a.fingerprint == b.fingerprint && a.entries.len() == b.entries.len()))
            {
                self.old.skip();
                self.new.skip();
                continue;
            }
            let order = match (self.old.peek(), self.new.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.name.cmp(&b.name),
            };
            // Names only in the old table are gone, names only in the new one are added, and equal names may have changed.
            if let (Ordering::Less, Some(gone)) = (order, self.old.peek()) {
                diff.removed.push(Arc::clone(&gone.name));
            }
            if let (Ordering::Greater | Ordering::Equal, Some(new)) = (order, self.new.peek())
                && (order == Ordering::Greater || self.old.peek().is_some_and(|old| old.version != new.version))
            {
                diff.changed.push(new.clone());
            }
            if order != Ordering::Greater {
                self.old.advance();
            }
            if order != Ordering::Less {
                self.new.advance();
            }
        }
    }
}

#[cfg(test)]
mod tests;
