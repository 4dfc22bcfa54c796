// SPDX-License-Identifier: Apache-2.0
//! The program `tiphysctl`: looks at configuration before, or without, a control plane.
//!
//! Each command is a module that returns an exit code: 0 all is well, 1 something is wrong with what it was given, 2 it was called wrongly.

mod cli;
mod inject;
mod output;
mod preflight;
mod render;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command, Preflight};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Validate(args) => validate::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Inject(args) => inject::run(&args),
        Command::Preflight(Preflight::Strict(args)) => return preflight::run(&args),
        Command::Version { short } => Ok(version(short)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tiphysctl", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("tiphysctl: {error:#}");
        ExitCode::from(1)
    })
}

fn version(short: bool) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    if short {
        println!("{version}");
    } else {
        println!("tiphysctl {version} ({})", option_env!("TIPHYS_GIT_REVISION").unwrap_or("unknown revision"));
    }
    ExitCode::SUCCESS
}
