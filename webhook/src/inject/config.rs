// SPDX-License-Identifier: Apache-2.0
//! The two texts of the ConfigMap `istio-sidecar-injector`: `config`, whether and by which templates pods are injected, and `values`, what
//! templates read as `.Values`. Both are read once; what runs per pod finds templates parsed and values converted.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;
use tiphys_api::LabelSelector;

use super::selector;
use crate::template::{MapKind, Template, TemplateError, Value};

/// Why the ConfigMap cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A text is no YAML, or has the wrong shape.
    #[error("the injection's {text}: {message}")]
    Syntax {
        /// `config` or `values`.
        text: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A template cannot be read.
    #[error("the injection's config: {0}")]
    Template(#[from] TemplateError),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawConfig {
    policy: String,
    default_templates: Option<Vec<String>>,
    templates: Option<BTreeMap<String, String>>,
    aliases: Option<BTreeMap<String, Vec<String>>>,
    never_inject_selector: Option<Vec<LabelSelector>>,
    always_inject_selector: Option<Vec<LabelSelector>>,
    injected_annotations: Option<BTreeMap<String, String>>,
}

/// Whether and how pods are injected.
#[derive(Debug)]
pub struct InjectionConfig {
    /// Whether pods that say nothing are injected.
    pub enabled: bool,
    /// Templates of pods that name none.
    pub default_templates: Vec<String>,
    /// Templates by name.
    pub templates: BTreeMap<String, Template>,
    /// Names that stand for several templates.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Pods that are not injected, unless their label says so. Goes before `always`.
    pub never: Vec<LabelSelector>,
    /// Pods that are injected, unless their label says otherwise.
    pub always: Vec<LabelSelector>,
    /// Annotations of each injected pod.
    pub annotations: BTreeMap<String, String>,
}

/// The templates in the ConfigMap's `config`, as they were written.
///
/// # Errors
/// When it is no YAML of this shape.
pub fn template_texts(config: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let raw: RawConfig = yaml_serde::from_str(config)
        .map_err(|error| ConfigError::Syntax { text: "config", message: error.to_string() })?;
    Ok(raw.templates.unwrap_or_default())
}

impl InjectionConfig {
    /// Reads the ConfigMap's `config`.
    ///
    /// # Errors
    /// When it is no YAML of this shape, or a template or selector in it is wrong.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let wrong = |message: String| ConfigError::Syntax { text: "config", message };
        let raw: RawConfig = yaml_serde::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let enabled = match raw.policy.as_str() {
            "enabled" => true,
            "disabled" => false,
            other => return Err(wrong(format!("policy: {other:?} is neither enabled nor disabled"))),
        };
        let mut templates = BTreeMap::new();
        for (name, text) in raw.templates.unwrap_or_default() {
            templates.insert(name.clone(), Template::parse(&name, &text)?);
        }
        let default_templates = raw.default_templates.filter(|names| !names.is_empty());
        let (never, always) =
            (raw.never_inject_selector.unwrap_or_default(), raw.always_inject_selector.unwrap_or_default());
        for (field, selectors) in [("neverInjectSelector", &never), ("alwaysInjectSelector", &always)] {
            for (index, selector) in selectors.iter().enumerate() {
                selector::check(selector).map_err(|message| wrong(format!("{field}[{index}].{message}")))?;
            }
        }
        Ok(Self {
            enabled,
            default_templates: default_templates.unwrap_or_else(|| vec!["sidecar".to_owned()]),
            templates,
            aliases: raw.aliases.unwrap_or_default(),
            never,
            always,
            annotations: raw.injected_annotations.unwrap_or_default(),
        })
    }

    /// The templates that names stand for.
    pub fn resolve<'a>(&'a self, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        names
            .flat_map(|name| match self.aliases.get(name) {
                Some(templates) => templates.iter().map(String::as_str).collect(),
                None => vec![name],
            })
            .collect()
    }
}

/// What templates read as `.Values`.
#[derive(Debug, Clone)]
pub struct Values {
    json: Json,
    /// For templates.
    pub value: Value,
}

impl Values {
    /// Reads the ConfigMap's `values`.
    ///
    /// # Errors
    /// When it is no YAML or JSON object.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let wrong = |message: String| ConfigError::Syntax { text: "values", message };
        let json: Json = yaml_serde::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if !json.is_object() {
            return Err(wrong("it is no object".to_owned()));
        }
        let value = Value::from_json(&json, MapKind::Any);
        Ok(Self { json, value })
    }

    /// The value at a path; null when there is none.
    pub fn get(&self, path: &[&str]) -> &Json {
        path.iter().fold(&self.json, |value, field| &value[*field])
    }

    /// The text at a path, also of a number; empty when there is none.
    pub fn text(&self, path: &[&str]) -> String {
        match self.get(path) {
            Json::String(text) => text.clone(),
            Json::Null => String::new(),
            other => other.to_string(),
        }
    }

    /// True when the value at a path is true.
    pub fn is_true(&self, path: &[&str]) -> bool {
        matches!(self.get(path), Json::Bool(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let wrong = |text: &str| InjectionConfig::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("policy: on"), "the injection's config: policy: \"on\" is neither enabled nor disabled");
        assert_eq!(
            wrong("policy: enabled\ntemplates:\n  sidecar: |\n    a\n    {{ nope }}\n"),
            "the injection's config: template sidecar:2:4: function nope is not defined"
        );
        assert_eq!(
            wrong("policy: enabled\nneverInjectSelector: [{matchExpressions: [{key: a, operator: Is}]}]"),
            "the injection's config: neverInjectSelector[0].matchExpressions[0].operator: \"Is\" is no operator: use In, NotIn, Exists or DoesNotExist"
        );
        assert_eq!(Values::parse("7").unwrap_err().to_string(), "the injection's values: it is no object");
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let config = InjectionConfig::parse("policy: enabled\nneverInjectSelector:\ninjectedAnnotations:\n").unwrap();
        assert_eq!(config.default_templates, ["sidecar"]);
        let config = InjectionConfig::parse("policy: disabled\naliases: {both: [a, b]}").unwrap();
        assert_eq!(config.resolve(["x", "both"].into_iter()), ["x", "a", "b"]);
    }
}
