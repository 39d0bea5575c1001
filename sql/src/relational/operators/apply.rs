//! Subqueries that refer to the row outside: the right side runs once per distinct set of outer
//! values that it reads, with these put in as constants.

use super::identity_key;
use crate::error::{SqlError, SqlResult};
use crate::outcome::Row;
use crate::relational::lower::Lowering;
use datum::{Datum, SqlType};
use expr::Expr;
use planner::plan::{
    AggregateCall, ApplyKind, FrameBound, ProjectItem, Rel, RelNode, SortKey, TableFunctionSource,
    WindowFunction,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The depth by which the right side of an Apply names its own left row.
const NEAREST: usize = 0;

pub async fn apply(
    lowering: &mut Lowering,
    kind: &ApplyKind,
    left: &Rel,
    right: &Rel,
) -> SqlResult<Vec<Row>> {
    let outer = lowering.rows(left).await?;
    let reads = outer_reads(right);
    let types: Vec<SqlType> = reads.iter().map(|&index| left.fields[index].ty.ty.clone()).collect();
    // A volatile right side must run for each row.
    let mut memo: HashMap<Vec<u8>, Arc<Vec<Row>>> = HashMap::new();
    let memoise = reads.is_empty() || !is_volatile(right);
    let mut out = Vec::new();
    for row in outer {
        lowering.context.exec.check_cancel()?;
        let values: Vec<Datum> = reads.iter().map(|&index| row[index].clone()).collect();
        // A type without an order (json) has no key: such rows are not remembered.
        let key = if memoise { identity_key(&values, &types).ok() } else { None };
        let inner = match key.as_ref().and_then(|key| memo.get(key)) {
            Some(rows) => rows.clone(),
            None => {
                let rows = if reads.is_empty() {
                    lowering.rows(right).await?
                } else {
                    let mut bound = right.clone();
                    bind(&mut bound, &row, NEAREST);
                    lowering.rows(&bound).await?
                };
                let rows = Arc::new(rows);
                if let Some(key) = key {
                    memo.insert(key, rows.clone());
                }
                rows
            }
        };
        let before = out.len();
        combine(kind, row, &inner, right, lowering, &mut out)?;
        lowering.kept.rows(&out[before..])?;
    }
    Ok(out)
}

/// What one left row and the right side's rows give.
fn combine(
    kind: &ApplyKind,
    mut row: Row,
    inner: &[Row],
    right: &Rel,
    lowering: &Lowering,
    out: &mut Vec<Row>,
) -> SqlResult<()> {
    let width = right.fields.len();
    let at_most_one = || {
        if inner.len() > 1 {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(SqlError::new("21000", message));
        }
        Ok(())
    };
    match kind {
        ApplyKind::Scalar | ApplyKind::ScalarRow => {
            at_most_one()?;
            match inner.first() {
                Some(values) => row.extend(values.iter().cloned()),
                None => row.extend(std::iter::repeat_n(Datum::Null, width)),
            }
            out.push(row);
        }
        ApplyKind::Exists => {
            row.push(Datum::Bool(!inner.is_empty()));
            out.push(row);
        }
        ApplyKind::Array => {
            let items = inner.iter().map(|values| values[0].clone()).collect();
            row.push(Datum::array(right.fields[0].ty.ty.clone(), items));
            out.push(row);
        }
        ApplyKind::Any { test } | ApplyKind::All { test } => {
            let any = matches!(kind, ApplyKind::Any { .. });
            let verdict = quantified(test, &row, inner, any, lowering)?;
            row.push(verdict);
            out.push(row);
        }
        ApplyKind::Lateral => {
            for values in inner {
                out.push(row.iter().chain(values).cloned().collect());
            }
        }
        ApplyKind::LateralLeft { on } => {
            let mut matched = false;
            for values in inner {
                let joined: Row = row.iter().chain(values).cloned().collect();
                let holds = match on {
                    None => true,
                    Some(on) => {
                        on.eval(&joined, &lowering.context.eval.borrow())?.as_bool() == Some(true)
                    }
                };
                if holds {
                    matched = true;
                    out.push(joined);
                }
            }
            if !matched {
                row.extend(std::iter::repeat_n(Datum::Null, width));
                out.push(row);
            }
        }
    }
    Ok(())
}

/// ANY is true if one test is, ALL is false if one is; else NULL if one was NULL.
fn quantified(
    test: &Expr,
    row: &Row,
    inner: &[Row],
    any: bool,
    lowering: &Lowering,
) -> SqlResult<Datum> {
    let eval = lowering.context.eval.borrow();
    let mut unknown = false;
    for values in inner {
        let joined: Row = row.iter().chain(values).cloned().collect();
        match test.eval(&joined, &eval)?.as_bool() {
            Some(verdict) if verdict == any => return Ok(Datum::Bool(any)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(!any) })
}

/// Columns of the left row that the right side reads, ascending.
fn outer_reads(right: &Rel) -> Vec<usize> {
    let mut reads = Vec::new();
    let mut copy = right.clone();
    walk(&mut copy, NEAREST, &mut |expr, nearest| {
        expr.transform(&mut |node| {
            if let Expr::OuterColumn { depth, index, .. } = node
                && *depth == nearest
            {
                reads.push(*index);
            }
        });
    });
    reads.sort_unstable();
    reads.dedup();
    reads
}

fn is_volatile(right: &Rel) -> bool {
    let mut volatile = false;
    walk(&mut right.clone(), NEAREST, &mut |expr, _| volatile |= expr.is_volatile());
    volatile
}

/// Puts the left row's values in place of the columns that name it.
fn bind(right: &mut Rel, row: &[Datum], nearest: usize) {
    walk(right, nearest, &mut |expr, nearest| {
        expr.transform(&mut |node| {
            if let Expr::OuterColumn { depth, index, ty } = node
                && *depth == nearest
            {
                *node = Expr::Const(row[*index].clone(), ty.clone());
            }
        });
    });
}

/// Visits every expression of a tree, with the depth by which it names the row outside the tree:
/// one more inside each further Apply's right side.
fn walk(rel: &mut Rel, nearest: usize, visit: &mut dyn FnMut(&mut Expr, usize)) {
    let keys = |keys: &mut Vec<SortKey>, visit: &mut dyn FnMut(&mut Expr, usize)| {
        keys.iter_mut().for_each(|key| visit(&mut key.expr, nearest));
    };
    let aggregate = |call: &mut AggregateCall, visit: &mut dyn FnMut(&mut Expr, usize)| {
        call.args.iter_mut().for_each(|arg| visit(arg, nearest));
        call.order.iter_mut().for_each(|key| visit(&mut key.expr, nearest));
        call.filter.iter_mut().for_each(|filter| visit(filter, nearest));
    };
    match &mut rel.node {
        RelNode::Scan { sample, .. } => {
            if let Some(sample) = sample {
                visit(&mut sample.percent, nearest);
                sample.seed.iter_mut().for_each(|seed| visit(seed, nearest));
            }
        }
        RelNode::VirtualScan { .. } | RelNode::CteRef { .. } => {}
        RelNode::Values { rows } => {
            rows.iter_mut().flatten().for_each(|expr| visit(expr, nearest));
        }
        RelNode::Filter { input, predicate } => {
            walk(input, nearest, visit);
            visit(predicate, nearest);
        }
        RelNode::Project { input, exprs } => {
            walk(input, nearest, visit);
            exprs.iter_mut().for_each(|expr| visit(expr, nearest));
        }
        RelNode::ProjectSet { input, items } => {
            walk(input, nearest, visit);
            for item in items {
                match item {
                    ProjectItem::Scalar(expr) => visit(expr, nearest),
                    ProjectItem::Set(set) => {
                        set.args.iter_mut().for_each(|arg| visit(arg, nearest));
                    }
                }
            }
        }
        RelNode::TableFunction { functions, .. } => {
            for function in functions {
                match &mut function.source {
                    TableFunctionSource::Scalar(expr) => visit(expr, nearest),
                    TableFunctionSource::Set(set) => {
                        set.args.iter_mut().for_each(|arg| visit(arg, nearest));
                    }
                }
            }
        }
        RelNode::Join { left, right, on, filter, .. } => {
            walk(left, nearest, visit);
            walk(right, nearest, visit);
            for (left, right) in on {
                visit(left, nearest);
                visit(right, nearest);
            }
            filter.iter_mut().for_each(|filter| visit(filter, nearest));
        }
        RelNode::Aggregate { input, groups, calls, .. } => {
            walk(input, nearest, visit);
            groups.iter_mut().for_each(|group| visit(group, nearest));
            calls.iter_mut().for_each(|call| aggregate(call, visit));
        }
        RelNode::Window { input, calls } => {
            walk(input, nearest, visit);
            for call in calls {
                match &mut call.function {
                    WindowFunction::Window { args, .. } => {
                        args.iter_mut().for_each(|arg| visit(arg, nearest));
                    }
                    WindowFunction::Aggregate(call) => aggregate(call, visit),
                }
                call.partition.iter_mut().for_each(|expr| visit(expr, nearest));
                keys(&mut call.order, visit);
                for bound in [&mut call.frame.start, &mut call.frame.end] {
                    if let FrameBound::Preceding(expr) | FrameBound::Following(expr) = bound {
                        visit(expr, nearest);
                    }
                }
            }
        }
        RelNode::Sort { input, keys: order } => {
            walk(input, nearest, visit);
            keys(order, visit);
        }
        RelNode::Limit { input, limit, offset, ties } => {
            walk(input, nearest, visit);
            limit.iter_mut().chain(offset).for_each(|expr| visit(expr, nearest));
            ties.iter_mut().for_each(|ties| keys(ties, visit));
        }
        RelNode::Distinct { input } | RelNode::LockRows { input, .. } => {
            walk(input, nearest, visit);
        }
        RelNode::DistinctOn { input, keys } => {
            walk(input, nearest, visit);
            keys.iter_mut().for_each(|key| visit(key, nearest));
        }
        RelNode::SetOp { left, right, .. } => {
            walk(left, nearest, visit);
            walk(right, nearest, visit);
        }
        RelNode::With { ctes, body } => {
            ctes.iter_mut().for_each(|cte| walk(&mut cte.rel, nearest, visit));
            walk(body, nearest, visit);
        }
        RelNode::RecursiveUnion { base, step, .. } => {
            walk(base, nearest, visit);
            walk(step, nearest, visit);
        }
        RelNode::Apply { kind, left, right } => {
            walk(left, nearest, visit);
            walk(right, nearest + 1, visit);
            match kind {
                ApplyKind::Any { test } | ApplyKind::All { test } => visit(test, nearest),
                ApplyKind::LateralLeft { on } => on.iter_mut().for_each(|on| visit(on, nearest)),
                ApplyKind::Scalar
                | ApplyKind::ScalarRow
                | ApplyKind::Exists
                | ApplyKind::Array
                | ApplyKind::Lateral => {}
            }
        }
    }
}
