// SPDX-License-Identifier: Apache-2.0
//! One HTTP/2 connection (RFC 9113) with one gRPC stream for each sidecar, as Envoy has it: its windows, frames of the default size.
//!
//! The sidecars share the processors with what is measured. So a connection is one task, reads into a buffer that all connections of a thread
//! share, and copies nothing: what a general client does for any use would be measured too.

use super::scan::{Message, Scanner};
use super::turns::Turns;
use super::{Mode, Settings, Shared};
use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The largest payload of a frame.
const FRAME: usize = 16 * 1024;
/// The window of a new stream or connection.
const WINDOW: u32 = 65_535;
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 24 << 20;
/// Windows are opened again after so many bytes.
const RENEW: u32 = 4 << 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// The only stream.
const STREAM: u32 = 1;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 256 * 1024]);
}

/// Who takes messages, and says what is sent in turn.
pub trait Handler {
    /// Takes bytes of messages into account.
    fn received(&mut self, bytes: usize);
    /// Takes a message; appends framed messages to `requests`.
    fn take(&mut self, message: Message, requests: &mut Vec<u8>) -> Result<()>;
}

/// Connects a sidecar, sends its first request and gives all that comes to the handler; ends only with an error.
pub async fn run(shared: &Shared, first: &[u8], handler: &mut impl Handler) -> Result<()> {
    let tcp = TcpStream::connect(shared.settings.addr).await.context("cannot connect")?;
    tcp.set_nodelay(true)?;
    let connection = Connection::new(&shared.settings, first);
    match &shared.tls {
        None => connection.serve(tcp, &shared.turns, handler).await,
        Some(connector) => {
            let name = ServerName::try_from(shared.settings.server_name.clone())?;
            let tls = connector.connect(name, tcp).await.context("TLS handshake")?;
            connection.serve(tls, &shared.turns, handler).await
        }
    }
}

/// The frame that is being read.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Bytes to come.
    left: usize,
}

/// The state of a connection.
struct Connection {
    /// Bytes on their way out.
    out: Vec<u8>,
    written: usize,
    /// Requests that wait for the server's windows.
    requests: Vec<u8>,
    /// The turn in which the first of what they answer was received.
    received_in: Option<u64>,
    /// How much may be sent: on the stream, on the connection.
    windows: (i64, i64),
    /// The stream's window before anything is sent, as the server has it.
    initial: i64,
    /// Received since the windows were last opened.
    unacknowledged: u32,
    head: Vec<u8>,
    frame: Option<Frame>,
    payload: Vec<u8>,
    scanner: Scanner,
    answered: bool,
}

impl Connection {
    fn new(settings: &Settings, first: &[u8]) -> Self {
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut window = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        window.extend(STREAM_WINDOW.to_be_bytes());
        frame(&mut out, SETTINGS, 0, 0, &window);
        frame(&mut out, WINDOW_UPDATE, 0, 0, &(CONNECTION_WINDOW - WINDOW).to_be_bytes());
        frame(&mut out, HEADERS, END_HEADERS, STREAM, &headers(settings));
        let windows = (i64::from(WINDOW), i64::from(WINDOW));
        let mut connection = Self {
            out,
            written: 0,
            requests: first.to_vec(),
            received_in: None,
            windows,
            initial: i64::from(WINDOW),
            unacknowledged: 0,
            head: Vec::new(),
            frame: None,
            payload: Vec::new(),
            scanner: Scanner::new(settings.mode == Mode::Delta),
            answered: false,
        };
        connection.send();
        connection
    }

