// SPDX-License-Identifier: Apache-2.0
//! Brings a real Kubernetes up and down on this machine, without Docker and without an image registry.
//!
//! A node is a set of namespaces of its own (processes, mounts, network, host name) whose first process is this program again
//! ([`node`]): it starts the parts of Kubernetes ([`components`]) and keeps them running. When that process ends, the kernel ends all
//! that runs in its namespaces and forgets their mounts and interfaces, so that nothing stays behind, however it came to its end.
//! What nodes are built from comes from [`programs`] and [`images`], once, into the cache; where they are on the network says
//! [`plan`]. [`up`] and [`down`] put it all together.

mod addons;
mod components;
mod config;
mod down;
mod groups;
mod images;
mod network;
mod node;
mod pki;
mod plan;
mod programs;
mod state;
mod up;

use anyhow::Result;
use clap::Parser;
use std::process::ExitCode;

/// A real Kubernetes on this machine.
#[derive(Parser)]
#[command(name = "cluster")]
enum Command {
    /// Builds the programs and images that are not built yet
    Build,
    /// Brings a cluster up; one that is up already only gets the images that changed
    Up(up::Arguments),
    /// Ends a cluster and removes all that is left of it
    Down {
        /// Name of the cluster
        #[arg(long, env = "CLUSTER", default_value = "tiphys")]
        name: String,
    },
    /// Prints the shell commands after which kubectl and helm use a cluster
    Env {
        /// Name of the cluster
        #[arg(long, env = "CLUSTER", default_value = "tiphys")]
        name: String,
    },
    /// Stops a component of a node, such as kube-apiserver or etcd, at once (SIGKILL) until it is started again
    Stop(state::Component),
    /// Starts a component that was stopped
    Start(state::Component),
    /// Becomes the one that waits for the first process of a node
    #[command(hide = true)]
    Enter {
        #[arg(long)]
        folder: std::path::PathBuf,
    },
    /// The first process of a node
    #[command(hide = true)]
    Node {
        #[arg(long)]
        folder: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Build => build(),
        Command::Up(arguments) => up::run(&arguments),
        Command::Down { name } => down::run(&name),
        Command::Env { name } => state::print_environment(&name),
        Command::Stop(component) => component.stop(),
        Command::Start(component) => component.start(),
        Command::Enter { folder } => node::enter(&folder),
        Command::Node { folder } => node::run(&folder),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    let programs = programs::build()?;
    images::build(&programs)?;
    Ok(())
}
