// SPDX-License-Identifier: Apache-2.0
//! Connections without TLS that write a large response with few calls of the system.
//!
//! HTTP/2 hands the transport one frame after the other, and no client allows frames of more than 16 KB: to write each by itself costs more than
//! twice what the copying costs. So whole frames wait here for those that follow. What waits is not copied: the pieces that streams give to HTTP/2 are
//! known, and a frame that lies in one of them is kept as a reference to it.

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;

/// A frame of this size has others behind it.
const WHOLE_FRAME: usize = 16 * 1024;
/// As much waits before it is written in any case.
const MOST: usize = 512 * 1024;
/// How many parts one call takes.
const PARTS: usize = 128;
/// A part that is shorter is copied: it is the head of a frame.
const SHORT: usize = 1024;
/// How many pieces of a connection are known at once.
const PIECES: usize = 16;

/// The pieces that the streams of a connection gave to HTTP/2 lately.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Mutex<VecDeque<Bytes>>);

impl Pieces {
    /// A piece is on its way.
    pub(crate) fn give(&self, piece: &Bytes) {
        if piece.len() < WHOLE_FRAME {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() == PIECES {
            known.pop_front();
        }
        known.push_back(piece.clone());
    }

    /// The piece that a part lies in, cut to it. A piece is forgotten with its last part.
    fn find(&self, part: &[u8]) -> Option<Bytes> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = part.as_ptr() as usize;
        let (at, from) = known.iter().enumerate().find_map(|(at, piece)| {
            // What lies within memory that is held here is that memory.
            let from = start.checked_sub(piece.as_ptr() as usize)?;
            (from + part.len() <= piece.len()).then_some((at, from))
        })?;
        let found = known[at].slice(from..from + part.len());
        if from + part.len() == known[at].len() {
            known.remove(at);
        }
        Some(found)
    }
}

/// What requests know of their connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Where it comes from.
    pub remote: Option<SocketAddr>,
    pub(crate) pieces: Arc<Pieces>,
}

/// A connection whose whole frames wait for those that follow.
#[derive(Debug)]
pub struct Gathering<T> {
    io: T,
    pieces: Arc<Pieces>,
    waiting: VecDeque<Bytes>,
    /// Bytes in `waiting`.
    length: usize,
    /// The last frame was a whole one, and nobody has flushed twice since.
    more: bool,
}

/// The connections of a listener; small responses do not wait for acknowledgements.
pub fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<Gathering<TcpStream>>> {
    TcpListenerStream::new(listener).map(|tcp| {
        tcp.map(|tcp| {
            // A connection that is gone already is found out by reading from it.
            let _ = tcp.set_nodelay(true);
            Gathering::new(tcp)
        })
    })
}

impl Connected for Gathering<TcpStream> {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        ConnectionInfo { remote: self.io.peer_addr().ok(), pieces: self.pieces.clone() }
    }
}

impl<T> Gathering<T> {
    fn new(io: T) -> Self {
        Self { io, pieces: Arc::default(), waiting: VecDeque::new(), length: 0, more: false }
    }

    /// Keeps a frame for later, if all long parts of it lie in pieces that are known.
    fn keep(&mut self, parts: &[IoSlice<'_>]) -> bool {
        let before = self.waiting.len();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            let kept = match part.len() < SHORT {
                true => Some(Bytes::copy_from_slice(part)),
                false => self.pieces.find(part),
            };
            let Some(kept) = kept else {
                self.waiting.truncate(before);
                return false;
            };
            self.waiting.push_back(kept);
        }
        true
    }

    /// Takes off what was written.
    fn advance(&mut self, mut written: usize) {
        self.length -= written;
        while let Some(front) = self.waiting.front_mut() {
            if written < front.len() {
                drop(front.split_to(written));
                return;
            }
            written -= front.len();
            self.waiting.pop_front();
        }
    }
}

