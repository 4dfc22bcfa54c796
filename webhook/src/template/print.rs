// SPDX-License-Identifier: Apache-2.0
//! Values as text, as Go's `fmt` writes them.

use std::fmt::Write;

use super::value::Value;

/// Writes what an action gives.
pub fn output(value: &Value, output: &mut String) {
    if matches!(value, Value::Nil) {
        output.push_str("<no value>");
    } else {
        write_value(value, output);
    }
}

/// As `%v` writes it.
pub fn show(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, &mut text);
    text
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Nil => out.push_str("<nil>"),
        Value::Unset => {}
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => _ = write!(out, "{value}"),
        Value::Float(value) => out.push_str(&float(*value)),
        Value::Text(value) => out.push_str(value),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { " " } else { "" });
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (index, (key, item)) in map.entries.iter().enumerate() {
                out.push_str(if index > 0 { " " } else { "" });
                out.push_str(key);
                out.push(':');
                write_value(item, out);
            }
            out.push(']');
        }
    }
}

/// The shortest form; with an exponent when the number is very small or very large.
fn float(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) { exponent(&format!("{value:e}")) } else { value.to_string() }
}

/// `1.5e7` as Go writes it: `1.5e+07`.
fn exponent(text: &str) -> String {
    let Some((digits, power)) = text.split_once('e') else { return text.to_owned() };
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}

/// A text in double quotes with Go's escapes.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_control() && u32::from(c) < 0x80 => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c if c.is_control() => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What stands between the percent sign and the verb.
#[derive(Default)]
struct Flags {
    left: bool,
    zero: bool,
    plus: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// The longest that a width or precision may ask for.
const WIDEST: usize = 10_000;

/// `printf`.
pub fn printf(format: &str, arguments: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        let (flags, verb, after) = flags(rest)?;
        rest = after;
        match verb {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match arguments.next() {
                None => _ = write!(out, "%!{verb}(MISSING)"),
                Some(value) => verb_text(verb, &flags, value, &mut out)?,
            },
        }
    }
    out.push_str(rest);
    let extra: Vec<String> = arguments.map(|value| format!("{}={}", go_type(value), show(value))).collect();
    if !extra.is_empty() {
        let _ = write!(out, "%!(EXTRA {})", extra.join(", "));
    }
    Ok(out)
}

fn flags(mut rest: &str) -> Result<(Flags, Option<char>, &str), String> {
    let mut flags = Flags::default();
    while let Some(c) = rest.chars().next().filter(|c| "-+# 0".contains(*c)) {
        flags.left |= c == '-';
        flags.plus |= c == '+';
        flags.sharp |= c == '#';
        flags.zero |= c == '0';
        rest = &rest[1..];
    }
    let number = |rest: &mut &str| -> Result<Option<usize>, String> {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(end);
        *rest = tail;
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse().ok().filter(|n| *n <= WIDEST);
        number.map(Some).ok_or_else(|| format!("a width of {digits} is too much"))
    };
    flags.width = number(&mut rest)?.unwrap_or(0);
    if let Some(tail) = rest.strip_prefix('.') {
        rest = tail;
        flags.precision = Some(number(&mut rest)?.unwrap_or(0));
    }
    let verb = rest.chars().next();
    if matches!(verb, Some('*' | '[')) {
        return Err("a width or position from an argument is not supported".to_owned());
    }
    Ok((flags, verb, &rest[verb.map_or(0, char::len_utf8)..]))
}

const fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Unset | Value::Text(_) => "string",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
    }
}

fn verb_text(verb: char, flags: &Flags, value: &Value, out: &mut String) -> Result<(), String> {
    // Numbers of values have one type here: a whole one takes the verbs of both.
    let whole = match value {
        Value::Int(value) => Some(*value),
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and not too large")]
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(*value as i64),
        Value::Unset => Some(0),
        _ => None,
    };
    let number = match value {
        #[allow(clippy::cast_precision_loss, reason = "as Go converts")]
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        Value::Unset => Some(0.0),
        _ => None,
    };
    let text = match value {
        Value::Text(text) => Some(&**text),
        Value::Unset => Some(""),
        _ => None,
    };
    let cut = |text: &str| text.chars().take(flags.precision.unwrap_or(usize::MAX)).collect::<String>();
    let shown = match verb {
        'v' => Some(show(value)),
        's' => Some(text.map_or_else(|| show(value), cut)),
        'q' => text.map(|text| quote(&cut(text))),
        't' => match value {
            Value::Bool(_) => Some(show(value)),
            Value::Unset => Some("false".to_owned()),
            _ => None,
        },
        'd' => whole.map(|n| if flags.plus && n >= 0 { format!("+{n}") } else { n.to_string() }),
        'b' => whole.map(|n| format!("{n:b}")),
        'o' => whole.map(|n| format!("{n:o}")),
        'c' => whole.and_then(|n| u32::try_from(n).ok()).and_then(char::from_u32).map(String::from),
        'x' => whole
            .map(|n| hex(n, flags.sharp))
            .or_else(|| text.map(|text| text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")))),
        'X' => whole.map(|n| hex(n, flags.sharp).to_uppercase()),
        'f' | 'F' => number.map(|n| format!("{n:.*}", flags.precision.unwrap_or(6))),
        'e' => number.map(|n| exponent(&format!("{n:.*e}", flags.precision.unwrap_or(6)))),
        'g' => number.map(float),
        'T' => Some(go_type(value).to_owned()),
        _ => return Err(format!("the verb %{verb} is not supported")),
    };
    // As Go does, a wrong type is written, not refused.
    let shown = shown.unwrap_or_else(|| format!("%!{verb}({}={})", go_type(value), show(value)));
    let missing = flags.width.saturating_sub(shown.chars().count());
    if flags.left {
        out.push_str(&shown);
        out.extend(std::iter::repeat_n(' ', missing));
    } else if flags.zero && number.is_some() {
        let (sign, digits) = shown.strip_prefix('-').map_or(("", shown.as_str()), |digits| ("-", digits));
        out.push_str(sign);
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(digits);
    } else {
        out.extend(std::iter::repeat_n(' ', missing));
        out.push_str(&shown);
    }
    Ok(())
}

fn hex(number: i64, sharp: bool) -> String {
    format!("{}{}{:x}", if number < 0 { "-" } else { "" }, if sharp { "0x" } else { "" }, number.unsigned_abs())
}
