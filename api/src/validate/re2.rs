// SPDX-License-Identifier: Apache-2.0
//! Whether Envoy would take a regular expression. Envoy compiles them with RE2 (<https://github.com/google/re2/wiki/Syntax>), which has
//! no look-around and no back-references and bounds repetition; a refused one would make the proxy reject a whole configuration.
//! The syntax is walked once, counting how many instructions RE2 needs.

/// Characters of an expression at most; Istio's bound.
const LENGTH: usize = 1024;
/// RE2's bound of a repetition, also of nested ones together.
const REPEAT: u64 = 1000;
/// Instructions at most: what Istio's bootstrap sets as `re2.max_program_size.error_level`.
const PROGRAM: u64 = 32768;
/// Groups in groups at most.
const DEPTH: usize = 200;

/// Whether Envoy (RE2) takes a regular expression.
///
/// # Errors
/// What is wrong with it.
pub fn check(expression: &str) -> Result<(), String> {
    if expression.is_empty() {
        return Err("the regular expression must not be empty".to_owned());
    }
    if expression.len() > LENGTH {
        return Err(format!("the regular expression is longer than {LENGTH} characters"));
    }
    let mut walk = Walk { rest: expression, names: Vec::new() };
    let wrong = |reason: String| format!("{expression:?} is not a regular expression that Envoy (RE2) takes: {reason}");
    let size = walk.alternatives(0).map_err(wrong)?;
    if !walk.rest.is_empty() {
        return Err(wrong("unexpected )".to_owned()));
    }
    if size.program > PROGRAM {
        return Err(wrong(format!("it is too large: about {} instructions of at most {PROGRAM}", size.program)));
    }
    Ok(())
}

/// How large a part is.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Instructions.
    program: u64,
    /// The product of nested repetitions.
    repeat: u64,
}

impl Size {
    const fn of(program: u64) -> Self {
        Self { program, repeat: 1 }
    }
}

struct Walk<'a> {
    rest: &'a str,
    names: Vec<&'a str>,
}

type Parsed<T> = Result<T, String>;

impl<'a> Walk<'a> {
    fn eat(&mut self, text: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(text) else { return false };
        self.rest = rest;
        true
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn alternatives(&mut self, depth: usize) -> Parsed<Size> {
        if depth > DEPTH {
            return Err("groups are nested too deep".to_owned());
        }
        let mut total = Size::of(1);
        let mut last: Option<Size> = None;
        let mut repeated = false;
        while let Some(c) = self.rest.chars().next() {
            if c == ')' {
                break;
            }
            if c == '|' {
                self.next();
                total.program += 1;
                (last, repeated) = (None, false);
                continue;
            }
            if let Some(times) = self.repetition()? {
                let Some(size) = last else { return Err("nothing to repeat before an operator".to_owned()) };
                if repeated {
                    return Err("an operator repeats another, as in a**".to_owned());
                }
                let repeat = size.repeat.saturating_mul(times.max(1));
                if repeat > REPEAT {
                    return Err(format!("it repeats more than {REPEAT} times"));
                }
                total.program = total.program.saturating_add(size.program.saturating_mul(times.max(1) - 1) + 1);
                total.repeat = total.repeat.max(repeat);
                repeated = true;
                continue;
            }
            let size = self.atom(depth)?;
            total.program = total.program.saturating_add(size.program);
            total.repeat = total.repeat.max(size.repeat);
            (last, repeated) = (Some(size), false);
        }
        Ok(total)
    }

    /// An operator such as `*` or `{2,5}`, with the `?` that makes it lazy: how often at most the part before it stands in the program.
    /// Braces that are no repetition stand for themselves.
    fn repetition(&mut self) -> Parsed<Option<u64>> {
        let times = match self.rest.chars().next() {
            Some('*' | '+' | '?') => {
                self.next();
                1
            }
            Some('{') => {
                let Some((inner, tail)) = self.rest[1..].split_once('}') else { return Ok(None) };
                let (low, high) = inner.split_once(',').unwrap_or((inner, inner));
                let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                if !number(low) || !(high.is_empty() || number(high)) {
                    return Ok(None);
                }
                let low: u64 = low.parse().unwrap_or(u64::MAX);
                let high: u64 = if high.is_empty() { low.saturating_add(1) } else { high.parse().unwrap_or(u64::MAX) };
                if low > REPEAT || high > REPEAT + 1 || low > high {
                    return Err(format!(
                        "the repetition {{{inner}}} is wrong: at most {REPEAT}, the smaller number first"
                    ));
                }
                self.rest = tail;
                high.min(REPEAT)
            }
            _ => return Ok(None),
        };
        self.eat("?");
        Ok(Some(times))
    }

    fn atom(&mut self, depth: usize) -> Parsed<Size> {
        match self.next() {
            Some('(') => self.group(depth),
            Some('[') => self.class(),
            Some('\\') => self.escape(),
            Some('.') => Ok(Size::of(6)),
            Some('^' | '$') => Ok(Size::of(1)),
            Some(c) => Ok(Size::of(c.len_utf8() as u64)),
            None => Ok(Size::default()),
        }
    }

    fn group(&mut self, depth: usize) -> Parsed<Size> {
        if self.eat("?P<")
            || self.rest.starts_with("?<")
                && !self.rest.starts_with("?<=")
                && !self.rest.starts_with("?<!")
                && self.eat("?<")
        {
            let Some((name, tail)) = self.rest.split_once('>') else {
                return Err("a group's name has no end".to_owned());
            };
            if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') || self.names.contains(&name) {
                return Err(format!("the group name {name:?} is wrong or used twice"));
            }
            self.names.push(name);
            self.rest = tail;
        } else if self.eat("?") {
            match self.rest.chars().next() {
                Some('=' | '!') => return Err("look-ahead is not supported".to_owned()),
                Some('<') => return Err("look-behind is not supported".to_owned()),
                Some('P') => return Err("only (?P<name>...) may start with (?P".to_owned()),
                _ => {}
            }
            let Some(end) = self.rest.find([':', ')']) else { return Err("a group has no end".to_owned()) };
            let (flags, tail) = self.rest.split_at(end);
            let minus = flags.matches('-').count();
            if !flags.chars().all(|c| "imsU-".contains(c)) || minus > 1 || flags.ends_with('-') && minus > 0 {
                return Err(format!("(?{flags} is no group that is supported"));
            }
            self.rest = tail;
            if self.eat(")") {
                return if flags.is_empty() { Err("(?) sets no flag".to_owned()) } else { Ok(Size::default()) };
            }
            self.eat(":");
        }
        let mut size = self.alternatives(depth + 1)?;
        if !self.eat(")") {
            return Err("missing )".to_owned());
        }
        size.program = size.program.saturating_add(2);
        Ok(size)
    }

