// SPDX-License-Identifier: Apache-2.0
//! HTTP routes (<https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute>): what a request has to be
//! like, and what becomes of it.

use crate::route::source_applies;
use crate::{Destination, Labels, Source, Str};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A text to match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum StringMatch {
    /// The whole text.
    Exact(Str),
    /// Its start.
    Prefix(Str),
    /// A regular expression (RE2) for the whole text.
    Regex(Str),
    /// Anything, as long as it is there.
    Present,
}

/// A share of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Share {
    /// Of a hundred: a whole number of percents.
    Percent(u32),
    /// Of a million.
    Millionths(u32),
}

impl Share {
    /// Everything.
    pub const ALL: Self = Self::Percent(100);

    /// The share of a percentage with a fraction.
    pub fn of_percentage(percent: f64) -> Self {
        // Casting a float saturates, so that nonsense becomes 0 or everything.
        Self::Millionths((percent * 10_000.0) as u32)
    }

    /// Whether it is nothing at all.
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Percent(0) | Self::Millionths(0))
    }
}

/// One rule: matches and what becomes of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct HttpRoute {
    /// Name; shows in access logs.
    pub name: Str,
    /// Any of these has to match; empty = all requests.
    pub matches: Vec<HttpMatch>,
    /// What becomes of the request.
    pub action: HttpAction,
    /// Time for the whole answer; absent = no limit.
    pub timeout: Option<Duration>,
    /// Retries; absent = the mesh's default.
    pub retries: Option<Retries>,
    /// Faults to inject.
    pub fault: Option<Fault>,
    /// Cross-origin policy.
    pub cors: Option<Cors>,
    /// Header changes.
    pub headers: Headers,
    /// Changes of path and authority.
    pub rewrite: Option<Rewrite>,
    /// Copies of requests.
    pub mirrors: Vec<Mirror>,
}

impl HttpRoute {
    /// The destinations that it names, mirrors included.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let routed = match &self.action {
            HttpAction::Route(destinations) => destinations.as_slice(),
            _ => &[],
        };
        routed.iter().map(|d| &d.destination).chain(self.mirrors.iter().map(|mirror| &mirror.destination))
    }
}

/// What a request has to be like: all that is said has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct HttpMatch {
    /// Name; appended to the route's.
    pub name: Str,
    /// Path.
    pub uri: Option<StringMatch>,
    /// The path is compared without regard to case.
    pub ignore_uri_case: bool,
    /// `http` or `https`.
    pub scheme: Option<StringMatch>,
    /// Method.
    pub method: Option<StringMatch>,
    /// Host header.
    pub authority: Option<StringMatch>,
    /// Headers, or claims of the request's token (`@request.auth.claims...`).
    pub headers: BTreeMap<Str, StringMatch>,
    /// Headers that must not match.
    pub without_headers: BTreeMap<Str, StringMatch>,
    /// Parameters of the query.
    pub query_params: BTreeMap<Str, StringMatch>,
    /// Port that was dialled; 0 = any.
    pub port: u32,
    /// Labels of the sending workload.
    pub source_labels: Labels,
    /// Namespace of the sending workload; empty = any.
    pub namespace: Str,
    /// `mesh` or gateways; empty = those of the VirtualService.
    pub gateways: Vec<Str>,
    /// Prefix of the statistics of this route; empty = none are kept.
    pub stat_prefix: Str,
}

impl HttpMatch {
    /// Whether it applies to requests of a workload, or through a gateway, on a port.
    pub fn applies(&self, source: &Source, gateways: &[Str], port: u32) -> bool {
        (self.port == 0 || self.port == port)
            && source_applies(&self.gateways, &self.source_labels, &self.namespace, (source, gateways))
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum HttpAction {
    /// It is sent on.
    Route(Vec<HttpDestination>),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// It is answered at once.
    DirectResponse(DirectResponse),
}

impl Default for HttpAction {
    fn default() -> Self {
        Self::Route(Vec::new())
    }
}

/// A destination with its share and its own header changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct HttpDestination {
    /// Where to.
    pub destination: Destination,
    /// Share relative to the others; 0 takes nothing beside others.
    pub weight: u32,
    /// Header changes for this destination only.
    pub headers: Headers,
}

/// Header changes of requests and responses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Headers {
    /// Of the request.
    pub request: HeaderOperations,
    /// Of the response.
    pub response: HeaderOperations,
}

