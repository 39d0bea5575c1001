//! Dates and timestamps as the kernels take them apart: day numbers and microseconds since 1970-01-01, Gregorian in
//! both directions, year 0 being 1 BC.

use crate::error::{ExprError, Result};

pub(crate) const DAY: i64 = 86_400_000_000;
pub(crate) const HOUR: i64 = 3_600_000_000;
pub(crate) const MINUTE: i64 = 60_000_000;
pub(crate) const SECOND: i64 = 1_000_000;

/// PostgreSQL's range of timestamps: 4714-11-24 BC (Julian day 0) onwards; above, what fits below infinity.
const TIMESTAMP_MIN: i64 = -210_866_803_200_000_000;
const TIMESTAMP_END: i64 = i64::MAX;
const DATE_MIN: i64 = -2_440_588;
/// 5874898-01-01, exclusive.
const DATE_END: i64 = 2_145_042_906;

/// Day number of a date; month and day may lie outside their ranges by any amount of days.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// (year, month, day).
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

pub(crate) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Sunday is 0.
pub(crate) fn day_of_week(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

pub(crate) fn day_of_year(days: i64) -> i64 {
    let (year, _, _) = civil_from_days(days);
    days - days_from_civil(year, 1, 1) + 1
}

/// ISO 8601: (year, week); weeks begin on Monday, the first has the year's first Thursday.
pub(crate) fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// The Monday of an ISO week.
pub(crate) fn iso_week_start(year: i64, week: i64) -> i64 {
    let fourth = days_from_civil(year, 1, 4);
    fourth - (fourth + 3).rem_euclid(7) + (week - 1) * 7
}

pub(crate) fn is_infinite_date(date: i32) -> bool {
    date == i32::MIN || date == i32::MAX
}

pub(crate) fn date_to_timestamp(date: i32) -> Result<i64> {
    match date {
        i32::MIN => Ok(i64::MIN),
        i32::MAX => Ok(i64::MAX),
        date => i64::from(date)
            .checked_mul(DAY)
            .filter(|t| *t < TIMESTAMP_END)
            .ok_or_else(|| ExprError::new("22008", "date out of range for timestamp")),
    }
}

pub(crate) fn timestamp_to_date(timestamp: i64) -> i32 {
    match timestamp {
        i64::MIN => i32::MIN,
        i64::MAX => i32::MAX,
        timestamp => timestamp.div_euclid(DAY) as i32,
    }
}

/// Within PostgreSQL's range, or 22008.
pub(crate) fn checked_timestamp(timestamp: Option<i64>) -> Result<i64> {
    timestamp
        .filter(|t| (TIMESTAMP_MIN..TIMESTAMP_END).contains(t))
        .ok_or_else(|| ExprError::new("22008", "timestamp out of range"))
}

pub(crate) fn checked_date(days: i64) -> Result<i32> {
    if (DATE_MIN..DATE_END).contains(&days) {
        Ok(days as i32)
    } else {
        Err(ExprError::new("22008", "date out of range"))
    }
}

/// Adds months, keeping the day within the month: 31 January + 1 month is 28 February.
pub(crate) fn add_months(days: i64, months: i64) -> i64 {
    let (year, month, day) = civil_from_days(days);
    let total = year * 12 + (month - 1) + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    days_from_civil(year, month, day.min(days_in_month(year, month)))
}
