// SPDX-License-Identifier: Apache-2.0
//! A pod as JSON: what the API server sent stays as it is, whatever this version knows of pods.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// The container of the proxy.
pub const PROXY: &str = "istio-proxy";
/// The init container that captures traffic.
pub const INIT: &str = "istio-init";
/// The init container that checks that the CNI plugin captured it.
pub const VALIDATION: &str = "istio-validation";
/// The init container that lets the node write core dumps.
pub const CORE_DUMP: &str = "enable-core-dump";

/// A list of containers in a pod's spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `spec.containers`.
    Containers,
    /// `spec.initContainers`.
    Init,
}

impl List {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Containers, Self::Init];

    /// The field's name.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::Init => "initContainers",
        }
    }
}

/// An object in an object, made when it is not there.
pub fn object<'a>(parent: &'a mut Json, field: &str) -> &'a mut Map<String, Json> {
    if !parent.is_object() {
        *parent = Json::Object(Map::new());
    }
    let Json::Object(parent) = parent else { unreachable!("it was made one") };
    let child = parent.entry(field).or_insert_with(|| Json::Object(Map::new()));
    if !child.is_object() {
        *child = Json::Object(Map::new());
    }
    let Json::Object(child) = child else { unreachable!("it was made one") };
    child
}

/// A list in an object, made when it is not there.
pub fn array<'a>(parent: &'a mut Json, field: &str) -> &'a mut Vec<Json> {
    if !parent.is_object() {
        *parent = Json::Object(Map::new());
    }
    let Json::Object(parent) = parent else { unreachable!("it was made one") };
    let child = parent.entry(field).or_insert_with(|| Json::Array(Vec::new()));
    if !child.is_array() {
        *child = Json::Array(Vec::new());
    }
    let Json::Array(child) = child else { unreachable!("it was made one") };
    child
}

/// The pod's annotations.
pub fn annotations_mut(pod: &mut Json) -> &mut Map<String, Json> {
    object_in_metadata(pod, "annotations")
}

/// The pod's labels.
pub fn labels_mut(pod: &mut Json) -> &mut Map<String, Json> {
    object_in_metadata(pod, "labels")
}

fn object_in_metadata<'a>(pod: &'a mut Json, field: &str) -> &'a mut Map<String, Json> {
    object(pod, "metadata");
    object(&mut pod["metadata"], field)
}

/// A text of the pod's metadata; empty when there is none.
pub fn meta<'a>(pod: &'a Json, field: &str) -> &'a str {
    pod["metadata"][field].as_str().unwrap_or_default()
}

/// An annotation.
pub fn annotation<'a>(pod: &'a Json, name: &str) -> Option<&'a str> {
    pod["metadata"]["annotations"].get(name).and_then(Json::as_str)
}

/// Texts in an object, by key.
pub fn texts(object: &Json) -> BTreeMap<String, String> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The containers of a list.
pub fn containers(pod: &Json, list: List) -> &[Json] {
    pod["spec"][list.field()].as_array().map_or(&[], Vec::as_slice)
}

/// The containers of a list, to be changed.
pub fn containers_mut(pod: &mut Json, list: List) -> &mut Vec<Json> {
    object(pod, "spec");
    array(&mut pod["spec"], list.field())
}

/// A container of one list.
pub fn find<'a>(containers: &'a [Json], name: &str) -> Option<&'a Json> {
    containers.iter().find(|container| container["name"] == name)
}

/// A container of the pod, whether it is an init container or not.
pub fn find_in_pod<'a>(pod: &'a Json, name: &str) -> Option<&'a Json> {
    List::BOTH.into_iter().find_map(|list| find(containers(pod, list), name))
}

/// A container of the pod, to be changed.
pub fn find_in_pod_mut<'a>(pod: &'a mut Json, name: &str) -> Option<&'a mut Json> {
    let list = List::BOTH.into_iter().find(|list| find(containers(pod, *list), name).is_some())?;
    containers_mut(pod, list).iter_mut().find(|container| container["name"] == name)
}

/// Adds a variable to a container's environment.
pub fn push_env(container: &mut Json, name: &str, value: &str) {
    array(container, "env").push(serde_json::json!({ "name": name, "value": value }));
}

/// How a pod is called in messages, also before it has a name.
pub fn shown(pod: &Json, namespace: &str) -> String {
    match (meta(pod, "name"), meta(pod, "generateName")) {
        ("", "") => format!("{namespace}/(unnamed)"),
        ("", prefix) => format!("{namespace}/{prefix}***** (not yet named)"),
        (name, _) => format!("{namespace}/{name}"),
    }
}

/// A boolean as Go reads it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
