//! Date and time literals, in all the spellings that PostgreSQL takes ("Date/Time Input Interpretation", appendix B):
//! cut into tokens first, then each token decides what it is from its shape and from what is still missing.

use super::calendar::{civil_from_days, days_from_civil, days_from_julian, days_in_month};
use super::literal_token::{Token, is_weekday, month_number, tokens};
use super::{
    DATE_INFINITY, DATE_NEG_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, checked_date,
    checked_timestamp,
};
use crate::interval::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::zone::abbreviation_offset;
use crate::{DateOrder, DatumError, Result, TimeZone, TypeContext, sqlstate};

pub fn parse_date(input: &str, ctx: &TypeContext) -> Result<i32> {
    if let Some(days) = plain_date(input.as_bytes()) {
        return Ok(days);
    }
    let literal = Literal::read(input, "date", ctx)?;
    let days = match literal.special {
        Some(Special::Infinity) => return Ok(DATE_INFINITY),
        Some(Special::NegInfinity) => return Ok(DATE_NEG_INFINITY),
        Some(Special::Epoch) => 0,
        Some(Special::Now) => local_today(ctx),
        None => literal.date.ok_or_else(|| bad_format("date", input))?,
    };
    checked_date(days).map_err(|_| {
        DatumError::new(
            sqlstate::DATETIME_FIELD_OVERFLOW,
            format!("date out of range: \"{input}\""),
        )
    })
}

pub fn parse_timestamp(input: &str, ctx: &TypeContext) -> Result<i64> {
    if let Some(ts) = plain_timestamp(input.as_bytes()) {
        return Ok(ts);
    }
    let literal = Literal::read(input, "timestamp", ctx)?;
    match literal.special {
        Some(Special::Infinity) => Ok(TIMESTAMP_INFINITY),
        Some(Special::NegInfinity) => Ok(TIMESTAMP_NEG_INFINITY),
        Some(Special::Epoch) => Ok(0),
        Some(Special::Now) => Ok(ctx.timezone.to_local(ctx.now)),
        None => {
            let days = literal.date.ok_or_else(|| bad_format("timestamp", input))?;
            in_range(days, literal.time.unwrap_or(0), 0, input)
        }
    }
}

pub fn parse_timestamptz(input: &str, ctx: &TypeContext) -> Result<i64> {
    const NAME: &str = "timestamp with time zone";
    let literal = Literal::read(input, NAME, ctx)?;
    match literal.special {
        Some(Special::Infinity) => Ok(TIMESTAMP_INFINITY),
        Some(Special::NegInfinity) => Ok(TIMESTAMP_NEG_INFINITY),
        Some(Special::Epoch) => Ok(0),
        Some(Special::Now) => Ok(ctx.now),
        None => {
            let days = literal.date.ok_or_else(|| bad_format(NAME, input))?;
            let time = literal.time.unwrap_or(0);
            let local = in_range(days, time, 0, input)?;
            let offset = literal.zone.unwrap_or(ctx.timezone.clone()).offset_at_local(local);
            in_range(days, time, offset, input)
        }
    }
}

pub fn parse_time(input: &str, ctx: &TypeContext) -> Result<i64> {
    let literal = Literal::read(input, "time", ctx)?;
    literal.time_of_day(ctx).ok_or_else(|| bad_format("time", input))
}

/// (microseconds of the local day, seconds east).
pub fn parse_timetz(input: &str, ctx: &TypeContext) -> Result<(i64, i32)> {
    const NAME: &str = "time with time zone";
    let literal = Literal::read(input, NAME, ctx)?;
    let time = literal.time_of_day(ctx).ok_or_else(|| bad_format(NAME, input))?;
    let days = literal.date.unwrap_or_else(|| local_today(ctx));
    let zone = literal.zone.unwrap_or(ctx.timezone.clone());
    Ok((time, zone.offset_at_local(days * MICROS_PER_DAY + time)))
}

fn in_range(days: i64, time: i64, offset: i32, input: &str) -> Result<i64> {
    let micros = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(time)
        - i128::from(offset) * i128::from(MICROS_PER_SECOND);
    checked_timestamp(micros).map_err(|_| {
        DatumError::new(
            sqlstate::DATETIME_FIELD_OVERFLOW,
            format!("timestamp out of range: \"{input}\""),
        )
    })
}

