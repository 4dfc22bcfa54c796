// SPDX-License-Identifier: Apache-2.0
//! Many sidecars at once, as cheap as can be: of each response only the names are read.

mod proxy;
mod scan;
mod transport;
mod turns;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use proxy::Proxy;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The variant of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Incremental.
    Delta,
    /// State of the world.
    Sotw,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Delta { "delta" } else { "sotw" })
    }
}

/// Which sidecars, and where they connect.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The address of the control plane's xDS port.
    #[arg(long)]
    pub addr: SocketAddr,
    /// How many sidecars.
    #[arg(long, default_value_t = 200)]
    pub proxies: usize,
    /// The variant of the protocol.
    #[arg(long, value_enum, default_value_t = Mode::Delta)]
    pub mode: Mode,
    /// The namespace of all sidecars.
    #[arg(long, default_value = crate::case::NAMESPACE)]
    pub namespace: String,
    /// Connect with TLS.
    #[arg(long, requires = "ca")]
    pub tls: bool,
    /// The root certificates of the control plane (PEM).
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// The client certificate (PEM).
    #[arg(long, requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key of the client certificate (PEM).
    #[arg(long, requires = "cert")]
    pub key: Option<PathBuf>,
    /// The name that the control plane's certificate must have.
    #[arg(long, default_value = "istiod.istio-system.svc")]
    pub server_name: String,
    /// How long to wait for all to have all.
    #[arg(long, default_value_t = 120)]
    pub timeout_seconds: u64,
}

impl Settings {
    /// Plaintext sidecars of the generated case.
    pub fn plain(addr: SocketAddr, proxies: usize, mode: Mode) -> Self {
        Self {
            addr,
            proxies,
            mode,
            namespace: crate::case::NAMESPACE.into(),
            tls: false,
            ca: None,
            cert: None,
            key: None,
            server_name: String::new(),
            timeout_seconds: 120,
        }
    }
}

/// What one sidecar has so far, as others see it.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    /// When the last response was taken, in microseconds since the start of the fleet.
    last: AtomicU64,
    /// Whether it has all that it asked for.
    complete: AtomicBool,
}

/// What clusters and listeners refer to, read once for all sidecars.
#[derive(Default)]
pub struct References(Mutex<HashMap<u64, Arc<Reference>>>);

/// A cluster or listener: its name, and what it makes a sidecar ask for.
pub struct Reference {
    /// Its name.
    pub name: Arc<str>,
    /// Names of load assignments or route configurations.
    pub wanted: Vec<Arc<str>>,
}

impl References {
    fn of(&self, type_url: &str, resource: scan::Resource) -> Result<Arc<Reference>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reference) = known.get(&resource.key) {
            return Ok(Arc::clone(reference));
        }
        let (name, wanted) = scan::references(type_url, &resource.value)?;
        let wanted = wanted.into_iter().map(Arc::from).collect();
        let reference = Arc::new(Reference { name: name.into(), wanted });
        known.insert(resource.key, Arc::clone(&reference));
        Ok(reference)
    }
}

/// What all sidecars share.
pub struct Shared {
    settings: Settings,
    start: Instant,
    references: References,
    progress: Vec<Progress>,
    tls: Option<tokio_rustls::TlsConnector>,
    failure: Mutex<Option<String>>,
    turns: turns::Turns,
}

impl Shared {
    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// Many sidecars.
pub struct Fleet {
    shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// When nothing was received for so long, a change is over.
const QUIET: Duration = Duration::from_millis(150);

impl Fleet {
    /// Starts all sidecars at once.
    pub async fn start(settings: &Settings) -> Result<Self> {
        let tls = if settings.tls { Some(transport::tls(settings)?) } else { None };
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            start: Instant::now(),
            references: References::default(),
            progress: (0..settings.proxies).map(|_| Progress::default()).collect(),
            tls,
            failure: Mutex::default(),
            turns: turns::Turns::default(),
        });
        let spawn = |i| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                if let Err(error) = Proxy::run(&shared, i).await {
                    let text = format!("proxy {i}: {error:#}");
                    shared.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
                }
            })
        };
        let mut tasks: Vec<_> = (0..settings.proxies).map(spawn).collect();
        let turns = Arc::clone(&shared);
        tasks.push(tokio::spawn(async move { turns.turns.run().await }));
        Ok(Self { shared, tasks })
    }

    /// How many sidecars there are.
    pub fn len(&self) -> usize {
        self.shared.progress.len()
    }

    /// How many bytes all have received.
    pub fn bytes(&self) -> u64 {
        self.shared.progress.iter().map(|p| p.bytes.load(Ordering::Relaxed)).sum()
    }

    /// Waits until all have all, and gives the time from the start to the last response.
    pub async fn wait_complete(&self, limit: Duration) -> Result<Duration> {
        self.wait(0, limit).await?;
        let last = self.shared.progress.iter().map(|p| p.last.load(Ordering::Relaxed)).max();
        Ok(Duration::from_micros(last.unwrap_or(0)))
    }

    /// Waits until all have received something since `begin` and then nothing more comes. Gives for each sidecar the
    /// milliseconds from `begin` to its last response, sorted.
    pub async fn wait_change(&self, begin: Instant, limit: Duration) -> Result<Vec<f64>> {
        let begin = (begin - self.shared.start).as_micros() as u64;
        self.wait(begin, limit).await?;
        let milliseconds = |p: &Progress| (p.last.load(Ordering::Relaxed) - begin) as f64 / 1e3;
        let mut times: Vec<f64> = self.shared.progress.iter().map(milliseconds).collect();
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    async fn wait(&self, after: u64, limit: Duration) -> Result<()> {
        let begin = Instant::now();
        loop {
            if let Some(failure) = &*self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) {
                bail!("{failure}");
            }
            let progress = &self.shared.progress;
            let quiet = self.shared.now().saturating_sub(QUIET.as_micros() as u64);
            let waiting = |p: &&Progress| {
                let last = p.last.load(Ordering::Relaxed);
                last <= after || !p.complete.load(Ordering::Relaxed) || last > quiet
            };
            let left = progress.iter().filter(waiting).count();
            if left == 0 {
                return Ok(());
            }
            if begin.elapsed() > limit {
                bail!("{left} of {} proxies did not get all within {limit:?}", progress.len());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
