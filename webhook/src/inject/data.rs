// SPDX-License-Identifier: Apache-2.0
//! What templates see.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tiphys_api::mesh::config::InboundMode;
use tiphys_api::mesh::{MeshConfig, ProxyConfig};

use super::owner::Workload;
use super::pod::List;
use crate::template::functions::MESSAGE;
use crate::template::{MapKind, Value};

/// Fields of a pod's metadata.
const META_FIELDS: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Fields of a pod's spec, by Kubernetes 1.35.
#[rustfmt::skip]
const SPEC_FIELDS: &[&str] = &[
    "volumes", "initContainers", "containers", "ephemeralContainers", "restartPolicy", "terminationGracePeriodSeconds",
    "activeDeadlineSeconds", "dnsPolicy", "nodeSelector", "serviceAccountName", "serviceAccount", "automountServiceAccountToken",
    "nodeName", "hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "securityContext", "imagePullSecrets", "hostname",
    "subdomain", "affinity", "schedulerName", "tolerations", "hostAliases", "priorityClassName", "priority", "dnsConfig",
    "readinessGates", "runtimeClassName", "enableServiceLinks", "preemptionPolicy", "overhead", "topologySpreadConstraints",
    "setHostnameAsFQDN", "os", "hostUsers", "schedulingGates", "resourceClaims", "resources", "hostnameOverride", "workloadRef",
];

/// Fields of a container, by Kubernetes 1.35.
#[rustfmt::skip]
const CONTAINER_FIELDS: &[&str] = &[
    "name", "image", "command", "args", "workingDir", "ports", "envFrom", "env", "resources", "resizePolicy", "restartPolicy",
    "restartPolicyRules", "volumeMounts", "volumeDevices", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle",
    "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy", "securityContext", "stdin", "stdinOnce", "tty",
];

fn record(name: &'static str, known: &'static [&'static str], json: &Json, own: &[(&str, Value)]) -> Value {
    let fields = json.as_object().into_iter().flatten();
    let fields = fields.map(|(key, value)| (key.as_str(), Value::from_json(value, MapKind::Open)));
    Value::map(MapKind::Closed(name, known), fields.chain(own.iter().cloned()))
}

fn texts(object: &Json) -> Value {
    Value::texts(&super::pod::texts(object))
}

/// A pod's metadata.
pub fn metadata(pod: &Json) -> Value {
    let meta = &pod["metadata"];
    let own = [("labels", texts(&meta["labels"])), ("annotations", texts(&meta["annotations"]))];
    record("ObjectMeta", META_FIELDS, meta, &own)
}

/// A pod's spec.
pub fn spec(pod: &Json) -> Value {
    let spec = &pod["spec"];
    let lists: Vec<(&str, Value)> = List::BOTH
        .into_iter()
        .filter(|list| spec[list.field()].is_array())
        .map(|list| {
            let containers = super::pod::containers(pod, list).iter();
            let containers = containers.map(|container| record("Container", CONTAINER_FIELDS, container, &[]));
            (list.field(), Value::list(containers.collect()))
        })
        .collect();
    record("PodSpec", SPEC_FIELDS, spec, &lists)
}

/// The settings of proxies.
///
/// # Errors
/// Those of a shape that JSON lacks, which settings do not have.
pub fn proxy_config(config: &ProxyConfig) -> Result<Value, serde_json::Error> {
    // Defaults are what the proxy takes anyway: without them the pod stays small.
    let mut message = tiphys_api::json::to_value(config)?;
    let defaults = tiphys_api::json::to_value(&ProxyConfig::default())?;
    if let Json::Object(fields) = &mut message {
        fields.retain(|field, value| defaults.get(field.as_str()) != Some(value));
    }
    let own = [
        ("proxyMetadata", Value::texts(&config.proxy_metadata)),
        ("runtimeValues", Value::texts(&config.runtime_values)),
        (MESSAGE, Value::text(message.to_string())),
    ];
    Ok(record("ProxyConfig", &[], &serde_json::to_value(config)?, &own))
}

/// The settings of the mesh.
///
/// # Errors
/// Those of a shape that JSON lacks, which settings do not have.
pub fn mesh_config(config: &MeshConfig) -> Result<Value, serde_json::Error> {
    let message = tiphys_api::json::to_value(config)?;
    let default = proxy_config(&config.proxy_defaults())?;
    let own = [("defaultConfig", default), (MESSAGE, Value::text(message.to_string()))];
    Ok(record("MeshConfig", &[], &serde_json::to_value(config)?, &own))
}

/// Where inbound traffic goes, as templates ask for it.
pub fn inbound_mode(config: &MeshConfig) -> &'static str {
    match config.inbound_traffic_policy.as_ref().map(|policy| &policy.mode) {
        Some(InboundMode::Localhost) => "localhost",
        _ => "passthrough",
    }
}

/// The kind of a workload.
pub fn type_meta(workload: &Workload) -> Value {
    let fields = [("apiVersion", Value::text(&workload.api_version)), ("kind", Value::text(&workload.kind))];
    Value::map(MapKind::Closed("TypeMeta", &[]), fields)
}

/// Name and namespace of a workload.
pub fn deployment_meta(workload: &Workload) -> Value {
    let fields = [("name", Value::text(&workload.name)), ("namespace", Value::text(&workload.namespace))];
    Value::map(MapKind::Closed("NamespacedName", &[]), fields)
}

/// User and group of the proxy: OpenShift hands out ranges by annotations of the namespace, and the last of each range is the proxy's.
pub fn proxy_ids(namespace: &BTreeMap<String, String>) -> (i64, i64) {
    const DEFAULT: i64 = 1337;
    let last = |range: &str| -> Option<i64> {
        match range.split_once('/') {
            Some((start, size)) => Some(start.trim().parse::<i64>().ok()? + size.trim().parse::<i64>().ok()? - 1),
            None => range.split_once('-')?.1.trim().parse().ok(),
        }
    };
    let users = namespace.get("openshift.io/sa.scc.uid-range");
    let groups = namespace.get("openshift.io/sa.scc.supplemental-groups").or(users);
    let user = users.and_then(|range| last(range)).unwrap_or(DEFAULT);
    let group = groups.and_then(|ranges| last(ranges.split(',').next()?)).unwrap_or(DEFAULT);
    (user, group)
}
