// SPDX-License-Identifier: Apache-2.0
//! The pods that live, by the changes that the writer takes: a token that is bound to one of them need not be reviewed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tiphys_api::Kind;
use tiphys_ca::authenticate::{LivePods, PodReference};
use tiphys_source::Change;

/// UIDs by namespace and name. Clones share them.
#[derive(Clone, Default)]
pub struct LivePodIndex(Arc<RwLock<HashMap<String, HashMap<String, String>>>>);

impl LivePodIndex {
    /// Takes changes of pods; others are passed over.
    pub fn take(&self, changes: &[Change]) {
        if !changes.iter().any(|change| change.key.kind == Kind::Pod) {
            return;
        }
        let mut pods = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for Change { key, object, .. } in changes {
            if key.kind != Kind::Pod {
                continue;
            }
            match object {
                Some(object) => {
                    let of_namespace = pods.entry(key.namespace.clone()).or_default();
                    of_namespace.insert(key.name.clone(), object.meta.uid.clone());
                }
                None => {
                    if let Some(of_namespace) = pods.get_mut(&key.namespace) {
                        of_namespace.remove(&key.name);
                    }
                }
            }
        }
    }
}

impl LivePodIndex {
    /// Whether there is a pod of this name.
    pub fn has(&self, namespace: &str, name: &str) -> bool {
        let pods = self.0.read().unwrap_or_else(PoisonError::into_inner);
        pods.get(namespace).is_some_and(|names| names.contains_key(name))
    }
}

impl LivePods for LivePodIndex {
    fn lives(&self, namespace: &str, pod: &PodReference) -> bool {
        let pods = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !pod.uid.is_empty() && pods.get(namespace).and_then(|names| names.get(&pod.name)) == Some(&pod.uid)
    }
}
