// SPDX-License-Identifier: Apache-2.0
//! The client of the API server: whose credentials it shows, how many requests it makes, how it notices a server that is gone.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::limit::RateLimitLayer;
use tower::{BoxError, ServiceBuilder};

use crate::cli::KubernetesArgs;

/// A server that is gone without a word is noticed in about half a minute: idle time, then three questions.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// Time a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A client by `--kubeconfig`, else by what is there of the files in `$KUBECONFIG`, else the pod's own service account.
///
/// # Errors
/// When none of them can be used.
pub async fn connect(args: &KubernetesArgs) -> anyhow::Result<Client> {
    let config = configuration(args).await?;
    tracing::info!("the API server is {}", config.cluster_url);
    client(config, args).context("client of the API server")
}

async fn configuration(args: &KubernetesArgs) -> anyhow::Result<Config> {
    let options = KubeConfigOptions::default();
    if let Some(path) = &args.kubeconfig {
        let wanted = || format!("--kubeconfig {}", path.display());
        let file = Kubeconfig::read_from(path).with_context(wanted)?;
        return Config::from_custom_kubeconfig(file, &options).await.with_context(wanted);
    }
    // The chart names a file that is there only when a Secret with it is mounted.
    let has_text = |path: PathBuf| path.metadata().is_ok_and(|file| file.len() > 0);
    if std::env::var_os("KUBECONFIG").is_some_and(|paths| std::env::split_paths(&paths).any(has_text)) {
        return Config::from_kubeconfig(&options).await.context("environment variable KUBECONFIG");
    }
    Config::incluster().context(
        "there is no cluster to serve: give --configDir for a folder, or --kubeconfig or $KUBECONFIG for a cluster, or run in a pod of one",
    )
}

fn client(config: Config, args: &KubernetesArgs) -> anyhow::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let https = config.rustls_https_connector_with_connector(tcp)?;
    let service = ServiceBuilder::new()
        .layer(rate(args))
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer()?)
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .service(HttpClient::builder(TokioExecutor::new()).build(https));
    Ok(Client::new(service, config.default_namespace))
}

/// As many requests as a burst has, in the time that they take on average.
fn rate(args: &KubernetesArgs) -> RateLimitLayer {
    let time = Duration::from_secs_f64(f64::from(args.api_burst) / args.api_qps);
    RateLimitLayer::new(args.api_burst.into(), time)
}
