// SPDX-License-Identifier: Apache-2.0
//! Virtual hosts: names and what becomes of requests for them.

use super::action::with_timeout;
use super::domains::domain_name;
use super::matching::{is_catch_all, route_match};
use super::virtual_service::{VirtualServiceRoutes, routes_of};
use super::{hash, retry};
use tiphys_model::{ClusterName, HashKey, Host, Retries, Semantics, Str};
use tiphys_proto::envoy::config::route::v3::route::Action;
use tiphys_proto::envoy::config::route::v3::route_action::ClusterSpecifier;
use tiphys_proto::envoy::config::route::v3::virtual_host::TlsRequirementType;
use tiphys_proto::envoy::config::route::v3::{Decorator, DirectResponseAction, Route, RouteAction, VirtualHost};

/// Of what a virtual host is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualHostInput {
    /// Name, unique in its route configuration.
    pub name: Str,
    /// Hosts of requests.
    pub domains: Vec<Str>,
    /// Where its routes come from, in order.
    pub routes: Vec<RoutesInput>,
    /// Routes that take every request go to the end, since those of several VirtualServices follow one another.
    pub sort: bool,
    /// Upstreams are told which attempt a request is.
    pub attempt_count: bool,
    /// Plain requests are sent to https.
    pub require_tls: bool,
}

/// Where routes come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RoutesInput {
    /// A service that no VirtualService is about.
    Service(ServiceRoute),
    /// A VirtualService.
    VirtualService(Box<VirtualServiceRoutes>),
}

/// The route to a service that no VirtualService is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceRoute {
    /// Host of the service.
    pub host: Host,
    /// Its port.
    pub port: u32,
    /// What its DestinationRule hashes.
    pub hash: Option<HashKey>,
    /// The mesh's default retries.
    pub retries: Option<Retries>,
}

/// One virtual host.
pub fn virtual_host(input: &VirtualHostInput) -> VirtualHost {
    let mut routes: Vec<Route> = Vec::new();
    for from in &input.routes {
        match from {
            RoutesInput::Service(service) => routes.push(to_service(service)),
            RoutesInput::VirtualService(virtual_service) => routes.extend(routes_of(virtual_service)),
        }
    }
    if input.sort {
        routes.sort_by_key(|route| route.r#match.as_ref().is_some_and(is_catch_all));
    }
    let require_tls = if input.require_tls { TlsRequirementType::All } else { TlsRequirementType::None };
    VirtualHost {
        name: input.name.to_string(),
        domains: input.domains.iter().map(ToString::to_string).collect(),
        routes,
        require_tls: require_tls.into(),
        include_request_attempt_count: input.attempt_count,
        ..VirtualHost::default()
    }
}

fn to_service(service: &ServiceRoute) -> Route {
    let host = service.host.as_str();
    let cluster = ClusterName::Outbound { port: service.port, subset: "", host }.to_string();
    Route {
        name: "default".into(),
        r#match: Some(route_match(None, Semantics::Istio)),
        decorator: Some(Decorator { operation: format!("{}/*", domain_name(host, service.port)), propagate: None }),
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
            hash_policy: service.hash.as_ref().and_then(hash::policy).into_iter().collect(),
            retry_policy: retry::outbound(service.retries.as_ref(), false),
            ..with_timeout(None)
        })),
        ..Route::default()
    }
}

/// What becomes of requests for hosts that no virtual host has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CatchAll {
    /// They are sent on to a cluster: the passthrough, or an egress proxy.
    Allow {
        /// Name of the cluster.
        cluster: Str,
        /// Upstreams are told the host.
        x_forwarded_host: bool,
    },
    /// They are refused.
    Block,
}

/// The virtual host for what no other has.
pub fn catch_all(what: &CatchAll, attempt_count: bool) -> VirtualHost {
    let (name, action) = match what {
        CatchAll::Allow { cluster, x_forwarded_host } => {
            let action = RouteAction {
                cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_string())),
                append_x_forwarded_host: *x_forwarded_host,
                ..with_timeout(None)
            };
            ("allow_any", Action::Route(action))
        }
        CatchAll::Block => (
            "block_all",
            Action::DirectResponse(DirectResponseAction { status: 502, ..DirectResponseAction::default() }),
        ),
    };
    let route = Route {
        name: name.into(),
        r#match: Some(route_match(None, Semantics::Istio)),
        action: Some(action),
        ..Route::default()
    };
    VirtualHost {
        name: name.into(),
        domains: vec!["*".into()],
        routes: vec![route],
        include_request_attempt_count: attempt_count,
        ..VirtualHost::default()
    }
}
