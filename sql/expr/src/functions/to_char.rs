//! `to_char` of dates, times and intervals. The templates are read by `template`, shared with `to_timestamp`.
//!
//! Numbers are in `to_number.rs`.

use super::template::{Piece, pieces};
use crate::args::text;
use crate::cast::{is_infinite, utc_to_local};
use crate::error::{EvalResult, Result};
use crate::registry::{Invocation, Registry, Volatility};
use datum::datetime::{self, Fields};
use datum::{Datum, Interval};

pub(super) fn register(r: &mut Registry) {
    r.volatility(Volatility::Stable);
    r.strict("to_char(timestamp, text) text", |args, _| match &args[0] {
        Datum::Timestamp(t) if is_infinite(*t) => Ok(Datum::Null),
        Datum::Timestamp(t) => print(&Moment::of(*t, None), text(args, 1)?),
        _ => crate::args::mismatch(args),
    });
    r.strict("to_char(timestamptz, text) text", |args, call: &Invocation<'_>| -> EvalResult {
        match &args[0] {
            Datum::Timestamptz(t) if is_infinite(*t) => Ok(Datum::Null),
            Datum::Timestamptz(t) => {
                let zone = call.ctx.types.timezone.at_utc(*t);
                let local = utc_to_local(*t, call.ctx);
                print(&Moment::of(local, Some((zone.offset, zone.abbreviation))), text(args, 1)?)
            }
            _ => crate::args::mismatch(args),
        }
    });
    r.strict("to_char(interval, text) text", |args, _| match &args[0] {
        Datum::Interval(i) => print(&Moment::of_interval(*i), text(args, 1)?),
        _ => crate::args::mismatch(args),
    });
    r.volatility(Volatility::Immutable);
}

/// What the fields of a template read: a timestamp, or an interval's own numbers.
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// Days since 1970-01-01; none for an interval.
    days: Option<i64>,
    zone: Option<(i32, String)>,
}

impl Moment {
    fn of(local: i64, zone: Option<(i32, String)>) -> Self {
        let fields = Fields::from_timestamp(local);
        Self {
            year: i64::from(fields.year),
            month: i64::from(fields.month),
            day: i64::from(fields.day),
            hour: i64::from(fields.hour),
            minute: i64::from(fields.minute),
            second: i64::from(fields.second),
            micros: i64::from(fields.micros),
            days: Some(fields.days),
            zone,
        }
    }

    fn of_interval(i: Interval) -> Self {
        Self {
            year: i64::from(i.months / 12),
            month: i64::from(i.months % 12),
            day: i64::from(i.days),
            hour: i.micros / datetime::MICROS_PER_HOUR,
            minute: i.micros / datetime::MICROS_PER_MINUTE % 60,
            second: i.micros / datetime::MICROS_PER_SECOND % 60,
            micros: i.micros % datetime::MICROS_PER_SECOND,
            days: None,
            zone: None,
        }
    }

    /// BC years count from one.
    fn shown_year(&self) -> i64 {
        if self.days.is_some() && self.year <= 0 { 1 - self.year } else { self.year }
    }

    fn hour12(&self) -> i64 {
        match self.hour % 12 {
            0 => 12,
            hour => hour,
        }
    }
}

fn print(moment: &Moment, template: &str) -> EvalResult {
    let mut out = String::new();
    for piece in pieces(template) {
        match piece {
            Piece::Literal(literal) => out.push_str(&literal),
            Piece::Field { key, fill, ordinal } => {
                let text = field(moment, key, fill)?;
                out.push_str(&text);
                if let Some(upper) = ordinal {
                    out.push_str(ordinal_suffix(&text, upper));
                }
            }
        }
    }
    Ok(out.into())
}

fn ordinal_suffix(number: &str, upper: bool) -> &'static str {
    let teens = number.len() >= 2 && number.as_bytes()[number.len() - 2] == b'1';
    let suffix = match number.as_bytes().last() {
        Some(b'1') if !teens => ("st", "ST"),
        Some(b'2') if !teens => ("nd", "ND"),
        Some(b'3') if !teens => ("rd", "RD"),
        _ => ("th", "TH"),
    };
    if upper { suffix.1 } else { suffix.0 }
}

fn number(value: i64, width: usize, fill: bool) -> String {
    if !fill {
        return value.to_string();
    }
    let digits = format!("{:0width$}", value.abs());
    if value < 0 { format!("-{digits}") } else { digits }
}

/// A name in the template's spelling; with fill, as wide as the longest.
fn name(name: &str, key: &str, width: usize, fill: bool) -> String {
    let spelled = if key.chars().nth(1).is_some_and(char::is_uppercase) {
        name.to_uppercase()
    } else if key.starts_with(char::is_uppercase) {
        name.to_owned()
    } else {
        name.to_lowercase()
    };
    if fill { format!("{spelled:width$}") } else { spelled }
}

const ROMAN: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

