// SPDX-License-Identifier: Apache-2.0
//! Listeners (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listeners>).
//!
//! A listener is planned first: [`outbound_plan`], [`inbound_plan`] and [`gateway_plan`] decide, from services, routes and policies,
//! which listeners there are and what filter chains they have. A plan is a plain value and, with the [`Environment`] of the proxy, the
//! memo key of its listener; [`outbound`], [`inbound`] and [`gateway`] write it as a message.

mod address;
pub mod chain;
pub mod connection_chains;
mod environment;
pub mod gateway;
pub mod gateway_plan;
pub mod inbound;
pub mod inbound_plan;
pub mod outbound;
pub mod outbound_plan;
pub mod virtual_outbound;

pub use chain::{Body, Chain, ChainMatch, HttpBody, RouteSource, TcpBody};
pub use environment::{Class, Environment, Families};

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
pub(crate) mod tests;
