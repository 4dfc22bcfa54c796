// SPDX-License-Identifier: Apache-2.0
//! Before STRICT: `tiphysctl preflight` names who would be refused, and so does the API server when it is applied; the commands of
//! docs/strict.md.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};
use tiphys_cluster_tests::{Cluster, Mesh, Page, manifests};

/// How long a change may take to be seen, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(30);

const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";

/// Exit code and report.
fn preflight(cluster: &Cluster, arguments: &[&str]) -> Result<(i32, Value)> {
    let mut command = Command::new("tiphysctl");
    command.args(["preflight", "strict", "--output=json"]).args(arguments);
    let output = cluster.environment(&mut command)?.output();
    let output = output.context("tiphysctl is built by `cargo build --workspace --bins`")?;
    let code = output.status.code().unwrap_or(-1);
    ensure!(code < 2, "{}", String::from_utf8_lossy(&output.stderr));
    Ok((code, serde_json::from_slice(&output.stdout)?))
}

/// What kubectl warns of.
fn warnings(cluster: &Cluster, file: &std::path::Path) -> Result<String> {
    let file = file.to_str().context("a temporary file has a name")?;
    let output = cluster.kubectl_command(&["apply", "--dry-run=server", "--filename", file]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

#[test]
fn a_client_without_a_sidecar_is_named_before_strict_and_gone_once_it_is_mended() -> Result<()> {
    let name = "a_client_without_a_sidecar_is_named_before_strict_and_gone_once_it_is_mended";
    let Some(cluster) = Cluster::of_test(name)? else { return Ok(()) };
    let mesh = Mesh::shared(&cluster)?;
    let namespace = cluster.namespace("shop", &[])?;
    for app in ["server", "client"] {
        namespace.apply(&manifests::echo(app, 1))?;
    }
    namespace.rollout("client")?;
    // Only the server gets a sidecar.
    namespace.kubectl(&["label", "namespace", "shop", "istio-injection=enabled"])?;
    namespace.rollout("server")?;
    namespace.restart("server").map_err(|error| error.context(mesh.account()))?;
    let client = namespace.pod("client")?;
    cluster.eventually("plaintext is taken", PATIENCE, || {
        let answer = client.get("http://server.shop/", &[])?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    })?;
    // A connection that stays, so that it is seen whose it is.
    client.exec(&["sh", "-c", "{ (echo hello; sleep 60) | nc server.shop 9000; } >/dev/null 2>&1 </dev/null &"])?;

    let started = Instant::now();
    let (code, report) = cluster.eventually("the client is named", PATIENCE, || {
        let (code, report) = preflight(&cluster, &["-n", "shop"])?;
        let first = &report["findings"][0];
        ensure!(
            first["reason"] == "plaintext-taken" && first["server"]["ports"].as_array().map(Vec::len) == Some(2),
            "{report:#}"
        );
        ensure!(first["client"]["workloads"][0] == "client", "{report:#}");
        Ok((code, report))
    })?;
    println!("preflight of one namespace: {:.1} s until the client is named", started.elapsed().as_secs_f64());
    ensure!(code == 1 && report["strict"] == 1, "{report:#}");
    let text = report["findings"].to_string();
    ensure!(text.contains("kubectl -n shop rollout restart deployment/client"), "{report:#}");
    ensure!(report["statistics"]["reporting"] == 1 && report["statistics"]["silent"] == 0, "{report:#}");

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("strict.yaml");
    std::fs::write(&file, STRICT)?;
    let (code, by_file) = preflight(&cluster, &["--filename", file.to_str().context("a name")?])?;
    ensure!(code == 1 && by_file["asked"].to_string().contains("shop/default"), "{by_file:#}");
    let said = warnings(&cluster, &file)?;
    println!("{said}");
    ensure!(said.contains("Warning: STRICT refuses shop/client"), "{said}");
    ensure!(said.contains("tiphysctl preflight strict -n shop"), "{said}");

    // What the report says is what mends it.
    for app in ["client", "server"] {
        namespace.restart(app).map_err(|error| error.context(mesh.account()))?;
    }
    cluster.eventually("nothing would break", PATIENCE, || {
        let (code, report) = preflight(&cluster, &["-n", "shop"])?;
        ensure!(code == 0, "{report:#}");
        Ok(())
    })?;
    ensure!(!warnings(&cluster, &file)?.contains("STRICT refuses"), "{}", warnings(&cluster, &file)?);
    let mut page = Page::read(&cluster, "docs/strict.md")?;
    page.run("1. Preflight: who would be refused")?;
    page.run("2. Exceptions")?;
    page.run("3. Apply")?;
    let client = namespace.pod("client")?;
    cluster.eventually("the client is served in STRICT", PATIENCE, || {
        let answer = client.get("http://server.shop/", &[])?;
        ensure!(answer.status == 200, "{answer:?}");
        let (code, report) = preflight(&cluster, &["-n", "shop"])?;
        ensure!(code == 0 && report["already"] == 2, "{report:#}");
        Ok(())
    })?;
    let verified = page.run("4. Verify")?;
    ensure!(verified.contains("0 workloads would become STRICT, 2 are already"), "{verified}");
    page.finish()
}
