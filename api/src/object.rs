// SPDX-License-Identifier: Apache-2.0
//! An object as it was read: its metadata, its spec, and where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::kind::{Kind, Shape, Spec};

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Name, namespace, labels and the like.
    pub meta: Meta,
    /// What it says.
    pub spec: Spec,
    /// Its status as it was written.
    pub status: Option<Value>,
    /// The apiVersion as it was written.
    pub version: String,
    /// Where it was read.
    pub origin: Origin,
}

/// What every object has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it was made, in Unix seconds; 0 when unknown.
    pub creation: i64,
    /// The API server's version of it.
    pub resource_version: String,
    /// Its unique id.
    pub uid: String,
    /// How often its spec was changed.
    pub generation: i64,
    /// True once it is being deleted.
    pub deleting: bool,
    /// The objects that own it.
    pub owners: Vec<Owner>,
}

/// An object that owns another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The apiVersion.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// True for the one that manages it.
    pub controller: bool,
}

/// Where an object was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file; none for objects of an API server.
    pub file: Option<Arc<Path>>,
    /// Line of the file, from 1; 0 when unknown.
    pub line: usize,
    /// Column of the line, from 1; 0 when unknown.
    pub column: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
        }
        if self.line > 0 {
            write!(f, "{}{}:{}", if self.file.is_some() { ":" } else { "" }, self.line, self.column)?;
        }
        Ok(())
    }
}

/// What tells one object from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl Object {
    /// An object that was made rather than read, in the kind's preferred version.
    pub fn new(meta: Meta, spec: impl Into<Spec>) -> Self {
        let spec = spec.into();
        Self { meta, version: spec.kind().api_version(), spec, status: None, origin: Origin::default() }
    }

    /// The kind.
    pub const fn kind(&self) -> Kind {
        self.spec.kind()
    }

    /// What tells it from all others.
    pub fn key(&self) -> Key {
        Key { kind: self.kind(), namespace: self.meta.namespace.clone(), name: self.meta.name.clone() }
    }

    /// The object as JSON, ready to be written as YAML. Errors are those of a spec with a shape that JSON lacks, which no kind has.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        let mut object = Map::new();
        object.insert("apiVersion".to_owned(), Value::from(self.version.clone()));
        object.insert("kind".to_owned(), Value::from(self.kind().name()));
        object.insert("metadata".to_owned(), self.meta.to_json());
        let body = self.spec.write()?;
        match (self.kind().info().shape, body) {
            (Shape::Root, Value::Object(fields)) => object.extend(fields),
            (_, body) => {
                object.insert("spec".to_owned(), body);
            }
        }
        if let Some(status) = &self.status {
            object.insert("status".to_owned(), status.clone());
        }
        Ok(Value::Object(object))
    }
}

impl Meta {
    /// A name in a namespace.
    pub fn named(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), ..Self::default() }
    }

    /// The owner that manages the object.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    fn to_json(&self) -> Value {
        let mut meta = Map::new();
        let mut put = |key: &str, value: Value, empty: bool| {
            if !empty {
                meta.insert(key.to_owned(), value);
            }
        };
        put("name", json!(self.name), self.name.is_empty());
        put("namespace", json!(self.namespace), self.namespace.is_empty());
        put("labels", json!(self.labels), self.labels.is_empty());
        put("annotations", json!(self.annotations), self.annotations.is_empty());
        let creation = time::OffsetDateTime::from_unix_timestamp(self.creation).ok();
        let creation = creation.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok());
        put("creationTimestamp", json!(creation), self.creation == 0 || creation.is_none());
        put("resourceVersion", json!(self.resource_version), self.resource_version.is_empty());
        put("uid", json!(self.uid), self.uid.is_empty());
        put("generation", json!(self.generation), self.generation == 0);
        let owner = |owner: &Owner| json!({ "apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "controller": owner.controller });
        put("ownerReferences", self.owners.iter().map(owner).collect(), self.owners.is_empty());
        Value::Object(meta)
    }
}
