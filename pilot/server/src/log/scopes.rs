// SPDX-License-Identifier: Apache-2.0
//! The scopes of istiod's log and the crates that write to them.
//!
//! A scope is a name a user can give a level (`ads:debug`). Here each stands for tracing targets: an event's own (`target: "ads"`) and the module
//! paths of the crates whose work it is. See <https://istio.io/latest/docs/ops/diagnostic-tools/component-logging/>.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// The scope of all that has no other.
pub const DEFAULT: &str = "default";
/// In `--log_output_level`: every scope, and the libraries below too.
pub const ALL: &str = "all";

/// Name, what is in it, and the targets that write to it.
pub const SCOPES: &[(&str, &str, &[&str])] = &[
    ("ads", "Streams of the discovery service", &["ads", "tiphys_xds"]),
    ("authn", "Who calls", &["authn"]),
    ("authorization", "AuthorizationPolicy", &["authorization"]),
    ("ca", "The certificate service", &["ca"]),
    ("default", "Everything that has no scope of its own", &["default", "tiphys", "tiphys_server"]),
    ("delta", "Delta discovery streams", &["delta"]),
    ("file", "The folder of configuration", &["file", "tiphys_source"]),
    ("gateway", "Gateway API", &["gateway"]),
    ("kube", "The Kubernetes API server", &["kube", "kube_client", "kube_runtime"]),
    (
        "model",
        "The picture of the mesh",
        &["model", "tiphys_compile", "tiphys_model", "tiphys_translate", "tiphys_view"],
    ),
    ("monitoring", "Metrics", &["monitoring"]),
    ("pkica", "The certificate authority", &["pkica", "tiphys_ca"]),
    ("push", "Why a push is made", &["push"]),
    ("rootcertrotator", "Rotation of the root", &["rootcertrotator"]),
    ("sds", "Secrets given to proxies", &["sds"]),
    ("security", "TLS of the server", &["security"]),
    ("serverca", "Requests to the certificate service", &["serverca", "audit"]),
    ("serviceentry", "ServiceEntry and WorkloadEntry", &["serviceentry"]),
    ("spiffe", "SPIFFE identities", &["spiffe"]),
    ("status", "Status of objects", &["status", "tiphys_status"]),
    ("trustBundle", "Roots of the mesh", &["trustBundle"]),
    ("validation", "Validation of objects", &["validation", "tiphys_api"]),
    ("webhook", "Injection, and the configurations of the webhooks", &["webhook", "tiphys_webhook"]),
];

/// Scopes that istiod has for parts that do not exist here: their levels are taken and have no effect.
pub const WITHOUT_EFFECT: &[&str] = &[
    "adsc",
    "analysis",
    "cache",
    "citadelclient",
    "controllers",
    "controlleruntime",
    "deltaadsc",
    "dns",
    "epp",
    "gatewaycommon",
    "gcecred",
    "grpcgen",
    "hbone",
    "healthcheck",
    "ip-autoallocate",
    "klog",
    "krt",
    "mockcred",
    "pkira",
    "probes",
    "processing",
    "retry",
    "secretcontroller",
    "simulation",
    "tag-watcher",
    "untaint",
    "validationController",
    "validationServer",
    "wasm",
    "wle",
    "xdsproxy",
];

/// A level as istiod names it. `fatal` is what ends the process, which is printed whatever the level: it silences as `none` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Debug,
    /// What an operator wants to follow.
    Info,
    /// What may need a hand.
    Warn,
    /// What does.
    Error,
    /// Only what ends the process.
    Fatal,
    /// Nothing.
    None,
}

const LEVELS: &[(&str, Level)] = &[
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("warn", Level::Warn),
    ("error", Level::Error),
    ("fatal", Level::Fatal),
    ("none", Level::None),
];

impl FromStr for Level {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        LEVELS
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, level)| *level)
            .ok_or_else(|| ScopeError::Level(text.to_owned()))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LEVELS.iter().find(|(_, level)| level == self).map_or("none", |(name, _)| name))
    }
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::TRACE,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
            Self::Fatal | Self::None => LevelFilter::OFF,
        }
    }
}

