//! Text into tokens, by the rules of PostgreSQL's manual, 4.1.
//!
//! `select E'a\n' || $1::text -- why` becomes `select`, string, operator `||`, parameter 1, `::`,
//! `text`. Unquoted words are folded to lower case here; whether a word is a keyword is the
//! parser's business.

use crate::error::{PlanError, Result};

#[derive(Clone, Debug, PartialEq)]
pub enum Tok {
    /// An unquoted word, folded.
    Word(String),
    /// A "quoted" identifier.
    Quoted(String),
    Str(String),
    /// B'101'
    Bits,
    /// X'1F'
    HexBits,
    /// Digits only.
    Int(String),
    /// With a point or an exponent.
    Decimal(String),
    Param(u32),
    Op(String),
    LParen,
    RParen,
    LBracket,
    RBracket,
    Comma,
    Semicolon,
    Dot,
    DotDot,
    Colon,
    /// `::`
    Typecast,
    /// `:=`
    Assign,
    End,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub tok: Tok,
    /// Byte offsets into the text.
    pub start: usize,
    pub end: usize,
}

/// NAMEDATALEN - 1.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// All tokens of `sql`, ended by `Tok::End`. Positions of errors count characters from one.
pub fn tokenize(sql: &str) -> Result<Vec<Token>> {
    let mut lexer = Lexer { sql, bytes: sql.as_bytes(), at: 0 };
    let mut tokens = Vec::with_capacity(sql.len() / 4 + 2);
    loop {
        lexer.skip_blanks()?;
        let start = lexer.at;
        let tok = lexer.token()?;
        let done = tok == Tok::End;
        tokens.push(Token { tok, start, end: lexer.at });
        if done {
            return Ok(tokens);
        }
    }
}

/// A byte offset as the protocol reports positions.
pub fn char_position(text: &str, byte: usize) -> u32 {
    let prefix = text.get(..byte).unwrap_or(text);
    prefix.chars().count() as u32 + 1
}

/// Cuts an identifier to what PostgreSQL keeps of it.
pub fn truncate_identifier(mut name: String) -> String {
    if name.len() > IDENTIFIER_BYTES_MAX {
        let mut end = IDENTIFIER_BYTES_MAX;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}

struct Lexer<'a> {
    sql: &'a str,
    bytes: &'a [u8],
    at: usize,
}

