//! Numeric's text form: plain digits, never an exponent on output.

use std::fmt;
use std::str::FromStr;

use num_bigint::BigInt;
use num_traits::Signed;

use super::arithmetic::{checked, overflow};
use super::{Numeric, Repr, SCALE_MAX, WEIGHT_DIGITS_MAX, pow10};
use crate::{DatumError, Result};

impl FromStr for Numeric {
    type Err = DatumError;

    fn from_str(input: &str) -> Result<Numeric> {
        let invalid = || DatumError::invalid_syntax("numeric", input);
        let trimmed = input.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        let (negative, body) = match trimmed.as_bytes().first() {
            Some(b'-') => (true, &trimmed[1..]),
            Some(b'+') => (false, &trimmed[1..]),
            _ => (false, trimmed),
        };
        if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return match body.to_ascii_lowercase().as_str() {
                "nan" if body.len() == trimmed.len() => Ok(Numeric::NAN),
                "inf" | "infinity" if negative => Ok(Numeric::NEG_INFINITY),
                "inf" | "infinity" => Ok(Numeric::INFINITY),
                _ => Err(invalid()),
            };
        }
        let (digits, exponent) = match body.find(['e', 'E']) {
            Some(at) => (&body[..at], parse_exponent(&body[at + 1..]).ok_or_else(invalid)?),
            None => (body, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction)
        {
            return Err(invalid());
        }
        assemble(negative, whole, fraction, exponent)
    }
}

/// Saturates: what is out of i32's range overflows the format anyway.
fn parse_exponent(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(sign * digits.parse::<i64>().unwrap_or(i64::MAX / 4).min(i64::MAX / 4))
}

fn assemble(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Result<Numeric> {
    let scale = fraction.len() as i64 - exponent;
    if scale > i64::from(SCALE_MAX) {
        return Err(overflow());
    }
    if scale >= 0 && whole.len() + fraction.len() <= 18 {
        let join = whole.bytes().chain(fraction.bytes());
        let magnitude = join.fold(0i64, |m, b| m * 10 + i64::from(b - b'0'));
        let mantissa = if negative { -magnitude } else { magnitude };
        return Ok(Numeric(Repr::Small { mantissa, scale: scale as u16 }));
    }
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0');
    if significant.len() as i64 - scale > WEIGHT_DIGITS_MAX as i64 && !significant.is_empty() {
        return Err(overflow());
    }
    let magnitude: BigInt = if significant.is_empty() {
        BigInt::ZERO
    } else {
        significant.parse().map_err(|_| DatumError::invalid_syntax("numeric", &digits))?
    };
    let mut mantissa = if negative { -magnitude } else { magnitude };
    if scale < 0 && !significant.is_empty() {
        mantissa *= pow10((-scale) as u32);
    }
    checked(Numeric::from_bigint(mantissa, scale.max(0) as u32))
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (negative, digits, scale) = match &self.0 {
            Repr::Small { mantissa, scale: 0 } => return write!(f, "{mantissa}"),
            Repr::Small { mantissa, scale } => {
                (*mantissa < 0, mantissa.unsigned_abs().to_string(), usize::from(*scale))
            }
            Repr::Large(large) => (
                large.mantissa.is_negative(),
                large.mantissa.abs().to_string(),
                usize::from(large.scale),
            ),
            Repr::Infinity => return f.write_str("Infinity"),
            Repr::NegInfinity => return f.write_str("-Infinity"),
            Repr::NaN => return f.write_str("NaN"),
        };
        if negative {
            f.write_str("-")?;
        }
        if scale == 0 {
            return f.write_str(&digits);
        }
        match digits.len().checked_sub(scale) {
            Some(point) if point > 0 => write!(f, "{}.{}", &digits[..point], &digits[point..]),
            _ => write!(f, "0.{digits:0>scale$}"),
        }
    }
}