/// Why a list of levels cannot be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScopeError {
    /// Not `scope:level` or `level`.
    #[error("invalid level '{0}': write SCOPE:LEVEL or LEVEL, with commas between")]
    Format(String),
    /// No such level.
    #[error("unknown level '{0}': use debug, info, warn, error, fatal or none")]
    Level(String),
    /// No such scope.
    #[error("unknown scope '{0}': use all, {known}", known = SCOPES.iter().map(|(name, _, _)| *name).collect::<Vec<_>>().join(", "))]
    Scope(String),
}

/// The level of each scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    scopes: BTreeMap<&'static str, Level>,
    /// The level of libraries: only `all` raises it, or a debug of one scope would drown in HTTP/2 frames.
    libraries: Level,
}

impl Default for Levels {
    fn default() -> Self {
        Self { scopes: SCOPES.iter().map(|(name, _, _)| (*name, Level::Info)).collect(), libraries: Level::Warn }
    }
}

impl FromStr for Levels {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (scope, level) = match part.split(':').collect::<Vec<_>>()[..] {
                [level] => (DEFAULT, level),
                [scope, level] => (scope, level),
                _ => return Err(ScopeError::Format(part.to_owned())),
            };
            levels.set(scope, level.parse()?)?;
        }
        Ok(levels)
    }
}

impl Levels {
    /// Sets the level of one scope, or of [`ALL`].
    ///
    /// # Errors
    /// When there is no such scope.
    pub fn set(&mut self, scope: &str, level: Level) -> Result<(), ScopeError> {
        if scope == ALL {
            self.scopes.values_mut().for_each(|l| *l = level);
            self.libraries = level;
        } else if let Some(found) = self.scopes.get_mut(scope) {
            *found = level;
        } else if !WITHOUT_EFFECT.contains(&scope) {
            return Err(ScopeError::Scope(scope.to_owned()));
        }
        Ok(())
    }

    /// The level of a scope, if there is such a scope.
    pub fn get(&self, scope: &str) -> Option<Level> {
        self.scopes.get(scope).copied()
    }

    /// The filter that has this effect.
    pub fn targets(&self) -> Targets {
        let own = SCOPES.iter().flat_map(|(name, _, targets)| {
            let level = self.get(name).unwrap_or(Level::Info).filter();
            targets.iter().map(move |target| (*target, level))
        });
        Targets::new().with_default(self.libraries.filter()).with_targets(own)
    }
}

/// The scope that a tracing target belongs to.
pub fn scope_of(target: &str) -> &'static str {
    let head = target.split("::").next().unwrap_or(target);
    SCOPES.iter().find(|(_, _, targets)| targets.contains(&head)).map_or(DEFAULT, |(name, _, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn istiods_syntax() {
        let levels: Levels = "ads:debug,warn, file:none".parse().unwrap();
        assert_eq!(levels.get("ads"), Some(Level::Debug));
        assert_eq!(levels.get(DEFAULT), Some(Level::Warn));
        assert_eq!(levels.get("file"), Some(Level::None));
        assert_eq!(levels.get("push"), Some(Level::Info));
        assert_eq!("".parse(), Ok(Levels::default()));
        assert_eq!("all:debug".parse::<Levels>().unwrap().get("push"), Some(Level::Debug));
        assert_eq!("krt:debug".parse(), Ok(Levels::default()), "a scope of istiod's without counterpart is taken");
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!("ads:loud".parse::<Levels>(), Err(ScopeError::Level("loud".into())));
        assert_eq!("sda:info".parse::<Levels>(), Err(ScopeError::Scope("sda".into())));
        assert_eq!("a:b:c".parse::<Levels>(), Err(ScopeError::Format("a:b:c".into())));
    }

    #[test]
    fn targets_follow_their_scope() {
        let targets = "default:none,ads:debug".parse::<Levels>().unwrap().targets();
        assert!(targets.would_enable("tiphys_xds::stream", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("tiphys_server::wiring", &tracing::Level::ERROR));
        assert!(targets.would_enable("h2::codec", &tracing::Level::WARN));
        assert!(!targets.would_enable("h2::codec", &tracing::Level::INFO));
        assert_eq!(scope_of("tiphys_xds::stream"), "ads");
        assert_eq!(scope_of("h2::codec"), DEFAULT);
    }

    #[test]
    fn scopes_are_sorted_and_distinct() {
        assert!(SCOPES.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(WITHOUT_EFFECT.iter().all(|name| SCOPES.iter().all(|(scope, _, _)| scope != name)));
    }
}