    /// What follows a backslash outside of a class.
    fn escape(&mut self) -> Parsed<Size> {
        match self.next() {
            None => Err("it ends with a backslash".to_owned()),
            Some('A' | 'z' | 'b' | 'B') => Ok(Size::of(1)),
            Some('C') => Ok(Size::of(1)),
            Some('Q') => {
                let end = self.rest.find("\\E").unwrap_or(self.rest.len());
                let size = Size::of(end as u64);
                self.rest = self.rest[end..].strip_prefix("\\E").unwrap_or("");
                Ok(size)
            }
            Some('E') => Ok(Size::default()),
            Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => Ok(Size::of(6)),
            Some('p' | 'P') => self.unicode().map(|()| Size::of(40)),
            Some(c) => self.character(c).map(|_| Size::of(1)),
        }
    }

    /// A Unicode class after `\p`.
    fn unicode(&mut self) -> Parsed<()> {
        let name = if self.eat("{") {
            let Some((name, tail)) = self.rest.split_once('}') else { return Err("a \\p{ has no end".to_owned()) };
            self.rest = tail;
            name.strip_prefix('^').unwrap_or(name).to_owned()
        } else {
            self.next().map(String::from).unwrap_or_default()
        };
        const CATEGORIES: &[&str] = &[
            "Any", "C", "Cc", "Cf", "Cs", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd",
            "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp",
            "Zs",
        ];
        // Scripts are long names such as Greek or Han.
        let script = name.len() > 2
            && name.chars().next().is_some_and(|c| c.is_ascii_uppercase())
            && regex::Regex::new(&format!("\\p{{sc={name}}}")).is_ok();
        if CATEGORIES.contains(&name.as_str()) || script {
            Ok(())
        } else {
            Err(format!("\\p{{{name}}} is not a class that is known"))
        }
    }

