// SPDX-License-Identifier: Apache-2.0
//! What a newcomer reads first is right to the last field.

use anyhow::{Context, Result};
use std::path::Path;
use tiphys_source::dir::read_once;

#[test]
fn samples_have_no_problem() -> Result<()> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    for sample in std::fs::read_dir(&samples)? {
        let folder = sample?.path();
        let batch = read_once(&folder).with_context(|| format!("{}", folder.display()))?;
        let problems: Vec<_> = batch.reports.iter().flat_map(|report| report.lines()).collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        assert!(batch.changes.len() > 20, "{}: only {} objects", folder.display(), batch.changes.len());
    }
    Ok(())
}
