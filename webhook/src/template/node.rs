// SPDX-License-Identifier: Apache-2.0
//! A template that was read. Positions are byte offsets in its text.

use super::value::Value;

/// A part of a template.
#[derive(Clone, Debug)]
pub enum Node {
    /// Text that is written as it is.
    Text(String),
    /// `{{ pipeline }}`: its value is written, unless it goes into a variable.
    Action(Pipeline),
    /// `{{ if }}`.
    If(Branch),
    /// `{{ with }}`.
    With(Branch),
    /// `{{ range }}`.
    Range(Branch),
    /// `{{ template "name" pipeline }}`.
    Template {
        /// Where it stands.
        at: usize,
        /// Which template runs.
        name: String,
        /// What its dot is.
        argument: Option<Pipeline>,
    },
    /// `{{ break }}`.
    Break,
    /// `{{ continue }}`.
    Continue,
}

/// What `if`, `with` and `range` have.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The condition, or what is gone through.
    pub pipeline: Pipeline,
    /// What is done when it is true, or for each item.
    pub body: Vec<Node>,
    /// What is done otherwise.
    pub otherwise: Vec<Node>,
}

/// Commands, each of which gets the value of the one before as its last argument.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Where it starts.
    pub at: usize,
    /// The variables that get its value.
    pub variables: Vec<String>,
    /// True for `=`, false for `:=`.
    pub assigns: bool,
    /// The commands; there is one at least.
    pub commands: Vec<Command>,
}

/// A function with arguments, or a value alone.
#[derive(Clone, Debug)]
pub struct Command {
    /// Where it starts.
    pub at: usize,
    /// Function and arguments; there is one operand at least.
    pub operands: Vec<Operand>,
}

/// A word of a command, with the fields that are asked of it.
#[derive(Clone, Debug)]
pub struct Operand {
    /// Where it starts.
    pub at: usize,
    /// What it is.
    pub term: Term,
    /// `.a.b` after it.
    pub fields: Vec<String>,
}

/// What an operand is.
#[derive(Clone, Debug)]
pub enum Term {
    /// The dot.
    Dot,
    /// A literal.
    Literal(Value),
    /// A variable; the empty name is `$`.
    Variable(String),
    /// A function.
    Function(&'static super::functions::Function),
    /// A pipeline in parentheses.
    Pipeline(Pipeline),
}
