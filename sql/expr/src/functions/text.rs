//! String functions. Positions and lengths are in characters, from one.

use crate::args::{int4, int4_or, text, text_or};
use crate::error::{EvalResult, ExprError, Result, VALUE_BYTES_MAX, check_bytes, too_large};
use crate::like;
use crate::registry::{Invocation, Registry};
use datum::keywords::quote_identifier;
use datum::{Datum, SqlType};
use std::collections::HashMap;

pub(super) fn register(r: &mut Registry) {
    register_lengths(r);
    register_parts(r);
    register_changes(r);
    register_codes(r);
    register_patterns(r);
}

fn characters(args: &[Datum]) -> Result<i32> {
    Ok(text(args, 0)?.chars().count() as i32)
}

fn register_lengths(r: &mut Registry) {
    for signature in ["length(text) int4", "char_length(text) int4", "character_length(text) int4"]
    {
        r.strict(signature, |args, _| Ok(Datum::Int4(characters(args)?)));
    }
    for signature in
        ["length(bpchar) int4", "char_length(bpchar) int4", "character_length(bpchar) int4"]
    {
        r.strict(signature, |args, _| {
            Ok(Datum::Int4(text(args, 0)?.trim_end_matches(' ').chars().count() as i32))
        });
    }
    for signature in ["octet_length(text) int4", "octet_length(bpchar) int4"] {
        r.strict(signature, |args, _| Ok(Datum::Int4(text(args, 0)?.len() as i32)));
    }
    r.strict("bit_length(text) int4", |args, _| Ok(Datum::Int4(text(args, 0)?.len() as i32 * 8)));
    r.strict("strpos(text, text) int4", |args, _| find(text(args, 0)?, text(args, 1)?));
    r.strict("position(text, text) int4", |args, _| find(text(args, 0)?, text(args, 1)?));
    r.strict("starts_with(text, text) bool", |args, _| {
        Ok(Datum::Bool(text(args, 0)?.starts_with(text(args, 1)?)))
    });
}

fn find(whole: &str, part: &str) -> EvalResult {
    Ok(Datum::Int4(match whole.find(part) {
        Some(at) => whole[..at].chars().count() as i32 + 1,
        None => 0,
    }))
}

fn register_parts(r: &mut Registry) {
    for signature in ["substr(text, int4) text", "substring(text, int4) text"] {
        r.strict(signature, |args, _| substring(text(args, 0)?, int4(args, 1)?, None));
    }
    for signature in ["substr(text, int4, int4) text", "substring(text, int4, int4) text"] {
        r.strict(signature, |args, _| {
            substring(text(args, 0)?, int4(args, 1)?, Some(int4(args, 2)?))
        });
    }
    r.strict("left(text, int4) text", |args, _| {
        let (s, n) = (text(args, 0)?, int4(args, 1)?);
        Ok(Datum::text(&s[..offset(s, from_start(s, n))]))
    });
    r.strict("right(text, int4) text", |args, _| {
        let (s, n) = (text(args, 0)?, int4(args, 1)?);
        // The last n, or all but the first -n.
        let skip = if n < 0 {
            n.unsigned_abs() as usize
        } else {
            s.chars().count().saturating_sub(n as usize)
        };
        Ok(Datum::text(&s[offset(s, skip)..]))
    });
    r.strict("split_part(text, text, int4) text", |args, _| {
        split_part(text(args, 0)?, text(args, 1)?, int4(args, 2)?)
    });
    for (signature, ends) in [
        ("btrim(text, text) text", (true, true)),
        ("ltrim(text, text) text", (true, false)),
        ("rtrim(text, text) text", (false, true)),
    ] {
        match ends {
            (true, true) => r.strict(signature, |args, _| trim(args, true, true)),
            (true, false) => r.strict(signature, |args, _| trim(args, true, false)),
            _ => r.strict(signature, |args, _| trim(args, false, true)),
        };
    }
    r.strict("btrim(text) text", |args, _| trim(args, true, true));
    r.strict("ltrim(text) text", |args, _| trim(args, true, false));
    r.strict("rtrim(text) text", |args, _| trim(args, false, true));
    for signature in ["overlay(text, text, int4) text", "overlay(text, text, int4, int4) text"] {
        r.strict(signature, |args, _| {
            let with = text(args, 1)?;
            let length = int4_or(args, 3, with.chars().count() as i32)?;
            overlay(text(args, 0)?, with, int4(args, 2)?, length)
        });
    }
}

