//! PostgreSQL's numeric: a decimal of any size that remembers how many digits to show.
//!
//! A finite value is `mantissa × 10^-scale`; the scale is PostgreSQL's display scale: `1.50` is 150 at scale 2, equal to
//! 15 at scale 1, and printed differently. Mantissas of up to 18 digits live inline and are computed in i128;
//! longer ones are `BigInt`s behind an `Arc`. NaN is equal to itself and above everything, as in PostgreSQL.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use num_bigint::{BigInt, Sign};
use num_traits::{Signed, ToPrimitive, Zero};

mod arithmetic;
mod convert;
mod functions;
mod power_of_ten;
mod round;
mod text;

#[cfg(test)]
mod tests;

pub use arithmetic::NumericSum;
pub use power_of_ten::pow10;

/// Most digits after the point; computed quotients and roots stop at [`PRECISION_MAX`].
pub const SCALE_MAX: u32 = 16_383;
/// Most digits before the point.
pub const WEIGHT_DIGITS_MAX: u64 = 131_072;
/// `NUMERIC_MAX_PRECISION`: most digits in `numeric(p,s)`, and most digits after the point in computed results.
pub const PRECISION_MAX: i32 = 1000;
/// `NUMERIC_MIN_SIG_DIGITS`: least significant digits of quotients, roots and transcendental functions.
pub const SIGNIFICANT_DIGITS_MIN: i64 = 16;

#[derive(Debug, Clone)]
pub struct Numeric(pub(crate) Repr);

#[derive(Debug, Clone)]
pub(crate) enum Repr {
    NegInfinity,
    Small { mantissa: i64, scale: u16 },
    Large(Arc<Large>),
    Infinity,
    NaN,
}

#[derive(Debug)]
pub(crate) struct Large {
    pub mantissa: BigInt,
    pub scale: u16,
}

const _: () = assert!(std::mem::size_of::<Numeric>() <= 16);

impl Numeric {
    pub const ZERO: Numeric = Numeric(Repr::Small { mantissa: 0, scale: 0 });
    pub const ONE: Numeric = Numeric(Repr::Small { mantissa: 1, scale: 0 });
    pub const NAN: Numeric = Numeric(Repr::NaN);
    pub const INFINITY: Numeric = Numeric(Repr::Infinity);
    pub const NEG_INFINITY: Numeric = Numeric(Repr::NegInfinity);

    /// `mantissa × 10^-scale`. The scale is at most [`SCALE_MAX`]; a larger one is rounded away.
    pub fn new(mantissa: i128, scale: u32) -> Self {
        match (i64::try_from(mantissa), u16::try_from(scale)) {
            (Ok(mantissa), Ok(scale)) if u32::from(scale) <= SCALE_MAX => {
                Numeric(Repr::Small { mantissa, scale })
            }
            _ => Self::from_bigint(BigInt::from(mantissa), scale),
        }
    }

    pub fn from_bigint(mantissa: BigInt, scale: u32) -> Self {
        let (mantissa, scale) = if scale > SCALE_MAX {
            (round::div_round(&mantissa, &pow10(scale - SCALE_MAX)), SCALE_MAX)
        } else {
            (mantissa, scale)
        };
        let scale = scale as u16;
        match mantissa.to_i64() {
            Some(mantissa) => Numeric(Repr::Small { mantissa, scale }),
            None => Numeric(Repr::Large(Arc::new(Large { mantissa, scale }))),
        }
    }

    pub fn is_nan(&self) -> bool {
        matches!(self.0, Repr::NaN)
    }

    pub fn is_infinite(&self) -> bool {
        matches!(self.0, Repr::Infinity | Repr::NegInfinity)
    }

    pub fn is_finite(&self) -> bool {
        matches!(self.0, Repr::Small { .. } | Repr::Large(_))
    }

    pub fn is_zero(&self) -> bool {
        matches!(self.0, Repr::Small { mantissa: 0, .. })
    }

    /// -1, 0, 1; `None` for NaN.
    pub fn signum(&self) -> Option<i32> {
        match &self.0 {
            Repr::Small { mantissa, .. } => Some(mantissa.signum() as i32),
            Repr::Large(large) => Some(if large.mantissa.is_negative() { -1 } else { 1 }),
            Repr::Infinity => Some(1),
            Repr::NegInfinity => Some(-1),
            Repr::NaN => None,
        }
    }

    pub fn is_negative(&self) -> bool {
        self.signum() == Some(-1)
    }

