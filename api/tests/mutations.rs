// SPDX-License-Identifier: Apache-2.0
//! No text makes the parsers or the validation panic: good YAML is cut, doubled and overwritten at random.

use proptest::prelude::*;
use tiphys_api::mesh::{MeshConfig, MeshNetworks};
use tiphys_api::{check_regex, parse_yaml};

const SEED: &str = include_str!("validate/virtual_service.yaml");
const OTHERS: [&str; 5] = [
    include_str!("validate/destination_rule.yaml"),
    include_str!("validate/authorization_policy.yaml"),
    include_str!("validate/http_route.yaml"),
    include_str!("validate/service_entry.yaml"),
    "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1, targetPort: x}]}}\n",
];

/// One change of a text.
#[derive(Clone, Debug)]
enum Change {
    Cut(usize, usize),
    Double(usize, usize),
    Write(usize, String),
}

fn change() -> impl Strategy<Value = Change> {
    let piece = prop_oneof![
        Just("\u{0}".to_owned()),
        Just("---\n".to_owned()),
        Just("<<: *a\n".to_owned()),
        Just("&a ".to_owned()),
        Just("\t".to_owned()),
        Just("null".to_owned()),
        Just("-1".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("{}".to_owned()),
        Just("[[".to_owned()),
        Just("\"".to_owned()),
        Just("é*".to_owned()),
        ".{0,8}",
    ];
    prop_oneof![
        (any::<usize>(), 0_usize..80).prop_map(|(at, length)| Change::Cut(at, length)),
        (any::<usize>(), 0_usize..200).prop_map(|(at, length)| Change::Double(at, length)),
        (any::<usize>(), piece).prop_map(|(at, text)| Change::Write(at, text)),
    ]
}

fn apply(text: &str, changes: &[Change]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for change in changes {
        let size = chars.len().max(1);
        match change {
            Change::Cut(at, length) => {
                let start = (at % size).min(chars.len());
                chars.drain(start..(start + length).min(chars.len()));
            }
            Change::Double(at, length) => {
                let start = (at % size).min(chars.len());
                let piece: Vec<char> = chars[start..(start + length).min(chars.len())].to_vec();
                chars.splice(start..start, piece);
            }
            Change::Write(at, text) => {
                let start = (at % size).min(chars.len());
                chars.splice(start..start, text.chars());
            }
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn objects(seed in 0_usize..6, changes in prop::collection::vec(change(), 1..12)) {
        let text = apply(if seed == 5 { SEED } else { OTHERS[seed] }, &changes);
        for result in parse_yaml(&text, None) {
            match result {
                Ok(parsed) => {
                    parsed.object.validate();
                    let json = parsed.object.to_json().unwrap();
                    let again = tiphys_api::parse_value(json, parsed.object.origin.clone()).unwrap();
                    prop_assert_eq!(again.object.spec, parsed.object.spec);
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn settings(changes in prop::collection::vec(change(), 1..8)) {
        let text = apply(include_str!("../src/mesh/defaults.yaml"), &changes);
        if let Ok((mesh, _)) = MeshConfig::default().merge_yaml(&text) {
            mesh.validate();
        }
        if let Ok((networks, _)) = MeshNetworks::from_yaml(&text) {
            networks.validate();
        }
    }

    #[test]
    fn expressions(text in ".{0,40}", pieces in prop::collection::vec("[a(){}\\[\\]|*+?\\\\^$0-9:<>=!P,-]{0,6}", 0..6)) {
        let _ = check_regex(&text);
        let built = pieces.concat();
        // What both engines take must mean that ours never refuses the simplest ones.
        if built.bytes().all(|b| b == b'a' || b.is_ascii_digit()) && !built.is_empty() {
            prop_assert!(check_regex(&built).is_ok());
        }
        let _ = check_regex(&built);
    }
}
