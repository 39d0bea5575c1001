//! Order-preserving, self-delimiting bytes of values inside keys: comparing the bytes compares the values.
//!
//! ```text
//!   value  ::= marker payload                marker: 00 NULL (first) | 01 value | 02 NULL (last)
//!   DESC inverts every bit of the payload; the marker stays, since NULLS FIRST|LAST is chosen apart.
//! ```
//!
//! | type | payload |
//! |---|---|
//! | bool, "char" | 1 byte |
//! | int2/4/8, date, time, timestamp(tz) | big endian, sign bit flipped |
//! | oid | big endian |
//! | float4/8 | big endian bits; positive: sign flipped, negative: all flipped; one NaN above all, one zero |
//! | numeric | class (01 -inf, 02 negative, 03 zero, 04 positive, 05 inf, 06 NaN); then for finite non-zero: decimal exponent of the first digit + 2^23 in 3 bytes, pairs of digits + 1, 00; inverted if negative |
//! | text, bytea | bytes with 00 written 00 ff, then 00 01 |
//! | uuid | 16 bytes |
//! | interval | its span in µs (30 days a month) as i128, sign flipped |
//! | timetz | UTC µs as i64, seconds west as i32, signs flipped |
//! | array | per item 02 payload, or 03 for NULL; 01 at the end; dimensions u8, lengths, lower bounds as i32 |
//!
//! Equal values have equal bytes, so that unique indexes work: `char(n)` loses its trailing blanks, numeric its display
//! scale, interval its units. [`is_lossless`] says which types come back exactly.

use std::sync::Arc;

use num_bigint::BigInt;

use crate::interval::MICROS_PER_DAY;
use crate::numeric::pow10;
use crate::{
    ArrayDim, ArrayValue, ColumnType, Datum, DatumError, Interval, Numeric, Result, SqlType,
    sqlstate, typmod,
};

const NULL_FIRST: u8 = 0;
const VALUE: u8 = 1;
const NULL_LAST: u8 = 2;

const EXPONENT_BIAS: i64 = 1 << 23;
const CLASS_NEG_INFINITY: u8 = 1;
const CLASS_NEGATIVE: u8 = 2;
const CLASS_ZERO: u8 = 3;
const CLASS_POSITIVE: u8 = 4;
const CLASS_INFINITY: u8 = 5;
const CLASS_NAN: u8 = 6;

const ARRAY_END: u8 = 1;
const ARRAY_ITEM: u8 = 2;
const ARRAY_NULL: u8 = 3;

