//! Valid JSON in the user's spelling, cut without parsing it into a tree: `json` keeps blanks, order and duplicates.

use crate::error::{ExprError, Result, too_large};
use std::sync::Arc;

/// Most elements or members of one value, as for jsonb in PostgreSQL.
const PARTS_MAX: usize = 1 << 25;

fn check_parts(count: usize) -> Result<()> {
    if count > PARTS_MAX { Err(too_large()) } else { Ok(()) }
}

/// One value, as a slice of the text with surrounding blanks removed.
pub(crate) fn members(json: &str) -> Result<Option<Vec<(String, &str)>>> {
    let json = json.trim();
    if !json.starts_with('{') {
        return Ok(None);
    }
    let mut members = Vec::new();
    let mut at = skip_blanks(json, 1);
    while at < json.len() && json.as_bytes()[at] != b'}' {
        let key_end = value_end(json, at);
        let key = unquote_string(&json[at..key_end])?;
        // Past the colon.
        let start = skip_blanks(json, skip_blanks(json, key_end) + 1);
        let end = value_end(json, start);
        members.push((key, &json[start..end]));
        check_parts(members.len())?;
        at = skip_separator(json, end);
    }
    Ok(Some(members))
}

/// # Errors
/// 54000 beyond [`PARTS_MAX`].
pub(crate) fn elements(json: &str) -> Result<Option<Vec<&str>>> {
    let json = json.trim();
    if !json.starts_with('[') {
        return Ok(None);
    }
    let mut elements = Vec::new();
    let mut at = skip_blanks(json, 1);
    while at < json.len() && json.as_bytes()[at] != b']' {
        let end = value_end(json, at);
        elements.push(&json[at..end]);
        check_parts(elements.len())?;
        at = skip_separator(json, end);
    }
    Ok(Some(elements))
}

/// Of equal keys the last one counts.
pub(crate) fn member<'a>(json: &'a str, key: &str) -> Result<Option<&'a str>> {
    let Some(members) = members(json)? else { return Ok(None) };
    Ok(members.into_iter().rev().find(|(own, _)| own == key).map(|(_, value)| value))
}

pub(crate) fn element(json: &str, index: i32) -> Result<Option<&str>> {
    let Some(elements) = elements(json)? else { return Ok(None) };
    let at = if index < 0 { elements.len() as i64 + i64::from(index) } else { i64::from(index) };
    Ok(usize::try_from(at).ok().and_then(|at| elements.get(at).copied()))
}

pub(crate) fn walk<'a>(json: &'a str, path: &[Option<Arc<str>>]) -> Result<Option<&'a str>> {
    let mut at = json.trim();
    for part in path {
        let Some(part) = part.as_deref() else { return Ok(None) };
        let next = match at.as_bytes().first() {
            Some(b'{') => member(at, part)?,
            Some(b'[') => match part.trim().parse() {
                Ok(index) => element(at, index)?,
                Err(_) => None,
            },
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// `object`, `array`, `string`, …
pub(crate) fn type_of(json: &str) -> &'static str {
    match json.trim().as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// A value as text: strings lose quotes and escapes, null is NULL.
pub(crate) fn unquote(json: &str) -> Result<Option<String>> {
    let json = json.trim();
    if json == "null" {
        Ok(None)
    } else if json.starts_with('"') {
        unquote_string(json).map(Some)
    } else {
        Ok(Some(json.to_owned()))
    }
}

fn unquote_string(json: &str) -> Result<String> {
    serde_json::from_str(json)
        .map_err(|_| ExprError::new("22P05", "unsupported Unicode escape sequence"))
}

fn skip_blanks(json: &str, mut at: usize) -> usize {
    while json.as_bytes().get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Past a comma and blanks.
fn skip_separator(json: &str, at: usize) -> usize {
    let at = skip_blanks(json, at);
    match json.as_bytes().get(at) {
        Some(b',') => skip_blanks(json, at + 1),
        _ => at,
    }
}

/// Where the value that begins at `at` ends. The text is valid JSON.
fn value_end(json: &str, at: usize) -> usize {
    let bytes = json.as_bytes();
    let mut depth = 0usize;
    let mut i = at;
    while i < bytes.len() {
        match bytes[i] {
            b'"' => {
                i += 1;
                while i < bytes.len() && bytes[i] != b'"' {
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
                if depth == 0 {
                    return (i + 1).min(bytes.len());
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                if depth == 0 {
                    return i;
                }
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            b',' if depth == 0 => return i,
            b if b.is_ascii_whitespace() && depth == 0 && i > at => return i,
            _ => {}
        }
        i += 1;
    }
    bytes.len()
}
