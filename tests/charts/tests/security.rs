// SPDX-License-Identifier: Apache-2.0
//! What the charts give away: the control plane's pod is one of the Pod Security Standard `restricted`
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>), and no role has more than it is known to need.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tiphys_charts::{Release, find, helm};

#[test]
fn the_control_planes_pod_is_restricted() -> Result<()> {
    let Some(helm) = helm("the_control_planes_pod_is_restricted") else { return Ok(()) };
    let objects = Release::of("istiod").objects(&helm)?;
    let pod = &find(&objects, "Deployment", "istiod")?["spec"]["template"]["spec"];
    for of_the_host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert_eq!(pod[of_the_host], Value::Null);
    }
    const VOLUMES: &[&str] =
        &["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
    for volume in pod["volumes"].as_array().context("volumes")? {
        let kinds = volume.as_object().context("volume")?.keys().filter(|key| *key != "name");
        ensure!(kinds.clone().all(|kind| VOLUMES.contains(&kind.as_str())), "{volume}");
    }
    for container in pod["containers"].as_array().context("containers")? {
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
                "runAsNonRoot": true,
                "seccompProfile": {"type": "RuntimeDefault"},
            })
        );
        let ports = container["ports"].as_array().context("ports")?;
        ensure!(ports.iter().all(|port| port["hostPort"].is_null()), "no port of the host");
    }
    Ok(())
}

#[test]
fn no_role_writes_more_than_it_must() -> Result<()> {
    let Some(helm) = helm("no_role_writes_more_than_it_must") else { return Ok(()) };
    let mut writes = Vec::new();
    for (chart, signer) in [("base", false), ("istiod", false), ("istiod", true), ("gateway", false)] {
        let release = Release::of(chart);
        let release = if signer { release.set("global.certSigners={example.com/mesh}") } else { release };
        for role in release
            .objects(&helm)?
            .iter()
            .filter(|object| matches!(object["kind"].as_str(), Some("Role" | "ClusterRole")))
        {
            for rule in role["rules"].as_array().context("rules")? {
                for verb in rule["verbs"].as_array().context("verbs")? {
                    ensure!(verb != "*", "{role}");
                    if !["get", "list", "watch"].contains(&verb.as_str().context("verb")?) {
                        ensure!(!rule["resources"].to_string().contains('*'), "writes by name only: {rule}");
                        let resources = rule["resources"].as_array().context("resources")?.iter();
                        writes.extend(resources.filter_map(Value::as_str).map(|resource| {
                            format!(
                                "{} {resource} {}",
                                role["metadata"]["name"].as_str().unwrap_or_default(),
                                verb.as_str().unwrap_or_default()
                            )
                        }));
                    }
                }
            }
        }
    }
    writes.sort();
    writes.dedup();
    let written: Vec<&str> = writes.iter().map(String::as_str).collect();
    assert_eq!(written, WRITES);
    Ok(())
}

/// Every write that a role allows: role, resource, verb.
const WRITES: &[&str] = &[
    "istio-reader-clusterrole-istio-system tokenreviews create",
    "istiod leases create",
    "istiod leases update",
    "istiod secrets create",
    "istiod secrets update",
    "istiod-clusterrole-istio-system certificatesigningrequests create",
    "istiod-clusterrole-istio-system certificatesigningrequests delete",
    "istiod-clusterrole-istio-system certificatesigningrequests/approval update",
    "istiod-clusterrole-istio-system configmaps create",
    "istiod-clusterrole-istio-system configmaps patch",
    "istiod-clusterrole-istio-system configmaps update",
    "istiod-clusterrole-istio-system mutatingwebhookconfigurations patch",
    "istiod-clusterrole-istio-system mutatingwebhookconfigurations update",
    "istiod-clusterrole-istio-system signers approve",
    "istiod-clusterrole-istio-system subjectaccessreviews create",
    "istiod-clusterrole-istio-system tokenreviews create",
    "istiod-clusterrole-istio-system validatingwebhookconfigurations patch",
    "istiod-clusterrole-istio-system validatingwebhookconfigurations update",
];
