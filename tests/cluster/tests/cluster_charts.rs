// SPDX-License-Identifier: Apache-2.0
//! The charts on a real API server: it takes all that they render, and installing, applying again, upgrading, going back and removing change what
//! they should and nothing else. The control plane need not run for it: the test writes in its place what it writes.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use tiphys_cluster_tests::cluster::checkout;
use tiphys_cluster_tests::{Cluster, command, mesh};

/// What the control plane calls itself where it writes into webhook configurations.
const MANAGER: &str = "--field-manager=tiphys-webhooks";

/// A revision of the control plane, in a namespace and under names of its own.
struct Revision<'a> {
    cluster: &'a Cluster,
    name: &'a str,
    chart: String,
}

impl Revision<'_> {
    /// Arguments of helm after the command.
    fn arguments<'b>(&'b self, values: &[&'b str]) -> Vec<String> {
        let own = format!("revision={0},global.istioNamespace={0}", self.name);
        let mut arguments = vec![self.name, &self.chart, "--namespace", self.name, "--set", &own];
        arguments.extend(values.iter().flat_map(|value| ["--set", value]));
        arguments.into_iter().map(str::to_owned).collect()
    }

    fn helm(&self, verb: &str, values: &[&str]) -> Result<String> {
        let arguments = self.arguments(values);
        let arguments: Vec<&str> = std::iter::once(verb).chain(arguments.iter().map(String::as_str)).collect();
        self.cluster.helm(&arguments)
    }

    fn validator(&self) -> String {
        format!("istio-validator-{0}-{0}", self.name)
    }

    fn failure_policy(&self) -> Result<Value> {
        let validator = self.cluster.json(&["get", "validatingwebhookconfiguration", &self.validator()])?;
        Ok(validator["webhooks"][0]["failurePolicy"].clone())
    }

    /// What the control plane writes once its webhooks answer.
    fn write_as_control_plane(&self) -> Result<()> {
        let bundle = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t";
        let injector = format!("istio-sidecar-injector-{0}-{0}", self.name);
        for (kind, name, webhook) in [
            ("Validating", &self.validator(), json!({"name": "rev.validation.istio.io", "failurePolicy": "Fail"})),
            ("Mutating", &injector, json!({"name": "rev.object.sidecar-injector.istio.io"})),
        ] {
            let mut webhook = webhook;
            webhook["clientConfig"] = json!({"caBundle": bundle});
            let configuration = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}WebhookConfiguration"),
                "metadata": {"name": name}, "webhooks": [webhook],
            });
            let arguments = ["apply", "--server-side", "--force-conflicts", MANAGER, "--filename=-"];
            command::feed(&mut self.cluster.kubectl_command(&arguments), &configuration.to_string())?;
        }
        Ok(())
    }

    fn versions(&self) -> Result<BTreeMap<String, String>> {
        mesh::versions(self.cluster, &format!("app.kubernetes.io/instance={}", self.name))
    }
}

#[test]
fn what_the_control_plane_writes_is_no_difference_to_the_chart() -> Result<()> {
    let test = "what_the_control_plane_writes_is_no_difference_to_the_chart";
    let Some(cluster) = Cluster::of_test(test)? else { return Ok(()) };
    let name = "charts-life";
    let _namespace = cluster.namespace(name, &[])?;
    let chart = checkout().join("charts/istiod").to_string_lossy().into_owned();
    let revision = Revision { cluster: &cluster, name, chart };
    revision.helm("install", &[])?;
    ensure!(revision.failure_policy()? == "Ignore", "objects go through until the control plane answers");
    revision.write_as_control_plane()?;

    // As a GitOps controller compares: what it would apply changes nothing, whoever it is.
    let rendered = revision.helm("template", &[])?;
    for manager in ["--field-manager=argocd-controller", "--field-manager=kustomize-controller"] {
        let compare = ["diff", "--server-side", "--force-conflicts", manager, "--filename=-"];
        let difference = command::feed(&mut cluster.kubectl_command(&compare), &rendered);
        difference.context("there is a difference between the chart and the cluster")?;
    }

    // Applied again, nothing changes; what is changed is what was asked for; going back is going back.
    let before = revision.versions()?;
    ensure!(before.len() >= 15, "{before:?}");
    revision.helm("upgrade", &[])?;
    ensure!(revision.versions()? == before, "{:?} was {before:?}", revision.versions()?);
    revision.helm("upgrade", &["autoscaleMin=2"])?;
    let budget = format!("PodDisruptionBudget/istiod-{name}");
    ensure!(revision.versions()?.contains_key(&budget), "{:?}", revision.versions()?);
    cluster.helm(&["rollback", name, "--namespace", name])?;
    ensure!(!revision.versions()?.contains_key(&budget), "{:?}", revision.versions()?);
    ensure!(revision.failure_policy()? == "Fail");

    cluster.helm(&["uninstall", name, "--namespace", name])?;
    ensure!(revision.versions()?.is_empty(), "left behind: {:?}", revision.versions()?);
    Ok(())
}

#[test]
fn the_api_server_takes_every_value_set() -> Result<()> {
    let Some(cluster) = Cluster::of_test("the_api_server_takes_every_value_set")? else { return Ok(()) };
    let namespace = "charts-sets";
    let _namespace = cluster.namespace(namespace, &[])?;
    let _other = cluster.namespace("mesh", &[])?;
    for file in fs::read_dir(checkout().join("tests/charts/values"))? {
        let file = file?.path();
        let values = file.to_string_lossy();
        let name = file.file_stem().context("name")?.to_string_lossy().into_owned();
        let (chart, _) = name.split_once('-').context("CHART-NAME.yaml")?;
        let chart = checkout().join("charts").join(chart);
        let chart = chart.to_string_lossy();
        // The cluster has one family of addresses.
        let own = ["--set", "global.istioNamespace=charts-sets", "--set", "pilot.ipFamilies=null"];
        let own = match name.split_once('-') {
            Some(("istiod", _)) => &own[..],
            Some(("base", _)) => &own[..2],
            _ => &[],
        };
        let arguments = [&["template", "sets", &chart, "--namespace", namespace, "--values", &values], own].concat();
        let rendered = cluster.helm(&arguments).with_context(|| name.clone())?;
        let apply =
            ["apply", "--server-side", "--dry-run=server", "--force-conflicts", "--field-manager=test", "--filename=-"];
        command::feed(&mut cluster.kubectl_command(&apply), &rendered).with_context(|| name.clone())?;
    }
    Ok(())
}
