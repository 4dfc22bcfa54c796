// SPDX-License-Identifier: Apache-2.0
//! Envoy's process: started, watched, drained, ended.
//!
//! Envoy runs in a process group of its own, so that a signal meant for the agent does not end it before it is drained, and gets a
//! signal from the kernel when the agent dies. For the latter the agent starts itself again as `exec-envoy`, which asks the kernel
//! for that signal and then becomes Envoy. Its output is the agent's output. The agent reaps every child, also those of others that
//! fall to it as first process of a container.

use crate::bootstrap;
use crate::duration;
use crate::net;
use crate::settings::Settings;
use http::Method;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long Envoy may take to end after SIGTERM.
const END_TIMEOUT: Duration = Duration::from_secs(5);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How Envoy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The code with which the agent ends in its turn, as shells do it.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => u8::try_from(code & 0xff).unwrap_or(1),
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(255),
        }
    }
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    pid: Pid,
    exit: Option<Exit>,
    children: tokio::signal::unix::Signal,
}

impl Envoy {
    /// Starts Envoy with a bootstrap.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(settings: &Settings, bootstrap: &Path) -> Result<Self, String> {
        // Before the start, so that no word of an end is missed.
        let children = signal(SignalKind::child()).map_err(|e| format!("SIGCHLD: {e}"))?;
        let binary = settings.envoy_binary();
        let own = std::env::current_exe().map_err(|e| format!("own binary: {e}"))?;
        let arguments = arguments(settings, bootstrap)?;
        tracing::info!(binary, arguments = arguments.join(" "), "starting Envoy");
        let child = Command::new(own)
            .arg("exec-envoy")
            .arg(std::process::id().to_string())
            .arg(binary)
            .args(&arguments)
            .process_group(0)
            .spawn()
            .map_err(|e| format!("cannot start Envoy: {e}"))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("Envoy has no process id")?;
        Ok(Self { pid, exit: None, children })
    }

    /// Waits for Envoy's end, reaping all other children meanwhile.
    pub async fn wait(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            self.reap();
            if self.exit.is_none() && self.children.recv().await.is_none() {
                // The runtime is going down, and Envoy gets the kernel's signal.
                return Exit::Code(1);
            }
        }
    }

    fn reap(&mut self) {
        let own = self.pid;
        reap_children(|pid, status| {
            if pid == own {
                self.exit = exit(status);
            }
        });
    }

    /// Asks Envoy to end, and makes it when it does not.
    pub async fn end(&mut self) -> Exit {
        self.kill(Signal::TERM);
        match tokio::time::timeout(END_TIMEOUT, self.wait()).await {
            Ok(exit) => exit,
            Err(_) => {
                tracing::warn!("Envoy does not end; killing it");
                self.kill(Signal::KILL);
                self.wait().await
            }
        }
    }

    fn kill(&self, signal: Signal) {
        // It may have ended by itself, which is as well.
        if self.exit.is_none()
            && let Err(error) = rustix::process::kill_process(self.pid, signal)
        {
            tracing::debug!(%error, "signal to Envoy");
        }
    }
}

fn reap_children(mut each: impl FnMut(Pid, WaitStatus)) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        each(pid, status);
    }
}

/// Reaps children for as long as it is polled: without Envoy the agent is still the first process of its container.
///
/// # Errors
/// When no word of children's ends can be had.
pub async fn reap_forever() -> Result<(), String> {
    let mut children = signal(SignalKind::child()).map_err(|e| format!("SIGCHLD: {e}"))?;
    while children.recv().await.is_some() {
        reap_children(|_, _| {});
    }
    Ok(())
}

fn exit(status: WaitStatus) -> Option<Exit> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(Exit::Code(code)),
        (None, Some(signal)) => Some(Exit::Signal(signal)),
        (None, None) => None,
    }
}

/// Becomes Envoy, with SIGTERM from the kernel when the agent dies. Comes back only with an error.
pub fn exec(parent: u32, command: &[String]) -> String {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
        return format!("asking for a signal at the agent's death: {error}");
    }
    // The agent may have died before the kernel was asked.
    let now = rustix::process::getppid().map(|p| p.as_raw_nonzero().get().cast_unsigned());
    if now != Some(parent) {
        return "the agent died before Envoy started".into();
    }
    let Some((binary, arguments)) = command.split_first() else { return "no Envoy given".into() };
    let error = Command::new(binary).args(arguments).exec();
    format!("cannot start Envoy: {binary}: {error}; set binaryPath in PROXY_CONFIG or ENVOY_BINARY")
}

