// SPDX-License-Identifier: Apache-2.0
//! Tokens to nodes. Names of functions, variables and templates are looked up here, so that a template that was read can only fail on data.

use std::collections::BTreeMap;

use super::Template;
use super::error::TemplateError;
use super::functions;
use super::lex::{self, Spanned, Token};
use super::node::{Branch, Command, Node, Operand, Pipeline, Term};
use super::value::Value;

/// Levels of nested blocks and parentheses that are read.
const DEPTH: usize = 100;

type Result<T> = std::result::Result<T, TemplateError>;

/// Reads a template.
pub fn parse(name: &str, text: &str) -> Result<Template> {
    let tokens = lex::lex(name, text)?;
    let mut parser = Parser {
        name,
        text,
        tokens,
        at: 0,
        variables: vec![String::new()],
        ranges: 0,
        depth: 0,
        defined: BTreeMap::new(),
        used: Vec::new(),
    };
    let (main, end) = parser.nodes(true)?;
    if let Some((at, word)) = end {
        return Err(parser.error(at, format!("unexpected {{{{{word}}}}}: nothing is open")));
    }
    for (at, used) in &parser.used {
        if !parser.defined.contains_key(used) {
            return Err(parser.error(*at, format!("template {used:?} is not defined")));
        }
    }
    let defined = parser.defined;
    Ok(Template { name: name.to_owned(), text: text.into(), main, defined })
}

struct Parser<'n, 'a> {
    name: &'n str,
    text: &'a str,
    tokens: Vec<Spanned<'a>>,
    at: usize,
    /// Variables in reach, the latest last.
    variables: Vec<String>,
    /// Open ranges.
    ranges: usize,
    /// Open blocks and parentheses.
    depth: usize,
    defined: BTreeMap<String, Vec<Node>>,
    used: Vec<(usize, String)>,
}

/// The word that ended a list of nodes, and where it stands.
type End<'a> = Option<(usize, &'a str)>;

