// SPDX-License-Identifier: Apache-2.0
//! A floating point number that can be hashed and compared, as memo keys must be.

use serde::{Serialize, Serializer};
use std::fmt;

/// A number held by its bits. `-0.0` is taken for `0.0`; NaN equals itself.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Float(u64);

impl Float {
    /// Takes a number in.
    pub fn new(value: f64) -> Self {
        Self(if value == 0.0 { 0 } else { value.to_bits() })
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl From<f64> for Float {
    fn from(value: f64) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.get())
    }
}
