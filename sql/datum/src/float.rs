//! Floats as PostgreSQL writes and reads them.
//!
//! Digits are the shortest that read back as the same float. They are written plainly while the decimal exponent is in
//! -4 ≤ e < 15 (float8) or 6 (float4), else as `1.5e+20` with at least two digits of exponent.

use std::fmt::{LowerExp, Write as _};

use num_bigint::BigInt;

use crate::{DatumError, Result, sqlstate};

const F64_DIGITS: i32 = 15;
const F32_DIGITS: i32 = 6;

/// Shortest round trip form, `1e+20`, `-0`, `Infinity`, `NaN`; with `extra_float_digits` ≤ 0 as C's `%.*g`.
pub fn format_f64(v: f64, extra_float_digits: i32, out: &mut String) {
    if extra_float_digits <= 0 {
        return format_general(v, (F64_DIGITS + extra_float_digits).max(1) as usize, out);
    }
    if !push_special(v, out) {
        // Small whole numbers are most of what is printed.
        if v.trunc() == v && v.abs() < 1e15 && (v != 0.0 || v.is_sign_positive()) {
            let _ = write!(out, "{}", v as i64);
        } else {
            layout(&shortest(v, &f64_parts(v), &|s| s.parse() == Ok(v)), F64_DIGITS, out);
        }
    }
}

pub fn format_f32(v: f32, extra_float_digits: i32, out: &mut String) {
    if extra_float_digits <= 0 {
        return format_general(
            f64::from(v),
            (F32_DIGITS + extra_float_digits).max(1) as usize,
            out,
        );
    }
    if !push_special(f64::from(v), out) {
        layout(&shortest(v, &f32_parts(v), &|s| s.parse() == Ok(v)), F32_DIGITS, out);
    }
}

/// C's `%.*g`: so many significant digits, trailing zeros dropped.
pub fn format_general(v: f64, digits: usize, out: &mut String) {
    if push_special(v, out) {
        return;
    }
    let text = format!("{v:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let trimmed = if mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    };
    layout(&format!("{trimmed}e{exponent}"), digits as i32, out);
}

/// |v| = mantissa × 2^exponent.
struct Parts {
    mantissa: u64,
    exponent: i32,
}

fn f64_parts(v: f64) -> Parts {
    let bits = v.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
    match exponent {
        0 => Parts { mantissa: fraction, exponent: -1074 },
        e => Parts { mantissa: fraction | 1 << 52, exponent: e - 1075 },
    }
}

fn f32_parts(v: f32) -> Parts {
    let bits = v.to_bits();
    let (exponent, fraction) = ((bits >> 23 & 0xff) as i32, u64::from(bits & ((1 << 23) - 1)));
    match exponent {
        0 => Parts { mantissa: fraction, exponent: -149 },
        e => Parts { mantissa: fraction | 1 << 23, exponent: e - 150 },
    }
}

/// The shortest digits **strictly** between the middles to both neighbours, as PostgreSQL takes them (Rust allows
/// the middle itself for even mantissas); of two equally near ones the even one.
fn shortest<T: LowerExp + Copy>(v: T, parts: &Parts, reads_back: &dyn Fn(&str) -> bool) -> String {
    let text = format!("{v:e}");
    let mantissa = text.split('e').next().unwrap_or(&text);
    let mut digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let nearest = format!("{v:.*e}", digits - 1);
    if reads_back(&nearest) && !is_middle(&nearest, parts) {
        return nearest;
    }
    if !is_middle(&text, parts) {
        return text;
    }
    loop {
        digits += 1;
        let longer = format!("{v:.*e}", digits - 1);
        if digits > 17 || (reads_back(&longer) && !is_middle(&longer, parts)) {
            return longer;
        }
    }
}

/// Whether a decimal is exactly half way between the float and a neighbour.
fn is_middle(text: &str, parts: &Parts) -> bool {
    let (mantissa, ten) = text.split_once('e').unwrap_or((text, "0"));
    let fraction = mantissa.split_once('.').map_or(0, |(_, f)| f.len() as i32);
    let ten = ten.parse::<i32>().unwrap_or(0) - fraction;
    // A middle with so many binary digits after the point has as many decimal ones.
    if parts.exponent <= 0 && -ten < 1 - parts.exponent {
        return false;
    }
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let mut decimal: BigInt = digits.parse().unwrap_or_default();
    // In quarters of the last place, since below a power of two the neighbour is half as far.
    let below = if parts.mantissa.is_power_of_two() { -1i8 } else { -2 };
    let mut middles = [below, 2].map(|step| BigInt::from(parts.mantissa) * 4 + step);
    let two = parts.exponent - 2;
    let power = |base: u32, exponent: i32| BigInt::from(base).pow(exponent.unsigned_abs());
    if ten >= 0 {
        decimal *= power(10, ten);
    } else {
        middles.iter_mut().for_each(|q| *q *= power(10, ten));
    }
    if two >= 0 {
        middles.iter_mut().for_each(|q| *q *= power(2, two));
    } else {
        decimal *= power(2, two);
    }
    middles.contains(&decimal)
}

fn push_special(v: f64, out: &mut String) -> bool {
    if v.is_nan() {
        out.push_str("NaN");
    } else if v.is_infinite() {
        out.push_str(if v > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        return false;
    }
    true
}

/// From Rust's `d.ddde-7` to PostgreSQL's layout.
fn layout(scientific: &str, plain_below: i32, out: &mut String) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    out.push_str(sign);
    if exponent < -4 || exponent >= plain_below {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
        return;
    }
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(first);
        out.push_str(rest);
        return;
    }
    let whole = exponent as usize;
    out.push_str(first);
    if rest.len() <= whole {
        out.push_str(rest);
        out.extend(std::iter::repeat_n('0', whole - rest.len()));
    } else {
        let _ = write!(out, "{}.{}", &rest[..whole], &rest[whole..]);
    }
}

