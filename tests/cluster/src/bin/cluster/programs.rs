// SPDX-License-Identifier: Apache-2.0
//! The programs of a cluster: those of Kubernetes, Helm and CoreDNS are built from the Go module `programs/` beside this crate, once
//! for each content of it; the rest comes from Debian packages (`scripts/setup cluster`).

use crate::state::Lock;
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use tiphys_cluster_tests::{command, folder};

/// What must be there already, each with the Debian package that has it.
const NEEDED: &[(&str, &str)] = &[
    ("buildah", "buildah"),
    ("busybox", "busybox-static"),
    ("conntrack", "conntrack"),
    ("containerd", "containerd"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("mmdebstrap", "mmdebstrap"),
    ("nsenter", "util-linux"),
    ("runc", "runc"),
    ("sysctl", "procps"),
    ("unshare", "util-linux"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
];

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Every part of Kubernetes and etcd; its first argument, or the name it is called by, says which.
    pub kubernetes: PathBuf,
    /// Helm 3.
    pub helm: PathBuf,
    /// CoreDNS.
    pub coredns: PathBuf,
}

/// Builds what is not built yet.
///
/// # Errors
/// When something that is needed is not installed, or a build fails.
pub fn build() -> Result<Programs> {
    check()?;
    let lock = Lock::take()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let folder = folder::base()?.join("programs").join(key(&source)?);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let flags = format!("-ldflags=-s -w {}", version_flags(&fs::read_to_string(source.join("go.mod"))?)?);
    let build = |name: &str, package: &str| -> Result<PathBuf> {
        let program = folder.join(name);
        if !program.exists() {
            let started = Instant::now();
            println!("building {name} (this takes minutes the first time) ...");
            let unfinished = folder.join(format!("{name}.unfinished"));
            let mut go = Command::new("go");
            // Static: CoreDNS is alone in its image.
            go.env("CGO_ENABLED", "0").args(["build", "-trimpath", "-buildvcs=false", &flags, "-o"]);
            command::finish(go.arg(&unfinished).arg(package).current_dir(&source))?;
            fs::rename(&unfinished, &program)?;
            println!("built {name} in {} s", started.elapsed().as_secs());
        }
        Ok(program)
    };
    let programs = Programs {
        kubernetes: build("kubernetes", ".")?,
        helm: build("helm", "helm.sh/helm/v3/cmd/helm")?,
        coredns: build("coredns", "github.com/coredns/coredns")?,
    };
    drop(lock);
    Ok(programs)
}

/// Says all that is missing at once.
fn check() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "only root can make the namespaces of a cluster");
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Not every shell has these folders in its path.
    let folders: Vec<_> = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    let found = |name: &str| folders.iter().any(|folder| folder.join(name).is_file());
    let missing: Vec<_> = NEEDED.iter().filter(|(name, _)| !found(name)).map(|(_, package)| *package).collect();
    ensure!(
        missing.is_empty(),
        "Debian packages are missing: {}; `scripts/setup cluster` installs them",
        missing.join(" ")
    );
    ensure!(found("go"), "Go is missing: install Go 1.26 or later (any later than 1.21 fetches it by itself)");
    Ok(())
}

/// What Kubernetes says of itself is told to the linker: clients such as Helm do not go on without a version.
fn version_flags(go_mod: &str) -> Result<String> {
    let version = go_mod.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    let version = version.context("go.mod does not require k8s.io/kubernetes")?;
    let mut parts = version.split('.');
    let (major, minor) = parts.next().zip(parts.next()).context("the version of k8s.io/kubernetes has no minor")?;
    let flag = |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
    let version = format!("v{version}");
    let flags = [("gitVersion", version.as_str()), ("gitMajor", major), ("gitMinor", minor)];
    Ok(flags.map(|(name, value)| flag(name, value)).join(" "))
}

/// Names the content of a folder of Go source.
fn key(source: &Path) -> Result<String> {
    let entries = fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))?;
    let mut files: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    // Changes when the build's flags do.
    let mut hash = Sha256::new_with_prefix("2");
    for file in files {
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(fs::read(&file)?);
    }
    Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_module() -> Result<()> {
        let flags = version_flags("require (\n\tk8s.io/kubernetes v1.36.1\n)")?;
        assert!(flags.contains("version.gitVersion=v1.36.1 ") && flags.ends_with("version.gitMinor=36"), "{flags}");
        Ok(())
    }
}
