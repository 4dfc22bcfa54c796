// SPDX-License-Identifier: Apache-2.0
//! The route configuration inside of an inbound listener: one virtual host for everything, to the application.

use super::domains::domain_name;
use super::matching::route_match;
use super::retry;
use std::time::Duration;
use tiphys_model::{Retries, Semantics, Str};
use tiphys_proto::envoy::config::route::v3::route::Action;
use tiphys_proto::envoy::config::route::v3::route_action::{ClusterSpecifier, MaxStreamDuration};
use tiphys_proto::envoy::config::route::v3::{Decorator, Route, RouteAction, RouteConfiguration, VirtualHost};
use tiphys_proto::{boolean, duration};

/// Of what an inbound route configuration is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboundRouteInput {
    /// Cluster of the application, e.g. `inbound|8080||`; also the configuration's name.
    pub cluster: Str,
    /// Host of the service, for spans; empty when unknown.
    pub host: Str,
    /// Port of the service; 0 when unknown.
    pub port: u32,
    /// gRPC is spoken: streams that fail are not retried.
    pub grpc: bool,
    /// The mesh's default retries at the server's side.
    pub retries: Option<Retries>,
}

/// The route configuration of one inbound port.
pub fn inbound(input: &InboundRouteInput) -> RouteConfiguration {
    let none = duration(Duration::ZERO);
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(input.cluster.to_string())),
        timeout: none,
        max_stream_duration: Some(MaxStreamDuration {
            max_stream_duration: none,
            // Without it the limit that a gRPC client states would not count.
            grpc_timeout_header_max: none,
            ..MaxStreamDuration::default()
        }),
        retry_policy: if input.grpc { None } else { retry::inbound(input.retries.as_ref()) },
        ..RouteAction::default()
    };
    let operation = format!("{}/*", domain_name(&input.host, input.port));
    let route = Route {
        name: "default".into(),
        r#match: Some(route_match(None, Semantics::Istio)),
        decorator: Some(Decorator { operation, propagate: None }),
        action: Some(Action::Route(action)),
        ..Route::default()
    };
    let host = VirtualHost {
        name: format!("inbound|http|{}", input.port),
        domains: vec!["*".into()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    RouteConfiguration {
        name: input.cluster.to_string(),
        virtual_hosts: vec![host],
        validate_clusters: boolean(false),
        ..RouteConfiguration::default()
    }
}
