// SPDX-License-Identifier: Apache-2.0
//! The log: tracing events in, istiod's lines out.
//!
//! `2026-01-01T00:00:00.000000Z\tinfo\tads\tmessage\tkey=value`, or with `--log_as_json` one object a line with level, time, scope, msg and the
//! event's fields. The default scope is not written, as in istiod. Levels per scope may be changed while running ([`Log::set`]).

pub mod scopes;

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

pub use scopes::{Level, Levels, SCOPES, ScopeError};

/// How to log.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Level per scope.
    pub levels: Levels,
    /// One JSON object a line.
    pub json: bool,
    /// Where to: `stdout`, `stderr` or a file's path; stdout when empty.
    pub targets: Vec<String>,
}

/// The running log, whose levels can be changed.
#[derive(Clone)]
pub struct Log {
    levels: Arc<Mutex<Levels>>,
    handle: Option<reload::Handle<Targets, Registry>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("levels", &self.levels()).finish()
    }
}

impl Log {
    /// Starts the log of this process.
    ///
    /// # Errors
    /// When a file cannot be opened, or the process already has a log.
    pub fn start(options: LogOptions) -> io::Result<Self> {
        let sinks = if options.targets.is_empty() { vec!["stdout".to_owned()] } else { options.targets };
        let sinks = sinks.iter().map(|target| Sink::open(target)).collect::<io::Result<Vec<_>>>()?;
        let (filter, handle) = reload::Layer::new(options.levels.targets());
        let lines = tracing_subscriber::fmt::layer()
            .event_format(Lines { json: options.json })
            .with_writer(Sinks(Arc::new(sinks)))
            .with_filter(filter);
        tracing_subscriber::registry().with(lines).try_init().map_err(io::Error::other)?;
        Ok(Self { levels: Arc::new(Mutex::new(options.levels)), handle: Some(handle) })
    }

    /// A log that belongs to whoever started this code (a test): levels can be set and have no effect.
    pub fn detached() -> Self {
        Self { levels: Arc::default(), handle: None }
    }

    /// The levels in force.
    pub fn levels(&self) -> Levels {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The level of one scope.
    ///
    /// # Errors
    /// When there is no such scope.
    pub fn level(&self, scope: &str) -> Result<Level, ScopeError> {
        self.levels().get(scope).ok_or_else(|| ScopeError::Scope(scope.to_owned()))
    }

    /// Changes the level of one scope, or of all.
    ///
    /// # Errors
    /// When there is no such scope.
    pub fn set(&self, scope: &str, level: Level) -> Result<(), ScopeError> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.set(scope, level)?;
        if let Some(handle) = &self.handle
            && let Err(error) = handle.reload(levels.targets())
        {
            tracing::error!(%error, "the log's levels could not be changed");
        }
        Ok(())
    }
}

enum Sink {
    Stdout,
    Stderr,
    File(Mutex<File>),
}

impl Sink {
    fn open(target: &str) -> io::Result<Self> {
        Ok(match target {
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            path => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                Self::File(Mutex::new(file.map_err(|e| io::Error::new(e.kind(), format!("log target {path}: {e}")))?))
            }
        })
    }
}

/// Writes each line to every sink. A sink that fails (a closed pipe) does not stop the process.
#[derive(Clone)]
struct Sinks(Arc<Vec<Sink>>);

impl Write for Sinks {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for sink in self.0.iter() {
            let _ = match sink {
                Sink::Stdout => io::stdout().lock().write_all(line),
                Sink::Stderr => io::stderr().lock().write_all(line),
                Sink::File(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line),
            };
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stdout().flush();
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sinks {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Formats events as istiod does.
struct Lines {
    json: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = timestamp(OffsetDateTime::now_utc());
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            _ => "debug",
        };
        let scope = scopes::scope_of(event.metadata().target());
        out.write_str(&if self.json { fields.json(level, &time, scope) } else { fields.plain(level, &time, scope) })?;
        out.write_char('\n')
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn plain(&self, level: &str, time: &str, scope: &str) -> String {
        let mut line = format!("{time}\t{level}\t");
        if scope != scopes::DEFAULT {
            line.push_str(scope);
            line.push('\t');
        }
        // One event is one line, whatever an object's text holds.
        line.push_str(&self.message.replace('\n', "\\n"));
        for (i, (name, value)) in self.rest.iter().enumerate() {
            line.push(if i == 0 { '\t' } else { ' ' });
            let _ = match value {
                Value::String(text) if text.contains([' ', '\n', '\t', '"']) => write!(line, "{name}={value}"),
                Value::String(text) => write!(line, "{name}={text}"),
                value => write!(line, "{name}={value}"),
            };
        }
        line
    }

    fn json(self, level: &str, time: &str, scope: &str) -> String {
        let mut object = Map::new();
        object.insert("level".into(), level.into());
        object.insert("time".into(), time.into());
        object.insert("scope".into(), scope.into());
        object.insert("msg".into(), self.message.into());
        for (name, value) in self.rest {
            object.entry(name).or_insert(value);
        }
        Value::Object(object).to_string()
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.rest.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

/// RFC 3339 in UTC with microseconds.
pub fn timestamp(at: OffsetDateTime) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    at.to_offset(UtcOffset::UTC).format(FORMAT).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(timestamp(OffsetDateTime::UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
        let leap = OffsetDateTime::UNIX_EPOCH + time::Duration::microseconds(951_782_400_000_001);
        assert_eq!(timestamp(leap), "2000-02-29T00:00:00.000001Z");
    }

    #[test]
    fn lines() {
        let fields = || Fields {
            message: "two\nlines".into(),
            rest: vec![("proxies", 3.into()), ("file", "a b.yaml".into()), ("kind", "Gateway".into())],
        };
        assert_eq!(
            fields().plain("info", "T", "push"),
            "T\tinfo\tpush\ttwo\\nlines\tproxies=3 file=\"a b.yaml\" kind=Gateway"
        );
        assert_eq!(
            fields().plain("info", "T", "default"),
            "T\tinfo\ttwo\\nlines\tproxies=3 file=\"a b.yaml\" kind=Gateway"
        );
        let json: Value = serde_json::from_str(&fields().json("info", "T", "push")).unwrap();
        assert_eq!(json["msg"], "two\nlines");
        assert_eq!(json["scope"], "push");
        assert_eq!(json["proxies"], 3);
    }
}
