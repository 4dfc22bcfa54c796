// SPDX-License-Identifier: Apache-2.0
//! The wiring: source -> writer -> views -> discovery service, the authority beside them, and the ports. The one place that starts tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use serde_json::json;
use tiphys_api::mesh::MeshConfig;
use tiphys_ca::authenticate::ClientCertificateAuthenticator;
use tiphys_ca::{
    Authenticator, Authenticators, Authority, AuthorityOptions, CaCounters, CertificateService, DevTokenIssuer,
    DevTokenOptions, ServerIdentity, ServerNames, ServiceAccount,
};
use tiphys_compile::Compiler;
use tiphys_source::Source;
use tiphys_source::dir::{DirSource, Pace, Text, TextFile};
use tiphys_view::{Views, generators};
use tiphys_xds::{AdsService, Options};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::authenticate::AuthenticateLayer;
use crate::cli::ServeArgs;
use crate::gather::Debounce;
use crate::http::{self, Shown};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::pushes::{Pushes, Told};
use crate::settings::{self, Settings};
use crate::tls;
use crate::version;
use crate::writer::{Published, Writer, WriterParts, log_report, read_mesh, write_tokens};

/// Batches that may wait for the writer.
const BATCHES: usize = 16;
/// Streams get this long to move elsewhere before they are cut, unless the flag says less: nobody waits longer for Ctrl-C.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a server listens; none where it is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Plaintext discovery.
    pub grpc: Option<SocketAddr>,
    /// Discovery and certificates over TLS.
    pub secure_grpc: Option<SocketAddr>,
    /// Health and debug.
    pub http: Option<SocketAddr>,
    /// Metrics and debug.
    pub monitoring: Option<SocketAddr>,
}

/// A running control plane.
pub struct Server {
    /// Where it listens.
    pub bound: Bound,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<&'static str>>,
    ads: AdsService<Views>,
    drain: Duration,
}

/// Runs a control plane until the process is told to stop.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub async fn run(args: ServeArgs, settings: Settings, log: Log) -> anyhow::Result<()> {
    let server = Server::start(args, settings, log).await?;
    server.until(signal()).await
}

/// Until SIGTERM or SIGINT.
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// The authority and who accepts credentials.
struct Trust {
    authority: Arc<Authority>,
    identity: Arc<ServerIdentity>,
    authenticators: Authenticators,
    counters: Arc<CaCounters>,
    tokens: Option<Arc<DevTokenIssuer>>,
}

impl Trust {
    fn new(args: &ServeArgs, settings: &Settings, mesh: &MeshConfig) -> anyhow::Result<Self> {
        let options = AuthorityOptions {
            trust_domain: mesh.trust_domain.clone(),
            trust_domain_aliases: mesh.trust_domain_aliases.clone(),
            default_ttl: settings.certificate_ttl,
            max_ttl: settings.max_certificate_ttl,
        };
        // An operator's authority has a chain; one of our own is its own root.
        let given = args.ca_dir.join("cert-chain.pem").exists();
        let open = if given { Authority::from_cacerts } else { Authority::self_signed };
        let authority = Arc::new(open(&args.ca_dir, options).context("certificate authority (--ca-dir)")?);
        let mut all: Vec<Arc<dyn Authenticator>> =
            vec![Arc::new(ClientCertificateAuthenticator::new(authority.clone())?)];
        let tokens = match &args.dev_token_issuer {
            Some(dir) => {
                tracing::warn!(
                    "development tokens are issued to {}: whoever can read a file there is that service account",
                    dir.display()
                );
                Some(Arc::new(
                    DevTokenIssuer::open(DevTokenOptions::new(dir, &mesh.trust_domain))
                        .context("--dev-token-issuer")?,
                ))
            }
            None => None,
        };
        if let Some(issuer) = &tokens {
            all.push(issuer.clone());
        }
        let names = ServerNames::istiod(&args.namespace, &settings.revision).with_loopback();
        let identity = ServerIdentity::new(authority.clone(), names)?;
        Ok(Self { authority, identity, authenticators: Authenticators::new(all), counters: Arc::default(), tokens })
    }
}

/// The MeshConfig in force at the start.
async fn first_mesh(path: &Path) -> anyhow::Result<(TextFile, MeshConfig)> {
    let mut file = TextFile::watch(path, Pace::default());
    let text = file.next().await;
    if text == Text::Missing {
        tracing::info!("there is no {}: Istio's default MeshConfig is in force", path.display());
    }
    match read_mesh(file.path(), &text) {
        Ok((mesh, warnings)) => {
            warnings.iter().for_each(log_report);
            Ok((file, mesh))
        }
        Err(report) => bail!("MeshConfig: {}", report.lines().collect::<Vec<_>>().join("; ")),
    }
}

