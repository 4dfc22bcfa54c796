// SPDX-License-Identifier: Apache-2.0
//! What validation finds, kind by kind. Each document in `validate/` is an object; the comments before it name what must be found, as
//! `# error PATH` or `# warning PATH`, and nothing else may be.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tiphys_api::parse_yaml;

/// Cuts a table into cases: the expected lines and the text.
fn cases(text: &str) -> Vec<(BTreeSet<String>, String)> {
    let mut cases = Vec::new();
    for document in text.split("\n---\n") {
        let comments = document.lines().filter_map(|line| line.strip_prefix("# "));
        let expected = comments
            .filter(|line| line.starts_with("error ") || line.starts_with("warning "))
            .map(str::to_owned)
            .collect();
        cases.push((expected, document.to_owned()));
    }
    cases
}

#[test]
fn tables() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validate");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        for (expected, document) in cases(&fs::read_to_string(&path).unwrap()) {
            for result in parse_yaml(&document, Some(path.as_path().into())) {
                let parsed = match result {
                    Ok(parsed) => parsed,
                    Err(error) => {
                        wrong.push(format!("{error}\n{document}"));
                        continue;
                    }
                };
                count += 1;
                let problems: Vec<_> = parsed.warnings.iter().cloned().chain(parsed.object.validate()).collect();
                let found: BTreeSet<String> =
                    problems.iter().map(|problem| format!("{} {}", problem.severity, problem.path)).collect();
                if found != expected {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    wrong.push(format!("{name}: expected {expected:#?}\nfound\n{}\n{document}", problems.join("\n")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(count > 100, "only {count} cases");
}
