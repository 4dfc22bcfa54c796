// SPDX-License-Identifier: Apache-2.0
//! Istio's APIs (<https://istio.io/latest/docs/reference/config/>), one file a kind.

pub mod extensions;
pub mod networking;
pub mod security;
pub mod selector;
pub mod telemetry;
