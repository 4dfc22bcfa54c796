// SPDX-License-Identifier: Apache-2.0
//! Objects to a Snapshot.
