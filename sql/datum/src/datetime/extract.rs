//! `extract(field from …)`: numeric, with the digits after the point that PostgreSQL 15 shows.

use super::calendar::{Fields, day_of_week, day_of_year, iso_week, julian_day};
use super::{
    DATE_INFINITY, TIMESTAMP_INFINITY, is_date_infinite, is_timestamp_infinite,
    timestamptz_to_timestamp,
};
use crate::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::{DatumError, Interval, Numeric, Result, SqlType, TimeZone, sqlstate};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    IsoYear,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Julian,
    Epoch,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

impl Field {
    /// Any of PostgreSQL's spellings. `ty` only words the error.
    pub fn parse(name: &str, ty: &SqlType) -> Result<Field> {
        let lower = name.to_ascii_lowercase();
        Ok(match lower.as_str() {
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" | "usecond" | "useconds"
            | "microsecon" => Field::Microseconds,
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" | "msecond" | "mseconds"
            | "millisecon" => Field::Milliseconds,
            "second" | "seconds" | "s" | "sec" | "secs" => Field::Second,
            "minute" | "minutes" | "m" | "min" | "mins" => Field::Minute,
            "hour" | "hours" | "h" | "hr" | "hrs" => Field::Hour,
            "day" | "days" | "d" => Field::Day,
            "week" | "weeks" | "w" => Field::Week,
            "month" | "months" | "mon" | "mons" => Field::Month,
            "quarter" | "qtr" => Field::Quarter,
            "year" | "years" | "y" | "yr" | "yrs" => Field::Year,
            "decade" | "decades" | "dec" | "decs" => Field::Decade,
            "century" | "centuries" | "c" | "cent" => Field::Century,
            "millennium" | "millennia" | "mil" | "mils" => Field::Millennium,
            "isoyear" => Field::IsoYear,
            "dow" => Field::DayOfWeek,
            "isodow" => Field::IsoDayOfWeek,
            "doy" => Field::DayOfYear,
            "julian" | "j" | "jd" => Field::Julian,
            "epoch" => Field::Epoch,
            "timezone" => Field::Timezone,
            "timezone_hour" | "timezone_h" => Field::TimezoneHour,
            "timezone_minute" | "timezone_m" => Field::TimezoneMinute,
            _ => return Err(Self::not_recognized(&lower, ty)),
        })
    }

    pub(super) fn not_recognized(lower: &str, ty: &SqlType) -> DatumError {
        DatumError::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("unit \"{lower}\" not recognized for type {}", ty.sql_name()),
        )
    }

    pub(super) fn not_supported(lower: &str, ty: &SqlType) -> DatumError {
        DatumError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            format!("unit \"{lower}\" not supported for type {}", ty.sql_name()),
        )
    }

    /// Grows with time without end, so that infinity has one; the others (`month`, …) answer NULL for infinity.
    fn is_monotonic(self) -> bool {
        matches!(
            self,
            Field::Year
                | Field::Decade
                | Field::Century
                | Field::Millennium
                | Field::IsoYear
                | Field::Julian
                | Field::Epoch
        )
    }
}

fn whole(v: impl Into<i64>) -> Option<Numeric> {
    Some(Numeric::from(v.into()))
}

fn of_infinity(field: Field, positive: bool) -> Option<Numeric> {
    match (field.is_monotonic(), positive) {
        (false, _) => None,
        (true, true) => Some(Numeric::INFINITY),
        (true, false) => Some(Numeric::NEG_INFINITY),
    }
}

/// `None` is SQL's NULL: a field of infinity that has no answer.
pub fn extract_timestamp(name: &str, ts: i64) -> Result<Option<Numeric>> {
    extract_local(name, ts, ts, None, &SqlType::Timestamp)
}

pub fn extract_timestamptz(name: &str, utc: i64, zone: &TimeZone) -> Result<Option<Numeric>> {
    let local = timestamptz_to_timestamp(utc, zone)?;
    extract_local(name, local, utc, Some(zone), &SqlType::Timestamptz)
}

