// SPDX-License-Identifier: Apache-2.0
//! Who may pass the ingress gateway: by a service of the mesh that is asked, by tokens, and by passwords.

use super::{PATIENCE, User};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tiphys_cluster_tests::pod::Answer;
use tiphys_cluster_tests::{Mesh, Namespace, manifests};
use tiphys_harness::credentials::TokenIssuer;

/// The host of the chart's VirtualService.
const HOST: &str = "http://app.example.com";

/// As a platform team has it in the values of istiod's chart.
const PROVIDERS: &str = r#"meshConfig.extensionProviders=[{"name": "sessions", "envoyExtAuthzHttp": {
    "service": "sessions.edge-applications.svc.cluster.local", "port": 9000, "pathPrefix": "/check", "timeout": "5s",
    "includeRequestHeadersInCheck": ["cookie"],
    "includeAdditionalHeadersInCheck": {"X-Auth-Request-Redirect": "https://%REQ(:authority)%%REQ(:path)%"},
    "headersToUpstreamOnAllow": ["x-auth-request-user"],
    "headersToDownstreamOnDeny": ["set-cookie"]}}]"#;

/// The service that is asked, a sidecar beside it, and a server of files for keys of tokens.
fn services() -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: sessions, labels: {{app: sessions}}}}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - {{name: sessions, image: {image}, args: [decide, '--http=[::]:9000']}}
  - name: keys
    image: {image}
    command: [busybox, httpd, -f, -p, '8000', -h, /keys]
    volumeMounts: [{{name: keys, mountPath: /keys}}]
  volumes: [{{name: keys, configMap: {{name: keys}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: sessions}}
spec:
  selector: {{app: sessions}}
  ports: [{{name: http, port: 9000}}, {{name: http-keys, port: 8000}}]
",
        image = manifests::ECHO_IMAGE
    )
}

const ASKED: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: sessions}
spec:
  selector: {matchLabels: {istio: edge-ingress}}
  action: CUSTOM
  provider: {name: sessions}
  rules: [{to: [{operation: {hosts: [app.example.com], paths: [/asked*]}}]}]
";

/// Below /token nobody passes who has no token.
fn tokens(inline: &TokenIssuer) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens}}
spec:
  selector: {{matchLabels: {{istio: edge-ingress}}}}
  jwtRules:
  - {{issuer: inline, jwks: '{}'}}
  - {{issuer: fetched, jwksUri: 'http://sessions.edge-applications.svc.cluster.local:8000/jwks.json'}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: tokens}}
spec:
  selector: {{matchLabels: {{istio: edge-ingress}}}}
  action: DENY
  rules:
  - from: [{{source: {{notRequestPrincipals: ['*']}}}}]
    to: [{{operation: {{paths: [/token*]}}}}]
",
        inline.jwks()
    )
}

/// alice, with the password `password`, and nobody else.
const PASSWORDS: &str = "apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: passwords}
spec:
  workloadSelector: {labels: {istio: edge-ingress}}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: GATEWAY
      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.basic_auth
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuth
          users: {inline_string: 'alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g='}
";

impl User {
    /// A request over HTTP with further headers. The answer has the response's headers behind its body.
    fn with(&self, path: &str, headers: &[&str]) -> Result<Answer> {
        let resolve = format!("app.example.com:80:{}", self.address);
        let mut arguments = vec!["--resolve", &resolve, "--dump-header", "/dev/stderr"];
        headers.iter().for_each(|header| arguments.extend(["--header", header]));
        self.pod.get(&format!("{HOST}{path}"), &arguments)
    }

    fn until(&self, what: &str, status: u16, path: &str, headers: &[&str]) -> Result<Answer> {
        self.pod.cluster().eventually(what, PATIENCE, || {
            let answer = self.with(path, headers)?;
            ensure!(answer.status == status, "{path}: {answer:?}");
            Ok(answer)
        })
    }
}

/// The headers that reached the application.
fn told(answer: &Answer) -> Result<Value> {
    let body = answer.body.split("\nHTTP/").next().unwrap_or_default();
    let body: Value = serde_json::from_str(body).with_context(|| format!("{answer:?}"))?;
    Ok(body["headers"].clone())
}

/// All of it, one after the other; `applications` are behind `edge`'s gateway, and STRICT.
pub fn checked(mesh: &Mesh, edge: &Namespace, applications: &Namespace, user: &User) -> Result<()> {
    let [inline, fetched] = [TokenIssuer::new("inline")?, TokenIssuer::new("fetched")?];
    let keys = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keys"},
        "data": {"jwks.json": fetched.jwks().to_string()}});
    applications.apply(&keys.to_string())?;
    applications.apply(&services())?;
    // A policy whose provider nobody has described yet lets nobody through.
    edge.apply(ASKED)?;
    user.until("a provider that is missing", 403, "/asked", &["cookie: session=alice"])?;
    mesh.install(&["--set-json", PROVIDERS])?;
    asked(user)?;
    edge.apply(&tokens(&inline)).and_then(|()| with_tokens(user, &inline, &fetched))?;
    edge.apply(PASSWORDS)?;
    user.until("no password", 401, "/", &[])?;
    user.until("a wrong password", 401, "/", &["Authorization: Basic bWFsbG9yeTpndWVzcw=="])?;
    user.until("the right password", 200, "/", &["Authorization: Basic YWxpY2U6cGFzc3dvcmQ="]).map(drop)
}

/// The service that is asked says itself, by status 400, when it is not told what it is to be told.
fn asked(user: &User) -> Result<()> {
    let secret = "X-Secret: for the application alone";
    let passed = user.until("a session", 200, "/asked?a=b", &["cookie: session=alice", secret])?;
    let headers = told(&passed)?;
    ensure!(headers["x-auth-request-user"] == "alice" && headers["x-secret"].is_string(), "{headers}");
    ensure!(headers["x-inside"].is_null() && !passed.body.contains("x-inside"), "{passed:?}");
    // Who brings a name along does not keep it.
    let forged = told(&user.with("/asked", &["cookie: session=alice", "X-Auth-Request-User: admin"])?)?;
    ensure!(forged["x-auth-request-user"] == "alice", "{forged}");

    let refused = user.with("/asked/again?a=b", &["X-Auth-Request-Redirect: https://evil.example.com/", secret])?;
    ensure!(refused.status == 302, "{refused:?}");
    let headers = refused.body.to_ascii_lowercase();
    let back = "location: https://login.example.com/?rd=https://app.example.com/asked/again?a=b";
    ensure!(headers.contains(back) && headers.contains("set-cookie: csrf=1"), "{refused:?}");
    ensure!(!headers.contains("x-inside"), "{refused:?}");
    user.until("what no policy selects", 200, "/", &[]).map(drop)
}

fn with_tokens(user: &User, inline: &TokenIssuer, fetched: &TokenIssuer) -> Result<()> {
    user.until("no token", 403, "/token", &[])?;
    for issuer in [inline, fetched] {
        let bearer = format!("Authorization: Bearer {}", issuer.token("alice")?);
        user.until("a token", 200, "/token", &[&bearer])?;
    }
    let forged = format!("Authorization: Bearer {}", TokenIssuer::new("fetched")?.token("alice")?);
    for token in [&forged, "Authorization: Bearer nonsense"] {
        user.until("a token of nobody", 401, "/token", &[token])?;
    }
    Ok(())
}
