// SPDX-License-Identifier: Apache-2.0
//! Taking the answers with names out of the control plane's stream.

use super::{PREFIX, Subscription, type_url};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// A message of which even this much does not tell its type passes by.
const ENOUGH: usize = 64 * 1024;
/// Wire types of protobuf.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;
/// Fields of (Delta)DiscoveryResponse.
const RESOURCES: u64 = 2;
const TYPE_URL: u64 = 4;
/// Field of Resource: its Any. Any's own first field is its type.
const RESOURCE_BODY: u64 = 2;
const ANY_TYPE: u64 = 1;

enum State {
    /// The beginning of a message, as long as its type is not known.
    Head(BytesMut),
    /// A message that passes by has so much left.
    Pass(usize),
    /// A message that is taken out has so much left.
    Take(BytesMut, usize),
}

/// Sorts the messages of an answer's body.
pub struct Tap {
    subscription: Subscription,
    url: String,
    state: State,
    ready: VecDeque<Bytes>,
}

impl Tap {
    /// A tap for a stream.
    pub fn new(subscription: Subscription) -> Self {
        Self { subscription, url: type_url(), state: State::Head(BytesMut::new()), ready: VecDeque::new() }
    }

    /// The next piece that passes by.
    pub fn take_passed(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// Takes a piece of the body in.
    pub fn push(&mut self, mut data: Bytes) {
        while !data.is_empty() {
            match &mut self.state {
                State::Pass(left) => {
                    let piece = data.split_to((*left).min(data.len()));
                    *left -= piece.len();
                    if *left == 0 {
                        self.state = State::Head(BytesMut::new());
                    }
                    self.ready.push_back(piece);
                }
                State::Take(taken, left) => {
                    let piece = data.split_to((*left).min(data.len()));
                    *left -= piece.len();
                    taken.extend_from_slice(&piece);
                    if *left == 0 {
                        let whole = std::mem::take(taken).freeze();
                        self.state = State::Head(BytesMut::new());
                        self.subscription.take(whole);
                    }
                }
                State::Head(head) => {
                    head.extend_from_slice(&data);
                    data = Bytes::new();
                    if let Some((rest, state)) = decide(head, &self.url, self.subscription.delta, &mut self.ready) {
                        self.state = state;
                        // What was taken in too much.
                        data = rest;
                    }
                    if let State::Take(taken, 0) = &mut self.state {
                        let whole = std::mem::take(taken).freeze();
                        self.state = State::Head(BytesMut::new());
                        self.subscription.take(whole);
                    }
                }
            }
        }
    }
}

/// Once the type of a message can be told: what is left to be sorted, and what becomes of the message.
fn decide(head: &mut BytesMut, url: &str, delta: bool, ready: &mut VecDeque<Bytes>) -> Option<(Bytes, State)> {
    let [compressed, a, b, c, d] = *head.get(..PREFIX)? else { return None };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let there = &head[PREFIX..head.len().min(PREFIX + length)];
    let ours = match message_type(there, delta) {
        _ if compressed != 0 => false,
        Some(found) => found == url.as_bytes(),
        None if there.len() == length || there.len() >= ENOUGH => false,
        None => return None,
    };
    let mut all = std::mem::take(head);
    let rest = all.split_off(all.len().min(PREFIX + length)).freeze();
    let left = PREFIX + length - all.len();
    if ours {
        all.advance(PREFIX);
        all.reserve(left);
        return Some((rest, State::Take(all, left)));
    }
    ready.push_back(all.freeze());
    Some((rest, if left == 0 { State::Head(BytesMut::new()) } else { State::Pass(left) }))
}

/// The type of a message, from its beginning: that of its first resource, or the one that it names.
fn message_type(message: &[u8], delta: bool) -> Option<&[u8]> {
    for (field, value) in Fields(message) {
        match field {
            TYPE_URL => return value.whole(),
            RESOURCES => {
                let any = match value {
                    Value::Some { there, .. } if delta => find(there, RESOURCE_BODY),
                    Value::Some { there, .. } => Some(there),
                    Value::Other => None,
                };
                if let Some(url) = any.and_then(first_field) {
                    return Some(url);
                }
            }
            _ => {}
        }
    }
    None
}

/// A field's bytes, as far as they are there.
fn find(message: &[u8], wanted: u64) -> Option<&[u8]> {
    Fields(message).find_map(|(field, value)| match value {
        Value::Some { there, .. } if field == wanted => Some(there),
        _ => None,
    })
}

fn first_field(any: &[u8]) -> Option<&[u8]> {
    Fields(any).find_map(|(field, value)| if field == ANY_TYPE { value.whole() } else { None })
}

/// The value of a field.
enum Value<'a> {
    /// Bytes, perhaps only the first of them.
    Some { there: &'a [u8], length: usize },
    /// A number.
    Other,
}

impl<'a> Value<'a> {
    fn whole(&self) -> Option<&'a [u8]> {
        match self {
            Self::Some { there, length } if there.len() == *length => Some(there),
            Self::Some { .. } | Self::Other => None,
        }
    }
}

