// SPDX-License-Identifier: Apache-2.0
//! Secret files: written whole or not at all, readable by their owner only.

use crate::CaError;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes a folder, and those above it, that only the owner may enter (0700). Existing ones are left as they are.
pub(crate) fn secret_dir(path: &Path) -> Result<(), CaError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| CaError::file(path, format!("cannot make this folder: {e}")))
}

/// Writes a file with the mode given by way of a temporary file in the same folder, so that a reader sees the old or the new.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), CaError> {
    let problem = |e: std::io::Error| CaError::file(path, format!("cannot write: {e}"));
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = dir.join(format!(".{name}.{}.{:08x}", std::process::id(), rand::random::<u32>()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    written.map_err(|e| {
        // The write failed already; that a rest stays behind changes nothing.
        let _ = fs::remove_file(&temporary);
        problem(e)
    })
}

/// Reads a file of text.
pub(crate) fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|e| CaError::file(path, format!("cannot read: {e}")))
}

/// Refuses a private key of our own that others could read.
pub(crate) fn require_private(path: &Path) -> Result<(), CaError> {
    let mode = fs::metadata(path).map_err(|e| CaError::file(path, format!("cannot read: {e}")))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(CaError::file(
            path,
            format!("mode {:04o} lets others read this private key; run chmod 0600 on it", mode & 0o7777),
        ));
    }
    Ok(())
}
