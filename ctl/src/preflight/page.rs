// SPDX-License-Identifier: Apache-2.0
//! The debug page of a control plane, over any connection.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tiphys_preflight::Report;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Question;

const PAGE: &str = "/debug/preflight/strict";

/// Asks the page at an address such as `http://127.0.0.1:15014`.
pub(super) async fn at(address: &str, token: Option<&Path>, question: &Question<'_>) -> anyhow::Result<Report> {
    let uri: hyper::Uri = address.parse().with_context(|| format!("--address {address}"))?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        bail!("--address {address}: write http://HOST:PORT; the debug pages are not served by TLS");
    };
    let port = uri.port_u16().unwrap_or(15014);
    let token = match token {
        None => None,
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await.with_context(|| address.to_owned())?;
    strict(stream, token.as_deref().map(str::trim), question).await.with_context(|| address.to_owned())
}

/// Asks what STRICT would break.
pub(super) async fn strict<S>(stream: S, token: Option<&str>, question: &Question<'_>) -> anyhow::Result<Report>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let body = serde_json::to_vec(question)?;
    ask(stream, token, (Method::POST, PAGE), body).await
}

/// Asks for a page of JSON.
pub(super) async fn ask<S, T>(
    stream: S,
    token: Option<&str>,
    (method, path): (Method, &str),
    body: Vec<u8>,
) -> anyhow::Result<T>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T: DeserializeOwned,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The task ends with the connection; its error shows in the exchange below.
    tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::builder().method(method).uri(path).header("host", "istiod");
    request = request.header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    match status {
        StatusCode::OK => serde_json::from_slice(&body).with_context(|| format!("the answer to {path}")),
        StatusCode::NOT_FOUND => bail!("{path}: this control plane has no such page: is it a Tiphys?"),
        StatusCode::UNAUTHORIZED => bail!("{path}: a service account's token is needed: give one by --token-file"),
        other => Err(anyhow!("{path}: {other}: {}", String::from_utf8_lossy(&body).trim())),
    }
}
