// SPDX-License-Identifier: Apache-2.0
//! HTTP of the echo service. Every path answers with what reached the service, as JSON; the query bends the answer:
//! `status=503` sets its status, `delay=200ms` its delay, `fail=2&id=x` fails the first two attempts of id x, `show=service,version`
//! gives these fields as one line of text. `/call?url=http://reviews:9080/` makes the service call another one.

use super::{Ends, Service};
use crate::client;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Ids whose attempts are counted; beyond that counting starts anew.
const MAX_IDS: usize = 10_000;

/// Headers that a call hands on, so that a chain of calls is one trace and one user's.
const HANDED_ON: &[&str] = &["x-request-id", "traceparent", "tracestate", "end-user"];

/// What reached the service.
#[derive(Serialize)]
struct Seen<'a> {
    service: &'a str,
    version: &'a str,
    address: SocketAddr,
    /// Where the connection comes from: the sidecar, unless it keeps the client's address.
    peer: IpAddr,
    protocol: String,
    method: &'a str,
    host: String,
    path: &'a str,
    query: &'a str,
    /// SPIFFE identity of the caller, which the sidecar puts into x-forwarded-client-cert.
    caller: String,
    /// How often this id was seen, this time included.
    attempt: u32,
    headers: BTreeMap<&'a str, String>,
}

/// Answers one request.
pub(super) async fn answer(
    service: &Service,
    ends: Ends,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = query(request.uri().query().unwrap_or_default());
    if let Some(delay) = query.get("delay").and_then(|text| duration(text)) {
        tokio::time::sleep(delay).await;
    }
    let answer = match query.get("url").filter(|_| request.uri().path() == "/call") {
        Some(url) => call(service, url, request.headers()).await,
        None => tell(service, ends, &request, &query),
    };
    Ok(answer.unwrap_or_else(|error| text(StatusCode::BAD_GATEWAY, format!("{error:#}\n"))))
}

fn tell(
    service: &Service,
    ends: Ends,
    request: &Request<Incoming>,
    query: &BTreeMap<String, String>,
) -> Result<Response<Full<Bytes>>> {
    let attempt = service.attempt(query);
    let mut status = StatusCode::OK;
    if let Some(wanted) = query.get("status") {
        status = StatusCode::from_bytes(wanted.as_bytes()).with_context(|| format!("status={wanted}"))?;
    }
    let failures: u32 = query.get("fail").and_then(|n| n.parse().ok()).unwrap_or(0);
    if attempt <= failures {
        status = StatusCode::SERVICE_UNAVAILABLE;
    }
    let seen = Seen {
        service: &service.config.name,
        version: &service.config.version,
        address: ends.address,
        peer: ends.peer,
        protocol: format!("{:?}", request.version()),
        method: request.method().as_str(),
        host: host(request),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        caller: caller(request.headers()),
        attempt,
        headers: headers(request.headers()),
    };
    let seen = serde_json::to_value(seen)?;
    let Some(fields) = query.get("show") else {
        return Ok(text(status, format!("{seen:#}\n")));
    };
    let shown: Vec<_> = fields.split(',').map(|field| show(&seen, field)).collect();
    Ok(text(status, format!("{}\n", shown.join(" "))))
}

fn show(seen: &serde_json::Value, field: &str) -> String {
    let value = match field.strip_prefix("header.") {
        Some(name) => &seen["headers"][name.to_ascii_lowercase()],
        None => &seen[field],
    };
    match value {
        serde_json::Value::String(text) if text.is_empty() => "-".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Calls `url` through the service's sidecar, if it has one, and hands the answer back.
async fn call(service: &Service, url: &str, headers: &HeaderMap) -> Result<Response<Full<Bytes>>> {
    let uri: Uri = url.parse().with_context(|| format!("url={url}"))?;
    let authority = uri.authority().with_context(|| format!("url={url} has no host"))?;
    let port = authority.port_u16().unwrap_or(80);
    let ip: IpAddr = match (service.config.sidecar, authority.host().parse()) {
        (Some(sidecar), _) => sidecar,
        (None, Ok(ip)) => ip,
        (None, Err(_)) => bail!("{} has no sidecar to call {} through", service.config.name, authority.host()),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = client::Request::get(SocketAddr::new(ip, port), authority.as_str(), path);
    for name in HANDED_ON {
        if let Some(value) = headers.get(*name) {
            request.headers.insert(*name, value.clone());
        }
    }
    let answer = client::send(&request).await?;
    Ok(text(answer.status, answer.body))
}

impl Service {
    /// The number of this attempt of the id in the query; 1 without an id.
    fn attempt(&self, query: &BTreeMap<String, String>) -> u32 {
        let Some(id) = query.get("id") else { return 1 };
        let Ok(mut attempts) = self.attempts.lock() else { return 1 };
        if attempts.len() >= MAX_IDS && !attempts.contains_key(id) {
            attempts.clear();
        }
        let attempt = attempts.entry(id.clone()).or_default();
        *attempt += 1;
        *attempt
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

fn host(request: &Request<Incoming>) -> String {
    let header = request.headers().get("host").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    header.or_else(|| request.uri().authority().map(ToString::to_string)).unwrap_or_default()
}

fn headers(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut all: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let held = all.entry(name.as_str()).or_default();
        if !held.is_empty() {
            held.push(',');
        }
        held.push_str(&value);
    }
    all
}

/// The URI of the last element of x-forwarded-client-cert: the identity that the sidecar in front has verified.
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert>
fn caller(headers: &HeaderMap) -> String {
    let value = headers.get("x-forwarded-client-cert").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let last = value.rsplit(',').next().unwrap_or_default();
    last.split(';').find_map(|part| part.strip_prefix("URI=")).unwrap_or_default().to_owned()
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), percent_decoded(value))).collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `200ms`, `2s` or plain milliseconds.
fn duration(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    match text.strip_suffix('s') {
        Some(seconds) => seconds.parse().ok().map(Duration::from_secs),
        None => text.parse().ok().map(Duration::from_millis),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_the_last_identity_that_was_verified() {
        let mut headers = HeaderMap::new();
        assert_eq!(caller(&headers), "");
        let first = "By=spiffe://a/ns/b/sa/c;Hash=1;URI=spiffe://a/ns/b/sa/gateway";
        let second = "By=spiffe://a/ns/b/sa/d;Hash=2;Subject=\"\";URI=spiffe://a/ns/b/sa/c";
        headers.insert("x-forwarded-client-cert", format!("{first},{second}").parse().expect("a header"));
        assert_eq!(caller(&headers), "spiffe://a/ns/b/sa/c");
    }

    #[test]
    fn queries_are_decoded() {
        let query = query("url=http%3a%2F%2freviews:9080/&show=version&odd=%zz%");
        assert_eq!(query["url"], "http://reviews:9080/");
        assert_eq!(query["odd"], "%zz%");
        assert_eq!(duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("soon"), None);
    }
}
