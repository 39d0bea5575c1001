//! regexp_match, regexp_matches, regexp_replace, regexp_split_to_*, regexp_count/instr/like/substr, substring(.. from ..).

use super::sets::one_column;
use crate::args::{int4, int4_or, text, text_or};
use crate::error::{EvalResult, ExprError, Result, check_bytes};
use crate::regex_cache::{Flags, compile};
use crate::registry::Registry;
use datum::{Datum, SqlType};
use regex::{Captures, Regex};

pub(super) fn register(r: &mut Registry) {
    for signature in ["regexp_match(text, text) text[]", "regexp_match(text, text, text) text[]"] {
        r.strict(signature, |args, _| {
            let flags = flags_without_global(args, 2, "regexp_match()")?;
            let regex = compile(text(args, 1)?, flags)?;
            Ok(regex.captures(text(args, 0)?).map_or(Datum::Null, |found| groups(&regex, &found)))
        });
    }
    for signature in
        ["regexp_matches(text, text) text[]", "regexp_matches(text, text, text) text[]"]
    {
        r.set(signature, |args, _| {
            let flags = Flags::parse(text_or(args, 2, "")?)?;
            let regex = compile(text(args, 1)?, flags)?;
            let count = if flags.global { usize::MAX } else { 1 };
            let mut rows = Vec::new();
            let mut bytes = 0;
            for found in regex.captures_iter(text(args, 0)?).take(count) {
                let row = groups(&regex, &found);
                bytes += size_of::<Vec<Datum>>() + row.size_bytes();
                check_bytes(bytes)?;
                rows.push(vec![row]);
            }
            Ok(rows)
        });
    }
    for signature in
        ["regexp_replace(text, text, text) text", "regexp_replace(text, text, text, text) text"]
    {
        r.strict(signature, |args, _| {
            let flags = Flags::parse(text_or(args, 3, "")?)?;
            let count = if flags.global { 0 } else { 1 };
            replace(text(args, 0)?, text(args, 1)?, text(args, 2)?, 1, count, flags)
        });
    }
    for signature in [
        "regexp_replace(text, text, text, int4) text",
        "regexp_replace(text, text, text, int4, int4) text",
        "regexp_replace(text, text, text, int4, int4, text) text",
    ] {
        r.strict(signature, |args, _| {
            let flags = Flags::parse(text_or(args, 5, "")?)?;
            let nth = int4_or(args, 4, 1)?;
            replace(text(args, 0)?, text(args, 1)?, text(args, 2)?, int4(args, 3)?, nth, flags)
        });
    }
    for signature in [
        "regexp_split_to_array(text, text) text[]",
        "regexp_split_to_array(text, text, text) text[]",
    ] {
        r.strict(signature, |args, _| {
            let flags = flags_without_global(args, 2, "regexp_split_to_array()")?;
            Ok(crate::args::texts(split(text(args, 0)?, text(args, 1)?, flags)?))
        });
    }
    for signature in
        ["regexp_split_to_table(text, text) text", "regexp_split_to_table(text, text, text) text"]
    {
        r.set(signature, |args, _| {
            let flags = flags_without_global(args, 2, "regexp_split_to_table()")?;
            let parts = split(text(args, 0)?, text(args, 1)?, flags)?;
            one_column(parts.into_iter().map(Datum::from))
        });
    }
    register_counted(r);
    // substring(s from pattern); the three-argument form's pattern is SIMILAR TO's.
    r.strict("substring(text, text) text", |args, _| {
        let regex = compile(text(args, 1)?, Flags::default())?;
        Ok(first_group(&regex, text(args, 0)?))
    });
    for signature in
        ["substring(text, text, text) text", "substring_similar(text, text, text) text"]
    {
        r.strict(signature, |args, _| {
            let pattern = crate::like::similar_to_regex(text(args, 1)?, Some(text(args, 2)?))?;
            let regex = compile(&pattern, Flags::default())?;
            Ok(first_group(&regex, text(args, 0)?))
        });
    }
}

