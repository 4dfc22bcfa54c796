// SPDX-License-Identifier: Apache-2.0
//! Telemetry: what MeshConfig says ([`lower_telemetry_settings`]), and what of it counts for a proxy ([`effective`]).

mod effective;
mod settings;

pub use effective::effective;
pub use settings::lower_telemetry_settings;
