//! Time zones: a name of the IANA database, or a fixed offset.
//!
//! Two sign conventions meet here. ISO and timestamps: `+02` is east of Greenwich. POSIX, which PostgreSQL uses for
//! `SET timezone` and `AT TIME ZONE` with bare offsets in strings: `<+02>-02`; `'UTC+2'` is **west**.

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone as _};
use chrono_tz::{OffsetName, Tz};

use crate::datetime::{civil_from_days, days_from_civil};
use crate::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::{DatumError, Result, sqlstate};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TimeZone {
    Named(Tz),
    /// Seconds east of UTC.
    Fixed(i32),
}

/// What a zone says about one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneInstant {
    /// Seconds east of UTC.
    pub offset: i32,
    /// `CET`, `EDT`, `+03`.
    pub abbreviation: String,
}

/// chrono covers years up to 262,000; further out a zone keeps the offset it has at the edge.
const CHRONO_MICROS_MAX: i64 = 200_000 * 365 * 86_400 * MICROS_PER_SECOND;

impl TimeZone {
    pub const fn utc() -> Self {
        TimeZone::Named(Tz::UTC)
    }

    /// A zone by name (any case), abbreviation, ISO-less offset (`+2`, `-03:30`) or POSIX form (`EST5`, `<+02>-02`).
    /// Bare numbers are POSIX-signed except in `SET timezone TO 2`, which uses [`TimeZone::from_hours`].
    pub fn parse(name: &str) -> Result<Self> {
        Self::lookup(name).ok_or_else(|| {
            DatumError::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("time zone \"{name}\" not recognized"),
            )
        })
    }

    pub fn lookup(name: &str) -> Option<Self> {
        let name = name.trim();
        Self::by_name(name)
            .or_else(|| abbreviation_offset(&name.to_ascii_lowercase()).map(TimeZone::Fixed))
            .or_else(|| posix_offset(name).map(TimeZone::Fixed))
    }

    /// What `AT TIME ZONE` and literals read: an abbreviation goes before a name, so that `EST` is always -05.
    pub fn lookup_abbreviation_first(name: &str) -> Option<Self> {
        let name = name.trim();
        match abbreviation_offset(&name.to_ascii_lowercase()) {
            Some(0) => Some(Self::utc()),
            Some(seconds) => Some(TimeZone::Fixed(seconds)),
            None => Self::lookup(name),
        }
    }

    /// [`TimeZone::lookup_abbreviation_first`], with the error that it is not a zone.
    pub fn parse_abbreviation_first(name: &str) -> Result<Self> {
        Self::lookup_abbreviation_first(name).map_or_else(|| Self::parse(name), Ok)
    }

    fn by_name(name: &str) -> Option<Self> {
        if let Ok(tz) = name.parse::<Tz>() {
            return Some(TimeZone::Named(tz));
        }
        if let Some(tz) =
            chrono_tz::TZ_VARIANTS.iter().find(|tz| tz.name().eq_ignore_ascii_case(name))
        {
            return Some(TimeZone::Named(*tz));
        }
        None
    }

    /// `SET timezone TO -3.5`: hours **east**.
    pub fn from_hours(hours: f64) -> Option<Self> {
        (hours.abs() < 168.0).then(|| TimeZone::Fixed((hours * 3600.0).round() as i32))
    }

    /// As `SHOW timezone` prints it.
    pub fn name(&self) -> String {
        match self {
            TimeZone::Named(tz) => tz.name().to_owned(),
            TimeZone::Fixed(seconds) => {
                let east = offset_text(*seconds);
                let west = offset_text(-*seconds);
                format!("<{east}>{west}")
            }
        }
    }

    /// Offset and abbreviation at an instant, microseconds since 1970 UTC.
    pub fn at_utc(&self, utc_micros: i64) -> ZoneInstant {
        match self {
            TimeZone::Fixed(seconds) => {
                ZoneInstant { offset: *seconds, abbreviation: offset_text(*seconds) }
            }
            TimeZone::Named(tz) => {
                let offset = tz.offset_from_utc_datetime(&chrono_utc(utc_micros));
                let seconds = offset.fix().local_minus_utc();
                // Where nobody coined a name the database has the offset: `+0630`.
                let abbreviation = offset
                    .abbreviation()
                    .map_or_else(|| offset_text(seconds).replace(':', ""), |name| name.to_owned());
                ZoneInstant { offset: seconds, abbreviation }
            }
        }
    }

    /// Offset only, seconds east, at an instant UTC.
    pub fn offset_at_utc(&self, utc_micros: i64) -> i32 {
        match self {
            TimeZone::Fixed(seconds) => *seconds,
            TimeZone::Named(Tz::UTC) => 0,
            TimeZone::Named(tz) => {
                tz.offset_from_utc_datetime(&chrono_utc(utc_micros)).fix().local_minus_utc()
            }
        }
    }

    /// The offset that a local time has. In the hole of spring and in the doubled hour of autumn PostgreSQL takes
    /// the offset of standard time: the one before the jump in spring, the one after it in autumn.
    pub fn offset_at_local(&self, local_micros: i64) -> i32 {
        let TimeZone::Named(tz) = self else {
            return self.offset_at_utc(local_micros);
        };
        if *tz == Tz::UTC {
            return 0;
        }
        const DAY: i64 = 86_400 * MICROS_PER_SECOND;
        let before = self.offset_at_utc(local_micros.saturating_sub(DAY));
        let after = self.offset_at_utc(local_micros.saturating_add(DAY));
        if before == after {
            // A zone that jumps twice within two days keeps its outer offset; none does in practice.
            return before;
        }
        let holds = |offset: i32| {
            let utc = local_micros.saturating_sub(i64::from(offset) * MICROS_PER_SECOND);
            self.offset_at_utc(utc) == offset
        };
        match (holds(before), holds(after)) {
            (true, false) => before,
            (false, true) => after,
            // Ambiguous, or in the hole: the western, standard time.
            _ => before.min(after),
        }
    }

    /// Local wall clock of an instant.
    pub fn to_local(&self, utc_micros: i64) -> i64 {
        utc_micros.saturating_add(i64::from(self.offset_at_utc(utc_micros)) * MICROS_PER_SECOND)
    }

    /// The instant of a local wall clock.
    pub fn to_utc(&self, local_micros: i64) -> i64 {
        local_micros
            .saturating_sub(i64::from(self.offset_at_local(local_micros)) * MICROS_PER_SECOND)
    }
}

