// SPDX-License-Identifier: Apache-2.0
//! The HTTP filters of a connection manager, in order.

use super::connection_manager::Manager;
use super::prepared::Prepared;
use super::{alpn, cors, fault, grpc_stats, grpc_web, metadata_exchange, router, stateful_session, stats};
use crate::listener::Class;
use tiphys_model::Protocol;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The HTTP filters. Requests pass them in the order of this declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpFilterKind {
    /// First, so that what refuses a request is reported with its peer.
    MetadataExchange,
    /// Policies that an external service decides.
    CustomAuthorization,
    /// Tokens of requests.
    Authentication,
    /// Policies that the proxy decides, which may ask for claims of tokens.
    Authorization,
    /// gRPC-Web becomes gRPC before anything counts it.
    GrpcWeb,
    /// Counts of gRPC messages.
    GrpcStats,
    /// ALPN towards the upstream.
    Alpn,
    /// Injected faults.
    Fault,
    /// Cross-origin requests.
    Cors,
    /// The mesh's standard metrics.
    Stats,
    /// Sessions that stay with one endpoint.
    StatefulSession,
    /// Last.
    Router,
}

/// All kinds in order.
const ORDER: [HttpFilterKind; 12] = {
    use HttpFilterKind as K;
    [
        K::MetadataExchange,
        K::CustomAuthorization,
        K::Authentication,
        K::Authorization,
        K::GrpcWeb,
        K::GrpcStats,
        K::Alpn,
        K::Fault,
        K::Cors,
        K::Stats,
        K::StatefulSession,
        K::Router,
    ]
};

/// The filters of a connection manager.
pub fn build(manager: &Manager<'_>) -> Vec<HttpFilter> {
    ORDER.into_iter().flat_map(|kind| of_kind(kind, manager)).collect()
}

fn of_kind(kind: HttpFilterKind, manager: &Manager<'_>) -> Vec<HttpFilter> {
    let frame = manager.frame;
    let environment = frame.environment;
    let headers = &environment.config.headers;
    let istio = environment.istio_filters;
    let inbound = frame.class == Class::SidecarInbound;
    let one = |wanted: bool, filter: &dyn Fn() -> HttpFilter| wanted.then(filter).into_iter().collect();
    match kind {
        HttpFilterKind::MetadataExchange => {
            one(istio, &|| metadata_exchange::http(frame.class, headers.metadata_exchange_in_mesh))
        }
        HttpFilterKind::CustomAuthorization => of_policies(manager, |security| &security.http_custom),
        HttpFilterKind::Authentication => of_policies(manager, |security| &security.http_authentication),
        HttpFilterKind::Authorization => of_policies(manager, |security| &security.http_authorization),
        HttpFilterKind::GrpcWeb => one(manager.body.protocol == Protocol::GrpcWeb, &grpc_web::build),
        HttpFilterKind::GrpcStats => one(true, &grpc_stats::build),
        HttpFilterKind::Alpn => one(istio && !inbound, &alpn::build),
        HttpFilterKind::Fault => one(true, &fault::build),
        HttpFilterKind::Cors => one(true, &cors::build),
        HttpFilterKind::Stats => {
            let metrics = istio.then_some(&environment.reporting(frame.class).metrics).into_iter().flatten();
            metrics.map(|metrics| stats::http(frame.class, metrics)).collect()
        }
        HttpFilterKind::StatefulSession => {
            one(environment.settings.stateful_session && !inbound, &stateful_session::build)
        }
        HttpFilterKind::Router => one(true, &|| router::build(headers.debug_headers_disabled)),
    }
}

fn of_policies(
    manager: &Manager<'_>,
    select: impl Fn(&super::prepared::SecurityFilters) -> &Vec<Prepared>,
) -> Vec<HttpFilter> {
    // Clients are not policed by their own proxies.
    if manager.frame.class == Class::SidecarOutbound {
        return Vec::new();
    }
    manager.frame.security.map(|security| select(security).iter().map(Prepared::to_http).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::ORDER;

    #[test]
    fn the_order_is_that_of_the_declaration() {
        assert!(ORDER.is_sorted());
    }
}
