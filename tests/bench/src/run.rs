// SPDX-License-Identifier: Apache-2.0
//! The benchmark: a control plane on a generated folder, proxies, and changes of files.

use crate::case::{self, Change, Size};
use crate::floor;
use crate::load::{Fleet, Mode, Settings as Load};
use crate::process::Server;
use crate::report::{ChangeReport, Initial, Report, percentile, print};
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is run.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The control plane's program.
    #[arg(long, default_value = "target/release/tiphys")]
    binary: PathBuf,
    /// A folder for the configuration, logs and results.
    #[arg(long, default_value = "target/bench")]
    work: PathBuf,
    /// How many proxies: one run for each number.
    #[arg(long, value_delimiter = ',', default_values_t = [200, 1000])]
    proxies: Vec<usize>,
    /// The variants of the protocol: one run for each.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Mode::Delta, Mode::Sotw])]
    modes: Vec<Mode>,
    /// How many times each object changes.
    #[arg(long, default_value_t = 20)]
    times: usize,
    /// Where the results go as JSON; unset means results.json in the folder `--work`.
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    size: Size,
}

/// Runs all combinations, prints a table of each, and writes the results.
pub async fn run(settings: &Settings) -> Result<()> {
    let mut reports = Vec::new();
    for mode in &settings.modes {
        for proxies in &settings.proxies {
            let report = one(settings, *mode, *proxies).await?;
            print(&report);
            reports.push(report);
        }
    }
    let json = settings.json.clone().unwrap_or_else(|| settings.work.join("results.json"));
    std::fs::write(&json, serde_json::to_string_pretty(&reports)?)
        .with_context(|| format!("cannot write {}", json.display()))?;
    println!("\nresults: {}", json.display());
    Ok(())
}

async fn one(settings: &Settings, mode: Mode, proxies: usize) -> Result<Report> {
    let folder = settings.work.join("config");
    case::write(&folder, &settings.size)?;
    // A free port: bound and let go.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let log = settings.work.join(format!("tiphys-{mode}-{proxies}.log"));
    let server = Server::start(&settings.binary, &folder, address, &log).await?;
    // What the start still does in the background belongs to it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (startup_cpu_s, memory_before) = (server.cpu()?, server.memory()?);
    let fleet = Fleet::start(&Load::plain(address, proxies, mode)).await?;
    let time = fleet.wait_complete(Duration::from_secs(120)).await?;
    let initial = Initial {
        startup_cpu_s,
        memory_before,
        seconds: time.as_secs_f64(),
        cpu_s: server.cpu()? - startup_cpu_s,
        megabytes: fleet.bytes() as f64 / 1e6,
        memory: server.memory()?,
    };
    let mut changes = Vec::new();
    for change in Change::ALL {
        changes.push(measure(settings, &server, &fleet, change).await?);
    }
    Ok(Report { mode: mode.to_string(), proxies, initial, changes, memory: server.memory()? })
}

async fn measure(settings: &Settings, server: &Server, fleet: &Fleet, change: Change) -> Result<ChangeReport> {
    let folder = settings.work.join("config");
    let (cpu, bytes) = (server.cpu()?, fleet.bytes());
    let (mut last, mut middle, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for version in 1..=settings.times {
        let begin = Instant::now();
        change.write(&folder, &settings.size, version)?;
        let times = fleet.wait_change(begin, Duration::from_secs(30)).await.context(change.name())?;
        last.push(percentile(&times, 100));
        middle.push(percentile(&times, 50));
        first.push(percentile(&times, 0));
    }
    [&mut last, &mut middle, &mut first].into_iter().for_each(|times| times.sort_by(f64::total_cmp));
    let cpu_s = (server.cpu()? - cpu) / settings.times as f64;
    let bytes = (fleet.bytes() - bytes) / settings.times as u64;
    let (proxies, each) = (fleet.len(), bytes as usize / fleet.len());
    let floor = tokio::task::spawn_blocking(move || floor::measure(proxies, each.max(1), 20)).await??;
    Ok(ChangeReport {
        what: change.name(),
        times: settings.times,
        p50_ms: percentile(&last, 50),
        p99_ms: percentile(&last, 99),
        first_ms: percentile(&first, 50),
        middle_ms: percentile(&middle, 50),
        cpu_s,
        bytes,
        floor,
    })
}
