// SPDX-License-Identifier: Apache-2.0
//! The name table's subscription, on Envoy's own configuration stream.
//!
//! Control planes know one stream for each proxy, so the agent asks for the mesh's names (NDS) on the stream that it relays: after Envoy's
//! first message it puts in a request of its own, and what answers that it takes out. All else passes by as it is, in both
//! directions; of a message only as much is read as tells its type.
//!
//! Messages of gRPC are a byte that says whether they are compressed, four that say how long they are, and their bytes.

mod tap;

pub use tap::Tap;

use crate::dns::Dns;
use crate::dns::table::Table;
use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use prost::{Message, Name};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tiphys_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use tiphys_proto::google::rpc::Status;
use tiphys_proto::istio::networking::nds::v1::NameTable;
use tokio::sync::mpsc;

/// Bytes before each message.
const PREFIX: usize = 5;
const INVALID_ARGUMENT: i32 = 3;

/// The type that is asked for.
pub(crate) fn type_url() -> String {
    format!("type.googleapis.com/{}", NameTable::full_name())
}

/// One stream's subscription: what it has to say goes to the sender's other end, which is in the request's body.
pub struct Subscription {
    delta: bool,
    outbox: mpsc::UnboundedSender<Bytes>,
    dns: Arc<Dns>,
}

impl Subscription {
    /// A subscription, and the request's body with room for its messages.
    pub fn new(body: Incoming, delta: bool, dns: Arc<Dns>) -> (Self, Requests) {
        let (outbox, messages) = mpsc::unbounded_channel();
        let subscription = Self { delta, outbox, dns };
        subscription.say(String::new(), String::new(), None);
        (
            subscription,
            Requests { inner: body, extra: Some(Extra { messages, left: 0, prefix: Vec::new(), seen: false }) },
        )
    }

    /// Takes an answer: its names are served from now on, and the control plane is told so, or why not.
    fn take(&self, message: Bytes) {
        let (version, nonce, table) = if self.delta {
            match DeltaDiscoveryResponse::decode(message) {
                Ok(answer) => {
                    let resource = answer.resources.into_iter().next().and_then(|r| r.resource);
                    (answer.system_version_info, answer.nonce, resource)
                }
                Err(error) => return tracing::warn!(%error, "names of the mesh: no message of the protocol"),
            }
        } else {
            match DiscoveryResponse::decode(message) {
                Ok(answer) => (answer.version_info, answer.nonce, answer.resources.into_iter().next()),
                Err(error) => return tracing::warn!(%error, "names of the mesh: no message of the protocol"),
            }
        };
        let error = match table.map(|any| Table::decode(&any.value)) {
            Some(Ok(table)) => {
                self.dns.update(table);
                None
            }
            // Nothing is said anew.
            None => None,
            Some(Err(error)) => {
                tracing::warn!(%error, "names of the mesh are refused");
                Some(error.to_string())
            }
        };
        self.say(version, nonce, error);
    }

    fn say(&self, version: String, nonce: String, error: Option<String>) {
        let type_url = type_url();
        let error_detail = error.map(|message| Status { code: INVALID_ARGUMENT, message, ..Status::default() });
        let message = if self.delta {
            let response_nonce = nonce;
            DeltaDiscoveryRequest { type_url, response_nonce, error_detail, ..Default::default() }.encode_to_vec()
        } else {
            let request = DiscoveryRequest {
                // One that is refused is not held.
                version_info: if error_detail.is_some() { String::new() } else { version },
                type_url,
                response_nonce: nonce,
                error_detail,
                ..Default::default()
            };
            request.encode_to_vec()
        };
        let mut frame = BytesMut::with_capacity(PREFIX + message.len());
        frame.put_u8(0);
        // Requests are short.
        frame.put_u32(u32::try_from(message.len()).unwrap_or_default());
        frame.put_slice(&message);
        // When the request's body is gone the stream is at its end.
        let _ = self.outbox.send(frame.freeze());
    }
}

/// The body of a relayed request: Envoy's messages, and between them our own.
pub struct Requests {
    inner: Incoming,
    extra: Option<Extra>,
}

struct Extra {
    messages: mpsc::UnboundedReceiver<Bytes>,
    /// Bytes that the message under way has left.
    left: usize,
    /// The beginning of the next message's prefix.
    prefix: Vec<u8>,
    /// Whether a whole message has gone by: the first one says who the proxy is.
    seen: bool,
}

impl Extra {
    fn is_between_messages(&self) -> bool {
        self.seen && self.left == 0 && self.prefix.is_empty()
    }

    fn follow(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.left > 0 {
                let step = self.left.min(data.len());
                self.left -= step;
                data = &data[step..];
            } else {
                let step = (PREFIX - self.prefix.len()).min(data.len());
                self.prefix.extend_from_slice(&data[..step]);
                data = &data[step..];
                if let [_, a, b, c, d] = *self.prefix {
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.prefix.clear();
                }
            }
            self.seen |= self.left == 0 && self.prefix.is_empty();
        }
    }
}

impl Requests {
    /// Envoy's messages alone.
    pub fn plain(inner: Incoming) -> Self {
        Self { inner, extra: None }
    }
}

impl Body for Requests {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(extra) = self.extra.as_mut().filter(|extra| extra.is_between_messages())
            && let Poll::Ready(Some(message)) = extra.messages.poll_recv(cx)
        {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(extra)) = (&polled, &mut self.extra)
            && let Some(data) = frame.data_ref()
        {
            extra.follow(data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.extra.is_some() { SizeHint::default() } else { self.inner.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_messages_go_between_those_of_envoy() {
        let (_sender, messages) = mpsc::unbounded_channel();
        let mut extra = Extra { messages, left: 0, prefix: Vec::new(), seen: false };
        let between = |extra: &mut Extra, data: &[u8]| {
            extra.follow(data);
            extra.is_between_messages()
        };
        assert!(!extra.is_between_messages());
        assert!(!between(&mut extra, &[0, 0, 0]));
        assert!(!between(&mut extra, &[0, 2, 7]));
        assert!(between(&mut extra, &[7]));
        assert!(!between(&mut extra, &[0, 0, 0, 0, 1, 7, 0, 0]));
        assert!(between(&mut extra, &[0, 0, 0]));
    }
}
