// SPDX-License-Identifier: Apache-2.0
//! Types of resources as small numbers, with the rules that the protocol has for each.

use std::fmt;
use std::sync::{OnceLock, RwLock};

/// How a type behaves in the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeRules {
    /// Whether a first request without names means "everything" (the legacy wildcard rule of listeners and clusters).
    pub wildcard: bool,
    /// Whether a state-of-the-world response replaces all that the client holds, so that it must name every resource.
    pub full_state: bool,
    /// Resources of this type must be sent again when the resource of the same name in that type changed, because the client
    /// starts anew with it (Envoy warms a changed cluster and waits for its endpoints).
    pub renewed_by: Option<ResourceType>,
}

/// An interned type URL. The order of values is the order in which types are sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceType(u16);

struct Known {
    url: &'static str,
    short: &'static str,
    rules: TypeRules,
}

const PLAIN: TypeRules = TypeRules { wildcard: false, full_state: false, renewed_by: None };
const FULL: TypeRules = TypeRules { wildcard: true, full_state: true, renewed_by: None };
const RENEWED: TypeRules = TypeRules { renewed_by: Some(ResourceType::CLUSTER), ..PLAIN };
const WILDCARD: TypeRules = TypeRules { wildcard: true, ..PLAIN };

const BUILT_IN: [Known; 7] = [
    Known { url: "type.googleapis.com/envoy.config.cluster.v3.Cluster", short: "cds", rules: FULL },
    Known { url: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", short: "eds", rules: RENEWED },
    Known { url: "type.googleapis.com/envoy.config.listener.v3.Listener", short: "lds", rules: FULL },
    Known { url: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", short: "rds", rules: PLAIN },
    Known { url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", short: "sds", rules: PLAIN },
    Known { url: "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", short: "ecds", rules: PLAIN },
    Known { url: "type.googleapis.com/istio.networking.nds.v1.NameTable", short: "nds", rules: WILDCARD },
];

fn registered() -> &'static RwLock<Vec<Known>> {
    static REGISTERED: OnceLock<RwLock<Vec<Known>>> = OnceLock::new();
    REGISTERED.get_or_init(RwLock::default)
}

impl ResourceType {
    /// Clusters (CDS).
    pub const CLUSTER: Self = Self(0);
    /// Load assignments (EDS). The name of a load assignment is that of its cluster.
    pub const ENDPOINT: Self = Self(1);
    /// Listeners (LDS).
    pub const LISTENER: Self = Self(2);
    /// Route configurations (RDS).
    pub const ROUTE: Self = Self(3);
    /// Secrets (SDS).
    pub const SECRET: Self = Self(4);
    /// Extension configurations (ECDS).
    pub const EXTENSION: Self = Self(5);
    /// Istio's DNS name table (NDS).
    pub const NAME_TABLE: Self = Self(6);

    /// The type of a URL, when it is built in or registered.
    pub fn find(url: &str) -> Option<Self> {
        if let Some(i) = BUILT_IN.iter().position(|k| k.url == url) {
            return Some(Self(i as u16));
        }
        let known = registered().read().unwrap_or_else(|e| e.into_inner());
        known.iter().position(|k| k.url == url).map(|i| Self((BUILT_IN.len() + i) as u16))
    }

    /// Registers a further type for the life of the process; later ones are sent after earlier ones. A URL that is known already
    /// keeps its rules. `short` is the name in metrics and logs, e.g. `pcds`.
    pub fn register(url: &str, short: &str, rules: TypeRules) -> Self {
        if let Some(known) = Self::find(url) {
            return known;
        }
        let mut known = registered().write().unwrap_or_else(|e| e.into_inner());
        // Asked again under the lock: another thread may have been first.
        if let Some(i) = known.iter().position(|k| k.url == url) {
            return Self((BUILT_IN.len() + i) as u16);
        }
        // Leaked on purpose: types are few and live as long as the process, and streams compare and print them all the time.
        known.push(Known { url: leak(url), short: leak(short), rules });
        Self((BUILT_IN.len() + known.len() - 1) as u16)
    }

    /// The type URL.
    pub fn url(self) -> &'static str {
        self.with(|k| k.url)
    }

    /// The short name: `cds`, `eds`, `lds`, `rds`, ...
    pub fn short(self) -> &'static str {
        self.with(|k| k.short)
    }

    /// The rules of this type.
    pub fn rules(self) -> TypeRules {
        self.with(|k| k.rules)
    }

    fn with<T: Default>(self, read: impl Fn(&Known) -> T) -> T {
        let i = usize::from(self.0);
        if let Some(known) = BUILT_IN.get(i) {
            return read(known);
        }
        let known = registered().read().unwrap_or_else(|e| e.into_inner());
        // A value exists only for what was registered, and nothing is ever unregistered.
        known.get(i - BUILT_IN.len()).map(read).unwrap_or_default()
    }
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

impl fmt::Debug for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_types_are_found_by_their_url() {
        let all = [
            ResourceType::CLUSTER,
            ResourceType::ENDPOINT,
            ResourceType::LISTENER,
            ResourceType::ROUTE,
            ResourceType::SECRET,
            ResourceType::EXTENSION,
            ResourceType::NAME_TABLE,
        ];
        for ty in all {
            assert_eq!(ResourceType::find(ty.url()), Some(ty));
        }
        assert!(all.is_sorted());
        assert_eq!(ResourceType::find("type.googleapis.com/none"), None);
    }

    #[test]
    fn registration_is_stable() {
        let a = ResourceType::register("test/a", "a", TypeRules { wildcard: true, ..Default::default() });
        let b = ResourceType::register("test/b", "b", TypeRules::default());
        assert_eq!(ResourceType::register("test/a", "other", TypeRules::default()), a);
        assert!(a > ResourceType::NAME_TABLE && a != b);
        assert_eq!((a.url(), a.short(), a.rules().wildcard), ("test/a", "a", true));
    }
}
