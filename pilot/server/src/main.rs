// SPDX-License-Identifier: Apache-2.0
//! The program `tiphys`.

use clap::Parser;
use tiphys_server::cli::{Cli, Command};
use tiphys_server::log::Log;
use tiphys_server::settings::Settings;
use tiphys_server::{request, serve, version};

/// How many tasks a thread runs before it looks for what came in. A change wakes a task for each proxy: their acknowledgements can wait until
/// the others have it too.
const EVENT_INTERVAL: u32 = 2048;

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(args) => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().enable_all().event_interval(EVENT_INTERVAL).build()?;
            runtime.block_on(async {
                let log = Log::start(args.log.clone().into())?;
                serve::run(*args, Settings::from_env()?, log).await
            })
        }
        Command::Request(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            println!("{}", runtime.block_on(request::send(&args))?);
            Ok(())
        }
        Command::Version { short } => {
            println!("{}", if short { version::VERSION.to_owned() } else { version::build() });
            Ok(())
        }
    }
}
