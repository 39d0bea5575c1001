//! PostgreSQL's interval: months, days and microseconds kept apart, compared as if a month had 30 days
//! and a day 24 hours.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::{DatumError, Result};

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
pub const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
pub const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

impl Interval {
    pub const ZERO: Interval = Interval { months: 0, days: 0, micros: 0 };

    pub const fn new(months: i32, days: i32, micros: i64) -> Self {
        Self { months, days, micros }
    }

    /// What comparison, equality and hashing see: microseconds at 30 days a month, 24 hours a day.
    pub fn span_micros(&self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(MICROS_PER_DAY)
            + i128::from(self.micros)
    }

    pub fn checked_add(self, other: Self) -> Result<Self> {
        let sum = || {
            Some(Self {
                months: self.months.checked_add(other.months)?,
                days: self.days.checked_add(other.days)?,
                micros: self.micros.checked_add(other.micros)?,
            })
        };
        sum().ok_or_else(|| DatumError::out_of_range("interval"))
    }

    pub fn checked_sub(self, other: Self) -> Result<Self> {
        let difference = || {
            Some(Self {
                months: self.months.checked_sub(other.months)?,
                days: self.days.checked_sub(other.days)?,
                micros: self.micros.checked_sub(other.micros)?,
            })
        };
        difference().ok_or_else(|| DatumError::out_of_range("interval"))
    }

    pub fn checked_neg(self) -> Result<Self> {
        Self::ZERO.checked_sub(self)
    }

    /// `interval * float8`: fractions of a month become days, fractions of a day become time.
    pub fn checked_mul(self, factor: f64) -> Result<Self> {
        self.scaled(|v| v * factor)
    }

    /// `interval / float8`.
    pub fn checked_div(self, divisor: f64) -> Result<Self> {
        if divisor == 0.0 {
            return Err(DatumError::division_by_zero());
        }
        self.scaled(|v| v / divisor)
    }

    fn scaled(self, scale: impl Fn(f64) -> f64) -> Result<Self> {
        let error = || DatumError::out_of_range("interval");
        let fits = |v: f64| v.is_finite() && v >= f64::from(i32::MIN) && v <= f64::from(i32::MAX);
        let months = scale(f64::from(self.months));
        let days = scale(f64::from(self.days));
        if !fits(months) || !fits(days) {
            return Err(error());
        }
        // Rounded to microseconds, so that 0.1 month is exactly 3 days.
        let round = |v: f64| (v * 1e6).round_ties_even() / 1e6;
        let mut day_fraction_of_months = round(months.fract() * 30.0);
        let mut seconds = round((days.fract() + day_fraction_of_months.fract()) * 86_400.0);
        let mut whole_days = days.trunc() as i32;
        if seconds.abs() >= 86_400.0 {
            let carry = (seconds / 86_400.0).trunc();
            whole_days = whole_days.checked_add(carry as i32).ok_or_else(error)?;
            seconds -= carry * 86_400.0;
        }
        day_fraction_of_months = day_fraction_of_months.trunc();
        let whole_days = whole_days.checked_add(day_fraction_of_months as i32).ok_or_else(error)?;
        let micros = (scale(self.micros as f64) + seconds * 1e6).round_ties_even();
        if !micros.is_finite() || micros < i64::MIN as f64 || micros >= i64::MAX as f64 {
            return Err(error());
        }
        Ok(Self { months: months.trunc() as i32, days: whole_days, micros: micros as i64 })
    }

    /// `justify_hours`: 24-hour periods become days.
    pub fn justify_hours(self) -> Result<Self> {
        let error = || DatumError::out_of_range("interval");
        let carry = i32::try_from(self.micros / MICROS_PER_DAY).map_err(|_| error())?;
        let mut days = self.days.checked_add(carry).ok_or_else(error)?;
        let mut micros = self.micros % MICROS_PER_DAY;
        if days > 0 && micros < 0 {
            micros += MICROS_PER_DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= MICROS_PER_DAY;
            days += 1;
        }
        Ok(Self { months: self.months, days, micros })
    }

    /// `justify_days`: 30-day periods become months.
    pub fn justify_days(self) -> Result<Self> {
        let error = || DatumError::out_of_range("interval");
        let mut months = self.months.checked_add(self.days / 30).ok_or_else(error)?;
        let mut days = self.days % 30;
        if months > 0 && days < 0 {
            days += 30;
            months -= 1;
        } else if months < 0 && days > 0 {
            days -= 30;
            months += 1;
        }
        Ok(Self { months, days, micros: self.micros })
    }

    /// `justify_interval`: both, with one sign for all three fields.
    pub fn justify_interval(self) -> Result<Self> {
        let error = || DatumError::out_of_range("interval");
        let mut days = i64::from(self.days) + self.micros / MICROS_PER_DAY;
        let mut micros = self.micros % MICROS_PER_DAY;
        let mut months = i64::from(self.months) + days / 30;
        days %= 30;
        if months > 0 && (days < 0 || (days == 0 && micros < 0)) {
            days += 30;
            months -= 1;
        } else if months < 0 && (days > 0 || (days == 0 && micros > 0)) {
            days -= 30;
            months += 1;
        }
        if days > 0 && micros < 0 {
            micros += MICROS_PER_DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= MICROS_PER_DAY;
            days += 1;
        }
        Ok(Self {
            months: i32::try_from(months).map_err(|_| error())?,
            days: i32::try_from(days).map_err(|_| error())?,
            micros,
        })
    }
}

impl PartialEq for Interval {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Interval {}

impl PartialOrd for Interval {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Interval {
    fn cmp(&self, other: &Self) -> Ordering {
        self.span_micros().cmp(&other.span_micros())
    }
}

impl Hash for Interval {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.span_micros().hash(state);
    }
}
