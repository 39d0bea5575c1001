//! Arithmetic on integers, floats and numerics: overflow is an error, never a wrap.

use crate::args::{mismatch, numeric};
use crate::error::{EvalResult, ExprError, Result};
use crate::registry::{Invocation, Registry};
use datum::{Datum, Numeric, SqlType};

/// Both arguments widened; `None` never happens for resolved calls.
fn wide(args: &[Datum]) -> Result<(i64, i64)> {
    match (args[0].as_i64(), args[1].as_i64()) {
        (Some(a), Some(b)) => Ok((a, b)),
        _ => mismatch(args),
    }
}

fn narrow(value: Option<i64>, ty: &SqlType) -> EvalResult {
    match value {
        Some(value) => crate::cast::integer(value, ty),
        None => Err(ExprError::out_of_range("bigint")),
    }
}

/// The hot ones get their own kernels: no widening, no look at the result type.
macro_rules! checked {
    ($variant:ident, $method:ident, $name:literal) => {
        |args, _| match args {
            [Datum::$variant(a), Datum::$variant(b)] => match a.$method(*b) {
                Some(value) => Ok(Datum::$variant(value)),
                None => Err(ExprError::out_of_range($name)),
            },
            _ => mismatch(args),
        }
    };
}

macro_rules! floats {
    ($r:ident, $symbol:literal, $op:expr) => {
        $r.operator(concat!("float8 ", $symbol, " float8 float8"), |args, _| {
            let (a, b) = reals(args)?;
            let op: fn(f64, f64) -> Result<f64> = $op;
            Ok(Datum::Float8(op(a, b)?))
        });
        $r.operator(concat!("float4 ", $symbol, " float8 float8"), |args, _| {
            let (a, b) = reals(args)?;
            let op: fn(f64, f64) -> Result<f64> = $op;
            Ok(Datum::Float8(op(a, b)?))
        });
        $r.operator(concat!("float8 ", $symbol, " float4 float8"), |args, _| {
            let (a, b) = reals(args)?;
            let op: fn(f64, f64) -> Result<f64> = $op;
            Ok(Datum::Float8(op(a, b)?))
        });
        $r.operator(concat!("float4 ", $symbol, " float4 float4"), |args, _| {
            let (a, b) = reals(args)?;
            let op: fn(f64, f64) -> Result<f64> = $op;
            let value = op(a, b)? as f32;
            if value.is_infinite() && a.is_finite() && b.is_finite() {
                return Err(overflow());
            }
            Ok(Datum::Float4(value))
        });
    };
}

