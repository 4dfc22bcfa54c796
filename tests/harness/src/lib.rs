// SPDX-License-Identifier: Apache-2.0
//! What the demo and the end-to-end tests share: an echo service to stand for each application, an HTTP client that is told where
//! to connect, and a mesh in a folder of its own: control plane, agents with their Envoys, applications.

pub mod client;
pub mod echo;
