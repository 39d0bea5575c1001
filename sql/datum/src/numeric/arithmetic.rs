//! `+ - * / %` with PostgreSQL's result scales (documented as "implementation dependent", and depended upon).

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, ToPrimitive, Zero};

use super::power_of_ten::pow10_i128;
use super::round::div_round;
use super::{
    Numeric, PRECISION_MAX, Repr, SCALE_MAX, SIGNIFICANT_DIGITS_MIN, WEIGHT_DIGITS_MAX, pow10,
};
use crate::{DatumError, Result, sqlstate};

pub(crate) fn overflow() -> DatumError {
    DatumError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

/// Where a number's leading group of four decimal digits stands, counted from the point, and that group: PostgreSQL
/// chooses quotients' scales by its base-10000 digits.
pub(crate) fn leading_group(n: &Numeric) -> (i64, i64) {
    let (exponent, text) = match leading_digits(n) {
        Some(found) => found,
        None => return (0, 0),
    };
    let weight = exponent.div_euclid(4);
    let width = (exponent - 4 * weight + 1) as usize;
    let mut group = 0i64;
    for at in 0..width {
        group = group * 10 + text.as_bytes().get(at).map_or(0, |b| i64::from(b - b'0'));
    }
    (weight, group)
}

/// (decimal exponent of the first significant digit, all digits from there on); `None` for zero and the non-finite.
pub(crate) fn leading_digits(n: &Numeric) -> Option<(i64, String)> {
    let digits = match &n.0 {
        Repr::Small { mantissa: 0, .. } => return None,
        Repr::Small { mantissa, .. } => mantissa.unsigned_abs().to_string(),
        Repr::Large(large) => large.mantissa.abs().to_string(),
        Repr::Infinity | Repr::NegInfinity | Repr::NaN => return None,
    };
    let scale = i64::from(n.scale()?);
    Some((digits.len() as i64 - 1 - scale, digits))
}

/// (exponent of the first digit's group, its value) as above, from an i64 mantissa, without text.
fn leading_group_i64(mantissa: i64, scale: u16) -> (i64, i64) {
    if mantissa == 0 {
        return (0, 0);
    }
    let magnitude = mantissa.unsigned_abs();
    let digits = i64::from(magnitude.ilog10()) + 1;
    let exponent = digits - 1 - i64::from(scale);
    let weight = exponent.div_euclid(4);
    let width = exponent - 4 * weight + 1;
    let group = if digits >= width {
        magnitude / 10u64.pow((digits - width) as u32)
    } else {
        magnitude * 10u64.pow((width - digits) as u32)
    };
    (weight, group as i64)
}

fn quotient_scale(a: &Numeric, b: &Numeric) -> u32 {
    let group = |n: &Numeric| match &n.0 {
        Repr::Small { mantissa, scale } => leading_group_i64(*mantissa, *scale),
        _ => leading_group(n),
    };
    let ((weight_a, first_a), (weight_b, first_b)) = (group(a), group(b));
    let mut weight = weight_a - weight_b;
    if first_a <= first_b {
        weight -= 1;
    }
    let inputs = i64::from(a.scale().unwrap_or(0).max(b.scale().unwrap_or(0)));
    (SIGNIFICANT_DIGITS_MIN - weight * 4).max(inputs).clamp(0, i64::from(PRECISION_MAX)) as u32
}

/// Fails if a number has more digits before the point than the format holds.
pub(crate) fn checked(n: Numeric) -> Result<Numeric> {
    if let Repr::Large(large) = &n.0 {
        // 3.3219 bits to the digit: far below the limit nothing is counted.
        let digits = large.mantissa.bits() as f64 / std::f64::consts::LOG2_10;
        if digits - f64::from(large.scale) > WEIGHT_DIGITS_MAX as f64 {
            return Err(overflow());
        }
    }
    Ok(n)
}

impl Numeric {
    pub fn add(&self, other: &Numeric) -> Numeric {
        if let (Repr::Small { mantissa: a, scale: s }, Repr::Small { mantissa: b, scale: t }) =
            (&self.0, &other.0)
            && s == t
        {
            return Numeric::new(i128::from(*a) + i128::from(*b), u32::from(*s));
        }
        if let (Some((a, s)), Some((b, t))) = (self.to_i128_parts(), other.to_i128_parts()) {
            let scale = s.max(t);
            let lift = |m: i128, from: u32| pow10_i128(scale - from).and_then(|p| p.checked_mul(m));
            if let Some(sum) = lift(a, s).and_then(|a| a.checked_add(lift(b, t)?)) {
                return Numeric::new(sum, scale);
            }
        }
        match (self.to_parts(), other.to_parts()) {
            (Some((a, s)), Some((b, t))) => {
                let scale = s.max(t);
                Numeric::from_bigint(a * pow10(scale - s) + b * pow10(scale - t), scale)
            }
            (None, Some(_)) => self.clone(),
            (Some(_), None) => other.clone(),
            (None, None) => match (self.signum(), other.signum()) {
                (Some(a), Some(b)) if a == b => self.clone(),
                _ => Numeric::NAN,
            },
        }
    }

    pub fn sub(&self, other: &Numeric) -> Numeric {
        self.add(&other.neg())
    }

    pub fn neg(&self) -> Numeric {
        match &self.0 {
            Repr::Small { mantissa, scale } => {
                Numeric::new(-i128::from(*mantissa), u32::from(*scale))
            }
            Repr::Large(large) => {
                Numeric::from_bigint(-large.mantissa.clone(), u32::from(large.scale))
            }
            Repr::Infinity => Numeric::NEG_INFINITY,
            Repr::NegInfinity => Numeric::INFINITY,
            Repr::NaN => Numeric::NAN,
        }
    }

    pub fn abs(&self) -> Numeric {
        if self.is_negative() { self.neg() } else { self.clone() }
    }

    /// `sign(n)`.
    pub fn sign(&self) -> Numeric {
        self.signum().map_or(Numeric::NAN, |s| Numeric::new(i128::from(s), 0))
    }

    /// The scales add up.
    pub fn mul(&self, other: &Numeric) -> Result<Numeric> {
        if let (Repr::Small { mantissa: a, scale: s }, Repr::Small { mantissa: b, scale: t }) =
            (&self.0, &other.0)
        {
            return Ok(Numeric::new(
                i128::from(*a) * i128::from(*b),
                u32::from(*s) + u32::from(*t),
            ));
        }
        match (self.to_parts(), other.to_parts()) {
            (Some((a, s)), Some((b, t))) => checked(Numeric::from_bigint(a * b, s + t)),
            _ => Ok(match (self.signum(), other.signum()) {
                (Some(a), Some(b)) => signed_infinity(a * b),
                _ => Numeric::NAN,
            }),
        }
    }

    /// At least 16 significant digits, and no fewer digits after the point than either input.
    pub fn div(&self, other: &Numeric) -> Result<Numeric> {
        match (self.is_finite(), other.is_finite()) {
            (true, true) => self.div_to_scale(other, quotient_scale(self, other)),
            _ if self.is_nan() || other.is_nan() => Ok(Numeric::NAN),
            (true, false) => Ok(Numeric::ZERO),
            (false, false) => Ok(Numeric::NAN),
            (false, true) => match other.signum().unwrap_or(0) {
                0 => Err(DatumError::division_by_zero()),
                sign => Ok(signed_infinity(sign * self.signum().unwrap_or(0))),
            },
        }
    }

    /// The quotient of finite numbers, rounded to `scale` digits.
    pub fn div_to_scale(&self, other: &Numeric, scale: u32) -> Result<Numeric> {
        if other.is_zero() {
            return Err(DatumError::division_by_zero());
        }
        if let (Some((a, s)), Some((b, t))) = (self.to_i128_parts(), other.to_i128_parts()) {
            // a/10^s ÷ b/10^t × 10^scale = a × 10^(scale + t - s) ÷ b
            let shift = i64::from(scale) + i64::from(t) - i64::from(s);
            if let Some(power) = u32::try_from(shift).ok().and_then(pow10_i128)
                && let Some(dividend) = a.checked_mul(power).filter(|d| *d != i128::MIN)
            {
                return Ok(Numeric::new(div_round_i128(dividend, b), scale));
            }
        }
        let (Some((a, s)), Some((b, t))) = (self.to_parts(), other.to_parts()) else {
            return self.div(other);
        };
        let shift = i64::from(scale) + i64::from(t) - i64::from(s);
        let (mut a, mut b) = if shift >= 0 {
            (a * pow10(shift as u32), b)
        } else {
            (a, b * pow10(shift.unsigned_abs() as u32))
        };
        if b.is_negative() {
            (a, b) = (-a, -b);
        }
        checked(Numeric::from_bigint(div_round(&a, &b), scale))
    }

    /// `div(a, b)`: the quotient cut to an integer.
    pub fn div_trunc(&self, other: &Numeric) -> Result<Numeric> {
        if !self.is_finite() || !other.is_finite() {
            return self.div(other);
        }
        if other.is_zero() {
            return Err(DatumError::division_by_zero());
        }
        match aligned(self, other) {
            Some((a, b, _)) => Ok(Numeric::from_bigint(a / b, 0)),
            None => Ok(Numeric::NAN),
        }
    }

    /// The sign of the dividend, as C's `%`.
    pub fn rem(&self, other: &Numeric) -> Result<Numeric> {
        if self.is_nan() || other.is_nan() {
            return Ok(Numeric::NAN);
        }
        if other.is_zero() {
            return Err(DatumError::division_by_zero());
        }
        if self.is_infinite() {
            return Ok(Numeric::NAN);
        }
        if other.is_infinite() {
            return Ok(self.clone());
        }
        if let (Repr::Small { mantissa: a, scale: s }, Repr::Small { mantissa: b, scale: t }) =
            (&self.0, &other.0)
            && s == t
        {
            return Ok(Numeric::new(i128::from(*a) % i128::from(*b), u32::from(*s)));
        }
        match aligned(self, other) {
            Some((a, b, scale)) => Ok(Numeric::from_bigint(a % b, scale)),
            None => Ok(Numeric::NAN),
        }
    }

    /// `gcd(a, b)`, never negative.
    pub fn gcd(&self, other: &Numeric) -> Numeric {
        match aligned(self, other) {
            Some((a, b, scale)) => Numeric::from_bigint(a.gcd(&b), scale),
            None => Numeric::NAN,
        }
    }

    /// `lcm(a, b)`, never negative.
    pub fn lcm(&self, other: &Numeric) -> Result<Numeric> {
        match aligned(self, other) {
            Some((a, b, scale)) if a.is_zero() || b.is_zero() => {
                Ok(Numeric::from_bigint(BigInt::zero(), scale))
            }
            Some((a, b, scale)) => checked(Numeric::from_bigint(a.lcm(&b).abs(), scale)),
            None => Ok(Numeric::NAN),
        }
    }
}

/// Both mantissas at the larger of the two scales, and that scale.
fn aligned(a: &Numeric, b: &Numeric) -> Option<(BigInt, BigInt, u32)> {
    let ((m, s), (n, t)) = (a.to_parts()?, b.to_parts()?);
    let scale = s.max(t);
    Some((m * pow10(scale - s), n * pow10(scale - t), scale))
}

fn signed_infinity(sign: i32) -> Numeric {
    match sign {
        0 => Numeric::NAN,
        s if s < 0 => Numeric::NEG_INFINITY,
        _ => Numeric::INFINITY,
    }
}

fn div_round_i128(a: i128, b: i128) -> i128 {
    let (quotient, rest) = (a / b, a % b);
    // Twice the rest may not fit; the distance to the divisor does.
    if rest.unsigned_abs() >= b.unsigned_abs() - rest.unsigned_abs() {
        quotient + if (a < 0) == (b < 0) { 1 } else { -1 }
    } else {
        quotient
    }
}

/// A running sum that stays in i128 while it can: what `sum(numeric)` and `avg(numeric)` keep.
#[derive(Debug, Clone)]
pub struct NumericSum {
    /// At `scale`, beside `rest`, which holds what did not fit.
    mantissa: i128,
    scale: u32,
    rest: Numeric,
    count: u64,
}

impl Default for NumericSum {
    fn default() -> Self {
        Self { mantissa: 0, scale: 0, rest: Numeric::ZERO, count: 0 }
    }
}

impl NumericSum {
    pub fn add(&mut self, n: &Numeric) {
        self.count += 1;
        if self.add_fast(n).is_none() {
            self.rest = self.rest.add(n);
        }
    }

    /// Takes a value out again, for sliding window frames. NaN and the infinities cannot be taken out.
    pub fn remove(&mut self, n: &Numeric) {
        self.add(&n.neg());
        self.count -= 2;
    }

    pub fn merge(&mut self, other: &NumericSum) {
        self.rest = self.rest.add(&other.total());
        self.count += other.count;
    }

    fn add_fast(&mut self, n: &Numeric) -> Option<()> {
        let (mut mantissa, scale) = n.to_i128_parts()?;
        if scale < self.scale {
            mantissa = mantissa.checked_mul(pow10_i128(self.scale - scale)?)?;
        } else if scale > self.scale {
            self.mantissa = self.mantissa.checked_mul(pow10_i128(scale - self.scale)?)?;
            self.scale = scale;
        }
        self.mantissa = self.mantissa.checked_add(mantissa)?;
        Some(())
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn total(&self) -> Numeric {
        Numeric::new(self.mantissa, self.scale.min(SCALE_MAX)).add(&self.rest)
    }

    /// `None` over no values.
    pub fn average(&self) -> Option<Result<Numeric>> {
        (self.count > 0).then(|| self.total().div(&Numeric::from(self.count)))
    }
}

impl From<u64> for Numeric {
    fn from(v: u64) -> Self {
        Numeric::new(i128::from(v), 0)
    }
}

pub(crate) fn to_i64_exact(n: &Numeric) -> Option<i64> {
    match n.trim_scale().0 {
        Repr::Small { mantissa, scale: 0 } => Some(mantissa),
        Repr::Large(ref large) if large.scale == 0 => large.mantissa.to_i64(),
        _ => None,
    }
}
