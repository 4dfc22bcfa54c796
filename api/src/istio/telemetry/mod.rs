// SPDX-License-Identifier: Apache-2.0
//! telemetry.istio.io: metrics, traces and access logs.

#[allow(clippy::module_inception, reason = "each kind's room bears its name")]
pub mod telemetry;

pub use telemetry::Telemetry;