pub(super) fn register(r: &mut Registry) {
    r.operator("int4 + int4 int4", checked!(Int4, checked_add, "integer"));
    r.operator("int4 - int4 int4", checked!(Int4, checked_sub, "integer"));
    r.operator("int4 * int4 int4", checked!(Int4, checked_mul, "integer"));
    r.operator("int8 + int8 int8", checked!(Int8, checked_add, "bigint"));
    r.operator("int8 - int8 int8", checked!(Int8, checked_sub, "bigint"));
    r.operator("int8 * int8 int8", checked!(Int8, checked_mul, "bigint"));
    r.operator("int2 + int2 int2", checked!(Int2, checked_add, "smallint"));
    r.operator("int2 - int2 int2", checked!(Int2, checked_sub, "smallint"));
    r.operator("int2 * int2 int2", checked!(Int2, checked_mul, "smallint"));
    for signature in [
        "int2 + int4 int4",
        "int4 + int2 int4",
        "int2 + int8 int8",
        "int8 + int2 int8",
        "int4 + int8 int8",
        "int8 + int4 int8",
    ] {
        r.operator(signature, |args, call| {
            let (a, b) = wide(args)?;
            narrow(a.checked_add(b), call.result_type())
        });
    }
    for signature in [
        "int2 - int4 int4",
        "int4 - int2 int4",
        "int2 - int8 int8",
        "int8 - int2 int8",
        "int4 - int8 int8",
        "int8 - int4 int8",
    ] {
        r.operator(signature, |args, call| {
            let (a, b) = wide(args)?;
            narrow(a.checked_sub(b), call.result_type())
        });
    }
    for signature in [
        "int2 * int4 int4",
        "int4 * int2 int4",
        "int2 * int8 int8",
        "int8 * int2 int8",
        "int4 * int8 int8",
        "int8 * int4 int8",
    ] {
        r.operator(signature, |args, call| {
            let (a, b) = wide(args)?;
            narrow(a.checked_mul(b), call.result_type())
        });
    }
    for signature in [
        "int2 / int2 int2",
        "int4 / int4 int4",
        "int8 / int8 int8",
        "int2 / int4 int4",
        "int4 / int2 int4",
        "int2 / int8 int8",
        "int8 / int2 int8",
        "int4 / int8 int8",
        "int8 / int4 int8",
    ] {
        r.operator(signature, |args, call| {
            let (a, b) = wide(args)?;
            if b == 0 {
                return Err(ExprError::division_by_zero());
            }
            narrow(a.checked_div(b), call.result_type())
        });
    }
    for signature in ["int2 % int2 int2", "int4 % int4 int4", "int8 % int8 int8"] {
        r.operator(signature, remainder);
    }
    for signature in ["mod(int2, int2) int2", "mod(int4, int4) int4", "mod(int8, int8) int8"] {
        r.strict(signature, remainder);
    }
    for signature in ["- int2 int2", "- int4 int4", "- int8 int8"] {
        r.operator(signature, |args, call| {
            narrow(args[0].as_i64().and_then(i64::checked_neg), call.result_type())
        });
    }
    for signature in ["@ int2 int2", "@ int4 int4", "@ int8 int8"] {
        r.operator(signature, absolute_integer);
    }
    for signature in ["abs(int2) int2", "abs(int4) int4", "abs(int8) int8"] {
        r.strict(signature, absolute_integer);
    }
    for signature in [
        "+ int2 int2",
        "+ int4 int4",
        "+ int8 int8",
        "+ float4 float4",
        "+ float8 float8",
        "+ numeric numeric",
    ] {
        r.operator(signature, |args, _| Ok(args[0].clone()));
    }
    register_floats(r);
    register_numeric(r);
}

fn remainder(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    let (a, b) = wide(args)?;
    if b == 0 {
        return Err(ExprError::division_by_zero());
    }
    // The least integer modulo -1 is 0, though dividing it overflows.
    narrow(Some(a.wrapping_rem(b)), call.result_type())
}

fn absolute_integer(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    narrow(args[0].as_i64().and_then(i64::checked_abs), call.result_type())
}

fn reals(args: &[Datum]) -> Result<(f64, f64)> {
    match (args[0].as_f64(), args[1].as_f64()) {
        (Some(a), Some(b)) => Ok((a, b)),
        _ => mismatch(args),
    }
}

pub(crate) fn overflow() -> ExprError {
    ExprError::new("22003", "value out of range: overflow")
}

pub(crate) fn underflow() -> ExprError {
    ExprError::new("22003", "value out of range: underflow")
}

/// Infinity out of finite operands is an overflow.
fn checked_float(value: f64, a: f64, b: f64) -> Result<f64> {
    if value.is_infinite() && a.is_finite() && b.is_finite() { Err(overflow()) } else { Ok(value) }
}

