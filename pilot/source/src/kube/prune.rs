// SPDX-License-Identifier: Apache-2.0
//! JSON of the API server to values, without what the mesh never reads: that is skipped while decoding, and never held.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{Deserialize, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A field that is left out, or fields below it that are.
#[derive(Debug)]
pub(super) struct Cut {
    field: &'static str,
    /// Empty: the field itself is left out. In a list of objects, those of each.
    below: &'static [Cut],
}

const fn cut(field: &'static str) -> Cut {
    Cut { field, below: &[] }
}

const fn within(field: &'static str, below: &'static [Cut]) -> Cut {
    Cut { field, below }
}

const META: Cut = within(
    "metadata",
    &[
        cut("managedFields"),
        cut("selfLink"),
        within("annotations", &[cut("kubectl.kubernetes.io/last-applied-configuration")]),
    ],
);

/// Only which ports the kubelet connects to is of interest.
const PROBE: &[Cut] = &[
    cut("exec"),
    cut("failureThreshold"),
    within("httpGet", &[cut("httpHeaders"), cut("path"), cut("scheme")]),
    cut("initialDelaySeconds"),
    cut("periodSeconds"),
    cut("successThreshold"),
    cut("terminationGracePeriodSeconds"),
    cut("timeoutSeconds"),
];

const CONTAINER: &[Cut] = &[
    cut("args"),
    cut("command"),
    cut("env"),
    cut("envFrom"),
    cut("lifecycle"),
    within("livenessProbe", PROBE),
    within("readinessProbe", PROBE),
    cut("resources"),
    cut("securityContext"),
    within("startupProbe", PROBE),
    cut("volumeDevices"),
    cut("volumeMounts"),
];

/// What is left out of objects of one sort.
pub(super) trait Cuts: Clone + fmt::Debug + Send + 'static {
    /// The fields, from the top of the object.
    const CUTS: &'static [Cut];
}

/// Objects of any kind.
#[derive(Clone, Debug)]
pub(super) struct OfAny;

impl Cuts for OfAny {
    const CUTS: &'static [Cut] = &[META];
}

/// Pods: most of them is of interest to the kubelet only.
#[derive(Clone, Debug)]
pub(super) struct OfPod;

impl Cuts for OfPod {
    const CUTS: &'static [Cut] = &[
        META,
        within(
            "spec",
            &[
                cut("affinity"),
                cut("ephemeralContainers"),
                cut("imagePullSecrets"),
                cut("securityContext"),
                cut("tolerations"),
                cut("topologySpreadConstraints"),
                cut("volumes"),
                within("containers", CONTAINER),
                within("initContainers", CONTAINER),
            ],
        ),
        within("status", &[cut("containerStatuses"), cut("ephemeralContainerStatuses"), cut("initContainerStatuses")]),
    ];
}

/// Nodes: they list the images that they hold.
#[derive(Clone, Debug)]
pub(super) struct OfNode;

impl Cuts for OfNode {
    const CUTS: &'static [Cut] = &[
        META,
        within(
            "status",
            &[
                cut("allocatable"),
                cut("capacity"),
                cut("conditions"),
                cut("images"),
                cut("nodeInfo"),
                cut("volumesAttached"),
                cut("volumesInUse"),
            ],
        ),
    ];
}

/// CustomResourceDefinitions: their schemas are megabytes.
#[derive(Clone, Debug)]
pub(super) struct OfDefinition;

impl Cuts for OfDefinition {
    const CUTS: &'static [Cut] = &[
        META,
        within(
            "spec",
            &[
                cut("conversion"),
                within(
                    "versions",
                    &[cut("additionalPrinterColumns"), cut("schema"), cut("selectableFields"), cut("subresources")],
                ),
            ],
        ),
    ];
}

/// A value as it is left.
#[derive(Clone, Debug)]
pub(super) struct Pruned<C> {
    pub(super) value: Value,
    cuts: PhantomData<C>,
}

impl<'de, C: Cuts> Deserialize<'de> for Pruned<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Prune { cuts: C::CUTS }.deserialize(deserializer)?;
        Ok(Self { value, cuts: PhantomData })
    }
}

#[derive(Clone, Copy)]
struct Prune {
    cuts: &'static [Cut],
}

impl<'de> DeserializeSeed<'de> for Prune {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.cuts.is_empty() {
            return Value::deserialize(deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Prune {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            match self.cuts.iter().find(|cut| cut.field == name) {
                Some(Cut { below: [], .. }) => drop(fields.next_value::<IgnoredAny>()?),
                found => {
                    let cuts = found.map_or(&[] as &[Cut], |cut| cut.below);
                    object.insert(name, fields.next_value_seed(Prune { cuts })?);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_cut_is_gone_and_all_else_is_there() {
        let pod = json!({
            "metadata": {"name": "a", "managedFields": [{"x": 1}], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "b": "c"}},
            "spec": {"volumes": [1], "nodeName": "n", "containers": [{"name": "c", "env": [], "ports": [{"containerPort": 80}]}], "x": [1.5, -1, true, null]},
            "status": {"podIP": "10.0.0.1", "containerStatuses": [{}]},
        });
        let pruned: Pruned<OfPod> = serde_json::from_str(&pod.to_string()).unwrap();
        let wanted = json!({
            "metadata": {"name": "a", "annotations": {"b": "c"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}], "x": [1.5, -1, true, null]},
            "status": {"podIP": "10.0.0.1"},
        });
        assert_eq!(pruned.value, wanted);
    }
}
