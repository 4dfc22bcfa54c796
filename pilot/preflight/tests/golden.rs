// SPDX-License-Identifier: Apache-2.0
//! A small mesh in a folder, and what is said of it: `mesh/*.yaml` to `mesh/findings.txt`. UPDATE_GOLDENS=1 writes that anew.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

mod common;

use std::fs;
use std::path::Path;

use common::Case;

#[test]
fn a_small_mesh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mesh");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    let text: Vec<String> = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let case = Case::of(&text.join("\n---\n"));
    let said = case.check().to_string();
    let golden = folder.join("findings.txt");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&golden, &said).unwrap();
    }
    assert_eq!(said, fs::read_to_string(&golden).unwrap_or_default(), "UPDATE_GOLDENS=1 writes {}", golden.display());
    // The order in which objects come does not matter, and findings can be read back.
    let mut turned = case;
    turned.objects.reverse();
    let report = turned.check();
    let json = serde_json::to_string(&report).unwrap();
    let back: tiphys_preflight::Report = serde_json::from_str(&json).unwrap();
    assert_eq!((back.to_string(), back.breaks()), (said, true));
}
