//! Functions on dates, times, timestamps and intervals, and the clock.

use crate::args::{date, float8, int4, interval, mismatch, text, time, timestamp, timestamptz};
use crate::cast::{is_infinite, local_to_utc, utc_to_local};
use crate::error::{EvalResult, ExprError, Result};
use crate::registry::{Invocation, Registry, Volatility};
use datum::datetime::{
    self, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND,
};
use datum::{Datum, Interval, Numeric, SqlType, TimeZone};

pub(super) fn register(r: &mut Registry) {
    register_fields(r);
    register_zones(r);
    register_makers(r);
    register_differences(r);
    register_clock(r);
    r.volatility(Volatility::Immutable);
}

fn register_fields(r: &mut Registry) {
    for (signature, volatility) in [
        ("extract(text, timestamp) numeric", Volatility::Immutable),
        ("extract(text, date) numeric", Volatility::Immutable),
        ("extract(text, time) numeric", Volatility::Immutable),
        ("extract(text, timetz) numeric", Volatility::Immutable),
        ("extract(text, interval) numeric", Volatility::Immutable),
        ("extract(text, timestamptz) numeric", Volatility::Stable),
    ] {
        r.volatility(volatility);
        r.strict(signature, |args, call| Ok(field(args, call)?.into()));
    }
    for (signature, volatility) in [
        ("date_part(text, timestamp) float8", Volatility::Immutable),
        ("date_part(text, date) float8", Volatility::Immutable),
        ("date_part(text, time) float8", Volatility::Immutable),
        ("date_part(text, timetz) float8", Volatility::Immutable),
        ("date_part(text, interval) float8", Volatility::Immutable),
        ("date_part(text, timestamptz) float8", Volatility::Stable),
    ] {
        r.volatility(volatility);
        r.strict(signature, |args, call| {
            Ok(field(args, call)?.map(|value| value.to_f64_lossy()).into())
        });
    }
    r.volatility(Volatility::Immutable);
    r.strict("date_trunc(text, timestamp) timestamp", |args, _| {
        Ok(Datum::Timestamp(datetime::date_trunc_timestamp(text(args, 0)?, timestamp(args, 1)?)?))
    });
    r.strict("date_trunc(text, interval) interval", |args, _| {
        Ok(Datum::Interval(datetime::date_trunc_interval(text(args, 0)?, interval(args, 1)?)?))
    });
    r.volatility(Volatility::Stable);
    r.strict("date_trunc(text, timestamptz) timestamptz", |args, call| {
        let zone = &call.ctx.types.timezone;
        let t = datetime::date_trunc_timestamptz(text(args, 0)?, timestamptz(args, 1)?, zone)?;
        Ok(Datum::Timestamptz(t))
    });
    r.strict("date_trunc(text, timestamptz, text) timestamptz", |args, _| {
        let zone = TimeZone::parse(text(args, 2)?)?;
        let t = datetime::date_trunc_timestamptz(text(args, 0)?, timestamptz(args, 1)?, &zone)?;
        Ok(Datum::Timestamptz(t))
    });
    r.volatility(Volatility::Immutable);
    r.strict("date_bin(interval, timestamp, timestamp) timestamp", |args, _| {
        let t = datetime::date_bin(interval(args, 0)?, timestamp(args, 1)?, timestamp(args, 2)?)?;
        Ok(Datum::Timestamp(t))
    });
    r.strict("date_bin(interval, timestamptz, timestamptz) timestamptz", |args, _| {
        let t =
            datetime::date_bin(interval(args, 0)?, timestamptz(args, 1)?, timestamptz(args, 2)?)?;
        Ok(Datum::Timestamptz(t))
    });
}

fn field(args: &[Datum], call: &Invocation<'_>) -> Result<Option<Numeric>> {
    let name = text(args, 0)?;
    Ok(match &args[1] {
        Datum::Timestamp(t) => datetime::extract_timestamp(name, *t)?,
        Datum::Timestamptz(t) => datetime::extract_timestamptz(name, *t, &call.ctx.types.timezone)?,
        Datum::Date(d) => {
            // date_part of a date is that of its midnight; extract refuses the hour of a date.
            if call.bound.def.name == "date_part" {
                datetime::extract_timestamp(name, datetime::date_to_timestamp(*d)?)?
            } else {
                datetime::extract_date(name, *d)?
            }
        }
        Datum::Time(t) => datetime::extract_time(name, *t)?,
        Datum::Timetz { micros, offset } => datetime::extract_timetz(name, *micros, *offset)?,
        Datum::Interval(i) => datetime::extract_interval(name, *i)?,
        _ => return mismatch(args),
    })
}

