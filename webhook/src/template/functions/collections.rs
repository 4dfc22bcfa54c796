// SPDX-License-Identifier: Apache-2.0
//! Lists and maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Function, Outcome, int, list, maths, text, value};
use crate::template::print;
use crate::template::value::{Map, MapKind, Value};

/// The longest list that a function makes out of numbers.
const LONGEST: i64 = 10_000;

pub const TABLE: &[Function] = &[
    Function::new("len", 1, Some(1), |a| match &a[0] {
        Value::Text(text) => length(text.len()),
        Value::List(items) => length(items.len()),
        Value::Map(map) if map.is_map() || map.kind == MapKind::Open => length(map.entries.len()),
        Value::Unset => Ok(Value::Int(0)),
        other => Err(format!("{} has no length", other.kind())),
    }),
    Function::new("index", 1, None, |a| a[1..].iter().try_fold(a[0].clone(), |value, key| value.index(key))),
    Function::new("slice", 1, Some(3), slice),
    Function::new("list", 0, None, |a| Ok(Value::list(a.to_vec()))),
    Function::new("tuple", 0, None, |a| Ok(Value::list(a.to_vec()))),
    Function::new("append", 2, Some(2), |a| joined(&[list(a, 0)?, &a[1..]])),
    Function::new("push", 2, Some(2), |a| joined(&[list(a, 0)?, &a[1..]])),
    Function::new("prepend", 2, Some(2), |a| joined(&[&a[1..], list(a, 0)?])),
    Function::new("concat", 0, None, |a| {
        let lists: Vec<&[Value]> = (0..a.len()).map(|at| list(a, at)).collect::<Result<_, _>>()?;
        joined(&lists)
    }),
    Function::new("first", 1, Some(1), |a| Ok(list(a, 0)?.first().cloned().unwrap_or(Value::Nil))),
    Function::new("last", 1, Some(1), |a| Ok(list(a, 0)?.last().cloned().unwrap_or(Value::Nil))),
    Function::new("rest", 1, Some(1), |a| Ok(Value::list(list(a, 0)?.iter().skip(1).cloned().collect()))),
    Function::new("initial", 1, Some(1), |a| {
        let items = list(a, 0)?;
        Ok(Value::list(items[..items.len().saturating_sub(1)].to_vec()))
    }),
    Function::new("reverse", 1, Some(1), |a| Ok(Value::list(list(a, 0)?.iter().rev().cloned().collect()))),
    Function::new("compact", 1, Some(1), |a| {
        Ok(Value::list(list(a, 0)?.iter().filter(|v| v.truth()).cloned().collect()))
    }),
    Function::new("uniq", 1, Some(1), |a| {
        let mut kept: Vec<Value> = Vec::new();
        for item in list(a, 0)? {
            if !has(&kept, item) {
                kept.push(item.clone());
            }
        }
        Ok(Value::list(kept))
    }),
    Function::new("without", 1, None, |a| {
        Ok(Value::list(list(a, 0)?.iter().filter(|item| !has(&a[1..], item)).cloned().collect()))
    }),
    Function::new("has", 2, Some(2), |a| Ok(Value::Bool(has(list(a, 1)?, &a[0])))),
    Function::new("sortAlpha", 1, Some(1), |a| {
        let mut texts: Vec<String> = list(a, 0)?.iter().map(print::show).collect();
        texts.sort();
        Ok(Value::list(texts.into_iter().map(Value::text).collect()))
    }),
    Function::new("until", 1, Some(1), |a| numbers(0, int(a, 0)?, if int(a, 0)? < 0 { -1 } else { 1 })),
    Function::new("untilStep", 3, Some(3), |a| numbers(int(a, 0)?, int(a, 1)?, int(a, 2)?)),
    Function::new("dict", 0, None, |a| {
        let pairs = a.chunks(2).map(|pair| (print::show(&pair[0]), pair.get(1).cloned().unwrap_or(Value::text(""))));
        Ok(Value::map(MapKind::Any, pairs))
    }),
    Function::new("get", 2, Some(2), |a| Ok(entries(a, 0)?.get(text(a, 1)?).cloned().unwrap_or(Value::text("")))),
    Function::new("hasKey", 2, Some(2), |a| Ok(Value::Bool(entries(a, 0)?.contains_key(text(a, 1)?)))),
    Function::new("keys", 1, None, |a| {
        let mut keys = Vec::new();
        for at in 0..a.len() {
            keys.extend(entries(a, at)?.keys().cloned().map(Value::Text));
        }
        Ok(Value::list(keys))
    }),
    Function::new("values", 1, Some(1), |a| Ok(Value::list(entries(a, 0)?.values().cloned().collect()))),
    Function::new("pick", 1, None, |a| filtered(a, true)),
    Function::new("pluck", 1, None, |a| {
        let key = text(a, 0)?;
        let maps: Vec<_> = (1..a.len()).map(|at| entries(a, at)).collect::<Result<_, _>>()?;
        Ok(Value::list(maps.iter().filter_map(|map| map.get(key).cloned()).collect()))
    }),
    Function::new("merge", 1, None, |a| {
        let mut merged = Value::map(MapKind::Any, std::iter::empty::<(&str, Value)>());
        for at in (0..a.len()).rev() {
            entries(a, at)?;
            merged = overlaid(&merged, &a[at]);
        }
        Ok(merged)
    }),
    Function::new("mergeOverwrite", 1, None, |a| {
        let mut merged = a[0].clone();
        for at in 0..a.len() {
            entries(a, at)?;
            merged = overlaid(&merged, &a[at]);
        }
        Ok(merged)
    }),
    Function::new("dig", 3, None, |a| {
        let (keys, rest) = a.split_at(a.len() - 2);
        let mut found = rest[1].clone();
        for key in keys {
            let Value::Text(key) = key else { return Err(format!("a key is {}: a text is needed", key.kind())) };
            found = match &found {
                Value::Map(map) => map.entries.get(key).cloned().unwrap_or(Value::Nil),
                _ => Value::Nil,
            };
        }
        Ok(if matches!(found, Value::Nil) { rest[0].clone() } else { found })
    }),
    Function::new("deepCopy", 1, Some(1), |a| Ok(a[0].clone())),
];

