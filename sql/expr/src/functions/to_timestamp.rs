//! `to_timestamp(text, text)` and `to_date`: reading by template.

use super::template::{Piece, is_name, pieces};
use crate::args::text;
use crate::cast::local_to_utc;
use crate::error::{ExprError, Result};
use crate::registry::{Registry, Volatility};
use datum::Datum;
use datum::datetime::{self, MICROS_PER_SECOND};

pub(super) fn register(r: &mut Registry) {
    r.volatility(Volatility::Stable);
    r.strict("to_timestamp(text, text) timestamptz", |args, call| {
        let read = read(text(args, 0)?, text(args, 1)?)?;
        let (date, time) = (read.date(text(args, 0)?)?, read.time(text(args, 0)?)?);
        let local = datetime::date_to_timestamp(date)?.saturating_add(time);
        Ok(Datum::Timestamptz(match read.offset() {
            Some(offset) => local - offset * MICROS_PER_SECOND,
            None => local_to_utc(local, call.ctx),
        }))
    });
    r.volatility(Volatility::Immutable);
    r.strict("to_date(text, text) date", |args, _| {
        let input = text(args, 0)?;
        Ok(Datum::Date(read(input, text(args, 1)?)?.date(input)?))
    });
}

/// What was found in the text; absent fields have defaults.
#[derive(Default)]
struct Found {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_day: Option<i64>,
    week: Option<i64>,
    week_of_month: Option<i64>,
    century: Option<i64>,
    julian: Option<i64>,
    hour: Option<i64>,
    hour12: Option<i64>,
    pm: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    seconds_of_day: Option<i64>,
    bc: bool,
    zone_hours: Option<i64>,
    zone_minutes: i64,
}

fn read(input: &str, template: &str) -> Result<Found> {
    let mut found = Found::default();
    let mut rest = input.trim_start();
    let pieces = pieces(template);
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(literal) => rest = skip_literal(rest, literal),
            Piece::Field { key, ordinal, .. } => {
                if rest.is_empty() {
                    break;
                }
                rest = rest.trim_start();
                // Without a separator after it, a number takes exactly its width.
                let bounded = matches!(pieces.get(index + 1), Some(Piece::Field { key, .. }) if !is_name(key));
                rest = field(&mut found, key, rest, bounded)?;
                if ordinal.is_some() {
                    rest = rest.get(2..).unwrap_or("");
                }
            }
        }
    }
    Ok(found)
}

/// Separators match any separators; other characters one each.
fn skip_literal<'a>(rest: &'a str, literal: &str) -> &'a str {
    let mut rest = rest;
    for c in literal.chars() {
        if c.is_whitespace() {
            let trimmed = rest.trim_start();
            if trimmed.len() == rest.len() && rest.starts_with(|c: char| c.is_ascii_punctuation()) {
                rest = &rest[1..];
            } else {
                rest = trimmed;
            }
        } else if c.is_ascii_punctuation() {
            if rest.starts_with(|c: char| c.is_ascii_punctuation()) {
                rest = &rest[1..];
            } else {
                rest = rest.trim_start();
            }
        } else if let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
        }
    }
    rest
}

fn invalid(key: &str, rest: &str) -> ExprError {
    let shown: String = rest.chars().take(key.len().max(2)).collect();
    ExprError::new("22007", format!("invalid value \"{shown}\" for \"{key}\""))
}

/// Digits, at most `width` where fields touch, or four and more for years.
fn number<'a>(rest: &'a str, key: &str, width: usize, bounded: bool) -> Result<(i64, &'a str)> {
    let negative = rest.starts_with('-');
    let digits = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let available = digits.bytes().take_while(u8::is_ascii_digit).count();
    let take = if bounded { available.min(width) } else { available.min(18) };
    if take == 0 {
        return Err(invalid(key, rest).with_detail("Value must be an integer."));
    }
    let value: i64 = digits[..take].parse().map_err(|_| invalid(key, rest))?;
    Ok((if negative { -value } else { value }, &digits[take..]))
}

