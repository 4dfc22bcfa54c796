// SPDX-License-Identifier: Apache-2.0
//! The Unix sockets on which Envoy talks to the agent: only the own user may connect.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;
use tokio::net::{UnixListener, UnixStream};

/// Listens on a socket of mode 0600, in a folder that is made with mode 0700 when it is missing. A socket that a former agent left
/// behind is replaced; one that answers is somebody's, and an error.
///
/// # Errors
/// When the socket is in use or cannot be made.
pub async fn listen(path: &Path) -> Result<UnixListener, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    if answers(path).await {
        return Err(format!("{}: another process listens here", path.display()));
    }
    if fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Whether somebody listens there.
pub async fn answers(path: &Path) -> bool {
    UnixStream::connect(path).await.is_ok()
}

/// The next connection of a process of our own user (or of root, who could do anything anyway).
///
/// # Errors
/// When the socket itself fails.
pub async fn accept(listener: &UnixListener) -> std::io::Result<UnixStream> {
    let own = rustix::process::geteuid().as_raw();
    loop {
        let (stream, _) = listener.accept().await?;
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == own || peer.uid() == 0 => return Ok(stream),
            Ok(peer) => tracing::warn!(uid = peer.uid(), pid = peer.pid(), "refused a connection of another user"),
            Err(error) => tracing::warn!(%error, "refused a connection of an unknown user"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/socket");
        let first = listen(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let (client, served) = tokio::join!(UnixStream::connect(&path), accept(&first));
        client.unwrap();
        served.unwrap();
        assert!(listen(&path).await.unwrap_err().contains("another process"));
        drop(first);
        assert!(!answers(&path).await);
        listen(&path).await.unwrap();
    }
}
