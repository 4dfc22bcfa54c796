// SPDX-License-Identifier: Apache-2.0
//! Text or JSON to objects. A YAML text is cut into documents first, so that a broken one never hides the others; each document becomes
//! JSON, Lists are expanded, and each item becomes an [`Object`] or a [`ParseError`] that says where and why.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kind::{self, Kind, Spec};
use crate::locate;
use crate::object::{Meta, Object, Origin, Owner};
use crate::problem::Problem;
use crate::strict;

/// An object, and what looked odd in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The object.
    pub object: Object,
    /// Unknown fields and the like.
    pub warnings: Vec<Problem>,
}

/// Why there is no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text is no YAML or JSON.
    #[error("{0}")]
    Syntax(Box<Fault>),
    /// The object is of a kind or version that is not read; a Deployment, say. Not a fault of the object.
    #[error("{0}")]
    UnknownKind(Box<Fault>),
    /// The object does not have the shape that its kind asks for.
    #[error("{0}")]
    Invalid(Box<Fault>),
}

impl ParseError {
    /// Where and why.
    pub fn fault(&self) -> &Fault {
        match self {
            Self::Syntax(fault) | Self::UnknownKind(fault) | Self::Invalid(fault) => fault,
        }
    }

    fn fault_mut(&mut self) -> &mut Fault {
        match self {
            Self::Syntax(fault) | Self::UnknownKind(fault) | Self::Invalid(fault) => fault,
        }
    }
}

