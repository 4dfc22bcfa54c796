// SPDX-License-Identifier: Apache-2.0
//! The program `tiphys`.

use clap::Parser;
use tiphys_server::cli::{Cli, Command};
use tiphys_server::log::Log;
use tiphys_server::settings::Settings;
use tiphys_server::{serve, version};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(args) => {
            let log = Log::start(args.log.clone().into())?;
            serve::run(*args, Settings::from_env()?, log).await
        }
        Command::Version { short } => {
            println!("{}", if short { version::VERSION.to_owned() } else { version::build() });
            Ok(())
        }
    }
}
