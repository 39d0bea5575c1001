//! Dates and times as text, in the four date styles.

use std::fmt::Write as _;

use super::calendar::{Civil, Fields, civil_from_days, day_of_week};
use super::{DATE_INFINITY, DATE_NEG_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY};
use crate::interval::MICROS_PER_DAY;
use crate::zone::offset_text;
use crate::{DateOrder, DateStyleFormat, TypeContext};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// `January` for 1.
pub fn month_name(month: u32) -> &'static str {
    MONTHS[(month as usize + 11) % 12]
}

/// `Sunday` for 0.
pub fn weekday_name(day: u32) -> &'static str {
    WEEKDAYS[day as usize % 7]
}

pub fn format_date(days: i32, ctx: &TypeContext, out: &mut String) {
    match days {
        DATE_INFINITY => return out.push_str("infinity"),
        DATE_NEG_INFINITY => return out.push_str("-infinity"),
        _ => {}
    }
    let civil = civil_from_days(i64::from(days));
    push_date(civil, ctx, out);
    push_era(civil.year, out);
}

pub fn format_timestamp(micros: i64, ctx: &TypeContext, out: &mut String) {
    format_with_zone(micros, None, ctx, out);
}

pub fn format_timestamptz(utc_micros: i64, ctx: &TypeContext, out: &mut String) {
    if matches!(utc_micros, TIMESTAMP_INFINITY | TIMESTAMP_NEG_INFINITY) {
        return format_with_zone(utc_micros, None, ctx, out);
    }
    if ctx.date_style.format == DateStyleFormat::Iso {
        let offset = ctx.timezone.offset_at_utc(utc_micros);
        let local = utc_micros.saturating_add(i64::from(offset) * 1_000_000);
        return format_with_zone(local, Some(&offset_text(offset)), ctx, out);
    }
    let zone = ctx.timezone.at_utc(utc_micros);
    let local = utc_micros.saturating_add(i64::from(zone.offset) * 1_000_000);
    format_with_zone(local, Some(&format!(" {}", zone.abbreviation)), ctx, out);
}

fn format_with_zone(local: i64, zone: Option<&str>, ctx: &TypeContext, out: &mut String) {
    match local {
        TIMESTAMP_INFINITY => return out.push_str("infinity"),
        TIMESTAMP_NEG_INFINITY => return out.push_str("-infinity"),
        _ => {}
    }
    let fields = Fields::from_timestamp(local);
    let civil = Civil { year: fields.year, month: fields.month, day: fields.day };
    if ctx.date_style.format == DateStyleFormat::Postgres {
        let weekday = &weekday_name(day_of_week(fields.days))[..3];
        let month = &month_name(fields.month)[..3];
        let _ = if ctx.date_style.order == DateOrder::Dmy {
            write!(out, "{weekday} {:02} {month} ", fields.day)
        } else {
            write!(out, "{weekday} {month} {:02} ", fields.day)
        };
        push_time(fields.time_of_day(), out);
        let _ = write!(out, " {:04}", shown_year(fields.year));
    } else {
        push_date(civil, ctx, out);
        out.push(' ');
        push_time(fields.time_of_day(), out);
    }
    if let Some(zone) = zone {
        out.push_str(zone);
    }
    push_era(fields.year, out);
}

pub fn format_time(micros: i64, out: &mut String) {
    push_time(micros, out);
}

/// `offset` in seconds east.
pub fn format_timetz(micros: i64, offset: i32, out: &mut String) {
    push_time(micros, out);
    out.push_str(&offset_text(offset));
}

fn push_date(civil: Civil, ctx: &TypeContext, out: &mut String) {
    let Civil { year, month, day } = civil;
    let year = shown_year(year);
    let dmy = ctx.date_style.order == DateOrder::Dmy;
    if ctx.date_style.format == DateStyleFormat::Iso && year <= 9999 {
        push_padded(out, year as u32, 4);
        out.push('-');
        push_padded(out, month, 2);
        out.push('-');
        return push_padded(out, day, 2);
    }
    let _ = match ctx.date_style.format {
        DateStyleFormat::Iso => write!(out, "{year:04}-{month:02}-{day:02}"),
        DateStyleFormat::Sql if dmy => write!(out, "{day:02}/{month:02}/{year:04}"),
        DateStyleFormat::Sql => write!(out, "{month:02}/{day:02}/{year:04}"),
        DateStyleFormat::German => write!(out, "{day:02}.{month:02}.{year:04}"),
        DateStyleFormat::Postgres if dmy => write!(out, "{day:02}-{month:02}-{year:04}"),
        DateStyleFormat::Postgres => write!(out, "{month:02}-{day:02}-{year:04}"),
    };
}

fn shown_year(year: i32) -> i32 {
    if year > 0 { year } else { 1 - year }
}

fn push_era(year: i32, out: &mut String) {
    if year <= 0 {
        out.push_str(" BC");
    }
}

/// `HH:MM:SS[.ffffff]`, without trailing zeros of the fraction. Also of 24:00.
pub(super) fn push_time(micros: i64, out: &mut String) {
    debug_assert!((0..=MICROS_PER_DAY).contains(&micros));
    let fields = Fields::from_time(micros);
    push_padded(out, fields.hour, 2);
    out.push(':');
    push_padded(out, fields.minute, 2);
    out.push(':');
    push_padded(out, fields.second, 2);
    push_fraction(fields.micros, out);
}

pub(super) fn push_fraction(micros: u32, out: &mut String) {
    if micros != 0 {
        out.push('.');
        push_padded(out, micros, 6);
        while out.ends_with('0') {
            out.pop();
        }
    }
}

/// Digits with leading zeros; quicker than `format!`, and COPY prints millions.
fn push_padded(out: &mut String, mut v: u32, width: usize) {
    let mut digits = [b'0'; 10];
    let mut at = digits.len();
    while v > 0 || digits.len() - at < width {
        at -= 1;
        digits[at] = b'0' + (v % 10) as u8;
        v /= 10;
    }
    out.extend(digits[at..].iter().map(|d| char::from(*d)));
}
