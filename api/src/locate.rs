// SPDX-License-Identifier: Apache-2.0
//! Finds the line and column of a field in a YAML text. Only used once something is wrong: the fast way keeps no positions.

use saphyr_parser::{Event, Parser, Span};

/// One step of a path such as `spec.http[0].labels["a.b"]`.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
}

fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("[\"") {
            let Some(end) = tail.find("\"]") else { break };
            steps.push(Step::Field(tail[..end].replace("\\\"", "\"").replace("\\\\", "\\")));
            rest = &tail[end + 2..];
        } else if let Some(tail) = rest.strip_prefix('[') {
            let Some(end) = tail.find(']') else { break };
            let Ok(index) = tail[..end].parse() else { break };
            steps.push(Step::Index(index));
            rest = &tail[end + 1..];
        } else {
            let tail = rest.strip_prefix('.').unwrap_or(rest);
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            steps.push(Step::Field(tail[..end].to_owned()));
            rest = &tail[end..];
            if end == 0 {
                break;
            }
        }
    }
    steps
}

/// Line and column, from 1, of the first thing in a document that is no comment, marker or blank.
pub(crate) fn first_content(text: &str) -> (usize, usize) {
    for (index, line) in text.lines().enumerate() {
        let rest = line.strip_prefix("---").unwrap_or(line);
        let trimmed = rest.trim_start();
        if !trimmed.is_empty() && !trimmed.starts_with('#') && !line.starts_with('%') {
            let before = line.len() - trimmed.len();
            return (index + 1, line[..before].chars().count() + 1);
        }
    }
    (1, 1)
}

/// Line and column, from 1, of the field that `path` names in the first document of `text`, or of the closest level above that is there.
/// For a field this is where its name stands, for an item of a list where the item starts.
pub fn field(text: &str, path: &str) -> Option<(usize, usize)> {
    let steps = steps(path);
    let mut walk = Walk { parser: Parser::new_from_str(text), best: None };
    loop {
        match walk.next()?.0 {
            Event::StreamStart | Event::DocumentStart(_) => {}
            event => {
                walk.follow(&event, &steps);
                return walk.best;
            }
        }
    }
}

/// Line and column, from 1, of the second time that the last field of `path` stands in its object, if it does.
pub(crate) fn second(text: &str, path: &str) -> Option<(usize, usize)> {
    let steps = steps(path);
    let (Step::Field(name), above) = steps.split_last()? else { return None };
    let mut walk = Walk { parser: Parser::new_from_str(text), best: None };
    loop {
        match walk.next()?.0 {
            Event::StreamStart | Event::DocumentStart(_) => {}
            event => return walk.second(&event, above, name),
        }
    }
}

/// Where the first document of `text` goes deeper than `most` levels of lists and objects, if it does.
pub(crate) fn too_deep(text: &str, most: usize) -> Option<(usize, usize)> {
    let mut depth = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(next) => next,
            // The scanner has a bound of its own, a little higher.
            Err(error) if error.info() == "recursion limit exceeded" => {
                return Some((error.marker().line(), error.marker().col() + 1));
            }
            // A text that is broken otherwise is left to the parser that says what is wrong with it.
            Err(_) => return None,
        };
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
            Event::MappingEnd | Event::SequenceEnd => depth -= 1,
            _ => {}
        }
        if depth > most {
            return Some((span.start.line(), span.start.col() + 1));
        }
    }
    None
}

struct Walk<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    best: Option<(usize, usize)>,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        self.parser.next()?.ok()
    }

    fn mark(&mut self, span: &Span) {
        self.best = Some((span.start.line(), span.start.col() + 1));
    }

    /// Goes down from a node whose first event was read; true when the end of the path was reached or the text is broken.
    fn follow(&mut self, event: &Event<'a>, steps: &[Step]) -> Option<()> {
        let Some((step, deeper)) = steps.split_first() else { return Some(()) };
        match (event, step) {
            (Event::MappingStart(..), Step::Field(name)) => loop {
                let (key, span) = self.next()?;
                match key {
                    Event::MappingEnd => return Some(()),
                    Event::Scalar(text, ..) if text == *name => {
                        self.mark(&span);
                        let (value, _) = self.next()?;
                        return self.follow(&value, deeper);
                    }
                    other => {
                        self.skip(&other)?;
                        let (value, _) = self.next()?;
                        self.skip(&value)?;
                    }
                }
            },
            (Event::SequenceStart(..), Step::Index(wanted)) => {
                let mut index = 0;
                loop {
                    let (item, span) = self.next()?;
                    if matches!(item, Event::SequenceEnd) {
                        return Some(());
                    }
                    if index == *wanted {
                        self.mark(&span);
                        return self.follow(&item, deeper);
                    }
                    self.skip(&item)?;
                    index += 1;
                }
            }
            _ => Some(()),
        }
    }

    /// Goes down to an object, and to the second field of this name in it.
    fn second(&mut self, event: &Event<'a>, above: &[Step], name: &str) -> Option<(usize, usize)> {
        let mut event = event.clone();
        for step in above {
            event = self.down(&event, step)?;
        }
        let mut found = 0;
        loop {
            let (key, span) = self.next()?;
            match key {
                Event::MappingEnd => return None,
                Event::Scalar(text, ..) if text == *name => found += 1,
                other => self.skip(&other)?,
            }
            if found == 2 {
                return Some((span.start.line(), span.start.col() + 1));
            }
            let (value, _) = self.next()?;
            self.skip(&value)?;
        }
    }

    /// The first event of what a step leads to, from a node whose first event was read.
    fn down(&mut self, event: &Event<'a>, step: &Step) -> Option<Event<'a>> {
        match (event, step) {
            (Event::MappingStart(..), Step::Field(name)) => loop {
                match self.next()?.0 {
                    Event::MappingEnd => return None,
                    Event::Scalar(text, ..) if text == *name => return Some(self.next()?.0),
                    other => self.skip(&other)?,
                }
                let (value, _) = self.next()?;
                self.skip(&value)?;
            },
            (Event::SequenceStart(..), Step::Index(wanted)) => {
                for _ in 0..*wanted {
                    let (item, _) = self.next()?;
                    if matches!(item, Event::SequenceEnd) {
                        return None;
                    }
                    self.skip(&item)?;
                }
                Some(self.next()?.0).filter(|item| !matches!(item, Event::SequenceEnd))
            }
            _ => None,
        }
    }

    /// Passes over the rest of a node whose first event was read.
    fn skip(&mut self, event: &Event<'a>) -> Option<()> {
        if !matches!(event, Event::MappingStart(..) | Event::SequenceStart(..)) {
            return Some(());
        }
        let mut depth = 1;
        while depth > 0 {
            match self.next()?.0 {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }
}
