//! sqrt, exp, ln, log and powers: fixed-point arithmetic on big integers, with PostgreSQL's choice of result scales.
//!
//! A "fixed" is a `BigInt` counting units of 10^-digits. Everything is computed with [`GUARD_DIGITS`] more than the
//! result shows, so that rounding the last digit is right short of a run of that many nines or zeros.

use num_bigint::BigInt;
use num_traits::{One, Signed, Zero};

use super::arithmetic::{checked, leading_digits, leading_group, overflow, to_i64_exact};
use super::round::div_round;
use super::{Numeric, PRECISION_MAX, SIGNIFICANT_DIGITS_MIN, WEIGHT_DIGITS_MAX, pow10};
use crate::{DatumError, Result, sqlstate};

const GUARD_DIGITS: u32 = 16;
/// Beyond this decimal exponent `exp` and powers of fractions overflow or vanish.
const RESULT_WEIGHT_MAX: f64 = 2000.0 * 3.01;

fn clamp_scale(scale: i64, inputs: &[&Numeric]) -> u32 {
    let least = inputs.iter().filter_map(|n| n.scale()).max().unwrap_or(0);
    scale.max(i64::from(least)).clamp(0, i64::from(PRECISION_MAX)) as u32
}

impl Numeric {
    pub fn sqrt(&self) -> Result<Numeric> {
        match self.signum() {
            None => return Ok(Numeric::NAN),
            Some(-1) => {
                return Err(DatumError::new(
                    sqlstate::INVALID_ARGUMENT_FOR_POWER,
                    "cannot take square root of a negative number",
                ));
            }
            Some(_) if self.is_infinite() => return Ok(Numeric::INFINITY),
            Some(_) => {}
        }
        let (weight, _) = leading_group(self);
        let scale = clamp_scale(SIGNIFICANT_DIGITS_MIN - ((weight + 1) * 2 - 1), &[self]);
        // One digit more than shown; the floor of the root decides the rounding, since a root of a
        // decimal never ends exactly in a 5 at twice its input's digits.
        let digits = scale + GUARD_DIGITS;
        let root = (to_fixed(self, 2 * digits)).sqrt();
        Ok(from_fixed(&root, digits, scale))
    }

    pub fn exp(&self) -> Result<Numeric> {
        if !self.is_finite() {
            return Ok(if self.is_negative() { Numeric::ZERO } else { self.clone() });
        }
        let decimal_weight =
            (self.to_f64_lossy() * std::f64::consts::LOG10_E).clamp(-2000.0, 2000.0);
        let scale = clamp_scale(SIGNIFICANT_DIGITS_MIN - decimal_weight as i64, &[self]);
        exp_to_scale(self, scale)
    }

    pub fn ln(&self) -> Result<Numeric> {
        if let Some(early) = self.log_domain()? {
            return Ok(early);
        }
        let scale = clamp_scale(SIGNIFICANT_DIGITS_MIN - ln_weight(self), &[self]);
        let digits = scale + GUARD_DIGITS;
        Ok(from_fixed(&ln_fixed(self, digits), digits, scale))
    }

    /// `log(n)`, base 10.
    pub fn log10(&self) -> Result<Numeric> {
        Numeric::new(10, 0).log(self)
    }

    /// `log(base, n)`, called on the base.
    pub fn log(&self, n: &Numeric) -> Result<Numeric> {
        if let Some(early) = self.log_domain()? {
            return Ok(match n.log_domain()? {
                Some(other) if other.is_nan() || early.is_nan() => Numeric::NAN,
                Some(_) => Numeric::NAN,
                None if early.is_nan() => early,
                None => Numeric::ZERO,
            });
        }
        if let Some(early) = n.log_domain()? {
            return Ok(early);
        }
        let result_weight = ln_weight(n) - ln_weight(self);
        let scale = clamp_scale(SIGNIFICANT_DIGITS_MIN - result_weight, &[self, n]);
        let digits = scale + GUARD_DIGITS + ln_weight(self).unsigned_abs() as u32;
        let (top, bottom) = (ln_fixed(n, digits), ln_fixed(self, digits));
        if bottom.is_zero() {
            return Err(DatumError::division_by_zero());
        }
        let (top, bottom) = if bottom.is_negative() { (-top, -bottom) } else { (top, bottom) };
        Ok(from_fixed(&div_round(&(top * pow10(digits)), &bottom), digits, scale))
    }

