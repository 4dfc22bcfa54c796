// SPDX-License-Identifier: Apache-2.0
//! DNS messages: reading queries, and writing answers to those whose names are known (RFC 1035, EDNS of RFC 6891).

use super::table::Found;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rand::seq::SliceRandom;
use std::net::IpAddr;

/// Low, so that clients who heed it follow changes soon.
const TTL: u32 = 30;
/// What every client takes over UDP.
const MIN_UDP: u16 = 512;
/// What we say that we take.
const OWN_UDP: u16 = 1232;

/// A query.
pub(super) struct Query {
    message: Message,
    /// The name, in lower case and without the dot at its end.
    pub(super) name: String,
}

impl Query {
    /// Reads a query of one question; nothing when it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let message = Message::from_vec(bytes).ok()?;
        let meta = message.metadata;
        let question = message.queries.first()?;
        if meta.message_type != MessageType::Query || meta.op_code != OpCode::Query {
            return None;
        }
        let name = question.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
        Some(Self { message, name })
    }

    /// Whether it is addresses that are asked for: only these are known.
    pub(super) fn wants_addresses(&self) -> bool {
        self.kind().is_some_and(|kind| matches!(kind, RecordType::A | RecordType::AAAA))
    }

    fn kind(&self) -> Option<RecordType> {
        self.message.queries.first().map(hickory_proto::op::Query::query_type)
    }

    /// How large an answer over UDP may be.
    pub(super) fn max_udp(&self) -> u16 {
        self.message.edns.as_ref().map_or(MIN_UDP, |edns| edns.max_payload().max(MIN_UDP))
    }

    fn reply(&self, code: ResponseCode) -> Message {
        let meta = &self.message.metadata;
        let mut reply = Message::response(meta.id, meta.op_code);
        reply.metadata.recursion_desired = meta.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.metadata.response_code = code;
        reply.queries.clone_from(&self.message.queries);
        if self.message.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(OWN_UDP);
            reply.set_edns(edns);
        }
        reply
    }

    /// The answer when nobody knows.
    pub(super) fn failure(&self) -> Vec<u8> {
        self.reply(ResponseCode::ServFail).to_vec().unwrap_or_default()
    }

    /// The answer for a known name: the addresses of the family asked for, in random order; none is an answer, too. No longer than
    /// `limit` bytes: what does not fit is left out, and the answer says so.
    pub(super) fn answer(&self, found: &Found<'_>, limit: usize) -> Vec<u8> {
        let mut reply = self.reply(ResponseCode::NoError);
        reply.metadata.authoritative = true;
        reply.answers = self.records(found);
        loop {
            match reply.to_vec() {
                Ok(bytes) if bytes.len() <= limit || reply.answers.is_empty() => return bytes,
                Ok(_) => {
                    reply.metadata.truncation = true;
                    reply.answers.pop();
                }
                Err(_) => return self.failure(),
            }
        }
    }

    fn records(&self, found: &Found<'_>) -> Vec<Record> {
        let Some(question) = self.message.queries.first() else { return Vec::new() };
        let v6 = question.query_type() == RecordType::AAAA;
        let mut addresses: Vec<&IpAddr> = found.addresses.iter().filter(|a| a.is_ipv6() == v6).collect();
        if addresses.is_empty() {
            return Vec::new();
        }
        // So that clients that take the first one spread over all.
        addresses.shuffle(&mut rand::rng());
        let mut records = Vec::with_capacity(addresses.len() + 1);
        let mut name = question.name().clone();
        if let Some(Ok(alias)) = found.alias.as_ref().map(|alias| Name::from_ascii(format!("{alias}."))) {
            records.push(Record::from_rdata(name, TTL, RData::CNAME(CNAME(alias.clone()))));
            name = alias;
        }
        records.extend(addresses.into_iter().map(|address| {
            let data = match *address {
                IpAddr::V4(a) => RData::A(A(a)),
                IpAddr::V6(a) => RData::AAAA(AAAA(a)),
            };
            Record::from_rdata(name.clone(), TTL, data)
        }));
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in super::super) fn query(name: &str, kind: RecordType, udp: Option<u16>) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(hickory_proto::op::Query::query(Name::from_ascii(name).unwrap(), kind));
        if let Some(size) = udp {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }

    fn found(alias: Option<&str>, count: u8) -> (Option<String>, Vec<IpAddr>) {
        (alias.map(ToString::to_string), (1..=count).map(|n| IpAddr::from([10, 0, 0, n])).collect())
    }

    fn ask(bytes: &[u8], (alias, addresses): (Option<String>, Vec<IpAddr>), limit: usize) -> Message {
        let query = Query::read(bytes).unwrap();
        let answer = query.answer(&Found { alias, addresses: &addresses }, limit);
        assert!(answer.len() <= limit);
        Message::from_vec(&answer).unwrap()
    }

    #[test]
    fn an_answer_has_the_question_and_the_addresses() {
        let bytes = query("Web.Example.com.", RecordType::A, Some(4096));
        assert_eq!(Query::read(&bytes).unwrap().name, "web.example.com");
        let answer = ask(&bytes, found(None, 2), 512);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_desired && answer.edns.is_some());
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 2));
        // The other family has none, which does not mean that the name is unknown.
        let answer = ask(&query("web.example.com.", RecordType::AAAA, None), found(None, 2), 512);
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
        assert!(answer.edns.is_none());
    }

    #[test]
    fn an_alias_comes_before_its_addresses() {
        let answer = ask(&query("x.com.ns.svc.", RecordType::A, None), found(Some("x.com"), 1), 512);
        let names: Vec<String> = answer.answers.iter().map(|r| format!("{} {}", r.name, r.record_type())).collect();
        assert_eq!(names, ["x.com.ns.svc. CNAME", "x.com. A"]);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let answer = ask(&query("x.com.", RecordType::A, None), found(None, 200), 512);
        assert!(answer.metadata.truncation && answer.answers.len() > 20);
        let whole = ask(&query("x.com.", RecordType::A, None), found(None, 200), 65535);
        assert!(!whole.metadata.truncation && whole.answers.len() == 200);
    }

    #[test]
    fn what_is_no_query() {
        assert!(Query::read(b"nonsense").is_none());
        let reply = Query::read(&query("x.", RecordType::A, None)).unwrap().failure();
        assert!(Query::read(&reply).is_none());
        assert!(!Query::read(&query("x.", RecordType::MX, None)).unwrap().wants_addresses());
    }
}
