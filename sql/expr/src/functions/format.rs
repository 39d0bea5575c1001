//! `format()`: printf with `%s`, `%I`, `%L`.

use super::text::{quote_literal, variadic_type};
use crate::args::text;
use crate::error::{EvalResult, ExprError, Result, check_bytes};
use crate::registry::{Invocation, Registry, Volatility};
use datum::Datum;
use datum::keywords::quote_identifier;

pub(super) fn register(r: &mut Registry) {
    r.volatility(Volatility::Stable);
    r.lenient("format(text) text", format);
    r.lenient("format(text, any...) text", format);
    r.volatility(Volatility::Immutable);
}

fn invalid(message: impl Into<String>) -> ExprError {
    ExprError::invalid_parameter(message)
}

/// `%[position$][flags][width]type`.
fn format(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    if args[0].is_null() {
        return Ok(Datum::Null);
    }
    let pattern = text(args, 0)?;
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut next = 1;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let unterminated = || {
            invalid("unterminated format() type specifier")
                .with_hint("For a single \"%\" use \"%%\".")
        };
        if chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut number = digits(&mut chars);
        let mut at = None;
        if chars.next_if_eq(&'$').is_some() {
            match number.take() {
                Some(0) => {
                    return Err(invalid(
                        "format specifies argument 0, but arguments are numbered from 1",
                    ));
                }
                position => at = position,
            }
        }
        let mut left = false;
        while number.is_none() && chars.next_if_eq(&'-').is_some() {
            left = true;
        }
        if number.is_none() {
            number = digits(&mut chars);
        }
        let mut width = number.map(|width| width as i64);
        if width.is_none() && chars.next_if_eq(&'*').is_some() {
            let position = digits(&mut chars);
            if position.is_some() && chars.next_if_eq(&'$').is_none() {
                return Err(invalid("width argument position must be ended by \"$\""));
            }
            let index = position.unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            let value = args.get(index).ok_or_else(too_few)?;
            width = Some(value.as_i64().unwrap_or(0));
        }
        if let Some(negative) = width.filter(|width| *width < 0) {
            left = true;
            width = Some(-negative);
        }
        let kind = chars.next().ok_or_else(unterminated)?;
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(invalid(format!("unrecognized format() type specifier \"{kind}\""))
                .with_hint("For a single \"%\" use \"%%\"."));
        }
        let index = at.unwrap_or(next);
        next = index + 1;
        let value = args.get(index).ok_or_else(too_few)?;
        let piece = piece(kind, value, index, call)?;
        let padding = (width.unwrap_or(0) as usize).saturating_sub(piece.chars().count());
        check_bytes(out.len() + padding + piece.len())?;
        if !left {
            out.extend(std::iter::repeat_n(' ', padding));
        }
        out.push_str(&piece);
        if left {
            out.extend(std::iter::repeat_n(' ', padding));
        }
    }
    Ok(out.into())
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut value: Option<usize> = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        value =
            Some(value.unwrap_or(0).saturating_mul(10).saturating_add(digit as usize).min(1 << 24));
    }
    value
}

fn too_few() -> ExprError {
    invalid("too few arguments for format()")
}

fn piece(kind: char, value: &Datum, index: usize, call: &Invocation<'_>) -> Result<String> {
    if value.is_null() {
        return match kind {
            's' => Ok(String::new()),
            'L' => Ok("NULL".to_owned()),
            _ => {
                Err(ExprError::new("22004", "null values cannot be formatted as an SQL identifier"))
            }
        };
    }
    let text = crate::cast::output_text(value, variadic_type(call, index), call.ctx);
    Ok(match kind {
        'I' => quote_identifier(&text).into_owned(),
        'L' => quote_literal(&text)?,
        _ => text,
    })
}
