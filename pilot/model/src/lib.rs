// SPDX-License-Identifier: Apache-2.0
//! Pure words of the mesh.
