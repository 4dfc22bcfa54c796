// SPDX-License-Identifier: Apache-2.0
//! Load generator.

fn main() {}
