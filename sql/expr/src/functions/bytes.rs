//! bytea, encodings, digests, uuids.

use crate::args::{bytes, int4, int8, mismatch, text};
use crate::error::{EvalResult, ExprError, Result, check_bytes};
use crate::registry::{Registry, Volatility};
use datum::Datum;
use md5::Md5;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

pub(super) fn register(r: &mut Registry) {
    for signature in ["length(bytea) int4", "octet_length(bytea) int4"] {
        r.strict(signature, |args, _| Ok(Datum::Int4(bytes(args, 0)?.len() as i32)));
    }
    r.strict("bit_length(bytea) int4", |args, _| Ok(Datum::Int4(bytes(args, 0)?.len() as i32 * 8)));
    for signature in [
        "substr(bytea, int4) bytea",
        "substring(bytea, int4) bytea",
        "substr(bytea, int4, int4) bytea",
        "substring(bytea, int4, int4) bytea",
    ] {
        r.strict(signature, substring);
    }
    r.strict("position(bytea, bytea) int4", |args, _| {
        let (whole, part) = (bytes(args, 0)?, bytes(args, 1)?);
        if part.is_empty() {
            return Ok(Datum::Int4(1));
        }
        let at = whole.windows(part.len()).position(|window| window == part);
        Ok(Datum::Int4(at.map_or(0, |at| at as i32 + 1)))
    });
    r.strict("btrim(bytea, bytea) bytea", |args, _| trim(args, true, true));
    r.strict("ltrim(bytea, bytea) bytea", |args, _| trim(args, true, false));
    r.strict("rtrim(bytea, bytea) bytea", |args, _| trim(args, false, true));
    r.strict("get_byte(bytea, int4) int4", |args, _| {
        let (value, at) = (bytes(args, 0)?, int4(args, 1)?);
        usize::try_from(at)
            .ok()
            .and_then(|at| value.get(at))
            .map(|byte| Datum::Int4(i32::from(*byte)))
            .ok_or_else(|| index_error(i64::from(at), value.len()))
    });
    r.strict("set_byte(bytea, int4, int4) bytea", |args, _| {
        let mut value = bytes(args, 0)?.to_vec();
        let (at, length) = (int4(args, 1)?, value.len());
        let slot = usize::try_from(at).ok().and_then(|at| value.get_mut(at));
        *slot.ok_or_else(|| index_error(i64::from(at), length))? = int4(args, 2)? as u8;
        Ok(Datum::bytea(value))
    });
    r.strict("get_bit(bytea, int8) int4", |args, _| {
        let (value, at) = (bytes(args, 0)?, int8(args, 1)?);
        let byte =
            usize::try_from(at / 8).ok().filter(|_| at >= 0).and_then(|byte| value.get(byte));
        byte.map(|byte| Datum::Int4(i32::from((byte >> (at % 8)) & 1)))
            .ok_or_else(|| index_error(at, value.len() * 8))
    });
    r.strict("bit_count(bytea) int8", |args, _| {
        Ok(Datum::Int8(bytes(args, 0)?.iter().map(|byte| i64::from(byte.count_ones())).sum()))
    });
    r.strict("reverse(bytea) bytea", |args, _| {
        Ok(Datum::bytea(bytes(args, 0)?.iter().rev().copied().collect::<Vec<u8>>()))
    });
    register_encodings(r);
    register_digests(r);
    r.volatility(Volatility::Volatile);
    for signature in ["gen_random_uuid() uuid", "uuid_generate_v4() uuid"] {
        r.strict(signature, |_, _| Ok(Datum::Uuid(uuid::Uuid::new_v4().into_bytes())));
    }
    r.volatility(Volatility::Immutable);
}

fn index_error(at: i64, length: usize) -> ExprError {
    ExprError::new("2202E", format!("index {at} out of valid range, 0..{}", length as i64 - 1))
}

