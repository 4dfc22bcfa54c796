// SPDX-License-Identifier: Apache-2.0
//! Protocols of ports, and how they are told from port names and appProtocol
//! (<https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/>).

use serde::{Deserialize, Serialize};

/// What a port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC, over HTTP/2.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// HTTP over TLS, opaque to the proxy unless it terminates it.
    Https,
    /// TLS, opaque.
    Tls,
    /// Any TCP.
    Tcp,
    /// UDP: not proxied.
    Udp,
    /// MongoDB.
    Mongo,
    /// Redis.
    Redis,
    /// MySQL.
    MySql,
    /// HBONE.
    Hbone,
    /// Not told: HTTP or TCP by sniffing.
    #[default]
    Unsupported,
}

impl Protocol {
    /// Reads the protocol of an Istio API (`HTTP`, `grpc-web`, ...), not minding the case.
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "http" | "http_proxy" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            "udp" => Self::Udp,
            "mongo" => Self::Mongo,
            "redis" => Self::Redis,
            "mysql" => Self::MySql,
            "hbone" => Self::Hbone,
            _ => Self::Unsupported,
        }
    }

    /// The protocol of a Kubernetes port from its transport, number, name (`http-web`) and appProtocol.
    pub fn of_port(transport: &str, number: u32, name: &str, app_protocol: Option<&str>) -> Self {
        if transport.eq_ignore_ascii_case("UDP") {
            return Self::Udp;
        }
        let text = match app_protocol {
            Some("kubernetes.io/h2c") => return Self::Http2,
            Some("kubernetes.io/ws") => return Self::Http,
            Some("kubernetes.io/wss") => return Self::Https,
            Some(app) => app,
            None => name,
        };
        let protocol = Self::of_name(text);
        // These protocols are known by their port: a server that speaks first would be stalled by sniffing.
        if protocol.is_unsupported() && matches!(number, 25 | 53 | 3306 | 27017) {
            return Self::Tcp;
        }
        protocol
    }

    fn of_name(name: &str) -> Self {
        if name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("grpc-web")) {
            return Self::GrpcWeb;
        }
        Self::parse(name.split('-').next().unwrap_or_default())
    }

    /// Whether a proxy handles requests of it: HTTP of any version, without TLS.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether upstreams are spoken to in HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether it is opaque TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Whether a proxy passes bytes on (TLS counts).
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls | Self::Https | Self::Mongo | Self::Redis | Self::MySql)
    }

    /// Whether the protocol is to be found out by sniffing.
    pub fn is_unsupported(self) -> bool {
        self == Self::Unsupported
    }

    /// The name as the Istio APIs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-Web",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Mongo => "Mongo",
            Self::Redis => "Redis",
            Self::MySql => "MySQL",
            Self::Hbone => "HBONE",
            Self::Unsupported => "UnsupportedProtocol",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn ports_tell_their_protocol() {
        let of = |name, app| Protocol::of_port("TCP", 8080, name, app);
        assert_eq!(of("http-web", None), Protocol::Http);
        assert_eq!(of("grpc-web-x", None), Protocol::GrpcWeb);
        assert_eq!(of("grpc", None), Protocol::Grpc);
        assert_eq!(of("web", None), Protocol::Unsupported);
        assert_eq!(of("web", Some("kubernetes.io/h2c")), Protocol::Http2);
        assert_eq!(of("http", Some("tcp")), Protocol::Tcp);
        assert_eq!(Protocol::of_port("TCP", 3306, "db", None), Protocol::Tcp);
        assert_eq!(Protocol::of_port("UDP", 53, "dns", None), Protocol::Udp);
    }
}
