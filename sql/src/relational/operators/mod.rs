//! Nodes that DataFusion has not, or not with PostgreSQL's meaning: rows in, rows out.
//!
//! ```text
//! apply.rs      correlated subqueries and LATERAL    sets.rs       INTERSECT, EXCEPT, DISTINCT ON, ties
//! functions.rs  set-returning functions              recursion.rs  WITH RECURSIVE
//! window.rs     window functions and frames          locks.rs      FOR UPDATE
//! ```
//!
//! What they do not do: stream, or spill to disk. Their inputs are in memory whole.

mod apply;
mod functions;
mod locks;
mod recursion;
mod sets;
mod window;

pub use apply::apply;
pub use functions::{project_set, table_function};
pub use locks::lock_rows;
pub use recursion::recurse;
pub use sets::{distinct_on, intersect_or_except, limit_with_ties, sample};
pub use window::window;

use crate::error::SqlResult;
use crate::relational::QueryContext;
use datum::{Datum, SqlType};
use expr::Expr;
use planner::plan::SortKey;
use std::cmp::Ordering;

/// The values of expressions over a row.
pub fn values<'a>(
    exprs: impl IntoIterator<Item = &'a Expr>,
    row: &[Datum],
    context: &QueryContext,
) -> SqlResult<Vec<Datum>> {
    let eval = context.eval.borrow();
    exprs.into_iter().map(|expr| Ok(expr.eval(row, &eval)?)).collect()
}

/// PostgreSQL's order of two rows of sort-key values.
fn compare_keys(keys: &[SortKey], a: &[Datum], b: &[Datum]) -> Ordering {
    for (key, (a, b)) in keys.iter().zip(a.iter().zip(b)) {
        let order = match (a.is_null(), b.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) if key.nulls_first => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if key.nulls_first => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let order = datum::compare_as(key.expr.sql_type(), a, b);
                if key.descending { order.reverse() } else { order }
            }
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Bytes under which rows are equal exactly if PostgreSQL finds them not distinct: NULL equals NULL.
fn identity_key(values: &[Datum], types: &[SqlType]) -> SqlResult<Vec<u8>> {
    let mut key = Vec::new();
    for (value, ty) in values.iter().zip(types) {
        super::batch::sort_key(value, ty, &mut key)?;
    }
    Ok(key)
}