    /// Errors for zero and negative numbers; an early answer for NaN and infinity.
    fn log_domain(&self) -> Result<Option<Numeric>> {
        let error = |what: &str| {
            DatumError::new(
                sqlstate::INVALID_ARGUMENT_FOR_LOGARITHM,
                format!("cannot take logarithm of {what}"),
            )
        };
        match self.signum() {
            None => Ok(Some(Numeric::NAN)),
            Some(0) => Err(error("zero")),
            Some(-1) => Err(error("a negative number")),
            Some(_) if self.is_infinite() => Ok(Some(Numeric::INFINITY)),
            Some(_) => Ok(None),
        }
    }

    /// `base ^ exponent`.
    pub fn pow(&self, exponent: &Numeric) -> Result<Numeric> {
        if !self.is_finite() || !exponent.is_finite() {
            return self.pow_non_finite(exponent);
        }
        let integer = to_i64_exact(exponent);
        if self.is_zero() && exponent.is_negative() {
            return Err(DatumError::new(
                sqlstate::INVALID_ARGUMENT_FOR_POWER,
                "zero raised to a negative power is undefined",
            ));
        }
        if let Some(n) = integer.and_then(|n| i32::try_from(n).ok()) {
            return self.powi(n);
        }
        let whole = exponent.trunc(0) == *exponent;
        if self.is_negative() && !whole {
            return Err(DatumError::new(
                sqlstate::INVALID_ARGUMENT_FOR_POWER,
                "a negative number raised to a non-integer power yields a complex result",
            ));
        }
        if self.is_zero() {
            return Ok(Numeric::new(0, SIGNIFICANT_DIGITS_MIN as u32));
        }
        let base = self.abs();
        let estimate_digits = clamp_scale(8 - ln_weight(&base), &[]) + GUARD_DIGITS;
        let ln_estimate =
            from_fixed(&ln_fixed(&base, estimate_digits), estimate_digits, estimate_digits);
        let natural = ln_estimate.mul(exponent)?.to_f64_lossy();
        if natural.abs() > RESULT_WEIGHT_MAX {
            return if natural > 0.0 {
                Err(overflow())
            } else {
                Ok(Numeric::new(0, PRECISION_MAX as u32))
            };
        }
        let weight = (natural * std::f64::consts::LOG10_E) as i64;
        let scale = clamp_scale(SIGNIFICANT_DIGITS_MIN - weight, &[self, exponent]);
        // The logarithm's error is multiplied by the exponent and by the result.
        let exponent_weight = leading_digits(exponent).map_or(0, |(e, _)| e.max(0));
        let digits = scale + GUARD_DIGITS + weight.max(0) as u32 + exponent_weight as u32;
        let product =
            div_round(&(ln_fixed(&base, digits) * to_fixed(exponent, digits)), &pow10(digits));
        let result = exp_to_scale(&Numeric::from_bigint(product, digits), scale)?;
        // An integer exponent beyond i32 with a negative base: its parity decides the sign.
        let odd = whole && !exponent.rem(&Numeric::new(2, 0))?.is_zero();
        Ok(if self.is_negative() && odd { result.neg() } else { result })
    }

    fn powi(&self, n: i32) -> Result<Numeric> {
        let weight = match leading_digits(self) {
            Some((e, digits)) => {
                let head: f64 =
                    format!("0.{}", &digits[..digits.len().min(17)]).parse().unwrap_or(0.5);
                f64::from(n) * (head.log10() + 1.0 + e as f64)
            }
            None => 0.0,
        };
        if weight > (WEIGHT_DIGITS_MAX + 4) as f64 {
            return Err(overflow());
        }
        // Sixteen digits after the point, however large the result.
        let scale = clamp_scale(SIGNIFICANT_DIGITS_MIN, &[self]);
        if weight + 1.0 < -f64::from(scale) {
            return Ok(Numeric::new(0, scale));
        }
        if n == 0 {
            return Ok(Numeric::ONE.round(scale as i32));
        }
        if self.is_zero() {
            return Ok(Numeric::new(0, scale));
        }
        if n == -1 {
            return Numeric::ONE.div_to_scale(self, scale);
        }
        // Significant digits: those shown, plus one for each halving of the error's room.
        let kept = scale as i64 + weight as i64 + i64::from(GUARD_DIGITS) + 12;
        let (mantissa, ten) = power_significant(self, n.unsigned_abs(), kept.max(32) as usize);
        // The value is mantissa × 10^ten, or one over it; either is shown at `scale`.
        let shift = i64::from(scale) + if n < 0 { -ten } else { ten };
        let (mut top, mut bottom) =
            if n < 0 { (BigInt::one(), mantissa) } else { (mantissa, BigInt::one()) };
        if shift >= 0 {
            top *= pow10(shift as u32);
        } else {
            bottom *= pow10(shift.unsigned_abs() as u32);
        }
        if bottom.is_negative() {
            (top, bottom) = (-top, -bottom);
        }
        let result = Numeric::from_bigint(div_round(&top, &bottom), scale);
        checked(result)
    }