/// Byte offset of the character number `count`, or the end.
fn offset(s: &str, count: usize) -> usize {
    s.char_indices().nth(count).map_or(s.len(), |(at, _)| at)
}

/// How many characters `left(s, n)` keeps.
fn from_start(s: &str, n: i32) -> usize {
    if n >= 0 { n as usize } else { s.chars().count().saturating_sub(n.unsigned_abs() as usize) }
}

/// The window of positions `start .. start + length` cut to the string; a start before it costs length.
fn window(start: i32, length: Option<i32>) -> Result<(usize, Option<usize>)> {
    let first = i64::from(start).max(1) - 1;
    match length {
        None => Ok((first as usize, None)),
        Some(length) if length < 0 => {
            Err(ExprError::new("22011", "negative substring length not allowed"))
        }
        Some(length) => {
            let end = i64::from(start) + i64::from(length) - 1;
            Ok((first as usize, Some((end - first).max(0) as usize)))
        }
    }
}

fn substring(s: &str, start: i32, length: Option<i32>) -> EvalResult {
    let (skip, keep) = window(start, length)?;
    let rest = &s[offset(s, skip)..];
    Ok(Datum::text(match keep {
        None => rest,
        Some(keep) => &rest[..offset(rest, keep)],
    }))
}

fn overlay(s: &str, with: &str, start: i32, length: i32) -> EvalResult {
    if start <= 0 {
        return Err(ExprError::new("22011", "negative substring length not allowed"));
    }
    let before = offset(s, start as usize - 1);
    let after = offset(s, (i64::from(start) - 1 + i64::from(length)).max(0) as usize);
    check_bytes(before + with.len() + s.len().saturating_sub(after))?;
    Ok(format!("{}{with}{}", &s[..before], &s[after..]).into())
}

fn split_part(s: &str, delimiter: &str, n: i32) -> EvalResult {
    if n == 0 {
        return Err(ExprError::invalid_parameter("field position must not be zero"));
    }
    if delimiter.is_empty() {
        return Ok(Datum::text(if n == 1 || n == -1 { s } else { "" }));
    }
    let part = if n > 0 {
        s.split(delimiter).nth(n as usize - 1)
    } else {
        let parts: Vec<&str> = s.split(delimiter).collect();
        parts.len().checked_sub(n.unsigned_abs() as usize).map(|at| parts[at])
    };
    Ok(Datum::text(part.unwrap_or("")))
}

fn trim(args: &[Datum], start: bool, end: bool) -> EvalResult {
    let mut set: Vec<char> = text_or(args, 1, " ")?.chars().collect();
    set.sort_unstable();
    set.dedup();
    let within = |c: char| set.binary_search(&c).is_ok();
    let mut s = text(args, 0)?;
    if start {
        s = s.trim_start_matches(within);
    }
    if end {
        s = s.trim_end_matches(within);
    }
    Ok(Datum::text(s))
}

