//! Rounding: half away from zero, as PostgreSQL's numeric rounds.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::Signed;

use super::{Numeric, Repr, SCALE_MAX, pow10, power_of_ten::pow10_i128};

/// `a / b` to the nearest integer, ties away from zero; b is positive.
pub(crate) fn div_round(a: &BigInt, b: &BigInt) -> BigInt {
    let (quotient, rest) = a.div_rem(b);
    if rest.abs() * 2u8 >= *b {
        if a.is_negative() { quotient - 1 } else { quotient + 1 }
    } else {
        quotient
    }
}

#[derive(Clone, Copy)]
enum Mode {
    Nearest,
    Truncate,
}

impl Numeric {
    /// `round(n, digits)`; negative digits round before the point. Ties go away from zero.
    pub fn round(&self, digits: i32) -> Numeric {
        self.rescale_by(digits, Mode::Nearest)
    }

    /// `trunc(n, digits)`.
    pub fn trunc(&self, digits: i32) -> Numeric {
        self.rescale_by(digits, Mode::Truncate)
    }

    pub fn floor(&self) -> Numeric {
        let cut = self.trunc(0);
        if cut > *self { cut.sub(&Numeric::ONE).round(0) } else { cut }
    }

    pub fn ceil(&self) -> Numeric {
        let cut = self.trunc(0);
        if cut < *self { cut.add(&Numeric::ONE).round(0) } else { cut }
    }

    fn rescale_by(&self, digits: i32, mode: Mode) -> Numeric {
        let digits = digits.clamp(-(200_000), SCALE_MAX as i32);
        let target = digits.max(0) as u32;
        let Some(scale) = self.scale() else {
            return self.clone();
        };
        if let Repr::Small { mantissa, .. } = &self.0
            && let Some(done) = rescale_i128(i128::from(*mantissa), scale, digits, mode)
        {
            return Numeric::new(done, target);
        }
        let Some((mantissa, scale)) = self.to_parts() else {
            return self.clone();
        };
        if i64::from(digits) >= i64::from(scale) {
            return Numeric::from_bigint(mantissa * pow10(target - scale), target);
        }
        let dropped = (i64::from(scale) - i64::from(digits)) as u32;
        let unit = pow10(dropped);
        let kept = match mode {
            Mode::Nearest => div_round(&mantissa, &unit),
            Mode::Truncate => mantissa / &unit,
        };
        let back = if digits < 0 { kept * pow10(digits.unsigned_abs()) } else { kept };
        Numeric::from_bigint(back, target)
    }
}

fn rescale_i128(mantissa: i128, scale: u32, digits: i32, mode: Mode) -> Option<i128> {
    let shift = i64::from(digits) - i64::from(scale);
    if shift >= 0 {
        return pow10_i128(u32::try_from(shift).ok()?)?.checked_mul(mantissa);
    }
    let unit = pow10_i128(u32::try_from(-shift).ok()?)?;
    let mut kept = mantissa / unit;
    if matches!(mode, Mode::Nearest) && (mantissa % unit).abs() >= unit - unit / 2 {
        kept += mantissa.signum();
    }
    if digits < 0 { pow10_i128(digits.unsigned_abs())?.checked_mul(kept) } else { Some(kept) }
}
