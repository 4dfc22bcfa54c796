// SPDX-License-Identifier: Apache-2.0
//! Which proxy sees what.
