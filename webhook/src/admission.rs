// SPDX-License-Identifier: Apache-2.0
//! The admission webhooks without HTTP: a review comes in, the answer goes out. What they work with is swapped as a whole when settings
//! change; a review sees one picture from beginning to end.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::Value as Json;
use tiphys_api::names::annotation;

use crate::inject::{self, InjectError, Injector, Workload, settings};
use crate::metrics::WebhookMetrics;
use crate::review::{GroupVersionKind, Request, Verdict};
use crate::validation;

/// Kubernetes has sidecars as init containers for good since 1.33.
const NATIVE_SINCE: (u32, u32) = (1, 33);

/// Whether sidecars are native (ENABLE_NATIVE_SIDECARS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NativeSidecars {
    /// Where the nodes that a pod may run on have them.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never, unless a pod asks for it.
    Off,
}

/// What injection has to know of the cluster.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Objects ProxyConfig by namespace, the oldest first.
    pub proxy_configs: Arc<settings::Objects>,
    /// Versions of the kubelets by node, as Kubernetes writes them; empty while none is known.
    pub kubelets: Arc<BTreeMap<String, String>>,
    /// Annotations of namespaces, on OpenShift only.
    pub namespaces: Arc<BTreeMap<String, BTreeMap<String, String>>>,
}

/// Advice that is on its way.
pub type Advice<'a> = Pin<Box<dyn Future<Output = Vec<String>> + Send + 'a>>;

/// Says what the author of an object should know that is not about the object alone. It answers soon, or with nothing.
pub trait Adviser: Send + Sync + std::fmt::Debug {
    /// Whether there may be something to say about objects of a kind.
    fn knows(&self, kind: &GroupVersionKind) -> bool;

    /// Lines for an object that is about to be stored; its namespace stands in it.
    fn advise(&self, object: Json) -> Advice<'_>;
}

/// The webhooks.
#[derive(Debug)]
pub struct Admission {
    injector: ArcSwapOption<Injector>,
    surroundings: ArcSwap<Surroundings>,
    native: NativeSidecars,
    openshift: bool,
    metrics: WebhookMetrics,
    adviser: OnceLock<Arc<dyn Adviser>>,
}

impl Admission {
    /// Webhooks that cannot inject yet.
    pub fn new(native: NativeSidecars, openshift: bool, metrics: WebhookMetrics) -> Self {
        let (injector, surroundings) = (ArcSwapOption::empty(), ArcSwap::default());
        Self { injector, surroundings, native, openshift, metrics, adviser: OnceLock::new() }
    }

    /// Has objects that are let through looked at by an adviser, too; the first one stays.
    pub fn set_adviser(&self, adviser: Arc<dyn Adviser>) {
        // A second one is not needed.
        drop(self.adviser.set(adviser));
    }

    /// Injects with other settings from now on.
    pub fn set_injector(&self, injector: Injector) {
        self.injector.store(Some(Arc::new(injector)));
    }

    /// Changes what is known of the cluster.
    pub fn update_surroundings(&self, change: impl Fn(&mut Surroundings)) {
        self.surroundings.rcu(|known| {
            let mut next = Surroundings {
                proxy_configs: known.proxy_configs.clone(),
                kubelets: known.kubelets.clone(),
                namespaces: known.namespaces.clone(),
            };
            change(&mut next);
            next
        });
    }

    /// The settings that are injected with; none before they were read.
    pub fn injector(&self) -> Option<Arc<Injector>> {
        self.injector.load_full()
    }

    /// What is counted.
    pub const fn metrics(&self) -> &WebhookMetrics {
        &self.metrics
    }