/// Settings that decide what the mesh looks like: the environment, and the flags that istiod has for them.
fn compile_settings(args: &ServeArgs) -> tiphys_compile::Settings {
    let flags = [("DOMAIN_SUFFIX", &args.domain), ("CLUSTER_ID", &args.cluster_id)];
    let flags = flags.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
    tiphys_compile::Settings::from_pairs(std::env::vars().chain(flags))
}

/// Says what was asked for and does nothing.
fn name_without_effect(args: &ServeArgs) {
    for (flag, why) in args.without_effect() {
        tracing::warn!("{flag} has no effect: {why}");
    }
    for name in settings::without_effect(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        tracing::warn!("environment variable {name} has no effect");
    }
    if !args.https_addr.is_off() {
        tracing::warn!(
            "nothing listens on --httpsAddr {}: there are no webhooks yet; --httpsAddr '' says so",
            args.https_addr
        );
    }
    if args.networks_config.exists() {
        tracing::warn!("--networksConfig {} has no effect: there is one network", args.networks_config.display());
    }
}

impl Server {
    /// Starts all parts. When this returns, the ports are open; /ready tells when the mesh is served.
    ///
    /// # Errors
    /// When a flag, a file or an address cannot be used.
    pub async fn start(args: ServeArgs, settings: Settings, log: Log) -> anyhow::Result<Self> {
        tracing::info!("tiphys {}", version::build());
        name_without_effect(&args);
        let Some(config_dir) = args.config_dir.clone() else {
            bail!(
                "--configDir is needed: objects are read from a folder; reading them from a Kubernetes cluster is not there yet"
            );
        };
        let (mesh_file, mesh) = first_mesh(&args.mesh_config).await?;
        let trust = Trust::new(&args, &settings, &mesh)?;
        let metrics = Metrics::new()?;
        let (counters, authority) = (trust.counters.clone(), trust.authority.clone());
        metrics.sample(Box::new(move || counters.samples(&authority)));
        let pushes = Pushes::new(metrics.clone());
        let views = Arc::new(Views::new(generators(), Told(pushes.clone())));
        let compiler = Compiler::new(&mesh, compile_settings(&args));

        let (sink, batches) = mpsc::channel(BATCHES);
        let (ask, queries) = mpsc::channel(BATCHES);
        let (publish, published) =
            watch::channel(Published { mesh: Arc::new(mesh), reports: Arc::new(BTreeMap::new()), ready: false });
        let (accounts, known_accounts) = watch::channel(BTreeSet::new());
        let debounce = Debounce {
            after: settings.debounce_after,
            max: settings.debounce_max,
            endpoints: settings.debounce_endpoints,
        };
        let tokens = trust.tokens.clone();
        let parts = WriterParts {
            batches,
            queries,
            mesh_file,
            views: views.clone(),
            debounce,
            pushes,
            metrics: metrics.clone(),
            published: publish,
            accounts,
            tokens: tokens.clone(),
        };
        let mut server = Self {
            bound: Bound { grpc: None, secure_grpc: None, http: None, monitoring: None },
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            ads: AdsService::new(views.clone(), ads_options(&args, &settings)),
            drain: args.transport.shutdown_duration.min(DRAIN),
        };
        server.plaintext(&args, &settings).await?;
        server.secure(&args, &settings, &trust).await?;
        let shown = Shown {
            views,
            published,
            queries: ask,
            metrics,
            log,
            authenticators: trust.authenticators.clone(),
            settings: Arc::new(settings),
            cluster: args.cluster_id.as_str().into(),
        };
        server.bound.http = server.pages(args.http_addr.listen().await?, shown.clone(), "http")?;
        server.bound.monitoring = server.pages(args.monitoring_addr.listen().await?, shown, "monitoring")?;

        let source: Box<dyn Source> = Box::new(DirSource::new(config_dir));
        tracing::info!("objects come from {}", source.name());
        server.spawn("source", async move { source.run(sink).await.map_err(Into::into) });
        server.spawn("writer", Writer::new(parts, compiler).run());
        if let Some(issuer) = tokens {
            server.spawn("tokens", keep_tokens(issuer, known_accounts));
        }
        Ok(server)
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { task.await.with_context(|| name).map(|()| name) });
    }

    async fn plaintext(&mut self, args: &ServeArgs, settings: &Settings) -> anyhow::Result<()> {
        let Some(listener) = args.grpc_addr.listen().await? else { return Ok(()) };
        self.bound.grpc = Some(listener.local_addr()?);
        tracing::info!("discovery without TLS on {}", listener.local_addr()?);
        let stop = self.stop.clone().cancelled_owned();
        let mut transport = ads_options(args, settings).transport().layer(AuthenticateLayer::plaintext());
        let serving =
            transport.add_routes(Routes::new(self.ads.clone())).serve_with_incoming_shutdown(nodelay(listener), stop);
        self.spawn("grpc", async move { serving.await.map_err(Into::into) });
        Ok(())
    }

    async fn secure(&mut self, args: &ServeArgs, settings: &Settings, trust: &Trust) -> anyhow::Result<()> {
        let Some(listener) = args.secure_grpc_addr.listen().await? else { return Ok(()) };
        self.bound.secure_grpc = Some(listener.local_addr()?);
        tracing::info!("discovery and certificates with TLS on {}", listener.local_addr()?);
        let current = Arc::new(ArcSwap::new(tls::configure(&args.transport, &trust.authority, &trust.identity)?));
        let (accept, connections) = tls::incoming(listener, current.clone());
        let mut routes = Routes::new(self.ads.clone());
        if settings.ca_server {
            let service =
                CertificateService::new(trust.authority.clone(), trust.authenticators.clone(), trust.counters.clone());
            routes = routes.add_service(service.into_server());
        }
        let stop = self.stop.clone().cancelled_owned();
        let layer = AuthenticateLayer::tls(trust.authenticators.clone(), settings.xds_auth);
        let mut transport = ads_options(args, settings).transport().layer(layer);
        let serving = transport.add_routes(routes).serve_with_incoming_shutdown(connections, stop);
        let (authority, identity, transport) =
            (trust.authority.clone(), trust.identity.clone(), args.transport.clone());
        self.spawn("secure grpc", async move { serving.await.map_err(Into::into) });
        self.spawn("tls", async move {
            accept.await;
            Ok(())
        });
        self.spawn("tls roots", async move {
            tls::follow(current, transport, authority, identity).await;
            Ok(())
        });
        let identity = trust.identity.clone();
        self.spawn("serving certificate", async move {
            identity.run().await;
            Ok(())
        });
        Ok(())
    }

    fn pages(
        &mut self,
        listener: Option<TcpListener>,
        shown: Shown,
        what: &'static str,
    ) -> anyhow::Result<Option<SocketAddr>> {
        let Some(listener) = listener else { return Ok(None) };
        let address = listener.local_addr()?;
        tracing::info!("{what} on {address}");
        let stop = self.stop.clone().cancelled_owned();
        self.spawn(what, async move { http::serve(listener, http::router(shown), stop).await.map_err(Into::into) });
        Ok(Some(address))
    }

    /// Runs until `stop` comes, then lets streams go and ends.
    ///
    /// # Errors
    /// When a part failed, or ended by itself.
    pub async fn until(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = stop => {}
            ended = self.tasks.join_next() => {
                self.stop.cancel();
                return Err(match ended {
                    Some(Ok(Ok(name))) => anyhow!("{name} ended"),
                    Some(Ok(Err(error))) => error,
                    Some(Err(error)) => error.into(),
                    None => anyhow!("nothing runs"),
                });
            }
        }
        let streams = self.ads.streams();
        tracing::info!("stopping: {streams} streams end within {:?}; a second signal ends at once", self.drain);
        self.stop.cancel();
        self.ads.drain(self.drain);
        let gone = async {
            while self.ads.streams() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = gone => {}
            // Some clients do not read: they are cut.
            () = tokio::time::sleep(self.drain + Duration::from_millis(500)) => {}
            () = signal() => {}
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Small responses do not wait for acknowledgements.
fn nodelay(listener: TcpListener) -> impl tokio_stream::Stream<Item = std::io::Result<tokio::net::TcpStream>> {
    use tokio_stream::StreamExt;
    TcpListenerStream::new(listener).map(|tcp| tcp.inspect(|tcp| drop(tcp.set_nodelay(true))))
}

fn ads_options(args: &ServeArgs, settings: &Settings) -> Options {
    let info = json!({"version": version::VERSION, "revision": version::REVISION, "golang_version": "", "status": version::STATUS, "tag": version::VERSION});
    let identifier = json!({"Component": "istiod", "ID": settings.instance, "Info": info}).to_string();
    Options {
        control_plane: identifier.into(),
        max_streams_per_connection: settings.max_streams,
        keepalive: (args.transport.keepalive_interval, args.transport.keepalive_timeout),
        ..Options::default()
    }
}

/// Keeps the tokens of the service accounts fresh; the writer writes those of new accounts.
async fn keep_tokens(
    issuer: Arc<DevTokenIssuer>,
    accounts: watch::Receiver<BTreeSet<ServiceAccount>>,
) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(issuer.refresh_interval()).await;
        let (issuer, accounts) = (issuer.clone(), accounts.borrow().clone());
        tokio::task::spawn_blocking(move || write_tokens(&issuer, &accounts)).await?;
    }
}
