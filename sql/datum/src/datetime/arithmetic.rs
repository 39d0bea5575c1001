//! Timestamps and intervals, added and subtracted.
//!
//! Adding an interval moves by its months first (the day is cut to the month's last: 31 January + 1 month is
//! 29 February), then by its days on the wall clock, then by its microseconds on the time line. With a zone the first two
//! steps happen in local time, which is why a day across a clock change is not 24 hours.

use super::calendar::{Fields, civil_from_days, days_from_civil, days_in_month};
use super::{
    DATE_INFINITY, DATE_NEG_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, checked_date,
    checked_timestamp, is_date_infinite, is_timestamp_infinite,
};
use crate::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::{DatumError, Interval, Result, TimeZone, sqlstate};

/// A day so many months later, the day of the month cut to what the month has.
pub fn add_months(days: i64, months: i32) -> Result<i64> {
    if months == 0 {
        return Ok(days);
    }
    let civil = civil_from_days(days);
    let count = i64::from(civil.year) * 12 + i64::from(civil.month) - 1 + i64::from(months);
    let year =
        i32::try_from(count.div_euclid(12)).map_err(|_| DatumError::out_of_range("timestamp"))?;
    if !(-10_000_000..=10_000_000).contains(&year) {
        return Err(DatumError::out_of_range("timestamp"));
    }
    let month = count.rem_euclid(12) as u32 + 1;
    Ok(days_from_civil(year, month, civil.day.min(days_in_month(year, month))))
}

/// Months and days of an interval, on a wall clock.
fn add_calendar(local: i64, interval: Interval) -> Result<i128> {
    let days = add_months(local.div_euclid(MICROS_PER_DAY), interval.months)?;
    let days = i128::from(days) + i128::from(interval.days);
    Ok(days * i128::from(MICROS_PER_DAY) + i128::from(local.rem_euclid(MICROS_PER_DAY)))
}

/// `timestamp + interval`.
pub fn timestamp_add(ts: i64, interval: Interval) -> Result<i64> {
    if is_timestamp_infinite(ts) {
        return Ok(ts);
    }
    let moved = checked_timestamp(add_calendar(ts, interval)?)?;
    checked_timestamp(i128::from(moved) + i128::from(interval.micros))
}

pub fn timestamp_sub(ts: i64, interval: Interval) -> Result<i64> {
    timestamp_add(ts, interval.checked_neg()?)
}

/// `timestamptz + interval` in a session's zone.
pub fn timestamptz_add(utc: i64, interval: Interval, zone: &TimeZone) -> Result<i64> {
    if is_timestamp_infinite(utc) {
        return Ok(utc);
    }
    let mut moved = utc;
    if interval.months != 0 || interval.days != 0 {
        let local = checked_timestamp(add_calendar(zone.to_local(utc), interval)?)?;
        moved = zone.to_utc(local);
    }
    checked_timestamp(i128::from(moved) + i128::from(interval.micros))
}

pub fn timestamptz_sub(utc: i64, interval: Interval, zone: &TimeZone) -> Result<i64> {
    timestamptz_add(utc, interval.checked_neg()?, zone)
}

/// `timestamp - timestamp`, also of timestamptz: days and time, no months.
pub fn timestamp_diff(a: i64, b: i64) -> Result<Interval> {
    if is_timestamp_infinite(a) || is_timestamp_infinite(b) {
        return Err(DatumError::new(
            sqlstate::DATETIME_FIELD_OVERFLOW,
            "cannot subtract infinite timestamps",
        ));
    }
    let micros = a.checked_sub(b).ok_or_else(|| DatumError::out_of_range("interval"))?;
    Interval::new(0, 0, micros).justify_hours()
}

/// `date + integer`; the infinities stay.
pub fn date_add_days(date: i32, days: i64) -> Result<i32> {
    if is_date_infinite(date) {
        return Ok(date);
    }
    checked_date(i64::from(date).saturating_add(days))
}

/// `date::timestamp`.
pub fn date_to_timestamp(date: i32) -> Result<i64> {
    match date {
        DATE_INFINITY => Ok(TIMESTAMP_INFINITY),
        DATE_NEG_INFINITY => Ok(TIMESTAMP_NEG_INFINITY),
        days => checked_timestamp(i128::from(days) * i128::from(MICROS_PER_DAY)).map_err(|_| {
            DatumError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")
        }),
    }
}

/// `timestamp::date`.
pub fn timestamp_to_date(ts: i64) -> i32 {
    match ts {
        TIMESTAMP_INFINITY => DATE_INFINITY,
        TIMESTAMP_NEG_INFINITY => DATE_NEG_INFINITY,
        // A timestamp's days always fit: its range is the smaller one.
        ts => ts.div_euclid(MICROS_PER_DAY) as i32,
    }
}

/// `timestamp at time zone z`, and the cast to timestamptz: the instant of a wall clock.
pub fn timestamp_to_timestamptz(ts: i64, zone: &TimeZone) -> Result<i64> {
    if is_timestamp_infinite(ts) {
        return Ok(ts);
    }
    let offset = zone.offset_at_local(ts);
    checked_timestamp(i128::from(ts) - i128::from(offset) * i128::from(MICROS_PER_SECOND))
}