fn extract_local(
    name: &str,
    local: i64,
    utc: i64,
    zone: Option<&TimeZone>,
    ty: &SqlType,
) -> Result<Option<Numeric>> {
    let field = Field::parse(name, ty)?;
    if is_timestamp_infinite(local) {
        return Ok(of_infinity(field, local == TIMESTAMP_INFINITY));
    }
    if let Field::Timezone | Field::TimezoneHour | Field::TimezoneMinute = field {
        let Some(zone) = zone else {
            return Err(Field::not_supported(&name.to_ascii_lowercase(), ty));
        };
        return Ok(zone_field(field, zone.offset_at_utc(utc)));
    }
    let fields = Fields::from_timestamp(local);
    if let Some(answer) = time_field(field, &fields) {
        return Ok(Some(answer));
    }
    if let Some(answer) = date_field(field, &fields) {
        return Ok(Some(answer));
    }
    if field == Field::Epoch {
        return Ok(Some(Numeric::new(i128::from(utc), 6)));
    }
    // Julian: the day, and the share of the day that has gone.
    let day = Numeric::from(julian_day(fields.days));
    let share = Numeric::from(fields.time_of_day()).div(&Numeric::from(MICROS_PER_DAY))?;
    Ok(Some(day.add(&share)))
}

pub fn extract_date(name: &str, date: i32) -> Result<Option<Numeric>> {
    let field = Field::parse(name, &SqlType::Date)?;
    let supported = !matches!(
        field,
        Field::Microseconds
            | Field::Milliseconds
            | Field::Second
            | Field::Minute
            | Field::Hour
            | Field::Timezone
            | Field::TimezoneHour
            | Field::TimezoneMinute
    );
    if !supported {
        return Err(Field::not_supported(&name.to_ascii_lowercase(), &SqlType::Date));
    }
    if is_date_infinite(date) {
        return Ok(of_infinity(field, date == DATE_INFINITY));
    }
    let days = i64::from(date);
    let civil = super::civil_from_days(days);
    let fields = Fields {
        year: civil.year,
        month: civil.month,
        day: civil.day,
        days,
        ..Fields::from_timestamp(0)
    };
    Ok(match field {
        Field::Epoch => whole(days * 86_400),
        Field::Julian => whole(julian_day(days)),
        _ => date_field(field, &fields),
    })
}

pub fn extract_time(name: &str, micros: i64) -> Result<Option<Numeric>> {
    let field = Field::parse(name, &SqlType::Time)?;
    if field == Field::Epoch {
        return Ok(Some(Numeric::new(i128::from(micros), 6)));
    }
    time_field(field, &Fields::from_time(micros))
        .map(Some)
        .ok_or_else(|| Field::not_supported(&name.to_ascii_lowercase(), &SqlType::Time))
}

pub fn extract_timetz(name: &str, micros: i64, offset: i32) -> Result<Option<Numeric>> {
    let field = Field::parse(name, &SqlType::Timetz)?;
    if field == Field::Epoch {
        let utc = micros - i64::from(offset) * MICROS_PER_SECOND;
        return Ok(Some(Numeric::new(i128::from(utc), 6)));
    }
    time_field(field, &Fields::from_time(micros))
        .or_else(|| zone_field(field, offset))
        .map(Some)
        .ok_or_else(|| Field::not_supported(&name.to_ascii_lowercase(), &SqlType::Timetz))
}

