// SPDX-License-Identifier: Apache-2.0
//! Where a check stands, and what it found. A place is a chain on the stack: it becomes text only once something is wrong.

use std::fmt;

use crate::problem::Problem;
use crate::value::Duration;

/// A place in an object.
#[derive(Clone, Copy)]
pub(crate) enum At<'a> {
    Root(&'a str),
    Field(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
    Key(&'a At<'a>, &'a str),
}

impl<'a> At<'a> {
    pub(crate) const fn field(&'a self, name: &'a str) -> At<'a> {
        At::Field(self, name)
    }

    pub(crate) const fn index(&'a self, index: usize) -> At<'a> {
        At::Index(self, index)
    }

    pub(crate) const fn key(&'a self, key: &'a str) -> At<'a> {
        At::Key(self, key)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(root) => f.write_str(root),
            Self::Field(parent @ At::Root(""), name) => write!(f, "{parent}{name}"),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(f, "{parent}[{key:?}]"),
        }
    }
}

/// What was found.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) problems: Vec<Problem>,
}

impl Report {
    pub(crate) fn error(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.problems.push(Problem::error(at.to_string(), message));
    }

    pub(crate) fn warning(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.problems.push(Problem::warning(at.to_string(), message));
    }

    /// Notes the reason of a failed rule.
    pub(crate) fn check(&mut self, at: &At<'_>, result: Result<(), String>) {
        if let Err(message) = result {
            self.error(at, message);
        }
    }

    /// Of alternatives at most one may be set.
    pub(crate) fn at_most_one(&mut self, at: &At<'_>, set: &[(&str, bool)]) {
        let names: Vec<&str> = set.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        if names.len() > 1 {
            self.error(at, format!("{} exclude each other: keep one", names.join(" and ")));
        }
    }

    /// Of alternatives exactly one must be set.
    pub(crate) fn exactly_one(&mut self, at: &At<'_>, set: &[(&str, bool)]) {
        self.at_most_one(at, set);
        if !set.iter().any(|(_, set)| *set) {
            let names: Vec<&str> = set.iter().map(|(name, _)| *name).collect();
            self.error(at, format!("one of {} must be set", names.join(", ")));
        }
    }

    /// A duration of at least a millisecond and of whole ones, when it is set.
    pub(crate) fn duration(&mut self, at: &At<'_>, duration: Option<Duration>) {
        let Some(duration) = duration else { return };
        if duration < Duration::from_millis(1) {
            self.error(at, "must be at least 1ms");
        } else if duration.get().subsec_nanos() % 1_000_000 != 0 {
            self.error(at, "must be whole milliseconds");
        }
    }

    /// A number of zero or more.
    pub(crate) fn not_negative(&mut self, at: &At<'_>, number: i64) {
        if number < 0 {
            self.error(at, format!("{number} is negative: must be 0 or more"));
        }
    }

    /// A share from 0 to 100.
    pub(crate) fn percent(&mut self, at: &At<'_>, value: f64) {
        if !(0.0..=100.0).contains(&value) {
            self.error(at, format!("{value} is not a percentage: must be from 0 to 100"));
        }
    }

    /// A list with a bounded number of items.
    pub(crate) fn items<T>(&mut self, at: &At<'_>, list: &[T], least: usize, most: usize) {
        if list.len() < least {
            self.error(at, format!("needs at least {least} item{}", if least == 1 { "" } else { "s" }));
        } else if list.len() > most {
            self.error(at, format!("has {} items: at most {most} are allowed", list.len()));
        }
    }

    /// A text that must be there.
    pub(crate) fn present(&mut self, at: &At<'_>, text: &str) {
        if text.is_empty() {
            self.error(at, "must be set");
        }
    }
}
