// SPDX-License-Identifier: Apache-2.0
//! Lowering of Istio's networking kinds.

pub(crate) mod destination_rule;
mod destination_rules;
pub(crate) mod envoy_filter;
pub mod gateway;
mod http_rule;
pub mod sidecar;
pub(crate) mod traffic_defaults;
pub(crate) mod traffic_policy;
pub mod virtual_service;

pub use destination_rules::{ClientReads, DestinationRules};
pub(crate) use http_rule::retries;
