// SPDX-License-Identifier: Apache-2.0
//! Which files a folder holds: a walk that ends in a list of paths and stamps.
//!
//! Only names that can hold configuration count (`*.yaml`, `*.yml`, `*.json`). Hidden names and what editors leave behind do not: `.x.yaml.swp`
//! and `.#x.yaml` are hidden, `x.yaml~`, `#x.yaml#` and `x.yaml.tmp` end otherwise. Links are followed, so that a mounted ConfigMap
//! (`x.yaml -> ..data/x.yaml`, `..data -> ..2026_01_01/`) reads as plain files; real folders come first and nothing is visited twice, which ends
//! every loop and keeps a link beside its target from giving each object twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells, without reading, that a file may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    /// Seconds and nanoseconds since the Unix epoch.
    modified: (i64, i64),
    /// When content or owner last changed: differs even if a tool restores the modification time.
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Seconds and nanoseconds of the last change of content.
    pub(crate) fn changed(&self) -> (i64, i64) {
        self.changed.max(self.modified)
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Files that can hold configuration, by the path under the folder that leads to them.
    pub(crate) files: BTreeMap<PathBuf, Stamp>,
    /// Folders outside the root that hold the targets of links: they must be watched too.
    pub(crate) beyond: BTreeSet<PathBuf>,
    /// Folders and files that could not be looked at. What they gave before stays in force.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
}

/// Whether a file of this name can hold configuration.
pub(crate) fn is_config_name(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return false };
    !name.starts_with('.') && [".yaml", ".yml", ".json"].iter().any(|end| name.len() > end.len() && name.ends_with(end))
}

/// Walks a folder; a root that is a file is listed alone, whatever its name.
///
/// # Errors
/// When the root itself cannot be read.
pub(crate) fn walk(root: &Path) -> io::Result<Listing> {
    let mut out = Listing::default();
    let meta = fs::metadata(root)?;
    if !meta.is_dir() {
        out.files.insert(root.to_owned(), Stamp::of(&meta));
        return Ok(out);
    }
    let real_root = fs::canonicalize(root)?;
    let mut walk = Walk { real_root, visited: BTreeSet::from([(meta.dev(), meta.ino())]), links: Vec::new(), out };
    fs::read_dir(root).map(drop)?;
    walk.folder(root);
    // A link may lead to a folder with more links: each round takes those found in the one before.
    while !walk.links.is_empty() {
        let mut links = std::mem::take(&mut walk.links);
        links.sort();
        for link in links {
            walk.link(&link);
        }
    }
    Ok(walk.out)
}

struct Walk {
    real_root: PathBuf,
    /// Device and inode of folders and of files seen so far.
    visited: BTreeSet<(u64, u64)>,
    /// Links that wait until all real folders are done.
    links: Vec<PathBuf>,
    out: Listing,
}

impl Walk {
    fn folder(&mut self, dir: &Path) {
        let entries = match fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => return self.fail(dir, error),
        };
        for entry in entries {
            let path = entry.path();
            if path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_symlink() => self.links.push(path),
                Ok(kind) if kind.is_dir() => match fs::metadata(&path) {
                    Ok(meta) if self.visited.insert((meta.dev(), meta.ino())) => self.folder(&path),
                    Ok(_) => {}
                    Err(error) => self.fail(&path, error),
                },
                Ok(kind) if kind.is_file() && is_config_name(&path) => match fs::metadata(&path) {
                    Ok(meta) => self.file(path, &meta),
                    Err(error) => self.fail(&path, error),
                },
                Ok(_) => {}
                Err(error) => self.fail(&path, error),
            }
        }
    }

    fn link(&mut self, path: &Path) {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            // A link to nothing is an editor's lock or a mount about to be swapped; a circle of links is no file.
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(TOO_MANY_LINKS) => {
                return;
            }
            Err(error) => return self.fail(path, error),
        };
        let wanted = meta.is_dir() || (meta.is_file() && is_config_name(path));
        if !wanted || self.visited.contains(&(meta.dev(), meta.ino())) {
            return;
        }
        if let Ok(target) = fs::canonicalize(path)
            && !target.starts_with(&self.real_root)
        {
            let watched = if meta.is_dir() { Some(target.as_path()) } else { target.parent() };
            self.out.beyond.extend(watched.map(Path::to_owned));
        }
        if meta.is_dir() {
            self.visited.insert((meta.dev(), meta.ino()));
            self.folder(path);
        } else {
            self.file(path.to_owned(), &meta);
        }
    }

    fn file(&mut self, path: PathBuf, meta: &Metadata) {
        self.visited.insert((meta.dev(), meta.ino()));
        self.out.files.insert(path, Stamp::of(meta));
    }

    fn fail(&mut self, path: &Path, error: io::Error) {
        // Gone between listing and looking: that is a deletion, no failure.
        if error.kind() != io::ErrorKind::NotFound {
            self.out.unreadable.push((path.to_owned(), error));
        }
    }
}

/// ELOOP, which std has no stable name for.
const TOO_MANY_LINKS: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(root: &Path) -> Vec<String> {
        walk(root).unwrap().files.keys().map(|p| p.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn only_configuration_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("sub/.git")).unwrap();
        for name in [
            "a.yaml",
            "b.yml",
            "c.json",
            "sub/d.yaml",
            "e.txt",
            ".f.yaml",
            "g.yaml~",
            "#h.yaml#",
            ".i.yaml.swp",
            "j.yaml.tmp",
            ".yaml",
            "sub/.git/k.yaml",
            "README.md",
        ] {
            fs::write(root.join(name), "").unwrap();
        }
        assert_eq!(names(root), ["a.yaml", "b.yml", "c.json", "sub/d.yaml"]);
    }

    #[test]
    fn links_end_and_give_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("real")).unwrap();
        fs::write(root.join("real/x.yaml"), "").unwrap();
        symlink(root, root.join("real/loop")).unwrap();
        symlink(root.join("real"), root.join("alias")).unwrap();
        symlink(root.join("real/x.yaml"), root.join("again.yaml")).unwrap();
        symlink(root.join("self.yaml"), root.join("self.yaml")).unwrap();
        symlink(root.join("nowhere"), root.join("dangling.yaml")).unwrap();
        assert_eq!(names(root), ["real/x.yaml"]);
    }

    #[test]
    fn a_mounted_config_map_reads_as_files() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("..v1")).unwrap();
        fs::write(root.join("..v1/x.yaml"), "").unwrap();
        symlink("..v1", root.join("..data")).unwrap();
        symlink("..data/x.yaml", root.join("x.yaml")).unwrap();
        assert_eq!(names(root), ["x.yaml"]);
    }

    #[test]
    fn targets_outside_are_named_for_watching() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("x.yaml"), "").unwrap();
        symlink(outside.path().join("x.yaml"), dir.path().join("x.yaml")).unwrap();
        let listing = walk(dir.path()).unwrap();
        assert_eq!(listing.beyond.into_iter().collect::<Vec<_>>(), [outside.path().canonicalize().unwrap()]);
    }

    #[test]
    fn a_missing_root_is_an_error_and_a_file_is_a_root() {
        let dir = tempfile::tempdir().unwrap();
        assert!(walk(&dir.path().join("no")).is_err());
        let file = dir.path().join("one.conf");
        fs::write(&file, "").unwrap();
        assert_eq!(walk(&file).unwrap().files.len(), 1);
    }
}
