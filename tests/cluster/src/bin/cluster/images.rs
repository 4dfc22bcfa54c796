// SPDX-License-Identifier: Apache-2.0
//! Images without a registry: buildah builds them in a store of its own, each goes into an archive, once for each content of what it is
//! made of, and containerd imports the archives. The mesh's own images are built from the Containerfile at the root of the checkout:
//! its base image is made from Debian's packages, and its stages that compile and download are replaced by what is there already.

use crate::plan::Node;
use crate::programs::Programs;
use crate::state::Lock;
use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use tiphys_cluster_tests::{command, folder};

/// The container that holds a pod's namespaces.
pub const PAUSE: &str = "docker.io/tiphys-test/pause:1";
/// The cluster's DNS.
pub const COREDNS: &str = "docker.io/tiphys-test/coredns:1";
/// The application of all tests.
const ECHO: &str = "docker.io/tiphys-test/echo:1";
/// The control plane.
const TIPHYS: &str = "docker.io/tiphys/tiphys:test";
/// What runs beside an application.
const PROXY: &str = "docker.io/tiphys/tiphys-proxy:test";

/// The image on which all others stand, by the name that Containerfiles have for it.
const DEBIAN: &str = "docker.io/library/debian:bookworm-slim";
/// What the real one of this name does not hold either.
const NOT_IN_SLIM: &[&str] = &["doc", "groff", "info", "lintian", "locale", "man"];
/// Changes when what is made for [`DEBIAN`] does.
const DEBIAN_VERSION: &str = "1";

/// So many archives of each image are kept: checkouts beside each other have different ones.
const KEPT_ARCHIVES: usize = 2;

/// How `statfs` names the overlay file system.
const OVERLAY: rustix::fs::FsWord = 0x794c_7630;

/// An image that is there.
#[derive(Clone, Debug)]
pub struct Image {
    /// What pods call it.
    pub name: &'static str,
    /// A docker archive of it.
    pub archive: PathBuf,
}

/// How an image is built.
struct Recipe {
    name: &'static str,
    /// The Containerfile, from the root of the checkout.
    containerfile: &'static str,
    /// Its last stage that counts.
    target: Option<&'static str>,
    /// A stage that runs commands on [`DEBIAN`] and does not depend on what is built from this checkout: it is kept.
    kept_stage: Option<&'static str>,
    /// Files of the build's context, or of a stage that is replaced by them: stage, path in it, file.
    files: Vec<(Option<&'static str>, &'static str, PathBuf)>,
}

/// Builds what is not built yet. Prints the sizes of what it builds.
///
/// # Errors
/// When a program of the mesh is not built, or buildah fails.
pub fn build(programs: &Programs) -> Result<Vec<Image>> {
    let lock = Lock::take()?;
    let store = Store::open()?;
    let recipes = recipes(programs)?;
    recipes.iter().map(|recipe| store.build(&lock, recipe)).collect()
}

/// Brings the images onto a node that does not have them, or has others by their names.
///
/// # Errors
/// When containerd does not take one.
pub fn import(node: &Node, first: Pid, images: &[Image]) -> Result<()> {
    let (target, snapshotter) = (first.as_raw_nonzero().to_string(), snapshotter(node)?);
    let ctr = |arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &target, "ctr", "--namespace", "k8s.io"]);
        command::finish(command.args(arguments))
    };
    let started = Instant::now();
    while let Err(error) = ctr(&["version"]) {
        ensure!(started.elapsed().as_secs() < 60, "containerd of {} does not answer: {error:#}", node.name);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    for image in images {
        let record = node.containerd()?.join("imported").join(image.name.replace(['/', ':'], "_"));
        let wanted = image.archive.to_string_lossy();
        if fs::read_to_string(&record).is_ok_and(|archive| archive == wanted) {
            continue;
        }
        ctr(&["images", "import", "--snapshotter", snapshotter, &wanted])?;
        crate::state::write_private(&record, &wanted)?;
    }
    Ok(())
}

