// SPDX-License-Identifier: Apache-2.0
//! What the demo and the end-to-end tests share: an echo service to stand for each application, an HTTP client that is told where
//! to connect, and a mesh in a folder of its own: control plane, agents with their Envoys, applications.

pub mod answers;
pub mod authorizer;
pub mod client;
pub mod credentials;
pub mod echo;
pub mod eventually;
pub mod folder;
pub mod load;
pub mod mesh;
pub mod net;
pub mod netns;
pub mod plan;
pub mod process;
pub mod programs;
pub mod validate;

pub use answers::Answers;
pub use eventually::eventually;
pub use load::Load;
pub use mesh::Mesh;
