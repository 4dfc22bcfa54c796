// SPDX-License-Identifier: Apache-2.0
//! The routes of one VirtualService as one proxy has them on one port.

use super::action::{direct_response, forward, redirect};
use super::cors::cors;
use super::fault::fault;
use super::headers::{Changes, option};
use super::matching::{is_catch_all, route_match};
use std::collections::BTreeMap;
use tiphys_model::{
    ClusterName, Destination, HashKey, Host, HttpAction, HttpMatch, HttpRoute, Marked, Retries, Source, Str,
    VirtualService,
};
use tiphys_proto::envoy::config::core::v3::Metadata;
use tiphys_proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use tiphys_proto::envoy::config::route::v3::route::Action;
use tiphys_proto::envoy::config::route::v3::route_action::ClusterSpecifier;
use tiphys_proto::envoy::config::route::v3::{Decorator, Route, route_match};
use tiphys_proto::google::protobuf::{Any, Struct, Value, value};
use tiphys_proto::to_any;

const FAULT_FILTER: &str = "envoy.filters.http.fault";
const CORS_FILTER: &str = "envoy.filters.http.cors";

/// A VirtualService as one proxy has it on one port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualServiceRoutes {
    /// The VirtualService.
    pub virtual_service: Marked<VirtualService>,
    /// Port that was dialled; 0 where any port is.
    pub port: u32,
    /// `mesh`, or the gateway as `NAMESPACE/NAME`.
    pub gateway: Str,
    /// What matches can ask of the sending workload (see [`VirtualService::source_of`]).
    pub source: Source,
    /// What is known of the hosts that routes send to.
    pub targets: BTreeMap<Host, Target>,
    /// Destinations whose DestinationRule spreads requests by a hash.
    pub hashes: BTreeMap<Destination, HashKey>,
    /// Retries of routes that do not say.
    pub default_retries: Option<Retries>,
    /// TLS ends at the listener.
    pub tls: bool,
    /// Clients are told that HTTP/3 is spoken on the port.
    pub http3: bool,
    /// Rewritten requests tell the host that they were for.
    pub x_forwarded_host: bool,
}

/// What is known of a host that routes send to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    /// The service's port, when it has only one.
    pub only_port: Option<u32>,
    /// The host that it stands for (ExternalName).
    pub external_name: Option<Str>,
}

/// Whether any rule applies to a proxy: a virtual host without routes is none.
pub fn applies_to(input: &VirtualServiceRoutes) -> bool {
    let gateways = std::slice::from_ref(&input.gateway);
    input.virtual_service.http.iter().any(|rule| {
        rule.matches.is_empty() || rule.matches.iter().any(|one| one.applies(&input.source, gateways, input.port))
    })
}

/// The routes, up to the first that takes every request.
pub fn routes_of(input: &VirtualServiceRoutes) -> Vec<Route> {
    let gateways = std::slice::from_ref(&input.gateway);
    let mut routes = Vec::new();
    for rule in &input.virtual_service.http {
        if rule.matches.is_empty() {
            routes.push(route(rule, None, input));
            return routes;
        }
        for one in rule.matches.iter().filter(|one| one.applies(&input.source, gateways, input.port)) {
            let made = route(rule, Some(one), input);
            let last = made.r#match.as_ref().is_some_and(is_catch_all);
            routes.push(made);
            if last {
                return routes;
            }
        }
    }
    routes
}

fn route(rule: &HttpRoute, one: Option<&HttpMatch>, input: &VirtualServiceRoutes) -> Route {
    let changes = Changes::of(&rule.headers);
    let mut route = Route {
        name: match one {
            Some(one) if !one.name.is_empty() => format!("{}.{}", rule.name, one.name),
            _ => rule.name.to_string(),
        },
        r#match: Some(route_match(one, input.virtual_service.semantics)),
        metadata: Some(origin(&input.virtual_service)),
        stat_prefix: one.map(|one| one.stat_prefix.to_string()).unwrap_or_default(),
        request_headers_to_add: changes.request_add,
        request_headers_to_remove: changes.request_remove,
        response_headers_to_add: changes.response_add,
        response_headers_to_remove: changes.response_remove,
        typed_per_filter_config: filters(rule),
        ..Route::default()
    };
    let action = match &rule.action {
        HttpAction::Redirect(to) => Action::Redirect(redirect(to, input.port, input.tls)),
        HttpAction::DirectResponse(response) => Action::DirectResponse(direct_response(response)),
        HttpAction::Route(destinations) => {
            Action::Route(forward(rule, destinations, input, &mut route, changes.authority.as_deref()))
        }
    };
    route.action = Some(action);
    route.decorator =
        Some(Decorator { operation: operation(&route, &input.virtual_service.name, input.port), propagate: None });
    if input.http3 {
        let value = format!("h3=\":{}\"; ma=86400", input.port);
        route.response_headers_to_add.push(option("alt-svc", &value, HeaderAppendAction::AppendIfExistsOrAdd));
    }
    route
}

fn filters(rule: &HttpRoute) -> BTreeMap<String, Any> {
    let fault = rule.fault.as_ref().map(|rule| (FAULT_FILTER.to_string(), to_any(&fault(rule))));
    let cors = rule.cors.as_ref().map(|rule| (CORS_FILTER.to_string(), to_any(&cors(rule))));
    fault.into_iter().chain(cors).collect()
}

/// Which object a route came from, for people and for EnvoyFilters.
fn origin(of: &VirtualService) -> Metadata {
    let (name, namespace) = (&of.name, &of.namespace);
    let path = format!("/apis/networking.istio.io/v1/namespaces/{namespace}/virtual-service/{name}");
    let config = Value { kind: Some(value::Kind::StringValue(path)) };
    let istio = Struct { fields: BTreeMap::from([("config".to_string(), config)]) };
    Metadata { filter_metadata: BTreeMap::from([("istio".to_string(), istio)]), ..Metadata::default() }
}

/// What spans of the route are called: the only destination, else the VirtualService, and the path.
fn operation(route: &Route, name: &str, port: u32) -> String {
    let path = match route.r#match.as_ref().and_then(|rule| rule.path_specifier.as_ref()) {
        Some(route_match::PathSpecifier::Prefix(prefix)) => format!("{prefix}*"),
        Some(route_match::PathSpecifier::Path(path)) => path.clone(),
        Some(route_match::PathSpecifier::SafeRegex(regex)) => regex.regex.clone(),
        _ => "/*".into(),
    };
    if let Some(Action::Route(action)) = &route.action
        && let Some(ClusterSpecifier::Cluster(cluster)) = &action.cluster_specifier
        && let Some(ClusterName::Outbound { host, port, .. }) = ClusterName::parse(cluster)
    {
        return format!("{host}:{port}{path}");
    }
    format!("{name}:{port}{path}")
}
