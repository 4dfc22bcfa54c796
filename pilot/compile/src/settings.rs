// SPDX-License-Identifier: Apache-2.0
//! Settings of the control plane that decide what the mesh looks like. They have the names and defaults of istiod's environment
//! variables; a program reads them once and hands them in.

use std::collections::BTreeMap;

/// The settings in force, by the names of istiod's environment variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// The settings given by name, e.g. by the environment of the process.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: pairs.into_iter().collect() }
    }

    /// A boolean setting.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        match self.values.get(name).map(|value| value.trim().to_ascii_lowercase()).as_deref() {
            Some("1" | "t" | "true") => true,
            Some("0" | "f" | "false") => false,
            _ => default,
        }
    }

    /// A text setting.
    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.values.get(name).map_or(default, String::as_str)
    }
}