/// How containerd keeps the layers of images: overlays share them, but one cannot be put on another, as where this machine is itself a
/// container; there they are copied.
///
/// # Errors
/// When the file system of the node's images cannot be asked.
pub fn snapshotter(node: &Node) -> Result<&'static str> {
    let filesystem = rustix::fs::statfs(node.containerd()?)?.f_type;
    Ok(if filesystem == OVERLAY { "native" } else { "overlayfs" })
}

fn recipes(programs: &Programs) -> Result<Vec<Recipe>> {
    let built = |name: &str| -> Result<PathBuf> {
        let own = std::env::current_exe()?;
        let profile = std::env::var("PROFILE").unwrap_or_else(|_| "debug".to_owned());
        let folder =
            own.parent().and_then(Path::parent).context("this program is in a folder of Cargo's")?.join(profile);
        let path = folder.join(name);
        ensure!(path.is_file(), "{} is not built: run `make build` first", path.display());
        Ok(path)
    };
    let envoy = std::env::var_os("TIPHYS_ENVOY")
        .map(PathBuf::from)
        .or_else(|| Some(folder::base().ok()?.parent()?.join("envoy")));
    let envoy = envoy.and_then(|path| path.canonicalize().ok()).context("there is no Envoy: run `make setup`")?;
    let simple = |name, containerfile, path, file| Recipe {
        name,
        containerfile,
        target: None,
        kept_stage: None,
        files: vec![(None, path, file)],
    };
    Ok(vec![
        simple(PAUSE, "tests/cluster/images/pause/Containerfile", "busybox", "/bin/busybox".into()),
        simple(COREDNS, "tests/cluster/images/coredns/Containerfile", "coredns", programs.coredns.clone()),
        Recipe {
            target: Some("echo"),
            kept_stage: Some("echo-base"),
            ..simple(ECHO, "tests/cluster/images/echo/Containerfile", "echo", built("echo")?)
        },
        Recipe {
            name: TIPHYS,
            containerfile: "Containerfile",
            target: Some("tiphys"),
            kept_stage: None,
            files: vec![(Some("build"), "out/tiphys", built("tiphys")?)],
        },
        Recipe {
            name: PROXY,
            containerfile: "Containerfile",
            target: Some("tiphys-proxy"),
            kept_stage: Some("proxy-base"),
            files: vec![
                (Some("build"), "out/tiphys-agent", built("tiphys-agent")?),
                (Some("envoy"), "out/envoy", envoy),
            ],
        },
    ])
}

/// Where images are built and kept.
struct Store {
    folder: PathBuf,
}

