// SPDX-License-Identifier: Apache-2.0
//! Starts the mesh of `samples/bookinfo` on loopback addresses, says what runs and what to try, and shows what the control plane
//! says until Ctrl-C. With `--check` it runs what it would have printed, compares the answers, and exits.

mod check;
mod rows;

use anyhow::{Context, Result};
use clap::Parser;
use rows::CHAPTERS;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tiphys_harness::mesh::{Mesh, app_name, proxy_name};
use tiphys_harness::net::Net;
use tiphys_harness::plan::{self, Role};
use tiphys_harness::programs;
use tokio::signal::unix::{SignalKind, signal};

/// The mesh of samples/bookinfo on loopback addresses.
#[derive(Parser)]
struct Options {
    /// Run the printed commands, compare their answers, and exit
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = show(options) => outcome,
        _ = interrupt.recv() => stopped(),
        _ = terminate.recv() => stopped(),
    }
}

/// What was started ends as its owner, the future of [`show`], is dropped.
fn stopped() -> Result<bool> {
    println!("\nstopped; everything that was started has ended");
    Ok(true)
}

async fn show(options: &Options) -> Result<bool> {
    println!("Starting the mesh of samples/bookinfo ...");
    let began = Instant::now();
    let mut mesh = Mesh::start(&programs::sample("bookinfo"), plan::bookinfo(), Net::as_written()?).await?;
    println!("ready after {:.1} s\n", began.elapsed().as_secs_f64());
    if options.check {
        let passed = check::run(&mut mesh).await?;
        mesh.stop().await;
        return Ok(passed);
    }
    print_parts(&mesh);
    print_rows(&mesh);
    follow(&mut mesh).await?;
    Ok(true)
}

fn print_parts(mesh: &Mesh) {
    let ports = mesh.control_plane();
    println!("What runs (folder {}):\n", mesh.folder().path().display());
    println!("  {:<24}{:<44}logs/tiphys.log", "control plane", format!("127.0.0.1:{} (xDS and CA)", ports.secure_grpc));
    println!("  {:<24}http://127.0.0.1:{}/metrics, http://127.0.0.1:{}/debug", "", ports.monitoring, ports.http);
    for workload in mesh.workloads() {
        let ip = mesh.net().ip(workload.host);
        let place = match workload.role {
            Role::Gateway(_) => format!("{ip}"),
            Role::Sidecar(_) => format!("{ip} in, {} out", mesh.net().ip(workload.host + 100)),
            Role::Outside => format!("{ip}, outside of the mesh"),
        };
        let log = if workload.identity().is_some() { proxy_name(workload) } else { app_name(workload) };
        println!("  {:<24}{place:<44}logs/{log}.log", workload.name);
        if workload.identity().is_some() {
            println!("  {:<24}http://127.0.0.1:{}/config_dump", "", mesh.proxy_ports(workload).admin);
        }
    }
}

fn print_rows(mesh: &Mesh) {
    println!("\nTry it, in another terminal:\n\n  cd {}", mesh.folder().path().display());
    for chapter in CHAPTERS {
        println!("\n{}", chapter.title);
        for row in chapter.rows {
            println!("\n  # {}\n  {}", row.title, row.command);
            for line in row.answer.describe().lines() {
                println!("      {line}");
            }
        }
    }
    println!("\nEdit what is in config/ and see below what the control plane makes of it. Ctrl-C stops everything.\n");
}

/// Prints what the control plane logs from now on; ends when a part of the mesh does.
async fn follow(mesh: &mut Mesh) -> Result<()> {
    let path = mesh.folder().log("tiphys");
    let mut log = std::fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    log.seek(SeekFrom::End(0))?;
    loop {
        let mut text = Vec::new();
        log.read_to_end(&mut text)?;
        std::io::stdout().write_all(&text)?;
        std::io::stdout().flush()?;
        mesh.check()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
