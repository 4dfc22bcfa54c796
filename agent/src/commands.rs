// SPDX-License-Identifier: Apache-2.0
//! The commands of the command line, and the life of agent and Envoy together.

use crate::cli::{self, Command, ProxyArgs, RequestArgs, WaitArgs};
use crate::dns::Dns;
use crate::envoy::{self, Envoy};
use crate::identity::{self, SecretStore};
use crate::metrics::Metrics;
use crate::node::{ISTIO_VERSION, Node};
use crate::relay::Relay;
use crate::settings::{Environment, Settings};
use crate::status::{Order, Readiness, StatusServer};
use crate::{bootstrap, capture, duration, logging, net, sds, uds};
use http::{Method, StatusCode};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Runs the command that the arguments ask for.
pub fn run(args: Vec<String>) -> ExitCode {
    let command = match cli::parse(&args) {
        Ok(command) => command,
        Err(error) => return failed(&error),
    };
    match command {
        Command::Help => {
            print!("{}", cli::HELP);
            ExitCode::SUCCESS
        }
        Command::Version { short } => {
            let version = env!("CARGO_PKG_VERSION");
            if short {
                println!("{version}");
            } else {
                println!("tiphys-agent {version} (contracts of Istio {ISTIO_VERSION})");
            }
            ExitCode::SUCCESS
        }
        Command::ExecEnvoy { parent, command } => failed(&envoy::exec(parent, &command)),
        Command::Capture { args, cleanup } => match capture::run(&args, cleanup) {
            Ok(code) => ExitCode::from(code),
            Err(error) => failed(&error),
        },
        Command::Request(args) => block_on(request(args)),
        Command::Wait(args) => block_on(wait(&args)),
        Command::Proxy(args) => match start(*args) {
            Ok(settings) => block_on(proxy(settings)),
            Err(error) => failed(&error),
        },
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("Error: {error}");
    ExitCode::FAILURE
}

/// Runs a task on one thread; threads for name look-ups come and go.
fn block_on(task: impl Future<Output = Result<u8, String>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_stack_size(256 * 1024)
        .thread_keep_alive(Duration::from_secs(1))
        .build();
    match runtime {
        Ok(runtime) => match runtime.block_on(task) {
            Ok(code) => ExitCode::from(code),
            Err(error) => failed(&error),
        },
        Err(error) => failed(&format!("cannot start: {error}")),
    }
}

/// Port 15000 of this machine, or where PROXY_CONFIG has it, or another of the agent's and Envoy's.
async fn request(args: RequestArgs) -> Result<u8, String> {
    let method = args.method;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method:?} is no HTTP method"))?;
    let settings =
        Settings::gather(ProxyArgs { kind: "sidecar".into(), ..Default::default() }, Environment::of_process())?;
    let address = match args.port {
        Some(port) => SocketAddr::new(settings.ports.admin, port).to_string(),
        None => settings.admin_address(),
    };
    let path = if args.path.starts_with('/') { args.path } else { format!("/{}", args.path) };
    let within = Duration::from_secs(60);
    let answer = net::request_with_body(method, &address, &path, args.body.into(), within).await?;
    let (status, text) = (answer.status, answer.text());
    // That something is not found is an answer, too.
    if status.as_u16() > 399 && status != StatusCode::NOT_FOUND {
        return Err(format!("received unsuccessful status code {status}: {text}"));
    }
    println!("{text}");
    Ok(0)
}

