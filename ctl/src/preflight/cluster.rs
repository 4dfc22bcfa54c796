// SPDX-License-Identifier: Apache-2.0
//! The control plane of a cluster, reached through the API server as `kubectl port-forward` does: its debug pages trust who may do that.
//!
//! A proxy is connected to one replica. So all replicas are asked who is connected, and one of them what would break.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail};
use hyper::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};
use serde::Deserialize;
use tiphys_preflight::{Proxies, Proxy, Report};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Question, page};
use crate::cli::StrictArgs;

/// Metrics and debug pages.
const PORT: u16 = 15014;

/// What is read of /debug/syncz.
#[derive(Deserialize)]
struct Connected {
    proxy: String,
    #[serde(default)]
    istio_version: String,
}

/// What would break in a cluster.
pub(super) async fn report(args: &StrictArgs, question: Question<'_>) -> anyhow::Result<Report> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let config = match args.context {
        Some(_) => Config::from_kubeconfig(&options).await?,
        None => Config::infer().await?,
    };
    let pods: Api<Pod> = Api::namespaced(Client::try_from(config)?, &args.system);
    let replicas = replicas(&pods, args).await?;
    let mut proxies = Proxies { all: true, connected: BTreeMap::new() };
    for replica in &replicas {
        let stream = forward(&pods, replica).await?;
        let connected: Vec<Connected> = page::ask(stream, None, (Method::GET, "/debug/syncz"), Vec::new())
            .await
            .with_context(|| format!("{}/{replica}", args.system))?;
        let named = connected.into_iter().map(|one| (one.proxy, Proxy { version: one.istio_version }));
        proxies.connected.extend(named);
    }
    let question = Question { proxies: Some(&proxies), ..question };
    let stream = forward(&pods, &replicas[0]).await?;
    page::strict(stream, None, &question).await.with_context(|| format!("{}/{}", args.system, replicas[0]))
}

/// The running pods of the control plane, never empty.
async fn replicas(pods: &Api<Pod>, args: &StrictArgs) -> anyhow::Result<Vec<String>> {
    let mut selector = "app=istiod".to_owned();
    if !args.revision.is_empty() {
        selector += &format!(",istio.io/rev={}", args.revision);
    }
    let params = ListParams::default().labels(&selector).fields("status.phase=Running");
    let found = pods.list(&params).await.with_context(|| format!("pods of {}", args.system))?;
    let ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        pod.metadata.deletion_timestamp.is_none()
            && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let names: Vec<String> = found.items.into_iter().filter(ready).filter_map(|pod| pod.metadata.name).collect();
    if names.is_empty() {
        bail!(
            "namespace {} has no ready pod with {selector}: see --istioNamespace, --revision and --context",
            args.system
        );
    }
    Ok(names)
}

/// A connection to a pod's debug pages.
async fn forward(pods: &Api<Pod>, name: &str) -> anyhow::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    let mut forwarder = pods.portforward(name, &[PORT]).await.with_context(|| format!("port-forward to {name}"))?;
    forwarder.take_stream(PORT).ok_or_else(|| anyhow!("port-forward to {name}: no stream"))
}
