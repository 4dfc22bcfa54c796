// SPDX-License-Identifier: Apache-2.0
//! Pods, asked for one by one: which node they run on and as whom.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tiphys_ca::{PodDirectory, PodFacts, ServiceAccount};

/// The pods of the API server. Node agents are few and each asks for few identities, so nothing is kept.
pub struct ApiPods {
    client: Client,
}

impl ApiPods {
    /// By a client that may get and list pods.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

#[tonic::async_trait]
impl PodDirectory for ApiPods {
    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<PodFacts>, String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pod = api.get_opt(name).await.map_err(|error| format!("pod {namespace}/{name}: {error}"))?;
        Ok(pod.map(|pod| {
            let uid = pod.uid().unwrap_or_default();
            let spec = pod.spec.unwrap_or_default();
            PodFacts {
                uid,
                node: spec.node_name.unwrap_or_default(),
                service_account: spec.service_account_name.unwrap_or_default(),
            }
        }))
    }

    async fn runs_on(&self, node: &str, account: &ServiceAccount) -> Result<bool, String> {
        let ServiceAccount { namespace, name } = account;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let fields = format!("spec.nodeName={node},spec.serviceAccountName={name},status.phase!=Failed");
        let found = api.list_metadata(&ListParams::default().fields(&fields).limit(1)).await;
        found
            .map(|list| !list.items.is_empty())
            .map_err(|error| format!("pods of {namespace}/{name} on {node}: {error}"))
    }
}