    /// Digits after the point that it prints; `None` for NaN and the infinities. SQL's `scale()`.
    pub fn scale(&self) -> Option<u32> {
        match &self.0 {
            Repr::Small { scale, .. } => Some(u32::from(*scale)),
            Repr::Large(large) => Some(u32::from(large.scale)),
            Repr::Infinity | Repr::NegInfinity | Repr::NaN => None,
        }
    }

    /// (mantissa, scale) of a finite value.
    pub fn to_parts(&self) -> Option<(BigInt, u32)> {
        match &self.0 {
            Repr::Small { mantissa, scale } => Some((BigInt::from(*mantissa), u32::from(*scale))),
            Repr::Large(large) => Some((large.mantissa.clone(), u32::from(large.scale))),
            Repr::Infinity | Repr::NegInfinity | Repr::NaN => None,
        }
    }

    /// (mantissa, scale) of a finite value whose mantissa fits in i128: the fast path, and the way into Decimal128.
    pub fn to_i128_parts(&self) -> Option<(i128, u32)> {
        match &self.0 {
            Repr::Small { mantissa, scale } => Some((i128::from(*mantissa), u32::from(*scale))),
            Repr::Large(large) => Some((large.mantissa.to_i128()?, u32::from(large.scale))),
            Repr::Infinity | Repr::NegInfinity | Repr::NaN => None,
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Large(large) => 48 + large.mantissa.bits() as usize / 8,
            _ => 0,
        }
    }

    /// The same value at the least scale that holds it: what equal numerics share. `trim_scale()`.
    pub fn trim_scale(&self) -> Numeric {
        match &self.0 {
            Repr::Small { mantissa, scale } => {
                let (mut mantissa, mut scale) = (*mantissa, *scale);
                if mantissa == 0 {
                    scale = 0;
                }
                while scale > 0 && mantissa % 10 == 0 {
                    mantissa /= 10;
                    scale -= 1;
                }
                Numeric(Repr::Small { mantissa, scale })
            }
            Repr::Large(large) => {
                let mut mantissa = large.mantissa.clone();
                let mut scale = u32::from(large.scale);
                let mut step = 64u32;
                while step > 0 {
                    while scale >= step {
                        let (quotient, rest) =
                            num_integer::Integer::div_rem(&mantissa, &pow10(step));
                        if !rest.is_zero() {
                            break;
                        }
                        mantissa = quotient;
                        scale -= step;
                    }
                    step /= 4;
                }
                Self::from_bigint(mantissa, scale)
            }
            other => Numeric(other.clone()),
        }
    }

    fn rank(&self) -> u8 {
        match &self.0 {
            Repr::NegInfinity => 0,
            Repr::Small { .. } | Repr::Large(_) => 1,
            Repr::Infinity => 2,
            Repr::NaN => 3,
        }
    }
}

impl Default for Numeric {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Repr::Small { mantissa: a, scale: s }, Repr::Small { mantissa: b, scale: t }) =
            (&self.0, &other.0)
        {
            if s == t {
                return a.cmp(b);
            }
            let up = |m: i64, by: u16| {
                power_of_ten::pow10_i128(u32::from(by)).and_then(|p| p.checked_mul(i128::from(m)))
            };
            let scaled = if s < t {
                (up(*a, t - s), Some(i128::from(*b)))
            } else {
                (Some(i128::from(*a)), up(*b, s - t))
            };
            if let (Some(a), Some(b)) = scaled {
                return a.cmp(&b);
            }
        }
        match (self.to_parts(), other.to_parts()) {
            (Some((a, s)), Some((b, t))) => match s.cmp(&t) {
                Ordering::Equal => a.cmp(&b),
                Ordering::Less => (a * pow10(t - s)).cmp(&b),
                Ordering::Greater => a.cmp(&(b * pow10(s - t))),
            },
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl Hash for Numeric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let trimmed = self.trim_scale();
        match &trimmed.0 {
            Repr::Small { mantissa, scale } => (1u8, mantissa, scale).hash(state),
            Repr::Large(large) => {
                let (sign, digits) = large.mantissa.to_u64_digits();
                (2u8, sign == Sign::Minus, digits, large.scale).hash(state);
            }
            other => std::mem::discriminant(other).hash(state),
        }
    }
}

impl Numeric {
    /// Significant digits before the point: 2 for 12.5, 0 for 0.5, -1 for 0.05. 0 for zero and the non-finite.
    pub fn digits_before_point(&self) -> i64 {
        arithmetic::leading_digits(self).map_or(0, |(exponent, _)| exponent + 1)
    }
}
