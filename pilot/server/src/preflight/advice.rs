// SPDX-License-Identifier: Apache-2.0
//! What who applies a PeerAuthentication is told at once: a few lines, within a moment, and never a refusal.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tiphys_api::istio::security::peer_authentication::MutualTlsMode;
use tiphys_api::{Object, Origin, Spec, parse_value};
use tiphys_preflight::{Ask, Finding, Report, Severity};
use tiphys_webhook::admission::{Advice, Adviser};
use tiphys_webhook::review::GroupVersionKind;

use super::{Preflight, Question};

/// The API server waits for 10 seconds; nobody who applies an object should notice.
const ALL: Duration = Duration::from_millis(1500);
const AGENTS: Duration = Duration::from_millis(400);
/// How many agents are asked in that time.
const ASKED: usize = 128;
/// How many findings are told.
const TOLD: usize = 4;
/// Longest line. Kubernetes cuts at 256 bytes, and at 4,096 for all.
const LINE: usize = 160;

/// Looks at PeerAuthentications that ask for STRICT.
#[derive(Debug)]
pub struct PreflightAdviser {
    preflight: Preflight,
}

impl PreflightAdviser {
    /// An adviser that asks a preflight.
    pub const fn new(preflight: Preflight) -> Self {
        Self { preflight }
    }

    async fn lines(&self, object: Value) -> Vec<String> {
        let Ok(parsed) = parse_value(object, Origin::default()) else { return Vec::new() };
        let object = parsed.object;
        if !is_strict(&object) {
            return Vec::new();
        }
        let namespace = object.meta.namespace.clone();
        let command = match self.preflight.root_namespace() {
            Some(root) if root == namespace => "tiphysctl preflight strict".to_owned(),
            _ => format!("tiphysctl preflight strict -n {namespace}"),
        };
        let question = Question {
            ask: Ask::policies(vec![Arc::new(object)]),
            proxies: None,
            minutes: 60,
            within: AGENTS,
            agents: ASKED,
            limited: None,
        };
        match tokio::time::timeout(ALL, self.preflight.report(question)).await {
            Ok(Ok(report)) => told(&report, &command),
            _ => vec![format!("what STRICT would break was not found out in time: run {command}")],
        }
    }
}

impl Adviser for PreflightAdviser {
    fn knows(&self, kind: &GroupVersionKind) -> bool {
        kind.group == "security.istio.io" && kind.kind == "PeerAuthentication"
    }

    fn advise(&self, object: Value) -> Advice<'_> {
        Box::pin(self.lines(object))
    }
}

/// Whether a policy asks for STRICT somewhere.
fn is_strict(object: &Object) -> bool {
    let Spec::PeerAuthentication(spec) = &object.spec else { return false };
    spec.mtls.iter().chain(spec.port_level_mtls.values()).any(|mtls| mtls.mode == MutualTlsMode::Strict)
}

/// The lines of a report: some of what would break, and where the rest is told.
fn told(report: &Report, command: &str) -> Vec<String> {
    let breaks: Vec<&Finding> = report.findings.iter().filter(|finding| finding.severity == Severity::Breaks).collect();
    let warnings = report.findings.len() - breaks.len();
    if report.findings.is_empty() {
        return Vec::new();
    }
    let line = |finding: &&Finding| {
        cut(&format!("STRICT refuses {} -> {} ({})", finding.client, finding.server, finding.reason.name()))
    };
    let mut lines: Vec<String> = breaks.iter().take(TOLD).map(line).collect();
    let rest = match (breaks.len().saturating_sub(TOLD), warnings) {
        (0, 0) => "why, and how to mend it".to_owned(),
        (0, warnings) => format!("why, how to mend it, and {warnings} to look at"),
        (more, _) => format!("{more} more, why, and how to mend it"),
    };
    let rest =
        if breaks.is_empty() { format!("STRICT breaks nothing that is known; {warnings} to look at") } else { rest };
    lines.push(format!("{rest}: {command}"));
    lines
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LINE {
        return text.to_owned();
    }
    text.chars().take(LINE - 3).collect::<String>() + "..."
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_preflight::{Client, Reason, Server};

    fn finding(severity: Severity, name: &str) -> Finding {
        Finding {
            severity,
            reason: Reason::NoSidecar,
            client: Client { namespaces: vec![name.to_owned()], ..Client::default() },
            server: Server { namespaces: vec!["shop".to_owned()], ..Server::default() },
            message: String::new(),
            fix: String::new(),
        }
    }

    #[test]
    fn a_handful_of_short_lines() {
        let of = |findings: Vec<Finding>| told(&Report { findings, ..Report::default() }, "run me");
        assert!(of(vec![]).is_empty());
        assert_eq!(
            of(vec![finding(Severity::Warning, "a")]),
            ["STRICT breaks nothing that is known; 1 to look at: run me"]
        );
        assert_eq!(
            of(vec![finding(Severity::Breaks, "a")]),
            ["STRICT refuses a -> shop (no-sidecar)", "why, and how to mend it: run me"]
        );
        let many: Vec<Finding> =
            (0..9).map(|n| finding(Severity::Breaks, &format!("{n}{}", "x".repeat(400)))).collect();
        let lines = of(many);
        assert_eq!((lines.len(), lines[4].as_str()), (5, "5 more, why, and how to mend it: run me"));
        assert!(lines.iter().all(|line| line.len() <= LINE), "{lines:?}");
    }
}
