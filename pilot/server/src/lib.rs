// SPDX-License-Identifier: Apache-2.0
//! The control plane's process: command line, wiring, ports.
pub mod address;
pub mod authenticate;
pub mod cli;
pub mod debug;
pub mod gather;
pub mod http;
pub mod log;
pub mod metrics;
pub mod pushes;
pub mod serve;
pub mod settings;
pub mod tls;
pub mod version;
pub mod writer;
