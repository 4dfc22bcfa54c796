// SPDX-License-Identifier: Apache-2.0
//! The wiring: source -> writer -> views -> discovery service, the authority beside them, the ports, and in Kubernetes mode what only a cluster
//! needs. The one place that starts tasks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tiphys_api::mesh::MeshConfig;
use tiphys_ca::{DevTokenIssuer, ServiceAccount};
use tiphys_compile::Compiler;
use tiphys_source::Source;
use tiphys_source::dir::DirSource;
use tiphys_source::kube::Wanted;
use tiphys_view::{Views, generators};
use tiphys_xds::AdsService;
use tokio::sync::{mpsc, watch};

use crate::cli::ServeArgs;
use crate::debug;
use crate::gather::Debounce;
use crate::http::Shown;
use crate::kubernetes::access::AccessReviews;
use crate::kubernetes::rollout_record::RolloutRecord;
use crate::kubernetes::{self, Cluster};
use crate::log::Log;
use crate::mesh_text::MeshTexts;
use crate::metrics::Metrics;
pub use crate::ports::Bound;
use crate::ports::{self, Ports, ads_options, pages};
use crate::preflight::{Preflight, PreflightAdviser};
use crate::push_status::push_status;
use crate::pushes::{Pushes, Told};
use crate::rollout::Rollouts;
use crate::settings::{self, Settings};
use crate::statuses::Statuses;
use crate::tasks::Tasks;
use crate::trust::{Trust, TrustInputs};
use crate::version;
use crate::webhooks::{self, WebhookInputs};
use crate::writer::{Published, Writer, WriterParts, log_report, write_tokens};

/// Batches that may wait for the writer.
const BATCHES: usize = 16;
/// Without a cluster streams get this long to move elsewhere before they are cut, unless the flag says less: nobody waits longer for Ctrl-C.
const DRAIN: Duration = Duration::from_secs(2);
/// Locks are given back in this time.
const FINISH: Duration = Duration::from_secs(3);

/// A running control plane.
pub struct Server {
    /// Where it listens.
    pub bound: Bound,
    tasks: Tasks,
    ads: AdsService<Views>,
    drain: Duration,
}

/// Runs a control plane until the process is told to stop.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub async fn run(args: ServeArgs, settings: Settings, log: Log) -> anyhow::Result<()> {
    let server = tokio::select! {
        server = Server::start(args, settings, log) => server?,
        // A cluster that does not answer is waited for, but not against the operator's will.
        () = signal() => return Ok(()),
    };
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