/// Header changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct HeaderOperations {
    /// Overwritten.
    pub set: BTreeMap<Str, Str>,
    /// Appended.
    pub add: BTreeMap<Str, Str>,
    /// Taken away.
    pub remove: Vec<Str>,
}

/// Where a client is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Redirect {
    /// New path.
    pub path: RedirectPath,
    /// New authority; empty = kept.
    pub authority: Str,
    /// New scheme; empty = kept.
    pub scheme: Str,
    /// New port.
    pub port: RedirectPort,
    /// Status: 301, 302, 303, 307 or 308; 0 = 301.
    pub code: u32,
}

/// The path of a redirect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum RedirectPath {
    /// As it is.
    #[default]
    Keep,
    /// Another whole path.
    Full(Str),
    /// Another text in place of the prefix that matched.
    Prefix(Str),
}

/// The port of a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum RedirectPort {
    /// As it is.
    #[default]
    Keep,
    /// A number; the scheme's own port is left out.
    Number(u32),
    /// That of the protocol.
    Protocol,
    /// That of the request.
    Request,
}

/// An answer without asking anyone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct DirectResponse {
    /// Status.
    pub status: u32,
    /// Body.
    pub body: Option<Body>,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Body {
    /// Text.
    Text(Str),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Changes of path and authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Rewrite {
    /// New path.
    pub path: RewritePath,
    /// New authority; empty = kept.
    pub authority: Str,
}

/// The path that a request is sent on with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum RewritePath {
    /// As it is.
    #[default]
    Keep,
    /// Another text in place of the path, or prefix of it, that matched.
    Prefix(Str),
    /// A regular expression and its substitution.
    Regex(Str, Str),
}

/// When and how often to try again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Retries {
    /// How often; 0 = never.
    pub attempts: u32,
    /// Time for each attempt; absent = the whole timeout.
    pub per_try_timeout: Option<Duration>,
    /// Conditions and status codes, comma separated; empty = the default ones.
    pub retry_on: Str,
    /// Whether endpoints of other localities are tried.
    pub remote_localities: bool,
    /// Whether an endpoint that failed is left out; absent = yes.
    pub ignore_previous_hosts: Option<bool>,
    /// First pause between attempts.
    pub backoff: Option<Duration>,
}

/// Faults to inject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Fault {
    /// A delay before the request is sent on.
    pub delay: Option<Delay>,
    /// An answer in place of the request.
    pub abort: Option<Abort>,
}

/// A delay.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Delay {
    /// Share of requests.
    pub share: Share,
    /// How long.
    pub fixed: Duration,
}

/// An abort.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Abort {
    /// Share of requests; absent = none (Envoy's default).
    pub share: Option<Share>,
    /// With what.
    pub status: AbortStatus,
}

/// The status of an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum AbortStatus {
    /// An HTTP status.
    Http(u32),
    /// A gRPC status.
    Grpc(u32),
}

/// A cross-origin policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Cors {
    /// Origins that are allowed.
    pub origins: Vec<StringMatch>,
    /// Methods.
    pub methods: Vec<Str>,
    /// Request headers.
    pub headers: Vec<Str>,
    /// Response headers that scripts may read.
    pub expose: Vec<Str>,
    /// How long a preflight's answer holds.
    pub max_age: Option<Duration>,
    /// Whether credentials may be sent.
    pub credentials: Option<bool>,
    /// Whether preflights of other origins are sent on to the application.
    pub forward_unmatched: bool,
}

/// Where copies of requests go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Mirror {
    /// Where to.
    pub destination: Destination,
    /// Share of requests, above zero.
    pub share: Share,
}
