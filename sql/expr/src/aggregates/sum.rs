//! count, sum, avg.

use super::{Accumulator, first, same};
use crate::context::EvalContext;
use crate::error::{EvalResult, ExprError, Result};
use crate::registry::{FunctionKind, Registry};
use datum::numeric::NumericSum;
use datum::{Datum, Interval, Numeric};

pub(super) fn register(r: &mut Registry) {
    unordered(r.aggregate("count() int8", |_| Box::new(CountRows::default())));
    unordered(r.aggregate("count(any) int8", |_| Box::new(CountValues::default())));
    for signature in ["sum(int2) int8", "sum(int4) int8"] {
        unordered(r.aggregate(signature, |_| {
            Box::new(Integers { average: false, ..Integers::default() })
        }));
    }
    unordered(r.aggregate("sum(int8) numeric", |_| {
        Box::new(Integers { wide: true, ..Integers::default() })
    }));
    unordered(r.aggregate("sum(numeric) numeric", |_| Box::new(Numerics::default())));
    for signature in ["avg(int2) numeric", "avg(int4) numeric", "avg(int8) numeric"] {
        unordered(
            r.aggregate(signature, |_| Box::new(Integers { average: true, ..Integers::default() })),
        );
    }
    unordered(r.aggregate("avg(numeric) numeric", |_| {
        Box::new(Numerics { average: true, ..Numerics::default() })
    }));
    r.aggregate("sum(float8) float8", |_| Box::new(Floats::default()));
    r.aggregate("sum(float4) float4", |_| Box::new(Floats { single: true, ..Floats::default() }));
    for signature in ["avg(float8) float8", "avg(float4) float8"] {
        r.aggregate(signature, |_| Box::new(Floats { average: true, ..Floats::default() }));
    }
    unordered(r.aggregate("sum(interval) interval", |_| Box::new(Intervals::default())));
    unordered(r.aggregate("avg(interval) interval", |_| {
        Box::new(Intervals { average: true, ..Intervals::default() })
    }));
}

pub(super) fn unordered(def: &mut crate::registry::FunctionDef) {
    if let FunctionKind::Aggregate(aggregate) = &mut def.kind {
        aggregate.order_insensitive = true;
    }
}

#[derive(Default)]
struct CountRows(i64);

impl Accumulator for CountRows {
    fn update(&mut self, _: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        self.0 += 1;
        Ok(())
    }

    fn retract(&mut self, _: &[Datum], _: &EvalContext<'_>) -> Result<bool> {
        self.0 -= 1;
        Ok(true)
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        self.0 += same::<Self>(other)?.0;
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        Ok(Datum::Int8(self.0))
    }
}

#[derive(Default)]
struct CountValues(i64);

impl Accumulator for CountValues {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        self.0 += i64::from(!first(args).is_null());
        Ok(())
    }

    fn retract(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<bool> {
        self.0 -= i64::from(!first(args).is_null());
        Ok(true)
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        self.0 += same::<Self>(other)?.0;
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        Ok(Datum::Int8(self.0))
    }
}

/// Integers of any width; 128 bits hold 2^64 values of 64 bits.
#[derive(Default)]
struct Integers {
    total: i128,
    count: i64,
    /// The sum is a numeric (int8) rather than an int8 (int2, int4).
    wide: bool,
    average: bool,
}

impl Accumulator for Integers {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        if let Some(value) = first(args).as_i64() {
            self.total += i128::from(value);
            self.count += 1;
        }
        Ok(())
    }

    fn retract(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<bool> {
        if let Some(value) = first(args).as_i64() {
            self.total -= i128::from(value);
            self.count -= 1;
        }
        Ok(true)
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        self.total += other.total;
        self.count += other.count;
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        if self.count == 0 {
            return Ok(Datum::Null);
        }
        let total = || Numeric::new(self.total, 0);
        if self.average {
            return Ok(Datum::Numeric(total().div(&Numeric::from(self.count))?));
        }
        if self.wide {
            return Ok(Datum::Numeric(total()));
        }
        i64::try_from(self.total).map(Datum::Int8).map_err(|_| ExprError::out_of_range("bigint"))
    }
}

#[derive(Default)]
struct Numerics {
    sum: NumericSum,
    average: bool,
}

impl Accumulator for Numerics {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        if let Datum::Numeric(value) = first(args) {
            self.sum.add(value);
        }
        Ok(())
    }

    /// Only values of one display scale could be taken out without changing how the sum prints: start over.
    fn retract(&mut self, _: &[Datum], _: &EvalContext<'_>) -> Result<bool> {
        Ok(false)
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        self.sum.merge(&other.sum);
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        if self.sum.count() == 0 {
            return Ok(Datum::Null);
        }
        if self.average {
            return Ok(self.sum.average().transpose()?.into());
        }
        Ok(Datum::Numeric(self.sum.total()))
    }

    fn size_bytes(&self) -> usize {
        128
    }
}

#[derive(Default)]
struct Floats {
    total: f64,
    count: i64,
    single: bool,
    average: bool,
}

impl Accumulator for Floats {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        if let Some(value) = first(args).as_f64() {
            let next = self.total + value;
            if next.is_infinite() && self.total.is_finite() && value.is_finite() {
                return Err(ExprError::new("22003", "value out of range: overflow"));
            }
            self.total = if self.single { f64::from(next as f32) } else { next };
            self.count += 1;
        }
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        self.total += other.total;
        self.count += other.count;
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        Ok(match (self.count, self.average, self.single) {
            (0, _, _) => Datum::Null,
            (count, true, _) => Datum::Float8(self.total / count as f64),
            (_, false, true) => {
                let total = self.total as f32;
                if total.is_infinite() && self.total.is_finite() {
                    return Err(ExprError::new("22003", "value out of range: overflow"));
                }
                Datum::Float4(total)
            }
            (_, false, false) => Datum::Float8(self.total),
        })
    }
}

#[derive(Default)]
struct Intervals {
    total: Interval,
    count: i64,
    average: bool,
}

impl Accumulator for Intervals {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        if let Datum::Interval(value) = first(args) {
            self.total = self.total.checked_add(*value)?;
            self.count += 1;
        }
        Ok(())
    }

    fn retract(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<bool> {
        if let Datum::Interval(value) = first(args) {
            self.total = self.total.checked_sub(*value)?;
            self.count -= 1;
        }
        Ok(true)
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        self.total = self.total.checked_add(other.total)?;
        self.count += other.count;
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        Ok(match self.count {
            0 => Datum::Null,
            count if self.average => Datum::Interval(self.total.checked_div(count as f64)?),
            _ => Datum::Interval(self.total),
        })
    }
}
