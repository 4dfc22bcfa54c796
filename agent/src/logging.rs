// SPDX-License-Identifier: Apache-2.0
//! Logs on standard output in Istio's lines: `2026-01-01T00:00:00.000000Z\tinfo\tsds\tmessage\tkey=value`, or one JSON object a line.
//!
//! Levels are given as pilot-agent's `--log_output_level` gives them: `info`, `default:info,sds:debug`.

use serde_json::{Map, Value};
use std::fmt::{self, Write};
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging.
///
/// # Errors
/// When a level is not known, or logging has been started before.
pub fn start(levels: Option<&str>, json: bool) -> Result<(), String> {
    let targets = targets(levels.unwrap_or("info"))?;
    let lines = tracing_subscriber::fmt::layer().event_format(Lines { json }).with_writer(std::io::stdout);
    tracing_subscriber::registry().with(targets).with(lines).try_init().map_err(|e| e.to_string())
}

/// One line an event.
struct Lines {
    json: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = level(*event.metadata().level());
        let scope = event.metadata().target();
        let scope = scope.strip_prefix("tiphys_agent::").unwrap_or(scope);
        let now = timestamp(OffsetDateTime::now_utc());
        if self.json {
            let mut all = Map::new();
            for (name, value) in [("level", level), ("time", &now), ("scope", scope), ("msg", &fields.message)] {
                all.insert(name.into(), value.into());
            }
            all.extend(fields.others.into_iter().map(|(n, v)| (n.to_string(), Value::String(v))));
            return writeln!(line, "{}", Value::Object(all));
        }
        write!(line, "{now}\t{level}\t{scope}\t{}", fields.message)?;
        for (index, (name, value)) in fields.others.iter().enumerate() {
            let before = if index == 0 { '\t' } else { ' ' };
            if value.contains(char::is_whitespace) {
                write!(line, "{before}{name}={value:?}")?;
            } else {
                write!(line, "{before}{name}={value}")?;
            }
        }
        writeln!(line)
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

fn timestamp(t: OffsetDateTime) -> String {
    let (year, month, day) = t.to_calendar_date();
    let (hour, minute, second, micro) = t.to_hms_micro();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z", u8::from(month))
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.into();
        } else {
            self.others.push((field.name(), value.into()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
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

    #[test]
    fn times_are_as_istio_writes_them() {
        let t = OffsetDateTime::from_unix_timestamp_nanos(1_767_225_600_000_042_000).unwrap();
        assert_eq!(timestamp(t), "2026-01-01T00:00:00.000042Z");
    }

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
