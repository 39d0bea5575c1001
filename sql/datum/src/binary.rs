//! The wire's binary format of every type, network byte order: what each type's send and receive functions do.
//!
//! | type | bytes |
//! |---|---|
//! | bool, "char" | 1 |
//! | int2, int4, int8, oid, float4, float8 | 2, 4, 8, 4, 4, 8 |
//! | numeric | ndigits i16, weight i16, sign u16, dscale u16, then base-10000 digits i16 |
//! | date | days since **2000**-01-01 i32 |
//! | time; timetz | µs i64; and seconds **west** i32 |
//! | timestamp, timestamptz | µs since **2000**-01-01 i64 |
//! | interval | µs i64, days i32, months i32 |
//! | jsonb | version 1, then text |
//! | array | ndim i32, has-null i32, element oid, (length, lower bound) i32 each, then per item length i32 and bytes |
//! | record | fields i32, then per field oid, length i32, bytes |

use std::sync::Arc;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, ToPrimitive, Zero};

use crate::numeric::pow10;
use crate::{
    ArrayDim, ArrayValue, ColumnType, Datum, DatumError, Interval, Numeric, RecordValue, Result,
    SqlType, TypeContext, json, sqlstate, typmod,
};

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

const NUMERIC_NEGATIVE: u16 = 0x4000;
const NUMERIC_NAN: u16 = 0xc000;
const NUMERIC_INFINITY: u16 = 0xd000;
const NUMERIC_NEG_INFINITY: u16 = 0xf000;

