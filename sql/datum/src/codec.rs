//! Bytes of values inside row payloads: compact, order-irrelevant, unversioned (the row around them has the version).
//! A payload has no length of its own: the row format knows where it ends and which columns are NULL.
//!
//! | type | bytes |
//! |---|---|
//! | bool, "char" | 1 |
//! | integers, oid, date, time, timestamp(tz) | little endian two's complement, only as many bytes as needed: 0 is none |
//! | float4, float8 | 4, 8, little endian |
//! | numeric | scale u8 (252: a u16 follows; 253, 254, 255: -infinity, infinity, NaN), then the mantissa as an integer |
//! | text, json, bytea, uuid | as they are |
//! | timetz | offset i32, then µs as an integer |
//! | interval | months i32, days i32, then µs as an integer |
//! | jsonb | tag byte, then by tag: [`mod@jsonb_tag`] |
//! | array | dimensions u8, (length, lower bound) i32 each, then items |
//! | record | count u16, type oids u32 each, then items |
//!
//! Items carry a varint: 0 for NULL, else their length plus one.

use std::sync::Arc;

use num_bigint::BigInt;

use crate::{
    ArrayDim, ArrayValue, Datum, DatumError, Interval, Jsonb, Numeric, RecordValue, Result, SqlType,
};

const NUMERIC_WIDE_SCALE: u8 = 252;
const NUMERIC_NEG_INFINITY: u8 = 253;
const NUMERIC_INFINITY: u8 = 254;
const NUMERIC_NAN: u8 = 255;

/// First byte of a jsonb value.
pub mod jsonb_tag {
    pub const NULL: u8 = 0;
    pub const FALSE: u8 = 1;
    pub const TRUE: u8 = 2;
    /// Sized numeric payload.
    pub const NUMBER: u8 = 3;
    /// Sized UTF-8.
    pub const STRING: u8 = 4;
    /// Varint count, then values.
    pub const ARRAY: u8 = 5;
    /// Varint count, then sized key and value each.
    pub const OBJECT: u8 = 6;
}

