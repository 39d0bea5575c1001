//! Arithmetic on dates, times, timestamps and intervals. With time zones, days and months are added on the session's
//! wall clock, hours on the instant.

use crate::args::{date, float8, int4, interval, mismatch, time, timestamp, timestamptz};
use crate::context::EvalContext;
use crate::error::{EvalResult, Result};
use crate::registry::{Invocation, Registry, Volatility};
use datum::datetime::{self, MICROS_PER_DAY};
use datum::{Datum, Interval};

pub(super) fn register(r: &mut Registry) {
    register_dates(r);
    register_timestamps(r);
    register_times(r);
    register_intervals(r);
}

fn register_dates(r: &mut Registry) {
    r.operator("date + int4 date", |args, _| add_days(date(args, 0)?, i64::from(int4(args, 1)?)));
    r.operator("int4 + date date", |args, _| add_days(date(args, 1)?, i64::from(int4(args, 0)?)));
    r.operator("date - int4 date", |args, _| add_days(date(args, 0)?, -i64::from(int4(args, 1)?)));
    r.operator("date - date int4", |args, _| {
        let (a, b) = (date(args, 0)?, date(args, 1)?);
        if datetime::is_date_infinite(a) || datetime::is_date_infinite(b) {
            return Err(crate::ExprError::new("22008", "cannot subtract infinite dates"));
        }
        Ok(Datum::Int4((i64::from(a) - i64::from(b)) as i32))
    });
    r.operator("date + interval timestamp", |args, _| {
        add_to_timestamp(datetime::date_to_timestamp(date(args, 0)?)?, interval(args, 1)?)
    });
    r.operator("interval + date timestamp", |args, _| {
        add_to_timestamp(datetime::date_to_timestamp(date(args, 1)?)?, interval(args, 0)?)
    });
    r.operator("date - interval timestamp", |args, _| {
        let local = datetime::date_to_timestamp(date(args, 0)?)?;
        Ok(Datum::Timestamp(datetime::timestamp_sub(local, interval(args, 1)?)?))
    });
    r.operator("date + time timestamp", |args, _| join(date(args, 0)?, time(args, 1)?));
    r.operator("time + date timestamp", |args, _| join(date(args, 1)?, time(args, 0)?));
    r.operator("date + timetz timestamptz", |args, _| join_zoned(&args[0], &args[1]));
    r.operator("timetz + date timestamptz", |args, _| join_zoned(&args[1], &args[0]));
}

fn add_days(date: i32, days: i64) -> EvalResult {
    Ok(Datum::Date(datetime::date_add_days(date, days)?))
}

fn join(date: i32, time: i64) -> EvalResult {
    let midnight = datetime::date_to_timestamp(date)?;
    if datetime::is_timestamp_infinite(midnight) {
        return Ok(Datum::Timestamp(midnight));
    }
    Ok(Datum::Timestamp(datetime::checked_timestamp(i128::from(midnight) + i128::from(time))?))
}

fn join_zoned(date: &Datum, time: &Datum) -> EvalResult {
    let (Datum::Date(date), Datum::Timetz { micros, offset }) = (date, time) else {
        return mismatch(&[date.clone(), time.clone()]);
    };
    let midnight = datetime::date_to_timestamp(*date)?;
    let utc = i128::from(midnight) + i128::from(*micros) - i128::from(*offset) * 1_000_000;
    Ok(Datum::Timestamptz(datetime::checked_timestamp(utc)?))
}

fn add_to_timestamp(t: i64, interval: Interval) -> EvalResult {
    Ok(Datum::Timestamp(datetime::timestamp_add(t, interval)?))
}

fn add_to_timestamptz(t: i64, interval: Interval, ctx: &EvalContext<'_>) -> EvalResult {
    Ok(Datum::Timestamptz(datetime::timestamptz_add(t, interval, &ctx.types.timezone)?))
}

/// `timestamp - timestamp`: days and time, no months.
fn difference(a: i64, b: i64) -> Result<Interval> {
    Ok(datetime::timestamp_diff(a, b)?)
}

fn register_timestamps(r: &mut Registry) {
    r.operator("timestamp + interval timestamp", |args, _| {
        add_to_timestamp(timestamp(args, 0)?, interval(args, 1)?)
    });
    r.operator("interval + timestamp timestamp", |args, _| {
        add_to_timestamp(timestamp(args, 1)?, interval(args, 0)?)
    });
    r.operator("timestamp - interval timestamp", |args, _| {
        Ok(Datum::Timestamp(datetime::timestamp_sub(timestamp(args, 0)?, interval(args, 1)?)?))
    });
    r.operator("timestamp - timestamp interval", |args, _| {
        Ok(Datum::Interval(difference(timestamp(args, 0)?, timestamp(args, 1)?)?))
    });
    r.operator("timestamptz - timestamptz interval", |args, _| {
        Ok(Datum::Interval(difference(timestamptz(args, 0)?, timestamptz(args, 1)?)?))
    });
    r.volatility(Volatility::Stable);
    r.operator("timestamptz + interval timestamptz", |args, call| {
        add_to_timestamptz(timestamptz(args, 0)?, interval(args, 1)?, call.ctx)
    });
    r.operator("interval + timestamptz timestamptz", |args, call| {
        add_to_timestamptz(timestamptz(args, 1)?, interval(args, 0)?, call.ctx)
    });
    r.operator("timestamptz - interval timestamptz", |args, call| {
        let zone = &call.ctx.types.timezone;
        let t = datetime::timestamptz_sub(timestamptz(args, 0)?, interval(args, 1)?, zone)?;
        Ok(Datum::Timestamptz(t))
    });
    r.volatility(Volatility::Immutable);
}

