// SPDX-License-Identifier: Apache-2.0
//! Whole numbers, as sprig reckons with them: what is no number counts as 0, texts are read.

use super::{Function, Outcome};
use crate::template::print;
use crate::template::value::Value;

pub const TABLE: &[Function] = &[
    Function::new("int", 1, Some(1), |a| Ok(Value::Int(whole(&a[0])))),
    Function::new("int64", 1, Some(1), |a| Ok(Value::Int(whole(&a[0])))),
    Function::new("float64", 1, Some(1), |a| Ok(Value::Float(float(&a[0])))),
    Function::new("atoi", 1, Some(1), |a| Ok(Value::Int(print::show(&a[0]).parse().unwrap_or(0)))),
    Function::new("add", 0, None, |a| fold(a, 0, i64::checked_add)),
    Function::new("add1", 1, Some(1), |a| fold(a, 1, i64::checked_add)),
    Function::new("mul", 1, None, |a| fold(a, 1, i64::checked_mul)),
    Function::new("sub", 2, Some(2), |a| known(whole(&a[0]).checked_sub(whole(&a[1])))),
    Function::new("div", 2, Some(2), |a| known(whole(&a[0]).checked_div(whole(&a[1])))),
    Function::new("mod", 2, Some(2), |a| known(whole(&a[0]).checked_rem(whole(&a[1])))),
    Function::new("max", 1, None, |a| known(a.iter().map(whole).max())),
    Function::new("min", 1, None, |a| known(a.iter().map(whole).min())),
    Function::new("floor", 1, Some(1), |a| Ok(Value::Float(float(&a[0]).floor()))),
    Function::new("ceil", 1, Some(1), |a| Ok(Value::Float(float(&a[0]).ceil()))),
    Function::new("round", 2, Some(2), |a| {
        let power = 10_f64.powi(i32::try_from(whole(&a[1])).unwrap_or(0).clamp(-300, 300));
        Ok(Value::Float((float(&a[0]) * power).round() / power))
    }),
];

/// Any value as a whole number.
#[allow(clippy::cast_possible_truncation, reason = "a number that is too large becomes the largest")]
pub fn whole(value: &Value) -> i64 {
    match value {
        Value::Int(value) => *value,
        Value::Float(value) => *value as i64,
        Value::Bool(value) => i64::from(*value),
        Value::Text(text) => text.parse().unwrap_or_else(|_| float(value) as i64),
        _ => 0,
    }
}

#[allow(clippy::cast_precision_loss, reason = "as Go converts")]
fn float(value: &Value) -> f64 {
    match value {
        Value::Int(value) => *value as f64,
        Value::Float(value) => *value,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Text(text) => text.parse().ok().filter(|value: &f64| value.is_finite()).unwrap_or(0.0),
        _ => 0.0,
    }
}

fn known(value: Option<i64>) -> Outcome {
    value.map(Value::Int).ok_or_else(|| "the result is no whole number of 64 bits".to_owned())
}

fn fold(arguments: &[Value], start: i64, step: fn(i64, i64) -> Option<i64>) -> Outcome {
    known(arguments.iter().try_fold(start, |sum, value| step(sum, whole(value))))
}