/// Appends the payload. NULL appends nothing.
pub fn write_datum(datum: &Datum, out: &mut Vec<u8>) {
    match datum {
        Datum::Null => {}
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int2(v) => push_int(i64::from(*v), out),
        Datum::Int4(v) => push_int(i64::from(*v), out),
        Datum::Int8(v) => push_int(*v, out),
        Datum::Oid(v) => push_int(i64::from(*v), out),
        Datum::Float4(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Float8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Numeric(v) => push_numeric(v, out),
        Datum::Text(v) | Datum::Json(v) => out.extend_from_slice(v.as_bytes()),
        Datum::Bytea(v) => out.extend_from_slice(v),
        Datum::Date(v) => push_int(i64::from(*v), out),
        Datum::Time(v) | Datum::Timestamp(v) | Datum::Timestamptz(v) => push_int(*v, out),
        Datum::Timetz { micros, offset } => {
            out.extend_from_slice(&offset.to_le_bytes());
            push_int(*micros, out);
        }
        Datum::Interval(v) => {
            out.extend_from_slice(&v.months.to_le_bytes());
            out.extend_from_slice(&v.days.to_le_bytes());
            push_int(v.micros, out);
        }
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Jsonb(v) => push_jsonb(v, out),
        Datum::Char(v) => out.push(*v),
        Datum::Array(v) => {
            out.push(v.dims.len() as u8);
            for dim in &v.dims {
                out.extend_from_slice(&dim.length.to_le_bytes());
                out.extend_from_slice(&dim.lower.to_le_bytes());
            }
            v.items.iter().for_each(|item| push_item(item, out));
        }
        Datum::Record(v) => {
            out.extend_from_slice(&(v.fields.len() as u16).to_le_bytes());
            for at in 0..v.fields.len() {
                let oid = v.types.get(at).map_or(0, SqlType::oid);
                out.extend_from_slice(&oid.to_le_bytes());
            }
            v.fields.iter().for_each(|field| push_item(field, out));
        }
    }
}

/// As few little endian bytes as keep the value and its sign.
fn push_int(v: i64, out: &mut Vec<u8>) {
    if v == 0 {
        return;
    }
    let significant_bits = 65 - if v < 0 { v.leading_ones() } else { v.leading_zeros() };
    let bytes = significant_bits.div_ceil(8) as usize;
    out.extend_from_slice(&v.to_le_bytes()[..bytes]);
}

fn push_numeric(n: &Numeric, out: &mut Vec<u8>) {
    let push_scale = |scale: u32, out: &mut Vec<u8>| match u8::try_from(scale) {
        Ok(scale) if scale < NUMERIC_WIDE_SCALE => out.push(scale),
        _ => {
            out.push(NUMERIC_WIDE_SCALE);
            out.extend_from_slice(&(scale as u16).to_le_bytes());
        }
    };
    match (n.to_i128_parts(), n.to_parts()) {
        (Some((mantissa, scale)), _) if i64::try_from(mantissa).is_ok() => {
            push_scale(scale, out);
            push_int(mantissa as i64, out);
        }
        (_, Some((mantissa, scale))) => {
            push_scale(scale, out);
            out.extend_from_slice(&mantissa.to_signed_bytes_le());
        }
        (_, None) => out.push(match n.signum() {
            None => NUMERIC_NAN,
            Some(-1) => NUMERIC_NEG_INFINITY,
            Some(_) => NUMERIC_INFINITY,
        }),
    }
}

fn push_varint(mut v: u64, out: &mut Vec<u8>) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

fn push_item(datum: &Datum, out: &mut Vec<u8>) {
    if datum.is_null() {
        return out.push(0);
    }
    let mut payload = Vec::new();
    write_datum(datum, &mut payload);
    push_varint(payload.len() as u64 + 1, out);
    out.extend_from_slice(&payload);
}

fn push_jsonb(value: &Jsonb, out: &mut Vec<u8>) {
    let sized = |bytes: &[u8], out: &mut Vec<u8>| {
        push_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    };
    match value {
        Jsonb::Null => out.push(jsonb_tag::NULL),
        Jsonb::Bool(false) => out.push(jsonb_tag::FALSE),
        Jsonb::Bool(true) => out.push(jsonb_tag::TRUE),
        Jsonb::Number(n) => {
            let mut payload = Vec::new();
            push_numeric(n, &mut payload);
            out.push(jsonb_tag::NUMBER);
            sized(&payload, out);
        }
        Jsonb::String(s) => {
            out.push(jsonb_tag::STRING);
            sized(s.as_bytes(), out);
        }
        Jsonb::Array(items) => {
            out.push(jsonb_tag::ARRAY);
            push_varint(items.len() as u64, out);
            items.iter().for_each(|item| push_jsonb(item, out));
        }
        Jsonb::Object(object) => {
            out.push(jsonb_tag::OBJECT);
            push_varint(object.len() as u64, out);
            for (key, item) in object.entries() {
                sized(key.as_bytes(), out);
                push_jsonb(item, out);
            }
        }
    }
}

/// Reads a payload that is the whole of `input`; never yields NULL.
pub fn read_datum(ty: &SqlType, input: &[u8]) -> Result<Datum> {
    let damaged = || DatumError::corrupted(format!("damaged stored value of type {ty}"));
    let text = || std::str::from_utf8(input).map_err(|_| damaged());
    let int = || read_int(input).ok_or_else(damaged);
    let small = || int().and_then(|v| i32::try_from(v).map_err(|_| damaged()));
    Ok(match ty {
        SqlType::Bool => Datum::Bool(*input.first().ok_or_else(damaged)? != 0),
        SqlType::Char => Datum::Char(*input.first().ok_or_else(damaged)?),
        SqlType::Int2 => Datum::Int2(i16::try_from(int()?).map_err(|_| damaged())?),
        SqlType::Int4 => Datum::Int4(small()?),
        SqlType::Int8 => Datum::Int8(int()?),
        SqlType::Float4 => {
            Datum::Float4(f32::from_le_bytes(input.try_into().map_err(|_| damaged())?))
        }
        SqlType::Float8 => {
            Datum::Float8(f64::from_le_bytes(input.try_into().map_err(|_| damaged())?))
        }
        SqlType::Numeric => Datum::Numeric(read_numeric(input).ok_or_else(damaged)?),
        SqlType::Text
        | SqlType::Varchar
        | SqlType::Bpchar
        | SqlType::Name
        | SqlType::Unknown
        | SqlType::Void => Datum::text(text()?),
        SqlType::Json => Datum::Json(Arc::from(text()?)),
        SqlType::Bytea => Datum::bytea(input),
        SqlType::Date => Datum::Date(small()?),
        SqlType::Time => Datum::Time(int()?),
        SqlType::Timestamp => Datum::Timestamp(int()?),
        SqlType::Timestamptz => Datum::Timestamptz(int()?),
        SqlType::Timetz => {
            let (offset, rest) = input.split_first_chunk::<4>().ok_or_else(damaged)?;
            Datum::Timetz {
                micros: read_int(rest).ok_or_else(damaged)?,
                offset: i32::from_le_bytes(*offset),
            }
        }
        SqlType::Interval => {
            let (months, rest) = input.split_first_chunk::<4>().ok_or_else(damaged)?;
            let (days, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
            Datum::Interval(Interval {
                months: i32::from_le_bytes(*months),
                days: i32::from_le_bytes(*days),
                micros: read_int(rest).ok_or_else(damaged)?,
            })
        }
        SqlType::Uuid => Datum::Uuid(input.try_into().map_err(|_| damaged())?),
        SqlType::Jsonb => {
            let mut rest = input;
            let value = read_jsonb(&mut rest).ok_or_else(damaged)?;
            Datum::Jsonb(Arc::new(value))
        }
        SqlType::Oid
        | SqlType::Xid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => Datum::Oid(u32::try_from(int()?).map_err(|_| damaged())?),
        SqlType::Int2Vector => read_array(&SqlType::Int2, input)?.ok_or_else(damaged)?,
        SqlType::OidVector => read_array(&SqlType::Oid, input)?.ok_or_else(damaged)?,
        SqlType::Array(element) => read_array(element, input)?.ok_or_else(damaged)?,
        SqlType::Record => read_record(input)?.ok_or_else(damaged)?,
    })
}

/// Sign-extends; `None` beyond eight bytes.
pub fn read_int(input: &[u8]) -> Option<i64> {
    let last = match input.last() {
        None => return Some(0),
        Some(last) => *last,
    };
    let mut bytes = [if last & 0x80 != 0 { 0xff } else { 0 }; 8];
    bytes.get_mut(..input.len())?.copy_from_slice(input);
    Some(i64::from_le_bytes(bytes))
}

fn read_numeric(input: &[u8]) -> Option<Numeric> {
    let (kind, rest) = input.split_first()?;
    let (scale, mantissa) = match *kind {
        NUMERIC_NAN => return Some(Numeric::NAN),
        NUMERIC_INFINITY => return Some(Numeric::INFINITY),
        NUMERIC_NEG_INFINITY => return Some(Numeric::NEG_INFINITY),
        NUMERIC_WIDE_SCALE => {
            let (scale, rest) = rest.split_first_chunk::<2>()?;
            (u32::from(u16::from_le_bytes(*scale)), rest)
        }
        scale => (u32::from(scale), rest),
    };
    Some(match read_int(mantissa) {
        Some(small) => Numeric::new(i128::from(small), scale),
        None => Numeric::from_bigint(BigInt::from_signed_bytes_le(mantissa), scale),
    })
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn read_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(read_varint(rest)?).ok()?;
    let (head, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(head)
}

fn read_item(ty: &SqlType, rest: &mut &[u8]) -> Result<Option<Datum>> {
    let Some(marker) = read_varint(rest) else {
        return Ok(None);
    };
    let Some(length) = marker.checked_sub(1) else {
        return Ok(Some(Datum::Null));
    };
    match usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) {
        Some((payload, after)) => {
            *rest = after;
            read_datum(ty, payload).map(Some)
        }
        None => Ok(None),
    }
}

fn read_array(element: &SqlType, input: &[u8]) -> Result<Option<Datum>> {
    let Some((&count, mut rest)) = input.split_first() else {
        return Ok(None);
    };
    let mut dims = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let Some((bytes, after)) = rest.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let word = |at: usize| {
            i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        dims.push(ArrayDim { length: word(0), lower: word(4) });
        rest = after;
    }
    let mut items = Vec::new();
    while !rest.is_empty() {
        match read_item(element, &mut rest)? {
            Some(item) => items.push(item),
            None => return Ok(None),
        }
    }
    Ok(Some(Datum::Array(Arc::new(ArrayValue { element: element.clone(), dims, items }))))
}

fn read_record(input: &[u8]) -> Result<Option<Datum>> {
    let Some((count, mut rest)) = input.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let mut types = Vec::new();
    for _ in 0..u16::from_le_bytes(*count) {
        let Some((oid, after)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        types.push(SqlType::from_oid(u32::from_le_bytes(*oid)).unwrap_or(SqlType::Unknown));
        rest = after;
    }
    let mut fields = Vec::with_capacity(types.len());
    for ty in &types {
        match read_item(ty, &mut rest)? {
            Some(field) => fields.push(field),
            None => return Ok(None),
        }
    }
    Ok(Some(Datum::Record(Arc::new(RecordValue { types: types.into(), fields }))))
}

fn read_jsonb(rest: &mut &[u8]) -> Option<Jsonb> {
    let (tag, after) = rest.split_first()?;
    *rest = after;
    let text = |rest: &mut &[u8]| std::str::from_utf8(read_sized(rest)?).ok().map(Box::from);
    Some(match *tag {
        jsonb_tag::NULL => Jsonb::Null,
        jsonb_tag::FALSE => Jsonb::Bool(false),
        jsonb_tag::TRUE => Jsonb::Bool(true),
        jsonb_tag::NUMBER => Jsonb::Number(read_numeric(read_sized(rest)?)?),
        jsonb_tag::STRING => Jsonb::String(text(rest)?),
        jsonb_tag::ARRAY => {
            let count = read_varint(rest)?;
            Jsonb::Array((0..count).map(|_| read_jsonb(rest)).collect::<Option<_>>()?)
        }
        jsonb_tag::OBJECT => {
            let count = read_varint(rest)?;
            let entries: Option<Vec<_>> =
                (0..count).map(|_| Some((text(rest)?, read_jsonb(rest)?))).collect();
            Jsonb::object(entries?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::push_hex;
    use crate::{ColumnType, TypeContext, text};

    fn stored(ty: SqlType, value: &str) -> String {
        let ctx = TypeContext::default();
        let datum = text::parse(&ColumnType::plain(ty.clone()), value, &ctx).unwrap();
        let mut bytes = Vec::new();
        write_datum(&datum, &mut bytes);
        let back = read_datum(&ty, &bytes).unwrap();
        assert_eq!(text::to_string(&back, &ty, &ctx), value, "{ty}");
        let mut hex = String::new();
        push_hex(&bytes, &mut hex);
        hex
    }

    /// These bytes are on disks: a change here is a change of the row format's version.
    #[test]
    fn stored_bytes_are_golden() {
        for (ty, value, want) in [
            (SqlType::Bool, "t", "01"),
            (SqlType::Int4, "0", ""),
            (SqlType::Int4, "-1", "ff"),
            (SqlType::Int4, "127", "7f"),
            (SqlType::Int4, "128", "8000"),
            (SqlType::Int8, "-9223372036854775808", "0000000000000080"),
            (SqlType::Float8, "-0", "0000000000000080"),
            (SqlType::Numeric, "1.50", "029600"),
            (SqlType::Numeric, "0.000", "03"),
            (SqlType::Numeric, "NaN", "ff"),
            (SqlType::Numeric, "-Infinity", "fd"),
            (SqlType::Numeric, "18446744073709551616", "00000000000000000001"),
            (SqlType::Text, "abc", "616263"),
            (SqlType::Date, "1970-01-02", "01"),
            (SqlType::Timestamp, "1970-01-01 00:00:00.000256", "0001"),
            (SqlType::Timestamp, "infinity", "ffffffffffffff7f"),
            (SqlType::Timetz, "00:00:00.000001+01", "100e000001"),
            (SqlType::Interval, "1 mon 2 days", "0100000002000000"),
            (SqlType::Oid, "4294967295", "ffffffff00"),
            (SqlType::Jsonb, "{\"a\": [1, null, true, \"x\"]}", "06010161050403020001000204 0178"),
            (SqlType::array_of(SqlType::Int4), "{7,NULL,0}", "0103000000010000000207 0001"),
            (SqlType::array_of(SqlType::Text), "{}", "00"),
            (SqlType::array_of(SqlType::Text), "[0:1]={a,\"\"}", "01020000000000000002 6101"),
        ] {
            assert_eq!(stored(ty.clone(), value), want.replace(' ', ""), "{ty} {value}");
        }
    }

    #[test]
    fn damaged_bytes_are_errors_not_panics() {
        for ty in SqlType::SCALARS {
            for length in 0..20 {
                for fill in [0u8, 1, 0x7f, 0xff] {
                    let _ = read_datum(&ty, &vec![fill; length]);
                    let _ = read_datum(&SqlType::array_of(ty.clone()), &vec![fill; length]);
                }
            }
        }
        assert_eq!(read_datum(&SqlType::Int4, &[0xff; 9]).unwrap_err().sqlstate, "XX001");
    }
}
