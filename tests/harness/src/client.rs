// SPDX-License-Identifier: Apache-2.0
//! A small HTTP client: it connects to an address that the caller names, whatever host the request is for, as an application
//! does that speaks to its own sidecar.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a request may take before it counts as failed.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A GET request, or one of another method, without a body.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to connect to.
    pub connect: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// GET unless it is set.
    pub method: Method,
    /// Further headers.
    pub headers: HeaderMap,
}

impl Request {
    /// A GET request to `connect` for `host`.
    pub fn get(connect: SocketAddr, host: &str, path: &str) -> Self {
        let (host, path) = (host.to_owned(), path.to_owned());
        Request { connect, host, path, method: Method::GET, headers: HeaderMap::new() }
    }

    /// The same with a header more.
    ///
    /// # Panics
    /// When name or value is not a header's.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_str(value);
        match (name, value) {
            (Ok(name), Ok(value)) => self.headers.append(name, value),
            _ => panic!("the test's own header is invalid"),
        };
        self
    }

    fn to_http(&self) -> Result<http::Request<Empty<Bytes>>> {
        let mut request = http::Request::builder().method(&self.method).uri(&self.path).header("host", &self.host);
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        request.body(Empty::new()).context("the request")
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; what is not UTF-8 in it is replaced.
    pub body: String,
}

/// A connection that is kept open from one request to the next.
#[derive(Debug)]
pub struct Connection {
    to: SocketAddr,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Connection {
    /// Opens nothing yet: the first request does.
    pub fn new(to: SocketAddr) -> Self {
        Connection { to, sender: None }
    }

    /// Sends `request` and reads the answer.
    ///
    /// # Errors
    /// When there is no connection, it breaks, or the answer takes too long.
    pub async fn send(&mut self, request: &Request) -> Result<Response> {
        let answer = tokio::time::timeout(TIMEOUT, self.exchange(request)).await;
        let answer = answer.with_context(|| format!("no answer from {} within {TIMEOUT:?}", self.to));
        if !matches!(answer, Ok(Ok(_))) {
            self.sender = None;
        }
        answer?
    }

    async fn exchange(&mut self, request: &Request) -> Result<Response> {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => open(self.to).await?,
        };
        sender.ready().await.with_context(|| format!("the connection to {}", self.to))?;
        let answer = sender.send_request(request.to_http()?).await;
        let (head, body) = answer.with_context(|| format!("no answer from {}", self.to))?.into_parts();
        let body = body.collect().await.with_context(|| format!("the answer from {} ended early", self.to))?.to_bytes();
        if head.headers.get("connection").is_none_or(|value| value != "close") {
            self.sender = Some(sender);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Response { status: head.status, headers: head.headers, body })
    }
}

async fn open(to: SocketAddr) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Its errors come out of the request that is under way.
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends `request` on a connection of its own.
///
/// # Errors
/// As [`Connection::send`].
pub async fn send(request: &Request) -> Result<Response> {
    Connection::new(request.connect).send(request).await
}
