// SPDX-License-Identifier: Apache-2.0
//! Logs on standard output, with levels as pilot-agent's `--log_output_level` gives them: `info`, `default:info,sds:debug`.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging.
///
/// # Errors
/// When a level is not known, or logging has been started before.
pub fn start(levels: Option<&str>, json: bool) -> Result<(), String> {
    let targets = targets(levels.unwrap_or("info"))?;
    let registry = tracing_subscriber::registry().with(targets);
    let started = if json {
        registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stdout)).try_init()
    } else {
        let color = std::io::IsTerminal::is_terminal(&std::io::stdout());
        registry.with(tracing_subscriber::fmt::layer().with_ansi(color).with_writer(std::io::stdout)).try_init()
    };
    started.map_err(|e| e.to_string())
}

/// Scopes are the agent's modules: `sds`, `relay`, `identity`, `envoy`, `status`; `default` and `all` mean all of them.
fn targets(levels: &str) -> Result<Targets, String> {
    let mut targets = Targets::new().with_default(LevelFilter::WARN).with_target("tiphys_agent", LevelFilter::INFO);
    for part in levels.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (scope, level) = part.split_once(':').unwrap_or(("default", part));
        let filter = match level {
            "none" => LevelFilter::OFF,
            "fatal" | "error" => LevelFilter::ERROR,
            "warn" | "warning" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            other => {
                return Err(format!(
                    "--log_output_level: unknown level {other:?}; use none, error, warn, info or debug"
                ));
            }
        };
        targets = match scope {
            "default" | "all" => targets.with_target("tiphys_agent", filter),
            scope => targets.with_target(format!("tiphys_agent::{scope}"), filter),
        };
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels_by_scope() {
        let t = targets("default:info,sds:debug").unwrap();
        assert!(t.would_enable("tiphys_agent::relay", &Level::INFO));
        assert!(!t.would_enable("tiphys_agent::relay", &Level::DEBUG));
        assert!(t.would_enable("tiphys_agent::sds", &Level::DEBUG));
        assert!(!targets("none").unwrap().would_enable("tiphys_agent", &Level::ERROR));
        assert!(targets("loud").is_err());
    }
}
