// SPDX-License-Identifier: Apache-2.0
//! Go templates (<https://pkg.go.dev/text/template>): the language in which injection templates are written and edited by users.
//!
//! Text is cut into tokens ([`lex`]), read into nodes ([`parse`]) once, and run on a [`Value`] as often as wanted ([`exec`]). [`functions`]
//! has Go's own functions, those that Istio adds for injection, and those of sprig that do not depend on time, chance or the machine. Every
//! mistake is named with the template's name, line and column. What the language has and this does not is refused while it is read.
//!
//! Values know as much of Go's types as templates can notice ([`MapKind`]): a label that a pod lacks is the empty text, a field that is not
//! set is the zero of its type, a key that the values lack is nothing, and a field that a struct does not have is a mistake.

mod error;
mod exec;
pub mod functions;
mod lex;
mod node;
mod parse;
mod print;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use error::TemplateError;
pub use value::{Map, MapKind, Value};

use node::Node;

/// A template that was read.
#[derive(Clone, Debug)]
pub struct Template {
    name: String,
    text: Arc<str>,
    main: Vec<Node>,
    defined: BTreeMap<String, Vec<Node>>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When it is no template, names a function or variable that there is not, or runs a template that is not defined.
    pub fn parse(name: &str, text: &str) -> Result<Self, TemplateError> {
        parse::parse(name, text)
    }

    /// The template's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it writes for `data`.
    ///
    /// # Errors
    /// When a function or a field cannot be had, or when it writes or does without end.
    pub fn execute(&self, data: &Value) -> Result<String, TemplateError> {
        exec::run(self, data)
    }
}

#[cfg(test)]
mod tests;
