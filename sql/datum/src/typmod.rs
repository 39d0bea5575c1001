//! Type modifiers: the lengths of texts, the precision and scale of numerics, the digits of seconds, the fields of
//! intervals. A value is fitted when it is assigned or cast, never when it is computed.

use crate::interval::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE};
use crate::{
    ArrayValue, ColumnType, Datum, DatumError, Interval, Numeric, Result, SqlType, sqlstate,
};

/// Fits a value to the type's modifier. `explicit` casts cut texts that are too long; assignment refuses them (22001)
/// unless only blanks are cut. The value must be of the type already.
pub fn apply(datum: Datum, ty: &ColumnType, explicit: bool) -> Result<Datum> {
    if ty.typmod < 0 {
        return Ok(datum);
    }
    match datum {
        Datum::Numeric(n) => apply_numeric(n, ty).map(Datum::Numeric),
        Datum::Text(text) => match (ty.length(), &ty.ty) {
            (Some(length), SqlType::Varchar) => Ok(match fit_text(&text, length, ty, explicit)? {
                Some(cut) => Datum::text(cut),
                None => Datum::Text(text),
            }),
            (Some(length), SqlType::Bpchar) => {
                let kept = match fit_text(&text, length, ty, explicit)? {
                    Some(cut) => cut,
                    None => &text,
                };
                Ok(pad(kept, length).map_or_else(|| Datum::text(kept), Datum::from))
            }
            _ => Ok(Datum::Text(text)),
        },
        Datum::Time(micros) => Ok(Datum::Time(round_micros(micros, ty))),
        Datum::Timetz { micros, offset } => {
            Ok(Datum::Timetz { micros: round_micros(micros, ty), offset })
        }
        Datum::Timestamp(ts) => Ok(Datum::Timestamp(round_timestamp(ts, ty))),
        Datum::Timestamptz(ts) => Ok(Datum::Timestamptz(round_timestamp(ts, ty))),
        Datum::Interval(interval) => Ok(Datum::Interval(apply_interval(interval, ty))),
        Datum::Array(array) => {
            let Some(element) = ty.element() else {
                return Ok(Datum::Array(array));
            };
            let items: Result<Vec<Datum>> =
                array.items.iter().map(|item| apply(item.clone(), &element, explicit)).collect();
            Ok(Datum::Array(std::sync::Arc::new(ArrayValue {
                element: array.element.clone(),
                dims: array.dims.clone(),
                items: items?,
            })))
        }
        other => Ok(other),
    }
}

/// `char(n)` is stored padded to n characters. `None` if it is long enough.
fn pad(text: &str, length: usize) -> Option<String> {
    let have = text.chars().count();
    (have < length).then(|| {
        let mut padded = String::with_capacity(text.len() + length - have);
        padded.push_str(text);
        padded.extend(std::iter::repeat_n(' ', length - have));
        padded
    })
}

/// The text cut to `length` characters, `None` if it fits.
fn fit_text<'a>(
    text: &'a str,
    length: usize,
    ty: &ColumnType,
    explicit: bool,
) -> Result<Option<&'a str>> {
    if text.len() <= length {
        return Ok(None);
    }
    let Some((end, _)) = text.char_indices().nth(length) else {
        return Ok(None);
    };
    if !explicit && text[end..].bytes().any(|b| b != b' ') {
        return Err(DatumError::new(
            sqlstate::STRING_DATA_RIGHT_TRUNCATION,
            format!("value too long for type {}", ty.name()),
        ));
    }
    Ok(Some(&text[..end]))
}