fn flags_without_global(args: &[Datum], index: usize, function: &str) -> Result<Flags> {
    let flags = Flags::parse(text_or(args, index, "")?)?;
    if flags.global {
        let error = ExprError::invalid_parameter(format!(
            "{function} does not support the \"global\" option"
        ));
        return Err(match function {
            "regexp_match()" => error.with_hint("Use the regexp_matches function instead."),
            _ => error,
        });
    }
    Ok(flags)
}

/// The groups, or the whole match where the pattern has none.
fn groups(regex: &Regex, found: &Captures<'_>) -> Datum {
    let skip = usize::from(regex.captures_len() > 1);
    let items = found
        .iter()
        .skip(skip)
        .map(|group| group.map_or(Datum::Null, |group| Datum::text(group.as_str())))
        .collect();
    Datum::array(SqlType::Text, items)
}

fn first_group(regex: &Regex, s: &str) -> Datum {
    let Some(found) = regex.captures(s) else { return Datum::Null };
    let group = if regex.captures_len() > 1 { found.get(1) } else { found.get(0) };
    group.map_or(Datum::Null, |group| Datum::text(group.as_str()))
}

/// `nth` 0: all matches.
fn replace(s: &str, pattern: &str, by: &str, start: i32, nth: i32, flags: Flags) -> EvalResult {
    if start <= 0 {
        return Err(invalid_value("start", start));
    }
    if nth < 0 {
        return Err(invalid_value("n", nth));
    }
    let regex = compile(pattern, flags)?;
    let from = s.char_indices().nth(start as usize - 1).map_or(s.len(), |(at, _)| at);
    let mut out = String::with_capacity(s.len());
    let mut last = 0;
    for (index, found) in
        regex.captures_iter(s).filter(|found| starts_at(found) >= from).enumerate()
    {
        if nth != 0 && index + 1 != nth as usize {
            continue;
        }
        let whole = found.get(0).map_or(0..0, |whole| whole.range());
        out.push_str(&s[last..whole.start]);
        expand(by, &found, &mut out)?;
        last = whole.end;
        if nth != 0 {
            break;
        }
    }
    out.push_str(&s[last..]);
    check_bytes(out.len())?;
    Ok(out.into())
}

fn starts_at(found: &Captures<'_>) -> usize {
    found.get(0).map_or(0, |whole| whole.start())
}

/// `\1` to `\9` are groups, `\&` the whole match, `\\` a backslash.
fn expand(by: &str, found: &Captures<'_>, out: &mut String) -> Result<()> {
    check_bytes(out.len() + by.len())?;
    let mut chars = by.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let group = match chars.next() {
            Some('&') => 0,
            Some(digit @ '1'..='9') => digit as usize - '0' as usize,
            Some('\\') => {
                out.push('\\');
                continue;
            }
            Some(other) => {
                out.push('\\');
                out.push(other);
                continue;
            }
            None => {
                out.push('\\');
                continue;
            }
        };
        if let Some(group) = found.get(group) {
            check_bytes(out.len() + group.len())?;
            out.push_str(group.as_str());
        }
    }
    Ok(())
}

/// Empty matches split between characters, but not at the ends or right after a match.
fn split(s: &str, pattern: &str, flags: Flags) -> Result<Vec<String>> {
    let regex = compile(pattern, flags)?;
    let mut parts = Vec::new();
    let mut last = 0;
    for found in regex.find_iter(s) {
        if found.is_empty() && (found.start() == 0 || found.start() >= s.len()) {
            continue;
        }
        check_parts(parts.len() + 2, s)?;
        parts.push(s[last..found.start()].to_owned());
        last = found.end();
    }
    parts.push(s[last..].to_owned());
    Ok(parts)
}