fn register_changes(r: &mut Registry) {
    r.strict("lower(text) text", |args, _| Ok(text(args, 0)?.to_lowercase().into()));
    r.strict("upper(text) text", |args, _| {
        Ok(text(args, 0)?.chars().flat_map(upper).collect::<String>().into())
    });
    r.strict("initcap(text) text", |args, _| Ok(initcap(text(args, 0)?).into()));
    r.strict("reverse(text) text", |args, _| {
        Ok(text(args, 0)?.chars().rev().collect::<String>().into())
    });
    r.strict("repeat(text, int4) text", |args, _| {
        let (s, count) = (text(args, 0)?, int4(args, 1)?.max(0) as usize);
        check_bytes(s.len().saturating_mul(count))?;
        Ok(s.repeat(count).into())
    });
    for signature in ["lpad(text, int4) text", "lpad(text, int4, text) text"] {
        r.strict(signature, |args, _| pad(args, true));
    }
    for signature in ["rpad(text, int4) text", "rpad(text, int4, text) text"] {
        r.strict(signature, |args, _| pad(args, false));
    }
    r.strict("replace(text, text, text) text", |args, _| {
        let (s, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
        if from.is_empty() {
            return Ok(args[0].clone());
        }
        if to.len() > from.len() {
            let more = s.matches(from).count().saturating_mul(to.len() - from.len());
            check_bytes(s.len().saturating_add(more))?;
        }
        Ok(s.replace(from, to).into())
    });
    r.strict("translate(text, text, text) text", |args, _| {
        let mut to = text(args, 2)?.chars();
        let mut map = HashMap::new();
        for from in text(args, 1)?.chars() {
            let to = to.next();
            // Of repeated ones, the first counts.
            map.entry(from).or_insert(to);
        }
        let mut changed = String::new();
        for c in text(args, 0)?.chars() {
            check_bytes(changed.len() + c.len_utf8())?;
            changed.extend(map.get(&c).map_or(Some(c), |to| *to));
        }
        Ok(changed.into())
    });
    r.lenient("concat(any...) text", |args, call| {
        let mut out = String::new();
        for (index, arg) in args.iter().enumerate() {
            crate::cast::write_output(arg, variadic_type(call, index), call.ctx, &mut out);
            check_bytes(out.len())?;
        }
        Ok(out.into())
    });
    r.lenient("concat_ws(text, any...) text", |args, call| {
        let Some(separator) = args[0].as_str() else { return Ok(Datum::Null) };
        let parts = args.iter().enumerate().skip(1).filter(|(_, arg)| !arg.is_null());
        let mut out = String::new();
        for (part, (index, arg)) in parts.enumerate() {
            if part > 0 {
                out.push_str(separator);
            }
            crate::cast::write_output(arg, variadic_type(call, index), call.ctx, &mut out);
            check_bytes(out.len())?;
        }
        Ok(out.into())
    });
}

/// The type of an argument that may have come out of a VARIADIC array.
pub(super) fn variadic_type<'a>(call: &'a Invocation<'_>, index: usize) -> &'a SqlType {
    let types = &call.bound.arg_types;
    if call.bound.variadic_array
        && index + 1 >= types.len()
        && let Some(SqlType::Array(element)) = types.last().map(|ty| &ty.ty)
    {
        return element;
    }
    call.arg_type(index)
}

/// One to one, as the C library does it: `ß` stays.
fn upper(c: char) -> impl Iterator<Item = char> {
    let mut all = c.to_uppercase();
    let single = if all.len() == 1 { all.next() } else { None };
    std::iter::once(single.unwrap_or(c))
}

fn initcap(s: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(upper(c));
        }
        inside = c.is_alphanumeric();
    }
    out
}

fn pad(args: &[Datum], left: bool) -> EvalResult {
    let (s, wanted) = (text(args, 0)?, int4(args, 1)?.max(0) as usize);
    let fill = text_or(args, 2, " ")?;
    if wanted > VALUE_BYTES_MAX / 4 {
        return Err(too_large());
    }
    let length = s.chars().count();
    if length >= wanted {
        return Ok(Datum::text(&s[..offset(s, wanted)]));
    }
    let padding: String =
        fill.chars().cycle().take(if fill.is_empty() { 0 } else { wanted - length }).collect();
    Ok(if left { format!("{padding}{s}") } else { format!("{s}{padding}") }.into())
}

