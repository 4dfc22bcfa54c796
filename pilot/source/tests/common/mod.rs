// SPDX-License-Identifier: Apache-2.0
//! What the tests of sources share: one way to edit places and see what comes of it, for every source.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test program uses a part of these helpers, which fail by panic"
)]

pub mod api_server;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use api_server::{ApiServer, Manner};

use tempfile::TempDir;
use tiphys_api::{Key, Kind, Object};
use tiphys_source::dir::{DirSource, Pace};
use tiphys_source::kube::KubeSource;
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
    /// What stands in each place of the API server.
    Kube(Box<ApiServer>, RefCell<Held>),
}

/// Kind, namespace and name of objects, by place.
type Held = BTreeMap<String, BTreeSet<(Kind, String, String)>>;

/// Texts of an API server: what a place no longer holds is deleted.
fn apply_text(server: &ApiServer, places: &RefCell<Held>, name: &str, text: &str) {
    let values: Vec<serde_json::Value> = text
        .split("---\n")
        .map(|document| yaml_serde::from_str(document).unwrap())
        .filter(|value: &serde_json::Value| !value.is_null())
        .collect();
    let now: BTreeSet<(Kind, String, String)> = values.into_iter().map(|value| server.put(value)).collect();
    let before = places.borrow_mut().insert(name.to_owned(), now.clone()).unwrap_or_default();
    before.difference(&now).for_each(|(kind, namespace, name)| server.delete(*kind, namespace, name));
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

    pub async fn kube(first: &[(&str, &str)]) -> Self {
        let server = ApiServer::start(Manner::default()).await;
        server.install_all();
        Self::kube_with(server, first).await
    }

    pub async fn kube_with(server: ApiServer, first: &[(&str, &str)]) -> Self {
        let source = KubeSource::new(server.client(), "test");
        Self::kube_from(server, source, first).await
    }

    pub async fn kube_from(server: ApiServer, source: KubeSource, first: &[(&str, &str)]) -> Self {
        let places = RefCell::default();
        first.iter().for_each(|(name, text)| apply_text(&server, &places, name, text));
        Self::start(Places::Kube(Box::new(server), places), Box::new(source)).await
    }

    /// The API server.
    pub fn server(&mut self) -> &mut ApiServer {
        match &mut self.places {
            Places::Kube(server, _) => server,
            _ => panic!("there is no API server"),
        }
    }

    /// How lines about a place begin: objects of an API server have none.
    pub fn at(&self, place: &str) -> String {
        if matches!(self.places, Places::Kube(..)) { String::new() } else { format!("{place}: ") }
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
            _ => panic!("there is no folder"),
        }
    }

    /// The path that reports and origins name a place by.
    pub fn place(&self, name: &str) -> PathBuf {
        match &self.places {
            Places::Dir(dir) => dir.path().join(name),
            _ => PathBuf::from(name),
        }
    }

    pub fn put(&self, name: &str, text: &str) {
        match &self.places {
            Places::Dir(dir) => std::fs::write(dir.path().join(name), text).unwrap(),
            Places::Mem(handle) => handle.put(name, text),
            Places::Kube(server, places) => apply_text(server, places, name, text),
        }
    }

    pub fn remove(&self, name: &str) {
        match &self.places {
            Places::Dir(dir) => std::fs::remove_file(dir.path().join(name)).unwrap(),
            Places::Mem(handle) => handle.remove(name),
            Places::Kube(server, places) => apply_text(server, places, name, ""),
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
            _ => String::new(),
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

/// The JSON of a pod as a cluster has it, with the bulk that a pod with a sidecar brings: some 9 KB.
pub fn pod_text(i: usize) -> String {
    static TEMPLATE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let template = TEMPLATE.get_or_init(|| pod_template().to_string());
    let (deployment, node, team) = ((i / 20).to_string(), (i % 100).to_string(), (i % 50).to_string());
    let (number, low, high) = (format!("{i:012}"), (i % 256).to_string(), (i / 256).to_string());
    let values = [("@D", deployment), ("@N", node), ("@T", team), ("@I", number), ("@L", low), ("@H", high)];
    values.iter().fold(template.clone(), |text, (name, value)| text.replace(name, value))
}

fn pod_template() -> serde_json::Value {
    use serde_json::json;
    let env: Vec<_> = (0..12)
        .map(|e| json!({"name": format!("SETTING_{e}"), "value": format!("some value of setting {e}")}))
        .collect();
    let mounts: Vec<_> = (0..6)
        .map(|m| json!({"name": format!("volume-{m}"), "mountPath": format!("/var/run/volume/{m}"), "readOnly": true}))
        .collect();
    let container = |name: &str| {
        json!({
            "name": name, "image": format!("registry.example/team/{name}:1.2.3"), "imagePullPolicy": "IfNotPresent", "env": env,
            "volumeMounts": mounts, "args": ["--verbose", "--port", "8080"], "terminationMessagePath": "/dev/termination-log",
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1},
        })
    };
    let fields: serde_json::Map<_, _> = (0..30).map(|f| (format!("f:field-{f}"), json!({"f:value": {}}))).collect();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = |c: usize| {
        json!({"name": format!("c{c}"), "ready": true, "restartCount": 0,
            "imageID": "registry.example/team/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "containerID": "containerd://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
    };
    let injected = json!({"initContainers": ["istio-init"], "containers": ["istio-proxy"], "volumes": ["workload-socket", "istio-envoy", "istio-data"], "revision": "default"});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "deployment-@D-6c8f7d9b5-@I", "namespace": "team-@T", "uid": "9e7c3d1a-5b2f-4c8e-a1d0-@I",
            "resourceVersion": "1@I", "creationTimestamp": "2026-01-01T00:00:00Z", "generateName": "deployment-6c8f7d9b5-",
            "labels": {
                "app": "deployment-@D", "version": "v1", "pod-template-hash": "6c8f7d9b5", "security.istio.io/tlsMode": "istio",
                "service.istio.io/canonical-name": "deployment-@D", "service.istio.io/canonical-revision": "v1",
            },
            "annotations": {
                "prometheus.io/scrape": "true", "prometheus.io/port": "15020", "kubectl.kubernetes.io/default-container": "app",
                "sidecar.istio.io/status": injected.to_string(),
            },
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "deployment-@D-6c8f7d9b5",
                "uid": "5b2f9e7c-3d1a-4c8e-a1d0-000000000000", "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:metadata": fields}}],
        },
        "spec": {
            "nodeName": "node-@N", "serviceAccountName": "account-@D", "serviceAccount": "account-@D",
            "containers": [container("app"), container("istio-proxy")], "initContainers": [container("istio-init")],
            "volumes": (0..6).map(|v| json!({"name": format!("volume-{v}"), "emptyDir": {}})).collect::<Vec<_>>(),
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
        },
        "status": {
            "phase": "Running", "podIP": "10.1.@H.@L", "podIPs": [{"ip": "10.1.@H.@L"}], "hostIP": "192.168.0.@N",
            "conditions": [condition("Initialized"), condition("Ready"), condition("ContainersReady"), condition("PodScheduled")],
            "containerStatuses": [status(0), status(1)],
        },
    })
}
