//! min, max, bool_and, bool_or, bit_and, bit_or, bit_xor: aggregates that keep one value.

use super::sum::unordered;
use super::{Accumulator, New, first, same};
use crate::context::EvalContext;
use crate::error::{EvalResult, Result};
use crate::registry::Registry;
use datum::{Datum, SqlType};

pub(super) fn register(r: &mut Registry) {
    for (signature, new) in EXTREMES {
        unordered(r.aggregate(signature, *new));
    }
    for signature in ["bool_and(bool) bool", "every(bool) bool"] {
        unordered(r.aggregate(signature, |_| fold(|a, b| bools(a, b, |a, b| a && b))));
    }
    unordered(r.aggregate("bool_or(bool) bool", |_| fold(|a, b| bools(a, b, |a, b| a || b))));
    for signature in ["bit_and(int2) int2", "bit_and(int4) int4", "bit_and(int8) int8"] {
        unordered(r.aggregate(signature, |_| fold(|a, b| bits(a, b, |a, b| a & b))));
    }
    for signature in ["bit_or(int2) int2", "bit_or(int4) int4", "bit_or(int8) int8"] {
        unordered(r.aggregate(signature, |_| fold(|a, b| bits(a, b, |a, b| a | b))));
    }
    for signature in ["bit_xor(int2) int2", "bit_xor(int4) int4", "bit_xor(int8) int8"] {
        unordered(r.aggregate(signature, |_| fold(|a, b| bits(a, b, |a, b| a ^ b))));
    }
    r.aggregate("any_value(anyelement) anyelement", |_| fold(|kept, _| kept.clone()));
}

const MIN: New = |bound| {
    let ty = bound.arg_types.first().map_or(SqlType::Text, |ty| ty.ty.clone());
    Box::new(Extreme { best: Datum::Null, ty, greatest: false })
};
const MAX: New = |bound| {
    let ty = bound.arg_types.first().map_or(SqlType::Text, |ty| ty.ty.clone());
    Box::new(Extreme { best: Datum::Null, ty, greatest: true })
};

/// As PostgreSQL has them: no bool, uuid, jsonb or bytea in version 15.
const EXTREMES: &[(&str, New)] = &[
    ("min(int2) int2", MIN),
    ("min(int4) int4", MIN),
    ("min(int8) int8", MIN),
    ("min(float4) float4", MIN),
    ("min(float8) float8", MIN),
    ("min(numeric) numeric", MIN),
    ("min(text) text", MIN),
    ("min(bpchar) bpchar", MIN),
    ("min(date) date", MIN),
    ("min(time) time", MIN),
    ("min(timetz) timetz", MIN),
    ("min(timestamp) timestamp", MIN),
    ("min(timestamptz) timestamptz", MIN),
    ("min(interval) interval", MIN),
    ("min(oid) oid", MIN),
    ("min(anyarray) anyarray", MIN),
    ("max(int2) int2", MAX),
    ("max(int4) int4", MAX),
    ("max(int8) int8", MAX),
    ("max(float4) float4", MAX),
    ("max(float8) float8", MAX),
    ("max(numeric) numeric", MAX),
    ("max(text) text", MAX),
    ("max(bpchar) bpchar", MAX),
    ("max(date) date", MAX),
    ("max(time) time", MAX),
    ("max(timetz) timetz", MAX),
    ("max(timestamp) timestamp", MAX),
    ("max(timestamptz) timestamptz", MAX),
    ("max(interval) interval", MAX),
    ("max(oid) oid", MAX),
    ("max(anyarray) anyarray", MAX),
];

struct Extreme {
    best: Datum,
    ty: SqlType,
    greatest: bool,
}

impl Accumulator for Extreme {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        let value = first(args);
        if value.is_null() {
            return Ok(());
        }
        let better = self.best.is_null() || {
            let order = datum::compare_as(&self.ty, value, &self.best);
            if self.greatest { order.is_gt() } else { order.is_lt() }
        };
        if better {
            self.best = value.clone();
        }
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        let better = !other.best.is_null()
            && (self.best.is_null() || {
                let order = datum::compare_as(&self.ty, &other.best, &self.best);
                if self.greatest { order.is_gt() } else { order.is_lt() }
            });
        if better {
            self.best = other.best;
        }
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        Ok(self.best.clone())
    }

    fn size_bytes(&self) -> usize {
        64 + self.best.size_bytes()
    }
}

/// Combines values two by two, nulls left out.
struct Fold {
    kept: Datum,
    combine: fn(&Datum, &Datum) -> Datum,
}

fn fold(combine: fn(&Datum, &Datum) -> Datum) -> Box<dyn Accumulator> {
    Box::new(Fold { kept: Datum::Null, combine })
}

impl Fold {
    fn add(&mut self, value: &Datum) {
        if value.is_null() {
            return;
        }
        self.kept =
            if self.kept.is_null() { value.clone() } else { (self.combine)(&self.kept, value) };
    }
}

impl Accumulator for Fold {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        self.add(first(args));
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        self.add(&other.kept);
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        Ok(self.kept.clone())
    }
}

fn bools(a: &Datum, b: &Datum, combine: fn(bool, bool) -> bool) -> Datum {
    match (a, b) {
        (Datum::Bool(a), Datum::Bool(b)) => Datum::Bool(combine(*a, *b)),
        _ => Datum::Null,
    }
}

fn bits(a: &Datum, b: &Datum, combine: fn(i64, i64) -> i64) -> Datum {
    match (a, b) {
        (Datum::Int2(a), Datum::Int2(b)) => {
            Datum::Int2(combine(i64::from(*a), i64::from(*b)) as i16)
        }
        (Datum::Int4(a), Datum::Int4(b)) => {
            Datum::Int4(combine(i64::from(*a), i64::from(*b)) as i32)
        }
        (Datum::Int8(a), Datum::Int8(b)) => Datum::Int8(combine(*a, *b)),
        _ => Datum::Null,
    }
}