fn field(m: &Moment, key: &str, fill: bool) -> Result<String> {
    let days = m.days.unwrap_or(0);
    let (iso_year, iso_week) = datetime::iso_week(days);
    let day_of_year = i64::from(datetime::day_of_year(days));
    Ok(match key {
        "HH" | "HH12" => number(m.hour12(), 2, fill),
        "HH24" => number(m.hour, 2, fill),
        "MI" => number(m.minute, 2, fill),
        "SS" => number(m.second, 2, fill),
        "MS" => number(m.micros / 1000, 3, fill),
        "US" => number(m.micros, 6, fill),
        "FF1" => number(m.micros / 100_000, 1, fill),
        "FF2" => number(m.micros / 10_000, 2, fill),
        "FF3" => number(m.micros / 1000, 3, fill),
        "FF4" => number(m.micros / 100, 4, fill),
        "FF5" => number(m.micros / 10, 5, fill),
        "FF6" => number(m.micros, 6, fill),
        "SSSS" | "SSSSS" => (m.hour * 3600 + m.minute * 60 + m.second).to_string(),
        "AM" | "PM" => if m.hour % 24 >= 12 { "PM" } else { "AM" }.to_owned(),
        "am" | "pm" => if m.hour % 24 >= 12 { "pm" } else { "am" }.to_owned(),
        "A.M." | "P.M." => if m.hour % 24 >= 12 { "P.M." } else { "A.M." }.to_owned(),
        "a.m." | "p.m." => if m.hour % 24 >= 12 { "p.m." } else { "a.m." }.to_owned(),
        "AD" | "BC" => if m.year <= 0 { "BC" } else { "AD" }.to_owned(),
        "ad" | "bc" => if m.year <= 0 { "bc" } else { "ad" }.to_owned(),
        "A.D." | "B.C." => if m.year <= 0 { "B.C." } else { "A.D." }.to_owned(),
        "a.d." | "b.c." => if m.year <= 0 { "b.c." } else { "a.d." }.to_owned(),
        "Y,YYY" => {
            let year = m.shown_year();
            format!("{},{:03}", year / 1000, year % 1000)
        }
        "YYYY" => number(m.shown_year(), 4, fill),
        "YYY" => number(m.shown_year() % 1000, 3, fill),
        "YY" => number(m.shown_year() % 100, 2, fill),
        "Y" => number(m.shown_year() % 10, 1, fill),
        "IYYY" => number(i64::from(iso_year), 4, fill),
        "IYY" => number(i64::from(iso_year) % 1000, 3, fill),
        "IY" => number(i64::from(iso_year) % 100, 2, fill),
        "I" => number(i64::from(iso_year) % 10, 1, fill),
        "CC" => {
            let year = m.year;
            let century = if year > 0 { (year - 1) / 100 + 1 } else { year / 100 - 1 };
            number(century, 2, fill)
        }
        "MM" => number(m.month, 2, fill),
        "MONTH" | "Month" | "month" | "MON" | "Mon" | "mon" if m.days.is_none() && m.month == 0 => {
            String::new()
        }
        "MONTH" | "Month" | "month" => name(month_name(m), key, 9, fill),
        "MON" | "Mon" | "mon" => name(&month_name(m)[..3], key, 3, false),
        "DAY" | "Day" | "day" => name(weekday(days), key, 9, fill),
        "DY" | "Dy" | "dy" => name(&weekday(days)[..3], key, 3, false),
        "DDD" if m.days.is_none() => number(m.day, 3, fill),
        "DDD" => number(day_of_year, 3, fill),
        "IDDD" => {
            let monday = (days + 3).rem_euclid(7);
            number((i64::from(iso_week) - 1) * 7 + monday + 1, 3, fill)
        }
        "DD" => number(m.day, 2, fill),
        "D" => (i64::from(datetime::day_of_week(days)) + 1).to_string(),
        "ID" => ((days + 3).rem_euclid(7) + 1).to_string(),
        "WW" => number((day_of_year - 1) / 7 + 1, 2, fill),
        "W" => ((m.day - 1) / 7 + 1).to_string(),
        "IW" => number(i64::from(iso_week), 2, fill),
        "Q" => ((m.month - 1) / 3 + 1).to_string(),
        "J" => datetime::julian_day(days).to_string(),
        "RM" | "rm" => {
            let roman = ROMAN[(m.month.clamp(1, 12) - 1) as usize];
            let roman = if key == "RM" { roman.to_owned() } else { roman.to_lowercase() };
            if fill { format!("{roman:4}") } else { roman }
        }
        "TZ" => m.zone.as_ref().map_or_else(String::new, |(_, name)| name.to_uppercase()),
        "tz" => m.zone.as_ref().map_or_else(String::new, |(_, name)| name.to_lowercase()),
        "TZH" => {
            let offset = m.zone.as_ref().map_or(0, |(offset, _)| *offset);
            format!("{}{:02}", sign(offset), offset.abs() / 3600)
        }
        "TZM" => {
            let offset = m.zone.as_ref().map_or(0, |(offset, _)| *offset);
            format!("{:02}", offset.abs() / 60 % 60)
        }
        "OF" => {
            let offset = m.zone.as_ref().map_or(0, |(offset, _)| *offset);
            let minutes = offset.abs() / 60 % 60;
            let hours = format!("{}{:02}", sign(offset), offset.abs() / 3600);
            if minutes == 0 { hours } else { format!("{hours}:{minutes:02}") }
        }
        other => other.to_owned(),
    })
}

fn sign(offset: i32) -> char {
    if offset < 0 { '-' } else { '+' }
}

fn month_name(m: &Moment) -> &'static str {
    datetime::month_name(m.month.clamp(1, 12) as u32)
}

fn weekday(days: i64) -> &'static str {
    datetime::weekday_name(datetime::day_of_week(days))
}
