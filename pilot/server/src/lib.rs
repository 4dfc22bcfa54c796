// SPDX-License-Identifier: Apache-2.0
//! The control plane's process: command line, wiring, ports.
pub mod address;
pub mod cli;
pub mod log;
pub mod metrics;
pub mod settings;
pub mod version;
