// SPDX-License-Identifier: Apache-2.0
//! Inputs to Envoy resources.

pub mod filter;
pub mod listener;
mod sds;
pub mod tls;