    async fn serve(mut self, io: impl AsyncRead + AsyncWrite, turns: &Turns, handler: &mut impl Handler) -> Result<()> {
        let mut io = pin!(io);
        poll_fn(|task| {
            loop {
                self.send_requests(turns);
                self.write(io.as_mut(), task)?;
                let read = SCRATCH.with_borrow_mut(|scratch| {
                    let mut buffer = ReadBuf::new(scratch);
                    let read = io.as_mut().poll_read(task, &mut buffer);
                    read.map(|read| {
                        read?;
                        ensure!(!buffer.filled().is_empty(), "the connection was closed");
                        self.read(buffer.filled(), handler)
                    })
                });
                match read {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        if self.received_in.is_some() {
                            turns.wait(task);
                        }
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    /// Writes as much as goes.
    fn write(&mut self, mut io: Pin<&mut impl AsyncWrite>, task: &mut Task<'_>) -> Result<()> {
        let pending = self.written < self.out.len();
        while self.written < self.out.len() {
            match io.as_mut().poll_write(task, &self.out[self.written..]) {
                Poll::Ready(count) => self.written += count?,
                Poll::Pending => return Ok(()),
            }
        }
        self.out.clear();
        self.written = 0;
        if pending && let Poll::Ready(flushed) = io.poll_flush(task) {
            flushed?;
        }
        Ok(())
    }

    fn read(&mut self, mut bytes: &[u8], handler: &mut impl Handler) -> Result<()> {
        while !bytes.is_empty() {
            let Some(frame) = &mut self.frame else {
                let count = (9 - self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..count]);
                bytes = &bytes[count..];
                if let [a, b, c, kind, flags, d, e, f, g] = self.head[..] {
                    let left = u32::from_be_bytes([0, a, b, c]) as usize;
                    let stream = u32::from_be_bytes([d, e, f, g]);
                    self.frame = Some(Frame { kind, flags, stream, left });
                    self.head.clear();
                    self.finish()?;
                }
                continue;
            };
            let (piece, rest) = bytes.split_at(frame.left.min(bytes.len()));
            bytes = rest;
            frame.left -= piece.len();
            if frame.kind == DATA {
                ensure!(frame.flags & PADDED == 0, "padded data");
                self.data(piece, handler)?;
            } else {
                self.payload.extend_from_slice(piece);
            }
            self.finish()?;
        }
        Ok(())
    }

    fn data(&mut self, piece: &[u8], handler: &mut impl Handler) -> Result<()> {
        handler.received(piece.len());
        let requests = &mut self.requests;
        self.scanner.feed(piece, |message| handler.take(message, requests))?;
        self.unacknowledged += piece.len() as u32;
        if self.unacknowledged >= RENEW {
            for stream in [0, STREAM] {
                frame(&mut self.out, WINDOW_UPDATE, 0, stream, &self.unacknowledged.to_be_bytes());
            }
            self.unacknowledged = 0;
        }
        Ok(())
    }

    /// Acts on a frame that is complete.
    fn finish(&mut self) -> Result<()> {
        let Some(Frame { kind, flags, stream, .. }) = self.frame.take_if(|frame| frame.left == 0) else {
            return Ok(());
        };
        let payload = std::mem::take(&mut self.payload);
        match kind {
            DATA if flags & END_STREAM != 0 => bail!("the stream ended without a status"),
            HEADERS | CONTINUATION if self.answered || flags & END_STREAM != 0 => {
                bail!("the stream ended: {}", String::from_utf8_lossy(&payload).escape_debug())
            }
            HEADERS => self.answered = true,
            RST_STREAM | GOAWAY => bail!("the server ended it (frame {kind}): {payload:?}"),
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    let value = i64::from(u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]));
                    if setting[..2] == INITIAL_WINDOW_SIZE.to_be_bytes() {
                        self.windows.0 += value - self.initial;
                        self.initial = value;
                    }
                }
                frame(&mut self.out, SETTINGS, ACK, 0, &[]);
            }
            PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, &payload),
            WINDOW_UPDATE => {
                let more = i64::from(u32::from_be_bytes(payload[..].try_into().context("a window of no size")?));
                if stream == 0 {
                    self.windows.1 += more;
                } else {
                    self.windows.0 += more;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends requests, if it is time to answer.
    fn send_requests(&mut self, turns: &Turns) {
        if self.requests.is_empty() {
            return;
        }
        let now = turns.now();
        if *self.received_in.get_or_insert(now) != now {
            self.received_in = None;
            self.send();
        }
    }

    /// Frames of requests, as far as the windows go.
    fn send(&mut self) {
        let may = self.windows.0.min(self.windows.1).max(0) as usize;
        let now = self.requests.len().min(may);
        for piece in self.requests[..now].chunks(FRAME) {
            frame(&mut self.out, DATA, 0, STREAM, piece);
        }
        self.requests.drain(..now);
        self.windows.0 -= now as i64;
        self.windows.1 -= now as i64;
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The request's header fields as literals without indexing (RFC 7541, 6.2.2).
fn headers(settings: &Settings) -> Vec<u8> {
    let method = match settings.mode {
        Mode::Delta => "DeltaAggregatedResources",
        Mode::Sotw => "StreamAggregatedResources",
    };
    let path = format!("/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}");
    let authority = settings.addr.to_string();
    let fields = [
        (":method", "POST"),
        (":scheme", if settings.tls { "https" } else { "http" }),
        (":path", &path),
        (":authority", &authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            // All are shorter than 127 bytes, so their length is one byte.
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// TLS with the roots, and the client certificate if there is one.
pub fn tls(settings: &Settings) -> Result<tokio_rustls::TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = settings.ca.as_ref().context("--tls needs --ca")?;
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| format!("cannot read {}", ca.display()))? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => {
            let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config).into())
}
