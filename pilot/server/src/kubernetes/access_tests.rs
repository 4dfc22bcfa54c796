// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::kubernetes::mock::ApiServer;
use serde_json::json;

#[tokio::test]
async fn the_api_server_says_who_may_read_secrets() {
    let server = ApiServer::default();
    server.review("/apis/authorization.k8s.io/v1/subjectaccessreviews", |review| {
        let spec = &review["spec"];
        let lists = spec["resourceAttributes"]["verb"] == "list" && spec["resourceAttributes"]["resource"] == "secrets";
        json!({"allowed": lists && spec["user"] == "system:serviceaccount:ns:gw"})
    });
    let access = AccessReviews::default();
    let views = Arc::new(Views::new(Vec::new(), ()));
    let asking = tokio::spawn(access.clone().run(server.client(), views));
    let may = |service_account: &str| {
        let kind = tiphys_model::ProxyType::Router;
        access.may_read(&SecretReader { kind, namespace: "ns", service_account })
    };
    // Nobody knows at first.
    assert!(!may("gw") && !may("web"));
    let epoch = access.epoch();
    for _ in 0..200 {
        if access.epoch() != epoch {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(may("gw") && !may("web"));
    let asked = server.requests().len();
    assert!(may("gw") && !may("web"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.requests().len(), asked);
    asking.abort();
}
