// SPDX-License-Identifier: Apache-2.0
//! Where objects come from.
//!
//! The way of the data: a [`Source`] reads documents somewhere ([`dir`]: a folder of YAML; [`kube`]: a cluster; [`mem`]: a program), a [`ledger`] decides per
//! [`Key`] what is in force, and what differs from before goes out as one [`Batch`] into the channel of the only writer. A source never
//! takes an object out of force because somebody is half-way through writing its file, nor because a new version of it is wrong:
//!
//! - a document that cannot be read keeps the objects of its file that it may have meant;
//! - an object that validation refuses keeps its last good version in force, and is reported;
//! - a security policy that is refused and has no good version is given on with [`Change::rejected`], and denies;
//! - an object in two places is in force from the first, and reported for the other.

mod clock;
pub mod dir;
mod fail_safe;
pub mod kube;
mod ledger;
pub mod mem;
mod read;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tiphys_api::{Key, Kind, Object, Origin, Problem, Severity};
use tokio::sync::mpsc;

pub use clock::until;
pub use fail_safe::in_force;
pub use read::{Contents, Document, read_documents};

/// A change of what is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which object.
    pub key: Key,
    /// What is in force now; none when nothing is.
    pub object: Option<Arc<Object>>,
    /// Set for a security policy that cannot be used as it is: it has to deny what it selects (all of its namespace when `object` is none, since
    /// then not even the selector is known).
    pub rejected: Option<Arc<Report>>,
}

/// What became of an object, or of a file, that has problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force: there are only warnings.
    InForce,
    /// Its last good version stays in force. For a file: what it gave before does.
    Kept,
    /// It denies what it selects.
    Denied,
    /// It is not in force.
    Absent,
}

/// What tells one report from all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportId {
    /// The file, or what stands for it.
    pub place: Arc<Path>,
    /// The object, if it is known which.
    pub key: Option<Key>,
    /// Counts reports of one place and key.
    pub nth: usize,
}

/// Problems with one object, or with a part of a file that is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What the report is about.
    pub id: ReportId,
    /// Where it begins.
    pub origin: Origin,
    /// What is wrong, never empty.
    pub problems: Vec<Located>,
    /// What became of it.
    pub outcome: Outcome,
}

/// A problem and the place in a file that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Where.
    pub origin: Origin,
    /// What.
    pub problem: Problem,
}

impl Report {
    /// Whether something is not in force because of this.
    pub fn is_error(&self) -> bool {
        self.problems.iter().any(|p| p.problem.severity == Severity::Error)
    }

    /// One line for each problem: `file:line:column: Kind namespace/name: field: message`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.problems.iter().map(|located| {
            let key = self.id.key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
            let Problem { path, message, .. } = &located.problem;
            let field = if path.is_empty() { String::new() } else { format!("{path}: ") };
            // Objects of an API server stand in no file.
            let origin = located.origin.to_string();
            let origin = if origin.is_empty() { origin } else { format!("{origin}: ") };
            format!("{origin}{key}{field}{message}")
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InForce => "in force",
            Self::Kept => "the last good version stays in force",
            Self::Denied => "what it selects is denied",
            Self::Absent => "not in force",
        })
    }
}

/// What a source tells at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// What changed, by key.
    pub changes: Vec<Change>,
    /// Reports that are new or differ from before.
    pub reports: Vec<Report>,
    /// Reports that no longer hold.
    pub mended: Vec<ReportId>,
    /// Kinds whose first full picture is complete with this batch.
    pub synced: Vec<Kind>,
}

impl Batch {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.reports.is_empty() && self.mended.is_empty() && self.synced.is_empty()
    }
}

/// Why a source ended.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The folder cannot be read.
    #[error("folder {folder}: {error}")]
    Folder {
        /// The folder.
        folder: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// A task of the source failed.
    #[error("reading stopped: {0}")]
    Stopped(String),
}

/// Where batches go.
pub type Sink = mpsc::Sender<Batch>;

/// The running of a source, boxed.
pub type Running = std::pin::Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send>>;

/// Something that objects come from.
pub trait Source: Send {
    /// What to call it in logs.
    fn name(&self) -> String;

    /// Runs until the receiver is gone. The first batches make the first full picture, whose last one names every kind in [`Batch::synced`], in it
    /// or spread over them: a reader waits for all kinds before it serves anything.
    ///
    /// # Errors
    /// When nothing can be read at all. Trouble with single files is reported in batches.
    fn run(self: Box<Self>, sink: Sink) -> Running;
}

/// Kinds whose objects protect: one of these that cannot be understood denies.
pub fn is_security(kind: Kind) -> bool {
    matches!(kind, Kind::AuthorizationPolicy | Kind::PeerAuthentication | Kind::RequestAuthentication)
}