/// Where something is wrong, and why. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// File, line and column: of the field where it is known, else of the document.
    pub origin: Origin,
    /// The apiVersion as written.
    pub api_version: String,
    /// The kind as written.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The field, as `spec.http[0].timeout`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.origin.to_string();
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        if !self.kind.is_empty() {
            let slash = if self.namespace.is_empty() { "" } else { "/" };
            write!(f, "{} {}{slash}{}: ", self.kind, self.namespace, self.name)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawMeta {
    name: String,
    namespace: String,
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
    creation_timestamp: String,
    deletion_timestamp: String,
    resource_version: String,
    uid: String,
    generation: i64,
    owner_references: Vec<RawOwner>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawOwner {
    api_version: String,
    kind: String,
    name: String,
    controller: bool,
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Reads one object. Lists are not objects: see [`expand_list`].
pub fn parse_value(value: Value, origin: Origin) -> Result<Parsed, ParseError> {
    let mut fault = Fault { origin: origin.clone(), ..Fault::default() };
    let Value::Object(mut object) = value else {
        fault.message = "expected an object with apiVersion, kind and metadata".to_owned();
        return Err(ParseError::Invalid(Box::new(fault)));
    };
    fault.api_version = text(&object, "apiVersion").to_owned();
    fault.kind = text(&object, "kind").to_owned();
    if let Some(meta) = object.get("metadata").and_then(Value::as_object) {
        fault.namespace = text(meta, "namespace").to_owned();
        fault.name = text(meta, "name").to_owned();
    }
    let kind = match find_kind(&fault.api_version, &fault.kind) {
        Ok(kind) => kind,
        Err((known, path, message)) => {
            (fault.path, fault.message) = (path.to_owned(), message);
            let fault = Box::new(fault);
            return Err(if known { ParseError::Invalid(fault) } else { ParseError::UnknownKind(fault) });
        }
    };
    let invalid = |mut fault: Fault, path: String, message: String| {
        (fault.path, fault.message) = (path, message);
        ParseError::Invalid(Box::new(fault))
    };
    let meta = match read_meta(kind, object.remove("metadata").unwrap_or_default()) {
        Ok(meta) => meta,
        Err((path, message)) => return Err(invalid(fault, path, message)),
    };
    fault.namespace.clone_from(&meta.namespace);
    let (body, status, mut unknown) = kind::body(kind, object);
    let root = if kind.info().shape == kind::Shape::Spec { "spec" } else { "" };
    let (spec, more) = match Spec::read(kind, body, root) {
        Ok(read) => read,
        Err(error) => return Err(invalid(fault, error.path, error.message)),
    };
    // The slim Kubernetes types name few fields on purpose: the others are no mistake.
    if kind.info().shape == kind::Shape::Spec {
        unknown.extend(more);
    }
    let warnings = unknown.into_iter().map(|path| Problem::warning(path, "unknown field: it has no effect")).collect();
    Ok(Parsed { object: Object { meta, spec, status, version: fault.api_version, origin }, warnings })
}

/// The kind of an apiVersion and kind. The error says whether kind and group are known, the field, and what is wrong.
fn find_kind(api_version: &str, name: &str) -> Result<Kind, (bool, &'static str, String)> {
    if name.is_empty() {
        return Err((true, "kind", "missing: every object needs apiVersion and kind".to_owned()));
    }
    if api_version.is_empty() {
        return Err((true, "apiVersion", "missing: every object needs apiVersion and kind".to_owned()));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some(kind) = Kind::find(group, name) else {
        return Err((false, "kind", format!("{name} of {api_version} is not a kind that the mesh reads")));
    };
    let versions = kind.info().versions;
    if versions.contains(&version) {
        return Ok(kind);
    }
    Err((true, "apiVersion", format!("{api_version} is not a version of {name}: use one of {}", versions.join(", "))))
}

fn read_meta(kind: Kind, value: Value) -> Result<Meta, (String, String)> {
    let (raw, _) = crate::json::from_value::<RawMeta>(value, "metadata", crate::json::Dialect::Kube)
        .map_err(|error| (error.path, error.message))?;
    if raw.name.is_empty() {
        return Err(("metadata.name".to_owned(), "missing: every object needs a name".to_owned()));
    }
    let creation = if raw.creation_timestamp.is_empty() {
        0
    } else {
        let format = &time::format_description::well_known::Rfc3339;
        let at = time::OffsetDateTime::parse(&raw.creation_timestamp, format);
        at.map_err(|error| ("metadata.creationTimestamp".to_owned(), format!("not an RFC 3339 time: {error}")))?
            .unix_timestamp()
    };
    let namespace = match (kind.namespaced(), raw.namespace.is_empty()) {
        (false, _) => String::new(),
        (true, true) => "default".to_owned(),
        (true, false) => raw.namespace,
    };
    let owner = |owner: RawOwner| Owner {
        api_version: owner.api_version,
        kind: owner.kind,
        name: owner.name,
        controller: owner.controller,
    };
    Ok(Meta {
        name: raw.name,
        namespace,
        labels: raw.labels,
        annotations: raw.annotations,
        creation,
        resource_version: raw.resource_version,
        uid: raw.uid,
        generation: raw.generation,
        deleting: !raw.deletion_timestamp.is_empty(),
        owners: raw.owner_references.into_iter().map(owner).collect(),
    })
}

/// The items of a `List` or of a typed list such as `VirtualServiceList`; any other value is its own only item. The paths say where
/// the items stand (`items[3]`), and are empty for a value that is no list.
pub fn expand_list(value: Value) -> Vec<(String, Value)> {
    let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    let Some(Value::Array(items)) = value.get("items").filter(|_| is_list) else {
        return vec![(String::new(), value)];
    };
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let item_kind = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
    let mut expanded = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let mut item = item.clone();
        // Items of a typed list may leave out what the list says.
        if let (Some(kind), Some(map)) = (item_kind, item.as_object_mut()) {
            map.entry("kind").or_insert_with(|| Value::from(kind));
            if let Some(version) = value.get("apiVersion") {
                map.entry("apiVersion").or_insert_with(|| version.clone());
            }
        }
        for (path, inner) in expand_list(item) {
            let dot = if path.is_empty() { "" } else { "." };
            expanded.push((format!("items[{index}]{dot}{path}"), inner));
        }
    }
    expanded
}

/// One document of a YAML text.
struct Document<'a> {
    text: &'a str,
    /// Line of the text's first line in the file, from 1.
    line: usize,
}

/// Cuts a text at its document markers. YAML forbids `---` and `...` at the start of a line anywhere else, even inside of scalars.
fn documents(text: &str) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let (mut start, mut start_line, mut offset, mut line) = (0, 1, 0, 1);
    for raw in text.split_inclusive('\n') {
        let marker = |mark: &str| {
            raw.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        };
        if marker("---") || marker("...") {
            found.push(Document { text: &text[start..offset], line: start_line });
            // What follows a marker on its line belongs to the document; `---` itself is cut off, keeping columns right by parsing it too.
            (start, start_line) = if marker("---") { (offset, line) } else { (offset + raw.len(), line + 1) };
        }
        offset += raw.len();
        line += 1;
    }
    found.push(Document { text: &text[start..], line: start_line });
    found
}

/// Reads every object of a YAML or JSON text: many documents, Lists, comments. Empty documents give nothing.
pub fn parse_yaml(text: &str, file: Option<Arc<Path>>) -> Vec<Result<Parsed, ParseError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut results = Vec::new();
    for document in documents(text) {
        parse_document(&document, file.as_ref(), &mut results);
    }
    results
}

