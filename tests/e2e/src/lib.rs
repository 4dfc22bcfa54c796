// SPDX-License-Identifier: Apache-2.0
//! End-to-end tests of the mesh on real Envoy; they are in `tests/`, told with the words of `tiphys_harness`.
