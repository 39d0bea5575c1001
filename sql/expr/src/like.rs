//! LIKE: `%` any run, `_` one character, backslash makes the next character itself. Another ESCAPE is rewritten
//! to backslashes first (`like_escape`), as PostgreSQL does.

use crate::error::{ExprError, Result};

pub(crate) fn matches(subject: &str, pattern: &str) -> Result<bool> {
    run(subject.as_bytes(), pattern.as_bytes(), true)
}

pub(crate) fn matches_bytes(subject: &[u8], pattern: &[u8]) -> Result<bool> {
    run(subject, pattern, false)
}

pub(crate) fn matches_ignoring_case(subject: &str, pattern: &str) -> Result<bool> {
    matches(&subject.to_lowercase(), &pattern.to_lowercase())
}

/// Greedy with one point to return to: after a `%`, only the latest one matters.
fn run(subject: &[u8], pattern: &[u8], characters: bool) -> Result<bool> {
    let (mut s, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while s < subject.len() {
        let step = match pattern.get(p) {
            Some(b'%') => {
                p += 1;
                retry = Some((s, p));
                continue;
            }
            Some(b'_') => Some((width(subject, s, characters), 1)),
            Some(b'\\') => match pattern.get(p + 1) {
                None => return Err(trailing_escape()),
                Some(literal) => (subject[s] == *literal).then_some((1, 2)),
            },
            Some(literal) => (subject[s] == *literal).then_some((1, 1)),
            None => None,
        };
        match (step, retry) {
            (Some((subject_bytes, pattern_bytes)), _) => {
                s += subject_bytes;
                p += pattern_bytes;
            }
            (None, Some((from, after))) => {
                let next = from + width(subject, from, characters);
                retry = Some((next, after));
                (s, p) = (next, after);
            }
            (None, None) => return Ok(false),
        }
    }
    let rest = &pattern[p..];
    if rest.last() == Some(&b'\\')
        && rest.iter().take_while(|b| **b == b'%').count() + 1 == rest.len()
    {
        return Err(trailing_escape());
    }
    Ok(rest.iter().all(|b| *b == b'%'))
}

fn width(subject: &[u8], at: usize, characters: bool) -> usize {
    if !characters {
        return 1;
    }
    match subject[at] {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
    }
}

fn trailing_escape() -> ExprError {
    ExprError::new("22025", "LIKE pattern must not end with escape character")
}

/// `pattern LIKE .. ESCAPE escape` as a pattern whose escape is the backslash.
pub(crate) fn with_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut chars = escape.chars();
    let (escape, more) = (chars.next(), chars.next());
    if more.is_some() {
        return Err(ExprError::new("22025", "invalid escape string")
            .with_hint("Escape string must be empty or one character."));
    }
    let mut out = String::with_capacity(pattern.len());
    let mut literal = false;
    for c in pattern.chars() {
        if Some(c) == escape && !literal {
            out.push('\\');
            literal = true;
        } else {
            if c == '\\' && !literal {
                out.push('\\');
            }
            out.push(c);
            literal = false;
        }
    }
    Ok(out)
}

/// SIMILAR TO as a regular expression of PostgreSQL's.
pub(crate) fn similar_to_regex(pattern: &str, escape: Option<&str>) -> Result<String> {
    let escape = match escape {
        None => Some('\\'),
        Some(text) => {
            let mut chars = text.chars();
            let escape = chars.next();
            if chars.next().is_some() {
                return Err(ExprError::new("22019", "invalid escape string")
                    .with_hint("Escape string must be empty or one character."));
            }
            escape
        }
    };
    let mut out = String::from("^(?:");
    let mut chars = pattern.chars().peekable();
    let mut separators = 0;
    let mut in_class = false;
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            match chars.next() {
                // SUBSTRING(.. SIMILAR ..): the part between two `escape "` is what counts.
                Some('"') => {
                    out.push_str(if separators == 0 { "){1,1}?(" } else { "){1,1}(?:" });
                    separators += 1;
                }
                Some(next) => {
                    if !next.is_alphanumeric() {
                        out.push('\\');
                    }
                    out.push(next);
                }
                None => {}
            }
        } else if in_class {
            if c == '\\' {
                out.push('\\');
            }
            in_class = c != ']';
            out.push(c);
        } else {
            match c {
                '[' => {
                    in_class = true;
                    out.push('[');
                    if chars.peek() == Some(&'^') {
                        chars.next();
                        out.push('^');
                    }
                    if chars.peek() == Some(&']') {
                        chars.next();
                        out.push(']');
                    }
                }
                '%' => out.push_str(".*"),
                '_' => out.push('.'),
                '(' => out.push_str("(?:"),
                '\\' | '.' | '^' | '$' => {
                    out.push('\\');
                    out.push(c);
                }
                c => out.push(c),
            }
        }
    }
    out.push_str(")$");
    Ok(out)
}