pub fn parse_f64(input: &str) -> Result<f64> {
    let text = trim(input);
    let v: f64 = text.parse().map_err(|_| DatumError::invalid_syntax("double precision", input))?;
    if lost(v.is_infinite(), v == 0.0, text) {
        return Err(out_of_range(text, "double precision"));
    }
    Ok(v)
}

pub fn parse_f32(input: &str) -> Result<f32> {
    let text = trim(input);
    let v: f32 = text.parse().map_err(|_| DatumError::invalid_syntax("real", input))?;
    if lost(v.is_infinite(), v == 0.0, text) {
        return Err(out_of_range(text, "real"));
    }
    Ok(v)
}

fn trim(input: &str) -> &str {
    input.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

/// Digits that became infinite, or that were not all zero and became zero.
fn lost(infinite: bool, zero: bool, text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    infinite && text.contains(|c: char| c.is_ascii_digit())
        || zero && mantissa.contains(|c: char| ('1'..='9').contains(&c))
}

fn out_of_range(text: &str, name: &str) -> DatumError {
    DatumError::new(
        sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("\"{text}\" is out of range for type {name}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_postgresql_prints_them() {
        for (v, want) in [
            (1e20, "1e+20"),
            (1.0, "1"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (-2.5, "-2.5"),
            (1234.5678, "1234.5678"),
            (f64::NEG_INFINITY, "-Infinity"),
            (5e-324, "5e-324"),
            // Half way to a neighbour is not near enough.
            (2.26e22, "2.2599999999999998e+22"),
        ] {
            let mut out = String::new();
            format_f64(v, 1, &mut out);
            assert_eq!(out, want);
        }
        for (v, want) in [
            (1e8f32, "1e+08"),
            (100_000.0, "100000"),
            (520_308.63, "520308.62"),
            (59_857_888.0, "5.9857888e+07"),
            (608_649_216.0, "6.086492e+08"),
            (1e6, "1e+06"),
            (0.1, "0.1"),
            (3.402_823_5e38, "3.4028235e+38"),
        ] {
            let mut out = String::new();
            format_f32(v, 1, &mut out);
            assert_eq!(out, want);
        }
        let mut out = String::new();
        format_f64(1.0 / 3.0, 0, &mut out);
        assert_eq!(out, "0.333333333333333");
    }

    #[test]
    fn what_a_float_cannot_hold_is_refused() {
        assert_eq!(
            parse_f64("1e400").unwrap_err().message,
            "\"1e400\" is out of range for type double precision"
        );
        assert_eq!(parse_f64("1e-400").unwrap_err().sqlstate, "22003");
        assert_eq!(parse_f64(" -Infinity ").unwrap(), f64::NEG_INFINITY);
        assert_eq!(
            parse_f32("x").unwrap_err().message,
            "invalid input syntax for type real: \"x\""
        );
    }
}