/// Appends the payload without its length. NULL appends nothing; the caller writes length -1.
pub fn encode(datum: &Datum, ty: &SqlType, out: &mut Vec<u8>) {
    match datum {
        Datum::Null => {}
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int2(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Int4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Int8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Float4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Float8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Numeric(v) => encode_numeric(v, out),
        Datum::Text(v) | Datum::Json(v) => out.extend_from_slice(v.as_bytes()),
        Datum::Bytea(v) => out.extend_from_slice(v),
        Datum::Date(v) => {
            let wire = if *v == i32::MAX || *v == i32::MIN { *v } else { *v - EPOCH_DAYS };
            out.extend_from_slice(&wire.to_be_bytes());
        }
        Datum::Time(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Timetz { micros, offset } => {
            out.extend_from_slice(&micros.to_be_bytes());
            out.extend_from_slice(&(-offset).to_be_bytes());
        }
        Datum::Timestamp(v) | Datum::Timestamptz(v) => {
            let wire = if *v == i64::MAX || *v == i64::MIN { *v } else { *v - EPOCH_MICROS };
            out.extend_from_slice(&wire.to_be_bytes());
        }
        Datum::Interval(v) => {
            out.extend_from_slice(&v.micros.to_be_bytes());
            out.extend_from_slice(&v.days.to_be_bytes());
            out.extend_from_slice(&v.months.to_be_bytes());
        }
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Jsonb(v) => {
            let mut text = String::new();
            json::format(v, &mut text);
            out.push(1);
            out.extend_from_slice(text.as_bytes());
        }
        Datum::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Char(v) => out.push(*v),
        Datum::Array(v) => encode_array(v, ty, out),
        Datum::Record(v) => {
            out.extend_from_slice(&(v.fields.len() as i32).to_be_bytes());
            for (at, field) in v.fields.iter().enumerate() {
                let ty = v.types.get(at).cloned().unwrap_or_else(|| field.natural_type());
                out.extend_from_slice(&ty.oid().to_be_bytes());
                encode_with_length(field, &ty, out);
            }
        }
    }
}

/// i32 length and payload; -1 for NULL.
pub fn encode_with_length(datum: &Datum, ty: &SqlType, out: &mut Vec<u8>) {
    if datum.is_null() {
        return out.extend_from_slice(&(-1i32).to_be_bytes());
    }
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    encode(datum, ty, out);
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn encode_array(array: &ArrayValue, ty: &SqlType, out: &mut Vec<u8>) {
    let element = ty.element_type().unwrap_or_else(|| array.element.clone());
    let has_null = array.items.iter().any(Datum::is_null);
    out.extend_from_slice(&(array.dims.len() as i32).to_be_bytes());
    out.extend_from_slice(&i32::from(has_null).to_be_bytes());
    out.extend_from_slice(&element.oid().to_be_bytes());
    for dim in &array.dims {
        out.extend_from_slice(&dim.length.to_be_bytes());
        out.extend_from_slice(&dim.lower.to_be_bytes());
    }
    for item in &array.items {
        encode_with_length(item, &element, out);
    }
}

fn encode_numeric(n: &Numeric, out: &mut Vec<u8>) {
    let header = |digits: i16, weight: i16, sign: u16, scale: u16, out: &mut Vec<u8>| {
        out.extend_from_slice(&digits.to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&sign.to_be_bytes());
        out.extend_from_slice(&scale.to_be_bytes());
    };
    let Some((mantissa, scale)) = n.to_parts() else {
        let sign = match n.signum() {
            None => NUMERIC_NAN,
            Some(-1) => NUMERIC_NEG_INFINITY,
            Some(_) => NUMERIC_INFINITY,
        };
        // The infinities are sent with a display scale that means nothing.
        let scale = if n.is_nan() { 0 } else { 32 };
        return header(0, 0, sign, scale, out);
    };
    // Align the point to groups of four digits.
    let pad = (4 - scale % 4) % 4;
    let mut rest = mantissa.abs() * pow10(pad);
    let fraction_groups = i64::from((scale + pad) / 4);
    let mut groups: Vec<i16> = Vec::new();
    if let Some(mut small) = rest.to_u128() {
        while small > 0 {
            groups.push((small % 10_000) as i16);
            small /= 10_000;
        }
    } else {
        let base = BigInt::from(10_000);
        while !rest.is_zero() {
            let (quotient, group) = rest.div_rem(&base);
            groups.push(group.to_i16().unwrap_or(0));
            rest = quotient;
        }
    }
    let weight = groups.len() as i64 - 1 - fraction_groups;
    let trailing = groups.iter().take_while(|g| **g == 0).count();
    let shown = &groups[trailing..];
    let sign = if mantissa.is_negative() { NUMERIC_NEGATIVE } else { 0 };
    let weight = if shown.is_empty() { 0 } else { weight as i16 };
    header(shown.len() as i16, weight, sign, scale as u16, out);
    for group in shown.iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// Reads one payload that must be consumed exactly. The type's modifier is applied by the rules of assignment.
pub fn decode(ty: &ColumnType, input: &[u8]) -> Result<Datum> {
    let mut reader = Reader { rest: input };
    let datum = read(&ty.ty, &mut reader)?;
    if !reader.rest.is_empty() {
        return Err(bad_format());
    }
    if ty.typmod < 0 { Ok(datum) } else { typmod::apply(datum, ty, false) }
}

fn bad_format() -> DatumError {
    DatumError::new(sqlstate::INVALID_BINARY_REPRESENTATION, "incorrect binary data format")
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(|| {
            DatumError::new(sqlstate::PROTOCOL_VIOLATION, "insufficient data left in message")
        })?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| bad_format())
    }

    fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn text(&mut self) -> Result<&'a str> {
        text_of(std::mem::take(&mut self.rest))
    }

    /// The payload after a length; `None` for -1.
    fn sized(&mut self) -> Result<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| bad_format())?).map(Some),
        }
    }
}

/// UTF-8 without zero bytes, or PostgreSQL's 22021.
pub fn text_of(bytes: &[u8]) -> Result<&str> {
    let invalid = |bytes: &[u8]| {
        let shown: Vec<String> = bytes.iter().take(4).map(|b| format!("0x{b:02x}")).collect();
        DatumError::new(
            sqlstate::CHARACTER_NOT_IN_REPERTOIRE,
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
    };
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        let end = e.error_len().map_or(bytes.len(), |n| at + n);
        invalid(&bytes[at..end])
    })?;
    if bytes.contains(&0) {
        return Err(invalid(&[0]));
    }
    Ok(text)
}