fn apply_numeric(n: Numeric, ty: &ColumnType) -> Result<Numeric> {
    let Some((precision, scale)) = ty.numeric_precision_scale() else {
        return Ok(n);
    };
    let overflow = |detail: String| {
        DatumError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow")
            .with_detail(detail)
    };
    if n.is_nan() {
        return Ok(n);
    }
    if n.is_infinite() {
        return Err(overflow(format!(
            "A field with precision {precision}, scale {scale} cannot hold an infinite value."
        )));
    }
    let rounded = n.round(scale);
    let digits_before_point = precision - scale;
    let fits = match rounded.to_i128_parts() {
        Some((mantissa, have)) if precision <= 37 => {
            // |mantissa| < 10^(digits before the point + shown scale)
            let power = digits_before_point + have as i32;
            power >= 0 && mantissa.unsigned_abs() < 10u128.pow(power.min(38) as u32)
                || mantissa == 0
        }
        _ => rounded.digits_before_point() <= i64::from(digits_before_point),
    };
    if fits {
        return Ok(rounded);
    }
    let limit = match digits_before_point {
        0 => "1".to_owned(),
        digits => format!("10^{digits}"),
    };
    Err(overflow(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
    )))
}

/// PostgreSQL counts from 2000, which decides what "away from zero" is.
const MICROS_TO_2000: i64 = 10_957 * MICROS_PER_DAY;

fn round_timestamp(ts: i64, ty: &ColumnType) -> i64 {
    if ts == i64::MAX || ts == i64::MIN {
        return ts;
    }
    match ts.checked_sub(MICROS_TO_2000) {
        Some(since_2000) => round_micros(since_2000, ty) + MICROS_TO_2000,
        None => ts,
    }
}