    fn pow_non_finite(&self, exponent: &Numeric) -> Result<Numeric> {
        if exponent.is_zero() || *self == Numeric::ONE {
            return Ok(Numeric::ONE);
        }
        if self.is_nan() || exponent.is_nan() {
            return Ok(Numeric::NAN);
        }
        let magnitude = self.abs().cmp(&Numeric::ONE);
        if self.is_zero() && exponent.is_negative() {
            return Err(DatumError::new(
                sqlstate::INVALID_ARGUMENT_FOR_POWER,
                "zero raised to a negative power is undefined",
            ));
        }
        if exponent.is_infinite() {
            return Ok(match (magnitude, exponent.is_negative()) {
                (std::cmp::Ordering::Equal, _) => Numeric::ONE,
                (std::cmp::Ordering::Greater, false) | (std::cmp::Ordering::Less, true) => {
                    Numeric::INFINITY
                }
                _ => Numeric::ZERO,
            });
        }
        if exponent.is_negative() {
            return Ok(Numeric::ZERO);
        }
        if !self.is_negative() {
            return Ok(Numeric::INFINITY);
        }
        if exponent.trunc(0) != *exponent {
            return Err(DatumError::new(
                sqlstate::INVALID_ARGUMENT_FOR_POWER,
                "a negative number raised to a non-integer power yields a complex result",
            ));
        }
        let odd = !exponent.rem(&Numeric::new(2, 0))?.is_zero();
        Ok(if odd { Numeric::NEG_INFINITY } else { Numeric::INFINITY })
    }

    /// `factorial(n)`.
    pub fn factorial(n: i64) -> Result<Numeric> {
        if n < 0 {
            return Err(DatumError::new(
                sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
                "factorial of a negative number is undefined",
            ));
        }
        if n > 32_177 {
            return Err(overflow());
        }
        Ok(Numeric::from_bigint((2..=n).fold(BigInt::one(), |product, k| product * k), 0))
    }
}

/// |n|^exponent by squaring, with the sign of an odd power, cut to about `kept` significant digits on the way. The scale
/// may exceed what a Numeric holds in between, so it works on (mantissa, exponent of ten) pairs.
fn power_significant(n: &Numeric, exponent: u32, kept: usize) -> (BigInt, i64) {
    let Some((mantissa, scale)) = n.to_parts() else {
        return (BigInt::zero(), 0);
    };
    let cut = |(mantissa, ten): (BigInt, i64)| {
        // 3 bits are less than a digit, so this never cuts too much.
        let digits = (mantissa.bits() as f64 / std::f64::consts::LOG2_10) as usize;
        if digits > kept + 2 {
            let drop = (digits - kept) as u32;
            (div_round(&mantissa, &pow10(drop)), ten + i64::from(drop))
        } else {
            (mantissa, ten)
        }
    };
    let mut square = cut((mantissa, -i64::from(scale)));
    let mut result = (BigInt::one(), 0i64);
    let mut left = exponent;
    while left > 0 {
        if left & 1 == 1 {
            result = cut((&result.0 * &square.0, result.1 + square.1));
        }
        left >>= 1;
        if left > 0 {
            square = cut((&square.0 * &square.0, square.1 * 2));
        }
    }
    result
}

fn to_fixed(n: &Numeric, digits: u32) -> BigInt {
    match n.to_parts() {
        Some((mantissa, scale)) if scale <= digits => mantissa * pow10(digits - scale),
        Some((mantissa, scale)) => div_round(&mantissa, &pow10(scale - digits)),
        None => BigInt::zero(),
    }
}

