//! JSON text: validation, parsing into [`Jsonb`], printing.

use std::fmt::Write as _;

use crate::{DatumError, Jsonb, Result, sqlstate};

/// Deepest nesting read. Printing, comparing and dropping recurse too, on small stacks.
const DEPTH_MAX: u32 = 1000;

/// Values within one that is kept, about as many as PostgreSQL allows: two bytes of text make a value
/// of many more.
const VALUES_MAX: usize = if cfg!(test) { 1 << 12 } else { 1 << 25 };

/// Checks that it is JSON, with PostgreSQL's messages.
pub fn validate(input: &str) -> Result<()> {
    Parser { text: input, at: 0, keep: false, depth: 0, values: 0 }.document().map(|_| ())
}

pub fn parse(input: &str) -> Result<Jsonb> {
    Parser { text: input, at: 0, keep: true, depth: 0, values: 0 }.document()
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Build values; else only check, and let pass what text cannot hold (`\u0000`).
    keep: bool,
    depth: u32,
    /// Kept so far.
    values: usize,
}

impl Parser<'_> {
    fn document(mut self) -> Result<Jsonb> {
        let value = self.value()?;
        self.blanks();
        if self.at < self.text.len() {
            return Err(self.expected("end of input"));
        }
        Ok(value)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn invalid(&self, detail: impl Into<String>) -> DatumError {
        DatumError::new(sqlstate::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
            .with_detail(detail)
    }

    fn ended(&self) -> DatumError {
        self.invalid("The input string ended unexpectedly.")
    }

    /// The token under the cursor: a word, a number, a string, or one character.
    fn token(&self) -> &str {
        let rest = &self.text[self.at..];
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
        let number = |c: char| word(c) || matches!(c, '-' | '+' | '.');
        let end = if rest.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            rest.find(|c| !number(c)).unwrap_or(rest.len())
        } else if rest.starts_with(word) {
            rest.find(|c| !word(c)).unwrap_or(rest.len())
        } else if let Some(string) = rest.strip_prefix('"') {
            string.find('"').map_or(rest.len(), |end| end + 2)
        } else {
            rest.chars().next().map_or(0, char::len_utf8)
        };
        &rest[..end]
    }

    fn invalid_token(&self) -> DatumError {
        self.invalid(format!("Token \"{}\" is invalid.", self.token()))
    }

    fn expected(&self, what: &str) -> DatumError {
        let token = self.token();
        let known = token.starts_with(['{', '}', '[', ']', ',', ':', '"'])
            || matches!(token, "true" | "false" | "null")
            || is_json_number(token);
        if token.is_empty() {
            self.ended()
        } else if known {
            self.invalid(format!("Expected {what}, but found \"{token}\"."))
        } else {
            self.invalid_token()
        }
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(DatumError::new("54001", "stack depth limit exceeded"));
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Jsonb> {
        self.values += usize::from(self.keep);
        if self.values > VALUES_MAX {
            let message = format!("a jsonb value has more than {VALUES_MAX} parts");
            return Err(DatumError::new("54000", message));
        }
        self.blanks();
        match self.peek() {
            None => Err(self.ended()),
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => self.string().map(|s| Jsonb::String(s.into())),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => {
                let (length, value) = match self.token() {
                    "true" => (4, Jsonb::Bool(true)),
                    "false" => (5, Jsonb::Bool(false)),
                    "null" => (4, Jsonb::Null),
                    _ => return Err(self.expected("JSON value")),
                };
                self.at += length;
                Ok(value)
            }
        }
    }

    fn object(&mut self) -> Result<Jsonb> {
        self.enter()?;
        self.at += 1;
        let mut entries = Vec::new();
        let mut first = true;
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(Jsonb::object(entries));
        }
        loop {
            self.blanks();
            match self.peek() {
                Some(b'"') => {}
                _ if first => return Err(self.expected("string or \"}\"")),
                _ => return Err(self.expected("string")),
            }
            first = false;
            let key = self.string()?;
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.expected("\":\""));
            }
            self.at += 1;
            let value = self.value()?;
            if self.keep {
                entries.push((key.into_boxed_str(), value));
            }
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(Jsonb::object(entries));
                }
                _ => return Err(self.expected("\",\" or \"}\"")),
            }
        }
    }

    fn array(&mut self) -> Result<Jsonb> {
        self.enter()?;
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(Jsonb::Array(items));
        }
        loop {
            let value = self.value()?;
            if self.keep {
                items.push(value);
            }
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(Jsonb::Array(items));
                }
                _ => return Err(self.expected("\",\" or \"]\"")),
            }
        }
    }

    fn number(&mut self) -> Result<Jsonb> {
        let token = self.token().to_owned();
        if !is_json_number(&token) {
            return Err(self.invalid_token());
        }
        self.at += token.len();
        if self.keep { Ok(Jsonb::Number(token.parse()?)) } else { Ok(Jsonb::Null) }
    }

    /// At the opening quote. Empty when nothing is kept.
    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = rest.find(|c: char| c == '"' || c == '\\' || (c as u32) < 0x20) else {
                return Err(self.string_error());
            };
            if self.keep {
                out.push_str(&rest[..stop]);
            }
            self.at += stop + 1;
            match rest.as_bytes()[stop] {
                b'"' => return Ok(out),
                b'\\' => {
                    if let Some(c) = self.escape()?
                        && self.keep
                    {
                        out.push(c);
                    }
                }
                byte => {
                    return Err(
                        self.invalid(format!("Character with value 0x{byte:02x} must be escaped."))
                    );
                }
            }
        }
    }

    fn string_error(&self) -> DatumError {
        let start = self.text[..self.at].rfind('"').unwrap_or(0);
        self.invalid(format!("Token \"{}\" is invalid.", &self.text[start..]))
    }

    /// After a backslash. `None` for a character that is only checked.
    fn escape(&mut self) -> Result<Option<char>> {
        let Some(c) = self.text[self.at..].chars().next() else {
            return Err(self.string_error());
        };
        self.at += c.len_utf8();
        Ok(Some(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            other => {
                return Err(self.invalid(format!("Escape sequence \"\\{other}\" is invalid.")));
            }
        }))
    }

    fn four_hex(&mut self) -> Result<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let value = digits.and_then(|d| {
            d.iter().try_fold(0u32, |v, b| Some(v * 16 + char::from(*b).to_digit(16)?))
        });
        self.at = (self.at + 4).min(self.text.len());
        value.ok_or_else(|| self.invalid("\"\\u\" must be followed by four hexadecimal digits."))
    }

    fn unicode(&mut self) -> Result<Option<char>> {
        let first = self.four_hex()?;
        if !self.keep {
            return Ok(None);
        }
        let low_missing = "Unicode low surrogate must follow a high surrogate.";
        let code = match first {
            0 => {
                return Err(DatumError::new(
                    sqlstate::UNTRANSLATABLE_CHARACTER,
                    "unsupported Unicode escape sequence",
                )
                .with_detail("\\u0000 cannot be converted to text."));
            }
            0xd800..=0xdbff => {
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(self.invalid(low_missing));
                }
                self.at += 2;
                match self.four_hex()? {
                    second @ 0xdc00..=0xdfff => {
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    0xd800..=0xdbff => {
                        return Err(self
                            .invalid("Unicode high surrogate must not follow a high surrogate."));
                    }
                    _ => return Err(self.invalid(low_missing)),
                }
            }
            0xdc00..=0xdfff => return Err(self.invalid(low_missing)),
            code => code,
        };
        Ok(char::from_u32(code))
    }
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
fn is_json_number(token: &str) -> bool {
    let body = token.strip_prefix('-').unwrap_or(token);
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

/// jsonb's output: `{"a": 1, "b": [1, 2]}`.
pub fn format(value: &Jsonb, out: &mut String) {
    match value {
        Jsonb::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                format(item, out);
            }
            out.push(']');
        }
        Jsonb::Object(object) => {
            out.push('{');
            for (at, (key, item)) in object.entries().iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                escape(key, out);
                out.push_str(": ");
                format(item, out);
            }
            out.push('}');
        }
        scalar => format_scalar(scalar, out),
    }
}

