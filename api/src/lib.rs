// SPDX-License-Identifier: Apache-2.0
//! What users write: the objects of Istio, Gateway API and Kubernetes that a mesh reads, and the settings of the mesh. No IO.
//!
//! Text goes through [`parse_yaml`] (or JSON through [`parse_value`]) and comes out as [`Object`]s, each with its kind's spec in
//! [`Spec`], or as errors that say where and why. [`json::to_value`] writes it back.

pub mod gateway;
pub mod istio;
pub mod json;
pub mod k8s;
mod kind;
mod locate;
pub mod mesh;
pub mod names;
mod object;
mod parse;
mod problem;
mod selector;
mod strict;
mod validate;
pub mod value;

pub use kind::{Kind, KindInfo, Shape, Spec};
pub use locate::field as locate_field;
pub use object::{Key, Meta, Object, Origin, Owner};
pub use parse::{Fault, ParseError, Parsed, expand_list, parse_value, parse_yaml};
pub use problem::{Problem, Severity};
pub use selector::{LabelSelector, LabelSelectorRequirement};
pub use validate::check_regex;
pub use value::{Base64, Duration, IntOrString, OpenEnum};
