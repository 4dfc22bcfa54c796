// SPDX-License-Identifier: Apache-2.0
//! Istio's own programs, as `make istio-programs` builds them. That takes longer than all tests, so that tests which need them are skipped where
//! TIPHYS_ISTIO does not name their folder.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Where a pod has the programs.
pub const MOUNTED: &str = "/istio";

/// The folder of the programs.
#[derive(Clone, Debug)]
pub struct Istio {
    folder: PathBuf,
}

impl Istio {
    /// The programs; without them the test that asks says aloud that it is skipped.
    ///
    /// # Errors
    /// When the folder has not all of them.
    pub fn of_test(test: &str) -> Result<Option<Istio>> {
        let Some(folder) = std::env::var_os("TIPHYS_ISTIO").filter(|folder| !folder.is_empty()) else {
            println!("SKIPPED: {test} needs Istio's programs: `make istio-programs`, then TIPHYS_ISTIO=FOLDER");
            return Ok(None);
        };
        let istio = Istio { folder: folder.into() };
        for name in ["istioctl", "pilot-agent", "pilot-discovery", "envoy_bootstrap.json"] {
            ensure!(
                istio.program(name).is_file(),
                "{} is not there: `make istio-programs`",
                istio.program(name).display()
            );
        }
        Ok(Some(istio))
    }

    /// One of them.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What brings them into a container of a pod, as a patch of the pod's spec.
    pub fn patch(&self, container: &Value) -> Value {
        let mut container = container.clone();
        container["volumeMounts"] = json!([{"name": "istio-programs", "mountPath": MOUNTED}]);
        let volume = json!({"name": "istio-programs", "hostPath": {"path": self.folder}});
        json!({"spec": {"template": {"spec": {"volumes": [volume], "containers": [container]}}}})
    }
}