/// The MeshConfig in force at the start.
async fn first_mesh(
    args: &ServeArgs,
    settings: &Settings,
    cluster: Option<&Cluster>,
) -> anyhow::Result<(MeshTexts, MeshConfig)> {
    let texts = MeshTexts::open(args, settings, cluster).await;
    match texts.read() {
        Ok((mesh, warnings)) => {
            warnings.iter().for_each(log_report);
            Ok((texts, mesh))
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

/// A compiler without objects.
fn compiler(args: &ServeArgs, settings: &Settings, mesh: &MeshConfig) -> Compiler {
    let compiler = Compiler::new(mesh, compile_settings(args));
    if settings.mtls_rollout.is_ordered() { compiler.with_ordered_mutual_tls() } else { compiler }
}

/// How long changes gather.
fn debounce(settings: &Settings) -> Debounce {
    Debounce { after: settings.debounce_after, max: settings.debounce_max, endpoints: settings.debounce_endpoints }
}

/// Says what was asked for and does nothing.
fn name_without_effect(args: &ServeArgs) {
    for (flag, why) in args.without_effect() {
        tracing::warn!("{flag} has no effect: {why}");
    }
    for name in settings::without_effect(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        tracing::warn!("environment variable {name} has no effect");
    }
    if args.networks_config.exists() {
        tracing::warn!("--networksConfig {} has no effect: there is one network", args.networks_config.display());
    }
}

/// The views; in a cluster the API server says who may read Secrets.
fn views(settings: &Settings, told: Told, access: Option<&AccessReviews>) -> Views {
    let views = Views::new(generators(), told).with_identity_check(settings.xds_identity_check);
    match access {
        Some(access) => views.with_access(access.clone()),
        None => views,
    }
}

/// Where objects come from: the folder if one is given, else the cluster.
fn source(
    args: &ServeArgs,
    cluster: Option<&Cluster>,
    wanted: watch::Receiver<Wanted>,
) -> anyhow::Result<Box<dyn Source>> {
    match (&args.config_dir, cluster) {
        (Some(folder), _) => Ok(Box::new(DirSource::new(folder))),
        (None, Some(cluster)) => Ok(Box::new(cluster.source(wanted))),
        (None, None) => bail!("--configDir is needed where there is no Kubernetes cluster"),
    }
}

impl Server {
    /// Starts all parts. When this returns, the ports are open; /ready tells when the mesh is served.
    ///
    /// # Errors
    /// When a flag, a file, the cluster or an address cannot be used.
    pub async fn start(args: ServeArgs, settings: Settings, log: Log) -> anyhow::Result<Self> {
        tracing::info!("tiphys {}", version::build());
        name_without_effect(&args);
        let cluster = Cluster::of(&args).await?;
        let (mesh_texts, mesh) = first_mesh(&args, &settings, cluster.as_ref()).await?;
        let inputs = TrustInputs { args: &args, settings: &settings, mesh: &mesh, cluster: cluster.as_ref() };
        let mut tasks = Tasks::default();
        let trust = Trust::open(inputs, &mut tasks).await?;
        let metrics = Metrics::new()?;
        trust.count(&metrics);
        let pushes = Pushes::new(metrics.clone());
        let access = AccessReviews::default();
        let (asker, debug_queries) = debug::ads::queries();
        let told = Told { pushes: pushes.clone(), asker };
        let views = Arc::new(views(&settings, told, cluster.as_ref().map(|_| &access)));
        let mut compiler = compiler(&args, &settings, &mesh);
        let mut rollouts = Rollouts::new(views.clone(), settings.mtls_rollout, &metrics)?;
        if let Some(cluster) = cluster.as_ref().filter(|_| settings.mtls_rollout.is_ordered()) {
            let record = RolloutRecord::new(cluster, &args, &settings, trust.pods.clone());
            rollouts = record.join(rollouts, compiler.rollout_mut(), &mut tasks).await;
        }
        let board = rollouts.board();

        let left_out = Arc::downgrade(&views);
        metrics.collect(Box::new(move |metrics| {
            if let Some(views) = left_out.upgrade() {
                metrics.count_left_out(&push_status(&views));
            }
        }));
        let (sink, batches) = mpsc::channel(BATCHES);
        let (ask, queries) = mpsc::channel(BATCHES);
        let (publish, published) = watch::channel(Published::first(mesh));
        let (accounts, known_accounts) = watch::channel(BTreeSet::new());
        let (wanted, known_wanted) = watch::channel(None);
        let (statuses, known_statuses) = watch::channel(tiphys_status::Wanted::default());
        let parts = WriterParts {
            batches,
            queries,
            mesh_texts,
            views: views.clone(),
            debounce: debounce(&settings),
            pushes,
            metrics: metrics.clone(),
            published: publish,
            accounts,
            wanted,
            statuses: Statuses::new(statuses),
            tokens: trust.tokens.clone(),
            pods: trust.pods.clone(),
            rollouts,
        };
        trust.follow_mesh(published.clone(), &mut tasks);
        let ads = AdsService::new(views.clone(), ads_options(&args, &settings));
        let ports = Ports { args: &args, settings: &settings, ads: &ads, metrics: &metrics };
        let (grpc, secure_grpc) = (ports.plaintext(&mut tasks).await?, ports.secure(&trust, &mut tasks).await?);
        let settings = Arc::new(settings);
        let shown = Shown {
            views: views.clone(),
            published: published.clone(),
            queries: ask.clone(),
            metrics: metrics.clone(),
            log,
            authenticators: trust.authenticators.clone(),
            settings: settings.clone(),
            cluster: args.cluster_id.as_str().into(),
            rollouts: board,
            injection: Arc::default(),
        };
        let adviser = Arc::new(PreflightAdviser::new(Preflight::of(&shown)));
        let debugged = shown.clone();
        tasks.spawn("debug", async move {
            debug::ads::serve(debug_queries, debugged).await;
            Ok(())
        });
        let http = pages(args.http_addr.listen().await?, shown.clone(), "http", &mut tasks)?;
        let monitoring = pages(args.monitoring_addr.listen().await?, shown.clone(), "monitoring", &mut tasks)?;
        let injection = shown.injection.clone();
        let control = ports::control(&args, shown, &mut tasks).await?;

        let inputs = WebhookInputs {
            args: &args,
            settings: &settings,
            trust: &trust,
            metrics: &metrics,
            published: &published,
            cluster: cluster.as_ref(),
            injection: &injection,
        };
        let webhooks = webhooks::start(inputs, &mut tasks).await?;
        webhooks.iter().for_each(|webhooks| webhooks.admission.set_adviser(adviser.clone()));
        let source = source(&args, cluster.as_ref(), known_wanted)?;
        tracing::info!("objects come from {}", source.name());
        tasks.spawn("source", async move { source.run(sink).await.map_err(Into::into) });
        tasks.spawn("writer", Writer::new(parts, compiler).run());
        if let Some(issuer) = trust.tokens.clone() {
            tasks.spawn("tokens", keep_tokens(issuer, known_accounts));
        }
        if let Some(cluster) = &cluster {
            let parts = kubernetes::Parts {
                cluster,
                args: &args,
                settings: &settings,
                trust: &trust,
                metrics: &metrics,
                views: &views,
                published: &published,
                statuses: known_statuses,
                queries: &ask,
                webhooks: webhooks.as_ref(),
                access,
                tasks: &mut tasks,
            };
            kubernetes::start(parts).await?;
        }
        let longest = args.transport.shutdown_duration;
        let drain = if cluster.is_some() { longest } else { longest.min(DRAIN) };
        let bound = Bound { grpc, secure_grpc, https: webhooks.map(|w| w.address), http, monitoring, control };
        Ok(Self { bound, tasks, ads, drain })
    }

    /// Runs until `stop` comes, then lets streams go and ends.
    ///
    /// # Errors
    /// When a part failed, or ended by itself.
    pub async fn until(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = stop => {}
            ended = self.tasks.ended() => {
                self.tasks.stop.cancel();
                return Err(ended);
            }
        }
        let streams = self.ads.streams();
        tracing::info!("stopping: {streams} streams end within {:?}; a second signal ends at once", self.drain);
        self.tasks.stop.cancel();
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
        self.tasks.finish(FINISH).await;
        tracing::info!("stopped");
        Ok(())
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
