// SPDX-License-Identifier: Apache-2.0
//! The ConfigMap of the chart istiod without Helm: its templates and default values, with the values of a test over them.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use tiphys_api::mesh::MeshConfig;
use tiphys_webhook::inject::config::{InjectionConfig, Values};
use tiphys_webhook::inject::resource::Injected;
use tiphys_webhook::inject::{InjectError, Injector, Request, Workload};

/// What a mesh is set to.
pub struct Setup {
    values: Json,
    templates: BTreeMap<String, String>,
    mesh: MeshConfig,
    folder: PathBuf,
    /// Whether nodes run native sidecars.
    pub native: bool,
    /// Whether the namespace has OpenShift's ranges of users.
    pub openshift: bool,
    /// A file of values is not in the reference.
    pub incomplete: bool,
    /// COMPLIANCE_POLICY.
    pub compliance: &'static str,
}

fn chart(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/istiod").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(text: &str) -> Json {
    yaml_serde::from_str(text).unwrap()
}

/// One tree over another, field by field; a null stays a null.
fn overlay(base: &mut Json, over: &Json) {
    match (base, over) {
        (Json::Object(base), Json::Object(over)) => {
            for (key, value) in over {
                overlay(base.entry(key.clone()).or_insert(Json::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

impl Setup {
    /// The chart's defaults.
    pub fn default_chart() -> Self {
        let all = yaml(&chart("values.yaml"));
        let mut values = all["_internal_defaults_do_not_set"].clone();
        values["pilot"] =
            json!({"cni": values["cni"], "env": values["env"], "crlConfigMapName": values["crlConfigMapName"]});
        values["global"]["tag"] = json!("1.0");
        let common = chart("files/injection/common.yaml");
        let mut templates: BTreeMap<String, String> = ["sidecar", "gateway", "grpc-agent"]
            .into_iter()
            .map(|name| (name.to_owned(), format!("{common}\n{}", chart(&format!("files/injection/{name}.yaml")))))
            .collect();
        templates.insert("grpc-simple".to_owned(), chart("files/injection/grpc-simple.yaml"));
        let mesh = MeshConfig::default();
        let folder = PathBuf::new();
        Self { values, templates, mesh, folder, native: true, openshift: false, incomplete: false, compliance: "" }
    }

    /// The chart's defaults with Istio's proxy image, which is chosen by values alone.
    pub fn like_istio(folder: &Path) -> Self {
        let mut setup = Self { folder: folder.to_owned(), ..Self::default_chart() };
        setup.set("global.hub", json!("registry.istio.io/testing"));
        setup.set("global.tag", json!("latest"));
        setup.set("global.proxy.image", json!("proxyv2"));
        setup.set("global.proxy_init.image", json!("proxyv2"));
        setup
    }

    /// Sets a value.
    pub fn set(&mut self, path: &str, value: Json) {
        let nested = path.rsplit('.').fold(value, |inner, field| json!({ field: inner }));
        overlay(&mut self.values, &nested);
    }

    /// Adds a template.
    pub fn template(&mut self, name: &str, text: &str) {
        self.templates.insert(name.to_owned(), text.to_owned());
    }

    /// Lays MeshConfig over the mesh's.
    pub fn mesh(&mut self, text: &str) {
        self.mesh = self.mesh.merge_yaml(text).unwrap().0;
    }

    /// Takes the values of a file of the reference.
    pub fn file(&mut self, name: &str) {
        let Ok(text) = fs::read_to_string(self.folder.join(name)) else {
            self.incomplete = true;
            return;
        };
        let file = yaml(&text);
        let values = &file["spec"]["values"];
        if let Some(templates) = values["sidecarInjectorWebhook"]["templates"].as_object() {
            self.templates.extend(templates.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())));
        }
        overlay(&mut self.values, values);
        if file["spec"]["meshConfig"].is_object() {
            self.mesh(&file["spec"]["meshConfig"].to_string());
        }
    }

    /// The ConfigMap's `config`.
    pub fn config(&self) -> String {
        let webhook = &self.values["sidecarInjectorWebhook"];
        let config = json!({
            "policy": self.values["global"]["proxy"]["autoInject"],
            "defaultTemplates": webhook["defaultTemplates"],
            "alwaysInjectSelector": webhook["alwaysInjectSelector"],
            "neverInjectSelector": webhook["neverInjectSelector"],
            "injectedAnnotations": webhook["injectedAnnotations"],
            "templates": self.templates,
        });
        yaml_serde::to_string(&config).unwrap()
    }

    /// The ConfigMap's `values`.
    pub fn values(&self) -> String {
        self.values.to_string()
    }
}

/// An injector with these settings.
pub fn injector(setup: &Setup) -> Injector {
    let config = InjectionConfig::parse(&setup.config()).unwrap();
    let values = Values::parse(&setup.values()).unwrap();
    Injector::new(config, values, setup.mesh.clone(), "", setup.compliance).unwrap()
}

/// A Deployment's pod in a namespace to which OpenShift gave users.
pub fn inject_on_openshift(injector: &Injector, object: &Json) -> Result<Injected, InjectError> {
    let ranges = ["uid-range", "supplemental-groups"];
    let ranges = ranges.map(|range| (format!("openshift.io/sa.scc.{range}"), "1000620000/10000".to_owned()));
    let mut pod = object["spec"]["template"].clone();
    tiphys_webhook::inject::forget_openshift_user(&mut pod);
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let namespace = &text(&object["metadata"]["namespace"]);
    let workload = Workload {
        api_version: text(&object["apiVersion"]),
        kind: text(&object["kind"]),
        name: text(&object["metadata"]["name"]),
        namespace: namespace.clone(),
    };
    let proxy = injector.mesh().proxy_defaults();
    let request = Request {
        pod: &pod,
        namespace,
        namespace_annotations: &ranges.into(),
        workload,
        proxy: &proxy,
        variables: BTreeMap::new(),
        native_sidecars: true,
    };
    let mut object = object.clone();
    object["spec"]["template"] = injector.inject(&request)?;
    Ok(Injected::Yes(object))
}
