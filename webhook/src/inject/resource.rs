// SPDX-License-Identifier: Apache-2.0
//! Objects that hold a pod, outside of a cluster: what `tiphysctl inject` writes for a Deployment is what its pods would become.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use tiphys_api::names::annotation;

use super::settings;
use super::{InjectError, Injector, Request, Skipped, Workload, pod};

/// What becomes of an object.
#[derive(Debug, PartialEq)]
pub enum Injected {
    /// Its pods get a sidecar.
    Yes(Json),
    /// It holds no pod.
    NoPod,
    /// Its pods are left as they are: how the object is called, and why.
    Skipped(String, Skipped),
}

/// Where an object has its pod; none when it has none.
fn place(object: &Json) -> Option<&'static [&'static str]> {
    match object["kind"].as_str()? {
        "Pod" => Some(&[]),
        "CronJob" => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ if object["spec"]["template"]["spec"]["containers"].is_array() => Some(&["spec", "template"]),
        _ => None,
    }
}

/// Injects the pod of an object. `native_sidecars` as in [`Request`].
///
/// # Errors
/// When the pod is to be injected and cannot be.
pub fn inject(injector: &Injector, object: &Json, native_sidecars: bool) -> Result<Injected, InjectError> {
    let Some(path) = place(object) else { return Ok(Injected::NoPod) };
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let (namespace, kind) = (text("namespace"), object["kind"].as_str().unwrap_or_default());
    let held = path.iter().fold(object, |value, field| &value[*field]);
    let mut template = held.clone();
    if !template.is_object() {
        template = Json::Object(Map::new());
    }
    if let Err(why) = injector.decide(&template, namespace) {
        let slash = if namespace.is_empty() { "" } else { "/" };
        let name = if text("name").is_empty() { text("generateName") } else { text("name") };
        return Ok(Injected::Skipped(format!("{kind} {namespace}{slash}{name}"), why));
    }
    let workload = match kind {
        "Pod" => Workload::of_pod(object, namespace),
        _ => Workload {
            api_version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
            kind: kind.to_owned(),
            name: text("name").to_owned(),
            namespace: namespace.to_owned(),
        },
    };
    let labels = pod::texts(&template["metadata"]["labels"]);
    let config = pod::annotation(&template, annotation::CONFIG);
    let proxy = settings::effective(injector.mesh(), &BTreeMap::new(), namespace, &labels, config)
        .map_err(|error| InjectError::Annotations(format!("annotation {}: {error}", annotation::CONFIG)))?;
    let request = Request {
        pod: &template,
        namespace,
        namespace_annotations: &BTreeMap::new(),
        workload,
        proxy: &proxy,
        variables: BTreeMap::new(),
        native_sidecars,
    };
    let done = injector.inject(&request)?;
    let mut object = object.clone();
    let slot = path.iter().fold(&mut object, |value, field| &mut value[*field]);
    *slot = done;
    Ok(Injected::Yes(object))
}
