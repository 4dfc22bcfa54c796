// SPDX-License-Identifier: Apache-2.0
//! The functions of templates: Go's own (<https://pkg.go.dev/text/template#hdr-Functions>), those of sprig
//! (<https://masterminds.github.io/sprig/>) that depend on their arguments alone, and those that Istio adds for injection.

mod collections;
mod encode;
mod injection;
mod logic;
mod maths;
mod texts;

pub use injection::MESSAGE;

use super::value::Value;

/// What a function gives, or why it does not.
pub type Outcome = Result<Value, String>;

/// A function.
#[derive(Debug)]
pub struct Function {
    /// Its name in templates.
    pub name: &'static str,
    /// Arguments that it needs.
    pub least: usize,
    /// Arguments that it takes; none means any number.
    pub most: Option<usize>,
    /// What it does.
    pub call: fn(&[Value]) -> Outcome,
}

impl Function {
    const fn new(name: &'static str, least: usize, most: Option<usize>, call: fn(&[Value]) -> Outcome) -> Self {
        Self { name, least, most, call }
    }

    /// How many arguments it takes, for messages.
    pub fn arguments(&self) -> String {
        match (self.least, self.most) {
            (least, None) => format!("{least} or more arguments"),
            (least, Some(most)) if least == most => format!("{least} arguments"),
            (least, Some(most)) => format!("{least} to {most} arguments"),
        }
    }
}

/// The first table that has a name wins: Istio's functions take the place of sprig's.
static TABLES: [&[Function]; 6] =
    [injection::TABLE, logic::TABLE, texts::TABLE, collections::TABLE, encode::TABLE, maths::TABLE];

/// Functions of Go and sprig that are refused, and why.
const REFUSED: &[(&[&str], &str)] = &[
    (&["set", "unset"], "it changes a map in place: use merge, pick or omit, which give a new one"),
    (
        &[
            "now",
            "date",
            "dateInZone",
            "date_modify",
            "dateModify",
            "ago",
            "htmlDate",
            "unixEpoch",
            "toDate",
            "mustToDate",
        ],
        "what is injected must not depend on the time",
    ),
    (
        &["randAlpha", "randAlphaNum", "randAscii", "randNumeric", "randBytes", "randInt", "shuffle", "uuidv4"],
        "what is injected must not depend on chance",
    ),
    (
        &["genPrivateKey", "genCA", "genSelfSignedCert", "genSignedCert", "derivePassword", "bcrypt", "htpasswd"],
        "injection makes no secrets",
    ),
    (&["getHostByName", "expandenv"], "what is injected must not depend on the machine"),
    (&["call", "html", "js", "urlquery"], "it has no use in a pod"),
];

/// The function of a name, or why there is none.
pub fn find(name: &str) -> Result<&'static Function, String> {
    let found = TABLES.iter().flat_map(|table| table.iter()).find(|function| function.name == name);
    found.ok_or_else(|| match REFUSED.iter().find(|(names, _)| names.contains(&name)) {
        Some((_, why)) => format!("function {name} is not supported: {why}"),
        None => format!("function {name} is not defined"),
    })
}

/// A number as Go's templates write it.
pub fn number(text: &str) -> Option<Value> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let plain = digits.replace('_', "");
    let lower = plain.to_ascii_lowercase();
    let radix = match lower.get(..2) {
        Some("0x") => Some((16, &lower[2..])),
        Some("0o") => Some((8, &lower[2..])),
        Some("0b") => Some((2, &lower[2..])),
        _ if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit()) => {
            Some((8, &lower[1..]))
        }
        _ => None,
    };
    if let Some((radix, digits)) = radix {
        return i64::from_str_radix(digits, radix).ok().map(|value| Value::Int(sign * value));
    }
    if lower.bytes().all(|b| b.is_ascii_digit()) {
        return format!("{}{lower}", if sign < 0 { "-" } else { "" }).parse().ok().map(Value::Int);
    }
    if !lower.bytes().all(|b| b.is_ascii_digit() || b".e+-".contains(&b)) {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "it is 1 or -1")]
    let value = lower.parse::<f64>().ok().filter(|value| value.is_finite()).map(|value| value * sign as f64);
    value.map(Value::Float)
}

/// An argument that has to be a text.
fn text(arguments: &[Value], at: usize) -> Result<&str, String> {
    match arguments.get(at) {
        Some(Value::Text(text)) => Ok(text),
        Some(Value::Unset) => Ok(""),
        Some(other) => Err(format!("argument {} is {}: a text is needed", at + 1, other.kind())),
        None => Err(format!("argument {} is missing", at + 1)),
    }
}

/// An argument that has to be a whole number.
fn int(arguments: &[Value], at: usize) -> Result<i64, String> {
    match arguments.get(at) {
        Some(Value::Int(value)) => Ok(*value),
        Some(Value::Unset) => Ok(0),
        Some(other) => Err(format!("argument {} is {}: a whole number is needed", at + 1, other.kind())),
        None => Err(format!("argument {} is missing", at + 1)),
    }
}

/// An argument that has to be a list.
fn list(arguments: &[Value], at: usize) -> Result<&[Value], String> {
    match arguments.get(at) {
        Some(Value::List(items)) => Ok(items),
        Some(Value::Unset | Value::Nil) => Ok(&[]),
        Some(other) => Err(format!("argument {} is {}: a list is needed", at + 1, other.kind())),
        None => Err(format!("argument {} is missing", at + 1)),
    }
}

/// The argument at a place; nothing when it is not there.
fn value(arguments: &[Value], at: usize) -> &Value {
    arguments.get(at).unwrap_or(&Value::Nil)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_used_once_but_for_what_istio_replaces() {
        let mut seen = std::collections::BTreeSet::new();
        for table in &TABLES[1..] {
            for function in *table {
                assert!(seen.insert(function.name), "{} is there twice", function.name);
            }
        }
        for function in TABLES.iter().flat_map(|table| table.iter()) {
            assert!(!REFUSED.iter().any(|(names, _)| names.contains(&function.name)), "{}", function.name);
            assert!(function.most.is_none_or(|most| most >= function.least), "{}", function.name);
        }
    }

    #[test]
    fn numbers() {
        for (text, wanted) in [("7", 7), ("-7", -7), ("0x1f", 31), ("017", 15), ("0b11", 3), ("1_000", 1000)] {
            assert!(matches!(number(text), Some(Value::Int(value)) if value == wanted), "{text}");
        }
        assert!(matches!(number("1.5e3"), Some(Value::Float(value)) if value == 1500.0));
        for text in ["1x", "inf", "0x", "--1", "1i", "99999999999999999999"] {
            assert!(number(text).is_none(), "{text}");
        }
    }
}
