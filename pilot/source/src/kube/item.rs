// SPDX-License-Identifier: Apache-2.0
//! One object as the API server sends it: decoded without what is cut, whatever its shape, so that a bad object never stops the list that it is
//! in. What it means is read afterwards.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tiphys_api::k8s::Pod;
use tiphys_api::names::annotation;
use tiphys_api::{Kind, Object, Origin, Shape, Spec, parse_value};

use super::prune::{Cuts, Pruned};
use crate::Document;
use crate::read::{checked, refused};

/// An object in transit.
#[derive(Clone, Debug)]
pub(super) struct Item<C> {
    /// Only what watching needs: name, namespace and version. It is not held.
    meta: ObjectMeta,
    content: Pruned<C>,
}

impl<'de, C: Cuts> Deserialize<'de> for Item<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let content = Pruned::deserialize(deserializer)?;
        let text = |field: &str| Some(content.value.get("metadata")?.get(field)?.as_str()?.to_owned());
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, content })
    }
}

impl<C: Cuts> Resource for Item<C> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// What tells an object of a kind from the others of it: namespace and name.
pub(super) type Name = (String, String);

impl<C> Item<C> {
    /// Namespace and name.
    pub(super) fn name(&self) -> Name {
        (self.meta.namespace.clone().unwrap_or_default(), self.meta.name.clone().unwrap_or_default())
    }

    /// What it says as a value.
    pub(super) fn into_value(self) -> Value {
        self.content.value
    }

    /// What it means, of a kind in a version; with what is wrong with it.
    pub(super) fn into_document(self, kind: Kind, api_version: &str) -> Document {
        let (namespace, name) = self.name();
        let mut value = self.into_value();
        if let Value::Object(fields) = &mut value {
            // Items of the API server's lists do not say what they are.
            fields.insert("apiVersion".to_owned(), api_version.into());
            fields.insert("kind".to_owned(), kind.name().into());
        }
        match parse_value(value, Origin::default()) {
            Ok(mut parsed) => {
                slim(&mut parsed.object);
                checked(parsed)
            }
            Err(error) => refused(tiphys_api::Key { kind, namespace, name }, error.fault()),
        }
    }
}

/// Drops what nobody reads once an object is read.
fn slim(object: &mut Object) {
    if object.kind().info().shape == Shape::Root {
        // It stands in the spec as far as it is read.
        object.status = None;
        object.meta.resource_version = String::new();
        object.version = String::new();
        // That of a pod stands in the tokens that are bound to it.
        if object.kind() != Kind::Pod {
            object.meta.uid = String::new();
        }
    }
    object.meta.owners.shrink_to_fit();
    if let Spec::Pod(pod) = &mut object.spec {
        // Of the many annotations of a pod the mesh reads its own; what the injector noted down is for the injector.
        let annotations = std::mem::take(&mut object.meta.annotations).into_iter();
        object.meta.annotations =
            annotations.filter(|(name, _)| name.contains("istio.io/") && name != annotation::STATUS).collect();
        slim_pod(pod);
    }
}

/// There are many pods, so each byte counts.
fn slim_pod(pod: &mut Pod) {
    pod.status.conditions.retain(|condition| condition.condition_type == "Ready");
    pod.status.conditions.shrink_to_fit();
    if matches!(pod.status.pod_ips.as_slice(), [only] if only.ip == pod.status.pod_ip) {
        pod.status.pod_ips = Vec::new();
    }
    for containers in [&mut pod.spec.containers, &mut pod.spec.init_containers] {
        containers.shrink_to_fit();
        for container in containers {
            container.image = String::new();
            container.ports.shrink_to_fit();
            for port in container.ports.iter_mut().filter(|port| port.protocol == "TCP") {
                // That is what nothing means.
                port.protocol = String::new();
            }
        }
    }
}

/// Whether two versions of an object say the same: what only counts versions is no difference.
pub(super) fn same(a: &Arc<Object>, b: &Arc<Object>) -> bool {
    let neutral = |object: &Object| {
        let mut meta = object.meta.clone();
        meta.resource_version = String::new();
        meta
    };
    a.spec == b.spec && a.status == b.status && neutral(a) == neutral(b)
}
