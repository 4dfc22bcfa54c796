// SPDX-License-Identifier: Apache-2.0
//! What goes wrong, and what goes on meanwhile.

use anyhow::Result;
use tiphys_harness::{Load, Mesh, eventually};

const VERSION: &str = "http://reviews:9080/?show=version";

#[tokio::test(flavor = "multi_thread")]
async fn traffic_outlives_the_control_plane() -> Result<()> {
    let mut mesh = Mesh::bookinfo(&["productpage", "reviews-v1", "reviews-v3"]).await?;
    let productpage = mesh.sidecar("productpage");
    let load = Load::start(&productpage.request(VERSION), 4, 50);
    let applied = "(cluster_added|cluster_modified|cluster_removed|listener_added|listener_modified|listener_removed|config_reload)$";
    let before = mesh.envoy_stats("productpage", applied).await?;
    assert!(!before.is_empty());

    mesh.kill_control_plane().await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    mesh.start_control_plane().await?;
    eventually(3.0, async || mesh.metric("pilot_xds", &[]).await).await?;

    // What the proxy holds is what it would get: nothing is taken up anew.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(mesh.envoy_stats("productpage", applied).await?, before);

    // The new control plane serves changes as the old one did.
    mesh.folder().edit("reviews.yaml", "exact: jason", "exact: lucy")?;
    let lucy = productpage.request("http://reviews:9080/?show=version").header("end-user", "lucy");
    let no_v2 = async || Ok(tiphys_harness::client::send(&lucy).await?.status.as_u16());
    eventually(503, no_v2).await?;
    load.stop().await.assert_clean(50);
    Ok(())
}

/// Envoy cannot bind an address that the machine does not have.
#[tokio::test(flavor = "multi_thread")]
async fn what_envoy_refuses_is_counted_and_hurts_nothing_else() -> Result<()> {
    let mesh = Mesh::bookinfo(&["istio-ingressgateway", "productpage"]).await?;
    let url = "http://bookinfo.example:8080/?show=service";
    assert_eq!(mesh.gateway().get(url).await?.body, "productpage\n");
    let load = Load::start(&mesh.gateway().request(url), 2, 50);

    mesh.folder().edit(
        "gateway.yaml",
        "  servers:\n",
        "  servers:\n    - port: {number: 8090, name: nowhere, protocol: HTTP}\n      bind: 192.0.2.1\n      hosts: [\"*\"]\n",
    )?;
    eventually(true, async || Ok(mesh.metric("pilot_total_xds_rejects", &["lds"]).await? > 0.0)).await?;

    // A later change of another listener's routes still arrives.
    mesh.folder().edit("gateway.yaml", "hosts: [bookinfo.example]", "hosts: [bookinfo.example, more.example]")?;
    let more = async || Ok(mesh.gateway().get("http://more.example:8080/?show=service").await?.body);
    eventually("productpage\n".to_owned(), more).await?;
    load.stop().await.assert_clean(5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_changes_nothing_until_it_is_mended() -> Result<()> {
    let mesh = Mesh::bookinfo(&["productpage", "reviews"]).await?;
    let jason = mesh.sidecar("productpage").request(VERSION).header("end-user", "jason");
    let lucy = mesh.sidecar("productpage").request(VERSION).header("end-user", "lucy");
    let answer = async |request| Ok(tiphys_harness::client::send(request).await?.body);
    eventually("v2\n".to_owned(), async || answer(&jason).await).await?;

    // Not YAML at all, then YAML with a value of the wrong type: both name the place.
    mesh.folder().edit("reviews.yaml", "hosts: [reviews]", "hosts: [reviews")?;
    let log = mesh.folder().log("tiphys");
    eventually(true, async || Ok(std::fs::read_to_string(&log)?.contains("reviews.yaml:"))).await?;
    mesh.folder().edit("reviews.yaml", "hosts: [reviews", "hosts: [reviews]\n  http: none\n  # ")?;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(answer(&jason).await?, "v2\n");

    mesh.folder().edit("reviews.yaml", "\n  http: none\n  # ", "")?;
    mesh.folder().edit("reviews.yaml", "exact: jason", "exact: lucy")?;
    eventually("v2\n".to_owned(), async || answer(&lucy).await).await?;
    Ok(())
}
