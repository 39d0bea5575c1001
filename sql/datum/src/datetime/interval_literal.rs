//! Interval literals: `1 day 2 hours ago`, `@ 1 minute`, `1-2`, `3 4:05:06`, `P1Y2M3DT4H5M6S`, and bare numbers whose
//! unit the type's modifier names (`interval '1' day`).

use super::literal::fraction_micros;
use crate::interval::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::typmod::{self, IntervalField};
use crate::{DatumError, Interval, Result, sqlstate};

/// `typmod` only says what bare numbers mean here; [`typmod::apply`] cuts the result.
pub fn parse_interval(input: &str, typmod: i32) -> Result<Interval> {
    let bad = || super::literal::bad_format("interval", input);
    let text = input.trim();
    let sum = if let Some(iso) = text.strip_prefix(['P', 'p']) {
        iso_8601(iso)
    } else {
        verbose(text, typmod)
    };
    match sum {
        Ok(sum) => sum.finish().ok_or_else(|| overflow(input)),
        Err(Problem::Syntax) => Err(bad()),
        Err(Problem::Overflow) => Err(overflow(input)),
    }
}

fn overflow(input: &str) -> DatumError {
    DatumError::new(
        sqlstate::INTERVAL_FIELD_OVERFLOW,
        format!("interval field value out of range: \"{input}\""),
    )
}

enum Problem {
    Syntax,
    Overflow,
}

/// Wide sums; the range is checked once at the end.
#[derive(Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
    /// [`field`] bits of what was given: a field given twice is an error.
    seen: u32,
}

mod field {
    pub const MICROSECOND: u32 = 1;
    pub const MILLISECOND: u32 = 1 << 1;
    pub const SECOND: u32 = 1 << 2;
    pub const MINUTE: u32 = 1 << 3;
    pub const HOUR: u32 = 1 << 4;
    pub const DAY: u32 = 1 << 5;
    pub const WEEK: u32 = 1 << 6;
    pub const MONTH: u32 = 1 << 7;
    pub const YEAR: u32 = 1 << 8;
    pub const DECADE: u32 = 1 << 9;
    pub const CENTURY: u32 = 1 << 10;
    pub const MILLENNIUM: u32 = 1 << 11;
    pub const SECONDS: u32 = SECOND | MILLISECOND | MICROSECOND;
    pub const CLOCK: u32 = HOUR | MINUTE | SECONDS;
}

impl Sum {
    fn mark(&mut self, fields: u32) -> Result<(), Problem> {
        if self.seen & fields != 0 {
            return Err(Problem::Syntax);
        }
        self.seen |= fields;
        Ok(())
    }

    fn finish(self) -> Option<Interval> {
        Some(Interval {
            months: i32::try_from(self.months).ok()?,
            days: i32::try_from(self.days).ok()?,
            micros: i64::try_from(self.micros).ok()?,
        })
    }

    fn negate(&mut self) {
        self.months = -self.months;
        self.days = -self.days;
        self.micros = -self.micros;
    }

    fn add(&mut self, amount: Amount, unit: Unit) {
        let Amount { negative, whole, fraction } = amount;
        let sign = if negative { -1 } else { 1 };
        let signed_fraction = if negative { -fraction } else { fraction };
        match unit {
            Unit::Micros(micros) => {
                self.micros += sign * whole * micros;
                self.micros += (signed_fraction * micros as f64).round_ties_even() as i128;
            }
            Unit::Days(days) => {
                self.days += sign * whole * days;
                self.add_days(signed_fraction * days as f64);
            }
            Unit::Months(1) => {
                self.months += sign * whole;
                self.add_days(signed_fraction * 30.0);
            }
            Unit::Months(months) => {
                self.months += sign * whole * months;
                self.months += (signed_fraction * months as f64).round_ties_even() as i128;
            }
        }
    }

    /// A fraction of days spills into the time.
    fn add_days(&mut self, days: f64) {
        self.days += days.trunc() as i128;
        self.micros += (days.fract() * MICROS_PER_DAY as f64).round_ties_even() as i128;
    }
}

#[derive(Clone, Copy)]
enum Unit {
    Micros(i128),
    Days(i128),
    Months(i128),
}