fn read(ty: &SqlType, r: &mut Reader<'_>) -> Result<Datum> {
    Ok(match ty {
        SqlType::Bool => Datum::Bool(r.array::<1>()?[0] != 0),
        SqlType::Char => Datum::Char(r.array::<1>()?[0]),
        SqlType::Int2 => Datum::Int2(r.i16()?),
        SqlType::Int4 => Datum::Int4(r.i32()?),
        SqlType::Int8 => Datum::Int8(r.i64()?),
        SqlType::Float4 => Datum::Float4(f32::from_be_bytes(r.array()?)),
        SqlType::Float8 => Datum::Float8(f64::from_be_bytes(r.array()?)),
        SqlType::Numeric => Datum::Numeric(read_numeric(r)?),
        SqlType::Text | SqlType::Varchar | SqlType::Bpchar | SqlType::Unknown => {
            Datum::text(r.text()?)
        }
        SqlType::Name => Datum::text(crate::text::cut_name(r.text()?)),
        SqlType::Void => Datum::void(),
        SqlType::Bytea => Datum::bytea(std::mem::take(&mut r.rest)),
        SqlType::Date => Datum::Date(match r.i32()? {
            special @ (i32::MAX | i32::MIN) => special,
            days => crate::datetime::checked_date(i64::from(days) + i64::from(EPOCH_DAYS))?,
        }),
        SqlType::Time => Datum::Time(checked_time(r.i64()?)?),
        SqlType::Timetz => {
            let micros = checked_time(r.i64()?)?;
            let west = r.i32()?;
            if west.unsigned_abs() >= 16 * 3600 {
                return Err(DatumError::new(
                    sqlstate::INVALID_TIME_ZONE_DISPLACEMENT,
                    "time zone displacement out of range",
                ));
            }
            Datum::Timetz { micros, offset: -west }
        }
        SqlType::Timestamp => Datum::Timestamp(read_timestamp(r)?),
        SqlType::Timestamptz => Datum::Timestamptz(read_timestamp(r)?),
        SqlType::Interval => {
            let (micros, days, months) = (r.i64()?, r.i32()?, r.i32()?);
            Datum::Interval(Interval { months, days, micros })
        }
        SqlType::Uuid => Datum::Uuid(r.array()?),
        SqlType::Json => {
            let text = r.text()?;
            json::validate(text)?;
            Datum::Json(Arc::from(text))
        }
        SqlType::Jsonb => {
            let version = r.array::<1>()?[0];
            if version != 1 {
                return Err(DatumError::new(
                    "XX000",
                    format!("unsupported jsonb version number {version}"),
                ));
            }
            Datum::Jsonb(Arc::new(json::parse(r.text()?)?))
        }
        SqlType::Oid
        | SqlType::Xid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => Datum::Oid(u32::from_be_bytes(r.array()?)),
        SqlType::Int2Vector => read_array(&SqlType::Int2, r)?,
        SqlType::OidVector => read_array(&SqlType::Oid, r)?,
        SqlType::Array(element) => read_array(element, r)?,
        SqlType::Record => read_record(r)?,
    })
}

fn checked_time(micros: i64) -> Result<i64> {
    if (0..=typmod::TIME_MAX).contains(&micros) {
        Ok(micros)
    } else {
        Err(DatumError::out_of_range("time"))
    }
}

fn read_timestamp(r: &mut Reader<'_>) -> Result<i64> {
    match r.i64()? {
        special @ (i64::MAX | i64::MIN) => Ok(special),
        wire => crate::datetime::checked_timestamp(i128::from(wire) + i128::from(EPOCH_MICROS)),
    }
}