/// `jsonb_pretty`.
pub fn format_pretty(value: &Jsonb, out: &mut String) {
    pretty(value, 0, out);
}

fn pretty(value: &Jsonb, level: usize, out: &mut String) {
    let line = |level: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', level * 4));
    };
    match value {
        Jsonb::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                line(level + 1, out);
                pretty(item, level + 1, out);
            }
            line(level, out);
            out.push(']');
        }
        Jsonb::Object(object) => {
            out.push('{');
            for (at, (key, item)) in object.entries().iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                line(level + 1, out);
                escape(key, out);
                out.push_str(": ");
                pretty(item, level + 1, out);
            }
            line(level, out);
            out.push('}');
        }
        scalar => format_scalar(scalar, out),
    }
}

fn format_scalar(value: &Jsonb, out: &mut String) {
    match value {
        Jsonb::Null => out.push_str("null"),
        Jsonb::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Jsonb::Number(n) => {
            let _ = write!(out, "{n}");
        }
        Jsonb::String(s) => escape(s, out),
        container @ (Jsonb::Array(_) | Jsonb::Object(_)) => format(container, out),
    }
}

/// Appends a JSON string literal with its quotes, escaped as PostgreSQL does.
pub fn escape(s: &str, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_so_many_parts_and_no_more() {
        let list = |length: usize| format!("[{}1]", "1,".repeat(length - 1));
        assert!(parse(&list(VALUES_MAX - 1)).is_ok());
        assert_eq!(parse(&list(VALUES_MAX)).map_err(|e| e.sqlstate).unwrap_err(), "54000");
        assert!(validate(&list(VALUES_MAX)).is_ok());
    }

    fn jsonb(text: &str) -> String {
        match parse(text) {
            Ok(value) => {
                let mut out = String::new();
                format(&value, &mut out);
                out
            }
            Err(error) => error.detail.unwrap_or(error.message),
        }
    }

    #[test]
    fn jsonb_is_normalised() {
        assert_eq!(jsonb(r#"{"bb":1, "a" : [1.50,1e2,null], "a":{}}"#), r#"{"a": {}, "bb": 1}"#);
        assert_eq!(jsonb(r#" [1.50,1e2,"\u00e9\ud83d\ude00\n"] "#), "[1.50, 100, \"é😀\\n\"]");
        assert_eq!(jsonb("{}"), "{}");
    }

    #[test]
    fn errors_say_what_postgresql_says() {
        assert_eq!(jsonb("{\"a\":1"), "The input string ended unexpectedly.");
        assert_eq!(jsonb("abc"), "Token \"abc\" is invalid.");
        assert_eq!(jsonb("{a:1}"), "Token \"a\" is invalid.");
        assert_eq!(jsonb("[1,]"), "Expected JSON value, but found \"]\".");
        assert_eq!(jsonb("1 2"), "Expected end of input, but found \"2\".");
        assert_eq!(jsonb("\"\\u0000\""), "\\u0000 cannot be converted to text.");
        assert_eq!(jsonb("01"), "Token \"01\" is invalid.");
        assert!(validate("\"\\u0000\"").is_ok());
        assert_eq!(validate(&"[".repeat(100_000)).unwrap_err().sqlstate, "54001");
    }
}
