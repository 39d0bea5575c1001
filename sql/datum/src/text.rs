//! Text input and output of every type: what literals, text parameters, COPY and casts from and to text run.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::datetime;
use crate::{
    ByteaOutput, ColumnType, Datum, DatumError, Interval, Numeric, Result, SqlType, TypeContext,
    float, json, sqlstate, typmod,
};

mod array;

/// Longest `name` in bytes (`NAMEDATALEN - 1`).
pub const NAME_BYTES_MAX: usize = 63;

/// The type's input function. A type modifier is applied by the rules of assignment (too long a text is an error);
/// explicit casts parse without modifier and then call [`typmod::apply`]. Never yields NULL.
pub fn parse(ty: &ColumnType, input: &str, ctx: &TypeContext) -> Result<Datum> {
    let datum = match &ty.ty {
        SqlType::Interval => Datum::Interval(datetime::parse_interval(input, ty.typmod)?),
        SqlType::Array(element) => {
            // Elements are fitted one by one.
            let element = ColumnType::new((**element).clone(), ty.typmod);
            return array::parse(&element, input, ctx);
        }
        plain => parse_plain(plain, input, ctx)?,
    };
    if ty.typmod < 0 { Ok(datum) } else { typmod::apply(datum, ty, false) }
}

fn parse_plain(ty: &SqlType, input: &str, ctx: &TypeContext) -> Result<Datum> {
    Ok(match ty {
        SqlType::Bool => Datum::Bool(parse_bool(input)?),
        SqlType::Int2 => Datum::Int2(parse_int(input, "smallint")?),
        SqlType::Int4 => Datum::Int4(parse_int(input, "integer")?),
        SqlType::Int8 => Datum::Int8(parse_int(input, "bigint")?),
        SqlType::Float4 => Datum::Float4(float::parse_f32(input)?),
        SqlType::Float8 => Datum::Float8(float::parse_f64(input)?),
        SqlType::Numeric => Datum::Numeric(input.parse::<Numeric>()?),
        SqlType::Text | SqlType::Varchar | SqlType::Bpchar | SqlType::Unknown => Datum::text(input),
        SqlType::Void => Datum::void(),
        SqlType::Name => Datum::text(cut_name(input)),
        SqlType::Char => Datum::Char(input.bytes().next().unwrap_or(0)),
        SqlType::Bytea => Datum::Bytea(parse_bytea(input)?.into()),
        SqlType::Date => Datum::Date(datetime::parse_date(input, ctx)?),
        SqlType::Time => Datum::Time(datetime::parse_time(input, ctx)?),
        SqlType::Timetz => {
            let (micros, offset) = datetime::parse_timetz(input, ctx)?;
            Datum::Timetz { micros, offset }
        }
        SqlType::Timestamp => Datum::Timestamp(datetime::parse_timestamp(input, ctx)?),
        SqlType::Timestamptz => Datum::Timestamptz(datetime::parse_timestamptz(input, ctx)?),
        SqlType::Interval => Datum::Interval(datetime::parse_interval(input, -1)?),
        SqlType::Uuid => Datum::Uuid(parse_uuid(input)?),
        SqlType::Json => {
            json::validate(input)?;
            Datum::Json(Arc::from(input))
        }
        SqlType::Jsonb => Datum::Jsonb(Arc::new(json::parse(input)?)),
        SqlType::Oid | SqlType::Xid => Datum::Oid(parse_oid(input, ty.sql_name())?),
        SqlType::Regtype => Datum::Oid(parse_regtype(input)?),
        // Names of relations, functions, schemas and roles are looked up by those who know the catalog.
        SqlType::Regclass | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole => {
            Datum::Oid(match input.trim() {
                "-" => 0,
                _ => parse_oid(input, ty.sql_name())?,
            })
        }
        SqlType::Int2Vector => array::parse_vector(&SqlType::Int2, input, ctx)?,
        SqlType::OidVector => array::parse_vector(&SqlType::Oid, input, ctx)?,
        SqlType::Record => {
            return Err(DatumError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "input of anonymous composite types is not implemented",
            ));
        }
        SqlType::Array(element) => {
            return array::parse(&ColumnType::plain((**element).clone()), input, ctx);
        }
    })
}

