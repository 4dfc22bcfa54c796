// SPDX-License-Identifier: Apache-2.0
//! Text to tokens: text between actions, trimmed as `{{-` and `-}}` say, and the words of each action.

use super::error::TemplateError;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Token<'a> {
    /// Text between actions.
    Text(&'a str),
    /// `{{`.
    Open,
    /// `}}`.
    Close,
    /// A keyword, function, boolean or nil.
    Word(&'a str),
    /// `.name`; the name is empty for a lone dot.
    Field(&'a str),
    /// `$name`; the name is empty for a lone `$`.
    Variable(&'a str),
    /// A number.
    Number(&'a str),
    /// A quoted text or character, with its quotes.
    Quoted(&'a str),
    /// `(`, `)`, `|`, `,`, `=` or `:=`.
    Sign(&'static str),
    /// Space between words: it tells `.a.b` from `.a .b`.
    Space,
}

/// A token and where it starts in the text.
pub type Spanned<'a> = (usize, Token<'a>);

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Cuts a template's text.
pub fn lex<'a>(name: &str, text: &'a str) -> Result<Vec<Spanned<'a>>, TemplateError> {
    let mut lexer = Lexer { name, text, at: 0, tokens: Vec::new() };
    let mut trim = false;
    loop {
        let start = lexer.at;
        let Some(found) = text[start..].find("{{") else {
            lexer.text_token(start, text.len(), trim, false);
            return Ok(lexer.tokens);
        };
        let open = start + found;
        let after = &text[open + 2..];
        let trim_left = after.starts_with('-') && after[1..].starts_with(SPACE);
        lexer.text_token(start, open, trim, trim_left);
        lexer.at = open + 2 + if trim_left { 1 } else { 0 };
        trim = lexer.action(open)?;
    }
}

struct Lexer<'n, 'a> {
    name: &'n str,
    text: &'a str,
    at: usize,
    tokens: Vec<Spanned<'a>>,
}

impl<'a> Lexer<'_, 'a> {
    fn error(&self, at: usize, message: impl Into<String>) -> TemplateError {
        TemplateError::at(self.name, self.text, at, message)
    }

    fn text_token(&mut self, mut start: usize, end: usize, trim_start: bool, trim_end: bool) {
        let mut text = &self.text[start..end];
        if trim_start {
            let trimmed = text.trim_start_matches(SPACE);
            start += text.len() - trimmed.len();
            text = trimmed;
        }
        if trim_end {
            text = text.trim_end_matches(SPACE);
        }
        if !text.is_empty() {
            self.tokens.push((start, Token::Text(text)));
        }
    }

    /// Cuts one action, from behind its `{{` to behind its `}}`; says whether the text that follows is to be trimmed.
    fn action(&mut self, open: usize) -> Result<bool, TemplateError> {
        if self.text[self.at..].trim_start_matches(SPACE).starts_with("/*") {
            return self.comment(open);
        }
        self.tokens.push((open, Token::Open));
        loop {
            let at = self.at;
            let rest = &self.text[at..];
            if rest.is_empty() {
                return Err(self.error(open, "this action is not closed: }} is missing"));
            }
            let spaces = rest.len() - rest.trim_start_matches(SPACE).len();
            if rest[spaces..].starts_with("-}}") && spaces > 0 {
                self.tokens.push((at + spaces, Token::Close));
                self.at = at + spaces + 3;
                return Ok(true);
            }
            if spaces > 0 {
                self.tokens.push((at, Token::Space));
                self.at += spaces;
            } else if rest.starts_with("}}") {
                self.tokens.push((at, Token::Close));
                self.at += 2;
                return Ok(false);
            } else {
                let (token, length) = self.token(at)?;
                self.tokens.push((at, token));
                self.at += length;
            }
        }
    }

    fn comment(&mut self, open: usize) -> Result<bool, TemplateError> {
        let rest = &self.text[self.at..];
        let end = rest.find("*/").ok_or_else(|| self.error(open, "this comment is not closed: */ is missing"))?;
        let after = &rest[end + 2..];
        let close = after.trim_start_matches(SPACE);
        let spaces = after.len() - close.len();
        let (trim, length) = match close {
            close if close.starts_with("-}}") && spaces > 0 => (true, 3),
            close if close.starts_with("}}") => (false, 2),
            _ => return Err(self.error(open, "a comment ends its action: }} is missing after */")),
        };
        self.at += end + 2 + spaces + length;
        Ok(trim)
    }

    fn token(&self, at: usize) -> Result<(Token<'a>, usize), TemplateError> {
        let rest = &self.text[at..];
        let word = |from: usize| {
            let tail = &rest[from..];
            tail.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tail.len())
        };
        for sign in [":=", "=", "|", "(", ")", ","] {
            if rest.starts_with(sign) {
                return Ok((Token::Sign(sign), sign.len()));
            }
        }
        let first = rest.chars().next().unwrap_or_default();
        let second = rest[first.len_utf8()..].chars().next().unwrap_or_default();
        match first {
            '"' | '\'' => self.quoted(at, first),
            '`' => {
                let end = rest[1..].find('`').ok_or_else(|| self.error(at, "this text is not closed: ` is missing"))?;
                Ok((Token::Quoted(&rest[..end + 2]), end + 2))
            }
            '$' => Ok((Token::Variable(&rest[1..1 + word(1)]), 1 + word(1))),
            '.' if !second.is_ascii_digit() => Ok((Token::Field(&rest[1..1 + word(1)]), 1 + word(1))),
            '0'..='9' | '.' | '+' | '-' => {
                let tail = &rest[1..];
                let mut end =
                    1 + tail.find(|c: char| !c.is_alphanumeric() && c != '.' && c != '_').unwrap_or(tail.len());
                // The sign of an exponent.
                let decimal = !rest[..end].contains(['x', 'X']);
                if decimal && rest[..end].ends_with(['e', 'E']) && rest[end..].starts_with(['+', '-']) {
                    end += 1 + word(end + 1);
                }
                Ok((Token::Number(&rest[..end]), end))
            }
            c if c.is_alphabetic() || c == '_' => Ok((Token::Word(&rest[..word(0)]), word(0))),
            other => Err(self.error(at, format!("unexpected character {other:?}"))),
        }
    }

    fn quoted(&self, at: usize, quote: char) -> Result<(Token<'a>, usize), TemplateError> {
        let rest = &self.text[at..];
        let mut escaped = false;
        for (index, c) in rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => return Ok((Token::Quoted(&rest[..=index]), index + 1)),
                _ => {}
            }
        }
        Err(self.error(at, format!("this text is not closed: {quote} is missing")))
    }
}

