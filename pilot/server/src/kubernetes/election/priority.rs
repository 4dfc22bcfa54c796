// SPDX-License-Identifier: Apache-2.0
//! Which revision is preferred: the default one takes a lock from others, and one in the cluster from the same one elsewhere.

use tokio::sync::watch;

/// Before the key of a control plane that leads from another cluster.
const REMOTE: char = '^';

/// The key of a candidate, and which others it takes a lock from.
#[derive(Debug, Clone)]
pub enum Preference {
    /// All candidates are of one revision: there is no key, and nobody is preferred.
    None,
    /// Candidates of all revisions share the lock.
    Revision {
        /// The candidate's own revision.
        own: String,
        /// The revision that is the cluster's default now, if there is one.
        default: watch::Receiver<Option<String>>,
    },
}

impl Preference {
    /// What is written beside the holder's name.
    pub fn key(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Revision { own, .. } => own.clone(),
        }
    }

    /// Whether a lock may be taken from a holder with this key although it is alive.
    pub fn takes_from(&self, holder: &str) -> bool {
        let Self::Revision { own, default } = self else { return false };
        let (holder, remote) = match holder.strip_prefix(REMOTE) {
            Some(holder) => (holder, true),
            None => (holder, false),
        };
        if holder == own {
            return remote;
        }
        default.borrow().as_ref() == Some(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_revision_takes_from_others_and_the_local_one_from_the_remote() {
        let with = |own: &str, default: Option<&str>| Preference::Revision {
            own: own.into(),
            default: watch::channel(default.map(str::to_owned)).1,
        };
        assert!(with("canary", Some("canary")).takes_from("default"));
        assert!(with("canary", Some("canary")).takes_from(""));
        assert!(!with("canary", Some("canary")).takes_from("canary"));
        assert!(with("canary", Some("canary")).takes_from("^canary"));
        assert!(with("canary", Some("other")).takes_from("^canary"));
        assert!(!with("canary", Some("other")).takes_from("default"));
        assert!(!with("canary", None).takes_from("default"));
        assert!(!Preference::None.takes_from("default"));
    }
}
