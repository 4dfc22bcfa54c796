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
