// SPDX-License-Identifier: Apache-2.0
//! What the charts give away: the control plane's pod is one of the Pod Security Standard `restricted`
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>), and no role has more than it is known to need.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use tiphys_api::Kind;
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

/// What the rules of all roles of a chart allow: role, group/resource, verb.
fn rights(release: &Release<'_>, helm: &Path) -> Result<BTreeSet<(String, String, String)>> {
    let strings = |list: &Value| -> Result<Vec<String>> {
        let list = list.as_array().context("a list")?.iter();
        list.map(|entry| Ok(entry.as_str().context("a text")?.to_owned())).collect()
    };
    let mut rights = BTreeSet::new();
    for role in release.objects(helm)? {
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in strings(&rule["apiGroups"])? {
                for resource in strings(&rule["resources"])? {
                    for verb in strings(&rule["verbs"])? {
                        let role = role["metadata"]["name"].as_str().context("name")?.to_owned();
                        let named = if rule["resourceNames"].is_null() { "" } else { " by name" };
                        let resource = format!("{group}/{resource}{named}").trim_start_matches('/').to_owned();
                        rights.insert((role, resource, verb));
                    }
                }
            }
        }
    }
    Ok(rights)
}

#[test]
fn the_control_plane_reads_the_kinds_that_it_knows() -> Result<()> {
    let Some(helm) = helm("the_control_plane_reads_the_kinds_that_it_knows") else { return Ok(()) };
    // Endpoints are mirrored into EndpointSlices; the others are about several clusters.
    let not_read = [Kind::Endpoints, Kind::ServiceExport, Kind::ServiceImport];
    let kinds = Kind::ALL.iter().filter(|kind| !not_read.contains(kind));
    let kinds = kinds.map(|kind| format!("{}/{}", kind.group(), kind.info().plural).trim_start_matches('/').to_owned());
    let mut wanted: BTreeSet<String> = kinds.collect();
    wanted.insert("apiextensions.k8s.io/customresourcedefinitions".to_owned());
    wanted.insert("admissionregistration.k8s.io/mutatingwebhookconfigurations".to_owned());
    wanted.insert("admissionregistration.k8s.io/validatingwebhookconfigurations".to_owned());
    let rights = rights(&Release::of("istiod").set("global.enableReaderRBAC=false"), &helm)?;
    for verb in ["list", "watch"] {
        let read = rights.iter().filter(|(_, _, allowed)| allowed == verb).map(|(_, resource, _)| resource.clone());
        // Locks are followed one by one.
        let read = read.filter(|resource| !resource.ends_with(" by name"));
        assert_eq!(read.collect::<BTreeSet<_>>(), wanted, "{verb}");
    }
    Ok(())
}

#[test]
fn no_role_allows_more_than_it_must() -> Result<()> {
    let Some(helm) = helm("no_role_allows_more_than_it_must") else { return Ok(()) };
    let signer = Release::of("istiod").set("global.certSigners={example.com/mesh}");
    let signer = signer.set("env.CA_TRUSTED_NODE_ACCOUNTS=kube-system/ztunnel");
    let mut allowed = BTreeSet::new();
    for release in [Release::of("base"), Release::of("istiod"), signer, Release::of("gateway")] {
        for (role, resource, verb) in rights(&release, &helm)? {
            ensure!(verb != "*", "{role} {resource}");
            if verb != "list" && verb != "watch" {
                ensure!(!resource.contains('*') || verb == "get", "{role} {resource} {verb}");
                allowed.insert(format!("{role}: {verb} {resource}"));
            }
        }
    }
    assert_eq!(allowed.iter().map(String::as_str).collect::<Vec<_>>(), ALLOWED);
    Ok(())
}

