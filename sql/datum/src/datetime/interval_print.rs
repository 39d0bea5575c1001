//! Intervals as text, in the four interval styles.

use std::fmt::Write as _;

use super::print::push_fraction;
use crate::interval::{MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::{Interval, IntervalStyle, TypeContext};

/// The parts that are printed; all of one value have the sign of what they came from.
struct Parts {
    years: i32,
    months: i32,
    days: i32,
    hours: i64,
    minutes: i64,
    seconds: i64,
    micros: i64,
}

impl Parts {
    fn of(interval: Interval) -> Self {
        Self {
            years: interval.months / 12,
            months: interval.months % 12,
            days: interval.days,
            hours: interval.micros / MICROS_PER_HOUR,
            minutes: interval.micros / MICROS_PER_MINUTE % 60,
            seconds: interval.micros / MICROS_PER_SECOND % 60,
            micros: interval.micros % MICROS_PER_SECOND,
        }
    }

    fn clock_is_zero(&self) -> bool {
        self.hours == 0 && self.minutes == 0 && self.seconds == 0 && self.micros == 0
    }

    fn clock_is_negative(&self) -> bool {
        self.hours < 0 || self.minutes < 0 || self.seconds < 0 || self.micros < 0
    }

    fn push_seconds(&self, width: usize, out: &mut String) {
        let _ = write!(out, "{:0width$}", self.seconds.unsigned_abs());
        push_fraction(self.micros.unsigned_abs() as u32, out);
    }

    fn push_clock(&self, out: &mut String) {
        let (h, m) = (self.hours.unsigned_abs(), self.minutes.unsigned_abs());
        let _ = write!(out, "{h:02}:{m:02}:");
        self.push_seconds(2, out);
    }
}

pub fn format_interval(interval: Interval, ctx: &TypeContext, out: &mut String) {
    let parts = Parts::of(interval);
    match ctx.interval_style {
        IntervalStyle::Postgres => postgres(&parts, out),
        IntervalStyle::PostgresVerbose => verbose(&parts, out),
        IntervalStyle::SqlStandard => sql_standard(&parts, out),
        IntervalStyle::Iso8601 => iso_8601(&parts, out),
    }
}

/// `1 year 2 mons -3 days +04:05:06`: a positive field after a negative one gets a plus.
fn postgres(parts: &Parts, out: &mut String) {
    let start = out.len();
    let mut after_negative = false;
    for (value, name) in [(parts.years, "year"), (parts.months, "mon"), (parts.days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if out.len() == start { "" } else { " " };
        let plus = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(out, "{space}{plus}{value} {name}{plural}");
        after_negative = value < 0;
    }
    if out.len() == start || !parts.clock_is_zero() {
        if out.len() > start {
            out.push(' ');
        }
        if parts.clock_is_negative() {
            out.push('-');
        } else if after_negative {
            out.push('+');
        }
        parts.push_clock(out);
    }
}

/// `@ 1 year 2 mons 3 days 4 hours 5 mins 6.789 secs ago`
fn verbose(parts: &Parts, out: &mut String) {
    out.push('@');
    let start = out.len();
    // The first field's sign becomes `ago`; the others are relative to it.
    let mut ago = false;
    let fields = [
        (i64::from(parts.years), "year"),
        (i64::from(parts.months), "mon"),
        (i64::from(parts.days), "day"),
        (parts.hours, "hour"),
        (parts.minutes, "min"),
    ];
    for (value, name) in fields {
        if value == 0 {
            continue;
        }
        if out.len() == start {
            ago = value < 0;
        }
        let shown = if ago { -value } else { value };
        let plural = if shown == 1 { "" } else { "s" };
        let _ = write!(out, " {shown} {name}{plural}");
    }
    if parts.seconds != 0 || parts.micros != 0 {
        let negative = parts.seconds < 0 || parts.micros < 0;
        if out.len() == start {
            ago = negative;
        }
        out.push_str(if negative != ago { " -" } else { " " });
        parts.push_seconds(1, out);
        let one = parts.seconds.abs() == 1 && parts.micros == 0;
        out.push_str(if one { " sec" } else { " secs" });
    }
    if out.len() == start {
        out.push_str(" 0");
    }
    if ago {
        out.push_str(" ago");
    }
}

/// `P1Y2M3DT4H5M6.789S`
fn iso_8601(parts: &Parts, out: &mut String) {
    let start = out.len();
    out.push('P');
    for (value, letter) in [(parts.years, 'Y'), (parts.months, 'M'), (parts.days, 'D')] {
        if value != 0 {
            let _ = write!(out, "{value}{letter}");
        }
    }
    if !parts.clock_is_zero() {
        out.push('T');
    }
    for (value, letter) in [(parts.hours, 'H'), (parts.minutes, 'M')] {
        if value != 0 {
            let _ = write!(out, "{value}{letter}");
        }
    }
    if parts.seconds != 0 || parts.micros != 0 {
        if parts.seconds < 0 || parts.micros < 0 {
            out.push('-');
        }
        parts.push_seconds(1, out);
        out.push('S');
    }
    if out.len() == start + 1 {
        out.push_str("T0S");
    }
}

/// `1-2`, `3 4:05:06`; what the standard has no form for gets signs on all three groups.
fn sql_standard(parts: &Parts, out: &mut String) {
    let calendar_negative = parts.years < 0 || parts.months < 0;
    let calendar_positive = parts.years > 0 || parts.months > 0;
    let clock_negative = parts.clock_is_negative();
    let clock_positive = !parts.clock_is_zero() && !clock_negative;
    let any_negative = calendar_negative || parts.days < 0 || clock_negative;
    let any_positive = calendar_positive || parts.days > 0 || clock_positive;
    let has_calendar = calendar_negative || calendar_positive;
    let has_clock = parts.days != 0 || !parts.clock_is_zero();
    let (years, months) = (parts.years.unsigned_abs(), parts.months.unsigned_abs());
    let (hours, minutes) = (parts.hours.unsigned_abs(), parts.minutes.unsigned_abs());
    if !has_calendar && !has_clock {
        return out.push('0');
    }
    if (any_negative && any_positive) || (has_calendar && has_clock) {
        let sign = |negative: bool| if negative { '-' } else { '+' };
        let _ = write!(
            out,
            "{}{years}-{months} {}{} {}{hours}:{minutes:02}:",
            sign(calendar_negative),
            sign(parts.days < 0),
            parts.days.unsigned_abs(),
            sign(clock_negative),
        );
        return parts.push_seconds(2, out);
    }
    if any_negative {
        out.push('-');
    }
    if has_calendar {
        let _ = write!(out, "{years}-{months}");
        return;
    }
    if parts.days != 0 {
        let _ = write!(out, "{} ", parts.days.unsigned_abs());
    }
    let _ = write!(out, "{hours}:{minutes:02}:");
    parts.push_seconds(2, out);
}