    /// Answers a review of a pod that was asked for at a path.
    pub fn inject(&self, path: &str, request: &Request) -> Verdict {
        let began = Instant::now();
        self.metrics.requests.inc();
        let shown = inject::shown(&request.object, &request.namespace);
        let verdict = match self.patch(path, request) {
            Ok(Some(patch)) => {
                self.metrics.injected.inc();
                tracing::info!(target: "webhook", "Pod {shown}: injected in {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
                Verdict { patch: Some(patch), ..Verdict::default() }
            }
            Ok(None) => {
                self.metrics.skipped.inc();
                Verdict::allowed()
            }
            Err(why) => {
                self.metrics.failed.inc();
                tracing::error!(target: "webhook", "Pod {shown}: not injected, so it is refused: {why}");
                Verdict::refused(format!("the pod cannot be injected: {why}"))
            }
        };
        self.metrics.time.observe(began.elapsed().as_secs_f64());
        verdict
    }

    /// The patch of a pod; none when it is left as it is.
    fn patch(&self, path: &str, request: &Request) -> Result<Option<Vec<u8>>, String> {
        let injector = self.injector().ok_or("the injection's configuration is not read yet")?;
        if !request.object.is_object() {
            return Err("the request has no object".to_owned());
        }
        let mut pod = request.object.clone();
        // Long, and of no use here.
        if let Some(metadata) = pod.get_mut("metadata").and_then(Json::as_object_mut) {
            metadata.remove("managedFields");
        }
        let before = pod.clone();
        let of_pod = pod["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty());
        let namespace = of_pod.unwrap_or(&request.namespace).to_owned();
        if let Err(why) = injector.decide(&pod, &namespace) {
            let shown = inject::shown(&pod, &namespace);
            tracing::info!(target: "webhook", "Pod {shown}: not injected: {why}");
            return Ok(None);
        }
        if self.openshift {
            inject::forget_openshift_user(&mut pod);
        }
        let surroundings = self.surroundings.load();
        let after =
            self.injected(&injector, &surroundings, &pod, (&namespace, path)).map_err(|error| error.to_string())?;
        inject::patch(&before, &after).map(Some).map_err(|error| error.to_string())
    }

    fn injected(
        &self,
        injector: &Injector,
        surroundings: &Surroundings,
        pod: &Json,
        (namespace, path): (&str, &str),
    ) -> Result<Json, InjectError> {
        let texts = |object: &Json| -> BTreeMap<String, String> {
            let fields = object.as_object().into_iter().flatten();
            fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        };
        let (labels, annotations) = (texts(&pod["metadata"]["labels"]), &pod["metadata"]["annotations"]);
        let config = annotations[annotation::CONFIG].as_str();
        let proxy = settings::effective(injector.mesh(), &surroundings.proxy_configs, namespace, &labels, config)
            .map_err(|error| InjectError::Annotations(format!("annotation {}: {error}", annotation::CONFIG)))?;
        let none = BTreeMap::new();
        let ranges = surroundings.namespaces.get(namespace).filter(|_| self.openshift).unwrap_or(&none);
        let request = inject::Request {
            pod,
            namespace,
            namespace_annotations: ranges,
            workload: Workload::of_pod(pod, namespace),
            proxy: &proxy,
            variables: variables(path),
            native_sidecars: self.native_sidecars(surroundings, pod["spec"]["nodeName"].as_str()),
        };
        injector.inject(&request)
    }

    fn native_sidecars(&self, surroundings: &Surroundings, node: Option<&str>) -> bool {
        let kubelets = &surroundings.kubelets;
        match (self.native, node.and_then(|node| kubelets.get(node))) {
            (NativeSidecars::On, _) => true,
            (NativeSidecars::Off, _) => false,
            (NativeSidecars::Auto, Some(kubelet)) => has_native(kubelet),
            (NativeSidecars::Auto, None) => {
                !kubelets.is_empty() && kubelets.values().all(|version| has_native(version))
            }
        }
    }

    /// Answers a review of an object of the mesh, with what an adviser has to say.
    pub async fn review(&self, request: Request) -> Verdict {
        let stored = matches!(request.operation.as_str(), "CREATE" | "UPDATE");
        let adviser = self.adviser.get().filter(|adviser| stored && adviser.knows(&request.kind));
        let object = adviser.map(|_| {
            let mut object = request.object.clone();
            if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
                metadata.remove("managedFields");
                metadata.entry("namespace").or_insert_with(|| request.namespace.as_str().into());
            }
            object
        });
        let mut verdict = self.validate(request);
        if let (Some(adviser), Some(object), None) = (adviser, object, &verdict.refused) {
            verdict.warnings.extend(adviser.advise(object).await);
        }
        verdict
    }

    /// Answers a review of an object of the mesh by the object alone.
    pub fn validate(&self, request: Request) -> Verdict {
        let kind = &request.kind;
        let dry = if request.dry_run == Some(true) { " (dry run)" } else { "" };
        let (group, version, name) = (kind.group.clone(), kind.version.clone(), kind.kind.clone());
        let meta = |field: &str| request.object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let shown = format!("{name} {}/{}{dry}", request.namespace, meta("name"));
        let asked_for = request.object["metadata"]["annotations"][validation::ALWAYS_REJECT] == "true";
        let (verdict, reason) = validation::validate(request);
        let labels = [group.as_str(), version.as_str(), name.as_str()];
        match reason {
            None => self.metrics.passed.with_label_values(&labels).inc(),
            Some(reason) => self.metrics.refused.with_label_values(&[labels[0], labels[1], labels[2], reason]).inc(),
        }
        if let Some(why) = verdict.refused.as_deref().filter(|_| !asked_for) {
            tracing::info!(target: "validation", "{shown} is refused: {why}");
        }
        verdict
    }
}

/// Whether a kubelet of this version runs native sidecars.
fn has_native(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
    matches!((number(), number()), (Some(major), Some(minor)) if (major, minor) >= NATIVE_SINCE)
}

/// Variables that a path asks for: `/inject/cluster/NAME/net/NAME`, and any others by their names. A slash in a value is written `--slash--`.
fn variables(path: &str) -> BTreeMap<String, String> {
    let rest = path.trim_end_matches('/').strip_prefix("/inject/").unwrap_or_default();
    if let Some(pairs) = rest.strip_prefix(":ENV:") {
        let pairs = pairs.split(":ENV:").filter_map(|pair| pair.split_once('='));
        return pairs.filter(|(name, _)| !name.is_empty()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    }
    let parts: Vec<&str> = rest.split('/').collect();
    let pairs = parts.chunks_exact(2).filter(|pair| !pair[0].is_empty()).map(|pair| {
        let name = match pair[0] {
            "cluster" => "ISTIO_META_CLUSTER_ID".to_owned(),
            "net" => "ISTIO_META_NETWORK".to_owned(),
            other => other.to_uppercase(),
        };
        (name, pair[1].replace("--slash--", "/"))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let of =
            |path: &str| variables(path).into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
        for (path, wanted) in [
            ("/inject", ""),
            ("/inject/", ""),
            ("/inject/cluster/east/net/n1", "ISTIO_META_CLUSTER_ID=east ISTIO_META_NETWORK=n1"),
            ("/inject/cluster/a--slash--b/odd", "ISTIO_META_CLUSTER_ID=a/b"),
            ("/inject/my_var/x/", "MY_VAR=x"),
            ("/inject/:ENV:A=b:ENV:C=:ENV:=x", "A=b C="),
        ] {
            assert_eq!(of(path), wanted, "{path}");
        }
    }

    #[test]
    fn kubelets() {
        for (version, native) in
            [("v1.33.0", true), ("v1.34.1+k3s1", true), ("v1.32.9", false), ("v2.0.0", true), ("?", false)]
        {
            assert_eq!(has_native(version), native, "{version}");
        }
    }
}
