// SPDX-License-Identifier: Apache-2.0
//! Generates the files of this repository that are made from others: `cargo xtask protos`, `cargo xtask crds`.

mod crds;
mod protos;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["protos"] => protos::generate(false),
        ["protos", "--check"] => protos::generate(true),
        ["crds"] => crds::generate(false),
        ["crds", "--check"] => crds::generate(true),
        _ => bail!("usage: cargo xtask protos|crds [--check]"),
    }
}
