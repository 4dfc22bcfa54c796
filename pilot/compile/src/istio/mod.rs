// SPDX-License-Identifier: Apache-2.0
//! Lowering of Istio's networking kinds.

pub mod gateway;
mod http_rule;
pub mod sidecar;
pub mod virtual_service;

pub(crate) use http_rule::retries;