/// Everything that roles allow but to list and to watch.
const ALLOWED: &[&str] = &[
    "ingress: get secrets",
    "istio-reader-clusterrole-istio-system: create authentication.k8s.io/tokenreviews",
    "istio-reader-clusterrole-istio-system: get apiextensions.k8s.io/customresourcedefinitions",
    "istio-reader-clusterrole-istio-system: get discovery.k8s.io/endpointslices",
    "istio-reader-clusterrole-istio-system: get endpoints",
    "istio-reader-clusterrole-istio-system: get extensions.istio.io/*",
    "istio-reader-clusterrole-istio-system: get gateway.networking.k8s.io/gateways",
    "istio-reader-clusterrole-istio-system: get namespaces",
    "istio-reader-clusterrole-istio-system: get networking.istio.io/*",
    "istio-reader-clusterrole-istio-system: get nodes",
    "istio-reader-clusterrole-istio-system: get pods",
    "istio-reader-clusterrole-istio-system: get security.istio.io/*",
    "istio-reader-clusterrole-istio-system: get services",
    "istio-reader-clusterrole-istio-system: get telemetry.istio.io/*",
    "istiod-clusterrole-istio-system: approve certificates.k8s.io/signers by name",
    "istiod-clusterrole-istio-system: create authentication.k8s.io/tokenreviews",
    "istiod-clusterrole-istio-system: create authorization.k8s.io/subjectaccessreviews",
    "istiod-clusterrole-istio-system: create certificates.k8s.io/certificatesigningrequests",
    "istiod-clusterrole-istio-system: create configmaps by name",
    "istiod-clusterrole-istio-system: delete certificates.k8s.io/certificatesigningrequests",
    "istiod-clusterrole-istio-system: get certificates.k8s.io/certificatesigningrequests",
    "istiod-clusterrole-istio-system: get gateway.networking.k8s.io/gatewayclasses",
    "istiod-clusterrole-istio-system: get gateway.networking.k8s.io/gateways",
    "istiod-clusterrole-istio-system: get gateway.networking.k8s.io/grpcroutes",
    "istiod-clusterrole-istio-system: get gateway.networking.k8s.io/httproutes",
    "istiod-clusterrole-istio-system: get gateway.networking.k8s.io/listenersets",
    "istiod-clusterrole-istio-system: get gateway.networking.k8s.io/tcproutes",
    "istiod-clusterrole-istio-system: get gateway.networking.k8s.io/tlsroutes",
    "istiod-clusterrole-istio-system: get pods",
    "istiod-clusterrole-istio-system: patch admissionregistration.k8s.io/mutatingwebhookconfigurations",
    "istiod-clusterrole-istio-system: patch admissionregistration.k8s.io/validatingwebhookconfigurations",
    "istiod-clusterrole-istio-system: patch configmaps by name",
    "istiod-clusterrole-istio-system: patch gateway.networking.k8s.io/gatewayclasses/status",
    "istiod-clusterrole-istio-system: patch gateway.networking.k8s.io/gateways/status",
    "istiod-clusterrole-istio-system: patch gateway.networking.k8s.io/grpcroutes/status",
    "istiod-clusterrole-istio-system: patch gateway.networking.k8s.io/httproutes/status",
    "istiod-clusterrole-istio-system: patch gateway.networking.k8s.io/listenersets/status",
    "istiod-clusterrole-istio-system: patch gateway.networking.k8s.io/tcproutes/status",
    "istiod-clusterrole-istio-system: patch gateway.networking.k8s.io/tlsroutes/status",
    "istiod-clusterrole-istio-system: update certificates.k8s.io/certificatesigningrequests/approval",
    "istiod: create configmaps",
    "istiod: create coordination.k8s.io/leases",
    "istiod: create networking.istio.io/gateways",
    "istiod: create secrets",
    "istiod: get configmaps by name",
    "istiod: get coordination.k8s.io/leases by name",
    "istiod: get secrets by name",
    "istiod: patch configmaps by name",
    "istiod: update configmaps by name",
    "istiod: update coordination.k8s.io/leases by name",
    "istiod: update secrets by name",
];
