// SPDX-License-Identifier: Apache-2.0
//! What each proxy of each case gets, held against `expected/`, and shown to a real Envoy where it is made for upstream Envoy.
//!
//! `cases/NAME/input.yaml` has the objects (without one they are those of `samples/NAME`), `proxies.yaml` the proxies, `meshconfig.yaml`, where it
//! is, the settings of the mesh.
//! `UPDATE_GOLDENS=1` writes what is expected anew; read the difference before you commit it.

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;
use tiphys_golden::{Proxy, proxies, resources, snapshot, validate};
use tiphys_harness::programs;

#[test]
fn every_proxy_gets_what_is_expected() -> Result<()> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut wrong = Vec::new();
    for case in fs::read_dir(&cases)? {
        let case = case?.path();
        let name = case.file_name().context("a case without a name")?.to_string_lossy().into_owned();
        let input = case.join("input.yaml");
        let mesh_config = Some(case.join("meshconfig.yaml")).filter(|file| file.exists());
        let input = if input.exists() { input } else { programs::sample(&name) };
        let snapshot = snapshot(&input, mesh_config.as_deref())?;
        for proxy in proxies(&case.join("proxies.yaml"))? {
            let what = format!("{name}: {}", proxy.name);
            let resources = resources(&snapshot, &proxy).with_context(|| what.clone())?;
            wrong.extend(difference(&case, &proxy, &resources)?);
            if !proxy.node.extensions.is_empty() {
                wrong.extend(validate(&resources).err().map(|error| format!("{what}: {error:#}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What differs from the expected file; nothing after it was written anew.
fn difference(case: &Path, proxy: &Proxy, resources: &Map<String, Value>) -> Result<Option<String>> {
    let file = case.join("expected").join(format!("{}.json", proxy.name));
    let actual = format!("{:#}\n", Value::Object(resources.clone()));
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::create_dir_all(case.join("expected"))?;
        fs::write(&file, actual)?;
        return Ok(None);
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    if expected == actual {
        return Ok(None);
    }
    let line = expected.lines().zip(actual.lines()).take_while(|(expected, actual)| expected == actual).count();
    let at = |text: &str| text.lines().nth(line).unwrap_or("the end").trim().to_owned();
    let (wanted, got) = (at(&expected), at(&actual));
    let file = file.display();
    Ok(Some(format!("{file}:{}: expected {wanted}, got {got}; UPDATE_GOLDENS=1 writes it anew", line + 1)))
}
