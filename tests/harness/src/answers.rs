// SPDX-License-Identifier: Apache-2.0
//! An HTTP server inside of a test: it answers as the test says, and keeps what it was asked.

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
}

/// A server that runs until it is dropped; its connections end with it.
#[derive(Debug)]
pub struct Answers {
    asked: Arc<Mutex<Vec<Asked>>>,
    task: AbortHandle,
}

impl Answers {
    /// Serves at an address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn serve(
        at: SocketAddr,
        answer: impl Fn(&Asked) -> Response<String> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, answer) = (asked.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answer) = (kept.clone(), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
                    let one = Asked { path, headers: request.headers().clone() };
                    let answer = answer(&one).map(|body| Full::new(Bytes::from(body)));
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                    async { Ok::<_, Infallible>(answer) }
                });
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { asked, task: task.abort_handle() })
    }

    /// What it was asked last.
    pub fn last(&self) -> Option<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.task.abort();
    }
}