/// Envoy's arguments, as pilot-agent gives them.
fn arguments(settings: &Settings, bootstrap: &Path) -> Result<Vec<String>, String> {
    let config = settings.config();
    let version = if settings.addresses.iter().all(IpAddr::is_ipv6) { "v6" } else { "v4" };
    let flush = config.file_flush_interval.as_deref().and_then(duration::parse).unwrap_or(Duration::from_secs(1));
    let drain = duration::parse(&config.drain_duration)
        .ok_or_else(|| format!("ProxyConfig.drainDuration: {:?} is no duration", config.drain_duration))?;
    let mut all: Vec<String> = Vec::new();
    let mut add = |name: &str, value: String| all.extend([name.to_string(), value]);
    add("-c", bootstrap.display().to_string());
    add("--drain-time-s", drain.as_secs().to_string());
    add("--drain-strategy", "immediate".into());
    add("--local-address-ip-version", version.into());
    add("--file-flush-interval-msec", flush.as_millis().to_string());
    if config.file_flush_min_size_kb > 0 {
        add("--file-flush-min-size-kb", config.file_flush_min_size_kb.to_string());
    }
    let (level, components) = log_levels(settings.args.proxy_log_level.as_deref().unwrap_or("warning"));
    if let Some(level) = level {
        add("-l", level);
    }
    match (components, settings.args.proxy_component_log_level.as_deref()) {
        (Some(components), _) => add("--component-log-level", components),
        (None, Some(components)) if !components.is_empty() => add("--component-log-level", components.into()),
        (None, _) => {}
    }
    if let Some(text) = bootstrap::custom(settings)? {
        add("--config-yaml", text);
    }
    if let Some(threads) = config.concurrency.filter(|n| *n > 0) {
        add("--concurrency", threads.to_string());
    }
    all.push("--disable-hot-restart".into());
    all.push("--allow-unknown-static-fields".into());
    if settings.env.get("ENVOY_SKIP_DEPRECATED_LOGS") != Some("false") {
        all.push("--skip-deprecated-logs".into());
    }
    Ok(all)
}

/// `info,upstream:debug` is a level, and levels of components.
fn log_levels(text: &str) -> (Option<String>, Option<String>) {
    let (components, levels): (Vec<&str>, Vec<&str>) =
        text.split(',').map(str::trim).filter(|p| !p.is_empty()).partition(|p| p.contains(':'));
    let components = (!components.is_empty()).then(|| components.join(","));
    (levels.last().map(ToString::to_string), components)
}

/// Tells Envoy to drain its listeners: those for inbound traffic of a sidecar, all of a gateway. With `stay`, Envoy's listeners are
/// not closed at the end of the drain.
///
/// # Errors
/// When Envoy's admin interface does not answer.
pub async fn drain(settings: &Settings, stay: bool) -> Result<(), String> {
    let inbound = if settings.args.kind == "sidecar" { "inboundonly&" } else { "" };
    let stay = if stay { "&skip_exit" } else { "" };
    let path = format!("/drain_listeners?{inbound}graceful{stay}");
    let answer = net::request(Method::POST, &settings.admin_address(), &path, ADMIN_TIMEOUT).await?;
    if answer.status.is_success() { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text().trim())) }
}

/// How many connections are open on Envoy's listeners, other than the agent's own; `None` when Envoy does not count them.
///
/// # Errors
/// When Envoy's admin interface does not answer.
pub async fn active_connections(settings: &Settings) -> Result<Option<u64>, String> {
    let path = "/stats?usedonly&filter=downstream_cx_active$";
    let answer = net::request(Method::GET, &settings.admin_address(), path, ADMIN_TIMEOUT).await?;
    let text = answer.text();
    if text.trim().is_empty() {
        return Ok(None);
    }
    let listen = settings.ports.listen;
    let own = [settings.ports.envoy_status, settings.ports.prometheus].map(|p| format!("listener.{listen}_{p}."));
    Ok(Some(count_active(&text, &own)))
}

fn count_active(stats: &str, own: &[String]) -> u64 {
    let counted = stats.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let ours = own.iter().any(|o| name.starts_with(o.as_str()));
        let internal = name.starts_with("listener.admin.") || name.starts_with("listener.envoy_internal_");
        // Workers' counts are in the sum of their listener.
        if !name.starts_with("listener.") || name.contains("worker_") || ours || internal {
            return None;
        }
        value.trim().parse::<u64>().ok()
    });
    counted.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ProxyArgs;
    use crate::settings::Environment;

    #[test]
    fn levels_of_the_log() {
        assert_eq!(log_levels("info"), (Some("info".into()), None));
        assert_eq!(
            log_levels("warning,upstream:debug,misc:error"),
            (Some("warning".into()), Some("upstream:debug,misc:error".into()))
        );
    }

    #[test]
    fn arguments_follow_the_settings() {
        let env = [
            ("PROXY_CONFIG", "{drainDuration: 7s, concurrency: 2, fileFlushInterval: 3s}"),
            ("INSTANCE_IP", "127.0.0.2"),
        ];
        let env = Environment(env.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect());
        let settings = Settings::gather(ProxyArgs { kind: "router".into(), ..Default::default() }, env).unwrap();
        let line = arguments(&settings, Path::new("b.json")).unwrap().join(" ");
        for part in
            ["-c b.json", "--drain-time-s 7", "--concurrency 2", "--file-flush-interval-msec 3000", "-l warning"]
        {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn connections_of_users_only() {
        let stats = "http.stats.downstream_cx_active: 3\nlistener.0.0.0.0_15021.downstream_cx_active: 1\n\
                     listener.admin.downstream_cx_active: 1\nlistener.0.0.0.0_8080.downstream_cx_active: 2\n\
                     listener.0.0.0.0_8080.worker_0.downstream_cx_active: 2\nlistener.127.0.0.1_9000.downstream_cx_active: 5\n";
        assert_eq!(count_active(stats, &["listener.0.0.0.0_15021.".into()]), 7);
    }

    #[test]
    fn exit_codes() {
        assert_eq!((Exit::Code(3).code(), Exit::Signal(9).code()), (3, 137));
    }
}
