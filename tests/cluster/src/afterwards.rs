// SPDX-License-Identifier: Apache-2.0
//! What is taken away after a test, also when it fails.

use crate::cluster::Cluster;
use anyhow::Result;

/// Cleans when it is dropped; TIPHYS_KEEP=1 leaves everything.
pub struct Afterwards<'a> {
    cluster: &'a Cluster,
    clean: fn(&Cluster) -> Result<()>,
}

impl<'a> Afterwards<'a> {
    /// Calls `clean` in the end.
    pub fn new(cluster: &'a Cluster, clean: fn(&Cluster) -> Result<()>) -> Self {
        Self { cluster, clean }
    }
}

impl Drop for Afterwards<'_> {
    fn drop(&mut self) {
        if std::env::var_os("TIPHYS_KEEP").is_none()
            && let Err(error) = (self.clean)(self.cluster)
        {
            println!("{error:#}");
        }
    }
}
