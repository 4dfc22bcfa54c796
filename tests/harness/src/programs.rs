// SPDX-License-Identifier: Apache-2.0
//! Where the programs of the mesh are.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The programs that a mesh needs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The control plane.
    pub tiphys: PathBuf,
    /// The command line.
    pub tiphysctl: PathBuf,
    /// The agent beside Envoy.
    pub agent: PathBuf,
    /// The echo service.
    pub echo: PathBuf,
    /// Envoy.
    pub envoy: PathBuf,
}

impl Programs {
    /// Those of the workspace beside the running program, or in the folder above it, which is where `cargo test` puts it.
    ///
    /// # Errors
    /// When one is missing; the error says how to get it.
    pub fn find() -> Result<Programs> {
        let own = std::env::current_exe()?;
        let folders: Vec<_> = own.ancestors().skip(1).take(2).collect();
        let find = |name: &str| {
            let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
            found.with_context(|| format!("{name} is not built: run `make build` first"))
        };
        Ok(Programs {
            tiphys: find("tiphys")?,
            tiphysctl: find("tiphysctl")?,
            agent: find("tiphys-agent")?,
            echo: find("echo")?,
            envoy: envoy()?,
        })
    }
}

/// The Envoy of `make setup`, or the one that TIPHYS_ENVOY or PATH names.
///
/// # Errors
/// When there is none.
pub fn envoy() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TIPHYS_ENVOY").map(PathBuf::from) {
        return if path.is_file() {
            Ok(path)
        } else {
            bail!("TIPHYS_ENVOY names {}, which is not there", path.display())
        };
    }
    let set_up = cache().map(|cache| cache.join("envoy"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("envoy"));
    let found = set_up.into_iter().chain(in_path).find(|path| path.is_file());
    found.context("there is no Envoy: run `make setup`, or name one with TIPHYS_ENVOY")
}

/// Where `make setup` keeps what it downloads.
fn cache() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("TIPHYS_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("tiphys")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/tiphys")))
}

/// The folder of a sample in the source tree.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples").join(name)
}