/// `timestamptz at time zone z`, and the cast to timestamp: the wall clock at an instant.
pub fn timestamptz_to_timestamp(utc: i64, zone: &TimeZone) -> Result<i64> {
    if is_timestamp_infinite(utc) {
        return Ok(utc);
    }
    let offset = zone.offset_at_utc(utc);
    checked_timestamp(i128::from(utc) + i128::from(offset) * i128::from(MICROS_PER_SECOND))
}

/// `time + interval`: only the interval's time counts, and the clock wraps.
pub fn time_add_interval(time: i64, interval: Interval) -> i64 {
    (i128::from(time) + i128::from(interval.micros)).rem_euclid(i128::from(MICROS_PER_DAY)) as i64
}

/// `age(a, b)`: the difference in years, months and days as a calendar reader counts it.
pub fn age_timestamps(a: i64, b: i64) -> Result<Interval> {
    if is_timestamp_infinite(a) || is_timestamp_infinite(b) {
        return Err(DatumError::out_of_range("timestamp"));
    }
    let negative = a < b;
    let (late, early) = (Fields::from_timestamp(a.max(b)), Fields::from_timestamp(a.min(b)));
    let mut time = late.time_of_day() - early.time_of_day();
    let mut days = i64::from(late.day) - i64::from(early.day);
    let mut months =
        i64::from(late.year - early.year) * 12 + i64::from(late.month) - i64::from(early.month);
    if time < 0 {
        time += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        // The month that is borrowed from is the earlier date's.
        days += i64::from(days_in_month(early.year, early.month));
        months -= 1;
    }
    let result = Interval::new(
        i32::try_from(months).map_err(|_| DatumError::out_of_range("interval"))?,
        days as i32,
        time,
    );
    if negative { result.checked_neg() } else { Ok(result) }
}

/// `age` of timestamptz: on the wall clocks of the session's zone.
pub fn age_timestamptz(a: i64, b: i64, zone: &TimeZone) -> Result<Interval> {
    age_timestamps(timestamptz_to_timestamp(a, zone)?, timestamptz_to_timestamp(b, zone)?)
}

/// `date_bin(stride, ts, origin)`.
pub fn date_bin(stride: Interval, ts: i64, origin: i64) -> Result<i64> {
    if is_timestamp_infinite(ts) {
        return Ok(ts);
    }
    if is_timestamp_infinite(origin) {
        return Err(DatumError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "origin out of range"));
    }
    if stride.months != 0 {
        return Err(DatumError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "timestamps cannot be binned into intervals containing months or years",
        ));
    }
    let width = i128::from(stride.days) * i128::from(MICROS_PER_DAY) + i128::from(stride.micros);
    if width <= 0 {
        return Err(DatumError::new(
            sqlstate::DATETIME_FIELD_OVERFLOW,
            "stride must be greater than zero",
        ));
    }
    let distance = i128::from(ts) - i128::from(origin);
    checked_timestamp(i128::from(origin) + distance.div_euclid(width) * width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TypeContext;
    use crate::datetime::{
        format_interval, format_timestamptz, parse_interval, parse_timestamp, parse_timestamptz,
    };

    fn ts(text: &str) -> i64 {
        parse_timestamp(text, &TypeContext::default()).unwrap()
    }

    fn show(interval: Interval) -> String {
        let mut out = String::new();
        format_interval(interval, &TypeContext::default(), &mut out);
        out
    }

    #[test]
    fn age_counts_as_a_calendar_reader_does() {
        let age = |a, b| show(age_timestamps(ts(a), ts(b)).unwrap());
        assert_eq!(age("2024-05-06", "2023-01-01"), "1 year 4 mons 5 days");
        assert_eq!(age("2023-01-01", "2024-05-06"), "-1 years -4 mons -5 days");
        assert_eq!(age("2024-03-01", "2024-01-31"), "1 mon 1 day");
        assert_eq!(age("2001-04-10 01:00", "1957-06-13 02:00"), "43 years 9 mons 26 days 23:00:00");
    }

    #[test]
    fn a_day_across_a_clock_change_keeps_the_wall_clock() {
        let ctx = TypeContext {
            timezone: TimeZone::parse("Europe/Berlin").unwrap(),
            ..Default::default()
        };
        let start = parse_timestamptz("2024-03-30 12:00", &ctx).unwrap();
        let add = |text: &str| {
            let interval = parse_interval(text, -1).unwrap();
            let mut out = String::new();
            format_timestamptz(
                timestamptz_add(start, interval, &ctx.timezone).unwrap(),
                &ctx,
                &mut out,
            );
            out
        };
        assert_eq!(add("1 day"), "2024-03-31 12:00:00+02");
        assert_eq!(add("24 hours"), "2024-03-31 13:00:00+02");
    }

    #[test]
    fn months_end_on_the_last_day_there_is() {
        assert_eq!(
            timestamp_add(ts("2024-01-31"), Interval::new(1, 0, 0)).unwrap(),
            ts("2024-02-29")
        );
        assert_eq!(
            timestamp_add(ts("2024-02-29"), Interval::new(12, 0, 0)).unwrap(),
            ts("2025-02-28")
        );
        assert_eq!(
            show(timestamp_diff(ts("2024-01-01 10:00"), ts("2023-12-31 09:00")).unwrap()),
            "1 day 01:00:00"
        );
    }
}
