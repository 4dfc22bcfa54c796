// SPDX-License-Identifier: Apache-2.0
//! `preflight strict`: who would be refused by mutual TLS in mode STRICT.
//!
//! A folder is compiled and checked here ([`offline`]). A running control plane is asked for its debug page: at an address, or in a
//! cluster through the API server ([`cluster`]), where all replicas are asked which proxies are connected first.

mod cluster;
mod offline;
mod page;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;
use tiphys_api::{Kind, Object};
use tiphys_preflight::{Proxies, Report};
use tiphys_source::{dir, read_documents};

use crate::cli::StrictArgs;
use crate::output::{self, Format};

/// What a control plane is asked.
#[derive(Serialize)]
struct Question<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    policies: &'a [Value],
    ignore: &'a [String],
    minutes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxies: Option<&'a Proxies>,
}

/// Runs the command. That something would break has an exit code of its own.
pub fn run(args: &StrictArgs) -> ExitCode {
    let printed = report(args).and_then(|report| {
        match args.output {
            Format::Table => print!("{report}"),
            format => output::print(format, &report)?,
        }
        Ok(report.breaks())
    });
    match printed {
        Ok(breaks) => ExitCode::from(u8::from(breaks)),
        Err(error) => {
            eprintln!("tiphysctl: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn report(args: &StrictArgs) -> anyhow::Result<Report> {
    let policies = policies(&args.files)?;
    if let Some(folder) = &args.config {
        return offline::report(args, folder, policies);
    }
    let policies: Vec<Value> = policies.iter().map(|policy| policy.to_json()).collect::<Result<_, _>>()?;
    let question = Question {
        namespace: args.namespace.as_deref(),
        policies: &policies,
        ignore: &args.ignore,
        minutes: args.since,
        proxies: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &args.address {
            Some(address) => page::at(address, args.token.as_deref(), &question).await,
            None => cluster::report(args, question).await,
        }
    })
}

/// The PeerAuthentications of files.
fn policies(files: &[std::path::PathBuf]) -> anyhow::Result<Vec<Arc<Object>>> {
    let mut found = Vec::new();
    for file in files {
        let objects = if file == Path::new("-") { from_input()? } else { from_path(file)? };
        let policies = objects.into_iter().filter(|object| object.kind() == Kind::PeerAuthentication);
        let before = found.len();
        found.extend(policies);
        if found.len() == before {
            bail!("{}: there is no PeerAuthentication in it", file.display());
        }
    }
    Ok(found)
}

fn from_path(path: &Path) -> anyhow::Result<Vec<Arc<Object>>> {
    let batch = dir::read_once(path)?;
    let mut objects = Vec::new();
    for change in batch.changes {
        match change.object {
            Some(object) if change.rejected.is_none() => objects.push(object),
            _ if change.key.kind == Kind::PeerAuthentication => {
                let said: Vec<String> = batch.reports.iter().flat_map(|report| report.lines()).collect();
                bail!("{}", said.join("; "));
            }
            _ => {}
        }
    }
    Ok(objects)
}

fn from_input() -> anyhow::Result<Vec<Arc<Object>>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("the standard input")?;
    let contents = read_documents(&text, &Arc::from(Path::new("-")));
    let mut objects = Vec::new();
    for document in contents.documents {
        let said = || document.problems.iter().map(|p| p.problem.to_string()).collect::<Vec<_>>().join("; ");
        match document.object {
            Ok(object) => objects.push(object),
            Err(_) => bail!("{}: {}", document.key, said()),
        }
    }
    Ok(objects)
}
