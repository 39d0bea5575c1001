//! Arguments of kernels, taken out of their datums. Resolution has made the types right; a wrong one is a bug of ours
//! and says so.

use crate::error::{ExprError, Result};
use datum::{ArrayValue, Datum, Interval, Jsonb, Numeric, SqlType};
use std::sync::Arc;

pub(crate) fn mismatch<T>(args: &[Datum]) -> Result<T> {
    let types: Vec<String> = args.iter().map(|arg| arg.natural_type().name()).collect();
    Err(ExprError::internal(format!("a kernel was called with ({})", types.join(", "))))
}

macro_rules! take {
    ($($name:ident: $ty:ty = $variant:ident),* $(,)?) => {
        $(pub(crate) fn $name(args: &[Datum], index: usize) -> Result<$ty> {
            match args.get(index) {
                Some(Datum::$variant(value)) => Ok(*value),
                _ => mismatch(args),
            }
        })*
    };
}

take! {
    boolean: bool = Bool, int4: i32 = Int4, int8: i64 = Int8, float8: f64 = Float8,
    date: i32 = Date, time: i64 = Time, timestamp: i64 = Timestamp, timestamptz: i64 = Timestamptz,
    interval: Interval = Interval, oid: u32 = Oid,
}

pub(crate) fn text(args: &[Datum], index: usize) -> Result<&str> {
    match args.get(index) {
        Some(Datum::Text(value) | Datum::Json(value)) => Ok(value),
        _ => mismatch(args),
    }
}

pub(crate) fn bytes(args: &[Datum], index: usize) -> Result<&[u8]> {
    match args.get(index) {
        Some(Datum::Bytea(value)) => Ok(value),
        _ => mismatch(args),
    }
}

pub(crate) fn numeric(args: &[Datum], index: usize) -> Result<&Numeric> {
    match args.get(index) {
        Some(Datum::Numeric(value)) => Ok(value),
        _ => mismatch(args),
    }
}

pub(crate) fn jsonb(args: &[Datum], index: usize) -> Result<&Arc<Jsonb>> {
    match args.get(index) {
        Some(Datum::Jsonb(value)) => Ok(value),
        _ => mismatch(args),
    }
}

pub(crate) fn array(args: &[Datum], index: usize) -> Result<&Arc<ArrayValue>> {
    match args.get(index) {
        Some(Datum::Array(value)) => Ok(value),
        _ => mismatch(args),
    }
}

/// An optional argument, where present.
pub(crate) fn int4_or(args: &[Datum], index: usize, default: i32) -> Result<i32> {
    if args.len() > index { int4(args, index) } else { Ok(default) }
}

pub(crate) fn text_or<'a>(args: &'a [Datum], index: usize, default: &'a str) -> Result<&'a str> {
    if args.len() > index { text(args, index) } else { Ok(default) }
}

pub(crate) fn texts(items: impl IntoIterator<Item = impl Into<Datum>>) -> Datum {
    Datum::array(SqlType::Text, items.into_iter().map(Into::into).collect())
}