async fn wait(args: &WaitArgs) -> Result<u8, String> {
    let rest =
        args.url.strip_prefix("http://").ok_or_else(|| format!("--url: {:?} does not begin with http://", args.url))?;
    let (address, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let address = if address.contains(':') { address.to_string() } else { format!("{address}:80") };
    let until = Instant::now() + Duration::from_secs(args.timeout_seconds);
    let each = Duration::from_millis(args.request_timeout_millis);
    loop {
        let reason = match net::request(Method::GET, &address, path, each).await {
            Ok(answer) if answer.status.is_success() => return Ok(0),
            Ok(answer) => format!("{} {}", answer.status, answer.text().trim()),
            Err(error) => error,
        };
        if Instant::now() >= until {
            return Err(format!("timeout waiting for Envoy proxy to become ready: {reason}"));
        }
        tokio::time::sleep(Duration::from_millis(args.period_millis)).await;
    }
}

fn start(args: ProxyArgs) -> Result<Settings, String> {
    if let Some(root) = &args.root {
        std::env::set_current_dir(root).map_err(|e| format!("--root {root}: {e}"))?;
    }
    logging::start(args.log_output_level.as_deref(), args.log_as_json)?;
    let settings = Settings::gather(args, Environment::of_process())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}

/// Starts everything, and stays until Envoy ends or a signal comes. The code is Envoy's when it ended by itself.
async fn proxy(settings: Settings) -> Result<u8, String> {
    let signal_error = |e: std::io::Error| format!("signals: {e}");
    let mut terminate = signal(SignalKind::terminate()).map_err(signal_error)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signal_error)?;
    let settings = Arc::new(settings);
    let metrics = Arc::new(Metrics::default());
    let store = Arc::new(SecretStore::default());
    let dns = settings.dns.clone().map(|dns| Dns::new(dns, metrics.clone()));
    if let Some(dns) = &dns {
        dns.start().await?;
    }
    let readiness = Readiness::new(settings.clone(), metrics.clone(), dns.clone());
    let (sender, mut orders) = mpsc::channel(4);
    let (node, warnings) = Node::new(&settings);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(id = node.id, control_plane = settings.discovery.address, "starting");

    serve_secrets(&settings, &store, &metrics).await?;
    let xds = uds::listen(&settings.xds_socket_path()).await?;
    let relay = Relay::new(settings.discovery.clone(), store.clone(), metrics.clone(), dns.clone());
    tokio::spawn(relay.serve(xds));
    if settings.config().status_port > 0 {
        let listener = StatusServer::listen(&settings).await?;
        let server = StatusServer::new(&settings, store, metrics, readiness.clone(), dns, sender.clone())?;
        tokio::spawn(server.serve(listener));
    }
    if settings.disable_envoy {
        return tokio::select! {
            _ = terminate.recv() => Ok(0),
            _ = interrupt.recv() => Ok(0),
            _ = orders.recv() => Ok(0),
            reaped = envoy::reap_forever() => reaped.map(|()| 0),
        };
    }
    let bootstrap = bootstrap::write(&settings, &node)?;
    drop(node);
    let mut envoy = Envoy::start(&settings, &bootstrap)?;
    let mut drained = false;
    loop {
        tokio::select! {
            exit = envoy.wait() => {
                tracing::error!(?exit, "Envoy ended");
                return Ok(exit.code());
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            order = orders.recv() => match order {
                Some(Order::Drain) => {
                    tracing::info!("draining Envoy");
                    report(envoy::drain(&settings, true).await);
                    drained = true;
                }
                Some(Order::Quit) | None => {
                    drained = true;
                    break;
                }
            },
        }
    }
    readiness.end();
    if !drained {
        tokio::select! {
            () = drain(&settings) => {}
            exit = envoy.wait() => {
                tracing::warn!(?exit, "Envoy ended while draining");
                return Ok(0);
            }
            // A second signal means that there is no time to drain.
            _ = terminate.recv() => tracing::info!("told again to end"),
            _ = interrupt.recv() => tracing::info!("told again to end"),
            _ = orders.recv() => tracing::info!("told to end at once"),
        }
    }
    let exit = envoy.end().await;
    tracing::info!(?exit, "Envoy ended");
    Ok(0)
}

/// The socket for secrets and what fills it; when somebody else serves the workload's identity there already, nothing.
async fn serve_secrets(settings: &Settings, store: &Arc<SecretStore>, metrics: &Arc<Metrics>) -> Result<(), String> {
    let path = settings.workload_socket_path();
    if uds::answers(&path).await {
        tracing::info!(socket = %path.display(), "another server of workload identity is there; using it");
        return Ok(());
    }
    if settings.workload_socket != "socket" {
        return Err(format!("WORKLOAD_IDENTITY_SOCKET_FILE: nobody listens on {}", path.display()));
    }
    let listener = uds::listen(&path).await?;
    tokio::spawn(sds::serve(listener, store.clone()));
    tokio::spawn(identity::run(Arc::new(settings.identity.clone()), store.clone(), metrics.clone()));
    Ok(())
}

fn report(drained: Result<(), String>) {
    if let Err(error) = drained {
        tracing::warn!(error, "Envoy does not drain");
    }
}

/// Drains Envoy: for the termination drain duration, or until nobody is connected any more (EXIT_ON_ZERO_ACTIVE_CONNECTIONS).
async fn drain(settings: &Settings) {
    let text = &settings.config().termination_drain_duration;
    let period = duration::parse(text).unwrap_or(Duration::from_secs(5));
    report(envoy::drain(settings, false).await);
    if !settings.exit_on_zero_active_connections {
        tracing::info!(?period, "draining Envoy");
        return tokio::time::sleep(period).await;
    }
    tracing::info!(minimum = ?settings.minimum_drain, "draining Envoy until nobody is connected");
    tokio::time::sleep(settings.minimum_drain).await;
    let mut failures = 0;
    while failures < 5 {
        match envoy::active_connections(settings).await {
            Ok(Some(0) | None) => return,
            Ok(Some(open)) => {
                failures = 0;
                tracing::info!(open, "connections are still active");
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(error, "cannot count connections");
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
