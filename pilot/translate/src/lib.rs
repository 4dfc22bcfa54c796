// SPDX-License-Identifier: Apache-2.0
//! Inputs to Envoy resources: hermetic functions, each from an input struct, which is its memo key, to one message. What is not in the
//! input cannot be read.

pub mod cluster;
pub mod endpoint;
pub mod filter;
pub mod listener;
mod locality;
pub mod name_table;
pub mod patch;
pub mod route;
mod sds;
pub mod secret;
pub mod tls;
mod value;

pub use locality::Spread;