/// # Errors
/// 54000: so many parts of a text are too large together.
pub(super) fn check_parts(count: usize, s: &str) -> Result<()> {
    check_bytes(s.len().saturating_add(count.saturating_mul(Datum::text("").size_bytes())))
}

fn invalid_value(name: &str, value: i32) -> ExprError {
    ExprError::invalid_parameter(format!("invalid value for parameter \"{name}\": {value}"))
}

fn tail(s: &str, start: i32) -> Result<usize> {
    if start <= 0 {
        return Err(invalid_value("start", start));
    }
    Ok(s.char_indices().nth(start as usize - 1).map_or(s.len(), |(at, _)| at))
}

fn register_counted(r: &mut Registry) {
    for signature in [
        "regexp_count(text, text) int4",
        "regexp_count(text, text, int4) int4",
        "regexp_count(text, text, int4, text) int4",
    ] {
        r.strict(signature, |args, _| {
            let s = text(args, 0)?;
            let regex = compile(text(args, 1)?, Flags::parse(text_or(args, 3, "")?)?)?;
            let from = tail(s, int4_or(args, 2, 1)?)?;
            Ok(Datum::Int4(regex.find_iter(s).filter(|found| found.start() >= from).count() as i32))
        });
    }
    for signature in ["regexp_like(text, text) bool", "regexp_like(text, text, text) bool"] {
        r.strict(signature, |args, _| {
            let flags = flags_without_global(args, 2, "regexp_like()")?;
            Ok(Datum::Bool(compile(text(args, 1)?, flags)?.is_match(text(args, 0)?)))
        });
    }
    for signature in [
        "regexp_substr(text, text) text",
        "regexp_substr(text, text, int4) text",
        "regexp_substr(text, text, int4, int4) text",
        "regexp_substr(text, text, int4, int4, text) text",
        "regexp_substr(text, text, int4, int4, text, int4) text",
    ] {
        r.strict(signature, |args, _| {
            let s = text(args, 0)?;
            let regex = compile(text(args, 1)?, Flags::parse(text_or(args, 4, "")?)?)?;
            let from = tail(s, int4_or(args, 2, 1)?)?;
            let nth = int4_or(args, 3, 1)?;
            if nth <= 0 {
                return Err(invalid_value("n", nth));
            }
            let group = int4_or(args, 5, 0)?;
            if group < 0 {
                return Err(invalid_value("subexpr", group));
            }
            let found = regex
                .captures_iter(s)
                .filter(|found| starts_at(found) >= from)
                .nth(nth as usize - 1);
            Ok(found
                .and_then(|found| {
                    found.get(group as usize).map(|group| Datum::text(group.as_str()))
                })
                .unwrap_or_default())
        });
    }
    for signature in [
        "regexp_instr(text, text) int4",
        "regexp_instr(text, text, int4) int4",
        "regexp_instr(text, text, int4, int4) int4",
        "regexp_instr(text, text, int4, int4, int4) int4",
        "regexp_instr(text, text, int4, int4, int4, text) int4",
        "regexp_instr(text, text, int4, int4, int4, text, int4) int4",
    ] {
        r.strict(signature, |args, _| {
            let s = text(args, 0)?;
            let regex = compile(text(args, 1)?, Flags::parse(text_or(args, 5, "")?)?)?;
            let from = tail(s, int4_or(args, 2, 1)?)?;
            let nth = int4_or(args, 3, 1)?;
            if nth <= 0 {
                return Err(invalid_value("n", nth));
            }
            let after = int4_or(args, 4, 0)? == 1;
            let group = int4_or(args, 6, 0)?.max(0) as usize;
            let found = regex
                .captures_iter(s)
                .filter(|found| starts_at(found) >= from)
                .nth(nth as usize - 1);
            let at = found.and_then(|found| {
                found.get(group).map(|group| if after { group.end() } else { group.start() })
            });
            Ok(Datum::Int4(at.map_or(0, |at| s[..at].chars().count() as i32 + 1)))
        });
    }
}
