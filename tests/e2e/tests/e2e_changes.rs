// SPDX-License-Identifier: Apache-2.0
//! What a change of configuration may not do to traffic that flows.

use anyhow::{Context, Result};
use tiphys_harness::{Load, Mesh, eventually};

const VERSION: &str = "http://reviews:9080/?show=version";

#[tokio::test(flavor = "multi_thread")]
async fn changes_under_load_fail_no_request() -> Result<()> {
    let mesh = Mesh::bookinfo(&["istio-ingressgateway", "productpage", "reviews"]).await?;
    let productpage = mesh.sidecar("productpage");
    let inside = Load::start(&productpage.request(VERSION), 4, 50);
    let outside = Load::start(&mesh.gateway().request("http://bookinfo.example:8080/?show=service"), 4, 50);

    for round in 0..10 {
        // Routes, clusters, endpoints' policies and listeners in turn, each until it is there.
        let (from, to) = if round % 2 == 0 { ("jason", "lucy") } else { ("lucy", "jason") };
        mesh.folder().edit("reviews.yaml", from, to)?;
        let as_user = productpage.request(VERSION).header("end-user", to);
        eventually("v2\n".to_owned(), async || Ok(tiphys_harness::client::send(&as_user).await?.body)).await?;

        let (from, to) = (
            "  host: reviews\n  subsets:",
            "  host: reviews\n  trafficPolicy: {loadBalancer: {simple: RANDOM}}\n  subsets:",
        );
        let (from, to) = if round % 2 == 0 { (from, to) } else { (to, from) };
        mesh.folder().edit("reviews.yaml", from, to)?;
        let (from, to) = ("prefix: /details", "prefix: /detail");
        let (from, to) = if round % 2 == 0 { (from, to) } else { (to, from) };
        mesh.folder().edit("gateway.yaml", from, to)?;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }

    inside.stop().await.assert_clean(100);
    outside.stop().await.assert_clean(100);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_come_and_go_without_a_failed_request() -> Result<()> {
    let mesh = Mesh::bookinfo(&["productpage", "reviews"]).await?;
    mesh.folder().remove("reviews.yaml")?;
    let productpage = mesh.sidecar("productpage");
    let versions = async || -> Result<Vec<String>> {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..30 {
            seen.insert(productpage.get(VERSION).await?.body.trim().to_owned());
        }
        Ok(seen.into_iter().collect())
    };
    let all = ["v1", "v2", "v3"].map(str::to_owned).to_vec();
    eventually(all.clone(), versions).await?;

    let load = Load::start(&productpage.request(VERSION), 4, 50);
    for _ in 0..5 {
        // v2 leaves the service: its label says another application.
        mesh.folder().edit("workloads.yaml", "app: reviews\n    version: v2", "app: away\n    version: v2")?;
        eventually(["v1", "v3"].map(str::to_owned).to_vec(), versions).await?;
        mesh.folder().edit("workloads.yaml", "app: away\n    version: v2", "app: reviews\n    version: v2")?;
        eventually(all.clone(), versions).await?;
    }
    load.stop().await.assert_clean(50);
    Ok(())
}

/// The route names a subset that the same write brings: clusters must be there before routes lead to them.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_and_its_subset_written_together_give_no_503() -> Result<()> {
    let mesh = Mesh::bookinfo(&["productpage", "reviews-v1"]).await?;
    let productpage = mesh.sidecar("productpage");
    let mut load = None;
    for round in 0..50 {
        let route = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: reviews, namespace: bookinfo}}\nspec:\n  hosts: \
             [reviews]\n  http:\n    - headers: {{response: {{set: {{x-round: \"{round}\"}}}}}}\n      route:\n        - destination: {{host: \
             reviews, subset: round-{round}}}\n"
        );
        let rule = format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: reviews, namespace: bookinfo}}\nspec:\n  host: \
             reviews\n  subsets:\n    - name: round-{round}\n      labels: {{version: v1}}\n"
        );
        // Both orders within the file: the order of writing must not matter.
        let text = if round % 2 == 0 { format!("{route}---\n{rule}") } else { format!("{rule}---\n{route}") };
        mesh.folder().write("reviews.yaml", &text)?;
        let seen = async || {
            Ok(productpage.get(VERSION).await?.headers.get("x-round").and_then(|v| v.to_str().ok()?.parse().ok()))
        };
        eventually(Some(round), seen).await?;
        // From the first round on, all traffic goes to v1, which is the one that runs.
        load.get_or_insert_with(|| Load::start(&productpage.request(VERSION), 4, 50));
    }
    load.context("no round")?.stop().await.assert_clean(50);
    Ok(())
}