/// The type's output function. NULL appends nothing; the caller writes what NULL is in its format.
pub fn format(datum: &Datum, ty: &SqlType, ctx: &TypeContext, out: &mut String) {
    match datum {
        Datum::Null => {}
        Datum::Bool(v) => out.push(if *v { 't' } else { 'f' }),
        Datum::Int2(v) => push_int(i64::from(*v), out),
        Datum::Int4(v) => push_int(i64::from(*v), out),
        Datum::Int8(v) => push_int(*v, out),
        Datum::Float4(v) => float::format_f32(*v, ctx.extra_float_digits, out),
        Datum::Float8(v) => float::format_f64(*v, ctx.extra_float_digits, out),
        Datum::Numeric(v) => {
            let _ = write!(out, "{v}");
        }
        Datum::Text(v) | Datum::Json(v) => out.push_str(v),
        Datum::Bytea(v) => format_bytea(v, ctx.bytea_output, out),
        Datum::Date(v) => datetime::format_date(*v, ctx, out),
        Datum::Time(v) => datetime::format_time(*v, out),
        Datum::Timetz { micros, offset } => datetime::format_timetz(*micros, *offset, out),
        Datum::Timestamp(v) => datetime::format_timestamp(*v, ctx, out),
        Datum::Timestamptz(v) => datetime::format_timestamptz(*v, ctx, out),
        Datum::Interval(v) => format_interval(*v, ctx, out),
        Datum::Uuid(v) => format_uuid(v, out),
        Datum::Jsonb(v) => json::format(v, out),
        Datum::Oid(v) => match (ty, SqlType::from_oid(*v)) {
            (SqlType::Regtype, Some(named)) => out.push_str(&named.name()),
            (SqlType::Regclass | SqlType::Regproc | SqlType::Regtype, _) if *v == 0 => {
                out.push('-');
            }
            _ => push_int(i64::from(*v), out),
        },
        // A zero byte is the empty text.
        Datum::Char(0) => {}
        Datum::Char(v) => out.push(char::from(*v)),
        Datum::Array(v) => match ty {
            SqlType::Int2Vector | SqlType::OidVector => array::format_vector(v, ctx, out),
            _ => array::format(v, ctx, out),
        },
        Datum::Record(v) => array::format_record(v, ctx, out),
    }
}

pub fn to_string(datum: &Datum, ty: &SqlType, ctx: &TypeContext) -> String {
    let mut out = String::new();
    format(datum, ty, ctx, &mut out);
    out
}

fn format_interval(v: Interval, ctx: &TypeContext, out: &mut String) {
    datetime::format_interval(v, ctx, out);
}

/// The blanks that C's `isspace` skips.
fn trim(input: &str) -> &str {
    input.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

fn push_int(v: i64, out: &mut String) {
    let mut digits = [0; 20];
    out.extend(decimal(v, &mut digits).iter().map(|d| char::from(*d)));
}

/// An integer's text, which lies at the end of `digits`: `i64::MIN` has 19 digits and a sign.
pub fn decimal(v: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    let mut rest = v.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if v < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

fn parse_int<T: TryFrom<i64>>(input: &str, name: &'static str) -> Result<T> {
    let text = trim(input);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DatumError::invalid_syntax(name, input));
    }
    let wide = text.parse::<i64>().ok();
    wide.and_then(|v| T::try_from(v).ok())
        .ok_or_else(|| DatumError::value_out_of_range(name, input))
}

/// Any unambiguous beginning of true, false, yes, no, on, off; 1 and 0.
fn parse_bool(input: &str) -> Result<bool> {
    let word = trim(input).to_ascii_lowercase();
    let begins = |full: &str, least: usize| word.len() >= least && full.starts_with(word.as_str());
    if begins("true", 1) || begins("yes", 1) || word == "on" || word == "1" {
        Ok(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(DatumError::invalid_syntax("boolean", input))
    }
}

/// Unsigned, or negative as two's complement.
fn parse_oid(input: &str, name: &str) -> Result<u32> {
    let text = trim(input);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DatumError::invalid_syntax(name, input));
    }
    let fits = |v: i64| u32::try_from(v).ok().or_else(|| i32::try_from(v).ok().map(|v| v as u32));
    text.parse::<i64>()
        .ok()
        .and_then(fits)
        .ok_or_else(|| DatumError::value_out_of_range(name, input))
}

