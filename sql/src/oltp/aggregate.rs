//! Ungrouped aggregation over a short range: `SELECT count(*), max(x) FROM t WHERE ...`.

use super::access::Cursor;
use super::{compare_keys, filter, passes};
use crate::context::ExecContext;
use crate::error::SqlResult;
use crate::outcome::Row;
use crate::table_code::TableCode;
use datum::{Datum, hash_as};
use expr::{Accumulator, EvalContext};
use planner::{AggregateCall, OltpPlan};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::Arc;

/// The aggregates' results as one row; `None` if HAVING refuses it.
pub(super) async fn run(
    plan: &OltpPlan,
    _code: &Arc<TableCode>,
    cursor: &mut Cursor,
    ctx: &ExecContext,
) -> SqlResult<Option<Row>> {
    let eval = ctx.eval();
    let mut states = states(plan)?;
    while let Some(page) = cursor.next(ctx, &plan.columns, usize::MAX).await? {
        ctx.check_cancel()?;
        for found in filter(page, plan.filter.as_ref(), &eval)? {
            for state in &mut states {
                state.feed(&found.row, &eval)?;
            }
        }
    }
    finish(plan, states, &eval)
}

/// The same over rows that are there.
pub(super) fn of_rows(
    plan: &OltpPlan,
    rows: Vec<Row>,
    ctx: &ExecContext,
) -> SqlResult<Option<Row>> {
    let eval = ctx.eval();
    let mut states = states(plan)?;
    for row in &rows {
        for state in &mut states {
            state.feed(row, &eval)?;
        }
    }
    finish(plan, states, &eval)
}

fn states(plan: &OltpPlan) -> SqlResult<Vec<State<'_>>> {
    plan.aggregates.iter().map(State::new).collect()
}

fn finish(
    plan: &OltpPlan,
    states: Vec<State<'_>>,
    eval: &EvalContext<'_>,
) -> SqlResult<Option<Row>> {
    let row = states.into_iter().map(|state| state.finish(eval)).collect::<SqlResult<Row>>()?;
    Ok(passes(plan.having.as_ref(), &row, eval)?.then_some(row))
}

struct State<'a> {
    call: &'a AggregateCall,
    accumulator: Box<dyn Accumulator>,
    /// DISTINCT: arguments seen, by hash.
    seen: HashMap<u64, Vec<Vec<Datum>>>,
    /// ORDER BY: arguments kept until the end, with their sort keys.
    kept: Vec<(Vec<Datum>, Vec<Datum>)>,
}

impl<'a> State<'a> {
    fn new(call: &'a AggregateCall) -> SqlResult<Self> {
        let accumulator = call.function.accumulator()?;
        Ok(Self { call, accumulator, seen: HashMap::new(), kept: Vec::new() })
    }

    fn feed(&mut self, row: &[Datum], eval: &EvalContext<'_>) -> SqlResult<()> {
        if !passes(self.call.filter.as_ref(), row, eval)? {
            return Ok(());
        }
        let mut args = Vec::with_capacity(self.call.args.len());
        for arg in &self.call.args {
            args.push(arg.eval(row, eval)?);
        }
        if self.call.distinct && !self.is_new(&args) {
            return Ok(());
        }
        if self.call.order.is_empty() {
            self.accumulator.update(&args, eval)?;
        } else {
            let mut keys = Vec::with_capacity(self.call.order.len());
            for key in &self.call.order {
                keys.push(key.expr.eval(row, eval)?);
            }
            self.kept.push((keys, args));
        }
        Ok(())
    }

    fn is_new(&mut self, args: &[Datum]) -> bool {
        let types = || self.call.args.iter().map(|arg| arg.sql_type());
        let mut hasher = DefaultHasher::new();
        for (ty, arg) in types().zip(args) {
            hasher.write_u8(u8::from(arg.is_null()));
            if !arg.is_null() {
                hash_as(ty, arg, &mut hasher);
            }
        }
        let same = |a: &[Datum], b: &[Datum]| {
            types().zip(a.iter().zip(b)).all(|(ty, (a, b))| match (a.is_null(), b.is_null()) {
                (true, true) => true,
                (false, false) => datum::eq_as(ty, a, b),
                (true, false) | (false, true) => false,
            })
        };
        let hash = hasher.finish();
        if self.seen.get(&hash).is_some_and(|list| list.iter().any(|seen| same(seen, args))) {
            return false;
        }
        self.seen.entry(hash).or_default().push(args.to_vec());
        true
    }

    fn finish(mut self, eval: &EvalContext<'_>) -> SqlResult<Datum> {
        let order = &self.call.order;
        self.kept.sort_by(|(a, _), (b, _)| compare_keys(order, a, b));
        for (_, args) in &self.kept {
            self.accumulator.update(args, eval)?;
        }
        Ok(self.accumulator.finish(eval)?)
    }
}
