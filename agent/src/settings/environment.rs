// SPDX-License-Identifier: Apache-2.0
//! The environment, and the files in which Kubernetes' downward API writes labels and annotations.

use crate::duration;
use std::collections::BTreeMap;
use std::time::Duration;

/// A copy of the environment.
#[derive(Clone, Debug, Default)]
pub struct Environment(pub BTreeMap<String, String>);

impl Environment {
    /// That of this process. Names and values that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    /// A value that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_string()
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(format!("{name}: {other:?} is neither true nor false")),
        }
    }

    pub(crate) fn duration(&self, name: &str, default: Duration) -> Result<Duration, String> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => {
                duration::parse(text).ok_or_else(|| format!("{name}: {text:?} is no duration such as 30s or 24h"))
            }
        }
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("{name}: {text:?} is no number in range")),
        }
    }
}

/// Labels or annotations as the downward API writes them: lines of `name="value"` with Go's escapes.
pub(super) fn read_pod_info(path: &str) -> Result<Option<BTreeMap<String, String>>, String> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    parse_pod_info(&text).map(Some).map_err(|e| format!("{path}: {e}"))
}

pub(super) fn parse_pod_info(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let Some((name, value)) = line.split_once('=') else { continue };
        // Go's quoting is JSON's but for \x, \a and \v, which labels and annotations in practice do not have.
        let value = serde_json::from_str(value).map_err(|e| format!("line {}: {e}", number + 1))?;
        found.insert(name.to_string(), value);
    }
    Ok(found)
}