/// The value of a quoted text as Go writes it.
pub fn unquote(quoted: &str) -> Result<String, String> {
    let inner = &quoted[1..quoted.len() - 1];
    if quoted.starts_with('`') {
        return Ok(inner.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.chars().next().unwrap_or_default();
        rest = &rest[escape.len_utf8()..];
        let digits = match escape {
            'x' => Some((2, 16)),
            'u' => Some((4, 16)),
            'U' => Some((8, 16)),
            '0'..='7' => Some((3, 8)),
            _ => None,
        };
        if let Some((count, radix)) = digits {
            let from = if radix == 8 { &inner[inner.len() - rest.len() - 1..] } else { rest };
            let number = from.get(..count).and_then(|digits| u32::from_str_radix(digits, radix).ok());
            let number = number.ok_or_else(|| format!("\\{escape} is not followed by {count} digits"))?;
            rest = &from[count..];
            if matches!(escape, 'u' | 'U') {
                let c = char::from_u32(number).ok_or_else(|| format!("there is no character {number:x}"))?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                bytes.push(u8::try_from(number).map_err(|_| format!("\\{number:o} is more than a byte"))?);
            }
            continue;
        }
        bytes.push(match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            '\'' => b'\'',
            '"' => b'"',
            other => return Err(format!("\\{other} is no escape that is known")),
        });
    }
    String::from_utf8(bytes).map_err(|_| "the text is not UTF-8".to_owned())
}