/// Appends one value. `ty` is the key column's type, which the datum must be of (integers of other widths are
/// converted). Fails for types that have no order here (json, jsonb, records).
pub fn encode(
    datum: &Datum,
    ty: &SqlType,
    desc: bool,
    nulls_first: bool,
    out: &mut Vec<u8>,
) -> Result<()> {
    if datum.is_null() {
        out.push(if nulls_first { NULL_FIRST } else { NULL_LAST });
        return Ok(());
    }
    out.push(VALUE);
    let start = out.len();
    encode_value(datum, ty, out)?;
    if desc {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(())
}

/// Reads one value from the front of `input` and moves it on.
pub fn decode(ty: &ColumnType, desc: bool, nulls_first: bool, input: &mut &[u8]) -> Result<Datum> {
    let null = if nulls_first { NULL_FIRST } else { NULL_LAST };
    let damaged = || damaged(&ty.ty);
    let (marker, rest) = input.split_first().ok_or_else(damaged)?;
    if *marker == null {
        *input = rest;
        return Ok(Datum::Null);
    }
    if *marker != VALUE {
        return Err(damaged());
    }
    let mut reader = Reader { rest, flip: if desc { 0xff } else { 0 } };
    let datum = decode_value(&ty.ty, &mut reader).ok_or_else(damaged)?;
    *input = reader.rest;
    refit(datum, ty)
}

/// Moves `input` past one value.
pub fn skip(ty: &SqlType, desc: bool, nulls_first: bool, input: &mut &[u8]) -> Result<()> {
    decode(&ColumnType::plain(ty.clone()), desc, nulls_first, input).map(|_| ())
}

/// Whether a type can be a key column at all.
pub fn is_indexable(ty: &SqlType) -> bool {
    match ty {
        SqlType::Json | SqlType::Jsonb | SqlType::Void | SqlType::Record | SqlType::Unknown => {
            false
        }
        SqlType::Array(element) => is_indexable(element),
        _ => true,
    }
}

/// Whether decoding gives back exactly what was encoded. If not, the row value must hold the column too.
pub fn is_lossless(ty: &ColumnType) -> bool {
    match &ty.ty {
        SqlType::Float4 | SqlType::Float8 | SqlType::Interval => false,
        SqlType::Numeric => ty.numeric_precision_scale().is_some(),
        SqlType::Bpchar => ty.length().is_some(),
        SqlType::Array(_) => ty.element().is_some_and(|element| is_lossless(&element)),
        other => is_indexable(other),
    }
}

/// What the type's modifier restores: blanks of `char(n)`, digits after the point of `numeric(p,s)`.
fn refit(datum: Datum, ty: &ColumnType) -> Result<Datum> {
    let element = match &ty.ty {
        SqlType::Array(element) => element,
        other => other,
    };
    match element {
        SqlType::Numeric | SqlType::Bpchar if ty.typmod >= 0 => typmod::apply(datum, ty, true),
        _ => Ok(datum),
    }
}

fn damaged(ty: &SqlType) -> DatumError {
    DatumError::corrupted(format!("damaged key of type {ty}"))
}

fn mismatch(datum: &Datum, ty: &SqlType) -> DatumError {
    DatumError::new(
        sqlstate::FEATURE_NOT_SUPPORTED,
        format!("a value of type {} cannot be a key of type {ty}", datum.natural_type()),
    )
}

fn encode_value(datum: &Datum, ty: &SqlType, out: &mut Vec<u8>) -> Result<()> {
    let integer = || datum.as_i64().ok_or_else(|| mismatch(datum, ty));
    match (ty, datum) {
        (SqlType::Int2, _) => {
            let v = i16::try_from(integer()?).map_err(|_| mismatch(datum, ty))?;
            out.extend_from_slice(&(v ^ i16::MIN).to_be_bytes());
        }
        (SqlType::Int4, _) => {
            let v = i32::try_from(integer()?).map_err(|_| mismatch(datum, ty))?;
            out.extend_from_slice(&(v ^ i32::MIN).to_be_bytes());
        }
        (SqlType::Int8, _) => push_i64(integer()?, out),
        (_, Datum::Bool(v)) => out.push(u8::from(*v)),
        (_, Datum::Char(v)) => out.push(*v),
        (_, Datum::Oid(v)) => out.extend_from_slice(&v.to_be_bytes()),
        (_, Datum::Date(v)) => out.extend_from_slice(&(v ^ i32::MIN).to_be_bytes()),
        (_, Datum::Time(v) | Datum::Timestamp(v) | Datum::Timestamptz(v)) => push_i64(*v, out),
        (SqlType::Float4, Datum::Float4(v)) => {
            let bits = if v.is_nan() { f32::NAN } else { v + 0.0 }.to_bits();
            let mask = if bits >> 31 == 1 { u32::MAX } else { 1 << 31 };
            out.extend_from_slice(&(bits ^ mask).to_be_bytes());
        }
        (SqlType::Float8, Datum::Float8(v)) => {
            let bits = if v.is_nan() { f64::NAN } else { v + 0.0 }.to_bits();
            let mask = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
            out.extend_from_slice(&(bits ^ mask).to_be_bytes());
        }
        (_, Datum::Numeric(v)) => encode_numeric(v, out),
        (SqlType::Bpchar, Datum::Text(v)) => push_bytes(v.trim_end_matches(' ').as_bytes(), out),
        (_, Datum::Text(v)) => push_bytes(v.as_bytes(), out),
        (_, Datum::Bytea(v)) => push_bytes(v, out),
        (_, Datum::Uuid(v)) => out.extend_from_slice(v),
        (_, Datum::Interval(v)) => {
            out.extend_from_slice(&(v.span_micros() ^ i128::MIN).to_be_bytes());
        }
        (_, Datum::Timetz { micros, offset }) => {
            push_i64(micros - i64::from(*offset) * 1_000_000, out);
            out.extend_from_slice(&(-offset ^ i32::MIN).to_be_bytes());
        }
        (_, Datum::Array(v)) => {
            for item in &v.items {
                if item.is_null() {
                    out.push(ARRAY_NULL);
                } else {
                    out.push(ARRAY_ITEM);
                    encode_value(item, &v.element, out)?;
                }
            }
            out.push(ARRAY_END);
            out.push(v.dims.len() as u8);
            let lengths = v.dims.iter().map(|dim| dim.length);
            for word in lengths.chain(v.dims.iter().map(|dim| dim.lower)) {
                out.extend_from_slice(&(word ^ i32::MIN).to_be_bytes());
            }
        }
        _ => return Err(mismatch(datum, ty)),
    }
    Ok(())
}

fn push_i64(v: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(v ^ i64::MIN).to_be_bytes());
}

fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 1]);
}

fn encode_numeric(n: &Numeric, out: &mut Vec<u8>) {
    let trimmed = n.trim_scale();
    let class = match trimmed.signum() {
        None => CLASS_NAN,
        Some(0) => CLASS_ZERO,
        Some(-1) if n.is_infinite() => CLASS_NEG_INFINITY,
        Some(-1) => CLASS_NEGATIVE,
        Some(_) if n.is_infinite() => CLASS_INFINITY,
        Some(_) => CLASS_POSITIVE,
    };
    out.push(class);
    if class != CLASS_NEGATIVE && class != CLASS_POSITIVE {
        return;
    }
    let start = out.len();
    // Exact: the scale is the least that holds the value, and zeros before the point are trimmed here.
    let scale = i64::from(trimmed.scale().unwrap_or(0));
    let digits = match trimmed.to_i128_parts() {
        Some((mantissa, _)) => mantissa.unsigned_abs().to_string(),
        None => trimmed.to_parts().map_or(String::new(), |(m, _)| m.magnitude().to_string()),
    };
    let exponent = digits.len() as i64 - 1 - scale;
    out.extend_from_slice(&((exponent + EXPONENT_BIAS) as u32).to_be_bytes()[1..]);
    for pair in digits.trim_end_matches('0').as_bytes().chunks(2) {
        let units = pair.get(1).map_or(0, |b| b - b'0');
        out.push((pair[0] - b'0') * 10 + units + 1);
    }
    out.push(0);
    if class == CLASS_NEGATIVE {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// ff under DESC.
    flip: u8,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte ^ self.flip)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(head.map(|byte| byte ^ self.flip))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.array()?) ^ i32::MIN)
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.array()?) ^ i64::MIN)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            match self.byte()? {
                0 => match self.byte()? {
                    0xff => out.push(0),
                    1 => return Some(out),
                    _ => return None,
                },
                byte => out.push(byte),
            }
        }
    }

    fn text(&mut self) -> Option<Datum> {
        String::from_utf8(self.bytes()?).ok().map(Datum::from)
    }
}

fn decode_value(ty: &SqlType, r: &mut Reader<'_>) -> Option<Datum> {
    Some(match ty {
        SqlType::Bool => Datum::Bool(r.byte()? != 0),
        SqlType::Char => Datum::Char(r.byte()?),
        SqlType::Int2 => Datum::Int2(i16::from_be_bytes(r.array()?) ^ i16::MIN),
        SqlType::Int4 => Datum::Int4(r.i32()?),
        SqlType::Int8 => Datum::Int8(r.i64()?),
        SqlType::Oid
        | SqlType::Xid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => Datum::Oid(u32::from_be_bytes(r.array()?)),
        SqlType::Float4 => {
            let bits = u32::from_be_bytes(r.array()?);
            let mask = if bits >> 31 == 1 { 1 << 31 } else { u32::MAX };
            Datum::Float4(f32::from_bits(bits ^ mask))
        }
        SqlType::Float8 => {
            let bits = u64::from_be_bytes(r.array()?);
            let mask = if bits >> 63 == 1 { 1 << 63 } else { u64::MAX };
            Datum::Float8(f64::from_bits(bits ^ mask))
        }
        SqlType::Numeric => Datum::Numeric(decode_numeric(r)?),
        SqlType::Text | SqlType::Varchar | SqlType::Bpchar | SqlType::Name => r.text()?,
        SqlType::Bytea => Datum::Bytea(r.bytes()?.into()),
        SqlType::Date => Datum::Date(r.i32()?),
        SqlType::Time => Datum::Time(r.i64()?),
        SqlType::Timestamp => Datum::Timestamp(r.i64()?),
        SqlType::Timestamptz => Datum::Timestamptz(r.i64()?),
        SqlType::Timetz => {
            let utc = r.i64()?;
            let offset = r.i32()?.checked_neg()?;
            Datum::Timetz { micros: utc.checked_add(i64::from(offset) * 1_000_000)?, offset }
        }
        SqlType::Uuid => Datum::Uuid(r.array()?),
        SqlType::Interval => {
            Datum::Interval(interval_of_span(i128::from_be_bytes(r.array()?) ^ i128::MIN)?)
        }
        SqlType::Int2Vector => decode_array(&SqlType::Int2, r)?,
        SqlType::OidVector => decode_array(&SqlType::Oid, r)?,
        SqlType::Array(element) => decode_array(element, r)?,
        SqlType::Json | SqlType::Jsonb | SqlType::Void | SqlType::Unknown | SqlType::Record => {
            return None;
        }
    })
}

