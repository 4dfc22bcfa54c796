// SPDX-License-Identifier: Apache-2.0
//! Where clusters and what they are made of are kept: below TIPHYS_CACHE, outside the checkout.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// The cache's folder for clusters.
///
/// # Errors
/// When neither TIPHYS_CACHE, XDG_CACHE_HOME nor HOME is set.
pub fn base() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("TIPHYS_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("tiphys")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/tiphys")));
    Ok(cache.context("set TIPHYS_CACHE to a folder for downloads and clusters")?.join("cluster"))
}

/// The folder of everything that the running cluster `name` keeps. It is there while the cluster is up.
///
/// # Errors
/// As [`base`].
pub fn state(name: &str) -> Result<PathBuf> {
    Ok(base()?.join("running").join(name))
}

/// The folder of the logs of cluster `name`: they stay when the cluster is gone, until it comes up again.
///
/// # Errors
/// As [`base`].
pub fn logs(name: &str) -> Result<PathBuf> {
    Ok(base()?.join("logs").join(name))
}
