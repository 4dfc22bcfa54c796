// SPDX-License-Identifier: Apache-2.0
//! Load generator and benchmark of the control plane.
//!
//! `case` writes a folder of configuration; `load` acts as many sidecars of a running control plane; `run` starts one on such a folder, loads it,
//! changes files, and measures; `floor` shows what the bytes alone cost.

mod case;
mod floor;
mod load;
mod process;
mod report;
mod run;
mod stub;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Parser)]
#[command(name = "tiphys-bench", about = "Load generator and benchmark of the control plane")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the folder of configuration that `run` measures: 1,000 services of 3 endpoints and 101 VirtualServices by default.
    Case {
        /// The folder; what is in it is overwritten.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        size: case::Size,
    },
    /// Act as many sidecars of a running control plane, and tell when all have all.
    Load {
        #[command(flatten)]
        load: load::Settings,
        /// How long to stay after all have all, e.g. to change files by hand.
        #[arg(long, default_value_t = 0)]
        stay_seconds: u64,
    },
    /// Start a control plane on a generated folder, load it, change files, and measure.
    Run(Box<run::Settings>),
    /// Stand in for a control plane, with ready-made tables of the same case: what the discovery service alone costs. Takes the
    /// arguments that `run` starts a control plane with, so that `run --binary` can name this program.
    Serve(stub::Settings),
    /// Write bytes to loopback sockets with readers: what no control plane can go below.
    Floor {
        /// How many sockets.
        #[arg(long, default_value_t = 200)]
        proxies: usize,
        /// How many bytes to each.
        #[arg(long, default_value_t = 460_000)]
        bytes: usize,
        /// How many times.
        #[arg(long, default_value_t = 20)]
        rounds: usize,
    },
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match Arguments::parse().command {
        Command::Case { out, size } => case::write(&out, &size),
        Command::Load { load, stay_seconds } => runtime.block_on(async {
            let fleet = load::Fleet::start(&load).await?;
            let initial = fleet.wait_complete(Duration::from_secs(load.timeout_seconds)).await?;
            println!(
                "{} proxies have all after {:.3} s, {:.1} MB received",
                load.proxies,
                initial.as_secs_f64(),
                fleet.bytes() as f64 / 1e6
            );
            tokio::time::sleep(Duration::from_secs(stay_seconds)).await;
            Ok(())
        }),
        Command::Run(settings) => runtime.block_on(run::run(&settings)),
        Command::Serve(settings) => runtime.block_on(stub::serve(&settings)),
        Command::Floor { proxies, bytes, rounds } => {
            let floor = floor::measure(proxies, bytes, rounds)?;
            println!("{}", serde_json::to_string_pretty(&floor)?);
            Ok(())
        }
    }
}
