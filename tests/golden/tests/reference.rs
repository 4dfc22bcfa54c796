// SPDX-License-Identifier: Apache-2.0
//! Every reference input, for proxies that are upstream Envoys, is a configuration that Envoy takes. `make parity` names the
//! reference in TIPHYS_REFERENCE; without it the test says that it is skipped.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tiphys_golden::{proxies, resources, snapshot, validate};

/// Cases whose EnvoyFilters ask for what upstream Envoy refuses, and its words: what a user patches is handed on as it is.
const REFUSED: &[(&str, &str)] = &[
    ("features/ef-http-filter-insert-after", "must be the last filter in a http filter chain"),
    ("features/ef-network-filter-insert", "envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy"),
    ("features/ef-typed-struct", "Didn't find a registered implementation for 'custom'"),
];

#[test]
fn envoy_takes_what_is_made_of_every_reference_input() -> Result<()> {
    let Some(reference) = std::env::var_os("TIPHYS_REFERENCE").filter(|v| !v.is_empty()).map(PathBuf::from) else {
        println!("SKIPPED: TIPHYS_REFERENCE names no reference");
        return Ok(());
    };
    let mut cases = Vec::new();
    for group in std::fs::read_dir(&reference)?.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
        let all = std::fs::read_dir(group.path())?.filter_map(Result::ok).map(|case| case.path());
        cases.extend(all.filter(|case| case.join("proxies.yaml").exists()));
    }
    cases.sort();
    let cases = Mutex::new(cases.into_iter());
    let (seen, wrong) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    let next = || cases.lock().ok()?.next();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(case) = next() {
                    if let (Err(error), Ok(mut wrong)) = (check(&case, &seen), wrong.lock()) {
                        wrong.push(format!("{error:#}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner()?;
    println!("{} configurations were shown to Envoy", seen.into_inner()?.len());
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Shows Envoy what each proxy of a case gets, unless another one got the same.
fn check(case: &Path, seen: &Mutex<BTreeSet<String>>) -> Result<()> {
    let mesh_config = Some(case.join("meshconfig.yaml")).filter(|file| file.exists());
    let snapshot =
        snapshot(&case.join("input.yaml"), mesh_config.as_deref()).with_context(|| case.display().to_string())?;
    for mut proxy in proxies(&case.join("proxies.yaml"))? {
        let what = || format!("{}: {}", case.display(), proxy.name);
        proxy.node.extensions = vec!["envoy.filters.http.router".to_owned()];
        let resources = resources(&snapshot, &proxy).with_context(what)?;
        let text = serde_json::to_string(&resources)?;
        let is_new = seen.lock().is_ok_and(|mut seen| seen.insert(text));
        if is_new {
            match (validate(&resources), REFUSED.iter().find(|(name, _)| case.ends_with(name))) {
                (Err(error), Some((_, words))) if format!("{error:#}").contains(words) => {}
                (result, _) => result.with_context(what)?,
            }
        }
    }
    Ok(())
}
