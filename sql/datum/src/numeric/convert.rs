//! Between numeric and the machine's numbers.

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::Numeric;
use crate::{DatumError, Result, float, sqlstate};

macro_rules! numeric_from_integer {
    ($($int:ty),*) => {
        $(impl From<$int> for Numeric {
            fn from(v: $int) -> Self {
                Numeric::new(i128::from(v), 0)
            }
        })*
    };
}

numeric_from_integer!(i16, i32, i64, u32, i128);

impl From<BigInt> for Numeric {
    fn from(v: BigInt) -> Self {
        Numeric::from_bigint(v, 0)
    }
}

impl Numeric {
    /// `float8::numeric`: 15 significant digits, as PostgreSQL converts.
    pub fn from_f64(v: f64) -> Numeric {
        Self::from_digits(v, 15)
    }

    /// `float4::numeric`: 6 significant digits.
    pub fn from_f32(v: f32) -> Numeric {
        Self::from_digits(f64::from(v), 6)
    }

    fn from_digits(v: f64, digits: usize) -> Numeric {
        if v.is_nan() {
            return Numeric::NAN;
        }
        if v.is_infinite() {
            return if v > 0.0 { Numeric::INFINITY } else { Numeric::NEG_INFINITY };
        }
        let mut text = String::new();
        float::format_general(v, digits, &mut text);
        text.parse().unwrap_or(Numeric::NAN)
    }

    /// Nearest float8; infinite if it is too large. For estimates.
    pub fn to_f64_lossy(&self) -> f64 {
        if self.is_nan() {
            return f64::NAN;
        }
        match self.to_i128_parts() {
            // Both exact in binary: one correctly rounded division.
            Some((m, s)) if m.unsigned_abs() < 1 << 53 && s <= 22 => {
                m as f64 / 10f64.powi(s as i32)
            }
            _ => match self.signum() {
                Some(sign) if self.is_infinite() => f64::from(sign) * f64::INFINITY,
                _ => self.to_string().parse().unwrap_or(f64::NAN),
            },
        }
    }

    /// `numeric::float8`.
    pub fn to_f64(&self) -> Result<f64> {
        let v = self.to_f64_lossy();
        if v.is_infinite() && self.is_finite() {
            return Err(out_of_float_range(self, "double precision"));
        }
        Ok(v)
    }

    /// `numeric::float4`.
    pub fn to_f32(&self) -> Result<f32> {
        if !self.is_finite() {
            return Ok(self.to_f64_lossy() as f32);
        }
        let v: f32 = self.to_string().parse().unwrap_or(f32::NAN);
        if v.is_infinite() || (v == 0.0 && !self.is_zero()) {
            return Err(out_of_float_range(self, "real"));
        }
        Ok(v)
    }

    pub fn to_i16(&self) -> Result<i16> {
        self.to_integer("smallint", |b| b.to_i16())
    }

    pub fn to_i32(&self) -> Result<i32> {
        self.to_integer("integer", |b| b.to_i32())
    }

    pub fn to_i64(&self) -> Result<i64> {
        self.to_integer("bigint", |b| b.to_i64())
    }

    /// Rounds half away from zero.
    fn to_integer<T>(&self, name: &str, fit: impl Fn(&BigInt) -> Option<T>) -> Result<T> {
        match self.round(0).to_parts() {
            Some((mantissa, _)) => fit(&mantissa).ok_or_else(|| DatumError::out_of_range(name)),
            None => {
                let what = if self.is_nan() { "NaN" } else { "infinity" };
                Err(DatumError::new(
                    sqlstate::FEATURE_NOT_SUPPORTED,
                    format!("cannot convert {what} to {name}"),
                ))
            }
        }
    }

    /// The mantissa at exactly this scale, rounded: Decimal128's form. `None` if it does not fit or is not finite.
    pub fn to_i128_at_scale(&self, scale: u32) -> Option<i128> {
        match self.to_i128_parts() {
            Some((mantissa, have)) if have == scale => Some(mantissa),
            _ => self.round(i32::try_from(scale).ok()?).to_i128_parts().map(|(m, _)| m),
        }
    }
}

fn out_of_float_range(n: &Numeric, name: &str) -> DatumError {
    DatumError::new(
        sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("\"{n}\" is out of range for type {name}"),
    )
}
