// SPDX-License-Identifier: Apache-2.0
//! What a client refused, so that it is not sent again until it changes.

use crate::{Entry, Table};

/// Entries that were in responses which the client refused.
///
/// When a response of one entry was refused, that entry is known to be bad: it is left out from then on, and others of its type go
/// on. When there were several, any of them may be bad: these same ones are not sent again, but fewer or others are.
#[derive(Debug, Default)]
pub(super) struct Refused {
    single: Table,
    group: Table,
}

impl Refused {
    /// Notes the entries of a refused response.
    pub fn add(&mut self, entries: Vec<Entry>) {
        match entries.len() {
            0 => {}
            1 => self.single = self.single.patch(entries, &[]),
            _ => self.group = Table::from_entries(entries),
        }
    }

    /// The wanted table with each entry that is known to be bad as the client holds it.
    pub fn without(&mut self, wanted: Table, held: &Table) -> Table {
        if self.single.is_empty() {
            return wanted;
        }
        let is_bad = |e: &&Entry| wanted.get(&e.name).is_some_and(|w| w.same(e));
        let (bad, mended): (Vec<&Entry>, Vec<&Entry>) = self.single.iter().partition(is_bad);
        let kept = bad.iter().filter_map(|e| held.get(&e.name)).cloned().collect();
        let left_out: Vec<_> = bad.iter().filter(|e| !held.contains(&e.name)).map(|e| e.name.clone()).collect();
        let mended: Vec<_> = mended.iter().map(|e| e.name.clone()).collect();
        self.single = self.single.patch(Vec::new(), &mended);
        wanted.patch(kept, &left_out)
    }

    /// The client took a response: what was refused before it may pass now.
    pub fn forget_group(&mut self) {
        self.group = Table::default();
    }

    /// Whether these were refused as they are.
    pub fn covers(&self, changed: &[Entry]) -> bool {
        !changed.is_empty()
            && self.group.len() == changed.len()
            && changed.iter().all(|e| self.group.get(&e.name).is_some_and(|r| r.same(e)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, content: u8) -> Entry {
        Entry::new(name, "t", [content])
    }

    #[test]
    fn a_bad_entry_is_left_as_it_was_until_it_changes() {
        let held = Table::from_entries(vec![entry("a", 1), entry("b", 1)]);
        let mut refused = Refused::default();
        refused.add(vec![entry("a", 2)]);
        refused.add(vec![entry("c", 2)]);
        let wanted = Table::from_entries(vec![entry("a", 2), entry("b", 2), entry("c", 2)]);
        let sent = refused.without(wanted, &held);
        assert_eq!(sent, Table::from_entries(vec![entry("a", 1), entry("b", 2)]));
        let wanted = Table::from_entries(vec![entry("a", 3), entry("c", 2)]);
        assert_eq!(refused.without(wanted, &held), Table::from_entries(vec![entry("a", 3)]));
        let wanted = Table::from_entries(vec![entry("a", 2)]);
        assert_eq!(refused.without(wanted.clone(), &held), wanted, "what was mended in between may be tried again");
    }

    #[test]
    fn a_group_waits_for_something_new() {
        let mut refused = Refused::default();
        refused.add(vec![entry("a", 2), entry("b", 2)]);
        assert!(refused.covers(&[entry("a", 2), entry("b", 2)]));
        assert!(!refused.covers(&[entry("a", 2)]));
        assert!(!refused.covers(&[entry("a", 2), entry("c", 1)]));
        assert!(!refused.covers(&[entry("a", 3), entry("b", 2)]));
    }
}
