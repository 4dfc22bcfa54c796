// SPDX-License-Identifier: Apache-2.0
//! Host names, with the wildcard rules of the Istio APIs.

use crate::Str;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A host name: fully qualified (`a.b.svc.cluster.local`), a wildcard (`*`, `*.b`) or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Host(Str);

impl Host {
    /// Takes a name as written; names are compared in lower case.
    pub fn new(name: &str) -> Self {
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            Self(name.to_ascii_lowercase().into())
        } else {
            Self(name.into())
        }
    }

    /// The name of a short or full host as it is meant in a namespace: a name without a dot is a service of that namespace.
    /// Without a domain that is `NAME.NAMESPACE`.
    pub fn resolve(name: &str, namespace: &str, domain: &str) -> Self {
        if name.contains('.') || name == "*" || name.contains(':') || name.is_empty() {
            Self::new(name)
        } else {
            match domain {
                "" => Self::new(&format!("{name}.{namespace}")),
                domain => Self::new(&format!("{name}.{namespace}.svc.{domain}")),
            }
        }
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn to_str(&self) -> Str {
        self.0.clone()
    }

    /// Whether the name starts with `*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// Whether any concrete host could be meant by both names.
    pub fn matches(&self, other: &Self) -> bool {
        match (self.is_wildcard(), other.is_wildcard()) {
            (false, false) => self.0 == other.0,
            (true, false) => other.0.ends_with(&self.0[1..]),
            (false, true) => self.0.ends_with(&other.0[1..]),
            (true, true) => {
                let (a, b) = (&self.0[1..], &other.0[1..]);
                a.ends_with(b) || b.ends_with(a)
            }
        }
    }

    /// Whether every host that `self` means is also meant by `other`.
    pub fn subset_of(&self, other: &Self) -> bool {
        match (self.is_wildcard(), other.is_wildcard()) {
            (false, false) => self.0 == other.0,
            (true, false) => false,
            (false, true) => self.0.ends_with(&other.0[1..]),
            (true, true) => self.0.len() >= other.0.len() && self.0[1..].ends_with(&other.0[1..]),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Host {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::Host;

    #[test]
    fn wildcards_match_by_suffix() {
        let matches = |a: &str, b: &str| Host::new(a).matches(&Host::new(b));
        assert!(matches("*", "a.com"));
        assert!(matches("*.com", "a.com"));
        assert!(matches("a.com", "*.com"));
        assert!(matches("*.a.com", "*.com"));
        assert!(!matches("*.a.com", "*.b.com"));
        assert!(!matches("a.com", "b.com"));
    }

    #[test]
    fn subsets_are_one_way() {
        let subset = |a: &str, b: &str| Host::new(a).subset_of(&Host::new(b));
        assert!(subset("a.com", "*.com"));
        assert!(!subset("*.com", "a.com"));
        assert!(subset("*.a.com", "*.com"));
        assert!(!subset("*.com", "*.a.com"));
    }

    #[test]
    fn short_names_are_of_the_namespace() {
        assert_eq!(Host::resolve("a", "ns", "cluster.local").as_str(), "a.ns.svc.cluster.local");
        assert_eq!(Host::resolve("a.ns", "x", "cluster.local").as_str(), "a.ns");
        assert_eq!(Host::resolve("*", "x", "cluster.local").as_str(), "*");
    }
}
