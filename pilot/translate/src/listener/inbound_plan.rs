// SPDX-License-Identifier: Apache-2.0
//! The filter chains before the workload of a sidecar: for each port that it serves those of plain text and of TLS, of HTTP and of
//! other bytes, as the port's protocol and the mutual TLS mode ask for; and those of all other ports.

use super::chain::{MESH_ALPN, MESH_HTTP_ALPN, MESH_TCP_ALPN, PLAIN, TLS};
use super::{Body, Chain, ChainMatch, Environment, HttpBody, RouteSource, TcpBody};
use crate::filter::tcp_proxy::TcpTarget;
use crate::tls::Termination;
use tiphys_model::{MutualTls, Protocol, ServerTls, Str};

/// One port before the workload.
#[derive(Clone, Debug)]
pub struct InboundPort {
    /// Name of its chains; none for the chains of all other ports.
    pub name: Option<Str>,
    /// Port of the workload; 0 = any.
    pub port: u32,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where its connections go.
    pub cluster: Str,
    /// Routes of its requests.
    pub routes: RouteSource,
    /// TLS that it terminates itself; only where mutual TLS is off.
    pub tls: Option<ServerTls>,
    /// The object that it comes from; may be empty.
    pub origin: Str,
    /// Prefix of the statistics of its connections; empty = its cluster.
    pub stat_prefix: Str,
}

/// Ends the prefix of statistics of connections that come in without mutual TLS; the agent looks for it.
pub const PLAINTEXT: &str = ";plaintext";

/// Names of the chains of ports that nobody declared, by HTTP or not.
const CATCH_ALL_HTTP: &str = "virtualInbound-catchall-http";
const CATCH_ALL_TCP: &str = "virtualInbound";

/// A kind of connections that gets a chain of its own.
struct Kind {
    alpn: Vec<Str>,
    transport: &'static str,
    http: bool,
    tls: bool,
}

impl Kind {
    fn new(alpn: &[&str], transport: &'static str, http: bool) -> Self {
        Self { alpn: alpn.iter().map(|name| (*name).into()).collect(), transport, http, tls: false }
    }

    /// Its TLS ends here.
    fn terminated(self) -> Self {
        Self { tls: true, ..self }
    }
}

/// The kinds of connections of a port. What cannot be told apart by its declared protocol is sniffed.
fn kinds(protocol: Protocol, mode: MutualTls, environment: &Environment) -> Vec<Kind> {
    let plain_http = || Kind { alpn: environment.plain_http(), ..Kind::new(&[], PLAIN, true) };
    let (http, sniffed) = (protocol.is_http(), protocol.is_unsupported());
    match mode {
        MutualTls::Strict if sniffed => vec![
            Kind::new(&MESH_HTTP_ALPN, TLS, true).terminated(),
            // What the client's side could not tell, or a client without a proxy.
            Kind::new(&[], TLS, false).terminated(),
        ],
        MutualTls::Strict => vec![Kind::new(&[], TLS, http).terminated()],
        MutualTls::Permissive if sniffed => vec![
            Kind::new(&MESH_HTTP_ALPN, TLS, true).terminated(),
            plain_http(),
            Kind::new(&MESH_TCP_ALPN, TLS, false).terminated(),
            Kind::new(&[], PLAIN, false),
            // TLS of the application's own.
            Kind::new(&[], TLS, false),
        ],
        MutualTls::Permissive if http => {
            vec![Kind::new(&MESH_ALPN, TLS, true).terminated(), Kind::new(&[], PLAIN, true)]
        }
        MutualTls::Permissive => vec![
            Kind::new(&MESH_ALPN, TLS, false).terminated(),
            Kind::new(&[], TLS, false),
            Kind::new(&[], PLAIN, false),
        ],
        MutualTls::Disable if sniffed => vec![plain_http(), Kind::new(&[], PLAIN, false)],
        MutualTls::Disable => vec![Kind::new(&[], PLAIN, http)],
    }
}

/// What HTTPS and TLS hold once they are terminated.
fn inside_tls(protocol: Protocol) -> Protocol {
    match protocol {
        Protocol::Https => Protocol::Http,
        Protocol::Tls => Protocol::Tcp,
        other => other,
    }
}

/// The chains of a port in a mutual TLS mode.
pub fn chains(port: &InboundPort, mode: MutualTls, environment: &Environment) -> Vec<Chain> {
    let own_tls = port.tls.as_ref().filter(|_| mode == MutualTls::Disable);
    let protocol = if port.tls.is_some() { inside_tls(port.protocol) } else { port.protocol };
    let kinds = match own_tls {
        Some(_) => vec![Kind::new(&[], TLS, protocol.is_http()).terminated()],
        None => kinds(protocol, mode, environment),
    };
    kinds.into_iter().map(|kind| of_kind(port, protocol, kind, own_tls, environment)).collect()
}

fn of_kind(
    port: &InboundPort,
    protocol: Protocol,
    kind: Kind,
    own_tls: Option<&ServerTls>,
    environment: &Environment,
) -> Chain {
    let terminated = match own_tls {
        Some(tls) => Termination::Server { tls: tls.clone(), protocol: Protocol::Http },
        None => Termination::Mesh { tcp: !kind.http },
    };
    let name = match &port.name {
        Some(name) => name.clone(),
        None => if kind.http { CATCH_ALL_HTTP } else { CATCH_ALL_TCP }.into(),
    };
    let body = if kind.http {
        let stat_prefix = match &port.name {
            Some(name) => format!("inbound_{name};"),
            None => format!("{};", port.cluster),
        };
        let routes = port.routes.clone();
        Body::Http(HttpBody { routes, protocol, stat_prefix: stat_prefix.into(), forward_proxy: false })
    } else {
        let mut target = TcpTarget { idle_timeout: environment.idle_timeout, ..TcpTarget::cluster(&port.cluster) };
        if !port.stat_prefix.is_empty() {
            target.stat_prefix = port.stat_prefix.clone();
        }
        // Istio's proxies count by security policy. Others would not tell what came in without mutual TLS.
        if !kind.tls && !environment.istio_filters {
            target.stat_prefix = format!("{}{PLAINTEXT}", target.stat_prefix).into();
        }
        Body::Tcp(TcpBody { metadata_exchange: true, ..TcpBody::to(protocol, target) })
    };
    Chain {
        name,
        matches: ChainMatch {
            port: (port.port > 0).then_some(port.port),
            alpn: kind.alpn,
            transport: kind.transport.into(),
            ..ChainMatch::default()
        },
        origin: port.origin.clone(),
        tls: kind.tls.then_some(terminated),
        body,
    }
}

/// The chain for connections to the listener's own port, which would be sent round in circles.
pub fn refused(environment: &Environment) -> Chain {
    let target = TcpTarget::cluster("BlackHoleCluster");
    let body = TcpBody { bare: true, metadata_exchange: true, ..TcpBody::to(Protocol::Tcp, target) };
    let matches = ChainMatch { port: Some(environment.inbound_port), ..ChainMatch::default() };
    Chain { name: "virtualInbound-blackhole".into(), ..Chain::new(matches, Body::Tcp(body)) }
}
