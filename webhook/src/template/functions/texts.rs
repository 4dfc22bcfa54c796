// SPDX-License-Identifier: Apache-2.0
//! Texts.

use regex::Regex;

use super::{Function, Outcome, int, list, text};
use crate::template::print::{self, quote, show};
use crate::template::value::{MapKind, Value};

/// The longest text that a function makes out of a shorter one.
const LONGEST: usize = 1 << 20;

pub const TABLE: &[Function] = &[
    Function::new("print", 0, None, |a| Ok(Value::text(sprint(a)))),
    Function::new("println", 0, None, |a| Ok(Value::text(a.iter().map(show).collect::<Vec<_>>().join(" ") + "\n"))),
    Function::new("printf", 1, None, |a| print::printf(text(a, 0)?, &a[1..]).map(Value::text)),
    Function::new("quote", 0, None, |a| Ok(Value::text(each(a, |text| quote(&text))))),
    Function::new("squote", 0, None, |a| Ok(Value::text(each(a, |text| format!("'{text}'"))))),
    Function::new("toString", 1, Some(1), |a| Ok(Value::text(show(&a[0])))),
    Function::new("toStrings", 1, Some(1), |a| {
        Ok(Value::list(list(a, 0)?.iter().map(|v| Value::text(show(v))).collect()))
    }),
    Function::new("cat", 0, None, |a| Ok(Value::text(each(a, |text| text)))),
    Function::new("trim", 1, Some(1), |a| Ok(Value::text(text(a, 0)?.trim()))),
    Function::new("trimAll", 2, Some(2), |a| with(a, |set, text| text.trim_matches(|c| set.contains(c)))),
    Function::new("trimPrefix", 2, Some(2), |a| with(a, |end, text| text.strip_prefix(end).unwrap_or(text))),
    Function::new("trimSuffix", 2, Some(2), |a| with(a, |end, text| text.strip_suffix(end).unwrap_or(text))),
    Function::new("trunc", 2, Some(2), |a| {
        let (count, text) = (int(a, 0)?, text(a, 1)?);
        let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(Value::text(match count {
            0.. => &text[..text.floor_char_boundary(size)],
            _ => &text[text.ceil_char_boundary(text.len().saturating_sub(size))..],
        }))
    }),
    Function::new("abbrev", 2, Some(2), |a| {
        let (size, text) = (usize::try_from(int(a, 0)?).unwrap_or(0), text(a, 1)?);
        let long = size >= 4 && text.len() > size;
        Ok(Value::text(if long {
            format!("{}...", &text[..text.floor_char_boundary(size - 3)])
        } else {
            text.to_owned()
        }))
    }),
    Function::new("substr", 3, Some(3), |a| {
        let text = text(a, 2)?;
        let bound = |at: i64, missing| usize::try_from(at).map_or(missing, |at| at.min(text.len()));
        let (from, to) = (bound(int(a, 0)?, 0), bound(int(a, 1)?, text.len()));
        text.get(from..to)
            .map(Value::text)
            .ok_or_else(|| "it cuts a character in two, or ends before it starts".to_owned())
    }),
    Function::new("upper", 1, Some(1), |a| Ok(Value::text(text(a, 0)?.to_uppercase()))),
    Function::new("lower", 1, Some(1), |a| Ok(Value::text(text(a, 0)?.to_lowercase()))),
    Function::new("title", 1, Some(1), |a| Ok(Value::text(words(text(a, 0)?, char::to_uppercase)))),
    Function::new("untitle", 1, Some(1), |a| Ok(Value::text(words(text(a, 0)?, char::to_lowercase)))),
    Function::new("nospace", 1, Some(1), |a| Ok(Value::text(text(a, 0)?.split_whitespace().collect::<String>()))),
    Function::new("repeat", 2, Some(2), |a| {
        let (count, text) = (usize::try_from(int(a, 0)?).unwrap_or(0), text(a, 1)?);
        let short = count.checked_mul(text.len()).is_some_and(|size| size <= LONGEST);
        if short { Ok(Value::text(text.repeat(count))) } else { Err(format!("more than {LONGEST} bytes")) }
    }),
    Function::new("replace", 3, Some(3), |a| Ok(Value::text(text(a, 2)?.replace(text(a, 0)?, text(a, 1)?)))),
    Function::new("hasPrefix", 2, Some(2), |a| Ok(Value::Bool(text(a, 1)?.starts_with(text(a, 0)?)))),
    Function::new("hasSuffix", 2, Some(2), |a| Ok(Value::Bool(text(a, 1)?.ends_with(text(a, 0)?)))),
    Function::new("nindent", 2, Some(2), |a| {
        let pad = " ".repeat(usize::try_from(int(a, 0)?).unwrap_or(0).min(1000));
        Ok(Value::text(format!("\n{pad}{}", text(a, 1)?.replace('\n', &format!("\n{pad}")))))
    }),
    Function::new("join", 2, Some(2), |a| {
        let items = match &a[1] {
            Value::List(items) => items.iter().filter(|item| !matches!(item, Value::Nil)).map(show).collect(),
            Value::Nil | Value::Unset => Vec::new(),
            other => vec![show(other)],
        };
        Ok(Value::text(items.join(text(a, 0)?)))
    }),
    Function::new("splitList", 2, Some(2), |a| {
        Ok(Value::list(text(a, 1)?.split(text(a, 0)?).map(Value::text).collect()))
    }),
    Function::new("split", 2, Some(2), |a| numbered(text(a, 1)?.split(text(a, 0)?))),
    Function::new("splitn", 3, Some(3), |a| {
        numbered(text(a, 2)?.splitn(usize::try_from(int(a, 1)?).unwrap_or(usize::MAX), text(a, 0)?))
    }),
    Function::new("base", 1, Some(1), |a| {
        let path = text(a, 0)?.trim_end_matches('/');
        let name = path.rsplit('/').next().unwrap_or_default();
        Ok(Value::text(if name.is_empty() { if text(a, 0)?.is_empty() { "." } else { "/" } } else { name }))
    }),
    Function::new("dir", 1, Some(1), |a| {
        Ok(Value::text(match text(a, 0)?.rsplit_once('/') {
            None => ".",
            Some(("", _)) => "/",
            Some((folder, _)) => folder,
        }))
    }),
    Function::new("ext", 1, Some(1), |a| {
        let name = text(a, 0)?.rsplit('/').next().unwrap_or_default();
        Ok(Value::text(name.rfind('.').map_or("", |dot| &name[dot..])))
    }),
    Function::new("regexMatch", 2, Some(2), |a| Ok(Value::Bool(regex(text(a, 0)?)?.is_match(text(a, 1)?)))),
    Function::new("regexFind", 2, Some(2), |a| {
        Ok(Value::text(regex(text(a, 0)?)?.find(text(a, 1)?).map_or("", |found| found.as_str())))
    }),
    Function::new("regexFindAll", 3, Some(3), |a| {
        let most = usize::try_from(int(a, 2)?).unwrap_or(usize::MAX);
        let regex = regex(text(a, 0)?)?;
        Ok(Value::list(regex.find_iter(text(a, 1)?).take(most).map(|found| Value::text(found.as_str())).collect()))
    }),
    Function::new("regexReplaceAll", 3, Some(3), |a| {
        Ok(Value::text(regex(text(a, 0)?)?.replace_all(text(a, 1)?, text(a, 2)?)))
    }),
    Function::new("regexReplaceAllLiteral", 3, Some(3), |a| {
        Ok(Value::text(regex(text(a, 0)?)?.replace_all(text(a, 1)?, regex::NoExpand(text(a, 2)?))))
    }),
    Function::new("regexSplit", 3, Some(3), |a| {
        let most = usize::try_from(int(a, 2)?).unwrap_or(usize::MAX);
        Ok(Value::list(regex(text(a, 0)?)?.splitn(text(a, 1)?, most).map(Value::text).collect()))
    }),
];

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| error.to_string())
}

