// SPDX-License-Identifier: Apache-2.0
//! Route configurations (RDS,
//! <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route.proto>).
//!
//! The way of the data: [`domains`] tells under which names a service is called; a [`VirtualHostInput`] becomes one virtual host, encoded
//! once by [`encoded`]; [`splice`] lays encoded virtual hosts one after the other into a RouteConfiguration without touching the others
//! when one changed. [`inbound`] makes the route configuration that an inbound listener carries.

mod action;
mod config;
mod cors;
mod domains;
mod fault;
mod hash;
mod headers;
mod inbound;
mod matching;
mod retry;
mod virtual_host;
mod virtual_service;

pub use config::{EncodedVirtualHost, RouteConfigurationInput, encoded, splice};
pub use domains::{Domains, DomainsInput, domain_name, domains};
pub use inbound::{InboundRouteInput, inbound};
pub use virtual_host::{CatchAll, RoutesInput, ServiceRoute, VirtualHostInput, catch_all, virtual_host};
pub use virtual_service::{Target, VirtualServiceRoutes, applies_to, routes_of};

#[cfg(test)]
mod tests;
