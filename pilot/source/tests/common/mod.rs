// SPDX-License-Identifier: Apache-2.0
//! What the tests of sources share: one way to edit places and see what comes of it, for every source.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test program uses a part of these helpers, which fail by panic"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tiphys_api::{Key, Kind, Object};
use tiphys_source::dir::{DirSource, Pace};
use tiphys_source::mem::{Handle, MemSource};
use tiphys_source::{Batch, Report, ReportId, Source};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Quick enough for tests, with removals well apart from other changes.
pub const PACE: Pace = Pace {
    settle: Duration::from_millis(10),
    settle_max: Duration::from_millis(100),
    removal: Duration::from_millis(150),
    writer: Duration::from_secs(5),
    poll: Duration::from_secs(60),
};

enum Places {
    Mem(Handle),
    Dir(TempDir),
}

/// A running source and the picture that its batches add up to.
pub struct Bench {
    places: Places,
    batches: mpsc::Receiver<Batch>,
    running: JoinHandle<()>,
    pub objects: BTreeMap<Key, std::sync::Arc<Object>>,
    pub denying: BTreeMap<Key, std::sync::Arc<Report>>,
    pub reports: BTreeMap<ReportId, Report>,
}

impl Bench {
    pub async fn mem(first: &[(&str, &str)]) -> Self {
        let first = first.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned()));
        let (source, handle) = MemSource::new(first);
        Self::start(Places::Mem(handle), Box::new(source)).await
    }

    pub async fn dir(first: &[(&str, &str)]) -> Self {
        Self::dir_with(first, PACE).await
    }

    pub async fn dir_with(first: &[(&str, &str)], pace: Pace) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in first {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let source = DirSource::new(dir.path()).with_pace(pace);
        Self::start(Places::Dir(dir), Box::new(source)).await
    }

    async fn start(places: Places, source: Box<dyn Source>) -> Self {
        let (sink, batches) = mpsc::channel(16);
        let running = tokio::spawn(async move { source.run(sink).await.unwrap() });
        let mut bench = Self {
            places,
            batches,
            running,
            objects: BTreeMap::new(),
            denying: BTreeMap::new(),
            reports: BTreeMap::new(),
        };
        let mut synced = Vec::new();
        while !Kind::ALL.iter().all(|kind| synced.contains(kind)) {
            synced.extend(bench.next().await.synced);
        }
        bench
    }

    /// The folder.
    pub fn root(&self) -> PathBuf {
        match &self.places {
            Places::Dir(dir) => dir.path().to_owned(),
            Places::Mem(_) => panic!("there is no folder"),
        }
    }

    /// The path that reports and origins name a place by.
    pub fn place(&self, name: &str) -> PathBuf {
        match &self.places {
            Places::Dir(dir) => dir.path().join(name),
            Places::Mem(_) => PathBuf::from(name),
        }
    }

    pub fn put(&self, name: &str, text: &str) {
        match &self.places {
            Places::Dir(dir) => std::fs::write(dir.path().join(name), text).unwrap(),
            Places::Mem(handle) => handle.put(name, text),
        }
    }

    pub fn remove(&self, name: &str) {
        match &self.places {
            Places::Dir(dir) => std::fs::remove_file(dir.path().join(name)).unwrap(),
            Places::Mem(handle) => handle.remove(name),
        }
    }

    /// The next batch, which is applied to the picture.
    pub async fn next(&mut self) -> Batch {
        let batch = tokio::time::timeout(Duration::from_secs(20), self.batches.recv()).await;
        let batch = batch.expect("a batch comes in time").expect("the source runs");
        self.apply(&batch);
        batch
    }

    /// Applies what comes until nothing came for a while.
    pub async fn quiet(&mut self) {
        while let Ok(Some(batch)) = tokio::time::timeout(Duration::from_millis(400), self.batches.recv()).await {
            self.apply(&batch);
        }
    }

    /// Takes batches until the picture is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        while !wanted(self) {
            let batch = tokio::time::timeout(Duration::from_secs(20), self.batches.recv()).await;
            let Ok(batch) = batch else {
                panic!("not in time: {what}; there is {:?}; reports {:?}", self.names(), self.lines())
            };
            self.apply(&batch.unwrap());
        }
    }

    fn apply(&mut self, batch: &Batch) {
        for change in &batch.changes {
            self.denying.remove(&change.key);
            self.objects.remove(&change.key);
            if let Some(report) = &change.rejected {
                self.denying.insert(change.key.clone(), report.clone());
            } else if let Some(object) = &change.object {
                self.objects.insert(change.key.clone(), object.clone());
            }
        }
        for report in &batch.reports {
            self.reports.insert(report.id.clone(), report.clone());
        }
        for id in &batch.mended {
            assert!(self.reports.remove(id).is_some(), "{id:?} was not reported");
        }
    }

    /// Names of what is in force, with the label `v`.
    pub fn names(&self) -> Vec<String> {
        let version = |o: &Object| o.meta.labels.get("v").map(|v| format!("={v}")).unwrap_or_default();
        self.objects.iter().map(|(key, object)| format!("{}{}", key.name, version(object))).collect()
    }

    /// All lines of all reports, with their outcome, the folder's path cut off.
    pub fn lines(&self) -> Vec<String> {
        let root = match &self.places {
            Places::Dir(dir) => format!("{}/", dir.path().display()),
            Places::Mem(_) => String::new(),
        };
        let lines = self.reports.values().flat_map(|r| r.lines().map(move |line| format!("{line} [{}]", r.outcome)));
        lines.map(|line| if root.is_empty() { line } else { line.replace(&root, "") }).collect()
    }

    pub fn is_running(&self) -> bool {
        !self.running.is_finished()
    }
}

/// A good VirtualService.
pub fn vs(name: &str, version: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: {name}\n  labels: {{v: \"{version}\"}}\nspec:\n  hosts: [a.example]\n  http:\n  - route:\n    - destination: {{host: b.example}}\n"
    )
}

/// A VirtualService that is refused.
pub fn bad_vs(name: &str) -> String {
    vs(name, "bad").replace("[a.example]", "[\"a b\"]")
}

/// An AuthorizationPolicy whose action is no action.
pub fn bad_policy(name: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: {name}\nspec:\n  selector: {{matchLabels: {{app: x}}}}\n  action: PERHAPS\n"
    )
}