fn parse_document(document: &Document<'_>, file: Option<&Arc<Path>>, results: &mut Vec<Result<Parsed, ParseError>>) {
    let place =
        |line: usize, column: usize| Origin { file: file.cloned(), line: document.line + line.max(1) - 1, column };
    let (value, twice) = match to_json(document.text) {
        Ok(read) => read,
        Err((line, column, message)) => {
            let fault = Fault { origin: place(line, column), message, ..Fault::default() };
            results.push(Err(ParseError::Syntax(Box::new(fault))));
            return;
        }
    };
    if value.is_null() {
        return;
    }
    let (first_line, first_column) = locate::first_content(document.text);
    for (prefix, item) in expand_list(value) {
        let (line, column) = if prefix.is_empty() {
            (first_line, first_column)
        } else {
            locate::field(document.text, &prefix).unwrap_or((first_line, first_column))
        };
        if let Some((whole, path)) = twice.iter().find_map(|path| within(path, &prefix)) {
            let (line, column) = locate::second(document.text, whole).unwrap_or((line, column));
            results.push(Err(given_twice(&item, path, place(line, column))));
            continue;
        }
        let mut result = parse_value(item, place(line, column));
        if let Err(error) = &mut result {
            let fault = error.fault_mut();
            let dot = if prefix.is_empty() || fault.path.is_empty() { "" } else { "." };
            if let Some((line, column)) = locate::field(document.text, &format!("{prefix}{dot}{}", fault.path)) {
                fault.origin = place(line, column);
            }
        }
        results.push(result);
    }
}

/// A path of a text, and what of it is the path in the item at `prefix`, if it leads there.
fn within<'a>(path: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    let rest = path.strip_prefix(prefix)?;
    (prefix.is_empty() || rest.starts_with(['.', '[']) || rest.is_empty())
        .then(|| (path, rest.strip_prefix('.').unwrap_or(rest)))
}

/// The error of an object with a field that is there twice: which of the two was meant is not known.
fn given_twice(item: &Value, path: &str, origin: Origin) -> ParseError {
    let none = Map::new();
    let object = item.as_object().unwrap_or(&none);
    let meta = object.get("metadata").and_then(Value::as_object).unwrap_or(&none);
    ParseError::Invalid(Box::new(Fault {
        origin,
        api_version: text(object, "apiVersion").to_owned(),
        kind: text(object, "kind").to_owned(),
        namespace: text(meta, "namespace").to_owned(),
        name: text(meta, "name").to_owned(),
        path: path.to_owned(),
        message: strict::MESSAGE.to_owned(),
    }))
}

/// Levels of lists and objects that are read.
const DEPTH: usize = 128;
/// Open brackets that make a text worth a closer look. Brackets in texts count too, so that this alone says nothing.
const SUSPICIOUS: usize = 1000;

/// How many brackets are open at most, quotes and comments not regarded.
fn bracket_depth(text: &str) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// YAML (or JSON, which is YAML) as JSON, and the paths of fields that are there twice; the error is line and column in the text, from 1, and
/// the reason.
fn to_json(text: &str) -> Result<(Value, Vec<String>), (usize, usize, String)> {
    let wrong = |error: yaml_serde::Error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        (line, column, error.to_string())
    };
    // The parser's time grows with the square of the depth: such a text is refused before.
    if bracket_depth(text) > SUSPICIOUS
        && let Some((line, column)) = locate::too_deep(text, DEPTH)
    {
        return Err((line, column, format!("nested deeper than {DEPTH} levels")));
    }
    let twice = strict::Twice::default();
    let value = strict::read(yaml_serde::Deserializer::from_str(text), &twice).map_err(wrong)?;
    let twice = twice.into_inner();
    if !text.contains("<<:") || !twice.is_empty() {
        return Ok((value, twice));
    }
    let mut yaml: yaml_serde::Value = yaml_serde::from_str(text).map_err(wrong)?;
    yaml.apply_merge().map_err(wrong)?;
    let merged = serde_json::to_value(yaml).map_err(|error| (1, 1, error.to_string()))?;
    Ok((merged, twice))
}
