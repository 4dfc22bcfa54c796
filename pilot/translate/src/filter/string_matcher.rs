// SPDX-License-Identifier: Apache-2.0
//! Matchers of texts as policies write them: exact, `*` alone, `prefix*`, `*suffix`.

use tiphys_proto::envoy::config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};
use tiphys_proto::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};

/// Matches one pattern kind.
pub fn pattern(pattern: MatchPattern, ignore_case: bool) -> StringMatcher {
    StringMatcher { match_pattern: Some(pattern), ignore_case }
}

/// Matches a regular expression.
pub fn regex(text: impl Into<String>) -> StringMatcher {
    pattern(MatchPattern::SafeRegex(RegexMatcher { regex: text.into(), ..Default::default() }), false)
}

/// Matches a value with `*` at an end, or any text for `*` alone; every text that it matches starts with `prefix`.
pub fn wildcard(value: &str, prefix: &str) -> StringMatcher {
    if value == "*" {
        return regex(".+");
    }
    if let Some(start) = value.strip_suffix('*').filter(|_| !value.starts_with('*')) {
        return pattern(MatchPattern::Prefix(format!("{prefix}{start}")), false);
    }
    match value.strip_prefix('*') {
        Some(end) if prefix.is_empty() => pattern(MatchPattern::Suffix(end.into()), false),
        Some(end) => regex(format!("{prefix}.*{}", quote(end))),
        None => pattern(MatchPattern::Exact(format!("{prefix}{value}")), false),
    }
}

/// Matches a header against a value with `*` at an end; `*` alone asks that the header is there.
pub fn header(name: &str, value: &str, ignore_case: bool) -> HeaderMatcher {
    let specifier = match value {
        "*" => HeaderMatchSpecifier::PresentMatch(true),
        _ => {
            let kind = if let Some(end) = value.strip_prefix('*') {
                MatchPattern::Suffix(end.into())
            } else if let Some(start) = value.strip_suffix('*') {
                MatchPattern::Prefix(start.into())
            } else {
                MatchPattern::Exact(value.into())
            };
            HeaderMatchSpecifier::StringMatch(pattern(kind, ignore_case))
        }
    };
    HeaderMatcher { name: name.into(), header_match_specifier: Some(specifier), ..Default::default() }
}

/// A text with all that regular expressions take for more than themselves escaped.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_at_either_end() {
        let of = |value: &str, prefix: &str| wildcard(value, prefix).match_pattern.unwrap();
        assert_eq!(of("a*", ""), MatchPattern::Prefix("a".into()));
        assert_eq!(of("*a", ""), MatchPattern::Suffix("a".into()));
        assert_eq!(of("a", "spiffe://"), MatchPattern::Exact("spiffe://a".into()));
        assert_eq!(wildcard("*/sa/a.b", "spiffe://"), regex(r"spiffe://.*/sa/a\.b"));
        assert_eq!(wildcard("*", "spiffe://"), regex(".+"));
    }
}