impl Store {
    fn open() -> Result<Store> {
        let folder = folder::base()?.join("images");
        fs::create_dir_all(folder.join("archives")).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Store { folder })
    }

    fn build(&self, lock: &Lock, recipe: &Recipe) -> Result<Image> {
        let short = recipe.name.rsplit('/').next().unwrap_or(recipe.name).replace(':', "-");
        let containerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(recipe.containerfile);
        let mut hash = Sha256::new();
        hash.update(DEBIAN_VERSION);
        hash.update(fs::read(&containerfile)?);
        let kept_key = key(&hash);
        for (stage, path, file) in &recipe.files {
            hash.update(format!("{stage:?} {path} {}", content(file)?));
        }
        let archive = self.folder.join(format!("archives/{short}-{}.tar", key(&hash)));
        if !archive.exists() {
            let started = Instant::now();
            self.make(lock, recipe, &containerfile, &kept_key, &archive)?;
            let megabytes = fs::metadata(&archive)?.len() as f64 / 1e6;
            println!("built image {}: {megabytes:.0} MB ({:.1} s)", recipe.name, started.elapsed().as_secs_f64());
            self.forget_old(&short)?;
        }
        Ok(Image { name: recipe.name, archive })
    }

    fn make(&self, lock: &Lock, recipe: &Recipe, containerfile: &Path, kept_key: &str, archive: &Path) -> Result<()> {
        let work = tempfile::tempdir_in(&self.folder)?;
        let context = work.path().join("context");
        fs::create_dir(&context)?;
        let mut arguments = Vec::new();
        let mut replaced = BTreeMap::new();
        for (stage, path, file) in &recipe.files {
            let folder = stage.map_or_else(|| context.clone(), |stage| work.path().join(stage));
            let target = folder.join(path);
            fs::create_dir_all(target.parent().unwrap_or(&folder))?;
            // Symbols for debuggers are most of an unoptimised program.
            command::finish(Command::new("strip").arg("-o").arg(&target).arg(file))?;
            if let Some(stage) = stage {
                replaced.insert(*stage, folder);
            }
        }
        arguments
            .extend(replaced.iter().map(|(stage, folder)| format!("--build-context={stage}={}", folder.display())));
        self.debian(lock)?;
        if let Some(stage) = recipe.kept_stage {
            let kept = format!("localhost/kept/{stage}:{kept_key}");
            if !self.has(&kept) {
                self.bud(containerfile, &context, &kept, &[format!("--target={stage}")])?;
            }
            arguments.push(format!("--build-context={stage}=container-image://{kept}"));
        }
        arguments.extend(recipe.target.map(|target| format!("--target={target}")));
        self.bud(containerfile, &context, recipe.name, &arguments)?;
        let unfinished = archive.with_extension("unfinished");
        let _ = fs::remove_file(&unfinished);
        let transport = format!("docker-archive:{}:{}", unfinished.display(), recipe.name);
        self.buildah(&["push", "--quiet", recipe.name, &transport])?;
        fs::rename(&unfinished, archive)?;
        // The archive is what counts; the store keeps what other images stand on.
        self.buildah(&["rmi", recipe.name]).map(drop)
    }

    /// Runs a Containerfile. Nothing is pulled.
    fn bud(&self, containerfile: &Path, context: &Path, name: &str, arguments: &[String]) -> Result<()> {
        let mut command = self.command();
        command.args(["bud", "--pull-never", "--quiet", "--tag", name, "--file"]).arg(containerfile);
        command::finish(command.args(arguments).arg(context)).map(drop)
    }

    /// Makes the base image from Debian's packages.
    fn debian(&self, _lock: &Lock) -> Result<()> {
        let made = format!("localhost/kept/debian:{DEBIAN_VERSION}");
        if self.has(&made) && self.has(DEBIAN) {
            return Ok(());
        }
        println!("building image {DEBIAN} from Debian's packages ...");
        let work = tempfile::tempdir_in(&self.folder)?;
        let tar = work.path().join("debian.tar");
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase"]);
        command.args(NOT_IN_SLIM.iter().map(|part| format!("--dpkgopt=path-exclude=/usr/share/{part}/*")));
        command::finish(command.arg("bookworm").arg(&tar))?;
        let container = self.buildah(&["from", "scratch"])?;
        let container = container.trim();
        self.buildah(&["add", "--quiet", container, &tar.to_string_lossy()])?;
        self.buildah(&["commit", "--quiet", container, DEBIAN])?;
        self.buildah(&["rm", container])?;
        self.buildah(&["tag", DEBIAN, &made]).map(drop)
    }

    fn has(&self, name: &str) -> bool {
        self.buildah(&["inspect", "--type=image", "--format={{.FromImageID}}", name]).is_ok()
    }

    fn buildah(&self, arguments: &[&str]) -> Result<String> {
        command::finish(self.command().args(arguments))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("buildah");
        // What works everywhere, also where containers run in containers.
        command.env("BUILDAH_ISOLATION", "chroot").args(["--storage-driver=vfs", "--root"]);
        command.arg(self.folder.join("store")).arg("--runroot").arg(self.folder.join("run"));
        command
    }

    fn forget_old(&self, short: &str) -> Result<()> {
        let mut archives = Vec::new();
        for entry in fs::read_dir(self.folder.join("archives"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let key = name.strip_prefix(short).and_then(|rest| rest.strip_prefix('-'));
            if key.is_some_and(|key| !key.contains('-')) {
                archives.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        archives.sort();
        for (_, path) in archives.iter().rev().skip(KEPT_ARCHIVES) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// What a file holds, in few letters.
fn content(file: &Path) -> Result<String> {
    let sum = command::finish(Command::new("sha256sum").arg("--").arg(file))?;
    Ok(sum.split_whitespace().next().unwrap_or_default().to_owned())
}

fn key(hash: &Sha256) -> String {
    hash.clone().finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
