// SPDX-License-Identifier: Apache-2.0
//! Every input of the shared parity data is read without an error and without a warning. Skipped aloud where the data is not there.

use std::fs;
use std::path::{Path, PathBuf};

use tiphys_api::mesh::{MeshConfig, MeshNetworks};
use tiphys_api::{ParseError, Severity, parse_yaml};

fn shared() -> Option<PathBuf> {
    let fallback = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("TIPHYS_SHARED").map_or(fallback, PathBuf::from);
    if shared.join("parity").is_dir() {
        return Some(shared);
    }
    println!("SKIPPED: no shared data at {} (TIPHYS_SHARED names it)", shared.display());
    None
}

/// One input has the word "spki" where a hash is wanted, which Envoy refuses with the whole listener.
const REFUSED: &str = "verifyCertificateSpki";

#[test]
fn parity_inputs_are_read() {
    let Some(shared) = shared() else { return };
    let (mut objects, mut complaints) = (0, Vec::new());
    for group in fs::read_dir(shared.join("parity")).unwrap() {
        let Ok(cases) = fs::read_dir(group.unwrap().path()) else { continue };
        for case in cases {
            let input = case.unwrap().path().join("input.yaml");
            let Ok(text) = fs::read_to_string(&input) else { continue };
            for result in parse_yaml(&text, Some(input.as_path().into())) {
                match result {
                    Ok(parsed) => {
                        objects += 1;
                        let key = parsed.object.key();
                        complaints.extend(
                            parsed.warnings.iter().map(|warning| format!("{}: {key}: {warning}", input.display())),
                        );
                        let problems = parsed.object.validate();
                        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
                        let errors = errors.filter(|error| !error.path.contains(REFUSED));
                        complaints.extend(errors.map(|error| format!("{}: {key}: {error}", input.display())));
                        let json = parsed.object.to_json().unwrap();
                        let again = tiphys_api::parse_value(json, parsed.object.origin.clone()).unwrap();
                        assert_eq!(again.object.spec, parsed.object.spec, "{key} changes when it is written and read");
                    }
                    Err(ParseError::UnknownKind(_)) => {}
                    Err(error) => complaints.push(error.to_string()),
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(objects > 1000, "only {objects} objects");
}

#[test]
fn parity_settings_are_read() {
    let Some(shared) = shared() else { return };
    for group in fs::read_dir(shared.join("parity")).unwrap() {
        let Ok(cases) = fs::read_dir(group.unwrap().path()) else { continue };
        for case in cases {
            let case = case.unwrap().path();
            if let Ok(text) = fs::read_to_string(case.join("meshconfig.yaml")) {
                let (_, warnings) = MeshConfig::default().merge_yaml(&text).unwrap();
                assert!(warnings.is_empty(), "{}: {warnings:?}", case.display());
            }
            if let Ok(text) = fs::read_to_string(case.join("meshnetworks.yaml")) {
                let (_, warnings) = MeshNetworks::from_yaml(&text).unwrap();
                assert!(warnings.is_empty(), "{}: {warnings:?}", case.display());
            }
        }
    }
}
