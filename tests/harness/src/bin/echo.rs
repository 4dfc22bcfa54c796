// SPDX-License-Identifier: Apache-2.0
//! `echo serve` is a service that tells what reached it; `echo send` is a client for its lines over TCP and TLS; `echo decide` is a service
//! that says which requests may pass.

use anyhow::{Context, Result};
use clap::Parser;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use tiphys_harness::echo::{self, Config, lines};
use tiphys_harness::{Answers, authorizer};

/// A small service that stands for an application, and a client for it.
#[derive(Parser)]
enum Command {
    /// Serves until it is stopped.
    Serve(Serve),
    /// Sends a line over TCP or TLS and prints what comes back.
    Send(Send),
    /// Decides about requests, as Envoy's ext_authz asks, until it is stopped.
    Decide(Decide),
}

#[derive(clap::Args)]
struct Serve {
    /// Name of the service, in its answers
    #[arg(long)]
    name: String,
    /// Version of the service, in its answers
    #[arg(long, default_value = "v1")]
    version: String,
    /// Serve HTTP/1 and h2c here
    #[arg(long, value_name = "IP:PORT")]
    http: Vec<SocketAddr>,
    /// Serve HTTP over TLS here
    #[arg(long, value_name = "IP:PORT", requires_all = ["cert", "key"])]
    https: Vec<SocketAddr>,
    /// Serve lines of text here
    #[arg(long, value_name = "IP:PORT")]
    tcp: Vec<SocketAddr>,
    /// Certificate chain for --https (PEM)
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Private key for --https (PEM)
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Send calls (/call?url=...) to the sidecar that listens here
    #[arg(long, value_name = "IP")]
    sidecar: Option<IpAddr>,
}

#[derive(clap::Args)]
struct Send {
    /// Speak TLS and trust the certificates in this file (PEM)
    #[arg(long, value_name = "FILE", requires = "server_name")]
    ca: Option<PathBuf>,
    /// The server's name: asked for by SNI and expected in its certificate
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Where to connect to
    #[arg(value_name = "IP:PORT")]
    to: SocketAddr,
    /// The line to send
    line: String,
}

#[derive(clap::Args)]
struct Decide {
    /// Serve HTTP/1 here
    #[arg(long, value_name = "IP:PORT")]
    http: SocketAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Command::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(serve) => {
            let certificate = serve.cert.zip(serve.key);
            let Serve { name, version, http, https, tcp, sidecar, .. } = serve;
            echo::serve(Config { name, version, http, https, tcp, certificate, sidecar }).await
        }
        Command::Send(send) => {
            let tls = match send.ca {
                Some(ca) => Some(lines::Tls { ca, server_name: send.server_name.context("--server-name is missing")? }),
                None => None,
            };
            print!("{}", lines::send(send.to, tls, &send.line).await?);
            Ok(())
        }
        Command::Decide(decide) => {
            let _answers = Answers::serve(decide.http, authorizer::decide).await?;
            std::future::pending().await
        }
    }
}