fn parse_regtype(input: &str) -> Result<u32> {
    let text = trim(input);
    if text == "-" {
        return Ok(0);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return parse_oid(text, "regtype");
    }
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    SqlType::from_name(bare).map(|ty| ty.oid()).ok_or_else(|| {
        DatumError::new(sqlstate::UNDEFINED_OBJECT, format!("type \"{text}\" does not exist"))
    })
}

/// Cut to 63 bytes, at a character's boundary.
pub fn cut_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

fn parse_bytea(input: &str) -> Result<Vec<u8>> {
    match input.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_bytea_escape(input),
    }
}

/// Hexadecimal pairs, with blanks between them: also `decode(…, 'hex')`.
pub fn parse_hex(hex: &str) -> Result<Vec<u8>> {
    let error = |message: String| DatumError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
    let mut out = Vec::with_capacity(hex.len() / 2);
    let mut chars = hex.chars();
    let digit = |c: char| {
        c.to_digit(16).ok_or_else(|| error(format!("invalid hexadecimal digit: \"{c}\"")))
    };
    while let Some(c) = chars.next() {
        if matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let high = digit(c)?;
        let low = chars
            .next()
            .ok_or_else(|| error("invalid hexadecimal data: odd number of digits".to_owned()))?;
        out.push((high * 16 + digit(low)?) as u8);
    }
    Ok(out)
}

/// `\\` and `\ooo`: also `decode(…, 'escape')`.
pub fn parse_bytea_escape(input: &str) -> Result<Vec<u8>> {
    let b = input.as_bytes();
    let mut out = Vec::with_capacity(b.len());
    let mut at = 0;
    while at < b.len() {
        match (b[at], b.get(at + 1..at + 4)) {
            (b'\\', _) if b.get(at + 1) == Some(&b'\\') => {
                out.push(b'\\');
                at += 2;
            }
            (b'\\', Some(&[x @ b'0'..=b'3', y @ b'0'..=b'7', z @ b'0'..=b'7'])) => {
                out.push((x - b'0') * 64 + (y - b'0') * 8 + (z - b'0'));
                at += 4;
            }
            (b'\\', _) => {
                return Err(DatumError::new(
                    sqlstate::INVALID_TEXT_REPRESENTATION,
                    "invalid input syntax for type bytea",
                ));
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(out)
}

pub fn format_bytea(bytes: &[u8], form: ByteaOutput, out: &mut String) {
    match form {
        ByteaOutput::Hex => {
            out.push_str("\\x");
            push_hex(bytes, out);
        }
        ByteaOutput::Escape => {
            for &byte in bytes {
                match byte {
                    b'\\' => out.push_str("\\\\"),
                    0x20..=0x7e => out.push(char::from(byte)),
                    _ => {
                        let _ = write!(out, "\\{byte:03o}");
                    }
                }
            }
        }
    }
}

pub fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// 32 hexadecimal digits, a hyphen allowed after each group of four, braces allowed around all.
fn parse_uuid(input: &str) -> Result<[u8; 16]> {
    let error = || DatumError::invalid_syntax("uuid", input);
    let body = match input.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(error)?,
        None => input,
    };
    let mut uuid = [0u8; 16];
    let mut digits = 0usize;
    let mut hyphen_allowed = false;
    for c in body.bytes() {
        if c == b'-' && hyphen_allowed {
            hyphen_allowed = false;
            continue;
        }
        let value = char::from(c).to_digit(16).ok_or_else(error)? as u8;
        let byte = uuid.get_mut(digits / 2).ok_or_else(error)?;
        *byte = *byte << 4 | value;
        digits += 1;
        hyphen_allowed = digits.is_multiple_of(4) && digits < 32;
    }
    if digits == 32 { Ok(uuid) } else { Err(error()) }
}

fn format_uuid(uuid: &[u8; 16], out: &mut String) {
    for (at, part) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
        if at > 0 {
            out.push('-');
        }
        push_hex(&uuid[part], out);
    }
}

#[cfg(test)]
mod tests;