/// The fields of a message, of which the last may be there in part.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let (field, kind) = (key >> 3, (key & 7) as u8);
        let value = match kind {
            VARINT => {
                self.varint()?;
                Value::Other
            }
            FIXED64 => self.skip(8)?,
            FIXED32 => self.skip(4)?,
            LENGTH => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (there, rest) = self.0.split_at(length.min(self.0.len()));
                self.0 = rest;
                Value::Some { there, length }
            }
            _ => return None,
        };
        Some((field, value))
    }
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, length: usize) -> Option<Value<'a>> {
        self.0 = self.0.get(length..)?;
        Some(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Dns, DnsSettings};
    use crate::settings::Environment;
    use prost::Message;
    use std::sync::Arc;
    use tiphys_proto::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse, Resource};
    use tiphys_proto::google::protobuf::Any;
    use tiphys_proto::istio::networking::nds::v1::NameTable;
    use tiphys_proto::istio::networking::nds::v1::name_table::NameInfo;
    use tokio::sync::mpsc;

    fn tap(delta: bool) -> (Tap, Arc<Dns>, mpsc::UnboundedReceiver<Bytes>) {
        let env = Environment([("ISTIO_META_DNS_CAPTURE".to_string(), "true".to_string())].into());
        let settings = DnsSettings::gather(&env, "sidecar", "ns", "ns.svc.cluster.local").unwrap().unwrap();
        let dns = Dns::new(settings, Arc::default());
        let (outbox, messages) = mpsc::unbounded_channel();
        (Tap::new(Subscription { delta, outbox, dns: dns.clone() }), dns, messages)
    }

    fn frame(message: &[u8]) -> Vec<u8> {
        [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
    }

    fn names() -> Any {
        let info = NameInfo { ips: vec!["1.2.3.4".into()], registry: "External".into(), ..NameInfo::default() };
        let table = NameTable { table: [("x.com".to_string(), info)].into() };
        Any { type_url: type_url(), value: table.encode_to_vec().into() }
    }

    fn clusters(count: usize) -> Any {
        Any { type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".into(), value: vec![7; count].into() }
    }

    fn response(delta: bool, any: Any, url_first: bool) -> Vec<u8> {
        let type_url = any.type_url.clone();
        let mut message = if delta {
            let resources =
                vec![Resource { name: "n".into(), version: "1".into(), resource: Some(any), ..Default::default() }];
            DeltaDiscoveryResponse { resources, nonce: "9".into(), ..Default::default() }.encode_to_vec()
        } else {
            DiscoveryResponse {
                version_info: "v".into(),
                resources: vec![any],
                nonce: "9".into(),
                ..Default::default()
            }
            .encode_to_vec()
        };
        // Fields may come in any order.
        let url = DiscoveryResponse { type_url, ..Default::default() }.encode_to_vec();
        message = if url_first { [url, message].concat() } else { [message, url].concat() };
        frame(&message)
    }

    #[test]
    fn names_are_taken_out_and_all_else_passes() {
        for (delta, url_first) in [(true, true), (true, false), (false, true), (false, false)] {
            let before = response(delta, clusters(3), url_first);
            let large = response(delta, clusters(100_000), url_first);
            let ours = response(delta, names(), url_first);
            let empty = frame(&[]);
            let stream = [&before[..], &ours, &empty, &large, &ours, &before].concat();
            for size in [1, 7, 100, 5_000, stream.len()] {
                let (mut tap, dns, mut said) = tap(delta);
                let mut passed = Vec::new();
                for piece in stream.chunks(size) {
                    tap.push(Bytes::copy_from_slice(piece));
                    while let Some(piece) = tap.take_passed() {
                        passed.extend_from_slice(&piece);
                    }
                }
                let expected = [&before[..], &empty, &large, &before].concat();
                assert!(passed == expected, "delta {delta}, url first {url_first}, pieces of {size}");
                assert_eq!(dns.table().unwrap().len(), 1);
                assert!(said.try_recv().is_ok() && said.try_recv().is_ok() && said.try_recv().is_err());
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let (mut tap, dns, mut said) = tap(false);
        let broken = Any { value: vec![10, 200].into(), ..names() };
        tap.push(response(false, broken, false).into());
        assert!(tap.take_passed().is_none() && dns.table().is_none());
        let request =
            tiphys_proto::envoy::service::discovery::v3::DiscoveryRequest::decode(&said.try_recv().unwrap()[PREFIX..])
                .unwrap();
        assert!(request.error_detail.is_some() && request.version_info.is_empty() && request.response_nonce == "9");
    }
}
