// SPDX-License-Identifier: Apache-2.0
//! Bodies of answers: text of our own, and what others answer, passed on as it comes.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::Sleep;

/// The mark at the end of metrics in OpenMetrics' format.
const EOF: &[u8] = b"# EOF";
/// As much of a stream is held back as may be that mark, with line ends.
const HELD: usize = 16;

/// A body of several parts.
#[derive(Default)]
pub struct Page {
    parts: VecDeque<Part>,
    deadline: Option<Pin<Box<Sleep>>>,
}

enum Part {
    Text(Bytes),
    Metrics(Metrics),
}

/// Metrics of another, without the mark at their end.
struct Metrics {
    body: Incoming,
    held: BytesMut,
    failed: Box<dyn Fn(&str) + Send>,
}

/// A page of text.
pub(super) fn page(status: StatusCode, text: String) -> Response<Page> {
    let mut response = Response::new(Page::default().with_text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl Page {
    /// Goes on with text.
    #[must_use]
    pub(super) fn with_text(mut self, text: impl Into<Bytes>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.parts.push_back(Part::Text(text));
        }
        self
    }

    /// Goes on with another's metrics. When they break off, `failed` is told so, and the page goes on.
    #[must_use]
    pub(super) fn with_metrics(mut self, body: Incoming, failed: impl Fn(&str) + Send + 'static) -> Self {
        self.parts.push_back(Part::Metrics(Metrics { body, held: BytesMut::new(), failed: Box::new(failed) }));
        self
    }

    /// No other is waited for any longer then.
    #[must_use]
    pub(super) fn until(mut self, deadline: tokio::time::Instant) -> Self {
        self.deadline = Some(Box::pin(tokio::time::sleep_until(deadline)));
        self
    }

    fn late(&mut self, cx: &mut Context<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|d| d.as_mut().poll(cx).is_ready())
    }
}

impl Metrics {
    /// The next piece; nothing at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.held.extend_from_slice(&data);
                    let ripe = self.held.len().saturating_sub(HELD);
                    if ripe > 0 {
                        return Poll::Ready(Some(self.held.split_to(ripe).freeze()));
                    }
                }
                Some(Err(error)) => {
                    (self.failed)(&error.to_string());
                    return Poll::Ready(self.rest());
                }
                None => return Poll::Ready(self.rest()),
            }
        }
    }

    /// What was held back, less the mark, with a line's end.
    fn rest(&mut self) -> Option<Bytes> {
        let rest = last_line(&std::mem::take(&mut self.held));
        (!rest.is_empty()).then_some(rest)
    }
}

fn last_line(held: &[u8]) -> Bytes {
    let text = held.trim_ascii_end();
    let mut rest = BytesMut::from(text.strip_suffix(EOF).unwrap_or(text));
    if !rest.is_empty() && !rest.ends_with(b"\n") {
        rest.extend_from_slice(b"\n");
    }
    rest.freeze()
}

impl Body for Page {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            let late = self.late(cx);
            let piece = match self.parts.front_mut() {
                None => return Poll::Ready(None),
                Some(Part::Text(text)) => Some(std::mem::take(text)),
                Some(Part::Metrics(metrics)) if late => {
                    (metrics.failed)("not answered in time");
                    metrics.rest()
                }
                Some(Part::Metrics(metrics)) => {
                    if let Some(piece) = ready!(metrics.poll_piece(cx)) {
                        let ended = metrics.held.is_empty();
                        if ended {
                            self.parts.pop_front();
                        }
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                    None
                }
            };
            self.parts.pop_front();
            if let Some(piece) = piece {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_at_the_end_goes() {
        for (held, rest) in [
            (&b"a 1\n# EOF\n"[..], &b"a 1\n"[..]),
            (b"a 1\r\n# EOF\r\n", b"a 1\r\n"),
            (b"# EOF", b""),
            (b"a 1", b"a 1\n"),
            (b"a 1\n\n", b"a 1\n"),
            (b"", b""),
        ] {
            assert_eq!(last_line(held), rest, "{held:?}");
        }
    }
}
