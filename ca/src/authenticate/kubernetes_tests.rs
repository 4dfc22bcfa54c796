// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::authenticate::jwt::tests::{Signer, claims};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const DOMAIN: &str = "cluster.local";

/// An API server that accepts the token `opaque` and everything that begins as a JWT does.
struct Server {
    asked: AtomicUsize,
    answer: Mutex<Result<ReviewedToken, ReviewError>>,
}

#[tonic::async_trait]
impl TokenReviewer for Server {
    async fn review(&self, _: &str, audiences: &[String]) -> Result<ReviewedToken, ReviewError> {
        assert_eq!(audiences, ["istio-ca"]);
        self.asked.fetch_add(1, SeqCst);
        self.answer.lock().unwrap().clone()
    }
}

struct Pods(&'static str);

impl LivePods for Pods {
    fn lives(&self, namespace: &str, pod: &PodReference) -> bool {
        namespace == "default" && pod.uid == self.0
    }
}

fn good() -> ReviewedToken {
    ReviewedToken {
        username: "system:serviceaccount:default:reviews".into(),
        groups: vec!["system:serviceaccounts".into(), "system:authenticated".into()],
        extra: BTreeMap::from([
            (POD_NAME.to_string(), vec!["reviews-1".to_string()]),
            (POD_UID.to_string(), vec!["u-1".to_string()]),
        ]),
        audiences: vec!["istio-ca".into()],
    }
}

fn server(answer: Result<ReviewedToken, ReviewError>) -> Arc<Server> {
    Arc::new(Server { asked: AtomicUsize::new(0), answer: Mutex::new(answer) })
}

fn authenticator(server: &Arc<Server>, pods: Option<Arc<dyn LivePods>>) -> KubernetesTokenAuthenticator {
    KubernetesTokenAuthenticator::new(KubernetesTokenOptions {
        audiences: vec!["istio-ca".into()],
        trust_domain: DOMAIN.into(),
        reviewer: server.clone(),
        pods,
    })
    .unwrap()
}

#[tokio::test]
async fn a_review_makes_a_caller_and_is_remembered() {
    let server = server(Ok(good()));
    let check = authenticator(&server, None);
    for _ in 0..3 {
        let caller = check.verdict("opaque").await.unwrap();
        assert_eq!(caller.identities[0].to_string(), "spiffe://cluster.local/ns/default/sa/reviews");
        assert_eq!(caller.pod, Some(PodReference { name: "reviews-1".into(), uid: "u-1".into() }));
    }
    assert_eq!(server.asked.load(SeqCst), 1);
    check.verdict("another").await.unwrap();
    assert_eq!(server.asked.load(SeqCst), 2);
}

#[tokio::test]
async fn reviews_that_are_refused() {
    let refused = |change: &dyn Fn(&mut ReviewedToken)| {
        let mut reviewed = good();
        change(&mut reviewed);
        let check = authenticator(&server(Ok(reviewed)), None);
        async move { check.verdict("t").await.unwrap_err() }
    };
    // An API server that knows nothing of audiences names none.
    assert!(refused(&|r| r.audiences.clear()).await.contains("not for"));
    assert!(refused(&|r| r.audiences = vec!["vault".into()]).await.contains("not for"));
    assert!(refused(&|r| r.groups = vec!["system:masters".into()]).await.contains("no service account"));
    assert!(refused(&|r| r.username = "admin".into()).await.contains("no service account"));
    assert!(refused(&|r| r.username = "system:serviceaccount:a:b:c".into()).await.contains("no service account"));
    assert!(refused(&|r| r.username = "system:serviceaccount:a/b:c".into()).await.contains("namespace may have"));
    let server = server(Err(ReviewError::Refused("invalid bearer token".into())));
    let check = authenticator(&server, None);
    assert_eq!(check.verdict("t").await.unwrap_err(), "invalid bearer token");
    assert_eq!(check.verdict("t").await.unwrap_err(), "invalid bearer token");
    assert_eq!(server.asked.load(SeqCst), 1);
}

#[tokio::test]
async fn the_keys_refuse_without_asking_and_accept_for_live_pods() {
    let signer = Signer::new("k1");
    let server = server(Ok(good()));
    let check = authenticator(&server, Some(Arc::new(Pods("u-1"))));
    check.set_keys(KeySet::from_jwks(&signer.jwks()).unwrap(), "https://kubernetes.default.svc".into()).unwrap();
    assert_eq!(check.verdict(&signer.sign(&claims(|_| {}))).await.unwrap().pod.unwrap().name, "reviews-1");
    check.verdict(&signer.sign(&claims(|c| c["aud"] = json!(["vault"])))).await.unwrap_err();
    check.verdict(&signer.sign(&claims(|c| c["exp"] = json!(1)))).await.unwrap_err();
    check.verdict(&Signer::new("k1").sign(&claims(|_| {}))).await.unwrap_err();
    assert_eq!(server.asked.load(SeqCst), 0);
    // A pod that is gone or unknown, a token without a pod, another issuer, another key: the API server says.
    check.verdict(&signer.sign(&claims(|c| c["kubernetes.io"]["pod"]["uid"] = json!("u-2")))).await.unwrap();
    check.verdict(&signer.sign(&claims(|c| drop(c.as_object_mut().unwrap().remove("kubernetes.io"))))).await.unwrap();
    check.verdict(&signer.sign(&claims(|c| c["iss"] = json!("https://former")))).await.unwrap();
    check.verdict(&Signer::new("k2").sign(&claims(|_| {}))).await.unwrap();
    assert_eq!(server.asked.load(SeqCst), 4);
    tokio::time::timeout(Duration::from_secs(20), check.keys_wanted()).await.unwrap();
}

#[tokio::test]
async fn while_the_api_server_is_gone_the_keys_decide() {
    let signer = Signer::new("k1");
    let server = server(Err(ReviewError::Unavailable("connection refused".into())));
    let check = authenticator(&server, None);
    let token = signer.sign(&claims(|_| {}));
    assert!(check.verdict(&token).await.unwrap_err().contains("connection refused"));
    check.set_keys(KeySet::from_jwks(&signer.jwks()).unwrap(), "https://kubernetes.default.svc".into()).unwrap();
    check.verdict(&token).await.unwrap();
    // Nothing of that is remembered: when the server is back, it decides.
    *server.answer.lock().unwrap() = Err(ReviewError::Refused("called back".into()));
    assert_eq!(check.verdict(&token).await.unwrap_err(), "called back");
}

#[tokio::test]
async fn no_bearer_is_no_error() {
    let check = authenticator(&server(Ok(good())), None);
    assert_eq!(check.authenticate(&Credentials::default()).await.unwrap(), None);
}
