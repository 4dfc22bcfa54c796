// SPDX-License-Identifier: Apache-2.0
//! The workload that a pod belongs to, as telemetry names it: the Deployment rather than its ReplicaSet, the CronJob rather than its Job.

use serde_json::Value as Json;

use super::pod;

/// A workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Its apiVersion.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; empty when it is not known.
    pub namespace: String,
}

impl Workload {
    /// The workload of a pod, by its owner and labels.
    pub fn of_pod(pod: &Json, namespace: &str) -> Self {
        let of = |api_version: &str, kind: &str, name: &str| Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        };
        let own = of("v1", "Pod", pod::meta(pod, "name"));
        // Only the name of a pod that a controller made is generated.
        if pod::meta(pod, "generateName").is_empty() {
            return own;
        }
        let owners = pod["metadata"]["ownerReferences"].as_array();
        let Some(owner) = owners.into_iter().flatten().find(|owner| owner["controller"] == true) else { return own };
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let (version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
        let label = |name: &str| pod["metadata"]["labels"][name].as_str().filter(|value| !value.is_empty());
        let hashed = |hash: &str| label(hash).and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
        match kind {
            "ReplicaSet" => match (hashed("pod-template-hash"), hashed("rollouts-pod-template-hash")) {
                (Some(deployment), _) => of(version, "Deployment", deployment),
                (None, Some(rollout)) => of("v1alpha1", "Rollout", rollout),
                (None, None) => of(version, kind, name),
            },
            "ReplicationController" => match label("deploymentconfig") {
                Some(config) => of(version, "DeploymentConfig", config),
                None => of(version, kind, name),
            },
            "Job" => match scheduled(name) {
                Some(cron_job) => of("batch/v1", "CronJob", cron_job),
                None => of(version, kind, name),
            },
            _ => of(version, kind, name),
        }
    }
}

/// The CronJob of a Job that it named: the Job's name ends with the minute it was made for, in 8 to 10 digits.
fn scheduled(job: &str) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    let stamp = (8..=10).contains(&minute.len()) && minute.bytes().all(|b| b.is_ascii_digit());
    (stamp && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn owners() {
        let pod = |kind: &str, name: &str, labels: Json| {
            json!({"metadata": {
                "generateName": "x-", "labels": labels,
                "ownerReferences": [{"apiVersion": "v", "kind": "Other", "name": "o"}, {"apiVersion": "apps/v1", "kind": kind, "name": name, "controller": true}]
            }})
        };
        for (kind, name, labels, wanted) in [
            ("ReplicaSet", "web-5f", json!({"pod-template-hash": "5f"}), ("apps/v1", "Deployment", "web")),
            ("ReplicaSet", "web-5f", json!({"rollouts-pod-template-hash": "5f"}), ("v1alpha1", "Rollout", "web")),
            ("ReplicaSet", "web-5f", json!({}), ("apps/v1", "ReplicaSet", "web-5f")),
            ("Job", "sync-28391200", json!({}), ("batch/v1", "CronJob", "sync")),
            ("Job", "sync-7", json!({}), ("apps/v1", "Job", "sync-7")),
            ("ReplicationController", "c-1", json!({"deploymentconfig": "c"}), ("apps/v1", "DeploymentConfig", "c")),
            ("StatefulSet", "db", json!({}), ("apps/v1", "StatefulSet", "db")),
        ] {
            let found = Workload::of_pod(&pod(kind, name, labels), "ns");
            assert_eq!((found.api_version.as_str(), found.kind.as_str(), found.name.as_str()), wanted);
        }
        assert_eq!(Workload::of_pod(&json!({"metadata": {"name": "p"}}), "ns").name, "p");
    }
}
