//! Aggregates as accumulators: one state per group, fed row by row. DISTINCT, FILTER and ORDER BY are the executor's:
//! it feeds the rows that count, in the order that was asked for.

mod collect;
mod logic;
mod ordered_set;
mod statistics;
mod sum;

use crate::context::EvalContext;
use crate::error::{EvalResult, ExprError, Result};
use crate::registry::{BoundFunction, Registry};
use datum::Datum;
use std::any::Any;

/// The state of one aggregate for one group.
pub trait Accumulator: Send + Sync + Any {
    /// One row's arguments; nulls included: the aggregate itself skips those it does not count.
    fn update(&mut self, args: &[Datum], ctx: &EvalContext<'_>) -> Result<()>;

    /// Takes a row back that was fed before, for moving window frames. False: cannot; start over.
    fn retract(&mut self, _args: &[Datum], _ctx: &EvalContext<'_>) -> Result<bool> {
        Ok(false)
    }

    /// Adds the rows that another state of the same aggregate has seen, as if they came after its own.
    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()>;

    /// The result; the state may go on being fed afterwards.
    fn finish(&self, ctx: &EvalContext<'_>) -> EvalResult;

    /// For memory accounting.
    fn size_bytes(&self) -> usize {
        64
    }
}

/// The other state of a merge, which has the same type by contract.
fn same<T: Accumulator>(other: Box<dyn Accumulator>) -> Result<Box<T>> {
    let any: Box<dyn Any> = other;
    any.downcast::<T>().map_err(|_| ExprError::internal("merging different aggregates"))
}

fn first(args: &[Datum]) -> &Datum {
    static NULL: Datum = Datum::Null;
    args.first().unwrap_or(&NULL)
}

pub(crate) fn register(r: &mut Registry) {
    sum::register(r);
    logic::register(r);
    collect::register(r);
    statistics::register(r);
    ordered_set::register(r);
}

type New = fn(&BoundFunction) -> Box<dyn Accumulator>;
