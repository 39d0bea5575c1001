//! Dates, times, timestamps and intervals: calendar, literals, printing, arithmetic.
//!
//! ```text
//!   '2024-01-31 10:00+02' ──literal──▶ Literal{date, time, zone} ──▶ days / µs ──print──▶ '2024-01-31 08:00:00+00'
//!                                                      │  ▲
//!                          calendar: days ⇄ (y, m, d)  ▼  │  arithmetic: + interval, age, date_trunc, extract
//! ```
//!
//! Years are astronomical inside: 0 is 1 BC, -43 is 44 BC. Timestamps count microseconds from 1970 in an i64, which
//! ends their range at the end of the year 294246, thirty years before PostgreSQL's.

mod arithmetic;
mod calendar;
mod extract;
mod interval_literal;
mod interval_print;
mod literal;
mod literal_token;
mod print;
mod trunc;

pub use arithmetic::{
    add_months, age_timestamps, age_timestamptz, date_add_days, date_bin, date_to_timestamp,
    time_add_interval, timestamp_add, timestamp_diff, timestamp_sub, timestamp_to_date,
    timestamp_to_timestamptz, timestamptz_add, timestamptz_sub, timestamptz_to_timestamp,
};
pub use calendar::{
    Civil, Fields, civil_from_days, day_of_week, day_of_year, days_from_civil, days_in_month,
    iso_week, julian_day,
};
pub use extract::{
    Field, extract_date, extract_interval, extract_time, extract_timestamp, extract_timestamptz,
    extract_timetz,
};
pub use interval_literal::parse_interval;
pub use interval_print::format_interval;
pub use literal::{parse_date, parse_time, parse_timestamp, parse_timestamptz, parse_timetz};
pub use print::{
    format_date, format_time, format_timestamp, format_timestamptz, format_timetz, month_name,
    weekday_name,
};
pub use trunc::{date_trunc_interval, date_trunc_timestamp, date_trunc_timestamptz};

pub use crate::interval::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};

/// 4713 BC, Julian day 0: the first day of dates and timestamps.
pub const DATE_MIN: i32 = -2_440_588;
/// Last day of a date, 5874897-12-31.
pub const DATE_MAX: i32 = 2_145_042_905;
pub const TIMESTAMP_MIN: i64 = DATE_MIN as i64 * MICROS_PER_DAY;
/// Exclusive: 294247-01-01.
pub const TIMESTAMP_END: i64 = 106_751_982 * MICROS_PER_DAY;

pub const DATE_INFINITY: i32 = i32::MAX;
pub const DATE_NEG_INFINITY: i32 = i32::MIN;
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
pub const TIMESTAMP_NEG_INFINITY: i64 = i64::MIN;

pub fn is_timestamp_infinite(ts: i64) -> bool {
    ts == TIMESTAMP_INFINITY || ts == TIMESTAMP_NEG_INFINITY
}

pub fn is_date_infinite(date: i32) -> bool {
    date == DATE_INFINITY || date == DATE_NEG_INFINITY
}

/// A finite timestamp within the range, or `timestamp out of range`.
pub fn checked_timestamp(micros: i128) -> crate::Result<i64> {
    match i64::try_from(micros) {
        Ok(ts) if (TIMESTAMP_MIN..TIMESTAMP_END).contains(&ts) => Ok(ts),
        _ => Err(crate::DatumError::out_of_range("timestamp")),
    }
}

/// A finite date within the range, or `date out of range`.
pub fn checked_date(days: i64) -> crate::Result<i32> {
    match i32::try_from(days) {
        Ok(date) if (DATE_MIN..=DATE_MAX).contains(&date) => Ok(date),
        _ => Err(crate::DatumError::out_of_range("date")),
    }
}
