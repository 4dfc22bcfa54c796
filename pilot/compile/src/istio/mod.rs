// SPDX-License-Identifier: Apache-2.0
//! Lowering of Istio's networking kinds.

pub mod sidecar;