fn register_times(r: &mut Registry) {
    r.operator("time + interval time", |args, _| {
        Ok(Datum::Time(datetime::time_add_interval(time(args, 0)?, interval(args, 1)?)))
    });
    r.operator("interval + time time", |args, _| {
        Ok(Datum::Time(datetime::time_add_interval(time(args, 1)?, interval(args, 0)?)))
    });
    r.operator("time - interval time", |args, _| {
        let moved = i128::from(time(args, 0)?) - i128::from(interval(args, 1)?.micros);
        Ok(Datum::Time(moved.rem_euclid(i128::from(MICROS_PER_DAY)) as i64))
    });
    r.operator("time - time interval", |args, _| {
        Ok(Datum::Interval(Interval::new(0, 0, time(args, 0)? - time(args, 1)?)))
    });
    r.operator("timetz + interval timetz", |args, _| shift_timetz(&args[0], &args[1], 1));
    r.operator("interval + timetz timetz", |args, _| shift_timetz(&args[1], &args[0], 1));
    r.operator("timetz - interval timetz", |args, _| shift_timetz(&args[0], &args[1], -1));
}

fn shift_timetz(value: &Datum, by: &Datum, sign: i128) -> EvalResult {
    let (Datum::Timetz { micros, offset }, Datum::Interval(by)) = (value, by) else {
        return mismatch(&[value.clone(), by.clone()]);
    };
    let moved = i128::from(*micros) + sign * i128::from(by.micros);
    Ok(Datum::Timetz {
        micros: moved.rem_euclid(i128::from(MICROS_PER_DAY)) as i64,
        offset: *offset,
    })
}

fn register_intervals(r: &mut Registry) {
    r.operator("interval + interval interval", |args, _| {
        Ok(Datum::Interval(interval(args, 0)?.checked_add(interval(args, 1)?)?))
    });
    r.operator("interval - interval interval", |args, _| {
        Ok(Datum::Interval(interval(args, 0)?.checked_sub(interval(args, 1)?)?))
    });
    r.operator("- interval interval", |args, _| {
        Ok(Datum::Interval(interval(args, 0)?.checked_neg()?))
    });
    r.operator("interval * float8 interval", |args, _| {
        Ok(Datum::Interval(interval(args, 0)?.checked_mul(float8(args, 1)?)?))
    });
    r.operator("float8 * interval interval", |args, _| {
        Ok(Datum::Interval(interval(args, 1)?.checked_mul(float8(args, 0)?)?))
    });
    r.operator("interval / float8 interval", |args, _| {
        Ok(Datum::Interval(interval(args, 0)?.checked_div(float8(args, 1)?)?))
    });
    for signature in [
        "overlaps(timestamp, timestamp, timestamp, timestamp) bool",
        "overlaps(timestamptz, timestamptz, timestamptz, timestamptz) bool",
        "overlaps(date, date, date, date) bool",
        "overlaps(time, time, time, time) bool",
    ] {
        r.lenient(signature, |args, _| Ok(overlaps(args)));
    }
    r.lenient("overlaps(timestamp, interval, timestamp, interval) bool", |args, call| {
        spans_overlap(args, call)
    });
    r.volatility(Volatility::Stable);
    r.lenient("overlaps(timestamptz, interval, timestamptz, interval) bool", |args, call| {
        spans_overlap(args, call)
    });
    r.volatility(Volatility::Immutable);
}

/// `(start, length) OVERLAPS (start, length)`.
fn spans_overlap(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    let end = |start: &Datum, length: &Datum| match (start, length) {
        (Datum::Timestamp(t), Datum::Interval(i)) => add_to_timestamp(*t, *i),
        (Datum::Timestamptz(t), Datum::Interval(i)) => add_to_timestamptz(*t, *i, call.ctx),
        _ => Ok(Datum::Null),
    };
    Ok(overlaps(&[
        args[0].clone(),
        end(&args[0], &args[1])?,
        args[2].clone(),
        end(&args[2], &args[3])?,
    ]))
}

/// SQL's rule: ends in either order, half open, a span of one point covers that point; nulls are unknown ends.
fn overlaps(args: &[Datum]) -> Datum {
    let ordered = |a: &Datum, b: &Datum| -> Option<(Datum, Datum)> {
        match (a.is_null(), b.is_null()) {
            (true, true) => None,
            (true, false) => Some((b.clone(), Datum::Null)),
            (false, true) => Some((a.clone(), Datum::Null)),
            (false, false) if a <= b => Some((a.clone(), b.clone())),
            (false, false) => Some((b.clone(), a.clone())),
        }
    };
    let (Some(left), Some(right)) = (ordered(&args[0], &args[1]), ordered(&args[2], &args[3]))
    else {
        return Datum::Null;
    };
    let before = |first: &(Datum, Datum), second: &(Datum, Datum)| {
        // The first starts earlier: they overlap if it ends after the second's start.
        if first.1.is_null() {
            Datum::Null
        } else if second.0 < first.1 {
            Datum::Bool(true)
        } else if second.1.is_null() {
            Datum::Null
        } else {
            Datum::Bool(false)
        }
    };
    match left.0.compare(&right.0) {
        std::cmp::Ordering::Less => before(&left, &right),
        std::cmp::Ordering::Greater => before(&right, &left),
        std::cmp::Ordering::Equal if left.1.is_null() || right.1.is_null() => Datum::Null,
        std::cmp::Ordering::Equal => Datum::Bool(true),
    }
}
