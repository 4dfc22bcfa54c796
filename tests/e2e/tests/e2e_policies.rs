// SPDX-License-Identifier: Apache-2.0
//! Who decides whether a request passes: a service that is asked, or a filter that an EnvoyFilter puts in.

use anyhow::{Context, Result};
use http::{HeaderMap, Response};
use std::net::SocketAddr;
use tiphys_harness::answers::Asked;
use tiphys_harness::client::send;
use tiphys_harness::{Answers, Mesh, eventually};

const URL: &str = "http://bookinfo.example:8080/ok?show=service,header.x-auth-user,header.x-forged";

fn provider(fail_open: bool) -> String {
    let mesh = format!(
        "extensionProviders:
    - name: asked
      envoyExtAuthzHttp:
        service: asked.example
        port: 9000
        timeout: 2s
        pathPrefix: /check
        failOpen: {fail_open}
        includeRequestHeadersInCheck: [x-user, x-ask-*]
        includeAdditionalHeadersInCheck:
          x-auth-request-redirect: 'https://%REQ(:authority)%%REQ(:path)%'
        headersToUpstreamOnAllow: [x-auth-user]
        headersToDownstreamOnDeny: [x-why-*, set-cookie]
        headersToDownstreamOnAllow: [x-session]
"
    );
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    {mesh}"
    )
}

fn service_and_policy(address: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: asked, namespace: istio-system}}
spec:
  hosts: [asked.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 9000, name: http, protocol: HTTP}}]
  endpoints: [{{address: {address}}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: asked, namespace: istio-system}}
spec:
  selector: {{matchLabels: {{istio: ingressgateway}}}}
  action: CUSTOM
  provider: {{name: asked}}
  rules: [{{to: [{{operation: {{notPaths: [/free*]}}}}]}}]
"
    )
}

/// Alice passes.
fn decide(asked: &Asked) -> Response<String> {
    let answer = Response::builder().header("x-session", "s1").header("x-auth-user", "from-the-authorizer");
    let answer = match asked.headers.get("x-user").is_some_and(|user| user == "alice") {
        true => answer.header("x-forged", "must not get through").body("passes".to_owned()),
        false => answer
            .status(401)
            .header("x-why-not", "nobody knows you")
            .header("set-cookie", "login=1")
            .header("x-inside", "must not get out")
            .body("log in first".to_owned()),
    };
    answer.unwrap_or_default()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_decides() -> Result<()> {
    let mesh = Mesh::bookinfo(&["istio-ingressgateway", "productpage"]).await?;
    let gateway = mesh.gateway();
    let at = SocketAddr::new(mesh.net().ip(30), 9000);
    let asked = Answers::serve(at, decide).await?;
    let status = async |url: &str| Ok(gateway.get(url).await?.status.as_u16());
    eventually(200, async || status(URL).await).await?;

    // Without its provider the policy lets nothing through that it matches.
    mesh.folder().write("asked.yaml", &service_and_policy(&at.ip().to_string()))?;
    eventually(403, async || status(URL).await).await?;
    let log = mesh.folder().log("tiphys");
    let reported = async || Ok(std::fs::read_to_string(&log)?.contains("spec.provider.name"));
    eventually(true, reported).await?;
    assert_eq!(status("http://bookinfo.example:8080/free").await?, 200);

    mesh.folder().write("mesh.yaml", &provider(false))?;
    eventually(401, async || status(URL).await).await?;
    let refused = send(&gateway.request(URL).header("x-ask-more", "yes").header("cookie", "a=b")).await?;
    assert_eq!((refused.status.as_u16(), refused.body.as_str()), (401, "log in first"));
    assert_eq!(header(&refused.headers, "x-why-not"), Some("nobody knows you"));
    assert_eq!(header(&refused.headers, "set-cookie"), Some("login=1"));
    assert_eq!(header(&refused.headers, "x-inside"), None);
    let seen = asked.last().context("nobody was asked")?;
    assert!(seen.path.starts_with("/check/ok?show="), "{}", seen.path);
    assert_eq!(header(&seen.headers, "x-ask-more"), Some("yes"));
    assert_eq!(header(&seen.headers, "cookie"), None);
    let redirect = "https://bookinfo.example:8080/ok?show=service,header.x-auth-user,header.x-forged";
    assert_eq!(header(&seen.headers, "x-auth-request-redirect"), Some(redirect));

    let alice = gateway.request(URL).header("x-user", "alice");
    let passed = send(&alice).await?;
    assert_eq!((passed.status.as_u16(), passed.body.as_str()), (200, "productpage from-the-authorizer -\n"));
    assert_eq!(header(&passed.headers, "x-session"), Some("s1"));
    assert_eq!(status("http://bookinfo.example:8080/free").await?, 200);

    // Nobody there to ask: refused, unless the provider says otherwise.
    drop(asked);
    assert_eq!(send(&alice).await?.status.as_u16(), 403);
    mesh.folder().write("mesh.yaml", &provider(true))?;
    eventually(200, async || status(URL).await).await?;
    mesh.stop().await;
    Ok(())
}

fn envoy_filter(namespace: &str, app: &str, patches: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: {app}, namespace: {namespace}}}
spec:
  workloadSelector: {{labels: {{app: {app}}}}}
  configPatches:
{patches}"
    )
}

