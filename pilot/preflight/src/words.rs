// SPDX-License-Identifier: Apache-2.0
//! Wording that findings share.

use std::fmt;

use crate::report::{Client, Finding, Report, Server, Severity};

/// How many names a sentence has.
const NAMED: usize = 3;

/// `a, b, c and 4 more`.
pub(crate) fn named<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `1 pod`, `3 pods`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The word that agrees with a number.
pub(crate) fn verb(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.namespaces[..], &self.workloads[..]) {
            ([], _) if self.who.is_empty() => f.write_str("anyone"),
            ([], _) => f.write_str(&self.who),
            ([namespace], []) => f.write_str(namespace),
            ([namespace], workloads) => write!(f, "{namespace}/{}", named(workloads)),
            (namespaces, _) => f.write_str(&named(namespaces)),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.services[..], &self.namespaces[..], &self.workloads[..]) {
            ([], [namespace], []) => write!(f, "{namespace}"),
            ([], [namespace], workloads) => {
                let ports: Vec<String> = self.ports.iter().map(u32::to_string).collect();
                let colon = if ports.is_empty() { "" } else { ":" };
                write!(f, "{namespace}/{}{colon}{}", named(workloads), ports.join(","))
            }
            ([], namespaces, _) => f.write_str(&named(namespaces)),
            (services, ..) => {
                f.write_str(&services.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", "))?;
                match self.count.saturating_sub(services.len().min(NAMED)) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Breaks { "BREAKS" } else { "warning" };
        writeln!(f, "{severity:<8} {:<20} {} -> {}", self.reason.name(), self.client, self.server)?;
        writeln!(f, "         {}", self.message)?;
        write!(f, "         fix: {}", self.fix)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}\n")?;
        }
        let breaks = self.findings.iter().filter(|finding| finding.severity == Severity::Breaks).count();
        let statistics = &self.statistics;
        writeln!(
            f,
            "{}: {} would become STRICT, {} {} already; {breaks} would break, {}",
            self.asked,
            counted(self.strict, "workload"),
            self.already,
            verb(self.already, "is", "are"),
            counted(self.findings.len() - breaks, "warning"),
        )?;
        if self.limited {
            writeln!(f, "only clients of the namespace itself were looked at: who asked may not see others")?;
        }
        match (statistics.reporting, statistics.silent) {
            (0, 0) => Ok(()),
            (0, silent) => {
                writeln!(f, "which connections were taken is not known: no statistics of {}", counted(silent, "pod"))
            }
            (reporting, 0) => writeln!(
                f,
                "connections taken: all {} reported, for {} at least",
                counted(reporting, "pod"),
                counted(usize::try_from(statistics.minutes).unwrap_or_default(), "minute")
            ),
            (reporting, silent) => writeln!(
                f,
                "connections taken: {} reported, for {} at least; no statistics of {}",
                counted(reporting, "pod"),
                counted(usize::try_from(statistics.minutes).unwrap_or_default(), "minute"),
                counted(silent, "pod")
            ),
        }
    }
}
