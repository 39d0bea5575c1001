//! Mathematical functions.

use crate::args::{float8, int4, int8, mismatch, numeric};
use crate::error::{EvalResult, ExprError, Result};
use crate::operators::{overflow, power, square_root, underflow};
use crate::registry::{Invocation, Registry, Volatility};
use datum::{Datum, Numeric};
use num_traits::ToPrimitive;
use std::cell::RefCell;

pub(super) fn register(r: &mut Registry) {
    register_rounding(r);
    register_powers(r);
    register_integers(r);
    register_trigonometry(r);
    register_random(r);
}

macro_rules! on_float {
    ($r:ident, $($signature:literal => $f:expr),* $(,)?) => {
        $($r.strict($signature, |args, _| {
            let f: fn(f64) -> f64 = $f;
            Ok(Datum::Float8(f(float8(args, 0)?)))
        });)*
    };
}

macro_rules! on_numeric {
    ($r:ident, $($signature:literal => $f:expr),* $(,)?) => {
        $($r.strict($signature, |args, _| {
            let f: fn(&Numeric) -> Numeric = $f;
            Ok(Datum::Numeric(f(numeric(args, 0)?)))
        });)*
    };
}

fn register_rounding(r: &mut Registry) {
    on_float! { r,
        "round(float8) float8" => f64::round_ties_even,
        "ceil(float8) float8" => f64::ceil,
        "ceiling(float8) float8" => f64::ceil,
        "floor(float8) float8" => f64::floor,
        "trunc(float8) float8" => f64::trunc,
        "sign(float8) float8" => |v| if v > 0.0 { 1.0 } else if v < 0.0 { -1.0 } else { v * 0.0 },
    }
    on_numeric! { r,
        "round(numeric) numeric" => |v| v.round(0),
        "ceil(numeric) numeric" => Numeric::ceil,
        "ceiling(numeric) numeric" => Numeric::ceil,
        "floor(numeric) numeric" => Numeric::floor,
        "trunc(numeric) numeric" => |v| v.trunc(0),
        "sign(numeric) numeric" => Numeric::sign,
        "trim_scale(numeric) numeric" => Numeric::trim_scale,
    }
    r.strict("round(numeric, int4) numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.round(int4(args, 1)?)))
    });
    r.strict("trunc(numeric, int4) numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.trunc(int4(args, 1)?)))
    });
    r.strict("scale(numeric) int4", |args, _| {
        Ok(numeric(args, 0)?.scale().map(|scale| scale as i32).into())
    });
    r.strict("min_scale(numeric) int4", |args, _| {
        Ok(numeric(args, 0)?.trim_scale().scale().map(|scale| scale as i32).into())
    });
}

fn register_powers(r: &mut Registry) {
    for signature in ["power(float8, float8) float8", "pow(float8, float8) float8"] {
        r.strict(signature, |args, _| power(float8(args, 0)?, float8(args, 1)?).map(Datum::Float8));
    }
    for signature in ["power(numeric, numeric) numeric", "pow(numeric, numeric) numeric"] {
        r.strict(signature, |args, _| {
            Ok(Datum::Numeric(numeric(args, 0)?.pow(numeric(args, 1)?)?))
        });
    }
    r.strict("sqrt(float8) float8", |args, _| square_root(float8(args, 0)?));
    r.strict("sqrt(numeric) numeric", |args, _| Ok(Datum::Numeric(numeric(args, 0)?.sqrt()?)));
    on_float! { r,
        "cbrt(float8) float8" => f64::cbrt,
        "degrees(float8) float8" => f64::to_degrees,
        "radians(float8) float8" => f64::to_radians,
    }
    r.strict("exp(float8) float8", |args, _| {
        let v = float8(args, 0)?;
        let result = v.exp();
        if result.is_infinite() && v.is_finite() {
            return Err(overflow());
        }
        if result == 0.0 && v.is_finite() {
            return Err(underflow());
        }
        Ok(Datum::Float8(result))
    });
    r.strict("exp(numeric) numeric", |args, _| Ok(Datum::Numeric(numeric(args, 0)?.exp()?)));
    r.strict("ln(float8) float8", |args, _| Ok(Datum::Float8(positive(float8(args, 0)?)?.ln())));
    r.strict("ln(numeric) numeric", |args, _| Ok(Datum::Numeric(numeric(args, 0)?.ln()?)));
    for signature in ["log(float8) float8", "log10(float8) float8"] {
        r.strict(signature, |args, _| Ok(Datum::Float8(positive(float8(args, 0)?)?.log10())));
    }
    for signature in ["log(numeric) numeric", "log10(numeric) numeric"] {
        r.strict(signature, |args, _| Ok(Datum::Numeric(numeric(args, 0)?.log10()?)));
    }
    r.strict("log(numeric, numeric) numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.log(numeric(args, 1)?)?))
    });
}

