// SPDX-License-Identifier: Apache-2.0
//! Traffic capture: the command `istio-iptables`, which leads a pod's connections to Envoy.
//!
//! The way of the data: command line and environment ([`config`]) become one list of [`rule::Rule`]s ([`rules`]), which names no
//! tool. A backend writes it for the tool that the kernel has and applies it: [`iptables`] (legacy or nft flavour), [`nftables`].
//! [`routes`] adds what is no packet filter: TPROXY's routing table, the address ::6. [`validate`] opens a connection and sees
//! where it arrives.
//!
//! All of it is synchronous and short-lived: an init container waits for it. Chains, order and effect of the rules are those of
//! Istio (istio.io/latest/docs/ops/deployment/application-requirements, "Ports used by Istio"; the sidecar's traffic capture).

pub mod config;
mod flags;
pub mod iptables;
mod local;
pub mod nftables;
mod routes;
pub mod rule;
pub mod rules;
mod validate;

use config::{Binary, CaptureConfig};
use rule::Rule;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;

pub use flags::HELP;

/// The exit code that tells istio-cni's repair controller that a pod has no rules.
const VALIDATION_FAILED: u8 = 126;

/// Runs the command with these arguments; gives the exit code.
///
/// # Errors
/// Says what could not be understood, applied or removed.
pub fn run(args: &[String], cleanup: bool) -> Result<u8, String> {
    let environment = crate::settings::Environment::of_process();
    let Some((mut config, (level, json))) = flags::read(args, &environment)? else {
        print!("{HELP}");
        return Ok(0);
    };
    crate::logging::start(level.as_deref(), json)?;
    config.cleanup_only |= cleanup;
    if let Some(path) = config.network_namespace.as_deref() {
        enter(path)?;
    }
    local::fill(&mut config, &environment)?;
    if !config.skip_rule_apply {
        apply(&config)?;
    }
    if config.run_validation
        && let Err(reason) = validate::run(&config)
    {
        tracing::error!(
            reason,
            "validation of the traffic capture failed: this pod's traffic does not reach the proxy. With istio-cni this happens when \
             a pod starts before the node is ready; it is then deleted by istio-cni's repair, or by hand"
        );
        return Ok(VALIDATION_FAILED);
    }
    Ok(0)
}

/// Goes into the network namespace of the file given, with all programs that are started from now on.
fn enter(path: &str) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("--network-namespace {path}: {e}");
    let file = File::open(path).map_err(failed)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|e| failed(e.into()))
}

fn apply(config: &CaptureConfig) -> Result<(), String> {
    let rules = rules::all(config)?;
    tracing::info!(?config, "capturing traffic");
    if config.dry_run {
        print!("{}", preview(config, &rules));
        return Ok(());
    }
    let native = config.native_nftables || (config.binary == Binary::Any && nftables::only_choice());
    if native {
        if config.cleanup_only { nftables::remove()? } else { nftables::apply(&rules, config)? }
    } else {
        iptables::apply(&rules, config)?;
    }
    if config.cleanup_only { Ok(()) } else { routes::add(config) }
}

/// What would be applied, as text.
fn preview(config: &CaptureConfig, rules: &[Rule]) -> String {
    if config.native_nftables {
        return nftables::script(rules, config);
    }
    let v6 = if config.ipv6 { iptables::restore_text(rules, true) } else { String::new() };
    format!("# iptables-restore\n{}# ip6tables-restore\n{v6}", iptables::restore_text(rules, false))
}
