// SPDX-License-Identifier: Apache-2.0
//! ConfigMap and Secret: named bytes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::value::Base64;

/// Named texts and bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// The texts.
    pub data: BTreeMap<String, String>,
    /// The bytes.
    pub binary_data: BTreeMap<String, Base64>,
}

impl ConfigMap {
    /// The bytes of an entry, of either sort.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let text = self.data.get(key).map(String::as_bytes);
        text.or_else(|| self.binary_data.get(key).map(|bytes| bytes.0.as_slice()))
    }
}

/// Named secret bytes. `Debug` shows the names only.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// Which sort of secret, as `kubernetes.io/tls`.
    #[serde(rename = "type")]
    pub secret_type: String,
    /// The bytes.
    pub data: BTreeMap<String, Base64>,
    /// Texts that stand for the bytes of the same name, in files.
    pub string_data: BTreeMap<String, String>,
}

impl Secret {
    /// The bytes of an entry.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let text = self.string_data.get(key).map(String::as_bytes);
        text.or_else(|| self.data.get(key).map(|bytes| bytes.0.as_slice()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.data.keys().chain(self.string_data.keys()).collect();
        f.debug_struct("Secret").field("type", &self.secret_type).field("redacted", &names).finish()
    }
}