fn starts_word(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

fn continues_word(b: u8) -> bool {
    starts_word(b) || b.is_ascii_digit() || b == b'$'
}

fn is_operator(b: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&b)
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error(&self, message: &str, start: usize, end: usize) -> PlanError {
        let near = self.sql.get(start..end).unwrap_or("");
        PlanError::syntax(format!("{message} at or near \"{near}\""))
            .at(char_position(self.sql, start))
    }

    fn skip_blanks(&mut self) -> Result<()> {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'-' if self.peek(1) == b'-' => {
                    while self.at < self.bytes.len() && self.peek(0) != b'\n' {
                        self.at += 1;
                    }
                }
                b'/' if self.peek(1) == b'*' => self.skip_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_comment(&mut self) -> Result<()> {
        let start = self.at;
        let mut depth = 0;
        while self.at < self.bytes.len() {
            if self.peek(0) == b'/' && self.peek(1) == b'*' {
                depth += 1;
                self.at += 2;
            } else if self.peek(0) == b'*' && self.peek(1) == b'/' {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.at += 1;
            }
        }
        Err(self.error("unterminated /* comment", start, self.sql.len()))
    }

    fn token(&mut self) -> Result<Tok> {
        if self.at >= self.bytes.len() {
            return Ok(Tok::End);
        }
        let b = self.peek(0);
        let punctuation = match b {
            b'(' => Some(Tok::LParen),
            b')' => Some(Tok::RParen),
            b'[' => Some(Tok::LBracket),
            b']' => Some(Tok::RBracket),
            b',' => Some(Tok::Comma),
            b';' => Some(Tok::Semicolon),
            _ => None,
        };
        if let Some(tok) = punctuation {
            self.at += 1;
            return Ok(tok);
        }
        match b {
            b'\'' => self.string(),
            b'"' => self.quoted_identifier().map(|name| Tok::Quoted(truncate_identifier(name))),
            b'$' => self.dollar(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            b'.' if self.peek(1) == b'.' => self.punctuation(2, Tok::DotDot),
            b'.' => self.punctuation(1, Tok::Dot),
            b':' if self.peek(1) == b':' => self.punctuation(2, Tok::Typecast),
            b':' if self.peek(1) == b'=' => self.punctuation(2, Tok::Assign),
            b':' => self.punctuation(1, Tok::Colon),
            b'0'..=b'9' => self.number(),
            b if is_operator(b) => Ok(self.operator()),
            b if starts_word(b) => self.word(),
            _ => {
                let end = self.at + self.sql[self.at..].chars().next().map_or(1, char::len_utf8);
                Err(self.error("syntax error", self.at, end))
            }
        }
    }

    fn punctuation(&mut self, bytes: usize, tok: Tok) -> Result<Tok> {
        self.at += bytes;
        Ok(tok)
    }

    fn word(&mut self) -> Result<Tok> {
        let quote_at = |lexer: &Self, n: usize| lexer.peek(n) == b'\'';
        match self.peek(0) {
            b'e' | b'E' if quote_at(self, 1) => {
                self.at += 1;
                return self.escape_string();
            }
            b'b' | b'B' if quote_at(self, 1) => {
                self.at += 1;
                self.plain_string()?;
                return Ok(Tok::Bits);
            }
            b'x' | b'X' if quote_at(self, 1) => {
                self.at += 1;
                self.plain_string()?;
                return Ok(Tok::HexBits);
            }
            b'n' | b'N' if quote_at(self, 1) => {
                self.at += 1;
                return self.string();
            }
            b'u' | b'U' if self.peek(1) == b'&' && quote_at(self, 2) => {
                self.at += 2;
                let start = self.at;
                let text = self.plain_string()?;
                return Ok(Tok::Str(self.unicode(&text, start)?));
            }
            b'u' | b'U' if self.peek(1) == b'&' && self.peek(2) == b'"' => {
                self.at += 2;
                let start = self.at;
                let name = self.quoted_identifier()?;
                return Ok(Tok::Quoted(truncate_identifier(self.unicode(&name, start)?)));
            }
            _ => {}
        }
        let start = self.at;
        while self.at < self.bytes.len() && continues_word(self.peek(0)) {
            self.at += 1;
        }
        Ok(Tok::Word(truncate_identifier(self.sql[start..self.at].to_ascii_lowercase())))
    }

    fn number(&mut self) -> Result<Tok> {
        let start = self.at;
        let mut decimal = false;
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        // "1..10" is a range, not a decimal.
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            decimal = true;
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                decimal = true;
                self.at += 1 + sign;
                while self.peek(0).is_ascii_digit() {
                    self.at += 1;
                }
            }
        }
        if starts_word(self.peek(0)) {
            while continues_word(self.peek(0)) {
                self.at += 1;
            }
            return Err(self.error("trailing junk after numeric literal", start, self.at));
        }
        let text = self.sql[start..self.at].to_string();
        Ok(if decimal { Tok::Decimal(text) } else { Tok::Int(text) })
    }

    fn operator(&mut self) -> Tok {
        let start = self.at;
        let mut end = start;
        while end < self.bytes.len() && is_operator(self.bytes[end]) {
            let comment = matches!(&self.bytes[end..], [b'-', b'-', ..] | [b'/', b'*', ..]);
            if comment && end > start {
                break;
            }
            end += 1;
        }
        // A trailing + or - belongs to what follows, unless the operator has a character that no
        // SQL operator has.
        let special = |bytes: &[u8]| bytes.iter().any(|b| b"~!@#^&|`?%".contains(b));
        while end > start + 1
            && matches!(self.bytes[end - 1], b'+' | b'-')
            && !special(&self.bytes[start..end - 1])
        {
            end -= 1;
        }
        self.at = end;
        match &self.sql[start..end] {
            "!=" => Tok::Op("<>".to_string()),
            op => Tok::Op(op.to_string()),
        }
    }

    /// `$1` or `$tag$...$tag$`.
    fn dollar(&mut self) -> Result<Tok> {
        let start = self.at;
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
            let number = self.sql[start + 1..self.at].parse().unwrap_or(u32::MAX);
            if starts_word(self.peek(0)) {
                return Err(self.error("trailing junk after parameter", start, self.at + 1));
            }
            return Ok(Tok::Param(number));
        }
        let mut end = start + 1;
        while end < self.bytes.len() && continues_word(self.bytes[end]) && self.bytes[end] != b'$' {
            end += 1;
        }
        if self.bytes.get(end) != Some(&b'$') {
            return Err(self.error("syntax error", start, start + 1));
        }
        let tag = &self.sql[start..=end];
        let body = end + 1;
        match self.sql[body..].find(tag) {
            Some(length) => {
                self.at = body + length + tag.len();
                Ok(Tok::Str(self.sql[body..body + length].to_string()))
            }
            None => Err(self.error("unterminated dollar-quoted string", start, self.sql.len())),
        }
    }

    fn string(&mut self) -> Result<Tok> {
        self.plain_string().map(Tok::Str)
    }

    /// `'it''s'`, and its continuation in quotes on a later line.
    fn plain_string(&mut self) -> Result<String> {
        let start = self.at;
        let mut text = String::new();
        loop {
            self.at += 1;
            let from = self.at;
            while self.at < self.bytes.len() && self.peek(0) != b'\'' {
                self.at += 1;
            }
            if self.at >= self.bytes.len() {
                return Err(self.error("unterminated quoted string", start, self.sql.len()));
            }
            text.push_str(&self.sql[from..self.at]);
            if self.peek(1) == b'\'' {
                text.push('\'');
                self.at += 1;
                continue;
            }
            self.at += 1;
            if !self.continues_string() {
                return Ok(text);
            }
        }
    }

    /// Moves to the opening quote of a continuation: blanks with at least one newline before it.
    fn continues_string(&mut self) -> bool {
        let mut end = self.at;
        let mut newline = false;
        while let Some(b) = self.bytes.get(end) {
            match b {
                b'\n' | b'\r' => newline = true,
                b' ' | b'\t' | 0x0b | 0x0c => {}
                b'\'' if newline => {
                    self.at = end;
                    return true;
                }
                _ => return false,
            }
            end += 1;
        }
        false
    }

    fn escape_string(&mut self) -> Result<Tok> {
        let start = self.at;
        let mut text: Vec<u8> = Vec::new();
        self.at += 1;
        loop {
            if self.at >= self.bytes.len() {
                return Err(self.error("unterminated quoted string", start, self.sql.len()));
            }
            match self.peek(0) {
                b'\'' if self.peek(1) == b'\'' => {
                    text.push(b'\'');
                    self.at += 2;
                }
                b'\'' => {
                    self.at += 1;
                    if !self.continues_string() {
                        break;
                    }
                    self.at += 1;
                }
                b'\\' => self.escape(&mut text, start)?,
                b => {
                    text.push(b);
                    self.at += 1;
                }
            }
        }
        String::from_utf8(text).map(Tok::Str).map_err(|_| {
            PlanError::new("22021", "invalid byte sequence for encoding \"UTF8\"")
                .at(char_position(self.sql, start))
        })
    }

    fn escape(&mut self, text: &mut Vec<u8>, start: usize) -> Result<()> {
        let code = self.peek(1);
        self.at += 2;
        let simple = match code {
            b'b' => Some(8),
            b'f' => Some(12),
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'v' => Some(11),
            _ => None,
        };
        if let Some(b) = simple {
            text.push(b);
            return Ok(());
        }
        match code {
            b'0'..=b'7' => {
                let mut value = u32::from(code - b'0');
                for _ in 0..2 {
                    if matches!(self.peek(0), b'0'..=b'7') {
                        value = value * 8 + u32::from(self.peek(0) - b'0');
                        self.at += 1;
                    }
                }
                text.push(value as u8);
            }
            b'x' if self.peek(0).is_ascii_hexdigit() => {
                let digits = 1 + usize::from(self.peek(1).is_ascii_hexdigit());
                text.push(self.hex(digits).unwrap_or(0) as u8);
            }
            b'u' | b'U' => {
                let digits = if code == b'u' { 4 } else { 8 };
                let mut value = self.hex(digits);
                if let Some(high @ 0xd800..=0xdbff) = value
                    && self.peek(0) == b'\\'
                    && self.peek(1) == b'u'
                {
                    self.at += 2;
                    value = self
                        .hex(4)
                        .and_then(|low| low.checked_sub(0xdc00))
                        .map(|low| 0x10000 + ((high - 0xd800) << 10) + low);
                }
                let c = value.and_then(char::from_u32).ok_or_else(|| {
                    self.error("invalid Unicode escape value", start, self.at.min(self.sql.len()))
                })?;
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            0 if self.at > self.bytes.len() => {
                return Err(self.error("unterminated quoted string", start, self.sql.len()));
            }
            other => text.push(other),
        }
        Ok(())
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let text = self.sql.get(self.at..self.at + digits)?;
        let value = u32::from_str_radix(text, 16).ok()?;
        self.at += digits;
        Some(value)
    }

    fn quoted_identifier(&mut self) -> Result<String> {
        let start = self.at;
        let mut name = String::new();
        self.at += 1;
        loop {
            let from = self.at;
            while self.at < self.bytes.len() && self.peek(0) != b'"' {
                self.at += 1;
            }
            if self.at >= self.bytes.len() {
                return Err(self.error("unterminated quoted identifier", start, self.sql.len()));
            }
            name.push_str(&self.sql[from..self.at]);
            self.at += 1;
            if self.peek(0) != b'"' {
                break;
            }
            name.push('"');
            self.at += 1;
        }
        if name.is_empty() {
            return Err(self.error("zero-length delimited identifier", start, self.at));
        }
        Ok(name)
    }

    /// Replaces `\0041` and `\+000041`; a UESCAPE clause may name another escape character.
    fn unicode(&mut self, text: &str, start: usize) -> Result<String> {
        let mut escape = '\\';
        let save = self.at;
        self.skip_blanks()?;
        let rest = &self.sql[self.at..];
        if rest.get(..7).is_some_and(|w| w.eq_ignore_ascii_case("uescape")) {
            self.at += 7;
            self.skip_blanks()?;
            let c = self.plain_string()?;
            escape = c.chars().next().unwrap_or('\\');
        } else {
            self.at = save;
        }
        let bad = |lexer: &Self| lexer.error("invalid Unicode escape", start, lexer.at);
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::with_capacity(text.len());
        let mut high: Option<u32> = None;
        let mut i = 0;
        while i < chars.len() {
            if chars[i] != escape {
                out.push(chars[i]);
                i += 1;
                continue;
            }
            if chars.get(i + 1) == Some(&escape) {
                out.push(escape);
                i += 2;
                continue;
            }
            let (from, digits) =
                if chars.get(i + 1) == Some(&'+') { (i + 2, 6) } else { (i + 1, 4) };
            let hex: String = chars.iter().skip(from).take(digits).collect();
            let mut value = u32::from_str_radix(&hex, 16).map_err(|_| bad(self))?;
            i = from + digits;
            if let 0xd800..=0xdbff = value {
                high = Some(value);
                continue;
            }
            if let Some(high) = high.take() {
                value = 0x10000 + ((high - 0xd800) << 10) + value.wrapping_sub(0xdc00);
            }
            out.push(char::from_u32(value).ok_or_else(|| bad(self))?);
        }
        Ok(out)
    }
}
