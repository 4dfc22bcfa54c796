// SPDX-License-Identifier: Apache-2.0
//! The agent beside Envoy: it gives the proxy an identity and configuration, and watches over it.
//!
//! The way of the data:
//!
//! 1. [`settings`] gathers the command line, the environment and `ProxyConfig` into one value. Names and defaults are pilot-agent's.
//! 2. [`identity`] makes a key, has the authority certify it, and again before it expires; the result lies in a
//!    [`identity::SecretStore`].
//! 3. [`sds`] hands the certificate to Envoy over a Unix socket, and pushes each new one.
//! 4. [`relay`] passes Envoy's configuration stream on to the control plane as bytes, without decoding them.
//! 5. [`bootstrap`] writes Envoy's start configuration, [`envoy`] starts the proxy, drains it and ends with it.
//! 6. [`status`] answers probes and metrics, and which [`connections`] came in without mutual TLS; [`dns`], where it is wanted, the application's DNS queries, with the names that [`names`]
//!    gets from the control plane.
//!
//! Before that, [`capture`] leads the pod's connections to Envoy: an init container's work, done by the same program.
//!
//! All of it runs on one thread. Paths that are not absolute are relative to the working directory, so that many agents can run on
//! one machine, each in a folder of its own.

pub mod bootstrap;
pub mod capture;
pub mod cli;
pub mod commands;
pub mod connections;
pub mod dns;
pub mod duration;
pub mod envoy;
pub mod identity;
pub mod logging;
pub mod metrics;
pub mod names;
pub mod net;
pub mod node;
pub mod proxy_config;
pub mod relay;
pub mod sds;
pub mod settings;
pub mod status;
pub mod uds;
pub mod upstream;
