// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::kubernetes::mock::ApiServer;
use serde_json::{Value, json};
use tiphys_ca::AuthorityOptions;

const PATH: &str = "/api/v1/namespaces/istio-system/secrets/istio-ca-secret";

fn options() -> RootSecretOptions {
    RootSecretOptions {
        namespace: "istio-system".into(),
        root: RootOptions::new("cluster.local"),
        in_cacerts: false,
        grace: 20,
        interval: Duration::from_secs(3_600),
        jitter: false,
    }
}

fn keys(object: &Value) -> Vec<&str> {
    object["data"].as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn replicas_that_start_at_once_have_one_root_in_istiods_form() {
    let server = ApiServer::default();
    let opened = (0..5).map(|_| RootSecret::open(server.client(), options()));
    let mut roots = Vec::new();
    for replica in opened.map(tokio::spawn).collect::<Vec<_>>() {
        let (_, bundle) = replica.await.unwrap().unwrap();
        roots.push(bundle.trust().pem().to_owned());
    }
    roots.dedup();
    assert_eq!(roots.len(), 1);
    let object = server.object(PATH).unwrap();
    assert_eq!(object["type"], "istio.io/ca-root");
    assert_eq!(keys(&object), ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "key.pem", "root-cert.pem"]);
    assert_eq!(object["data"]["cert-chain.pem"], "");
    // A restart takes what is there.
    let (_, bundle) = RootSecret::open(server.client(), options()).await.unwrap();
    assert_eq!(bundle.trust().pem(), roots[0]);
}

#[tokio::test]
async fn a_root_is_renewed_in_time_and_both_are_trusted() {
    let server = ApiServer::default();
    let short = RootOptions { ttl: Duration::from_secs(600), ..RootOptions::new("cluster.local") };
    let (secret, first) =
        RootSecret::open(server.client(), RootSecretOptions { root: short, ..options() }).await.unwrap();
    assert!(!secret.renew_if_due().await.unwrap());
    // With all of its life as grace it is due at once.
    let secret = RootSecret { options: RootSecretOptions { grace: 100, ..options() }, ..secret };
    assert!(secret.renew_if_due().await.unwrap());
    let object: Secret = serde_json::from_value(server.object(PATH).unwrap()).unwrap();
    let second = bundle(&object, "s").unwrap();
    assert_eq!(second.trust().certificates().len(), 2);
    assert_eq!(second.trust().certificates()[1], first.trust().certificates()[0]);
    let authority = Authority::new(first, AuthorityOptions::default()).unwrap();
    assert!(authority.adopt(second).unwrap());
    assert_eq!(authority.trust().certificates().len(), 2);
}

#[tokio::test]
async fn cacerts_may_hold_it_and_what_is_broken_is_named() {
    let server = ApiServer::default();
    let (_, bundle) =
        RootSecret::open(server.client(), RootSecretOptions { in_cacerts: true, ..options() }).await.unwrap();
    let object = server.object("/api/v1/namespaces/istio-system/secrets/cacerts").unwrap();
    assert!(keys(&object).contains(&"istio-generated"));
    assert_eq!(bundle.trust().certificates().len(), 1);
    let broken = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "istio-ca-secret"}, "data": {}});
    server.put(PATH, broken);
    let error = format!("{:#}", RootSecret::open(server.client(), options()).await.err().unwrap());
    assert!(error.contains("istio-system/istio-ca-secret") && error.contains("ca-cert.pem"), "{error}");
}