/// The rules of the last years go on for ever, but the tables end: a later instant is looked up in a year of the same
/// length that begins on the same weekday.
fn within_tables(utc_micros: i64) -> i64 {
    const YEAR_LAST: i32 = 2099;
    let year = civil_from_days(utc_micros.div_euclid(MICROS_PER_DAY)).year;
    if year <= YEAR_LAST {
        return utc_micros;
    }
    let first = |year: i32| days_from_civil(year, 1, 1);
    let shape = |year: i32| (first(year).rem_euclid(7), first(year + 1) - first(year));
    let twin = (YEAR_LAST - 27..=YEAR_LAST).find(|y| shape(*y) == shape(year)).unwrap_or(YEAR_LAST);
    utc_micros - (first(year) - first(twin)) * MICROS_PER_DAY
}

fn chrono_utc(utc_micros: i64) -> NaiveDateTime {
    let clamped = within_tables(utc_micros.clamp(-CHRONO_MICROS_MAX, CHRONO_MICROS_MAX));
    DateTime::from_timestamp_micros(clamped).expect("clamped to chrono's years").naive_utc()
}

/// `+02`, `-03:30`, `+01:02:03`.
pub fn offset_text(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let s = seconds.unsigned_abs();
    let (hours, minutes, rest) = (s / 3600, s / 60 % 60, s % 60);
    match (minutes, rest) {
        (0, 0) => format!("{sign}{hours:02}"),
        (_, 0) => format!("{sign}{hours:02}:{minutes:02}"),
        _ => format!("{sign}{hours:02}:{minutes:02}:{rest:02}"),
    }
}

/// Seconds east for the abbreviations of PostgreSQL's default set that people use.
pub fn abbreviation_offset(lower: &str) -> Option<i32> {
    const QUARTER: i32 = 900;
    let quarters = match lower {
        "z" | "zulu" | "utc" | "gmt" | "ut" | "uct" | "wet" => 0,
        "bst" | "cet" | "west" | "met" => 4,
        "cest" | "eet" | "mest" | "sast" | "cat" => 8,
        "eest" | "msk" | "eat" => 12,
        "msd" => 16,
        "ist" => 8,
        "pkt" => 20,
        "hkt" | "awst" | "phst" | "sgt" => 32,
        "jst" | "kst" => 36,
        "acst" => 38,
        "aest" => 40,
        "acdt" => 42,
        "aedt" => 44,
        "nzst" => 48,
        "nzdt" => 52,
        "nst" => -14,
        "ndt" => -10,
        "ast" => -16,
        "adt" => -12,
        "est" => -20,
        "edt" => -16,
        "cst" => -24,
        "cdt" => -20,
        "mst" => -28,
        "mdt" => -24,
        "pst" => -32,
        "pdt" => -28,
        "akst" => -36,
        "akdt" => -32,
        "hst" => -40,
        _ => return None,
    };
    Some(quarters * QUARTER)
}

/// `EST5`, `<+02>-02`, `+2`, `UTC-3:30`: seconds east; the number counts west. Daylight rules are not read.
fn posix_offset(name: &str) -> Option<i32> {
    let rest = match name.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => name.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    let (sign, digits) = match rest.as_bytes().first()? {
        b'+' => (-1, &rest[1..]),
        b'-' => (1, &rest[1..]),
        _ => (-1, rest),
    };
    let mut seconds = 0i32;
    let mut units = [3600, 60, 1].into_iter();
    for part in digits.split(':') {
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        seconds += part.parse::<i32>().ok()? * units.next()?;
    }
    (seconds < 168 * 3600).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(y: i32, m: u32, d: u32, h: u32, min: u32) -> i64 {
        chrono::NaiveDate::from_ymd_opt(y, m, d)
            .and_then(|d| d.and_hms_opt(h, min, 0))
            .map(|t| t.and_utc().timestamp_micros())
            .expect("a real date")
    }

    #[test]
    fn local_times_in_the_hole_and_in_the_doubled_hour_are_standard_time() {
        let berlin = TimeZone::parse("europe/berlin").unwrap();
        assert_eq!(berlin.offset_at_local(local(2024, 3, 31, 2, 30)), 3600);
        assert_eq!(berlin.offset_at_local(local(2024, 10, 27, 2, 30)), 3600);
        assert_eq!(berlin.offset_at_local(local(2024, 10, 27, 1, 30)), 7200);
        assert_eq!(berlin.offset_at_local(local(2024, 7, 1, 0, 0)), 7200);
    }

    #[test]
    fn posix_numbers_count_west_and_hours_east() {
        assert_eq!(TimeZone::parse("UTC+2").unwrap(), TimeZone::Fixed(-7200));
        assert_eq!(TimeZone::parse("<+02>-02").unwrap(), TimeZone::Fixed(7200));
        assert_eq!(TimeZone::from_hours(2.0).unwrap().name(), "<+02>-02");
        assert_eq!(
            TimeZone::parse("Mars/Base").unwrap_err().message,
            "time zone \"Mars/Base\" not recognized"
        );
    }
}
