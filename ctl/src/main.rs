// SPDX-License-Identifier: Apache-2.0
//! `tiphysctl`: asks of a mesh, and of the files that would make one.

mod render;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Asks of a mesh, and of the files that would make one.
#[derive(Parser)]
#[command(name = "tiphysctl", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Render(render::Render),
}

fn main() -> Result<ExitCode> {
    let whole = match Arguments::parse().command {
        Command::Render(args) => render::run(args)?,
    };
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