fn field<'a>(found: &mut Found, key: &str, rest: &'a str, bounded: bool) -> Result<&'a str> {
    let plain = |width: usize| number(rest, key, width, bounded);
    let narrow = |width: usize| number(rest, key, width, true);
    Ok(match key {
        "YYYY" | "IYYY" | "Y,YYY" => {
            let (value, after) = if key == "Y,YYY" {
                let (high, after) = plain(3)?;
                let (low, after) = number(after.trim_start_matches(','), key, 3, true)?;
                (high * 1000 + low, after)
            } else {
                plain(4)?
            };
            *(if key == "IYYY" { &mut found.iso_year } else { &mut found.year }) = Some(value);
            after
        }
        "YYY" | "YY" | "Y" | "IYY" | "IY" | "I" => {
            let (value, after) = narrow(key.len())?;
            // Two digits mean the years 1970 to 2069.
            let year = match value {
                520.. => value + 1000,
                100..520 => value + 2000,
                70..100 => value + 1900,
                _ => value + 2000,
            };
            *(if key.starts_with('I') { &mut found.iso_year } else { &mut found.year }) =
                Some(year);
            after
        }
        "CC" => {
            let (value, after) = narrow(2)?;
            found.century = Some(value);
            after
        }
        "MM" => {
            let (value, after) = narrow(2)?;
            found.month = Some(value);
            after
        }
        "DD" => {
            let (value, after) = narrow(2)?;
            found.day = Some(value);
            after
        }
        "DDD" => {
            let (value, after) = narrow(3)?;
            found.day_of_year = Some(value);
            after
        }
        "IW" => {
            let (value, after) = narrow(2)?;
            found.iso_week = Some(value);
            after
        }
        "ID" => {
            let (value, after) = narrow(1)?;
            found.iso_day = Some(value);
            after
        }
        "WW" => {
            let (value, after) = narrow(2)?;
            found.week = Some(value);
            after
        }
        "W" => {
            let (value, after) = narrow(1)?;
            found.week_of_month = Some(value);
            after
        }
        "J" => {
            let (value, after) = plain(7)?;
            found.julian = Some(value);
            after
        }
        "Q" | "D" | "IDDD" => narrow(key.len().min(3))?.1,
        "HH24" => {
            let (value, after) = narrow(2)?;
            found.hour = Some(value);
            after
        }
        "HH" | "HH12" => {
            let (value, after) = narrow(2)?;
            if !(1..=12).contains(&value) {
                return Err(ExprError::new(
                    "22007",
                    format!("hour \"{value}\" is invalid for the 12-hour clock"),
                )
                .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            found.hour12 = Some(value);
            after
        }
        "MI" => {
            let (value, after) = narrow(2)?;
            found.minute = value;
            after
        }
        "SS" => {
            let (value, after) = narrow(2)?;
            found.second = value;
            after
        }
        "SSSS" | "SSSSS" => {
            let (value, after) = plain(5)?;
            found.seconds_of_day = Some(value);
            after
        }
        "MS" | "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
            let width = match key {
                "MS" => 3,
                "US" => 6,
                other => other[2..].parse().unwrap_or(6),
            };
            // As digits after the point: "5" of MS is 500 ms.
            let available = rest.bytes().take_while(u8::is_ascii_digit).count().min(width);
            let (value, after) = number(rest, key, width, true)?;
            found.micros += value * 10i64.pow(6 - available.min(6) as u32);
            after
        }
        "MONTH" | "Month" | "month" | "MON" | "Mon" | "mon" => {
            let (month, after) = month_name(key, rest)?;
            found.month = Some(month);
            after
        }
        "DAY" | "Day" | "day" | "DY" | "Dy" | "dy" => {
            let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
            &rest[end..]
        }
        "RM" | "rm" => {
            let end = rest.find(|c: char| !"IVXivx".contains(c)).unwrap_or(rest.len());
            let roman = rest[..end].to_uppercase();
            let months = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
            let month =
                months.iter().position(|own| *own == roman).ok_or_else(|| invalid(key, rest))?;
            found.month = Some(month as i64 + 1);
            &rest[end..]
        }
        "AM" | "PM" | "am" | "pm" | "A.M." | "P.M." | "a.m." | "p.m." => {
            let head = rest.get(..key.len()).ok_or_else(|| invalid(key, rest))?;
            found.pm = match head.chars().next() {
                Some('P' | 'p') => Some(true),
                Some('A' | 'a') => Some(false),
                _ => return Err(invalid(key, rest)),
            };
            &rest[key.len()..]
        }
        "AD" | "BC" | "ad" | "bc" | "A.D." | "B.C." | "a.d." | "b.c." => {
            let head = rest.get(..key.len()).ok_or_else(|| invalid(key, rest))?;
            found.bc = head.starts_with(['B', 'b']);
            &rest[key.len()..]
        }
        "TZH" => {
            let (value, after) = narrow(2)?;
            found.zone_hours = Some(value);
            after
        }
        "TZM" => {
            let (value, after) = narrow(2)?;
            found.zone_minutes = value;
            after
        }
        "OF" => {
            let (value, after) = narrow(2)?;
            found.zone_hours = Some(value);
            match after.strip_prefix(':') {
                Some(minutes) => {
                    let (value, after) = number(minutes, key, 2, true)?;
                    found.zone_minutes = value;
                    after
                }
                None => after,
            }
        }
        "TZ" | "tz" => {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let zone = datum::TimeZone::parse(&rest[..end])?;
            let minutes = i64::from(zone.offset_at_utc(0)) / 60;
            found.zone_hours = Some(minutes / 60);
            found.zone_minutes = (minutes % 60).abs();
            &rest[end..]
        }
        _ => rest,
    })
}

