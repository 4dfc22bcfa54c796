// SPDX-License-Identifier: Apache-2.0
//! Files that others replace: noticed by time, size and file number, also behind symbolic links, as Kubernetes swaps them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What changes when a file is written or replaced; `None` when there is no such file.
pub(crate) fn stamp(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let m = std::fs::metadata(path).ok()?;
    Some((m.ino(), m.size(), m.mtime(), m.mtime_nsec()))
}