/// Go's `Sprint`: a space stands between values of which neither is a text.
fn sprint(arguments: &[Value]) -> String {
    let mut out = String::new();
    for (index, value) in arguments.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_) | Value::Unset);
        if index > 0 && !is_text(value) && !is_text(&arguments[index - 1]) {
            out.push(' ');
        }
        out.push_str(&show(value));
    }
    out
}

/// Each value that is something, written by `form`, with spaces between.
fn each(arguments: &[Value], form: impl Fn(String) -> String) -> String {
    let there = arguments.iter().filter(|value| !matches!(value, Value::Nil));
    there.map(|value| form(show(value))).collect::<Vec<_>>().join(" ")
}

fn with<'a>(arguments: &'a [Value], f: impl Fn(&'a str, &'a str) -> &'a str) -> Outcome {
    Ok(Value::text(f(text(arguments, 0)?, text(arguments, 1)?)))
}

/// The text with the first letter of each word changed.
fn words<I: Iterator<Item = char>>(text: &str, change: impl Fn(char) -> I) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside || c.is_whitespace() {
            out.push(c);
        } else {
            out.extend(change(c));
        }
        inside = !c.is_whitespace();
    }
    out
}

/// Parts of a text as sprig's `split` gives them: a map with the keys `_0`, `_1` ...
fn numbered<'a>(parts: impl Iterator<Item = &'a str>) -> Outcome {
    Ok(Value::map(MapKind::Texts, parts.enumerate().map(|(at, part)| (format!("_{at}"), Value::text(part)))))
}