fn register_floats(r: &mut Registry) {
    floats!(r, "+", |a, b| checked_float(a + b, a, b));
    floats!(r, "-", |a, b| checked_float(a - b, a, b));
    floats!(r, "*", |a, b| {
        let value = checked_float(a * b, a, b)?;
        if value == 0.0 && a != 0.0 && b != 0.0 { Err(underflow()) } else { Ok(value) }
    });
    floats!(r, "/", |a, b| {
        if b == 0.0 && !a.is_nan() {
            return Err(ExprError::division_by_zero());
        }
        let value = checked_float(a / b, a, b)?;
        if value == 0.0 && a != 0.0 && b.is_finite() { Err(underflow()) } else { Ok(value) }
    });
    for signature in ["- float4 float4", "- float8 float8"] {
        r.operator(signature, |args, _| match &args[0] {
            Datum::Float4(v) => Ok(Datum::Float4(-v)),
            Datum::Float8(v) => Ok(Datum::Float8(-v)),
            _ => mismatch(args),
        });
    }
    for signature in ["@ float4 float4", "@ float8 float8"] {
        r.operator(signature, absolute_float);
    }
    for signature in ["abs(float4) float4", "abs(float8) float8"] {
        r.strict(signature, absolute_float);
    }
    r.operator("float8 ^ float8 float8", |args, _| {
        let (a, b) = reals(args)?;
        power(a, b).map(Datum::Float8)
    });
    r.operator("|/ float8 float8", |args, _| square_root(reals1(args)?));
    r.operator("||/ float8 float8", |args, _| Ok(Datum::Float8(reals1(args)?.cbrt())));
}

fn absolute_float(args: &[Datum], _: &Invocation<'_>) -> EvalResult {
    match &args[0] {
        Datum::Float4(v) => Ok(Datum::Float4(v.abs())),
        Datum::Float8(v) => Ok(Datum::Float8(v.abs())),
        _ => mismatch(args),
    }
}

fn reals1(args: &[Datum]) -> Result<f64> {
    args[0].as_f64().map_or_else(|| mismatch(args), Ok)
}

pub(crate) fn square_root(v: f64) -> EvalResult {
    if v < 0.0 {
        return Err(ExprError::new("2201F", "cannot take square root of a negative number"));
    }
    Ok(Datum::Float8(v.sqrt()))
}

pub(crate) fn power(a: f64, b: f64) -> Result<f64> {
    if a == 0.0 && b < 0.0 {
        return Err(ExprError::new("2201F", "zero raised to a negative power is undefined"));
    }
    if a < 0.0 && b.is_finite() && b.floor() != b {
        return Err(ExprError::new(
            "2201F",
            "a negative number raised to a non-integer power yields a complex result",
        ));
    }
    let value = a.powf(b);
    if value.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(overflow());
    }
    if value == 0.0 && a != 0.0 && a.is_finite() && b.is_finite() {
        return Err(underflow());
    }
    Ok(value)
}

fn register_numeric(r: &mut Registry) {
    r.operator("numeric + numeric numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.add(numeric(args, 1)?)))
    });
    r.operator("numeric - numeric numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.sub(numeric(args, 1)?)))
    });
    r.operator("numeric * numeric numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.mul(numeric(args, 1)?)?))
    });
    r.operator("numeric / numeric numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.div(numeric(args, 1)?)?))
    });
    r.operator("numeric % numeric numeric", modulo);
    r.strict("mod(numeric, numeric) numeric", modulo);
    r.operator("numeric ^ numeric numeric", |args, _| {
        Ok(Datum::Numeric(numeric(args, 0)?.pow(numeric(args, 1)?)?))
    });
    r.operator("- numeric numeric", |args, _| Ok(Datum::Numeric(numeric(args, 0)?.neg())));
    r.operator("@ numeric numeric", |args, _| Ok(Datum::Numeric(numeric(args, 0)?.abs())));
    r.strict("abs(numeric) numeric", |args, _| Ok(Datum::Numeric(numeric(args, 0)?.abs())));
    r.strict("numeric_add(numeric, numeric) numeric", |args, _| {
        Ok(Datum::Numeric(Numeric::add(numeric(args, 0)?, numeric(args, 1)?)))
    });
}

fn modulo(args: &[Datum], _: &Invocation<'_>) -> EvalResult {
    Ok(Datum::Numeric(numeric(args, 0)?.rem(numeric(args, 1)?)?))
}