fn substring(args: &[Datum], _: &crate::Invocation<'_>) -> EvalResult {
    let value = bytes(args, 0)?;
    let start = i64::from(int4(args, 1)?);
    let end = match args.get(2) {
        None => value.len() as i64,
        Some(_) => {
            let length = i64::from(int4(args, 2)?);
            if length < 0 {
                return Err(ExprError::new("22011", "negative substring length not allowed"));
            }
            start - 1 + length
        }
    };
    let from = (start.max(1) - 1).min(value.len() as i64);
    let to = end.clamp(from, (value.len() as i64).max(from));
    Ok(Datum::bytea(&value[from as usize..to as usize]))
}

fn trim(args: &[Datum], start: bool, end: bool) -> EvalResult {
    let mut value = bytes(args, 0)?;
    let mut set = [false; 256];
    for byte in bytes(args, 1)? {
        set[usize::from(*byte)] = true;
    }
    while start && value.first().is_some_and(|byte| set[usize::from(*byte)]) {
        value = &value[1..];
    }
    while end && value.last().is_some_and(|byte| set[usize::from(*byte)]) {
        value = &value[..value.len() - 1];
    }
    Ok(Datum::bytea(value))
}

fn register_encodings(r: &mut Registry) {
    r.strict("encode(bytea, text) text", |args, _| {
        let value = bytes(args, 0)?;
        check_bytes(value.len().saturating_mul(4))?;
        Ok(match text(args, 1)?.to_ascii_lowercase().as_str() {
            "hex" => hex(value).into(),
            "base64" => base64(value).into(),
            "escape" => escape(value).into(),
            other => return Err(unknown_encoding(other)),
        })
    });
    r.strict("decode(text, text) bytea", |args, _| {
        let s = text(args, 0)?;
        Ok(Datum::bytea(match text(args, 1)?.to_ascii_lowercase().as_str() {
            "hex" => datum::text::parse_hex(s)?,
            "base64" => from_base64(s)?,
            "escape" => datum::text::parse_bytea_escape(s)?,
            other => return Err(unknown_encoding(other)),
        }))
    });
    r.strict("convert_from(bytea, text) text", |args, _| {
        let value = bytes(args, 0)?;
        match encoding(text(args, 1)?, "source")? {
            Encoding::Utf8 => match std::str::from_utf8(value) {
                Ok(s) => Ok(Datum::text(s)),
                Err(error) => {
                    let bad = &value[error.valid_up_to()..];
                    let shown: Vec<String> = bad
                        .iter()
                        .take(error.error_len().unwrap_or(1))
                        .map(|b| format!("0x{b:02x}"))
                        .collect();
                    Err(ExprError::new(
                        "22021",
                        format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
                    ))
                }
            },
            Encoding::Latin1 => {
                check_bytes(value.len().saturating_mul(2))?;
                Ok(value.iter().map(|byte| *byte as char).collect::<String>().into())
            }
        }
    });
    r.strict("convert_to(text, text) bytea", |args, _| {
        let s = text(args, 0)?;
        match encoding(text(args, 1)?, "destination")? {
            Encoding::Utf8 => Ok(Datum::bytea(s)),
            Encoding::Latin1 => {
                let narrow: Option<Vec<u8>> =
                    s.chars().map(|c| u8::try_from(c as u32).ok()).collect();
                narrow.map(Datum::bytea).ok_or_else(|| {
                    ExprError::new("22P05", "character has no equivalent in encoding \"LATIN1\"")
                })
            }
        }
    });
    r.strict("convert(bytea, text, text) bytea", |args, _| {
        encoding(text(args, 1)?, "source")?;
        encoding(text(args, 2)?, "destination")?;
        Ok(args[0].clone())
    });
}

enum Encoding {
    Utf8,
    Latin1,
}

