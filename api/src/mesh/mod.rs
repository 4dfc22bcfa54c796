// SPDX-License-Identifier: Apache-2.0
//! Settings of the whole mesh: MeshConfig, ProxyConfig and MeshNetworks
//! (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/>).

pub mod config;
pub mod extension_provider;
mod merge;
pub mod networks;
pub mod proxy_config;
pub mod proxy_settings;
pub mod tracing;

pub use config::MeshConfig;
pub use merge::SettingsError;
pub use networks::MeshNetworks;
pub use proxy_config::ProxyConfig;