fn read_numeric(r: &mut Reader<'_>) -> Result<Numeric> {
    let invalid = |what: &str| {
        DatumError::new(
            sqlstate::INVALID_BINARY_REPRESENTATION,
            format!("invalid {what} in external \"numeric\" value"),
        )
    };
    let (count, weight, sign, scale) = (r.i16()?, r.i16()?, r.i16()? as u16, r.i16()? as u16);
    if count < 0 {
        return Err(invalid("length"));
    }
    if u32::from(scale) > crate::numeric::SCALE_MAX {
        return Err(invalid("scale"));
    }
    match sign {
        0 | NUMERIC_NEGATIVE => {}
        NUMERIC_NAN => return Ok(Numeric::NAN),
        NUMERIC_INFINITY => return Ok(Numeric::INFINITY),
        NUMERIC_NEG_INFINITY => return Ok(Numeric::NEG_INFINITY),
        _ => return Err(invalid("sign")),
    }
    let mut mantissa = BigInt::zero();
    for _ in 0..count {
        let digit = r.i16()?;
        if !(0..10_000).contains(&digit) {
            return Err(invalid("digit"));
        }
        mantissa = mantissa * 10_000 + digit;
    }
    if sign == NUMERIC_NEGATIVE {
        mantissa = -mantissa;
    }
    // The last group stands at 10^(4 × last); the value is cut to its display scale.
    let last = (i64::from(weight) - i64::from(count) + 1) * 4;
    let shift = last + i64::from(scale);
    let mantissa = if mantissa.is_zero() {
        mantissa
    } else if shift >= 0 {
        mantissa * pow10(shift as u32)
    } else {
        mantissa / pow10(shift.unsigned_abs() as u32)
    };
    Ok(Numeric::from_bigint(mantissa, u32::from(scale)))
}

fn read_array(element: &SqlType, r: &mut Reader<'_>) -> Result<Datum> {
    let dims_count = r.i32()?;
    let _has_null = r.i32()?;
    let oid = r.i32()? as u32;
    if !(0..=6).contains(&dims_count) {
        return Err(DatumError::new(
            sqlstate::INVALID_BINARY_REPRESENTATION,
            format!("invalid number of dimensions: {dims_count}"),
        ));
    }
    let sent = SqlType::from_oid(oid);
    let same = sent.as_ref() == Some(element)
        || sent.as_ref().is_some_and(|s| s.is_text_like() && element.is_text_like());
    if !same {
        return Err(DatumError::new(
            sqlstate::DATATYPE_MISMATCH,
            format!(
                "binary data has array element type {oid} ({}) instead of expected {} ({})",
                sent.map_or_else(|| "???".to_owned(), |s| s.name()),
                element.oid(),
                element.name()
            ),
        ));
    }
    let mut dims = Vec::with_capacity(dims_count as usize);
    let mut total = 1i64;
    for _ in 0..dims_count {
        let dim = ArrayDim { length: r.i32()?, lower: r.i32()? };
        total = total.saturating_mul(i64::from(dim.length));
        if dim.length < 0 || dim.lower.checked_add(dim.length).is_none() {
            return Err(bad_format());
        }
        dims.push(dim);
    }
    if dims.is_empty() || total == 0 {
        return Ok(Datum::Array(Arc::new(ArrayValue::empty(element.clone()))));
    }
    // Each item takes at least its length word: a lying header cannot make us allocate.
    if total > (r.rest.len() / 4) as i64 {
        return Err(bad_format());
    }
    let ty = ColumnType::plain(element.clone());
    let mut items = Vec::with_capacity(total as usize);
    for _ in 0..total {
        items.push(match r.sized()? {
            Some(payload) => decode(&ty, payload)?,
            None => Datum::Null,
        });
    }
    Ok(Datum::Array(Arc::new(ArrayValue { element: element.clone(), dims, items })))
}

fn read_record(r: &mut Reader<'_>) -> Result<Datum> {
    let count = usize::try_from(r.i32()?).map_err(|_| bad_format())?;
    if count > r.rest.len() / 8 {
        return Err(bad_format());
    }
    let (mut types, mut fields) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        let oid = r.i32()? as u32;
        let ty = SqlType::from_oid(oid).filter(|ty| *ty != SqlType::Record).ok_or_else(|| {
            DatumError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                format!("binary input of a record field of type {oid} is not supported"),
            )
        })?;
        fields.push(match r.sized()? {
            Some(payload) => decode(&ColumnType::plain(ty.clone()), payload)?,
            None => Datum::Null,
        });
        types.push(ty);
    }
    Ok(Datum::Record(Arc::new(RecordValue { types: types.into(), fields })))
}