/// `x AT TIME ZONE zone` is `timezone(zone, x)`.
fn register_zones(r: &mut Registry) {
    for signature in [
        "timezone(text, timestamp) timestamptz",
        "timezone(interval, timestamp) timestamptz",
        "timezone(text, timestamptz) timestamp",
        "timezone(interval, timestamptz) timestamp",
        "timezone(text, timetz) timetz",
        "timezone(interval, timetz) timetz",
    ] {
        r.strict(signature, |args, call| {
            let zone = zone_of(args)?;
            Ok(match &args[1] {
                Datum::Timestamp(t) => {
                    Datum::Timestamptz(datetime::timestamp_to_timestamptz(*t, &zone)?)
                }
                Datum::Timestamptz(t) => {
                    Datum::Timestamp(datetime::timestamptz_to_timestamp(*t, &zone)?)
                }
                Datum::Timetz { micros, offset } => {
                    let to = zone.offset_at_utc(call.ctx.transaction_timestamp());
                    let shifted = micros + i64::from(to - offset) * MICROS_PER_SECOND;
                    Datum::Timetz { micros: shifted.rem_euclid(MICROS_PER_DAY), offset: to }
                }
                _ => return mismatch(args),
            })
        });
    }
    for signature in [
        "isfinite(timestamp) bool",
        "isfinite(timestamptz) bool",
        "isfinite(date) bool",
        "isfinite(interval) bool",
    ] {
        r.strict(signature, |args, _| {
            Ok(Datum::Bool(match &args[0] {
                Datum::Timestamp(t) | Datum::Timestamptz(t) => !is_infinite(*t),
                Datum::Date(d) => !datetime::is_date_infinite(*d),
                _ => true,
            }))
        });
    }
}

fn zone_of(args: &[Datum]) -> Result<TimeZone> {
    match &args[0] {
        Datum::Text(name) => Ok(TimeZone::parse(name)?),
        Datum::Interval(i) => {
            if i.months != 0 || i.days != 0 {
                return Err(ExprError::invalid_parameter(
                    "interval time zone must not include months or days",
                ));
            }
            TimeZone::from_hours(i.micros as f64 / MICROS_PER_HOUR as f64)
                .ok_or_else(|| ExprError::invalid_parameter("interval time zone out of range"))
        }
        _ => mismatch(args),
    }
}

