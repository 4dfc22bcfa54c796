// SPDX-License-Identifier: Apache-2.0
//! What the API server asks before it stores an object: pods get their sidecar, the mesh's own kinds are validated.

pub mod inject;
pub mod template;
