// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::authenticate::PodReference;

struct Cluster;

#[tonic::async_trait]
impl PodDirectory for Cluster {
    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<PodFacts>, String> {
        let facts = |node: &str, service_account: &str| {
            Some(PodFacts { uid: "u-1".into(), node: node.into(), service_account: service_account.into() })
        };
        Ok(match (namespace, name) {
            ("istio-system", "ztunnel-1") => facts("node-1", "ztunnel"),
            ("istio-system", "ztunnel-2") => facts("", "ztunnel"),
            ("istio-system", "other-1") => facts("node-1", "other"),
            ("istio-system", "broken") => return Err("the API server is gone".into()),
            _ => None,
        })
    }

    async fn runs_on(&self, node: &str, account: &ServiceAccount) -> Result<bool, String> {
        Ok(node == "node-1" && account.namespace == "default" && account.name == "reviews")
    }
}

fn caller(account: &str, pod: Option<(&str, &str)>) -> Caller {
    Caller {
        identities: vec![SpiffeId::new("cluster.local", "istio-system", account).unwrap()],
        authenticator: "test",
        pod: pod.map(|(name, uid)| PodReference { name: name.into(), uid: uid.into() }),
    }
}

#[tokio::test]
async fn only_trusted_nodes_and_only_for_their_own_pods() {
    let trusted = parse_accounts("istio-system/ztunnel, kube-system/ztunnel").unwrap();
    let domains = TrustDomains { own: "cluster.local".into(), aliases: vec!["old.local".into()] };
    let nodes = NodeAuthorizer::new(trusted, domains, Arc::new(Cluster));
    let reviews = "spiffe://cluster.local/ns/default/sa/reviews";
    let good = caller("ztunnel", Some(("ztunnel-1", "u-1")));
    assert_eq!(nodes.authorize(&good, reviews).await.unwrap().to_string(), reviews);

    let refused = [
        (caller("other", Some(("other-1", "u-1"))), reviews, "not one of the trusted node accounts"),
        (caller("ztunnel", None), reviews, "not bound to a pod"),
        (caller("ztunnel", Some(("ztunnel-9", "u-1"))), reviews, "there is no pod"),
        (caller("ztunnel", Some(("ztunnel-1", "u-2"))), reviews, "another one by now"),
        (caller("ztunnel", Some(("other-1", "u-1"))), reviews, "another service account"),
        (caller("ztunnel", Some(("ztunnel-2", "u-1"))), reviews, "runs on no node"),
        (caller("ztunnel", Some(("broken", "u-1"))), reviews, "API server is gone"),
        (good.clone(), "spiffe://cluster.local/ns/default/sa/ratings", "no pod of"),
        (good.clone(), "spiffe://old.local/ns/default/sa/reviews", "not of the trust domain"),
        (good.clone(), "reviews", "is no identity"),
    ];
    for (caller, wanted, why) in refused {
        let error = nodes.authorize(&caller, wanted).await.unwrap_err();
        assert!(error.contains(why), "{error}: {why}");
    }
}

#[test]
fn lists_of_accounts() {
    assert_eq!(parse_accounts("").unwrap().len(), 0);
    assert_eq!(parse_accounts(" a/b ,c/d,").unwrap().len(), 2);
    for bad in ["a", "a/", "/b", "a/b/c", "a/b,c"] {
        assert!(parse_accounts(bad).is_err(), "{bad}");
    }
}