impl<'a> Parser<'_, 'a> {
    fn error(&self, at: usize, message: impl Into<String>) -> TemplateError {
        TemplateError::at(self.name, self.text, at, message)
    }

    fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    /// Where the next token starts.
    fn position(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |(at, _)| *at)
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: &Token<'_>) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn close(&mut self, what: &str) -> Result<()> {
        self.skip_space();
        if self.take(&Token::Close) {
            return Ok(());
        }
        Err(self.error(self.position(), format!("unexpected {} in {what}", self.shown())))
    }

    /// The next token for messages.
    fn shown(&self) -> String {
        match self.peek() {
            None => "end of the template".to_owned(),
            Some(Token::Text(_)) => "text".to_owned(),
            Some(Token::Open) => "{{".to_owned(),
            Some(Token::Close) => "}}".to_owned(),
            Some(Token::Space) => "space".to_owned(),
            Some(Token::Field(name)) => format!(".{name}"),
            Some(Token::Variable(name)) => format!("${name}"),
            Some(Token::Word(word) | Token::Number(word) | Token::Quoted(word)) => (*word).to_owned(),
            Some(Token::Sign(sign)) => format!("{sign:?}"),
        }
    }

    /// Nodes up to `{{end}}` or `{{else`, whose word is taken, or up to the end of the text.
    fn nodes(&mut self, top: bool) -> Result<(Vec<Node>, End<'a>)> {
        let mut nodes = Vec::new();
        loop {
            let Some((at, token)) = self.tokens.get(self.at).cloned() else {
                return Ok((nodes, None));
            };
            self.at += 1;
            match token {
                Token::Text(text) => nodes.push(Node::Text(text.to_owned())),
                Token::Open => {
                    self.skip_space();
                    if let Some(Token::Word(word @ ("end" | "else"))) = self.peek().cloned() {
                        self.at += 1;
                        return Ok((nodes, Some((at, word))));
                    }
                    nodes.extend(self.action(at, top)?);
                }
                _ => return Err(self.error(at, "unexpected token outside of an action")),
            }
        }
    }

    fn action(&mut self, open: usize, top: bool) -> Result<Option<Node>> {
        let at = self.position();
        let Some(Token::Word(word)) = self.peek().cloned() else {
            return self.pipeline_action().map(Some);
        };
        match word {
            "if" | "with" | "range" => {
                self.at += 1;
                let mark = self.variables.len();
                let branch = self.branch(open, word)?;
                self.variables.truncate(mark);
                Ok(Some(match word {
                    "if" => Node::If(branch),
                    "with" => Node::With(branch),
                    _ => Node::Range(branch),
                }))
            }
            "define" | "block" => {
                self.at += 1;
                self.define(open, word, top)
            }
            "template" => {
                self.at += 1;
                let name = self.quoted_name(word)?;
                self.skip_space();
                let has_argument = self.peek() != Some(&Token::Close);
                let argument = if has_argument { Some(self.pipeline("template")?) } else { None };
                self.close("template")?;
                self.used.push((at, name.clone()));
                Ok(Some(Node::Template { at: open, name, argument }))
            }
            "break" | "continue" => {
                self.at += 1;
                self.close(word)?;
                if self.ranges == 0 {
                    return Err(self.error(at, format!("{{{{{word}}}}} is outside of a range")));
                }
                Ok(Some(if word == "break" { Node::Break } else { Node::Continue }))
            }
            _ => self.pipeline_action().map(Some),
        }
    }

    fn pipeline_action(&mut self) -> Result<Node> {
        let pipeline = self.pipeline("action")?;
        self.close("action")?;
        Ok(Node::Action(pipeline))
    }

    fn deeper(&mut self, at: usize) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH { Err(self.error(at, format!("nested deeper than {DEPTH} levels"))) } else { Ok(()) }
    }

    fn branch(&mut self, open: usize, word: &str) -> Result<Branch> {
        self.deeper(open)?;
        let pipeline = self.pipeline(word)?;
        self.close(word)?;
        self.ranges += usize::from(word == "range");
        let inner = self.variables.len();
        let (body, mut end) = self.nodes(false)?;
        self.ranges -= usize::from(word == "range");
        self.variables.truncate(inner);
        let mut otherwise = Vec::new();
        if let Some((at, "else")) = end {
            self.skip_space();
            if let Some(Token::Word(next @ ("if" | "with"))) = self.peek().cloned()
                && next == word
            {
                self.at += 1;
                let inner = self.branch(at, next)?;
                otherwise.push(if next == "if" { Node::If(inner) } else { Node::With(inner) });
                self.depth -= 1;
                return Ok(Branch { pipeline, body, otherwise });
            }
            self.close("else")?;
            let (nodes, after) = self.nodes(false)?;
            self.variables.truncate(inner);
            (otherwise, end) = (nodes, after);
        }
        match end {
            Some((_, "end")) => self.close("end")?,
            Some((at, word)) => return Err(self.error(at, format!("unexpected {{{{{word}}}}}"))),
            None => return Err(self.error(open, format!("{{{{{word}}}}} is not closed: {{{{end}}}} is missing"))),
        }
        self.depth -= 1;
        Ok(Branch { pipeline, body, otherwise })
    }

    fn quoted_name(&mut self, what: &str) -> Result<String> {
        self.skip_space();
        let at = self.position();
        match self.peek().cloned() {
            Some(Token::Quoted(quoted)) if !quoted.starts_with('\'') => {
                self.at += 1;
                lex::unquote(quoted).map_err(|message| self.error(at, message))
            }
            _ => Err(self.error(at, format!("{what} needs a quoted name, not {}", self.shown()))),
        }
    }

    fn define(&mut self, open: usize, word: &str, top: bool) -> Result<Option<Node>> {
        if word == "define" && !top {
            return Err(self.error(open, "a template is defined inside of a block: move it to the top"));
        }
        self.deeper(open)?;
        let name = self.quoted_name(word)?;
        let argument = if word == "block" { Some(self.pipeline(word)?) } else { None };
        self.close(word)?;
        // A template knows its own variables only, and cannot leave a range around its call.
        let outer = std::mem::replace(&mut self.variables, vec![String::new()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (body, end) = self.nodes(false)?;
        (self.variables, self.ranges) = (outer, ranges);
        match end {
            Some((_, "end")) => self.close("end")?,
            Some((at, word)) => return Err(self.error(at, format!("unexpected {{{{{word}}}}}"))),
            None => return Err(self.error(open, format!("{{{{{word}}}}} is not closed: {{{{end}}}} is missing"))),
        }
        self.depth -= 1;
        let blank = |nodes: &[Node]| nodes.iter().all(|n| matches!(n, Node::Text(text) if text.trim().is_empty()));
        match self.defined.get(&name) {
            Some(known) if !blank(known) && !blank(&body) => {
                return Err(self.error(open, format!("template {name:?} is defined twice")));
            }
            Some(_) if blank(&body) => {}
            _ => drop(self.defined.insert(name.clone(), body)),
        }
        Ok((word == "block").then_some(Node::Template { at: open, name, argument }))
    }

    fn pipeline(&mut self, what: &str) -> Result<Pipeline> {
        self.skip_space();
        let at = self.position();
        let (variables, assigns) = self.declaration(what)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let command = self.command(what)?;
            // Only a function takes the value of the command before it. What a field is, is known once it runs.
            let field =
                |first: &Operand| matches!(first.term, Term::Dot | Term::Variable(_)) && !first.fields.is_empty();
            if let Some(first) = command.operands.first().filter(|_| !commands.is_empty())
                && !matches!(first.term, Term::Function(_))
                && !field(first)
            {
                return Err(self.error(first.at, "only a function can take the value that is piped into it"));
            }
            commands.push(command);
            self.skip_space();
            if !self.take(&Token::Sign("|")) {
                break;
            }
        }
        // A variable is there from its declaration on, not in it.
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { at, variables, assigns, commands })
    }

    /// `$a :=`, `$a =` or, in a range, `$a, $b :=`.
    fn declaration(&mut self, what: &str) -> Result<(Vec<String>, bool)> {
        let start = self.at;
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = self.peek().cloned() {
            let at = self.position();
            self.at += 1;
            self.skip_space();
            names.push((at, name.to_owned()));
            match self.peek() {
                Some(Token::Sign(sign @ (":=" | "="))) => {
                    let assigns = *sign == "=";
                    self.at += 1;
                    if let (true, Some((at, name))) = (assigns, names.iter().find(|(_, n)| !self.variables.contains(n)))
                    {
                        return Err(self.error(*at, format!("undefined variable ${name}: declare it with :=")));
                    }
                    return Ok((names.into_iter().map(|(_, name)| name).collect(), assigns));
                }
                Some(Token::Sign(",")) if what == "range" && names.len() == 1 => {
                    self.at += 1;
                    self.skip_space();
                }
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self, what: &str) -> Result<Command> {
        let at = self.position();
        let mut operands: Vec<Operand> = Vec::new();
        loop {
            self.skip_space();
            let here = self.position();
            match self.peek() {
                None | Some(Token::Close | Token::Sign("|" | ")")) => break,
                _ => {}
            }
            let operand = self.operand(what)?;
            if !matches!(self.peek(), None | Some(Token::Close | Token::Space | Token::Sign("|" | ")"))) {
                return Err(self.error(self.position(), format!("unexpected {} after an operand", self.shown())));
            }
            if operands.len() == 1
                && !matches!(operands[0].term, Term::Function(_))
                && operands[0].fields.is_empty()
                && !matches!(operands[0].term, Term::Pipeline(_))
            {
                return Err(self.error(here, "a value that is no function has no arguments"));
            }
            operands.push(operand);
        }
        let Some(first) = operands.first() else {
            return Err(self.error(at, format!("a value is missing in {what}")));
        };
        if let (Term::Function(function), true) = (&first.term, operands.len() > 1) {
            let extra = operands.len() - 1;
            if function.most.is_some_and(|most| extra > most) {
                let message = format!("{} takes {}, not {extra}", function.name, function.arguments());
                return Err(self.error(first.at, message));
            }
        }
        Ok(Command { at, operands })
    }

    fn operand(&mut self, what: &str) -> Result<Operand> {
        let at = self.position();
        let token = self.peek().cloned();
        self.at += 1;
        let mut fields = Vec::new();
        let term = match token {
            Some(Token::Field(name)) => {
                if !name.is_empty() {
                    fields.push(name.to_owned());
                }
                Term::Dot
            }
            Some(Token::Variable(name)) => {
                if !self.variables.iter().any(|known| known == name) {
                    return Err(self.error(at, format!("undefined variable ${name}")));
                }
                Term::Variable(name.to_owned())
            }
            Some(Token::Word("true")) => Term::Literal(Value::Bool(true)),
            Some(Token::Word("false")) => Term::Literal(Value::Bool(false)),
            Some(Token::Word("nil")) => Term::Literal(Value::Nil),
            Some(Token::Word(word)) => match functions::find(word) {
                Ok(function) => Term::Function(function),
                Err(message) => return Err(self.error(at, message)),
            },
            Some(Token::Number(number)) => {
                let value = functions::number(number);
                Term::Literal(value.ok_or_else(|| self.error(at, format!("{number} is no number that is read here")))?)
            }
            Some(Token::Quoted(quoted)) => {
                let text = lex::unquote(quoted).map_err(|message| self.error(at, message))?;
                let mut chars = text.chars();
                match (quoted.starts_with('\''), chars.next(), chars.next()) {
                    (false, ..) => Term::Literal(Value::text(text)),
                    (true, Some(c), None) => Term::Literal(Value::Int(i64::from(u32::from(c)))),
                    _ => return Err(self.error(at, "single quotes hold one character: use double quotes for a text")),
                }
            }
            Some(Token::Sign("(")) => {
                self.deeper(at)?;
                let pipeline = self.pipeline("parentheses")?;
                self.skip_space();
                if !self.take(&Token::Sign(")")) {
                    return Err(self.error(at, "this parenthesis is not closed"));
                }
                self.depth -= 1;
                Term::Pipeline(pipeline)
            }
            _ => {
                self.at -= 1;
                return Err(self.error(at, format!("unexpected {} in {what}", self.shown())));
            }
        };
        while let Some(Token::Field(name)) = self.peek().cloned() {
            if name.is_empty() || matches!(term, Term::Literal(_)) {
                return Err(self.error(self.position(), "unexpected dot"));
            }
            self.at += 1;
            fields.push(name.to_owned());
        }
        if matches!(term, Term::Function(_)) && !fields.is_empty() {
            return Err(self.error(at, "put a function in parentheses to take a field of what it gives"));
        }
        Ok(Operand { at, term, fields })
    }
}