/// One value from either format of a parameter: 0 text, 1 binary.
pub fn decode_parameter(
    ty: &ColumnType,
    format: i16,
    input: &[u8],
    ctx: &TypeContext,
) -> Result<Datum> {
    match format {
        0 => crate::text::parse(ty, text_of(input)?, ctx),
        1 => decode(ty, input),
        other => Err(DatumError::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("unsupported format code: {other}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(ty: SqlType, text: &str) -> Vec<u8> {
        let ctx = TypeContext::default();
        let column = ColumnType::plain(ty.clone());
        let datum = crate::text::parse(&column, text, &ctx).unwrap();
        let mut bytes = Vec::new();
        encode(&datum, &ty, &mut bytes);
        let back = decode(&column, &bytes).unwrap();
        assert_eq!(crate::text::to_string(&back, &ty, &ctx), text, "{ty}");
        bytes
    }

    #[test]
    fn every_type_survives_the_wire() {
        let array = |ty| SqlType::array_of(ty);
        for (ty, text) in [
            (SqlType::Bool, "t"),
            (SqlType::Int2, "-2"),
            (SqlType::Int8, "-9223372036854775808"),
            (SqlType::Float4, "1.5"),
            (SqlType::Float8, "-0"),
            (SqlType::Numeric, "-12345678901234567890.00012000"),
            (SqlType::Numeric, "0.000"),
            (SqlType::Numeric, "120000"),
            (SqlType::Numeric, "0.00000001"),
            (SqlType::Numeric, "-Infinity"),
            (SqlType::Text, "é"),
            (SqlType::Bytea, "\\x00ff"),
            (SqlType::Date, "0044-03-15 BC"),
            (SqlType::Date, "infinity"),
            (SqlType::Time, "24:00:00"),
            (SqlType::Timetz, "10:00:00+05:30"),
            (SqlType::Timestamp, "2024-01-01 10:00:00.000001"),
            (SqlType::Timestamptz, "-infinity"),
            (SqlType::Interval, "1 year 2 mons -3 days +04:05:06.7"),
            (SqlType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (SqlType::Json, "{\"a\" : 1}"),
            (SqlType::Jsonb, "{\"a\": 1}"),
            (SqlType::Oid, "4294967295"),
            (array(SqlType::Int4), "{{1,2},{3,NULL}}"),
            (array(SqlType::Text), "{}"),
            (SqlType::Int2Vector, "1 2 3"),
        ] {
            round_trip(ty, text);
        }
    }

    #[test]
    fn the_bytes_are_postgresqls() {
        assert_eq!(round_trip(SqlType::Date, "2000-01-02"), [0, 0, 0, 1]);
        assert_eq!(
            round_trip(SqlType::Timestamp, "2000-01-01 00:00:00.000002"),
            [0, 0, 0, 0, 0, 0, 0, 2]
        );
        // 12345.678 is 1 | 2345 . 6780 at display scale 3
        assert_eq!(
            round_trip(SqlType::Numeric, "12345.678"),
            [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c]
        );
    }

    #[test]
    fn malformed_bytes_are_errors_not_panics() {
        for ty in SqlType::SCALARS {
            for input in [&[][..], &[0xff; 3], &[0xff; 8], &[0x7f; 40], &[0; 13]] {
                let _ = decode(&ColumnType::plain(ty.clone()), input);
                let _ = decode(&ColumnType::plain(SqlType::array_of(ty.clone())), input);
            }
        }
        assert_eq!(
            text_of(b"a\xff").unwrap_err().message,
            "invalid byte sequence for encoding \"UTF8\": 0xff"
        );
    }
}
