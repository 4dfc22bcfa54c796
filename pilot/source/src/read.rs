// SPDX-License-Identifier: Apache-2.0
//! Text to documents: what each says, and what is wrong with it and where.

use std::path::Path;
use std::sync::Arc;

use tiphys_api::{Fault, Key, Kind, Object, Origin, ParseError, Parsed, Problem, Severity, locate_field, parse_yaml};

use crate::Located;

/// One object of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Which object.
    pub key: Key,
    /// Where it begins.
    pub origin: Origin,
    /// The object, when it can be used. Else what could be read of it.
    pub object: Result<Arc<Object>, Option<Arc<Object>>>,
    /// What is wrong with it.
    pub problems: Vec<Located>,
}

/// What a text holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    /// Its objects.
    pub documents: Vec<Document>,
    /// Parts that cannot be read, so that it is not known which objects they are.
    pub broken: Vec<Located>,
    /// Parts that are left out on purpose: objects of kinds that the mesh does not read.
    pub passed: Vec<Located>,
}

/// A part of a text that starts with a document, and the line it starts at, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Chunk<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

/// Cuts a text where a document starts, so that parts can be read apart from each other.
pub(crate) fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (line, raw) in text.split_inclusive('\n').enumerate() {
        // A directive belongs to the document after it.
        let directive = text[start..offset].starts_with('%');
        if raw.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
            && !directive
        {
            found.push(Chunk { text: &text[start..offset], line: start_line });
            (start, start_line) = (offset, line);
        }
        offset += raw.len();
    }
    found.push(Chunk { text: &text[start..], line: start_line });
    found.retain(|chunk| !chunk.text.trim().is_empty());
    found
}

/// Reads a text.
pub fn read_documents(text: &str, file: &Arc<Path>) -> Contents {
    let mut all = Contents::default();
    for chunk in chunks(text) {
        all.append(read_chunk(chunk, file));
    }
    all
}

pub(crate) fn read_chunk(chunk: Chunk<'_>, file: &Arc<Path>) -> Contents {
    let mut contents = Contents::default();
    for result in parse_yaml(chunk.text, Some(file.clone())) {
        match result {
            Ok(parsed) => contents.documents.push(document(parsed, chunk)),
            Err(error) => contents.fail(error, chunk.line),
        }
    }
    contents
}

impl Contents {
    /// Takes in what follows.
    pub(crate) fn append(&mut self, mut more: Self) {
        self.documents.append(&mut more.documents);
        self.broken.append(&mut more.broken);
        self.passed.append(&mut more.passed);
    }

    fn fail(&mut self, error: ParseError, lines: usize) {
        let passed = matches!(error, ParseError::UnknownKind(_)) && !is_ours(&error.fault().api_version);
        let Fault { mut origin, api_version, kind, namespace, name, path, message } = error.fault().clone();
        origin.line += lines;
        let severity = if passed { Severity::Warning } else { Severity::Error };
        let known = Kind::find(api_version.rsplit_once('/').map_or("", |(group, _)| group), &kind);
        let key = known.filter(|_| !name.is_empty()).map(|kind| {
            let namespace = match (kind.namespaced(), namespace.is_empty()) {
                (false, _) => String::new(),
                (true, true) => "default".to_owned(),
                (true, false) => namespace.clone(),
            };
            Key { kind, namespace, name: name.clone() }
        });
        match key {
            Some(key) => {
                let problem = Problem { severity, path, message };
                let problems = vec![Located { origin: origin.clone(), problem }];
                self.documents.push(Document { key, origin, object: Err(None), problems });
            }
            None => {
                // Without a key the report has to say what it is about.
                let said =
                    [kind.as_str(), name.as_str()].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" ");
                let said: Vec<&str> =
                    [&said, &path, &message].into_iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
                let problem = Problem { severity, path: String::new(), message: said.join(": ") };
                let located = Located { origin, problem };
                if passed { self.passed.push(located) } else { self.broken.push(located) }
            }
        }
    }
}

/// Groups in which an unknown kind is a mistake. Of others (`apps`, `batch`) the mesh reads little on purpose.
fn is_ours(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    group.ends_with("istio.io") || group.starts_with("gateway.networking.")
}

fn document(mut parsed: Parsed, chunk: Chunk<'_>) -> Document {
    let within = parsed.object.origin.clone();
    parsed.object.origin.line += chunk.line;
    let mut document = checked(parsed);
    for Located { origin, problem } in &mut document.problems {
        *origin = locate_in(chunk.text, &within, &problem.path);
        origin.line += chunk.line;
    }
    document
}

/// An object that was read, with what is wrong with it: all at the place where the object stands.
pub(crate) fn checked(parsed: Parsed) -> Document {
    let Parsed { object, warnings } = parsed;
    let mut problems = object.validate();
    problems.extend(warnings);
    // Errors first: a reader of one line reads what matters.
    problems.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.path.cmp(&b.path)));
    let refused = problems.iter().any(|p| p.severity == Severity::Error);
    let (key, origin) = (object.key(), object.origin.clone());
    let problems = problems.into_iter().map(|problem| Located { origin: origin.clone(), problem }).collect();
    let object = Arc::new(object);
    Document { key, origin, object: if refused { Err(Some(object)) } else { Ok(object) }, problems }
}

/// An object that cannot be read.
pub(crate) fn refused(key: Key, fault: &Fault) -> Document {
    let Fault { origin, path, message, .. } = fault.clone();
    let problem = Problem { severity: Severity::Error, path, message };
    Document { key, origin: origin.clone(), object: Err(None), problems: vec![Located { origin, problem }] }
}

/// Where a field of the object that starts at `at` stands; `at` itself when it cannot be found.
fn locate_in(text: &str, at: &Origin, path: &str) -> Origin {
    if path.is_empty() || at.line == 0 {
        return at.clone();
    }
    // An item of a List is indented: taken by itself it is a document of its own.
    let indent = at.column.saturating_sub(1);
    let mut own = String::new();
    for (i, line) in text.split_inclusive('\n').skip(at.line - 1).enumerate() {
        let cut = if i == 0 { indent } else { line.len() - line.trim_start_matches(' ').len() };
        own.push_str(line.get(cut.min(indent)..).unwrap_or(line));
    }
    match locate_field(&own, path) {
        Some((line, column)) => Origin { file: at.file.clone(), line: at.line + line - 1, column: column + indent },
        None => at.clone(),
    }
}