fn local_today(ctx: &TypeContext) -> i64 {
    ctx.timezone.to_local(ctx.now).div_euclid(MICROS_PER_DAY)
}

pub(super) fn bad_format(type_name: &str, input: &str) -> DatumError {
    DatumError::new(
        sqlstate::INVALID_DATETIME_FORMAT,
        format!("invalid input syntax for type {type_name}: \"{input}\""),
    )
}

fn field_overflow(input: &str) -> DatumError {
    DatumError::new(
        sqlstate::DATETIME_FIELD_OVERFLOW,
        format!("date/time field value out of range: \"{input}\""),
    )
}

/// Month or day out of range: the order of the fields may be to blame.
fn order_overflow(input: &str) -> DatumError {
    field_overflow(input).with_hint("Perhaps you need a different \"datestyle\" setting.")
}

/// `YYYY-MM-DD` and nothing else: the quick way for the common case.
fn plain_date(b: &[u8]) -> Option<i32> {
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(&b[..4])?, number(&b[5..7])?, number(&b[8..])?);
    let valid = year > 0 && (1..=12).contains(&month) && day > 0;
    if !valid || day > days_in_month(year as i32, month) {
        return None;
    }
    Some(days_from_civil(year as i32, month, day) as i32)
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]` and nothing else.
fn plain_timestamp(b: &[u8]) -> Option<i64> {
    if b.len() < 19 || b[10] != b' ' || b[13] != b':' || b[16] != b':' {
        return None;
    }
    let days = plain_date(&b[..10])?;
    let (hour, minute, second) = (number(&b[11..13])?, number(&b[14..16])?, number(&b[17..19])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match &b[19..] {
        [] => 0,
        [b'.', fraction @ ..] if (1..=6).contains(&fraction.len()) => {
            number(fraction)? * 10u32.pow(6 - fraction.len() as u32)
        }
        _ => return None,
    };
    let seconds = i64::from(days) * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    Some(seconds * MICROS_PER_SECOND + i64::from(micros))
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |n, b| {
        b.is_ascii_digit().then(|| n.wrapping_mul(10).wrapping_add(u32::from(b - b'0')))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    Infinity,
    NegInfinity,
    Epoch,
    Now,
}

/// What a literal said. A date is in days; a time in microseconds of the day.
#[derive(Debug, Default)]
struct Literal {
    special: Option<Special>,
    date: Option<i64>,
    time: Option<i64>,
    zone: Option<TimeZone>,
}

#[derive(Debug, Default)]
struct Reader<'a> {
    input: &'a str,
    type_name: &'a str,
    order: Option<DateOrder>,
    year: Option<i32>,
    year_digits: usize,
    month: Option<u32>,
    text_month: bool,
    day: Option<u32>,
    day_of_year: Option<u32>,
    days: Option<i64>,
    /// hour, minute, second, microsecond
    time: Option<(u32, u32, u32, u32)>,
    afternoon: Option<bool>,
    bc: bool,
    zone: Option<TimeZone>,
    special: Option<Special>,
    julian_next: bool,
    time_next: bool,
    /// Bare digits are a time rather than a date.
    is_time_of_day: bool,
}

impl Literal {
    fn read(input: &str, type_name: &str, ctx: &TypeContext) -> Result<Literal> {
        let mut reader =
            Reader { input, type_name, order: Some(ctx.date_style.order), ..Reader::default() };
        reader.is_time_of_day = matches!(type_name, "time" | "time with time zone");
        for token in tokens(input, type_name)? {
            reader.take(token, ctx)?;
        }
        reader.finish()
    }

    fn time_of_day(&self, ctx: &TypeContext) -> Option<i64> {
        match self.special {
            Some(Special::Now) => Some(ctx.timezone.to_local(ctx.now).rem_euclid(MICROS_PER_DAY)),
            Some(_) => None,
            // The offset of a zone by name depends on the day.
            None if matches!(self.zone, Some(TimeZone::Named(zone)) if zone != chrono_tz::UTC)
                && self.date.is_none() =>
            {
                None
            }
            None => self.time,
        }
    }
}

impl Reader<'_> {
    fn bad(&self) -> DatumError {
        bad_format(self.type_name, self.input)
    }

    fn have_date(&self) -> bool {
        self.days.is_some()
            || self.day_of_year.is_some()
            || (self.year.is_some() && self.month.is_some() && self.day.is_some())
    }

    fn take(&mut self, token: Token<'_>, ctx: &TypeContext) -> Result<()> {
        match token {
            Token::Time(text) => self.take_time(text),
            Token::Date(text) => self.take_date(text),
            Token::Number(text) => self.take_number(text),
            Token::Word(word) => self.take_word(word, ctx),
            Token::Offset(text) => {
                if self.zone.is_some() {
                    return Err(self.bad());
                }
                self.zone = Some(TimeZone::Fixed(self.offset_seconds(text)?));
                Ok(())
            }
            Token::SignedWord(text) => {
                let word = text[1..].trim_start().to_ascii_lowercase();
                let special = match (word.as_str(), text.starts_with('-')) {
                    ("infinity" | "inf", true) => Special::NegInfinity,
                    ("infinity" | "inf", false) => Special::Infinity,
                    _ => return Err(self.bad()),
                };
                self.take_special(special)
            }
        }
    }

    fn take_special(&mut self, special: Special) -> Result<()> {
        if self.special.replace(special).is_some() {
            return Err(self.bad());
        }
        Ok(())
    }

    fn take_time(&mut self, text: &str) -> Result<()> {
        if self.time.is_some() {
            return Err(self.bad());
        }
        let mut parts = text.split(':');
        let mut part = || parts.next().filter(|p| !p.is_empty());
        let (hour, minute, second) = (part(), part(), part());
        if parts.next().is_some() {
            return Err(self.bad());
        }
        let whole = |p: &str| p.parse::<u32>().map_err(|_| field_overflow(self.input));
        let (Some(hour), Some(minute)) = (hour, minute) else {
            return Err(self.bad());
        };
        let (second, micros) = match second {
            Some(text) => self.seconds(text)?,
            // 10:30.5 is minutes and seconds only for intervals.
            None if minute.contains('.') => return Err(self.bad()),
            None => (0, 0),
        };
        self.time = Some((whole(hour)?, whole(minute)?, second, micros));
        Ok(())
    }

    fn seconds(&self, text: &str) -> Result<(u32, u32)> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let second = match whole {
            "" => 0,
            digits => digits.parse::<u32>().map_err(|_| field_overflow(self.input))?,
        };
        Ok(match fraction_micros(fraction).ok_or_else(|| self.bad())? {
            1_000_000 => (second + 1, 0),
            micros => (second, micros),
        })
    }

    fn take_date(&mut self, text: &str) -> Result<()> {
        if self.have_date() {
            return self.take_offset_glued_to_name(text);
        }
        let mut parts: Vec<&str> =
            text.split(['-', '/', '.']).filter(|part| !part.is_empty()).collect();
        // 08Jan1999 style fields split into digits and letters.
        if parts.len() > 3 {
            return Err(self.bad());
        }
        // A month by name first, so that the numbers know.
        if let Some(at) =
            parts.iter().position(|p| p.starts_with(|c: char| c.is_ascii_alphabetic()))
        {
            let month = month_number(parts[at]).ok_or_else(|| self.bad())?;
            self.set_text_month(month)?;
            parts.remove(at);
        }
        for part in parts {
            if !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(self.bad());
            }
            self.date_field(part)?;
        }
        if self.day_of_year.is_none() && !self.have_date() {
            return Err(self.bad());
        }
        Ok(())
    }

    /// After a complete date a `digits-digits` token can only be time and zone: `040506-08`.
    fn take_offset_glued_to_name(&mut self, text: &str) -> Result<()> {
        match text.split_once('-') {
            Some((time, offset)) if self.time.is_none() && self.zone.is_none() => {
                self.take_number(time)?;
                self.zone = Some(TimeZone::Fixed(self.offset_seconds(&format!("-{offset}"))?));
                Ok(())
            }
            _ => Err(self.bad()),
        }
    }

    fn set_text_month(&mut self, month: u32) -> Result<()> {
        if self.text_month {
            return Err(self.bad());
        }
        // `8 Jan 1999` under MDY: the 8 was taken for a month and is the day.
        if let Some(number) = self.month.take() {
            if self.day.is_some() {
                return Err(self.bad());
            }
            self.day = Some(number);
        }
        self.month = Some(month);
        self.text_month = true;
        Ok(())
    }

    fn take_number(&mut self, text: &str) -> Result<()> {
        if std::mem::take(&mut self.julian_next) {
            let (day, fraction) = text.split_once('.').unwrap_or((text, ""));
            let day: i64 = day.parse().map_err(|_| field_overflow(self.input))?;
            self.days = Some(days_from_julian(day));
            if !fraction.is_empty() {
                let share: f64 = format!("0.{fraction}").parse().map_err(|_| self.bad())?;
                self.set_time_micros((share * MICROS_PER_DAY as f64).round() as i64);
            }
            return Ok(());
        }
        let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
        let pointed = text.contains('.');
        let time_wanted = std::mem::take(&mut self.time_next);
        if self.have_date() || time_wanted {
            return self.compact_time(digits, fraction);
        }
        if pointed && digits.len() == 4 && fraction.len() == 3 && self.year.is_none() {
            // 1999.008: day of the year.
            self.date_field(digits)?;
            return self.date_field(fraction);
        }
        if self.time.is_none() && self.is_time_of_day && matches!(digits.len(), 4 | 6) {
            return self.compact_time(digits, fraction);
        }
        if digits.len() >= 6 {
            return self.compact_date(digits, fraction);
        }
        if pointed {
            return Err(self.bad());
        }
        self.date_field(digits)
    }

    /// `YYYYMMDD`, `YYMMDD`.
    fn compact_date(&mut self, digits: &str, fraction: &str) -> Result<()> {
        let partly = self.year.is_some() || self.month.is_some() || self.day.is_some();
        if !fraction.is_empty() || partly {
            return Err(self.bad());
        }
        let (year, rest) = digits.split_at(digits.len() - 4);
        let parse = |s: &str| s.parse::<u32>().map_err(|_| field_overflow(self.input));
        let (month, day) = (parse(&rest[..2])?, parse(&rest[2..])?);
        self.year_digits = year.len();
        self.year = Some(parse(year)? as i32);
        self.month = Some(month);
        self.day = Some(day);
        Ok(())
    }

    /// `HHMMSS[.fff]`, `HHMM`.
    fn compact_time(&mut self, digits: &str, fraction: &str) -> Result<()> {
        if self.time.is_some() || !matches!(digits.len(), 4 | 6) {
            return Err(self.bad());
        }
        let parse = |s: &str| s.parse::<u32>().map_err(|_| field_overflow(self.input));
        let second = if digits.len() == 6 { parse(&digits[4..])? } else { 0 };
        let micros = fraction_micros(fraction).ok_or_else(|| self.bad())?;
        self.time = Some((
            parse(&digits[..2])?,
            parse(&digits[2..4])?,
            second + micros / 1_000_000,
            micros % 1_000_000,
        ));
        Ok(())
    }

    fn set_time_micros(&mut self, micros: i64) {
        self.time = Some((
            (micros / MICROS_PER_HOUR) as u32,
            (micros / MICROS_PER_MINUTE % 60) as u32,
            (micros / MICROS_PER_SECOND % 60) as u32,
            (micros % MICROS_PER_SECOND) as u32,
        ));
    }

    /// One number of a date: what it is follows from what is known already and from the configured order.
    fn date_field(&mut self, digits: &str) -> Result<()> {
        let value: u32 = digits.parse().map_err(|_| field_overflow(self.input))?;
        let long = digits.len() >= 3;
        let order = self.order.unwrap_or(DateOrder::Mdy);
        if digits.len() == 3 && self.year.is_some() && self.month.is_none() && self.day.is_none() {
            self.day_of_year = Some(value);
            return Ok(());
        }
        match (self.year.is_some(), self.month.is_some(), self.day.is_some()) {
            (false, false, false) => match order {
                _ if long => self.set_year(value, digits.len()),
                DateOrder::Ymd => self.set_year(value, digits.len()),
                DateOrder::Dmy => self.day = Some(value),
                DateOrder::Mdy => self.month = Some(value),
            },
            (true, false, _) => self.month = Some(value),
            (false, true, false) if self.text_month => {
                if long || order == DateOrder::Ymd {
                    self.set_year(value, digits.len());
                } else {
                    self.day = Some(value);
                }
            }
            (false, true, false) => self.day = Some(value),
            (true, true, false) => {
                if self.text_month && long && self.year_digits <= 2 {
                    // `08-Jan-1999` under YMD: the 08 was the day.
                    self.day = self.year.map(|y| y as u32);
                    self.set_year(value, digits.len());
                } else {
                    self.day = Some(value);
                }
            }
            (false, false, true) => self.month = Some(value),
            (false, true, true) => self.set_year(value, digits.len()),
            (true, true, true) => return Err(self.bad()),
        }
        Ok(())
    }

    fn set_year(&mut self, value: u32, digits: usize) {
        self.year = Some(value as i32);
        self.year_digits = digits;
    }

    fn take_word(&mut self, word: &str, ctx: &TypeContext) -> Result<()> {
        let lower = word.to_ascii_lowercase();
        if let Some(month) = month_number(&lower) {
            return self.set_text_month(month);
        }
        if is_weekday(&lower) {
            return Ok(());
        }
        match lower.as_str() {
            "t" => {
                self.time_next = true;
                return Ok(());
            }
            "j" | "jd" | "julian" => {
                self.julian_next = true;
                return Ok(());
            }
            "at" | "on" => return Ok(()),
            "am" | "pm" => {
                if self.afternoon.is_some() {
                    return Err(self.bad());
                }
                self.afternoon = Some(lower == "pm");
                return Ok(());
            }
            "bc" | "ad" => {
                self.bc = lower == "bc";
                return Ok(());
            }
            "infinity" | "inf" => return self.take_special(Special::Infinity),
            "epoch" => return self.take_special(Special::Epoch),
            "now" => return self.take_special(Special::Now),
            "today" | "tomorrow" | "yesterday" => {
                let shift = match lower.as_str() {
                    "tomorrow" => 1,
                    "yesterday" => -1,
                    _ => 0,
                };
                self.days = Some(local_today(ctx) + shift);
                return Ok(());
            }
            "allballs" => {
                self.time = Some((0, 0, 0, 0));
                self.zone = Some(TimeZone::utc());
                return Ok(());
            }
            _ => {}
        }
        if self.zone.is_some() {
            return Err(self.bad());
        }
        self.zone = Some(match abbreviation_offset(&lower) {
            Some(seconds) => TimeZone::Fixed(seconds),
            None => match TimeZone::lookup(word) {
                Some(zone) => zone,
                None if word.contains('/') => {
                    return Err(DatumError::new(
                        sqlstate::INVALID_PARAMETER_VALUE,
                        format!("time zone \"{lower}\" not recognized"),
                    ));
                }
                None => return Err(self.bad()),
            },
        });
        Ok(())
    }

    /// `+hh`, `-hhmm`, `+hh:mm[:ss]`; seconds east.
    fn offset_seconds(&self, text: &str) -> Result<i32> {
        let digits = text[1..].trim_start();
        let mut parts = [0i32; 3];
        if digits.contains(':') {
            for (at, part) in digits.split(':').enumerate() {
                let slot = parts.get_mut(at).ok_or_else(|| self.bad())?;
                *slot = part.parse().map_err(|_| self.bad())?;
            }
        } else {
            let value: i32 = digits.parse().map_err(|_| self.bad())?;
            if digits.len() > 2 {
                parts = [value / 100, value % 100, 0];
            } else {
                parts[0] = value;
            }
        }
        let [hours, minutes, seconds] = parts;
        if hours > 15 || minutes > 59 || seconds > 59 {
            return Err(DatumError::new(
                sqlstate::INVALID_TIME_ZONE_DISPLACEMENT,
                format!("time zone displacement out of range: \"{}\"", self.input),
            ));
        }
        let total = hours * 3600 + minutes * 60 + seconds;
        Ok(if text.starts_with('-') { -total } else { total })
    }

    fn finish(mut self) -> Result<Literal> {
        if self.special.is_some() {
            if self.have_date() || self.time.is_some() {
                return Err(self.bad());
            }
            return Ok(Literal { special: self.special, ..Literal::default() });
        }
        let time = self.finish_time()?;
        let date = self.finish_date()?;
        Ok(Literal { special: None, date, time, zone: self.zone.take() })
    }

    fn finish_time(&self) -> Result<Option<i64>> {
        let Some((mut hour, minute, second, micros)) = self.time else {
            return if self.afternoon.is_some() { Err(self.bad()) } else { Ok(None) };
        };
        if let Some(afternoon) = self.afternoon {
            if hour > 12 {
                return Err(field_overflow(self.input));
            }
            hour = hour % 12 + if afternoon { 12 } else { 0 };
        }
        if hour > 24 || minute > 59 || second > 60 {
            return Err(field_overflow(self.input));
        }
        let total = i64::from(hour) * MICROS_PER_HOUR
            + i64::from(minute) * MICROS_PER_MINUTE
            + i64::from(second) * MICROS_PER_SECOND
            + i64::from(micros);
        if total > MICROS_PER_DAY {
            return Err(field_overflow(self.input));
        }
        Ok(Some(total))
    }

    fn finish_date(&self) -> Result<Option<i64>> {
        if let Some(days) = self.days {
            return Ok(Some(days));
        }
        if self.year.is_none() && self.month.is_none() && self.day.is_none() {
            return Ok(None);
        }
        let out_of = |field: Option<u32>, max: u32| field.is_some_and(|v| v == 0 || v > max);
        if out_of(self.month, 12) || out_of(self.day, 31) {
            return Err(order_overflow(self.input));
        }
        let Some(mut year) = self.year else {
            return Err(self.bad());
        };
        if self.bc {
            if year == 0 {
                return Err(field_overflow(self.input));
            }
            year = 1 - year;
        } else if self.year_digits <= 2 {
            year += if year < 70 { 2000 } else { 1900 };
        } else if year == 0 {
            return Err(field_overflow(self.input));
        }
        // The widest date ends in 5874898; this keeps the arithmetic from overflowing.
        if year > 5_874_898 {
            return Err(DatumError::new(
                sqlstate::DATETIME_FIELD_OVERFLOW,
                format!(
                    "{} out of range: \"{}\"",
                    if self.type_name == "date" { "date" } else { "timestamp" },
                    self.input
                ),
            ));
        }
        if let Some(day) = self.day_of_year {
            let length = days_from_civil(year + 1, 1, 1) - days_from_civil(year, 1, 1);
            if day == 0 || i64::from(day) > length {
                return Err(field_overflow(self.input));
            }
            return Ok(Some(days_from_civil(year, 1, 1) + i64::from(day) - 1));
        }
        let (Some(month), Some(day)) = (self.month, self.day) else {
            return Err(self.bad());
        };
        if day > days_in_month(year, month) {
            return Err(field_overflow(self.input));
        }
        let days = days_from_civil(year, month, day);
        debug_assert_eq!(civil_from_days(days).year, year);
        Ok(Some(days))
    }
}

/// Microseconds of a decimal fraction, rounded: 1,000,000 when it rounds up to a second.
pub(super) fn fraction_micros(digits: &str) -> Option<u32> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if digits.len() <= 6 {
        let value = digits.bytes().fold(0u32, |v, b| v * 10 + u32::from(b - b'0'));
        return Some(value * 10u32.pow(6 - digits.len() as u32));
    }
    // Through a float, as PostgreSQL: .0000005 rounds to even.
    let fraction: f64 = format!("0.{digits}").parse().ok()?;
    Some((fraction * 1e6).round_ties_even() as u32)
}