fn from_fixed(fixed: &BigInt, digits: u32, scale: u32) -> Numeric {
    Numeric::from_bigint(div_round(fixed, &pow10(digits - scale)), scale)
}

/// Decimal weight of the first digit of ln(n), as PostgreSQL estimates it.
fn ln_weight(n: &Numeric) -> i64 {
    let (low, high) = (Numeric::new(9, 1), Numeric::new(11, 1));
    if *n >= low && *n <= high {
        // ln(1 + x) is about x.
        return leading_digits(&n.sub(&Numeric::ONE)).map_or(0, |(exponent, _)| exponent);
    }
    match leading_digits(n) {
        Some((exponent, digits)) => {
            let head: f64 = digits[..digits.len().min(8)].parse().unwrap_or(1.0);
            let shown = digits.len().min(8) as i64;
            let ln = head.ln() + (exponent + 1 - shown) as f64 * std::f64::consts::LN_10;
            ln.abs().log10() as i64
        }
        None => 0,
    }
}

/// ln of a positive number: powers of ten taken out, roots taken until it is near 1, then the series of atanh.
fn ln_fixed(n: &Numeric, digits: u32) -> BigInt {
    let Some((exponent, _)) = leading_digits(n) else {
        return BigInt::zero();
    };
    let near_one = *n >= Numeric::new(5, 1) && *n <= Numeric::new(5, 0);
    let tens = if near_one { 0 } else { exponent + 1 };
    let work = digits + 12 + tens.unsigned_abs().max(1).ilog10() + 1;
    let Some((mantissa, scale)) = n.to_parts() else {
        return BigInt::zero();
    };
    // n × 10^-tens, at `work` digits.
    let shift = i64::from(work) - i64::from(scale) - tens;
    let reduced = if shift >= 0 {
        mantissa * pow10(shift as u32)
    } else {
        div_round(&mantissa, &pow10(shift.unsigned_abs() as u32))
    };
    let ln = ln_near_one(reduced, work);
    let ln = if tens == 0 { ln } else { ln + ln_10(work) * tens };
    div_round(&ln, &pow10(work - digits))
}

fn ln_near_one(mut x: BigInt, work: u32) -> BigInt {
    let one = pow10(work);
    let close = &one / 64;
    let mut doublings = 0u32;
    while (&x - &one).abs() > close {
        x = (x * &one).sqrt();
        doublings += 1;
    }
    // ln x = 2 atanh((x - 1) / (x + 1))
    let z = (&x - &one) * &one / (&x + &one);
    let square = &z * &z / &one;
    let (mut sum, mut term, mut k) = (z.clone(), z, 3u32);
    loop {
        term = term * &square / &one;
        if term.is_zero() {
            break;
        }
        sum += &term / k;
        k += 2;
    }
    sum << (doublings + 1)
}

fn ln_10(work: u32) -> BigInt {
    let one = pow10(work + 4);
    // 10 = 2^3 × 1.25
    let two = ln_near_one(&one * 2, work + 4);
    let rest = ln_near_one(&one * 5 / 4, work + 4);
    (two * 3 + rest) / 10_000
}

/// e^n rounded to `scale` digits.
fn exp_to_scale(n: &Numeric, scale: u32) -> Result<Numeric> {
    let estimate = n.to_f64_lossy();
    if estimate.abs() > RESULT_WEIGHT_MAX {
        return if estimate > 0.0 { Err(overflow()) } else { Ok(Numeric::new(0, scale)) };
    }
    let tens = (estimate * std::f64::consts::LOG10_E).floor() as i64;
    // e^n = 10^tens × e^(n - tens × ln 10): the second factor is between 1 and 10.
    let work = scale + GUARD_DIGITS + tens.max(0) as u32 + 12;
    let one = pow10(work);
    let rest = to_fixed(n, work) - ln_10(work) * tens;
    let halvings = 8u32;
    let small = rest >> halvings;
    let (mut sum, mut term, mut k) = (one.clone(), one.clone(), 1u32);
    loop {
        term = term * &small / &one / k;
        if term.is_zero() {
            break;
        }
        sum += &term;
        k += 1;
    }
    for _ in 0..halvings {
        sum = &sum * &sum / &one;
    }
    let (mantissa, digits) = if tens >= 0 {
        (sum * pow10(tens as u32), work)
    } else {
        (sum, work + tens.unsigned_abs() as u32)
    };
    Ok(from_fixed(&mantissa, digits, scale))
}
