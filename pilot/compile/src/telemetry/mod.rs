// SPDX-License-Identifier: Apache-2.0
//! Telemetry: what MeshConfig says ([`lower_telemetry_settings`]), what resources say ([`lower`]), and what of it counts for a proxy
//! ([`effective`]).

mod effective;
mod logging;
mod metrics;
mod policy;
mod settings;
mod tracing;

pub use effective::effective;
pub use policy::lower;
pub use settings::lower_telemetry_settings;
