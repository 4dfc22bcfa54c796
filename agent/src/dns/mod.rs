// SPDX-License-Identifier: Apache-2.0
//! The DNS proxy (ISTIO_META_DNS_CAPTURE; on gateways ISTIO_META_ENABLE_DNS_SERVER).
//!
//! The application's queries come to 15053, led there by [`crate::capture`]. Names of the mesh are answered from the [`table`] that
//! the control plane sends on Envoy's configuration stream ([`crate::names`]); all others go on to the servers of resolv.conf
//! ([`upstream`]) as they came. Until the first table is there, queries fail, so that no client learns that a name is unknown.

mod answer;
mod server;
pub mod settings;
pub mod table;
pub mod upstream;

pub use server::Dns;
pub use settings::DnsSettings;
