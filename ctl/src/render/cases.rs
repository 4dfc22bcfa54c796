// SPDX-License-Identifier: Apache-2.0
//! Many cases in one go: a folder of GROUP/CASE folders, each rendered with its own settings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context;
use serde::Deserialize;
use tiphys_compile::Settings;

use super::Job;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Case {
    env: BTreeMap<String, String>,
}

/// Renders every case, as many at a time as there are cores. What is wrong with one does not keep the others from being rendered.
pub fn run(cases: &Path, out: &Path) -> anyhow::Result<ExitCode> {
    let folders = find(cases)?;
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(folder) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = folder.strip_prefix(cases).unwrap_or(folder);
            if let Err(error) = render(folder, &out.join(name)) {
                failed.fetch_add(1, Ordering::Relaxed);
                println!("{}: {error:#}", name.display());
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner();
    println!("{} cases rendered, {failed} of them with an error", folders.len());
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn find(cases: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let list = |folder: &Path| -> anyhow::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        Ok(entries
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect())
    };
    let mut found = Vec::new();
    for group in list(cases)? {
        found.extend(
            list(&group)?
                .into_iter()
                .filter(|case| case.join("proxies.yaml").exists() && case.join("case.yaml").exists()),
        );
    }
    found.sort();
    Ok(found)
}

fn render(folder: &Path, out: &Path) -> anyhow::Result<()> {
    let case: Case = yaml_serde::from_str(&super::read(&folder.join("case.yaml"))?)?;
    let existing = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
    // The cases were recorded with objects that belong to no DNS domain: a short host name there stands for NAME.NAMESPACE.
    let recorded = [("TIPHYS_SHORT_NAME_DOMAIN".to_string(), String::new())];
    let job = Job {
        config: folder.join("input.yaml"),
        mesh_config: existing("meshconfig.yaml"),
        mesh_networks: existing("meshnetworks.yaml"),
        proxies: folder.join("proxies.yaml"),
        out: out.to_owned(),
        settings: Settings::from_pairs(recorded.into_iter().chain(std::env::vars()).chain(case.env)),
    };
    let said = job.run()?.said;
    fs::write(out.join("render.log"), said.join("\n") + "\n").with_context(|| out.display().to_string())
}
