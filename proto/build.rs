// SPDX-License-Identifier: Apache-2.0
//! Generates Rust types for the messages that Tiphys writes and reads; the rest stays reachable by reflection.

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

/// Files whose messages are used by name; what they import comes along.
const ROOTS: &str = include_str!("roots.txt");
/// Services for which clients and servers are generated.
const SERVICES: [&str; 3] = ["AggregatedDiscoveryService", "SecretDiscoveryService", "IstioCertificateService"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=descriptors.binpb.zst");
    println!("cargo:rerun-if-changed=roots.txt");
    println!("cargo:rerun-if-changed=build.rs");
    let raw = zstd::decode_all(&std::fs::read("descriptors.binpb.zst")?[..])?;
    let all = FileDescriptorSet::decode(&raw[..])?;
    let files: BTreeMap<String, FileDescriptorProto> =
        all.file.into_iter().map(|f| (f.name().to_string(), f)).collect();
    let mut wanted = BTreeSet::new();
    for root in ROOTS.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        collect(root, &files, &mut wanted)?;
    }
    let mut set = FileDescriptorSet { file: Vec::new() };
    for name in &wanted {
        let mut file = files[name].clone();
        file.service.retain(|s| SERVICES.contains(&s.name()));
        set.file.push(file);
    }
    let mut config = prost_build::Config::new();
    config.bytes([".google.protobuf.Any"]).compile_well_known_types().enable_type_names().include_file("messages.rs");
    // Messages are compared and used as keys of memo tables by their bytes, so map fields must have one order.
    config.btree_map(["."]);
    config.service_generator(tonic_prost_build::configure().service_generator());
    config.compile_fds(set)?;
    Ok(())
}

fn collect(
    name: &str,
    files: &BTreeMap<String, FileDescriptorProto>,
    wanted: &mut BTreeSet<String>,
) -> Result<(), Box<dyn Error>> {
    if !wanted.insert(name.to_string()) {
        return Ok(());
    }
    let file = files.get(name).ok_or_else(|| format!("roots.txt: no file {name} in the descriptor set"))?;
    for import in &file.dependency {
        collect(import, files, wanted)?;
    }
    Ok(())
}