fn encoding(name: &str, which: &str) -> Result<Encoding> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" | "sqlascii" => Ok(Encoding::Utf8),
        "latin1" | "iso88591" => Ok(Encoding::Latin1),
        _ => Err(ExprError::invalid_parameter(format!("invalid {which} encoding name \"{name}\""))),
    }
}

fn unknown_encoding(name: &str) -> ExprError {
    ExprError::invalid_parameter(format!("unrecognized encoding: \"{name}\""))
}

fn hex(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len() * 2);
    datum::text::push_hex(value, &mut out);
    out
}

fn escape(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0 | 0x80..=0xff => out.push_str(&format!("\\{byte:03o}")),
            byte => out.push(*byte as char),
        }
    }
    out
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// MIME's form: lines of 76 characters.
fn base64(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len() / 3 * 4 + 8);
    let mut column = 0;
    for chunk in value.chunks(3) {
        if column == 76 {
            out.push('\n');
            column = 0;
        }
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for index in 0..4 {
            if index <= chunk.len() {
                out.push(ALPHABET[((bits >> (18 - 6 * index)) & 63) as usize] as char);
            } else {
                out.push('=');
            }
        }
        column += 4;
    }
    out
}

fn from_base64(s: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(s.len() / 4 * 3);
    let (mut bits, mut count, mut padding) = (0u32, 0, 0);
    for c in s.bytes() {
        if c.is_ascii_whitespace() {
            continue;
        }
        if c == b'=' {
            padding += 1;
            continue;
        }
        let Some(value) = ALPHABET.iter().position(|own| *own == c).filter(|_| padding == 0) else {
            return Err(ExprError::invalid_parameter(format!(
                "invalid symbol \"{}\" found while decoding base64 sequence",
                c as char
            )));
        };
        bits = (bits << 6) | value as u32;
        count += 1;
        if count == 4 {
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
            (bits, count) = (0, 0);
        }
    }
    match (count, padding) {
        (0, 0) => {}
        (2, 2) => out.push((bits >> 4) as u8),
        (3, 1) => out.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => {
            return Err(ExprError::invalid_parameter("invalid base64 end sequence").with_hint(
                "Input data is missing padding, is truncated, or is otherwise corrupted.",
            ));
        }
    }
    Ok(out)
}

fn raw(args: &[Datum]) -> Result<&[u8]> {
    match args.first() {
        Some(Datum::Text(text)) => Ok(text.as_bytes()),
        Some(Datum::Bytea(value)) => Ok(value),
        _ => mismatch(args),
    }
}

fn register_digests(r: &mut Registry) {
    for signature in ["md5(text) text", "md5(bytea) text"] {
        r.strict(signature, |args, _| Ok(hex(&Md5::digest(raw(args)?)).into()));
    }
    r.strict("sha224(bytea) bytea", |args, _| Ok(Datum::bytea(Sha224::digest(raw(args)?))));
    r.strict("sha256(bytea) bytea", |args, _| Ok(Datum::bytea(Sha256::digest(raw(args)?))));
    r.strict("sha384(bytea) bytea", |args, _| Ok(Datum::bytea(Sha384::digest(raw(args)?))));
    r.strict("sha512(bytea) bytea", |args, _| Ok(Datum::bytea(Sha512::digest(raw(args)?))));
    for signature in ["hashtext(text) int4", "hashtextextended(text, int8) int8"] {
        // Not PostgreSQL's hash, but as stable: what people use them for is advisory lock keys.
        r.strict(signature, |args, call| {
            let digest = Md5::digest(raw(args)?);
            let mut wide = [0; 8];
            wide.copy_from_slice(&digest[..8]);
            let mut hash = i64::from_be_bytes(wide);
            if args.len() > 1 {
                hash = hash.wrapping_add(int8(args, 1)?);
            }
            Ok(if *call.result_type() == datum::SqlType::Int4 {
                Datum::Int4(hash as i32)
            } else {
                Datum::Int8(hash)
            })
        });
    }
}
