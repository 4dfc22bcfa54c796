// SPDX-License-Identifier: Apache-2.0
//! Injection: a pod and settings in, the pod with its sidecar out. Nothing here asks the cluster or keeps anything.
//!
//! 1. [`policy`] says whether the pod is injected at all; [`annotations`] are checked.
//! 2. The templates that the pod names, or the default ones, are run on [`data`] and merged onto the pod one by one ([`merge`]).
//! 3. The user's own containers of the same names are laid over the result ([`overrides`]).
//! 4. What templates cannot do is done: cluster and network of the path that was asked, [`prometheus`], [`probes`], the status
//!    annotation, the order of containers ([`order`]).
//! 5. The result is read as a pod once: what the API server would refuse is refused here, with its field.

mod annotations;
pub mod config;
mod data;
mod image;
mod merge;
mod order;
mod overrides;
mod owner;
mod pod;
mod policy;
mod probes;
mod prometheus;
pub mod resource;
mod selector;
pub mod settings;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tiphys_api::mesh::proxy_config::InboundInterceptionMode;
use tiphys_api::mesh::{MeshConfig, ProxyConfig};
use tiphys_api::names::{annotation, label};

use crate::template::{MapKind, Template, TemplateError, Value};
use config::{InjectionConfig, Values};
pub use overrides::forget_openshift_user;
pub use owner::Workload;
pub use pod::shown;
pub use policy::Skipped;

