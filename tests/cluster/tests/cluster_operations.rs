// SPDX-License-Identifier: Apache-2.0
//! Every command of docs/operations.md, in its order. A file of its own: it changes the mesh's root, and takes the mesh away in the end.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tiphys_cluster_tests::{Afterwards, Cluster, Mesh, Page, gateway_api, manifests};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_command_of_operations_works() -> Result<()> {
    let Some(cluster) = Cluster::of_test("every_command_of_operations_works")? else { return Ok(()) };
    gateway_api::install(&cluster)?;
    let mesh = Mesh::shared(&cluster)?;
    // Another root is of no use to other tests.
    let _remove = Afterwards::new(&cluster, Mesh::remove);
    let namespace = cluster.namespace("operations", &[("istio-injection", "enabled")])?;
    for app in ["server", "client"] {
        namespace.apply(&manifests::echo(app, 1))?;
    }
    for app in ["server", "client"] {
        namespace.rollout(app).with_context(|| mesh.account())?;
    }
    let works = |when: &str| {
        cluster.eventually(when, PATIENCE, || {
            let answer = namespace.pod("client")?.get("http://server/", &[])?;
            ensure!(answer.status == 200 && answer.body.contains("x-forwarded-client-cert"), "{answer:?}");
            Ok(())
        })
    };
    works("mutual TLS before")?;

    let mut page = Page::read(&cluster, "docs/operations.md")?;
    let metrics = page.run("What to watch")?;
    ensure!(metrics.contains("tiphys_kube_away_seconds 0"), "{metrics}");
    page.run("What to watch")?;
    let pages = page.run("What to watch")?;
    ensure!(pages.contains("syncz") && pages.contains("cluster_acked"), "{pages}");
    let locks = page.run("Scaling")?;
    ensure!(
        locks.contains("tiphys-webhooks-default") && locks.contains("istio-namespace-controller-election"),
        "{locks}"
    );
    page.run("Upgrading")?;
    page.skip("Removing a revision", "there is one only; cluster_revisions runs it")?;
    page.run("Roots")?;
    page.run("Roots")?;
    works("mutual TLS with both roots")?;
    // This stands for the day that the page waits: everybody has a new certificate, and both roots with it.
    for app in ["server", "client"] {
        namespace.restart(app)?;
    }
    page.run("Roots")?;
    let root = || cluster.kubectl(&["--namespace=default", "get", "configmap", "istio-ca-root-cert", "--output=yaml"]);
    cluster.eventually("both roots are everywhere", PATIENCE, || {
        let count = root()?.matches("BEGIN CERTIFICATE").count();
        ensure!(count == 2, "{count} roots");
        Ok(())
    })?;
    ensure!(page.run("Roots")?.trim() == "2");
    namespace.restart("server")?;
    works("mutual TLS between a pod from before and one from after")?;
    let managers = page.run("When something is gone")?;
    ensure!(managers.contains("tiphys-webhooks"), "{managers}");
    page.run("Statuses")?;
    page.finish()
}
