// SPDX-License-Identifier: Apache-2.0
//! Comparing, choosing, and asking what something is.

use std::cmp::Ordering;

use super::{Function, Outcome, text, value};
use crate::template::value::Value;

pub const TABLE: &[Function] = &[
    // These two are run by the evaluator, which leaves out what need not be known.
    Function::new("and", 1, None, |_| Err("takes one value or more".to_owned())),
    Function::new("or", 1, None, |_| Err("takes one value or more".to_owned())),
    Function::new("not", 1, Some(1), |a| Ok(Value::Bool(!a[0].truth()))),
    Function::new("eq", 2, None, |a| {
        for other in &a[1..] {
            if equal(&a[0], other)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
    Function::new("ne", 2, Some(2), |a| Ok(Value::Bool(!equal(&a[0], &a[1])?))),
    Function::new("lt", 2, Some(2), |a| ordered(a, |order| order == Ordering::Less)),
    Function::new("le", 2, Some(2), |a| ordered(a, |order| order != Ordering::Greater)),
    Function::new("gt", 2, Some(2), |a| ordered(a, |order| order == Ordering::Greater)),
    Function::new("ge", 2, Some(2), |a| ordered(a, |order| order != Ordering::Less)),
    Function::new("default", 1, Some(2), |a| Ok(a.get(1).filter(|given| !empty(given)).unwrap_or(&a[0]).clone())),
    Function::new("empty", 1, Some(1), |a| Ok(Value::Bool(empty(&a[0])))),
    Function::new("coalesce", 0, None, |a| Ok(a.iter().find(|value| !empty(value)).cloned().unwrap_or(Value::Nil))),
    Function::new("ternary", 3, Some(3), |a| Ok(a[if a[2].truth() { 0 } else { 1 }].clone())),
    Function::new("all", 0, None, |a| Ok(Value::Bool(!a.iter().any(empty)))),
    Function::new("any", 0, None, |a| Ok(Value::Bool(!a.iter().all(empty)))),
    Function::new("fail", 1, Some(1), |a| Err(text(a, 0)?.to_owned())),
    Function::new("required", 2, Some(2), |a| match value(a, 1) {
        Value::Nil | Value::Unset => Err(text(a, 0)?.to_owned()),
        Value::Text(given) if given.is_empty() => Err(text(a, 0)?.to_owned()),
        given => Ok(given.clone()),
    }),
    Function::new("kindOf", 1, Some(1), |a| Ok(Value::text(kind(&a[0])))),
    Function::new("kindIs", 2, Some(2), |a| Ok(Value::Bool(text(a, 0)? == kind(&a[1])))),
    Function::new("typeOf", 1, Some(1), |a| Ok(Value::text(type_name(&a[0])))),
    Function::new("typeIs", 2, Some(2), |a| Ok(Value::Bool(text(a, 0)? == type_name(&a[1])))),
    Function::new("deepEqual", 2, Some(2), |a| Ok(Value::Bool(a[0].to_json() == a[1].to_json()))),
];

/// Sprig's notion: the zero of a type, and what has nothing in it.
fn empty(value: &Value) -> bool {
    !value.truth()
}

/// `eq`: values of different types cannot be compared, but numbers can. What is unset equals the zero of any type.
///
/// # Errors
/// When the types differ, or cannot be compared at all.
pub fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(match (a, b) {
        (Value::Nil, Value::Nil | Value::Unset) | (Value::Unset, Value::Nil) => true,
        (Value::Nil, _) | (_, Value::Nil) => false,
        (Value::Unset, other) | (other, Value::Unset) => !other.truth(),
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => float(a) == float(b),
        (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => {
            return Err(format!("{} and {} cannot be compared: use deepEqual", a.kind(), b.kind()));
        }
        _ => return Err(format!("{} and {} are of different types", a.kind(), b.kind())),
    })
}

#[allow(clippy::cast_precision_loss, reason = "as Go converts")]
const fn float(value: &Value) -> f64 {
    match value {
        Value::Int(value) => *value as f64,
        Value::Float(value) => *value,
        _ => 0.0,
    }
}

fn ordered(arguments: &[Value], wanted: fn(Ordering) -> bool) -> Outcome {
    let (a, b) = (&arguments[0], &arguments[1]);
    let order = match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Unset) => Some((**a).cmp("")),
        (Value::Unset, Value::Text(b)) => Some("".cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Int(_) | Value::Float(_) | Value::Unset, Value::Int(_) | Value::Float(_) | Value::Unset) => {
            return Ok(Value::Bool(float(a).partial_cmp(&float(b)).is_some_and(wanted)));
        }
        _ => None,
    };
    let order = order.ok_or_else(|| format!("{} and {} have no order", a.kind(), b.kind()))?;
    Ok(Value::Bool(wanted(order)))
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::Unset | Value::Text(_) => "string",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::List(_) => "slice",
        Value::Map(_) => "map",
    }
}

const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
        other => kind(other),
    }
}
