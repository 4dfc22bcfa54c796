// SPDX-License-Identifier: Apache-2.0
//! From schemars' JSON schema to the structural schema that Kubernetes asks for: no references, one type each, `nullable` in place of
//! null; then what crds.yaml says of each type and field is laid over it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// By type, then by field.
pub(super) type Overrides = BTreeMap<String, BTreeMap<String, Map<String, Value>>>;

/// A CEL rule and what is said when it does not hold.
#[derive(Clone, Deserialize)]
pub(super) struct Rule {
    rule: String,
    message: String,
}

/// The largest number that protobuf's uint32 holds.
const UINT32: u32 = u32::MAX;

pub(super) struct Builder<'a> {
    types: &'a Overrides,
    rules: &'a BTreeMap<String, Rule>,
    /// Which overrides fitted somewhere.
    used: &'a mut BTreeSet<(String, String)>,
    definitions: Map<String, Value>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        types: &'a Overrides,
        rules: &'a BTreeMap<String, Rule>,
        used: &'a mut BTreeSet<(String, String)>,
    ) -> Self {
        Self { types, rules, used, definitions: Map::new() }
    }

    /// The schema of `spec` from the root schema of its type.
    pub(super) fn spec(&mut self, mut root: Value, name: &str) -> Result<Value> {
        let fields = root.as_object_mut().context("a schema is an object")?;
        fields.remove("$schema");
        fields.remove("title");
        if let Some(Value::Object(definitions)) = fields.remove("$defs") {
            self.definitions = definitions;
        }
        self.object(root, name)
    }

    /// A struct, with its overrides.
    fn object(&mut self, schema: Value, name: &str) -> Result<Value> {
        let Value::Object(mut schema) = schema else { bail!("{name} is no object") };
        schema.remove("default");
        let own = self.types.get(name).cloned().unwrap_or_default();
        let properties = match schema.remove("properties") {
            Some(Value::Object(properties)) => properties,
            _ => Map::new(),
        };
        let mut built = Map::new();
        for (field, inner) in properties {
            let mut inner = self.value(inner)?;
            for (suffix, slot) in [("", None), ("[]", Some("items")), ("{}", Some("additionalProperties"))] {
                let Some(change) = own.get(&format!("{field}{suffix}")) else { continue };
                let target = match slot {
                    None => Some(&mut inner),
                    Some(slot) => inner.get_mut(slot),
                };
                let target = target.with_context(|| format!("{name}.{field}{suffix} fits nothing"))?;
                self.apply(target, change)?;
                self.used.insert((name.to_owned(), format!("{field}{suffix}")));
            }
            built.insert(field, inner);
        }
        // Every field may be left out unless crds.yaml says otherwise.
        schema.remove("required");
        if let Some(change) = own.get("") {
            self.used.insert((name.to_owned(), String::new()));
            if let Some(Value::Object(extra)) = change.get("extra") {
                for (field, inner) in extra {
                    let mut target = json!({});
                    self.apply(&mut target, inner.as_object().context("extra fields are objects")?)?;
                    built.insert(field.clone(), target);
                }
            }
        }
        if !built.is_empty() {
            schema.insert("properties".into(), Value::Object(built));
        }
        let mut schema = Value::Object(schema);
        if let Some(change) = own.get("") {
            self.apply(&mut schema, change)?;
        }
        Ok(schema)
    }

    /// Any value: references are put in place, null becomes `nullable`.
    fn value(&mut self, schema: Value) -> Result<Value> {
        let Value::Object(mut schema) = schema else { return Ok(schema) };
        schema.remove("default");
        let description = schema.remove("description");
        if let Some(Value::Array(choices)) = schema.remove("anyOf") {
            let mut choices: Vec<Value> =
                choices.into_iter().filter(|choice| choice.get("type") != Some(&json!("null"))).collect();
            if choices.len() != 1 {
                bail!("a choice of {} schemas is not structural", choices.len());
            }
            schema = match self.value(choices.remove(0))? {
                Value::Object(inner) => inner,
                _ => bail!("a schema is an object"),
            };
        } else if let Some(Value::String(reference)) = schema.get("$ref") {
            let name = reference.trim_start_matches("#/$defs/").to_owned();
            let inner = self.definitions.get(&name).cloned().with_context(|| format!("no definition {name}"))?;
            schema = match self.object(inner, &name)? {
                Value::Object(inner) => inner,
                _ => bail!("a schema is an object"),
            };
        }
        if let Some(description) = description {
            schema.insert("description".into(), description);
        }
        null(&mut schema);
        number(&mut schema);
        for slot in ["items", "additionalProperties"] {
            if let Some(inner) = schema.remove(slot) {
                schema.insert(slot.into(), self.value(inner)?);
            }
        }
        // A map with numbers as keys: JSON only has texts.
        if let Some(Value::Object(patterns)) = schema.remove("patternProperties") {
            let inner = patterns.into_iter().next().context("a map has values")?.1;
            schema.insert("additionalProperties".into(), self.value(inner)?);
        }
        Ok(Value::Object(schema))
    }

    fn apply(&self, target: &mut Value, change: &Map<String, Value>) -> Result<()> {
        let target = target.as_object_mut().context("a schema is an object")?;
        let mut rules = Vec::new();
        for (key, value) in change {
            match key.as_str() {
                "extra" => {}
                "oneOf" => one_of(target, value)?,
                "atMostOne" => {
                    for group in value.as_array().context("atMostOne is a list of lists")? {
                        rules.push(at_most_one(group)?);
                    }
                }
                "rules" => {}
                "nullable" if value == &json!(false) => {
                    target.remove("nullable");
                }
                _ if value.is_null() => {
                    target.remove(key);
                }
                _ => {
                    target.insert(key.clone(), value.clone());
                }
            }
        }
        for rule in change.get("rules").and_then(Value::as_array).into_iter().flatten() {
            let rule = match rule {
                Value::String(name) => self.rules.get(name).with_context(|| format!("no rule {name:?}"))?.clone(),
                rule => serde_json::from_value(rule.clone())?,
            };
            rules.push(json!({ "rule": rule.rule, "message": rule.message }));
        }
        if !rules.is_empty() {
            target.insert("x-kubernetes-validations".into(), Value::Array(rules));
        }
        Ok(())
    }
}