fn length(length: usize) -> Outcome {
    i64::try_from(length).map(Value::Int).map_err(|error| error.to_string())
}

fn joined(lists: &[&[Value]]) -> Outcome {
    Ok(Value::list(lists.concat()))
}

fn has(items: &[Value], wanted: &Value) -> bool {
    items.iter().any(|item| item.to_json() == wanted.to_json())
}

fn numbers(start: i64, stop: i64, step: i64) -> Outcome {
    let mut items = Vec::new();
    let mut number = start;
    while step != 0 && (if step > 0 { number < stop } else { number > stop }) {
        if items.len() as i64 >= LONGEST {
            return Err(format!("more than {LONGEST} numbers"));
        }
        items.push(Value::Int(number));
        number = number.saturating_add(step);
    }
    Ok(Value::list(items))
}

fn slice(arguments: &[Value]) -> Outcome {
    let bound = |at: usize, length: usize| match arguments.get(at) {
        None => Ok(if at == 1 { 0 } else { length }),
        Some(given) => usize::try_from(maths::whole(given))
            .ok()
            .filter(|bound| *bound <= length)
            .ok_or_else(|| format!("argument {} is outside of the {length} items", at + 1)),
    };
    match value(arguments, 0) {
        Value::Text(text) => {
            let (from, to) = (bound(1, text.len())?, bound(2, text.len())?);
            text.get(from..to)
                .map(Value::text)
                .ok_or_else(|| "it cuts a character in two, or ends before it starts".to_owned())
        }
        _ => {
            let items = list(arguments, 0)?;
            let (from, to) = (bound(1, items.len())?, bound(2, items.len())?);
            items
                .get(from..to)
                .map(|items| Value::list(items.to_vec()))
                .ok_or_else(|| "it ends before it starts".to_owned())
        }
    }
}

/// The entries of an argument that has to be a map.
pub fn entries(arguments: &[Value], at: usize) -> Result<&BTreeMap<Arc<str>, Value>, String> {
    static NONE: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    match arguments.get(at) {
        Some(Value::Map(map)) if map.is_map() || map.kind == MapKind::Open => Ok(&map.entries),
        Some(Value::Unset | Value::Nil) => Ok(&NONE),
        Some(Value::Map(_)) => Err(format!("argument {} is a struct: a map is needed", at + 1)),
        Some(other) => Err(format!("argument {} is {}: a map is needed", at + 1, other.kind())),
        None => Err(format!("argument {} is missing", at + 1)),
    }
}

/// The map that is the first argument with only the keys that follow, or without them.
pub fn filtered(arguments: &[Value], keep: bool) -> Outcome {
    let named: Vec<&str> = (1..arguments.len()).map(|at| text(arguments, at)).collect::<Result<_, _>>()?;
    let kept = entries(arguments, 0)?.iter().filter(|(key, _)| named.contains(&&***key) == keep);
    let kind = if let Value::Map(map) = &arguments[0] { map.kind } else { MapKind::Any };
    Ok(Value::map(kind, kept.map(|(key, value)| (key.clone(), value.clone()))))
}

/// One map laid over another, maps in maps too.
fn overlaid(base: &Value, over: &Value) -> Value {
    let (Value::Map(base), Value::Map(over)) = (base, over) else { return over.clone() };
    let mut entries = base.entries.clone();
    for (key, value) in &over.entries {
        let merged = match entries.get(key) {
            Some(known @ Value::Map(_)) if matches!(value, Value::Map(_)) => overlaid(known, value),
            _ => value.clone(),
        };
        entries.insert(key.clone(), merged);
    }
    Value::Map(Arc::new(Map { kind: base.kind, entries }))
}