fn register_makers(r: &mut Registry) {
    r.strict("make_date(year int4, month int4, day int4) date", |args, _| {
        Ok(Datum::Date(make_date(int4(args, 0)?, int4(args, 1)?, int4(args, 2)?)?))
    });
    r.strict("make_time(hour int4, min int4, sec float8) time", |args, _| {
        Ok(Datum::Time(make_time(int4(args, 0)?, int4(args, 1)?, float8(args, 2)?)?))
    });
    r.strict(
        "make_timestamp(year int4, month int4, mday int4, hour int4, min int4, sec float8) timestamp",
        |args, _| Ok(Datum::Timestamp(make_timestamp(args)?)),
    );
    r.strict(
        "make_interval(years int4=0, months int4=0, weeks int4=0, days int4=0, hours int4=0, mins int4=0, secs float8=0.0) interval",
        make_interval,
    );
    r.strict("to_timestamp(float8) timestamptz", |args, _| {
        let seconds = float8(args, 0)?;
        if seconds.is_nan() {
            return Err(ExprError::new("22008", "timestamp cannot be NaN"));
        }
        if seconds.is_infinite() {
            return Ok(Datum::Timestamptz(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
        }
        let micros = (seconds * MICROS_PER_SECOND as f64).round_ties_even();
        let t = datetime::checked_timestamp(micros as i128).map_err(|_| {
            ExprError::new("22008", format!("timestamp out of range: \"{seconds}\""))
        })?;
        Ok(Datum::Timestamptz(t))
    });
    for (signature, justify) in [
        ("justify_hours(interval) interval", 0),
        ("justify_days(interval) interval", 1),
        ("justify_interval(interval) interval", 2),
    ] {
        match justify {
            0 => r.strict(signature, |args, _| {
                Ok(Datum::Interval(interval(args, 0)?.justify_hours()?))
            }),
            1 => r.strict(signature, |args, _| {
                Ok(Datum::Interval(interval(args, 0)?.justify_days()?))
            }),
            _ => r.strict(signature, |args, _| {
                Ok(Datum::Interval(interval(args, 0)?.justify_interval()?))
            }),
        };
    }
    r.volatility(Volatility::Stable);
    r.strict(
        "make_timestamptz(year int4, month int4, mday int4, hour int4, min int4, sec float8) timestamptz",
        |args, call| Ok(Datum::Timestamptz(local_to_utc(make_timestamp(args)?, call.ctx))),
    );
    r.strict(
        "make_timestamptz(year int4, month int4, mday int4, hour int4, min int4, sec float8, timezone text) timestamptz",
        |args, _| {
            let zone = TimeZone::parse(text(args, 6)?)?;
            let t = datetime::timestamp_to_timestamptz(make_timestamp(args)?, &zone)?;
            Ok(Datum::Timestamptz(t))
        },
    );
    r.volatility(Volatility::Immutable);
}

/// Negative years are BC.
fn make_date(year: i32, month: i32, day: i32) -> Result<i32> {
    let error = || {
        ExprError::new(
            "22008",
            format!("date field value out of range: {year}-{month:02}-{day:02}"),
        )
    };
    let astronomical = match year {
        0 => return Err(error()),
        year if year < 0 => year + 1,
        year => year,
    };
    let month_number =
        u32::try_from(month).ok().filter(|m| (1..=12).contains(m)).ok_or_else(error)?;
    let day_number = u32::try_from(day).ok().filter(|d| *d >= 1).ok_or_else(error)?;
    if day_number > datetime::days_in_month(astronomical, month_number) {
        return Err(error());
    }
    let days = datetime::days_from_civil(astronomical, month_number, day_number);
    datetime::checked_date(days).map_err(|_| {
        ExprError::new("22008", format!("date out of range: {year}-{month:02}-{day:02}"))
    })
}

fn make_time(hour: i32, minute: i32, second: f64) -> Result<i64> {
    let valid = (0..=24).contains(&hour)
        && (0..60).contains(&minute)
        && (0.0..=60.0).contains(&second)
        && (hour < 24 || (minute == 0 && second == 0.0));
    if !valid {
        return Err(ExprError::new(
            "22008",
            format!("time field value out of range: {hour}:{minute:02}:{second:02}"),
        ));
    }
    Ok(i64::from(hour) * MICROS_PER_HOUR
        + i64::from(minute) * MICROS_PER_MINUTE
        + (second * MICROS_PER_SECOND as f64).round_ties_even() as i64)
}

fn make_timestamp(args: &[Datum]) -> Result<i64> {
    let date = make_date(int4(args, 0)?, int4(args, 1)?, int4(args, 2)?)?;
    let time = make_time(int4(args, 3)?, int4(args, 4)?, float8(args, 5)?)?;
    Ok(datetime::checked_timestamp(
        i128::from(datetime::date_to_timestamp(date)?) + i128::from(time),
    )?)
}

fn make_interval(args: &[Datum], _: &Invocation<'_>) -> EvalResult {
    let error = || ExprError::new("22008", "interval out of range");
    let part = |index: usize| int4(args, index).map(i64::from);
    let months = part(0)? * 12 + part(1)?;
    let days = part(2)? * 7 + part(3)?;
    let seconds = float8(args, 6)?;
    if !seconds.is_finite() {
        return Err(error());
    }
    let micros = i128::from(part(4)? * MICROS_PER_HOUR)
        + i128::from(part(5)? * MICROS_PER_MINUTE)
        + (seconds * MICROS_PER_SECOND as f64).round_ties_even() as i128;
    Ok(Datum::Interval(Interval::new(
        i32::try_from(months).map_err(|_| error())?,
        i32::try_from(days).map_err(|_| error())?,
        i64::try_from(micros).map_err(|_| error())?,
    )))
}

fn register_differences(r: &mut Registry) {
    r.strict("age(timestamp, timestamp) interval", |args, _| {
        Ok(Datum::Interval(datetime::age_timestamps(timestamp(args, 0)?, timestamp(args, 1)?)?))
    });
    r.volatility(Volatility::Stable);
    r.strict("age(timestamptz, timestamptz) interval", |args, call| {
        let zone = &call.ctx.types.timezone;
        Ok(Datum::Interval(datetime::age_timestamptz(
            timestamptz(args, 0)?,
            timestamptz(args, 1)?,
            zone,
        )?))
    });
    r.strict("age(timestamp) interval", |args, call| {
        Ok(Datum::Interval(datetime::age_timestamps(midnight(call), timestamp(args, 0)?)?))
    });
    r.strict("age(timestamptz) interval", |args, call| {
        let local = utc_to_local(timestamptz(args, 0)?, call.ctx);
        Ok(Datum::Interval(datetime::age_timestamps(midnight(call), local)?))
    });
    r.volatility(Volatility::Immutable);
}

/// Today's, on the session's wall clock.
fn midnight(call: &Invocation<'_>) -> i64 {
    let local = utc_to_local(call.ctx.transaction_timestamp(), call.ctx);
    local - local.rem_euclid(MICROS_PER_DAY)
}

fn register_clock(r: &mut Registry) {
    r.volatility(Volatility::Stable);
    for signature in [
        "now() timestamptz",
        "transaction_timestamp() timestamptz",
        "current_timestamp() timestamptz",
        "current_timestamp(int4) timestamptz",
    ] {
        r.strict(signature, |args, call| {
            precise(args, call.ctx.transaction_timestamp()).map(Datum::Timestamptz)
        });
    }
    r.strict("statement_timestamp() timestamptz", |_, call| {
        Ok(Datum::Timestamptz(call.ctx.statement_timestamp))
    });
    for signature in ["localtimestamp() timestamp", "localtimestamp(int4) timestamp"] {
        r.strict(signature, |args, call| {
            let now = precise(args, call.ctx.transaction_timestamp())?;
            Ok(Datum::Timestamp(utc_to_local(now, call.ctx)))
        });
    }
    r.strict("current_date() date", |_, call| {
        let local = utc_to_local(call.ctx.transaction_timestamp(), call.ctx);
        Ok(Datum::Date(datetime::timestamp_to_date(local)))
    });
    for signature in ["current_time() timetz", "current_time(int4) timetz"] {
        r.strict(signature, |args, call| {
            let now = precise(args, call.ctx.transaction_timestamp())?;
            let zone = &call.ctx.types.timezone;
            Ok(Datum::Timetz {
                micros: utc_to_local(now, call.ctx).rem_euclid(MICROS_PER_DAY),
                offset: zone.offset_at_utc(now),
            })
        });
    }
    for signature in ["localtime() time", "localtime(int4) time"] {
        r.strict(signature, |args, call| {
            let now = precise(args, call.ctx.transaction_timestamp())?;
            Ok(Datum::Time(utc_to_local(now, call.ctx).rem_euclid(MICROS_PER_DAY)))
        });
    }
    r.volatility(Volatility::Volatile);
    r.strict("clock_timestamp() timestamptz", |_, call| {
        Ok(Datum::Timestamptz(call.ctx.facts.clock_timestamp()))
    });
    r.strict("timeofday() text", |_, call| {
        let now = Datum::Timestamptz(call.ctx.facts.clock_timestamp());
        Ok(datum::text::to_string(&now, &SqlType::Timestamptz, call.ctx.types).into())
    });
    r.strict("pg_sleep(float8) void", |args, call| sleep(float8(args, 0)?, call));
    r.strict("pg_sleep_for(interval) void", |args, call| {
        sleep(interval(args, 0)?.span_micros() as f64 / MICROS_PER_SECOND as f64, call)
    });
    r.strict("pg_sleep_until(timestamptz) void", |args, call| {
        let left = timestamptz(args, 0)? - call.ctx.facts.clock_timestamp();
        sleep(left as f64 / MICROS_PER_SECOND as f64, call)
    });
    r.volatility(Volatility::Immutable);
    r.strict("time(timestamp) time", |args, _| {
        Ok(Datum::Time(timestamp(args, 0)?.rem_euclid(MICROS_PER_DAY)))
    });
    r.strict("timestamp(date, time) timestamp", |args, _| {
        let midnight = datetime::date_to_timestamp(date(args, 0)?)?;
        Ok(Datum::Timestamp(midnight.saturating_add(time(args, 1)?)))
    });
}

/// `current_timestamp(3)`.
fn precise(args: &[Datum], t: i64) -> Result<i64> {
    let Some(digits) = args.first().and_then(Datum::as_i64) else { return Ok(t) };
    let unit = 10i64.pow(6 - digits.clamp(0, 6) as u32);
    Ok((t + unit / 2).div_euclid(unit) * unit)
}

fn sleep(seconds: f64, call: &Invocation<'_>) -> EvalResult {
    if seconds > 0.0 {
        let duration = std::time::Duration::try_from_secs_f64(seconds)
            .map_err(|_| ExprError::new("22003", "value out of range: overflow"))?;
        call.ctx.facts.sleep(duration)?;
    }
    Ok(Datum::void())
}
