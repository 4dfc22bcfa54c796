// SPDX-License-Identifier: Apache-2.0
//! `proto/descriptors.binpb.zst`: the descriptor set of every Envoy message, taken from the package envoy-types, and of the
//! messages under proto/extra that the package lacks. Comments are dropped: they are nine tenths of its size.

use anyhow::{Context, Result, bail};
use prost::Message;
use prost_types::FileDescriptorSet;
use protox::Compiler;
use protox::file::{ChainFileResolver, DescriptorSetFileResolver, GoogleFileResolver, IncludeFileResolver};
use std::path::{Path, PathBuf};
use std::process::Command;

const OUTPUT: &str = "proto/descriptors.binpb.zst";
const EXTRA: &str = "proto/extra";

/// Writes the descriptor set; with `check` it fails instead when the file in the tree is another.
pub fn generate(check: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?;
    let shipped = std::fs::read(envoy_types_dir(root)?.join("src/generated/types.bin"))?;
    let base = FileDescriptorSet::decode(&shipped[..])?;
    let mut all = base.clone();
    for file in compile_extra(&root.join(EXTRA), base)?.file {
        if !all.file.iter().any(|f| f.name == file.name) {
            all.file.push(file);
        }
    }
    for file in &mut all.file {
        file.source_code_info = None;
    }
    let bytes = zstd::encode_all(&all.encode_to_vec()[..], 19)?;
    let output = root.join(OUTPUT);
    if check {
        if std::fs::read(&output)? != bytes {
            bail!("{OUTPUT} is stale: run `cargo xtask protos`");
        }
        return Ok(());
    }
    std::fs::write(&output, &bytes)?;
    println!("{OUTPUT}: {} files, {} bytes", all.file.len(), bytes.len());
    Ok(())
}

fn compile_extra(dir: &Path, base: FileDescriptorSet) -> Result<FileDescriptorSet> {
    let mut names = Vec::new();
    list_protos(dir, dir, &mut names)?;
    names.sort();
    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(dir.to_path_buf()));
    resolver.add(DescriptorSetFileResolver::new(base));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_files(&names)?;
    Ok(compiler.file_descriptor_set())
}

fn list_protos(root: &Path, dir: &Path, names: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            list_protos(root, &path, names)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            names.push(path.strip_prefix(root)?.to_path_buf());
        }
    }
    Ok(())
}

fn envoy_types_dir(root: &Path) -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo).args(["metadata", "--format-version=1"]).current_dir(root).output()?;
    if !out.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let package = packages.iter().find(|p| p["name"] == "envoy-types").context("envoy-types is not locked")?;
    let manifest = package["manifest_path"].as_str().context("envoy-types has no manifest path")?;
    Ok(Path::new(manifest).parent().context("the manifest has no folder")?.to_path_buf())
}
