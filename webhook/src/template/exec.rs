// SPDX-License-Identifier: Apache-2.0
//! Runs a template that was read. What it may write, do and call is bounded: a template comes from users.

use super::Template;
use super::error::TemplateError;
use super::node::{Branch, Command, Node, Operand, Pipeline, Term};
use super::print;
use super::value::{MapKind, Value};

/// Bytes that one run may write; a pod has at most 1.5 MiB in all.
const OUTPUT: usize = 4 << 20;
/// Nodes that one run may do.
const STEPS: usize = 1_000_000;
/// Templates that may call each other.
const CALLS: usize = 100;

type Result<T> = std::result::Result<T, TemplateError>;

/// Runs a template on its data.
pub fn run(template: &Template, data: &Value) -> Result<String> {
    let mut run = Run { template, output: String::new(), variables: Vec::new(), steps: 0, calls: 0 };
    run.variables.push((String::new(), data.clone()));
    run.nodes(&template.main, data)?;
    Ok(run.output)
}

struct Run<'t> {
    template: &'t Template,
    output: String,
    /// Variables in reach, the latest last; the empty name is `$`.
    variables: Vec<(String, Value)>,
    steps: usize,
    calls: usize,
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl Run<'_> {
    fn error(&self, at: usize, message: impl Into<String>) -> TemplateError {
        TemplateError::at(&self.template.name, &self.template.text, at, message)
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn step(&mut self, at: usize) -> Result<()> {
        self.steps += 1;
        if self.steps > STEPS {
            return Err(self.error(at, "the template does not come to an end"));
        }
        if self.output.len() > OUTPUT {
            return Err(self.error(at, format!("the template writes more than {OUTPUT} bytes")));
        }
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow> {
        match node {
            Node::Text(text) => self.output.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    print::output(&value, &mut self.output);
                }
            }
            Node::If(branch) => {
                let mark = self.variables.len();
                let chosen =
                    if self.pipeline(&branch.pipeline, dot)?.truth() { &branch.body } else { &branch.otherwise };
                let flow = self.nodes(chosen, dot)?;
                self.variables.truncate(mark);
                return Ok(flow);
            }
            Node::With(branch) => {
                let mark = self.variables.len();
                let value = self.pipeline(&branch.pipeline, dot)?;
                let flow =
                    if value.truth() { self.nodes(&branch.body, &value)? } else { self.nodes(&branch.otherwise, dot)? };
                self.variables.truncate(mark);
                return Ok(flow);
            }
            Node::Range(branch) => return self.range(branch, dot),
            Node::Template { at, name, argument } => self.call(*at, name, argument.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn call(&mut self, at: usize, name: &str, argument: Option<&Pipeline>, dot: &Value) -> Result<()> {
        let value = argument.map_or(Ok(Value::Nil), |argument| self.pipeline(argument, dot))?;
        self.step(at)?;
        self.calls += 1;
        if self.calls > CALLS {
            return Err(self.error(at, format!("templates call each other more than {CALLS} deep")));
        }
        let template = self.template;
        let Some(body) = template.defined.get(name) else {
            return Err(self.error(at, format!("template {name:?} is not defined")));
        };
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), value.clone())]);
        self.nodes(body, &value)?;
        self.variables = outer;
        self.calls -= 1;
        Ok(())
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow> {
        let mark = self.variables.len();
        let over = self.value(&branch.pipeline, dot)?;
        let at = branch.pipeline.at;
        let items: Vec<(Value, Value)> = match &over {
            Value::Nil | Value::Unset => Vec::new(),
            Value::List(items) => (0..).map(Value::Int).zip(items.iter().cloned()).collect(),
            Value::Map(map) if map.is_map() || map.kind == MapKind::Open => {
                map.entries.iter().map(|(key, value)| (Value::Text(key.clone()), value.clone())).collect()
            }
            Value::Int(count) if usize::try_from(*count).is_ok_and(|count| count > STEPS) => {
                return Err(self.error(at, format!("a range over {count} numbers is too long")));
            }
            Value::Int(count) => (0..*count).map(|number| (Value::Int(number), Value::Int(number))).collect(),
            other => return Err(self.error(at, format!("cannot range over {}", other.kind()))),
        };
        if items.is_empty() {
            let flow = self.nodes(&branch.otherwise, dot)?;
            self.variables.truncate(mark);
            return Ok(flow);
        }
        let pipeline = &branch.pipeline;
        for (key, item) in items {
            self.step(at)?;
            let inner = self.variables.len();
            let values = match pipeline.variables.len() {
                0 => vec![],
                1 => vec![item.clone()],
                _ => vec![key, item.clone()],
            };
            for (name, value) in pipeline.variables.iter().zip(values) {
                self.set(name, value, pipeline.assigns);
            }
            let flow = self.nodes(&branch.body, &item)?;
            self.variables.truncate(inner);
            if flow == Flow::Break {
                break;
            }
        }
        self.variables.truncate(mark);
        Ok(Flow::Next)
    }

    fn set(&mut self, name: &str, value: Value, assigns: bool) {
        let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        match known {
            Some((_, slot)) if assigns => *slot = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    /// The value of a pipeline, which also goes into its variables.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let value = self.value(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn value(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Result<Value> {
        self.step(command.at)?;
        let first = &command.operands[0];
        let Term::Function(function) = first.term else {
            if command.operands.len() > 1 || piped.is_some() {
                let message = "this value is no function and takes no arguments";
                return Err(self.error(first.at, message));
            }
            return self.operand(first, dot);
        };
        let rest = &command.operands[1..];
        // These two leave the rest alone once the result is known.
        if matches!(function.name, "and" | "or") {
            let wanted = function.name == "or";
            let mut last = None;
            for operand in rest {
                let value = self.operand(operand, dot)?;
                if value.truth() == wanted {
                    return Ok(value);
                }
                last = Some(value);
            }
            let value = piped.or(last);
            return value.ok_or_else(|| self.error(first.at, format!("{} takes one value or more", function.name)));
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        let count = arguments.len();
        if count < function.least || function.most.is_some_and(|most| count > most) {
            let message = format!("{} takes {}, not {count}", function.name, function.arguments());
            return Err(self.error(first.at, message));
        }
        (function.call)(&arguments).map_err(|message| self.error(first.at, format!("{}: {message}", function.name)))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value> {
        let mut value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Literal(value) => value.clone(),
            Term::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| self.error(operand.at, format!("undefined variable ${name}")))?
            }
            Term::Pipeline(pipeline) => {
                let mark = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                self.variables.truncate(mark);
                value
            }
            Term::Function(function) => {
                if matches!(function.name, "and" | "or") || function.least > 0 {
                    let message =
                        format!("{} takes {}: put the call in parentheses", function.name, function.arguments());
                    return Err(self.error(operand.at, message));
                }
                (function.call)(&[])
                    .map_err(|message| self.error(operand.at, format!("{}: {message}", function.name)))?
            }
        };
        for name in &operand.fields {
            value = value.field(name).map_err(|message| self.error(operand.at, message))?;
        }
        Ok(value)
    }
}
