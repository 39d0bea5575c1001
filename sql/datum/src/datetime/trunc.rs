//! `date_trunc`.

use super::calendar::{Fields, days_from_civil, iso_week};
use super::extract::Field;
use super::{
    checked_timestamp, is_timestamp_infinite, timestamp_to_timestamptz, timestamptz_to_timestamp,
};
use crate::interval::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::{DatumError, Interval, Result, SqlType, TimeZone, sqlstate};

pub fn date_trunc_timestamp(unit: &str, ts: i64) -> Result<i64> {
    trunc_local(unit, ts, &SqlType::Timestamp)
}

/// Cut on the wall clock of the zone.
pub fn date_trunc_timestamptz(unit: &str, utc: i64, zone: &TimeZone) -> Result<i64> {
    let local = trunc_local(unit, timestamptz_to_timestamp(utc, zone)?, &SqlType::Timestamptz)?;
    let below_a_day = matches!(
        Field::parse(unit, &SqlType::Timestamptz)?,
        Field::Microseconds | Field::Milliseconds | Field::Second | Field::Minute | Field::Hour
    );
    if below_a_day && !is_timestamp_infinite(utc) {
        // The offset of the moment itself, so that the doubled hour of autumn stays the same one.
        let offset = i64::from(zone.offset_at_utc(utc)) * MICROS_PER_SECOND;
        return Ok(local - offset);
    }
    timestamp_to_timestamptz(local, zone)
}

fn trunc_local(unit: &str, ts: i64, ty: &SqlType) -> Result<i64> {
    let field = Field::parse(unit, ty)?;
    let cut = |unit: i64| Ok(ts - ts.rem_euclid(unit));
    if is_timestamp_infinite(ts) {
        return Ok(ts);
    }
    let fields = Fields::from_timestamp(ts);
    let first_of = |year: i32, month: u32| {
        checked_timestamp(i128::from(days_from_civil(year, month, 1)) * i128::from(MICROS_PER_DAY))
    };
    // The first year of the decade, century or millennium; centuries begin with a year …01.
    let first_year = |unit: i32, start: i32| (fields.year - start).div_euclid(unit) * unit + start;
    match field {
        Field::Microseconds => Ok(ts),
        Field::Milliseconds => cut(1000),
        Field::Second => cut(MICROS_PER_SECOND),
        Field::Minute => cut(MICROS_PER_MINUTE),
        Field::Hour => cut(MICROS_PER_HOUR),
        Field::Day => cut(MICROS_PER_DAY),
        Field::Week => {
            debug_assert!(iso_week(fields.days).1 >= 1);
            let monday = fields.days - (fields.days + 3).rem_euclid(7);
            checked_timestamp(i128::from(monday) * i128::from(MICROS_PER_DAY))
        }
        Field::Month => first_of(fields.year, fields.month),
        Field::Quarter => first_of(fields.year, (fields.month - 1) / 3 * 3 + 1),
        Field::Year => first_of(fields.year, 1),
        Field::Decade => first_of(first_year(10, 0), 1),
        Field::Century => first_of(first_year(100, 1), 1),
        Field::Millennium => first_of(first_year(1000, 1), 1),
        Field::IsoYear
        | Field::DayOfWeek
        | Field::IsoDayOfWeek
        | Field::DayOfYear
        | Field::Julian
        | Field::Epoch => Err(Field::not_recognized(&unit.to_ascii_lowercase(), ty)),
        Field::Timezone | Field::TimezoneHour | Field::TimezoneMinute => {
            Err(Field::not_supported(&unit.to_ascii_lowercase(), ty))
        }
    }
}

pub fn date_trunc_interval(unit: &str, interval: Interval) -> Result<Interval> {
    let field = Field::parse(unit, &SqlType::Interval)?;
    let Interval { months, days, micros } = interval;
    let to_months = |unit: i32| Interval::new(months / unit * unit, 0, 0);
    let to_micros = |unit: i64| Interval::new(months, days, micros / unit * unit);
    Ok(match field {
        Field::Microseconds => interval,
        Field::Milliseconds => to_micros(1000),
        Field::Second => to_micros(MICROS_PER_SECOND),
        Field::Minute => to_micros(MICROS_PER_MINUTE),
        Field::Hour => to_micros(MICROS_PER_HOUR),
        Field::Day => Interval::new(months, days, 0),
        Field::Month => to_months(1),
        Field::Quarter => to_months(3),
        Field::Year => to_months(12),
        Field::Decade => to_months(120),
        Field::Century => to_months(1200),
        Field::Millennium => to_months(12_000),
        Field::Week => {
            return Err(DatumError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "unit \"week\" not supported for type interval",
            )
            .with_detail("Months usually have fractional weeks."));
        }
        Field::IsoYear
        | Field::DayOfWeek
        | Field::IsoDayOfWeek
        | Field::DayOfYear
        | Field::Julian
        | Field::Epoch => {
            return Err(Field::not_recognized(&unit.to_ascii_lowercase(), &SqlType::Interval));
        }
        Field::Timezone | Field::TimezoneHour | Field::TimezoneMinute => {
            return Err(Field::not_supported(&unit.to_ascii_lowercase(), &SqlType::Interval));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TypeContext;
    use crate::datetime::{format_timestamp, parse_timestamp};

    #[test]
    fn each_unit_cuts_to_its_beginning() {
        let ctx = TypeContext::default();
        let trunc = |unit: &str, ts: &str| {
            let cut = date_trunc_timestamp(unit, parse_timestamp(ts, &ctx).unwrap()).unwrap();
            let mut out = String::new();
            format_timestamp(cut, &ctx, &mut out);
            out
        };
        assert_eq!(trunc("month", "2024-05-06 10:00"), "2024-05-01 00:00:00");
        assert_eq!(trunc("week", "2024-05-05 10:00"), "2024-04-29 00:00:00");
        assert_eq!(trunc("quarter", "2024-05-05 10:00"), "2024-04-01 00:00:00");
        assert_eq!(trunc("century", "2000-05-05"), "1901-01-01 00:00:00");
        assert_eq!(trunc("hour", "1969-12-31 23:59:59"), "1969-12-31 23:00:00");
        assert_eq!(trunc("decade", "0005-12-31 BC"), "0011-01-01 00:00:00 BC");
    }
}
