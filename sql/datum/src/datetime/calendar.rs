//! The proleptic Gregorian calendar: days since 1970-01-01 to year, month, day and back.

use crate::interval::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};

/// Julian day number of 1970-01-01.
const JULIAN_EPOCH: i64 = 2_440_588;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// Astronomical: 0 is 1 BC.
    pub year: i32,
    pub month: u32,
    pub day: u32,
}

/// A finite local timestamp, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    pub year: i32,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub micros: u32,
    /// Days since 1970-01-01.
    pub days: i64,
}

/// Counts in eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
pub fn days_from_civil(year: i32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

pub fn civil_from_days(days: i64) -> Civil {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil { year: year as i32, month: month as u32, day: day as u32 }
}

pub fn is_leap_year(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 is Sunday.
pub fn day_of_week(days: i64) -> u32 {
    (days + 4).rem_euclid(7) as u32
}

/// 1 is the first of January.
pub fn day_of_year(days: i64) -> u32 {
    (days - days_from_civil(civil_from_days(days).year, 1, 1) + 1) as u32
}

/// (ISO year, ISO week).
pub fn iso_week(days: i64) -> (i32, u32) {
    // The week belongs to the year of its Thursday.
    let monday_based = (days + 3).rem_euclid(7);
    let thursday = days - monday_based + 3;
    let year = civil_from_days(thursday).year;
    let first = days_from_civil(year, 1, 1);
    (year, ((thursday - first) / 7 + 1) as u32)
}

pub fn julian_day(days: i64) -> i64 {
    days + JULIAN_EPOCH
}

pub(super) fn days_from_julian(julian: i64) -> i64 {
    julian - JULIAN_EPOCH
}

impl Fields {
    pub fn from_timestamp(local_micros: i64) -> Fields {
        let days = local_micros.div_euclid(MICROS_PER_DAY);
        let time = local_micros.rem_euclid(MICROS_PER_DAY);
        let Civil { year, month, day } = civil_from_days(days);
        Fields {
            year,
            month,
            day,
            hour: (time / MICROS_PER_HOUR) as u32,
            minute: (time / MICROS_PER_MINUTE % 60) as u32,
            second: (time / MICROS_PER_SECOND % 60) as u32,
            micros: (time % MICROS_PER_SECOND) as u32,
            days,
        }
    }

    /// Of a time of day, which may be 24:00.
    pub fn from_time(micros: i64) -> Fields {
        Fields {
            hour: (micros / MICROS_PER_HOUR) as u32,
            minute: (micros / MICROS_PER_MINUTE % 60) as u32,
            second: (micros / MICROS_PER_SECOND % 60) as u32,
            micros: (micros % MICROS_PER_SECOND) as u32,
            ..Fields::from_timestamp(0)
        }
    }

    pub fn time_of_day(&self) -> i64 {
        i64::from(self.hour) * MICROS_PER_HOUR
            + i64::from(self.minute) * MICROS_PER_MINUTE
            + i64::from(self.second) * MICROS_PER_SECOND
            + i64::from(self.micros)
    }

    /// Back to microseconds; `days` is not read. Wide, since the caller checks the range.
    pub fn to_timestamp(&self) -> i128 {
        i128::from(days_from_civil(self.year, self.month, self.day)) * i128::from(MICROS_PER_DAY)
            + i128::from(self.time_of_day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_over_the_whole_range() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(-4713, 11, 24), -2_440_588);
        assert_eq!(days_from_civil(5_874_897, 12, 31), 2_145_042_905);
        assert_eq!(days_from_civil(294_247, 1, 1), 106_751_982);
        for days in (-2_440_588..3_000_000).step_by(97) {
            let civil = civil_from_days(days);
            assert_eq!(days_from_civil(civil.year, civil.month, civil.day), days);
        }
    }

    #[test]
    fn iso_weeks_at_the_turn_of_the_year() {
        assert_eq!(iso_week(days_from_civil(2005, 1, 1)), (2004, 53));
        assert_eq!(iso_week(days_from_civil(2012, 12, 31)), (2013, 1));
        assert_eq!(day_of_week(days_from_civil(2024, 5, 6)), 1);
    }
}