/// Why a pod that is to be injected is refused.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// Annotations say what cannot be done.
    #[error("{0}")]
    Annotations(String),
    /// A template is asked for that there is not.
    #[error("injection template {name:?} is not there: use one of {}", known.join(", "))]
    UnknownTemplate {
        /// Its name.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// A template failed.
    #[error("injection {0}")]
    Template(#[from] TemplateError),
    /// What a template wrote is no YAML.
    #[error("injection template {name}: what it writes for this pod is no YAML: {message}")]
    Output {
        /// Its name.
        name: String,
        /// What is wrong with its output.
        message: String,
    },
    /// What a template wrote cannot be merged.
    #[error("what is injected cannot be merged with the pod: {0}")]
    Merge(String),
    /// The result is no pod.
    #[error("the injected pod would be no pod: {0}")]
    NoPod(String),
    /// Settings that cannot be shown to templates.
    #[error("settings: {0}")]
    Settings(#[from] serde_json::Error),
}

/// What injection works with between two changes of its settings: templates are parsed, values and mesh settings converted.
#[derive(Debug)]
pub struct Injector {
    config: InjectionConfig,
    values: Values,
    mesh: MeshConfig,
    mesh_value: Value,
    default_proxy: (ProxyConfig, Value),
    revision: String,
    compliance_policy: String,
}

/// A pod to be injected.
#[derive(Debug)]
pub struct Request<'a> {
    /// The pod.
    pub pod: &'a Json,
    /// Its namespace.
    pub namespace: &'a str,
    /// Annotations of its namespace, where OpenShift's user ranges are obeyed; else empty.
    pub namespace_annotations: &'a BTreeMap<String, String>,
    /// The workload it belongs to.
    pub workload: Workload,
    /// The settings of its proxy.
    pub proxy: &'a ProxyConfig,
    /// Variables of the path that was asked (`/inject/cluster/NAME/net/NAME`), such as ISTIO_META_CLUSTER_ID.
    pub variables: BTreeMap<String, String>,
    /// Whether nodes run native sidecars, or the mesh wants them.
    pub native_sidecars: bool,
}

impl Injector {
    /// An injector for these settings. `compliance_policy` is istiod's COMPLIANCE_POLICY.
    ///
    /// # Errors
    /// Those of settings with a shape that JSON lacks, which they do not have.
    pub fn new(
        config: InjectionConfig,
        values: Values,
        mesh: MeshConfig,
        revision: &str,
        compliance_policy: &str,
    ) -> Result<Self, InjectError> {
        let default = mesh.proxy_defaults();
        Ok(Self {
            config,
            values,
            mesh_value: data::mesh_config(&mesh)?,
            default_proxy: (default.clone(), data::proxy_config(&default)?),
            mesh,
            revision: revision.to_owned(),
            compliance_policy: compliance_policy.to_owned(),
        })
    }

    /// The settings of the mesh.
    pub const fn mesh(&self) -> &MeshConfig {
        &self.mesh
    }

    /// What templates read as `.Values`.
    pub const fn values(&self) -> &Values {
        &self.values
    }

    /// Whether a pod is to be injected, or why it is not.
    ///
    /// # Errors
    /// The reason why the pod is left as it is.
    pub fn decide(&self, pod: &Json, namespace: &str) -> Result<(), Skipped> {
        policy::decide(&self.config, pod, namespace)
    }

    /// The pod with its sidecar.
    ///
    /// # Errors
    /// When the pod asks for what cannot be done, a template fails, or the result would be no pod.
    pub fn inject(&self, request: &Request<'_>) -> Result<Json, InjectError> {
        let pod = request.pod;
        annotations::check(&pod::texts(&pod["metadata"]["annotations"])).map_err(InjectError::Annotations)?;
        let mut variables = request.variables.clone();
        self.place(pod, &mut variables);
        let (mut merged, template) = self.run_templates(request)?;
        overrides::reapply(&mut merged, pod, &template)?;
        let mode = pod::annotation(&merged, annotation::INTERCEPTION_MODE);
        let tproxy = request.proxy.interception_mode == InboundInterceptionMode::Tproxy || mode == Some("TPROXY");
        overrides::follow_user(&mut merged, pod, tproxy);
        self.finish(&mut merged, &template, request, &variables)?;
        check(&merged)?;
        Ok(merged)
    }

    /// Cluster and network of the proxy: the path's go before the values', and the pod's label before both.
    fn place(&self, pod: &Json, variables: &mut BTreeMap<String, String>) {
        let of_values = [
            ("ISTIO_META_CLUSTER_ID", self.values.text(&["global", "multiCluster", "clusterName"])),
            ("ISTIO_META_NETWORK", self.values.text(&["global", "network"])),
        ];
        for (name, value) in of_values {
            if !value.is_empty() {
                variables.entry(name.to_owned()).or_insert(value);
            }
        }
        if let Some(network) = pod["metadata"]["labels"][label::NETWORK].as_str() {
            variables.insert("ISTIO_META_NETWORK".to_owned(), network.to_owned());
        }
    }

    fn templates(&self, pod: &Json) -> Result<Vec<&Template>, InjectError> {
        let named = pod::annotation(pod, annotation::TEMPLATES);
        let names = match named {
            Some(names) => self.config.resolve(names.split(',').map(str::trim)),
            None => self.config.resolve(self.config.default_templates.iter().map(String::as_str)),
        };
        let find = |name: &str| {
            self.config.templates.get(name).ok_or_else(|| InjectError::UnknownTemplate {
                name: name.to_owned(),
                known: self.config.templates.keys().cloned().collect(),
            })
        };
        names.into_iter().map(find).collect()
    }

    /// The pod with all templates merged onto it, and the templates' own pod.
    fn run_templates(&self, request: &Request<'_>) -> Result<(Json, Json), InjectError> {
        let data = self.data(request)?;
        let (mut merged, mut alone) = (request.pod.clone(), json!({}));
        for template in self.templates(request.pod)? {
            let patch = rendered(template, &data)?;
            merge::merge_pod(&mut alone, &patch).map_err(InjectError::Merge)?;
            let native = pod::annotation(&merged, annotation::NATIVE_SIDECAR).and_then(pod::parse_bool);
            if native.unwrap_or(request.native_sidecars)
                && pod::find(pod::containers(&alone, pod::List::Init), pod::PROXY).is_some()
            {
                order::make_native(&mut merged);
            }
            merge::merge_pod(&mut merged, &patch).map_err(InjectError::Merge)?;
        }
        Ok((merged, alone))
    }

    fn data(&self, request: &Request<'_>) -> Result<Value, InjectError> {
        let status_port = self.default_proxy.0.status_port;
        let stripped = overrides::stripped(request.pod, status_port)?;
        let proxy = match request.proxy {
            proxy if *proxy == self.default_proxy.0 => self.default_proxy.1.clone(),
            proxy => data::proxy_config(proxy)?,
        };
        let variant = pod::annotation(&stripped, annotation::PROXY_IMAGE_TYPE);
        let of_settings = request.proxy.image.as_ref().map_or("", |image| &image.image_type);
        let (user, group) = data::proxy_ids(request.namespace_annotations);
        let fields = [
            ("TypeMeta", data::type_meta(&request.workload)),
            ("DeploymentMeta", data::deployment_meta(&request.workload)),
            ("ObjectMeta", data::metadata(&stripped)),
            ("Spec", data::spec(&stripped)),
            ("ProxyConfig", proxy),
            ("MeshConfig", self.mesh_value.clone()),
            ("Values", self.values.value.clone()),
            ("Revision", Value::text(&self.revision)),
            ("NativeSidecars", Value::Bool(request.native_sidecars)),
            ("ProxyImage", Value::text(image::proxy(&self.values, of_settings, variant))),
            ("ProxyInitImage", Value::text(image::init(&self.values, variant))),
            ("ProxyUID", Value::Int(user)),
            ("ProxyGID", Value::Int(group)),
            ("InboundTrafficPolicyMode", Value::text(data::inbound_mode(&self.mesh))),
            ("CompliancePolicy", Value::text(&self.compliance_policy)),
        ];
        Ok(Value::map(MapKind::Closed("SidecarTemplateData", &[]), fields))
    }

    fn finish(
        &self,
        merged: &mut Json,
        template: &Json,
        request: &Request<'_>,
        variables: &BTreeMap<String, String>,
    ) -> Result<(), InjectError> {
        if let Some(proxy) = pod::find_in_pod_mut(merged, pod::PROXY).filter(|_| !variables.is_empty()) {
            let env = pod::array(proxy, "env");
            env.retain(|variable| !variable["name"].as_str().is_some_and(|name| variables.contains_key(name)));
            env.extend(variables.iter().map(|(name, value)| json!({ "name": name, "value": value })));
        }
        let status_port = self.default_proxy.0.status_port;
        prometheus::merge(merged, self.mesh.enable_prometheus_merge.unwrap_or(true), status_port)?;
        prometheus::tell_secure_port(merged);
        let rewrites = self.values.is_true(&["sidecarInjectorWebhook", "rewriteAppHTTPProbe"]);
        if pod::find_in_pod(merged, pod::PROXY).is_some() && probes::wanted(merged, rewrites) {
            probes::rewrite(merged, status_port);
        }
        if let Some(network) = variables.get("ISTIO_META_NETWORK") {
            pod::labels_mut(merged).insert(label::NETWORK.to_owned(), network.as_str().into());
        }
        let annotations = pod::annotations_mut(merged);
        annotations.insert(annotation::STATUS.to_owned(), status(template, &self.revision).into());
        for (name, value) in &self.config.annotations {
            annotations.insert(name.clone(), value.as_str().into());
        }
        let hold = request.proxy.hold_application_until_proxy_starts.unwrap_or(false)
            || self.values.is_true(&["global", "proxy", "holdApplicationUntilProxyStarts"]);
        order::arrange(merged, hold);
        Ok(())
    }
}

/// What a template writes, as JSON.
fn rendered(template: &Template, data: &Value) -> Result<Json, InjectError> {
    let text = template.execute(data)?;
    let wrong = |message: String| InjectError::Output { name: template.name().to_owned(), message };
    let json: Json = yaml_serde::from_str(&text).map_err(|error| {
        let line = error.location().and_then(|at| text.lines().nth(at.line().saturating_sub(1)));
        wrong(match line {
            Some(line) => format!("{error}, near {:?}", line.trim()),
            None => error.to_string(),
        })
    })?;
    match json {
        Json::Object(_) => Ok(json),
        Json::Null => Ok(json!({})),
        _ => Err(wrong("it is no object".to_owned())),
    }
}

/// The annotation by which tools, and a second injection, know what was injected.
fn status(template: &Json, revision: &str) -> String {
    let names = |field: &str| {
        let items = template["spec"][field].as_array().filter(|items| !items.is_empty());
        items.map(|items| items.iter().map(|item| item["name"].clone()).collect::<Json>())
    };
    let revision = if revision.is_empty() { "default" } else { revision };
    json!({
        "initContainers": names("initContainers"),
        "containers": names("containers"),
        "volumes": names("volumes"),
        "imagePullSecrets": names("imagePullSecrets"),
        "revision": revision,
    })
    .to_string()
}

/// Reads the result as Kubernetes would: a wrong type is named here with its field, before the API server says less.
fn check(pod: &Json) -> Result<(), InjectError> {
    let read: Result<k8s_openapi::api::core::v1::PodSpec, _> = serde_path_to_error::deserialize(&pod["spec"]);
    read.map_err(|error| InjectError::NoPod(format!("spec.{}: {}", error.path(), error.inner())))?;
    let metadata = pod["metadata"].as_object().into_iter().flatten();
    for (field, value) in metadata.filter(|(field, _)| matches!(field.as_str(), "labels" | "annotations")) {
        let wrong = value.as_object().into_iter().flatten().find(|(_, value)| !value.is_string());
        if let Some((key, value)) = wrong {
            return Err(InjectError::NoPod(format!("metadata.{field}.{key}: {value} is no text: put it in quotes")));
        }
    }
    Ok(())
}

/// What changes the first pod into the second, as RFC 6902 writes it.
///
/// # Errors
/// Those of JSON, which what was read does not have.
pub fn patch(before: &Json, after: &Json) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&json_patch::diff(before, after))
}