    /// A character after a backslash.
    fn character(&mut self, c: char) -> Parsed<char> {
        match c {
            'a' => Ok('\u{7}'),
            'f' => Ok('\u{c}'),
            't' => Ok('\t'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            'v' => Ok('\u{b}'),
            'x' => {
                let digits = if self.eat("{") {
                    let Some((digits, tail)) = self.rest.split_once('}') else {
                        return Err("a \\x{ has no end".to_owned());
                    };
                    self.rest = tail;
                    digits
                } else {
                    let digits = self.rest.get(..2).ok_or("\\x needs two digits")?;
                    self.rest = &self.rest[2..];
                    digits
                };
                let number = u32::from_str_radix(digits, 16).ok();
                number.and_then(char::from_u32).ok_or_else(|| format!("\\x{digits} is not a character"))
            }
            '0' => {
                let digits = self.rest.len() - self.rest.trim_start_matches(|c: char| ('0'..='7').contains(&c)).len();
                let digits = digits.min(2);
                let number = u32::from_str_radix(&format!("0{}", &self.rest[..digits]), 8).unwrap_or_default();
                self.rest = &self.rest[digits..];
                Ok(char::from_u32(number).unwrap_or_default())
            }
            '1'..='9' => {
                let octal = self.rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                if octal == 0 || c > '7' {
                    return Err(format!("\\{c}: back-references are not supported"));
                }
                let number = u32::from_str_radix(&format!("{c}{}", &self.rest[..octal]), 8).unwrap_or_default();
                self.rest = &self.rest[octal..];
                Ok(char::from_u32(number).unwrap_or_default())
            }
            c if c.is_ascii_punctuation() && c != '_' || c == ' ' => Ok(c),
            c => Err(format!("\\{c} is not an escape that is supported")),
        }
    }

    /// What follows `[`.
    fn class(&mut self) -> Parsed<Size> {
        self.eat("^");
        let mut program = 1;
        let mut first = true;
        loop {
            if !std::mem::take(&mut first) && self.eat("]") {
                return Ok(Size::of(program));
            }
            if let Some(tail) = self.rest.strip_prefix("[:")
                && let Some((name, tail)) = tail.split_once(":]")
            {
                const NAMES: &[&str] = &[
                    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
                    "upper", "word", "xdigit",
                ];
                if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return Err(format!("[:{name}:] is not a class that is known"));
                }
                self.rest = tail;
                program += 4;
                continue;
            }
            let Some(low) = self.class_item()? else {
                program += 10;
                continue;
            };
            program += low.len_utf8() as u64;
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.next();
                match self.class_item()? {
                    Some(high) if high >= low => program += 4,
                    _ => return Err("a class has a range that is wrong".to_owned()),
                }
            }
        }
    }

    /// A character of a class, or none when it was a class of its own such as `\d`.
    fn class_item(&mut self) -> Parsed<Option<char>> {
        match self.next() {
            None => Err("missing ]".to_owned()),
            Some('\\') => match self.next() {
                None => Err("it ends with a backslash".to_owned()),
                Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => Ok(None),
                Some('p' | 'P') => self.unicode().map(|()| None),
                Some(c) => self.character(c).map(Some),
            },
            Some(c) => Ok(Some(c)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_re2_takes() {
        for expression in [
            ".*",
            "^/api/v[0-9]+/.*$",
            "(?i)abc",
            "(?:a|b)*?",
            "a{2,5}",
            "a{2,}?",
            "a{,5}",
            "{",
            "[]a]",
            "[^]a-]",
            "[[:alpha:]_]",
            r"\d+\.\w",
            r"\Qa.b\E+",
            r"(?P<n>x)(?<m>y)",
            r"\pN\p{Greek}\p{^Lu}",
            r"[\d\-a]",
            r"\x{10FFFF}\x41",
            r"a\/b",
            "a|",
            "(|a)",
            r"\123",
            "[a-z&&b]",
            "^*",
            "(?s:.)",
            "(?i-s:x)",
        ] {
            assert_eq!(check(expression), Ok(()), "{expression}");
        }
    }

    #[test]
    fn what_re2_refuses() {
        for expression in [
            "",
            "(",
            ")",
            "a)",
            "[",
            "[z-a]",
            "*a",
            "a**",
            "a|*",
            "(?=a)",
            "(?!a)",
            "(?<=a)",
            "(?<!a)",
            r"(a)\1",
            r"\8",
            r"a\",
            "a{1001}",
            "(a{100}){100}",
            "a{5,2}",
            "(?x)a",
            "(?P<n>a)(?P<n>b)",
            "(?P=n)",
            r"\p{Nope}",
            r"\Z",
            r"\k",
            "[[:nope:]]",
            r"\u0041",
            "(?>a)",
            "(?#c)",
            r"[\8]",
        ] {
            assert!(check(expression).is_err(), "{expression}");
        }
        assert!(check(&"a".repeat(1025)).is_err());
        assert!(check(&format!("{}{}", "(".repeat(300), ")".repeat(300))).is_err());
        assert!(check(r"(\p{L}{300}){3}").unwrap_err().contains("too large"));
    }
}
