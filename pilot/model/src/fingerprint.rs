// SPDX-License-Identifier: Apache-2.0
//! 128-bit fingerprints: equal fingerprints stand for equal values.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// A 128-bit digest of a value's `Hash` output. At 10^9 different values the chance of one collision is below 10^-20.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u128);

struct Digest(Xxh3);

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0.digest()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

impl Fingerprint {
    /// The fingerprint of a value.
    pub fn of<T: Hash + ?Sized>(value: &T) -> Self {
        let mut digest = Digest(Xxh3::new());
        value.hash(&mut digest);
        Self(digest.0.digest128())
    }
}

/// A shared value with its fingerprint: compared and hashed by the fingerprint alone, in constant time.
#[derive(Debug)]
pub struct Marked<T> {
    fingerprint: Fingerprint,
    value: Arc<T>,
}

impl<T: Hash> Marked<T> {
    /// Takes a value in and fingerprints it.
    pub fn new(value: T) -> Self {
        Self { fingerprint: Fingerprint::of(&value), value: Arc::new(value) }
    }
}

impl<T> Marked<T> {
    /// The fingerprint of the value.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The shared value itself.
    pub fn arc(&self) -> &Arc<T> {
        &self.value
    }
}

impl<T> Clone for Marked<T> {
    fn clone(&self) -> Self {
        Self { fingerprint: self.fingerprint, value: self.value.clone() }
    }
}

impl<T> Deref for Marked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Marked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl<T> Eq for Marked<T> {}

impl<T> Hash for Marked<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_fingerprints() {
        assert_eq!(Marked::new(vec!["a", "b"]), Marked::new(vec!["a", "b"]));
        assert_ne!(Marked::new(vec!["a", "b"]), Marked::new(vec!["ab"]));
        assert_ne!(Fingerprint::of(&("a", "bc")), Fingerprint::of(&("ab", "c")));
    }
}