fn register_codes(r: &mut Registry) {
    r.strict("ascii(text) int4", |args, _| {
        Ok(Datum::Int4(text(args, 0)?.chars().next().map_or(0, |c| c as i32)))
    });
    r.strict("chr(int4) text", |args, _| {
        let code = int4(args, 0)?;
        if code == 0 {
            return Err(ExprError::new("54000", "null character not permitted"));
        }
        let c = u32::try_from(code).ok().and_then(char::from_u32).ok_or_else(|| {
            ExprError::new("54000", format!("requested character too large for encoding: {code}"))
        })?;
        Ok(c.to_string().into())
    });
    r.strict("to_hex(int4) text", |args, _| Ok(format!("{:x}", int4(args, 0)?).into()));
    r.strict(
        "to_hex(int8) text",
        |args, _| Ok(format!("{:x}", crate::args::int8(args, 0)?).into()),
    );
    r.strict("to_ascii(text) text", |args, _| Ok(args[0].clone()));
    r.strict("unistr(text) text", |args, _| unistr(text(args, 0)?));
    r.strict("quote_ident(text) text", |args, _| Ok(Datum::text(quote_identifier(text(args, 0)?))));
    r.strict("quote_literal(text) text", |args, _| Ok(quote_literal(text(args, 0)?)?.into()));
    r.strict("quote_literal(anyelement) text", |args, call| {
        let text = crate::cast::output_text(&args[0], call.arg_type(0), call.ctx);
        Ok(quote_literal(&text)?.into())
    });
    for signature in ["quote_nullable(text) text", "quote_nullable(anyelement) text"] {
        r.lenient(signature, |args, call| {
            if args[0].is_null() {
                return Ok(Datum::text("NULL"));
            }
            let text = crate::cast::output_text(&args[0], call.arg_type(0), call.ctx);
            Ok(quote_literal(&text)?.into())
        });
    }
    for signature in ["parse_ident(text) text[]", "parse_ident(text, bool) text[]"] {
        r.strict(signature, |args, _| parse_ident(text(args, 0)?));
    }
}

fn unistr(s: &str) -> EvalResult {
    let invalid = || ExprError::new("42601", "invalid Unicode escape");
    let mut out = String::with_capacity(s.len());
    let mut rest = s;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let (skip, digits) = match tail.chars().next() {
            Some('\\') => {
                out.push('\\');
                rest = &tail[1..];
                continue;
            }
            Some('u') => (1, 4),
            Some('U') => (1, 8),
            Some('+') => (1, 6),
            _ => (0, 4),
        };
        let hex = tail.get(skip..skip + digits).ok_or_else(invalid)?;
        let code = u32::from_str_radix(hex, 16).map_err(|_| invalid())?;
        out.push(char::from_u32(code).ok_or_else(invalid)?);
        rest = &tail[skip + digits..];
    }
    out.push_str(rest);
    Ok(out.into())
}

/// # Errors
/// 54000, as in PostgreSQL if it might become too large.
pub(crate) fn quote_literal(s: &str) -> Result<String> {
    check_bytes(s.len().saturating_mul(2))?;
    let quoted = s.replace('\'', "''");
    Ok(if s.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    })
}

/// `"A".b` as its parts.
fn parse_ident(name: &str) -> EvalResult {
    let invalid =
        || ExprError::invalid_parameter(format!("string is not a valid identifier: \"{name}\""));
    let mut parts: Vec<String> = Vec::new();
    let mut rest = name.trim();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut part = String::new();
            let mut chars = quoted.char_indices().peekable();
            let mut end = None;
            while let Some((at, c)) = chars.next() {
                if c != '"' {
                    part.push(c);
                } else if chars.next_if(|(_, c)| *c == '"').is_some() {
                    part.push('"');
                } else {
                    end = Some(at + 1);
                    break;
                }
            }
            parts.push(part);
            rest = &quoted[end.ok_or_else(invalid)?..];
        } else {
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
                .unwrap_or(rest.len());
            if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(invalid());
            }
            parts.push(rest[..end].to_lowercase());
            rest = &rest[end..];
        }
        rest = rest.trim_start();
        match rest.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() => return Ok(crate::args::texts(parts)),
            None => return Err(invalid()),
        }
    }
}

fn register_patterns(r: &mut Registry) {
    r.strict("like_escape(text, text) text", |args, _| {
        Ok(like::with_escape(text(args, 0)?, text(args, 1)?)?.into())
    });
    r.strict("like(text, text) bool", |args, _| {
        Ok(Datum::Bool(like::matches(text(args, 0)?, text(args, 1)?)?))
    });
    r.strict("notlike(text, text) bool", |args, _| {
        Ok(Datum::Bool(!like::matches(text(args, 0)?, text(args, 1)?)?))
    });
    for signature in ["similar_to_escape(text) text", "similar_to_escape(text, text) text"] {
        r.strict(signature, |args, _| {
            let escape = if args.len() > 1 { Some(text(args, 1)?) } else { None };
            Ok(like::similar_to_regex(text(args, 0)?, escape)?.into())
        });
    }
}