pub fn extract_interval(name: &str, interval: Interval) -> Result<Option<Numeric>> {
    let field = Field::parse(name, &SqlType::Interval)?;
    let years = i64::from(interval.months / 12);
    let months = i64::from(interval.months % 12);
    let seconds_micros = interval.micros % (60 * MICROS_PER_SECOND);
    Ok(match field {
        Field::Microseconds => whole(seconds_micros),
        Field::Milliseconds => Some(Numeric::new(i128::from(seconds_micros), 3)),
        Field::Second => Some(Numeric::new(i128::from(seconds_micros), 6)),
        Field::Minute => whole(interval.micros / (60 * MICROS_PER_SECOND) % 60),
        Field::Hour => whole(interval.micros / (3600 * MICROS_PER_SECOND)),
        Field::Day => whole(interval.days),
        Field::Month => whole(months),
        Field::Quarter => whole(months / 3 + 1),
        Field::Year => whole(years),
        Field::Decade => whole(years / 10),
        Field::Century => whole(years / 100),
        Field::Millennium => whole(years / 1000),
        Field::Epoch => {
            // A year has 365.25 days here, a month 30.
            let quarter_days =
                i128::from(years) * 1461 + i128::from(months) * 120 + i128::from(interval.days) * 4;
            let micros =
                quarter_days * i128::from(MICROS_PER_DAY / 4) + i128::from(interval.micros);
            Some(Numeric::new(micros, 6))
        }
        Field::Week
        | Field::IsoYear
        | Field::DayOfWeek
        | Field::IsoDayOfWeek
        | Field::DayOfYear
        | Field::Julian
        | Field::Timezone
        | Field::TimezoneHour
        | Field::TimezoneMinute => {
            return Err(Field::not_supported(&name.to_ascii_lowercase(), &SqlType::Interval));
        }
    })
}

fn time_field(field: Field, f: &Fields) -> Option<Numeric> {
    let second_micros = i64::from(f.second) * MICROS_PER_SECOND + i64::from(f.micros);
    match field {
        Field::Microseconds => whole(second_micros),
        Field::Milliseconds => Some(Numeric::new(i128::from(second_micros), 3)),
        Field::Second => Some(Numeric::new(i128::from(second_micros), 6)),
        Field::Minute => whole(f.minute),
        Field::Hour => whole(f.hour),
        _ => None,
    }
}

fn date_field(field: Field, f: &Fields) -> Option<Numeric> {
    // There is no year 0: 1 BC is -1.
    let year = i64::from(if f.year > 0 { f.year } else { f.year - 1 });
    let rounded_away = |unit: i64| {
        if f.year > 0 {
            (i64::from(f.year) + unit - 1) / unit
        } else {
            -((unit - 1 - (i64::from(f.year) - 1)) / unit)
        }
    };
    match field {
        Field::Day => whole(f.day),
        Field::Week => whole(iso_week(f.days).1),
        Field::Month => whole(f.month),
        Field::Quarter => whole((f.month - 1) / 3 + 1),
        Field::Year => whole(year),
        Field::Decade => whole(i64::from(f.year).div_euclid(10)),
        Field::Century => whole(rounded_away(100)),
        Field::Millennium => whole(rounded_away(1000)),
        Field::IsoYear => {
            let iso = iso_week(f.days).0;
            whole(if iso > 0 { iso } else { iso - 1 })
        }
        Field::DayOfWeek => whole(day_of_week(f.days)),
        Field::IsoDayOfWeek => whole((day_of_week(f.days) + 6) % 7 + 1),
        Field::DayOfYear => whole(day_of_year(f.days)),
        _ => None,
    }
}

fn zone_field(field: Field, offset: i32) -> Option<Numeric> {
    match field {
        Field::Timezone => whole(offset),
        Field::TimezoneHour => whole(offset / 3600),
        Field::TimezoneMinute => whole(offset / 60 % 60),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TypeContext;
    use crate::datetime::{parse_interval, parse_timestamp};

    #[test]
    fn fields_print_as_postgresql_prints_them() {
        let ts = parse_timestamp("2001-02-16 20:38:40.12", &TypeContext::default()).unwrap();
        let get = |name: &str| extract_timestamp(name, ts).unwrap().unwrap().to_string();
        assert_eq!(get("century"), "21");
        assert_eq!(get("second"), "40.120000");
        assert_eq!(get("milliseconds"), "40120.000");
        assert_eq!(get("epoch"), "982355920.120000");
        assert_eq!(get("isodow"), "5");
        assert_eq!(get("doy"), "47");
        let day = parse_interval("1 day", -1).unwrap();
        assert_eq!(extract_interval("epoch", day).unwrap().unwrap().to_string(), "86400.000000");
        assert_eq!(
            extract_timestamp("foo", ts).unwrap_err().message,
            "unit \"foo\" not recognized for type timestamp without time zone"
        );
    }
}
