// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::kubernetes::mock::ApiServer;
use serde_json::json;

#[tokio::test]
async fn reviews_by_the_api_server() {
    let server = ApiServer::default();
    server.review("/apis/authentication.k8s.io/v1/tokenreviews", |review| {
        let spec = &review["spec"];
        match spec["token"].as_str() {
            Some("good") => json!({
                "authenticated": true,
                "audiences": spec["audiences"],
                "user": {
                    "username": "system:serviceaccount:a:b",
                    "groups": ["system:serviceaccounts"],
                    "extra": {"authentication.kubernetes.io/pod-name": ["p"]},
                },
            }),
            Some("bad") => json!({"authenticated": false, "error": "invalid bearer token"}),
            _ => json!({"authenticated": false}),
        }
    });
    let reviewer = ApiReviewer::new(server.client());
    let audiences = ["istio-ca".to_owned()];
    let reviewed = reviewer.review("good", &audiences).await.unwrap();
    assert_eq!((reviewed.username.as_str(), &reviewed.audiences[..]), ("system:serviceaccount:a:b", &audiences[..]));
    assert_eq!(reviewed.extra["authentication.kubernetes.io/pod-name"], ["p"]);
    let refused = ReviewError::Refused("invalid bearer token".into());
    assert_eq!(reviewer.review("bad", &audiences).await, Err(refused));
    assert!(matches!(reviewer.review("", &audiences).await, Err(ReviewError::Refused(_))));
}

#[tokio::test]
async fn keys_of_the_api_server() {
    let server = ApiServer::default();
    assert!(keys(&server.client()).await.is_err());
    server.text(DISCOVERY, r#"{"issuer": "https://kubernetes.default.svc", "jwks_uri": "https://elsewhere"}"#);
    server.text(
        KEYS,
        r#"{"keys":[{"use":"sig","kty":"EC","kid":"k","crv":"P-256","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#,
    );
    let (_, issuer) = keys(&server.client()).await.unwrap();
    assert_eq!(issuer, "https://kubernetes.default.svc");
}
