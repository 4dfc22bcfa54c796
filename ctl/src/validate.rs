// SPDX-License-Identifier: Apache-2.0
//! `validate`: every mistake in files and folders.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use tiphys_api::{Key, Severity};
use tiphys_source::{Batch, Located, dir, read_documents};

use crate::cli::ValidateArgs;
use crate::output::{self, Format};

/// One mistake.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Finding {
    file: String,
    line: usize,
    column: usize,
    severity: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    message: String,
}

impl Finding {
    fn new(key: Option<&Key>, located: &Located) -> Self {
        let Located { origin, problem } = located;
        Self {
            file: origin.file.as_ref().map(|f| f.display().to_string()).unwrap_or_default(),
            line: origin.line,
            column: origin.column,
            severity: if problem.severity == Severity::Error { "error" } else { "warning" },
            kind: key.map(|k| k.kind.name().to_owned()).unwrap_or_default(),
            namespace: key.map(|k| k.namespace.clone()).unwrap_or_default(),
            name: key.map(|k| k.name.clone()).unwrap_or_default(),
            field: problem.path.clone(),
            message: problem.message.clone(),
        }
    }

    fn line(&self) -> String {
        let mut line = format!("{}:{}:{}: {}: ", self.file, self.line, self.column, self.severity);
        if !self.kind.is_empty() {
            let slash = if self.namespace.is_empty() { "" } else { "/" };
            line.push_str(&format!("{} {}{slash}{}: ", self.kind, self.namespace, self.name));
        }
        if !self.field.is_empty() {
            line.push_str(&format!("{}: ", self.field));
        }
        line + &self.message
    }
}

/// Runs the command.
pub fn run(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let (mut findings, mut objects) = (Vec::new(), 0);
    for file in &args.files {
        let (found, count) = if file == Path::new("-") { read_input()? } else { read_path(file)? };
        findings.extend(found);
        objects += count;
    }
    findings.sort();
    let errors = findings.iter().filter(|f| f.severity == "error").count();
    if args.output == Format::Table {
        findings.iter().for_each(|finding| println!("{}", finding.line()));
        println!("{objects} objects are good, {errors} errors, {} warnings", findings.len() - errors);
    }
    output::print(args.output, &findings)?;
    Ok(ExitCode::from(u8::from(errors > 0)))
}

fn read_path(path: &Path) -> anyhow::Result<(Vec<Finding>, usize)> {
    let Batch { changes, reports, .. } = dir::read_once(path)?;
    let findings = reports.iter().flat_map(|r| r.problems.iter().map(|p| Finding::new(r.id.key.as_ref(), p)));
    Ok((findings.collect(), changes.iter().filter(|change| change.rejected.is_none()).count()))
}

fn read_input() -> anyhow::Result<(Vec<Finding>, usize)> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("the standard input")?;
    let contents = read_documents(&text, &Arc::from(Path::new("-")));
    let of_objects = contents.documents.iter().flat_map(|d| d.problems.iter().map(|p| Finding::new(Some(&d.key), p)));
    let others = contents.broken.iter().chain(&contents.passed).map(|located| Finding::new(None, located));
    let good = contents.documents.iter().filter(|d| d.object.is_ok()).count();
    Ok((of_objects.chain(others).collect(), good))
}