/// Takes null out of the types; numbers and booleans, for which unset and zero differ, become nullable.
fn null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let Some(Value::Array(types)) = schema.get("type") else { return };
    let plain = types.iter().find(|name| *name != &json!("null")).cloned().unwrap_or_default();
    if ["boolean", "integer", "number"].iter().any(|name| plain == *name) {
        schema.insert("nullable".into(), json!(true));
    }
    schema.insert("type".into(), plain);
}

/// Numbers as Kubernetes knows them: int32 by name, unsigned ones by their bounds.
fn number(schema: &mut Map<String, Value>) {
    match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => {
            schema.remove("format");
            schema.insert("minimum".into(), json!(0));
            schema.insert("maximum".into(), json!(UINT32));
        }
        Some("uint64") => {
            schema.remove("format");
        }
        _ => {}
    }
}

fn names(list: &Value) -> Result<Vec<String>> {
    let list = list.as_array().context("a list of fields")?;
    list.iter().map(|name| name.as_str().map(str::to_owned).context("the name of a field")).collect()
}

/// At most one of some fields, as OpenAPI says it; several groups of them.
fn one_of(target: &mut Map<String, Value>, groups: &Value) -> Result<()> {
    let nested = groups.get(0).is_some_and(Value::is_array);
    if !nested {
        target.insert("oneOf".into(), one_group(groups)?);
        return Ok(());
    }
    let all: Result<Vec<Value>> =
        groups.as_array().into_iter().flatten().map(|group| Ok(json!({ "oneOf": one_group(group)? }))).collect();
    target.insert("allOf".into(), Value::Array(all?));
    Ok(())
}

fn one_group(fields: &Value) -> Result<Value> {
    let required: Vec<Value> = names(fields)?.into_iter().map(|name| json!({ "required": [name] })).collect();
    let mut choices = vec![json!({ "not": { "anyOf": required } })];
    choices.extend(required);
    Ok(Value::Array(choices))
}

/// No two of the fields. The API server charges a list and its filter several times as much, too much inside of long lists.
fn at_most_one(fields: &Value) -> Result<Value> {
    let names = names(fields)?;
    let mut terms = Vec::new();
    for (index, one) in names.iter().enumerate() {
        terms.extend(names[index + 1..].iter().map(|other| format!("!(has(self.{one}) && has(self.{other}))")));
    }
    Ok(json!({
        "rule": terms.join(" && "),
        "message": format!("only one of {} may be set", names.join(", ")),
    }))
}