impl Unit {
    fn field(self, amount: Amount) -> u32 {
        match self {
            Unit::Micros(1) => field::MICROSECOND,
            Unit::Micros(1000) => field::MILLISECOND,
            Unit::Micros(1_000_000) if amount.fraction != 0.0 => field::SECONDS,
            Unit::Micros(1_000_000) => field::SECOND,
            Unit::Micros(60_000_000) => field::MINUTE,
            Unit::Micros(_) => field::HOUR,
            Unit::Days(1) => field::DAY,
            Unit::Days(_) => field::WEEK,
            Unit::Months(1) => field::MONTH,
            Unit::Months(12) => field::YEAR,
            Unit::Months(120) => field::DECADE,
            Unit::Months(1200) => field::CENTURY,
            Unit::Months(_) => field::MILLENNIUM,
        }
    }
}

#[derive(Clone, Copy)]
struct Amount {
    negative: bool,
    whole: i128,
    /// 0 ≤ fraction < 1
    fraction: f64,
}

fn amount(text: &str) -> Result<Amount, Problem> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, text[1..].trim_start()),
        Some(b'+') => (false, text[1..].trim_start()),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(Problem::Syntax);
    }
    let whole: i64 = match whole {
        "" => 0,
        digits => digits.parse().map_err(|_| Problem::Overflow)?,
    };
    let fraction = match fraction {
        "" => 0.0,
        digits => format!("0.{digits}").parse().map_err(|_| Problem::Syntax)?,
    };
    Ok(Amount { negative, whole: i128::from(whole), fraction })
}

fn unit(word: &str) -> Option<Unit> {
    let micros = |m: i64| Some(Unit::Micros(i128::from(m)));
    match word.to_ascii_lowercase().as_str() {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds"
        | "microsecon" => micros(1),
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds"
        | "millisecon" => micros(1000),
        "s" | "sec" | "secs" | "second" | "seconds" => micros(MICROS_PER_SECOND),
        "m" | "min" | "mins" | "minute" | "minutes" => micros(MICROS_PER_MINUTE),
        "h" | "hr" | "hrs" | "hour" | "hours" => micros(MICROS_PER_HOUR),
        "d" | "day" | "days" => Some(Unit::Days(1)),
        "w" | "week" | "weeks" => Some(Unit::Days(7)),
        "mon" | "mons" | "month" | "months" => Some(Unit::Months(1)),
        "y" | "yr" | "yrs" | "year" | "years" => Some(Unit::Months(12)),
        "dec" | "decs" | "decade" | "decades" => Some(Unit::Months(120)),
        "c" | "cent" | "century" | "centuries" => Some(Unit::Months(1200)),
        "mil" | "mils" | "millennium" | "millennia" => Some(Unit::Months(12_000)),
        _ => None,
    }
}