impl<T: AsyncWrite + Unpin> Gathering<T> {
    /// Writes all that waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let mut parts = [IoSlice::new(&[]); PARTS];
            let count = parts.iter_mut().zip(&self.waiting).map(|(part, bytes)| *part = IoSlice::new(bytes)).count();
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &parts[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathering<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, part: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(part)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let whole = length >= WHOLE_FRAME;
        if this.length >= MOST {
            ready!(this.poll_drain(cx))?;
        }
        if (whole || !this.waiting.is_empty()) && this.keep(parts) {
            this.length += length;
            this.more = whole;
            return Poll::Ready(Ok(length));
        }
        ready!(this.poll_drain(cx))?;
        this.more = false;
        Pin::new(&mut this.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// HTTP/2 flushes after each frame, and once more when it has no other: only then is written what waits.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if std::mem::take(&mut this.more) && this.length < MOST {
            // Should it not flush again by itself.
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathering<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts calls, and takes so many bytes with each.
    struct Socket {
        calls: usize,
        takes: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Socket {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, part: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(part)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.calls += 1;
            let before = self.taken.len();
            for part in parts {
                let room = self.takes - (self.taken.len() - before);
                self.taken.extend(&part[..part.len().min(room)]);
            }
            Poll::Ready(Ok(self.taken.len() - before))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn connection(takes: usize) -> Gathering<Socket> {
        Gathering::new(Socket { calls: 0, takes, taken: Vec::new() })
    }

    /// Writes a piece as HTTP/2 does: heads, frames, a flush after each and one at the end.
    fn send(to: &mut Gathering<Socket>, piece: &Bytes) -> Vec<u8> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut sent = Vec::new();
        for (number, frame) in piece.chunks(WHOLE_FRAME).enumerate() {
            let head = [u8::try_from(number).unwrap(); 9];
            let parts = [IoSlice::new(&head), IoSlice::new(frame)];
            let length = head.len() + frame.len();
            let mut done = 0;
            while done < length {
                let rest = if done < 9 { &parts[..] } else { &[IoSlice::new(&frame[done - 9..])] };
                let Poll::Ready(Ok(n)) = Pin::new(&mut *to).poll_write_vectored(&mut cx, rest) else { panic!() };
                done += n;
            }
            sent.extend(head);
            sent.extend(frame);
            assert!(Pin::new(&mut *to).poll_flush(&mut cx).is_ready());
        }
        assert!(Pin::new(&mut *to).poll_flush(&mut cx).is_ready());
        sent
    }

    fn piece(length: usize) -> Bytes {
        (0..length).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>().into()
    }

    #[test]
    fn frames_of_a_known_piece_are_written_together_and_not_copied() {
        for takes in [10_000, 100_000, usize::MAX] {
            let (mut to, piece) = (connection(takes), piece(300_000));
            to.pieces.give(&piece);
            let sent = send(&mut to, &piece);
            assert_eq!(to.io.taken, sent);
            assert_eq!(to.io.calls, sent.len().div_ceil(takes));
            assert!(to.waiting.is_empty() && to.length == 0 && to.pieces.0.lock().unwrap().is_empty());
        }
    }

    #[test]
    fn as_much_as_may_wait_waits() {
        let (mut to, piece) = (connection(usize::MAX), piece(3 << 20));
        to.pieces.give(&piece);
        let sent = send(&mut to, &piece);
        assert_eq!(to.io.taken, sent);
        assert!((6..10).contains(&to.io.calls), "{}", to.io.calls);
    }

    #[test]
    fn what_is_not_known_is_written_at_once_and_in_order() {
        let (known, unknown) = (piece(100_000), piece(70_000));
        let mut to = connection(usize::MAX);
        to.pieces.give(&known);
        let mut sent = send(&mut to, &known);
        sent.extend(send(&mut to, &unknown));
        assert_eq!(to.io.taken, sent);
        // Between frames of a known piece, too.
        let mut to = connection(usize::MAX);
        to.pieces.give(&known);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for part in [&known[..WHOLE_FRAME], &unknown[..WHOLE_FRAME], &known[WHOLE_FRAME..], &unknown[..100]] {
            assert!(Pin::new(&mut to).poll_write(&mut cx, part).is_ready());
        }
        assert!(Pin::new(&mut to).poll_shutdown(&mut cx).is_ready());
        let order = [&known[..WHOLE_FRAME], &unknown[..WHOLE_FRAME], &known[WHOLE_FRAME..], &unknown[..100]];
        assert_eq!(to.io.taken, order.concat());
    }

    #[test]
    fn small_responses_go_at_once() {
        let mut to = connection(usize::MAX);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut to).poll_write(&mut cx, &[1; 500]).is_ready());
        assert_eq!((to.io.taken.len(), to.waiting.len()), (500, 0));
    }
}
