// SPDX-License-Identifier: Apache-2.0
//! extensions.istio.io: code that runs in the proxy.

pub mod traffic_extension;
pub mod wasm_plugin;

pub use traffic_extension::TrafficExtension;
pub use wasm_plugin::WasmPlugin;
