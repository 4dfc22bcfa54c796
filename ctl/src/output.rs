// SPDX-License-Identifier: Apache-2.0
//! Forms of output.

use clap::ValueEnum;
use serde::Serialize;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For readers.
    Table,
    /// A JSON array.
    Json,
    /// A YAML list.
    Yaml,
}

/// Prints a list for programs; nothing for [`Format::Table`], which each command prints its own way.
pub fn print<T: Serialize + ?Sized>(format: Format, list: &T) -> anyhow::Result<()> {
    match format {
        Format::Table => {}
        Format::Json => println!("{}", serde_json::to_string_pretty(list)?),
        Format::Yaml => print!("{}", yaml_serde::to_string(list)?),
    }
    Ok(())
}