enum Token<'a> {
    Amount(&'a str),
    /// Contains a colon.
    Time(&'a str),
    /// `years-months`
    YearMonth(&'a str),
    Word(&'a str),
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Problem> {
    let b = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < b.len() {
        let start = at;
        match b[at] {
            c if c.is_ascii_whitespace() || c == b',' => at += 1,
            b'@' => at += 1,
            c if c.is_ascii_alphabetic() => {
                while at < b.len() && b[at].is_ascii_alphabetic() {
                    at += 1;
                }
                found.push(Token::Word(&text[start..at]));
            }
            c if c.is_ascii_digit() || matches!(c, b'+' | b'-' | b'.') => {
                at += 1;
                if matches!(c, b'+' | b'-') {
                    while at < b.len() && b[at] == b' ' {
                        at += 1;
                    }
                }
                while at < b.len() && (b[at].is_ascii_digit() || matches!(b[at], b'.' | b':')) {
                    at += 1;
                }
                let number = &text[start..at];
                if number.contains(':') {
                    found.push(Token::Time(number));
                } else if b.get(at) == Some(&b'-')
                    && b.get(at + 1).is_some_and(u8::is_ascii_digit)
                    && !number.contains('.')
                {
                    at += 1;
                    while at < b.len() && b[at].is_ascii_digit() {
                        at += 1;
                    }
                    found.push(Token::YearMonth(&text[start..at]));
                } else {
                    found.push(Token::Amount(number));
                }
            }
            _ => return Err(Problem::Syntax),
        }
    }
    if found.is_empty() { Err(Problem::Syntax) } else { Ok(found) }
}

fn verbose(text: &str, typmod: i32) -> Result<Sum, Problem> {
    let mut sum = Sum::default();
    let tokens = tokens(text)?;
    let mut rest = tokens.iter().peekable();
    let mut ago = false;
    let mut any = false;
    while let Some(token) = rest.next() {
        match token {
            Token::Time(text) => {
                sum.mark(field::CLOCK)?;
                sum.micros += clock(text, typmod)?;
            }
            Token::YearMonth(text) => {
                sum.mark(field::MONTH)?;
                let negative = text.starts_with('-');
                let body = text.trim_start_matches(['-', '+']).trim_start();
                let (years, months) = body.split_once('-').ok_or(Problem::Syntax)?;
                let parse = |s: &str| s.parse::<i64>().map_err(|_| Problem::Overflow);
                let (years, months) = (parse(years)?, parse(months)?);
                if months > 11 {
                    return Err(Problem::Overflow);
                }
                let total = i128::from(years) * 12 + i128::from(months);
                sum.months += if negative { -total } else { total };
            }
            Token::Amount(text) => {
                let amount = amount(text)?;
                let unit = match rest.peek() {
                    Some(Token::Word(word)) => {
                        let unit = unit(word).ok_or(Problem::Syntax)?;
                        rest.next();
                        unit
                    }
                    // `3 4:05:06`
                    Some(Token::Time(_)) => Unit::Days(1),
                    Some(_) => return Err(Problem::Syntax),
                    None => bare_unit(typmod),
                };
                sum.mark(unit.field(amount))?;
                sum.add(amount, unit);
            }
            Token::Word(word)
                if word.eq_ignore_ascii_case("ago") && any && rest.peek().is_none() =>
            {
                ago = true;
            }
            Token::Word(_) => return Err(Problem::Syntax),
        }
        any = true;
    }
    if ago {
        sum.negate();
    }
    Ok(sum)
}

/// What a number without unit counts: the least field of the modifier, seconds without one.
fn bare_unit(typmod: i32) -> Unit {
    match typmod::interval_least_field(typmod) {
        Some(IntervalField::Year) => Unit::Months(12),
        Some(IntervalField::Month) => Unit::Months(1),
        Some(IntervalField::Day) => Unit::Days(1),
        Some(IntervalField::Hour) => Unit::Micros(i128::from(MICROS_PER_HOUR)),
        Some(IntervalField::Minute) => Unit::Micros(i128::from(MICROS_PER_MINUTE)),
        Some(IntervalField::Second) | None => Unit::Micros(i128::from(MICROS_PER_SECOND)),
    }
}

/// `[-]h:mm[:ss[.fff]]`, or `m:ss.fff`.
fn clock(text: &str, typmod: i32) -> Result<i128, Problem> {
    let negative = text.starts_with('-');
    let body = text.trim_start_matches(['-', '+']).trim_start();
    let parts: Vec<&str> = body.split(':').collect();
    let minutes_first = typmod::interval_is_minute_to_second(typmod);
    let (hours, minutes, seconds) = match parts.as_slice() {
        [h, m, s] => (*h, *m, *s),
        [m, s] if minutes_first || s.contains('.') => ("0", *m, *s),
        [h, m] => (*h, *m, "0"),
        _ => return Err(Problem::Syntax),
    };
    let parse = |s: &str| match s {
        "" => Err(Problem::Syntax),
        s if !s.bytes().all(|b| b.is_ascii_digit()) => Err(Problem::Syntax),
        s => s.parse::<i64>().map_err(|_| Problem::Overflow),
    };
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let micros = fraction_micros(fraction).ok_or(Problem::Syntax)?;
    let (hours, minutes) = (parse(hours)?, parse(minutes)?);
    let seconds = if seconds.is_empty() { 0 } else { parse(seconds)? };
    if minutes > 59 || seconds > 60 {
        return Err(Problem::Overflow);
    }
    let total = i128::from(hours) * i128::from(MICROS_PER_HOUR)
        + i128::from(minutes * MICROS_PER_MINUTE + seconds * MICROS_PER_SECOND)
        + i128::from(micros);
    Ok(if negative { -total } else { total })
}

/// After the `P`: designators (`1Y2M3DT4H5M6.5S`) or the alternative form (`0001-02-03T04:05:06`).
fn iso_8601(text: &str) -> Result<Sum, Problem> {
    let mut sum = Sum::default();
    let (date, time) = match text.find(['T', 't']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    if date.is_empty() && time.is_none_or(str::is_empty) {
        return Err(Problem::Syntax);
    }
    let designated = |s: &str| s.contains(|c: char| c.is_ascii_alphabetic());
    if !date.is_empty() && !designated(date) {
        let mut units = [Unit::Months(12), Unit::Months(1), Unit::Days(1)].into_iter();
        for part in date.split('-') {
            sum.add(amount(part)?, units.next().ok_or(Problem::Syntax)?);
        }
    } else {
        designators(date, &mut sum, |letter| match letter {
            'Y' => Some(Unit::Months(12)),
            'M' => Some(Unit::Months(1)),
            'W' => Some(Unit::Days(7)),
            'D' => Some(Unit::Days(1)),
            _ => None,
        })?;
    }
    let Some(time) = time else {
        return Ok(sum);
    };
    if time.contains(':') {
        sum.micros += clock(time, -1)?;
        return Ok(sum);
    }
    designators(time, &mut sum, |letter| match letter {
        'H' => Some(Unit::Micros(i128::from(MICROS_PER_HOUR))),
        'M' => Some(Unit::Micros(i128::from(MICROS_PER_MINUTE))),
        'S' => Some(Unit::Micros(i128::from(MICROS_PER_SECOND))),
        _ => None,
    })?;
    Ok(sum)
}

fn designators(
    text: &str,
    sum: &mut Sum,
    unit: impl Fn(char) -> Option<Unit>,
) -> Result<(), Problem> {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let letter = rest.as_bytes()[at].to_ascii_uppercase() as char;
        sum.add(amount(&rest[..at])?, unit(letter).ok_or(Problem::Syntax)?);
        rest = &rest[at + 1..];
    }
    if rest.is_empty() { Ok(()) } else { Err(Problem::Syntax) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TypeContext;
    use crate::datetime::format_interval;

    fn round_trip(text: &str) -> String {
        let mut out = String::new();
        match parse_interval(text, -1) {
            Ok(interval) => format_interval(interval, &TypeContext::default(), &mut out),
            Err(error) => out = error.message,
        }
        out
    }

    #[test]
    fn every_spelling_reads_as_postgresql_reads_it() {
        for (text, want) in [
            ("1 day 2 hours", "1 day 02:00:00"),
            ("1 year 2 mons -3 days", "1 year 2 mons -3 days"),
            ("-1 day 2:03:04", "-1 days +02:03:04"),
            ("1 day 2 hours ago", "-1 days -02:00:00"),
            ("@ 1 minute", "00:01:00"),
            ("1-2", "1 year 2 mons"),
            ("3 4:05:06", "3 days 04:05:06"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("PT36H", "36:00:00"),
            ("1.5 days", "1 day 12:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 years", "1 year 6 mons"),
            ("2 weeks", "14 days"),
            ("1", "00:00:01"),
            ("1.5", "00:00:01.5"),
            ("4:05", "04:05:00"),
            ("30 hours", "30:00:00"),
            ("-00:00:01", "-00:00:01"),
            ("0", "00:00:00"),
            ("1h30m", "01:30:00"),
            ("100 ms", "00:00:00.1"),
            ("1 fortnight", "invalid input syntax for type interval: \"1 fortnight\""),
            ("1 min 2 min", "invalid input syntax for type interval: \"1 min 2 min\""),
            ("", "invalid input syntax for type interval: \"\""),
            ("9999999999 years", "interval field value out of range: \"9999999999 years\""),
        ] {
            assert_eq!(round_trip(text), want, "{text}");
        }
    }
}
