//! Everything an evaluation may depend on besides the row. Made once per statement execution (or batch): cheap.

use crate::error::{EvalResult, ExprError};
use crate::session_facts::SessionFacts;
use datum::{Datum, TypeContext};
use std::sync::Arc;

/// Borrowed, so that the row path allocates nothing for it. `Sync`: DataFusion evaluates on many threads.
#[derive(Clone, Copy)]
pub struct EvalContext<'a> {
    /// Time zone, date style and so on; its `now` is the transaction's start (`now()`).
    pub types: &'a TypeContext,
    /// Values of `$1`, `$2`, … of the types that the plan was bound with.
    pub params: &'a [Datum],
    /// Rows of enclosing queries, innermost first: `OuterColumn { depth: 0, .. }` reads `outer[0]`.
    pub outer: &'a [&'a [Datum]],
    /// Values of uncorrelated scalar subqueries, by `Expr::Subquery`'s index, computed before.
    pub subqueries: &'a [Datum],
    /// Microseconds since 1970 UTC.
    pub statement_timestamp: i64,
    pub facts: &'a dyn SessionFacts,
}

impl<'a> EvalContext<'a> {
    pub fn new(types: &'a TypeContext, facts: &'a dyn SessionFacts) -> Self {
        Self {
            types,
            params: &[],
            outer: &[],
            subqueries: &[],
            statement_timestamp: types.now,
            facts,
        }
    }

    pub fn with_params(mut self, params: &'a [Datum]) -> Self {
        self.params = params;
        self
    }

    pub fn with_outer(mut self, outer: &'a [&'a [Datum]]) -> Self {
        self.outer = outer;
        self
    }

    pub fn with_subqueries(mut self, subqueries: &'a [Datum]) -> Self {
        self.subqueries = subqueries;
        self
    }

    pub fn with_statement_timestamp(mut self, microseconds: i64) -> Self {
        self.statement_timestamp = microseconds;
        self
    }

    pub(crate) fn param(&self, index: usize) -> EvalResult {
        self.params
            .get(index)
            .cloned()
            .ok_or_else(|| ExprError::new("42P02", format!("there is no parameter ${}", index + 1)))
    }

    pub(crate) fn transaction_timestamp(&self) -> i64 {
        self.types.now
    }
}

/// The same, owned: what a DataFusion function holds. `borrow` it per batch.
#[derive(Clone)]
pub struct OwnedContext {
    pub types: Arc<TypeContext>,
    pub params: Arc<[Datum]>,
    pub subqueries: Arc<[Datum]>,
    pub statement_timestamp: i64,
    pub facts: Arc<dyn SessionFacts>,
}

impl OwnedContext {
    pub fn borrow(&self) -> EvalContext<'_> {
        EvalContext {
            types: &self.types,
            params: &self.params,
            outer: &[],
            subqueries: &self.subqueries,
            statement_timestamp: self.statement_timestamp,
            facts: &*self.facts,
        }
    }
}
