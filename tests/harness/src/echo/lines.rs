// SPDX-License-Identifier: Apache-2.0
//! Lines of text over TCP: a greeting that names the service, then each line comes back with the service's name before it.

use super::{Config, tls};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Greets, then answers line by line until the client is done.
pub(super) async fn serve(config: &Config, stream: TcpStream) -> Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    writer.write_all(format!("hello from {} {}\n", config.name, config.version).as_bytes()).await?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        writer.write_all(format!("{} {line}\n", config.name).as_bytes()).await?;
    }
    writer.shutdown().await?;
    Ok(())
}

/// The TLS side of a client of lines.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM file of the certificates that the server's must be signed by.
    pub ca: PathBuf,
    /// The name that is asked for and that the server's certificate must carry.
    pub server_name: String,
}

/// Sends `line` to `to` and gives all that comes back: the greeting and the echo.
///
/// # Errors
/// When there is no connection, the certificate is not to be trusted, or the connection ends before the echo.
pub async fn send(to: SocketAddr, with: Option<Tls>, line: &str) -> Result<String> {
    let stream = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
    match with {
        Some(with) => exchange(tls::connect(stream, &with.ca, &with.server_name).await?, line).await,
        None => exchange(stream, line).await,
    }
}

async fn exchange<S: AsyncRead + AsyncWrite>(stream: S, line: &str) -> Result<String> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
    let greeting = lines.next_line().await?.context("closed without a greeting")?;
    writer.write_all(format!("{line}\n").as_bytes()).await?;
    let echo = lines.next_line().await?.context("closed without an echo")?;
    Ok(format!("{greeting}\n{echo}\n"))
}
