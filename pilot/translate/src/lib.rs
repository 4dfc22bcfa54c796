// SPDX-License-Identifier: Apache-2.0
//! Inputs to Envoy resources.
