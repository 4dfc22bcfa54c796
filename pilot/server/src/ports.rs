// SPDX-License-Identifier: Apache-2.0
//! The ports: discovery without TLS, discovery and certificates with TLS, and pages. Each is bound first and then served by tasks.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use serde_json::json;
use tiphys_view::Views;
use tiphys_xds::{AdsService, Options, incoming};
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::authenticate::AuthenticateLayer;
use crate::cli::ServeArgs;
use crate::grpc_metrics::GrpcMetricsLayer;
use crate::http::{self, Shown};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::tls;
use crate::trust::Trust;
use crate::version;

/// Where a server listens; none where it is off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bound {
    /// Plaintext discovery.
    pub grpc: Option<SocketAddr>,
    /// Discovery and certificates over TLS.
    pub secure_grpc: Option<SocketAddr>,
    /// Webhooks.
    pub https: Option<SocketAddr>,
    /// Health and debug.
    pub http: Option<SocketAddr>,
    /// Metrics and debug.
    pub monitoring: Option<SocketAddr>,
    /// Levels of the log.
    pub control: Option<SocketAddr>,
}

/// What the ports of discovery are made of.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// The flags.
    pub args: &'a ServeArgs,
    /// The environment.
    pub settings: &'a Settings,
    /// What is served.
    pub ads: &'a AdsService<Views>,
    /// Calls are counted.
    pub metrics: &'a Arc<Metrics>,
}

impl Ports<'_> {
    /// Discovery without TLS.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub async fn plaintext(&self, tasks: &mut Tasks) -> anyhow::Result<Option<SocketAddr>> {
        let Some(listener) = self.args.grpc_addr.listen().await? else { return Ok(None) };
        let address = listener.local_addr()?;
        tracing::info!("discovery without TLS on {address}");
        let stop = tasks.stop.clone().cancelled_owned();
        let counted = ads_options(self.args, self.settings).transport().layer(GrpcMetricsLayer(self.metrics.clone()));
        let mut transport = counted.layer(AuthenticateLayer::plaintext()).layer(self.ads.clone());
        let serving = transport.add_routes(Routes::default()).serve_with_incoming_shutdown(incoming(listener), stop);
        tasks.spawn("grpc", async move { serving.await.map_err(Into::into) });
        Ok(Some(address))
    }

    /// Discovery and certificates with TLS.
    ///
    /// # Errors
    /// When the address or a file of a certificate cannot be used.
    pub async fn secure(&self, trust: &Trust, tasks: &mut Tasks) -> anyhow::Result<Option<SocketAddr>> {
        let (args, settings) = (self.args, self.settings);
        let Some(listener) = args.secure_grpc_addr.listen().await? else { return Ok(None) };
        let address = listener.local_addr()?;
        tracing::info!("discovery and certificates with TLS on {address}");
        let roots = trust.roots.clone();
        let config = tls::configure(&args.transport, &roots.borrow(), &trust.identity)?;
        let current = Arc::new(ArcSwap::new(config));
        let (accept, connections) = tls::incoming(listener, current.clone());
        let mut routes = Routes::default();
        if settings.ca_server
            && let Some(service) = trust.certificates()
        {
            routes = routes.add_service(service.into_server());
        }
        let stop = tasks.stop.clone().cancelled_owned();
        let layer = AuthenticateLayer::tls(trust.authenticators.clone(), settings.xds_auth);
        let counted = GrpcMetricsLayer(self.metrics.clone());
        let mut transport = ads_options(args, settings).transport().layer(counted).layer(layer).layer(self.ads.clone());
        let serving = transport.add_routes(routes).serve_with_incoming_shutdown(connections, stop);
        let (identity, transport) = (trust.identity.clone(), args.transport.clone());
        tasks.spawn("secure grpc", async move { serving.await.map_err(Into::into) });
        tasks.spawn("tls", async move {
            accept.await;
            Ok(())
        });
        tasks.spawn("tls roots", async move {
            tls::follow(current, transport, roots, identity).await;
            Ok(())
        });
        Ok(Some(address))
    }
}

/// The control page. Whether it can be had decides nothing: another program of this host may have its port.
///
/// # Errors
/// When the address is none, or lost.
pub async fn control(args: &ServeArgs, shown: Shown, tasks: &mut Tasks) -> anyhow::Result<Option<SocketAddr>> {
    let listener = args.control_address()?.listen().await.unwrap_or_else(|error| {
        tracing::warn!("no log levels for `istioctl admin log`: {error}; --ctrlz_port gives another port");
        None
    });
    serve_pages(listener, http::control_router(shown), "control", tasks)
}

/// Health, metrics, debug.
///
/// # Errors
/// When the address is lost.
pub fn pages(
    listener: Option<TcpListener>,
    shown: Shown,
    what: &'static str,
    tasks: &mut Tasks,
) -> anyhow::Result<Option<SocketAddr>> {
    serve_pages(listener, http::router(shown), what, tasks)
}

fn serve_pages(
    listener: Option<TcpListener>,
    pages: Router,
    what: &'static str,
    tasks: &mut Tasks,
) -> anyhow::Result<Option<SocketAddr>> {
    let Some(listener) = listener else { return Ok(None) };
    let address = listener.local_addr()?;
    tracing::info!("{what} on {address}");
    let stop = tasks.stop.clone().cancelled_owned();
    tasks.spawn(what, async move { http::serve(listener, pages, stop).await.map_err(Into::into) });
    Ok(Some(address))
}

/// How streams are served.
pub fn ads_options(args: &ServeArgs, settings: &Settings) -> Options {
    let info = json!({"version": version::VERSION, "revision": version::REVISION, "golang_version": "", "status": version::STATUS, "tag": version::VERSION});
    let identifier = json!({"Component": "istiod", "ID": settings.instance, "Info": info}).to_string();
    Options {
        control_plane: identifier.into(),
        max_streams_per_connection: settings.max_streams,
        keepalive: (args.transport.keepalive_interval, args.transport.keepalive_timeout),
        max_connection_age: args.transport.max_connection_age,
        new_streams_per_second: settings.identity.max_requests,
        ..Options::default()
    }
}