const ROUTER: &str =
    "{name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}";

/// alice, with the password `password`.
fn basic_auth() -> String {
    format!(
        "  - applyTo: HTTP_FILTER
    match: {{context: GATEWAY, listener: {{filterChain: {{filter: {ROUTER}}}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.basic_auth
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuth
          users: {{inline_string: 'alice:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g='}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_filter_asks_for_a_password() -> Result<()> {
    let mesh = Mesh::bookinfo(&["istio-ingressgateway", "productpage"]).await?;
    let gateway = mesh.gateway();
    let alice = gateway.request(URL).header("authorization", "Basic YWxpY2U6cGFzc3dvcmQ=");
    let mallory = gateway.request(URL).header("authorization", "Basic bWFsbG9yeTpndWVzcw==");
    let statuses = async || -> Result<Vec<u16>> {
        let mut all = Vec::new();
        for request in [&alice, &mallory, &gateway.request(URL)] {
            all.push(send(request).await?.status.as_u16());
        }
        Ok(all)
    };
    eventually(vec![200, 200, 200], statuses).await?;
    let good = envoy_filter("istio-system", "istio-ingressgateway", &basic_auth());
    mesh.folder().write("filter.yaml", &good)?;
    eventually(vec![200, 401, 401], statuses).await?;

    // A patch that cannot be used goes by itself: the other one of the object stays.
    let bad = "  - applyTo: HTTP_FILTER\n    patch: {operation: ADD, value: {name: x, typed_config: {'@type': type.googleapis.com/no.Such}}}\n";
    mesh.folder().write("filter.yaml", &format!("{good}{bad}"))?;
    let log = mesh.folder().log("tiphys");
    let field = "spec.configPatches[1].patch.value.typed_config";
    eventually(true, async || Ok(std::fs::read_to_string(&log)?.contains(field))).await?;
    eventually(vec![200, 401, 401], statuses).await?;
    mesh.folder().remove("filter.yaml")?;
    eventually(vec![200, 200, 200], statuses).await?;
    mesh.stop().await;
    Ok(())
}

/// A filter that the sidecar fetches apart, a route and a cluster: each does what it is patched to do.
#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_filter_patches_all_that_a_sidecar_gets() -> Result<()> {
    let mesh = Mesh::bookinfo(&["productpage", "reviews-v1"]).await?;
    let productpage = mesh.sidecar("productpage");
    let seen = async || {
        let answer = productpage.get("http://reviews:9080/?show=header.x-lua,header.x-route").await?;
        Ok((answer.body.trim().to_owned(), header(&answer.headers, "x-host").unwrap_or("-").to_owned()))
    };
    eventually(("- -".to_owned(), "-".to_owned()), seen).await?;
    let inbound = format!(
        "  - applyTo: HTTP_FILTER
    match: {{context: SIDECAR_INBOUND, listener: {{filterChain: {{filter: {ROUTER}}}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: own-lua
        config_discovery:
          config_source: {{ads: {{}}, resource_api_version: V3}}
          type_urls: [type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua]
  - applyTo: EXTENSION_CONFIG
    patch:
      operation: ADD
      value:
        name: own-lua
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          default_source_code:
            inline_string: |
              function envoy_on_request(handle) handle:headers():add('x-lua', 'yes') end
"
    );
    let outbound = "  - applyTo: HTTP_ROUTE
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: 'reviews.bookinfo.svc.cluster.local:9080'}}}
    patch: {operation: MERGE, value: {request_headers_to_add: [{header: {key: x-route, value: patched}}]}}
  - applyTo: VIRTUAL_HOST
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: 'reviews.bookinfo.svc.cluster.local:9080'}}}
    patch: {operation: MERGE, value: {response_headers_to_add: [{header: {key: x-host, value: patched}}]}}
  - applyTo: CLUSTER
    match: {context: SIDECAR_OUTBOUND, cluster: {service: reviews.bookinfo.svc.cluster.local}}
    patch: {operation: MERGE, value: {alt_stat_name: patched-reviews}}
";
    mesh.folder().write("in.yaml", &envoy_filter("bookinfo", "reviews", &inbound))?;
    mesh.folder().write("out.yaml", &envoy_filter("bookinfo", "productpage", outbound))?;
    eventually(("yes patched".to_owned(), "patched".to_owned()), seen).await?;
    let clusters = async || mesh.envoy("productpage", "/config_dump?resource=dynamic_active_clusters").await;
    eventually(true, async || Ok(clusters().await?.contains("patched-reviews"))).await?;

    mesh.folder().remove("in.yaml")?;
    mesh.folder().remove("out.yaml")?;
    eventually(("- -".to_owned(), "-".to_owned()), seen).await?;
    mesh.stop().await;
    Ok(())
}