/// An interval of this span: as days and time, or with months where the days would not fit.
fn interval_of_span(span: i128) -> Option<Interval> {
    let day = i128::from(MICROS_PER_DAY);
    let (mut days, micros) = (span / day, (span % day) as i64);
    let mut months = 0;
    if i32::try_from(days).is_err() {
        months = days / 30;
        // Months alone may not reach either; the days then take the rest.
        months = months.clamp(i128::from(i32::MIN), i128::from(i32::MAX));
        days -= months * 30;
    }
    Some(Interval { months: months as i32, days: i32::try_from(days).ok()?, micros })
}

fn decode_array(element: &SqlType, r: &mut Reader<'_>) -> Option<Datum> {
    let mut items = Vec::new();
    loop {
        match r.byte()? {
            ARRAY_END => break,
            ARRAY_NULL => items.push(Datum::Null),
            ARRAY_ITEM => items.push(decode_value(element, r)?),
            _ => return None,
        }
    }
    let count = r.byte()?;
    let lengths: Vec<i32> = (0..count).map(|_| r.i32()).collect::<Option<_>>()?;
    let lowers: Vec<i32> = (0..count).map(|_| r.i32()).collect::<Option<_>>()?;
    let dims =
        lengths.into_iter().zip(lowers).map(|(length, lower)| ArrayDim { length, lower }).collect();
    Some(Datum::Array(Arc::new(ArrayValue { element: element.clone(), dims, items })))
}

fn decode_numeric(r: &mut Reader<'_>) -> Option<Numeric> {
    let negative = match r.byte()? {
        CLASS_NEG_INFINITY => return Some(Numeric::NEG_INFINITY),
        CLASS_ZERO => return Some(Numeric::ZERO),
        CLASS_INFINITY => return Some(Numeric::INFINITY),
        CLASS_NAN => return Some(Numeric::NAN),
        CLASS_NEGATIVE => true,
        CLASS_POSITIVE => false,
        _ => return None,
    };
    let flip = if negative { 0xff } else { 0 };
    let [a, b, c] = r.array::<3>()?.map(|byte| byte ^ flip);
    let exponent = i64::from(u32::from_be_bytes([0, a, b, c])) - EXPONENT_BIAS;
    let mut digits = 0i64;
    let mut mantissa = BigInt::ZERO;
    let mut small = 0i64;
    loop {
        let byte = r.byte()? ^ flip;
        if byte == 0 {
            break;
        }
        let pair = i64::from(byte) - 1;
        if digits < 18 {
            small = small * 100 + pair;
        } else {
            if digits == 18 {
                mantissa = BigInt::from(small);
            }
            mantissa = mantissa * 100 + pair;
        }
        digits += 2;
    }
    if digits <= 18 {
        mantissa = BigInt::from(small);
    }
    if negative {
        mantissa = -mantissa;
    }
    // The mantissa's last digit stands at 10^(exponent - digits + 1).
    let scale = digits - 1 - exponent;
    Some(if scale <= 0 {
        Numeric::from_bigint(mantissa * pow10(u32::try_from(-scale).ok()?), 0)
    } else {
        Numeric::from_bigint(mantissa, u32::try_from(scale).ok()?).trim_scale()
    })
}

#[cfg(test)]
mod tests;