fn positive(v: f64) -> Result<f64> {
    if v == 0.0 {
        Err(ExprError::new("2201E", "cannot take logarithm of zero"))
    } else if v < 0.0 {
        Err(ExprError::new("2201E", "cannot take logarithm of a negative number"))
    } else {
        Ok(v)
    }
}

fn register_integers(r: &mut Registry) {
    r.strict("div(numeric, numeric) numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.div_trunc(numeric(args, 1)?)?))
    });
    r.strict("factorial(int8) numeric", |args, _| {
        Ok(Datum::Numeric(Numeric::factorial(int8(args, 0)?)?))
    });
    for signature in ["gcd(int4, int4) int4", "gcd(int8, int8) int8"] {
        r.strict(signature, |args, call| {
            let (Some(a), Some(b)) = (args[0].as_i64(), args[1].as_i64()) else {
                return mismatch(args);
            };
            integer(call, u128::from(gcd(a.unsigned_abs(), b.unsigned_abs())))
        });
    }
    for signature in ["lcm(int4, int4) int4", "lcm(int8, int8) int8"] {
        r.strict(signature, |args, call| {
            let (Some(a), Some(b)) = (args[0].as_i64(), args[1].as_i64()) else {
                return mismatch(args);
            };
            let (a, b) = (a.unsigned_abs(), b.unsigned_abs());
            let divisor = gcd(a, b);
            let multiple = a.checked_div(divisor).map_or(0, |a| u128::from(a) * u128::from(b));
            integer(call, multiple)
        });
    }
    r.strict("gcd(numeric, numeric) numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.gcd(numeric(args, 1)?)))
    });
    r.strict("lcm(numeric, numeric) numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.lcm(numeric(args, 1)?)?))
    });
    r.strict("width_bucket(float8, float8, float8, int4) int4", |args, _| {
        bucket(float8(args, 0)?, float8(args, 1)?, float8(args, 2)?, int4(args, 3)?)
    });
    r.strict("width_bucket(numeric, numeric, numeric, int4) int4", |args, _| {
        let v = |index| numeric(args, index).map(Numeric::to_f64_lossy);
        bucket(v(0)?, v(1)?, v(2)?, int4(args, 3)?)
    });
    r.strict("width_bucket(anycompatible, anycompatiblearray) int4", |args, _| {
        let bounds = crate::args::array(args, 1)?;
        let at = bounds.items.partition_point(|bound| *bound <= args[0]);
        Ok(Datum::Int4(at as i32))
    });
}