fn month_name<'a>(key: &str, rest: &'a str) -> Result<(i64, &'a str)> {
    for month in 1..=12u32 {
        let name = datetime::month_name(month);
        for candidate in [name, &name[..3]] {
            if rest.get(..candidate.len()).is_some_and(|head| head.eq_ignore_ascii_case(candidate))
                && (key.len() != 3 || candidate.len() == 3)
            {
                return Ok((i64::from(month), &rest[candidate.len()..]));
            }
        }
    }
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
    Err(ExprError::new("22007", format!("invalid value \"{word}\" for \"{key}\""))
        .with_detail("The given value did not match any of the allowed values for this field."))
}

impl Found {
    fn out_of_range(input: &str) -> ExprError {
        ExprError::new("22008", format!("date/time field value out of range: \"{input}\""))
    }

    fn date(&self, input: &str) -> Result<i32> {
        let error = || Self::out_of_range(input);
        if let Some(julian) = self.julian {
            return Ok(datetime::checked_date(julian - datetime::julian_day(0))?);
        }
        let mut year = match (self.year, self.century) {
            (Some(year), Some(century)) if year < 100 => (century - 1) * 100 + year,
            (Some(year), _) => year,
            (None, Some(century)) => (century - 1) * 100 + 1,
            // The year 1 BC, as PostgreSQL's "0000".
            (None, None) => 0,
        };
        if self.bc {
            year = 1 - year;
        }
        if let Some(week) = self.iso_week {
            let iso_year = self.iso_year.unwrap_or(year);
            let fourth = datetime::days_from_civil(iso_year as i32, 1, 4);
            let monday = fourth - (fourth + 3).rem_euclid(7);
            let day = self.iso_day.unwrap_or(1) - 1;
            return Ok(datetime::checked_date(monday + (week - 1) * 7 + day)?);
        }
        let year = i32::try_from(self.iso_year.filter(|_| self.year.is_none()).unwrap_or(year))
            .map_err(|_| error())?;
        let day_of_year = self.day_of_year.or_else(|| self.week.map(|week| (week - 1) * 7 + 1));
        if let Some(day) = day_of_year {
            let last = if datetime::days_in_month(year, 2) == 29 { 366 } else { 365 };
            if !(1..=last).contains(&day) {
                return Err(error());
            }
            return Ok(datetime::checked_date(datetime::days_from_civil(year, 1, 1) + day - 1)?);
        }
        let month = self.month.unwrap_or(1);
        let day =
            self.day.or_else(|| self.week_of_month.map(|week| (week - 1) * 7 + 1)).unwrap_or(1);
        if !(1..=12).contains(&month)
            || day < 1
            || day > i64::from(datetime::days_in_month(year, month as u32))
        {
            return Err(error());
        }
        Ok(datetime::checked_date(datetime::days_from_civil(year, month as u32, day as u32))?)
    }

    fn time(&self, input: &str) -> Result<i64> {
        if let Some(seconds) = self.seconds_of_day {
            return Ok(seconds * MICROS_PER_SECOND + self.micros);
        }
        let hour = match (self.hour, self.hour12, self.pm) {
            (Some(hour), _, _) => hour,
            (None, Some(hour), Some(true)) => hour % 12 + 12,
            (None, Some(hour), _) => hour % 12,
            (None, None, _) => 0,
        };
        if !(0..24).contains(&hour)
            || !(0..60).contains(&self.minute)
            || !(0..60).contains(&self.second)
        {
            return Err(Self::out_of_range(input));
        }
        Ok((hour * 3600 + self.minute * 60 + self.second) * MICROS_PER_SECOND + self.micros)
    }

    /// Seconds east.
    fn offset(&self) -> Option<i64> {
        let hours = self.zone_hours?;
        let minutes = if hours < 0 { -self.zone_minutes } else { self.zone_minutes };
        Some(hours * 3600 + minutes * 60)
    }
}
