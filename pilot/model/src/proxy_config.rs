// SPDX-License-Identifier: Apache-2.0
//! What a proxy's listeners read of its ProxyConfig
//! (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig>): the mesh's default, overridden by what the
//! proxy was started with.

use crate::{Float, Str};
use serde::Serialize;
use std::time::Duration;

/// What becomes of the X-Forwarded-Client-Cert header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ForwardClientCert {
    /// It is removed.
    Sanitize,
    /// It is passed on over mutual TLS.
    ForwardOnly,
    /// The client's certificate is added to it.
    AppendForward,
    /// It is replaced by the client's certificate.
    SanitizeSet,
    /// It is passed on always.
    AlwaysForwardOnly,
}

/// The effective configuration of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ProxyConfig {
    /// Tracing when no Telemetry resource says otherwise.
    pub tracing: ProxyTracing,
    /// Headers that the proxy adds.
    pub headers: ProxyHeaders,
    /// What is in front of a gateway.
    pub topology: Topology,
    /// Limits and timeouts of connections.
    pub connection: ConnectionSettings,
}

/// Tracing settings of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ProxyTracing {
    /// Share of requests that are sampled, in percent.
    pub sampling: Option<Float>,
    /// Longest path in a span, in bytes.
    pub max_path_tag_length: Option<u32>,
    /// Whether spans carry the mesh's own tags.
    pub istio_tags: Option<bool>,
    /// Further tags, sorted by name.
    pub custom_tags: Vec<CustomTag>,
}

/// A tag of each span.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct CustomTag {
    /// Its name.
    pub name: Str,
    /// Where its value comes from.
    pub value: TagValue,
}

/// Where a tag's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum TagValue {
    /// A fixed text.
    Literal(Str),
    /// A variable of the proxy's environment, with its default.
    Environment(Str, Str),
    /// A header of the request, with its default.
    Header(Str, Str),
    /// A text in the format of access logs.
    Formatter(Str),
}

/// Headers that the proxy adds or removes; the fields are those of ProxyHeaders, their defaults applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ProxyHeaders {
    /// What becomes of X-Forwarded-Client-Cert at sidecars.
    pub forwarded_client_cert: Option<ForwardClientCert>,
    /// Details of client certificates that are forwarded; none = the defaults.
    pub client_cert_details: ClientCertDetails,
    /// No request ids are made.
    pub request_id_disabled: bool,
    /// The upstream's `server` header is kept.
    pub server_disabled: bool,
    /// Value of the `server` header; empty = the default.
    pub server: Str,
    /// No X-Envoy-Attempt-Count.
    pub attempt_count_disabled: bool,
    /// No X-Envoy-* headers for debugging.
    pub debug_headers_disabled: bool,
    /// Peer metadata headers go to services of the mesh only.
    pub metadata_exchange_in_mesh: bool,
    /// The case of HTTP/1 headers is kept.
    pub preserve_case: bool,
    /// X-Forwarded-Host is added.
    pub x_forwarded_host: bool,
    /// X-Forwarded-Port is added.
    pub x_forwarded_port: bool,
}

/// Which details of a client certificate are forwarded; none = the default of the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ClientCertDetails {
    /// Its subject.
    pub subject: Option<bool>,
    /// The certificate itself.
    pub cert: Option<bool>,
    /// The whole chain.
    pub chain: Option<bool>,
    /// Its DNS names.
    pub dns: Option<bool>,
    /// Its URIs.
    pub uri: Option<bool>,
}

/// What is in front of a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Topology {
    /// Proxies before it whose X-Forwarded-For is trusted.
    pub trusted_proxies: u32,
    /// What becomes of X-Forwarded-Client-Cert.
    pub forward_client_cert: Option<ForwardClientCert>,
    /// Connections start with a PROXY protocol header.
    pub proxy_protocol: bool,
}

/// What becomes of headers with an underscore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Underscores {
    /// Taken as any other.
    Allow,
    /// The request is refused.
    RejectRequest,
    /// The header is dropped.
    DropHeader,
}

/// What becomes of `%2F` and the like in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum EscapedSlashes {
    /// They stay.
    KeepUnchanged,
    /// The request is refused.
    RejectRequest,
    /// They are decoded and the client is redirected.
    UnescapeAndRedirect,
    /// They are decoded.
    UnescapeAndForward,
}

/// Limits and timeouts of connections; none = nothing was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ConnectionSettings {
    /// What is advised for proxies at the edge counts where nothing was said.
    pub edge: bool,
    /// Buffer of a connection in bytes.
    pub buffer_limit: Option<u32>,
    /// A connection without requests is closed after this time.
    pub idle_timeout: Option<Duration>,
    /// Longest life of a connection.
    pub max_connection_duration: Option<Duration>,
    /// Longest life of a stream.
    pub max_stream_duration: Option<Duration>,
    /// A stream without activity is reset after this time.
    pub stream_idle_timeout: Option<Duration>,
    /// Time for a whole request to arrive.
    pub request_timeout: Option<Duration>,
    /// Time for the headers of a request to arrive.
    pub request_headers_timeout: Option<Duration>,
    /// Time for connections to end when the listener drains.
    pub drain_timeout: Option<Duration>,
    /// Most streams on one HTTP/2 connection.
    pub max_concurrent_streams: Option<u32>,
    /// First window of an HTTP/2 stream in bytes.
    pub initial_stream_window: Option<u32>,
    /// First window of an HTTP/2 connection in bytes.
    pub initial_connection_window: Option<u32>,
    /// Headers with an underscore.
    pub underscores: Option<Underscores>,
    /// `//` in paths becomes `/`.
    pub merge_slashes: Option<bool>,
    /// Escaped slashes in paths.
    pub escaped_slashes: Option<EscapedSlashes>,
}

impl ConnectionSettings {
    /// The settings with what is advised for proxies at the edge where nothing was said
    /// (<https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge>).
    pub fn with_edge_defaults(self) -> Self {
        Self {
            buffer_limit: self.buffer_limit.or(Some(32 * 1024)),
            idle_timeout: self.idle_timeout.or(Some(Duration::from_secs(3600))),
            stream_idle_timeout: self.stream_idle_timeout.or(Some(Duration::from_secs(300))),
            request_timeout: self.request_timeout.or(Some(Duration::from_secs(300))),
            request_headers_timeout: self.request_headers_timeout.or(Some(Duration::from_secs(60))),
            max_concurrent_streams: self.max_concurrent_streams.or(Some(100)),
            initial_stream_window: self.initial_stream_window.or(Some(64 * 1024)),
            initial_connection_window: self.initial_connection_window.or(Some(1024 * 1024)),
            underscores: self.underscores.or(Some(Underscores::RejectRequest)),
            merge_slashes: self.merge_slashes.or(Some(true)),
            escaped_slashes: self.escaped_slashes.or(Some(EscapedSlashes::UnescapeAndRedirect)),
            ..self
        }
    }
}