fn integer(call: &Invocation<'_>, value: u128) -> EvalResult {
    let name = call.result_type().name();
    let wide = value.to_i64().ok_or_else(|| ExprError::out_of_range(&name))?;
    crate::cast::integer(wide, call.result_type())
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn bucket(v: f64, low: f64, high: f64, count: i32) -> EvalResult {
    let invalid = |message: &str| Err(ExprError::new("2201G", message));
    if count <= 0 {
        return invalid("count must be greater than zero");
    }
    if v.is_nan() || low.is_nan() || high.is_nan() {
        return invalid("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return invalid("lower and upper bounds must be finite");
    }
    if low == high {
        return invalid("lower bound cannot equal upper bound");
    }
    let share = if low < high { (v - low) / (high - low) } else { (low - v) / (low - high) };
    let at = if share < 0.0 {
        0
    } else if share >= 1.0 {
        count.checked_add(1).ok_or_else(|| ExprError::out_of_range("integer"))?
    } else {
        (share * f64::from(count)) as i32 + 1
    };
    Ok(Datum::Int4(at))
}

fn register_trigonometry(r: &mut Registry) {
    r.strict("pi() float8", |_, _| Ok(Datum::Float8(std::f64::consts::PI)));
    on_float! { r,
        "sin(float8) float8" => f64::sin,
        "cos(float8) float8" => f64::cos,
        "tan(float8) float8" => f64::tan,
        "cot(float8) float8" => |v| 1.0 / v.tan(),
        "atan(float8) float8" => f64::atan,
        "sinh(float8) float8" => f64::sinh,
        "cosh(float8) float8" => f64::cosh,
        "tanh(float8) float8" => f64::tanh,
        "asinh(float8) float8" => f64::asinh,
        "sind(float8) float8" => |v| exact_degrees(v, f64::sin),
        "cosd(float8) float8" => |v| exact_degrees(v, f64::cos),
        "tand(float8) float8" => |v| exact_degrees(v, f64::tan),
        "atand(float8) float8" => |v| v.atan().to_degrees(),
    }
    r.strict("asin(float8) float8", |args, _| bounded(float8(args, 0)?, f64::asin));
    r.strict("acos(float8) float8", |args, _| bounded(float8(args, 0)?, f64::acos));
    r.strict("asind(float8) float8", |args, _| {
        bounded(float8(args, 0)?, |v| v.asin().to_degrees())
    });
    r.strict("acosd(float8) float8", |args, _| {
        bounded(float8(args, 0)?, |v| v.acos().to_degrees())
    });
    r.strict("atan2(float8, float8) float8", |args, _| {
        Ok(Datum::Float8(float8(args, 0)?.atan2(float8(args, 1)?)))
    });
    r.strict("acosh(float8) float8", |args, _| {
        let v = float8(args, 0)?;
        if v < 1.0 { Err(input_out_of_range()) } else { Ok(Datum::Float8(v.acosh())) }
    });
    r.strict("atanh(float8) float8", |args, _| {
        let v = float8(args, 0)?;
        if !(-1.0..=1.0).contains(&v) {
            Err(input_out_of_range())
        } else {
            Ok(Datum::Float8(v.atanh()))
        }
    });
}

fn input_out_of_range() -> ExprError {
    ExprError::new("22003", "input is out of range")
}

fn bounded(v: f64, f: fn(f64) -> f64) -> EvalResult {
    if v.is_nan() || (-1.0..=1.0).contains(&v) {
        Ok(Datum::Float8(f(v)))
    } else {
        Err(input_out_of_range())
    }
}

/// Multiples of 30 and 45 degrees give the exact values that people expect.
fn exact_degrees(degrees: f64, f: fn(f64) -> f64) -> f64 {
    let value = f(degrees.to_radians());
    let rounded = (value * 2.0).round() / 2.0;
    if (value - rounded).abs() < 1e-15 { rounded } else { value }
}

thread_local! {
    /// `setseed` makes `random()` repeat on this thread.
    static SEEDED: RefCell<Option<u64>> = const { RefCell::new(None) };
}

fn register_random(r: &mut Registry) {
    r.volatility(Volatility::Volatile);
    r.strict("random() float8", |_, _| Ok(Datum::Float8(next_random())));
    r.strict("setseed(float8) void", |args, _| {
        let seed = float8(args, 0)?;
        if !(-1.0..=1.0).contains(&seed) {
            return Err(ExprError::invalid_parameter(format!(
                "setseed parameter {seed} is out of allowed range [-1,1]"
            )));
        }
        SEEDED.set(Some(seed.to_bits() ^ 0x9e37_79b9_7f4a_7c15));
        Ok(Datum::void())
    });
    r.volatility(Volatility::Immutable);
}

/// In [0, 1).
fn next_random() -> f64 {
    SEEDED.with_borrow_mut(|seeded| match seeded {
        None => rand::random::<f64>(),
        Some(state) => {
            // splitmix64
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        }
    })
}
