// SPDX-License-Identifier: Apache-2.0
//! One HTTP request to a control plane that runs: `tiphys request GET /debug/syncz`, which is what `istioctl bug-report` and operators run in its
//! container by the name pilot-discovery (<https://istio.io/latest/docs/reference/commands/pilot-discovery/#pilot-discovery-request>).

use std::time::Duration;

use anyhow::{Context, bail};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::RequestArgs;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The text of the answer.
///
/// # Errors
/// When there is no answer, or its status is that of a failure. That something is not found is an answer, as for pilot-discovery.
pub async fn send(args: &RequestArgs) -> anyhow::Result<String> {
    let answer = timeout(PATIENCE, exchange(args)).await;
    let (status, text) = answer.with_context(|| format!("{} does not answer", args.address))??;
    if (status.is_client_error() || status.is_server_error()) && status != StatusCode::NOT_FOUND {
        bail!("received unsuccessful status code {status}: {text}");
    }
    Ok(text)
}

async fn exchange(args: &RequestArgs) -> anyhow::Result<(StatusCode, String)> {
    let RequestArgs { method, path, body, address } = args;
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong there goes wrong here too.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(format!("/{}", path.trim_start_matches('/')))
        .header(header::HOST, address)
        .body(Full::<Bytes>::from(body.clone()))
        .with_context(|| format!("{path} is no path"))?;
    let response = sender.send_request(request).await.with_context(|| format!("{address} {path}"))?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