/// To the precision's digits, halves away from zero.
fn round_micros(micros: i64, ty: &ColumnType) -> i64 {
    match ty.seconds_precision() {
        Some(precision) if precision < 6 => {
            let unit = 10i64.pow(6 - precision);
            let half = if micros >= 0 { unit / 2 } else { -(unit / 2) };
            micros.checked_add(half).map_or(micros, |shifted| shifted / unit * unit)
        }
        _ => micros,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalField {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

impl IntervalField {
    /// The bit in the modifier's upper half.
    fn bit(self) -> i32 {
        match self {
            Self::Year => 1 << 2,
            Self::Month => 1 << 1,
            Self::Day => 1 << 3,
            Self::Hour => 1 << 10,
            Self::Minute => 1 << 11,
            Self::Second => 1 << 12,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
        }
    }
}

const INTERVAL_FIELDS: [IntervalField; 6] = [
    IntervalField::Year,
    IntervalField::Month,
    IntervalField::Day,
    IntervalField::Hour,
    IntervalField::Minute,
    IntervalField::Second,
];
const INTERVAL_FULL_RANGE: i32 = 0x7fff;
const INTERVAL_FULL_PRECISION: i32 = 0xffff;

/// The modifier of `interval from to to(precision)`: `interval day to second(3)`, `interval(3)`.
pub fn interval_typmod(
    range: Option<(IntervalField, IntervalField)>,
    precision: Option<i32>,
) -> i32 {
    let mask = match range {
        None if precision.is_none() => return -1,
        None => INTERVAL_FULL_RANGE,
        Some((from, to)) => {
            let position = |field| INTERVAL_FIELDS.iter().position(|f| *f == field).unwrap_or(0);
            INTERVAL_FIELDS[position(from)..=position(to).max(position(from))]
                .iter()
                .fold(0, |mask, field| mask | field.bit())
        }
    };
    (mask << 16) | (precision.unwrap_or(INTERVAL_FULL_PRECISION) & 0xffff)
}

fn interval_fields(typmod: i32) -> Option<Vec<IntervalField>> {
    let mask = (typmod >> 16) & INTERVAL_FULL_RANGE;
    (typmod >= 0 && mask != INTERVAL_FULL_RANGE)
        .then(|| INTERVAL_FIELDS.into_iter().filter(|f| mask & f.bit() != 0).collect())
}

/// The last field that the modifier keeps; `None` if it keeps all.
pub fn interval_least_field(typmod: i32) -> Option<IntervalField> {
    interval_fields(typmod)?.last().copied()
}

pub fn interval_is_minute_to_second(typmod: i32) -> bool {
    interval_fields(typmod).is_some_and(|f| f == [IntervalField::Minute, IntervalField::Second])
}

/// `interval day to second(3)` from a typmod.
pub fn interval_name(typmod: i32) -> String {
    let mut name = "interval".to_owned();
    let fields = interval_fields(typmod).unwrap_or_default();
    if let (Some(first), Some(last)) = (fields.first(), fields.last()) {
        name.push(' ');
        name.push_str(first.name());
        if first != last {
            name.push_str(" to ");
            name.push_str(last.name());
        }
    }
    let precision = typmod & 0xffff;
    if precision != INTERVAL_FULL_PRECISION {
        name.push_str(&format!("({precision})"));
    }
    name
}

fn apply_interval(interval: Interval, ty: &ColumnType) -> Interval {
    let Interval { months, days, micros } = interval;
    let mut cut = match interval_least_field(ty.typmod) {
        Some(IntervalField::Year) => Interval::new(months / 12 * 12, 0, 0),
        Some(IntervalField::Month) => Interval::new(months, 0, 0),
        Some(IntervalField::Day) => Interval::new(months, days, 0),
        Some(IntervalField::Hour) => {
            Interval::new(months, days, micros / MICROS_PER_HOUR * MICROS_PER_HOUR)
        }
        Some(IntervalField::Minute) => {
            Interval::new(months, days, micros / MICROS_PER_MINUTE * MICROS_PER_MINUTE)
        }
        Some(IntervalField::Second) | None => interval,
    };
    cut.micros = round_micros(cut.micros, ty);
    cut
}

/// Largest time of day, for checks after rounding: 24:00:00.
pub const TIME_MAX: i64 = MICROS_PER_DAY;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_cut_and_assignment_refuses() {
        let ty = ColumnType::varchar(3);
        assert_eq!(apply("abcdef".into(), &ty, true).unwrap().as_str(), Some("abc"));
        let error = apply("abcdef".into(), &ty, false).unwrap_err();
        assert_eq!(error.sqlstate, "22001");
        assert_eq!(error.message, "value too long for type character varying(3)");
        assert_eq!(apply("abc   ".into(), &ty, false).unwrap().as_str(), Some("abc"));
        assert_eq!(apply("é".into(), &ColumnType::bpchar(3), false).unwrap().as_str(), Some("é  "));
    }

    #[test]
    fn numerics_round_to_their_scale_and_overflow_by_precision() {
        let fit = |text: &str, p, s| {
            let n: Numeric = text.parse().unwrap();
            match apply(n.into(), &ColumnType::numeric(p, s), false) {
                Ok(Datum::Numeric(n)) => n.to_string(),
                Ok(_) => unreachable!("a numeric stays one"),
                Err(error) => error.detail.unwrap(),
            }
        };
        assert_eq!(fit("10.505", 12, 2), "10.51");
        assert_eq!(fit("-7", 12, 2), "-7.00");
        assert_eq!(
            fit("99999999999.9", 12, 2),
            "A field with precision 12, scale 2 must round to an absolute value less than 10^10."
        );
        assert_eq!(fit("12345", 2, -3), "12000");
        assert_eq!(
            fit("0.0123", 3, 5),
            "A field with precision 3, scale 5 must round to an absolute value less than 10^-2."
        );
        assert_eq!(ColumnType::numeric(2, -3).name(), "numeric(2,-3)");
    }

    #[test]
    fn interval_modifiers_name_their_fields() {
        let day_second =
            interval_typmod(Some((IntervalField::Day, IntervalField::Second)), Some(3));
        assert_eq!(
            ColumnType::new(SqlType::Interval, day_second).name(),
            "interval day to second(3)"
        );
        assert_eq!(interval_typmod(None, None), -1);
        let ts = ColumnType::new(SqlType::Timestamp, 3);
        assert_eq!(ts.name(), "timestamp(3) without time zone");
    }
}
