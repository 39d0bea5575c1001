//! Relational trees that one table's keys answer.
//!
//! The shape recognised, each part but the first and last optional, from the top:
//! `Project (strip)`, `Limit`, `LockRows`, `Sort`, `Project`, `Aggregate`, `Filter`, `Scan | Values`.

use super::path::choose;
use crate::plan::{Access, AggregateCall, KeyRange, OltpPlan, Rel, RelNode, RowLock, SortKey};
use catalog::TableDescriptor;
use expr::Expr;
use std::ops::Bound;
use std::sync::Arc;

/// The parts of the shape.
#[derive(Default)]
struct Parts<'r> {
    strip: Option<&'r [Expr]>,
    limit: Option<&'r Expr>,
    offset: Option<&'r Expr>,
    lock: Option<RowLock>,
    order: Option<&'r [SortKey]>,
    project: Option<&'r [Expr]>,
    having: Option<&'r Expr>,
    aggregates: Option<&'r [AggregateCall]>,
    filter: Option<&'r Expr>,
}

/// The plan, if the tree has the shape and reading by key is no worse than the relational engine.
pub fn oltp_plan(rel: &Rel) -> Option<OltpPlan> {
    let (parts, bottom) = take_apart(rel)?;
    match &bottom.node {
        RelNode::Values { rows } => values_plan(rel, &parts, rows),
        RelNode::Scan { table, sample: None, .. } => table_plan(rel, &parts, table),
        _ => None,
    }
}

fn take_apart(rel: &Rel) -> Option<(Parts<'_>, &Rel)> {
    let mut parts = Parts::default();
    let mut node = rel;
    // Project over Limit, LockRows or Sort strips; any other computes.
    if let RelNode::Project { input, exprs } = &node.node
        && matches!(
            input.node,
            RelNode::Limit { .. } | RelNode::LockRows { .. } | RelNode::Sort { .. }
        )
    {
        parts.strip = Some(exprs);
        node = input;
    } else if let RelNode::Project { input, exprs } = &node.node
        && matches!(input.node, RelNode::Project { .. })
    {
        parts.strip = Some(exprs);
        node = input;
    }
    if let RelNode::Limit { input, limit, offset, ties: None } = &node.node {
        parts.limit = limit.as_ref();
        parts.offset = offset.as_ref();
        node = input;
    }
    if let RelNode::LockRows { input, targets } = &node.node {
        let [target] = targets.as_slice() else { return None };
        parts.lock = Some(target.lock);
        node = input;
    }
    if let RelNode::Sort { input, keys } = &node.node {
        parts.order = Some(keys);
        node = input;
    }
    if let RelNode::Project { input, exprs } = &node.node {
        parts.project = Some(exprs);
        node = input;
    }
    if let RelNode::Filter { input, predicate } = &node.node
        && matches!(input.node, RelNode::Aggregate { .. })
    {
        parts.having = Some(predicate);
        node = input;
    }
    if let RelNode::Aggregate { input, groups, sets: None, calls, groupings } = &node.node
        && groups.is_empty()
        && groupings.is_empty()
    {
        parts.aggregates = Some(calls);
        node = input;
    }
    if let RelNode::Filter { input, predicate } = &node.node {
        parts.filter = Some(predicate);
        node = input;
    }
    Some((parts, node))
}

/// An expression over the projection as one over its input.
fn through(expr: &Expr, project: &[Expr]) -> Expr {
    let mut result = expr.clone();
    result.transform(&mut |part| {
        if let Expr::Column { index, .. } = part
            && let Some(inner) = project.get(*index)
        {
            *part = inner.clone();
        }
    });
    result
}

fn outputs(parts: &Parts<'_>, width: usize, rel: &Rel) -> Option<Vec<Expr>> {
    let computed = match parts.project {
        Some(exprs) => exprs.to_vec(),
        None => {
            let fields = rel.fields.iter().take(width).enumerate();
            fields.map(|(i, f)| Expr::column(i, f.ty.clone())).collect()
        }
    };
    Some(match parts.strip {
        None => computed,
        Some(strip) => strip.iter().map(|e| through(e, &computed)).collect(),
    })
}

fn has_outer(expr: &Expr) -> bool {
    expr.any(&mut |e| matches!(e, Expr::OuterColumn { .. } | Expr::Subquery { .. }))
}

/// `SELECT 1`, `VALUES (1), (2)`.
fn values_plan(rel: &Rel, parts: &Parts<'_>, rows: &[Vec<Expr>]) -> Option<OltpPlan> {
    if parts.aggregates.is_some() || parts.lock.is_some() || parts.having.is_some() {
        return None;
    }
    let project = outputs(parts, rows.first().map_or(0, Vec::len), rel)?;
    let order = order_keys(parts);
    let plan = OltpPlan {
        table: None,
        access: Access::Values(rows.to_vec()),
        columns: Vec::new(),
        filter: parts.filter.cloned(),
        aggregates: Vec::new(),
        having: None,
        order,
        limit: parts.limit.cloned(),
        offset: parts.offset.cloned(),
        lock: None,
        project,
        fields: rel.fields.clone(),
    };
    let all = plan.project.iter().chain(&plan.filter).chain(rows.iter().flatten());
    if all.into_iter().any(has_outer) {
        return None;
    }
    Some(plan)
}

fn order_keys(parts: &Parts<'_>) -> Vec<SortKey> {
    let keys = parts.order.unwrap_or(&[]);
    keys.iter()
        .map(|key| SortKey {
            expr: match parts.project {
                Some(project) => through(&key.expr, project),
                None => key.expr.clone(),
            },
            ..key.clone()
        })
        .collect()
}

fn table_plan(rel: &Rel, parts: &Parts<'_>, table: &Arc<TableDescriptor>) -> Option<OltpPlan> {
    let width = table.columns.len();
    let aggregates = parts.aggregates.map(<[_]>::to_vec).unwrap_or_default();
    let mut order = order_keys(parts);
    if parts.aggregates.is_some() {
        // One row: nothing to order.
        order.clear();
        if aggregates.iter().any(|c| c.distinct || !c.order.is_empty() || c.direct > 0)
            || aggregates.is_empty()
        {
            return None;
        }
    }
    let conjuncts = parts.filter.cloned().map(Expr::into_conjuncts).unwrap_or_default();
    let path = choose(table, &conjuncts, &order);
    if path.ordered {
        order.clear();
    }
    let full = path.access.is_full_scan();
    let pinned = is_short(&path.access);
    let worthwhile = if parts.lock.is_some() {
        true
    } else if parts.aggregates.is_some() {
        pinned
    } else if !order.is_empty() {
        !full
    } else {
        true
    };
    if !worthwhile {
        return None;
    }
    let project = outputs(parts, width, rel)?;
    let mut access = path.access;
    let filter = (!path.residual.is_empty()).then(|| Expr::conjunction(path.residual));
    let columns = columns_read(table, &project, &filter, &aggregates, &order);
    if let Access::IndexRange { index, covering, .. } = &mut access {
        *covering = parts.lock.is_none() && covers(table, *index, &columns);
    }
    let plan = OltpPlan {
        table: Some(table.clone()),
        access,
        columns,
        filter,
        aggregates,
        having: parts.having.cloned(),
        order,
        limit: parts.limit.cloned(),
        offset: parts.offset.cloned(),
        lock: parts.lock,
        project,
        fields: rel.fields.clone(),
    };
    let exprs = plan.project.iter().chain(&plan.filter).chain(plan.order.iter().map(|k| &k.expr));
    let args = plan.aggregates.iter().flat_map(|c| c.args.iter().chain(&c.filter));
    let reads_row_id =
        |e: &Expr| parts.aggregates.is_none() && e.columns().iter().any(|c| *c >= width);
    if exprs.clone().any(|e| has_outer(e) || reads_row_id(e)) || args.into_iter().any(has_outer) {
        return None;
    }
    Some(plan)
}

/// A point, a list of points, or a range with a pinned prefix or both ends.
fn is_short(access: &Access) -> bool {
    let short = |range: &KeyRange| {
        !range.prefix.is_empty()
            || !matches!(
                (&range.lower, &range.upper),
                (Bound::Unbounded, _) | (_, Bound::Unbounded)
            )
    };
    match access {
        Access::Values(_)
        | Access::PkGet { .. }
        | Access::PkMultiGet { .. }
        | Access::IndexGet { .. } => true,
        Access::PkRange(range) | Access::IndexRange { range, .. } => short(range),
    }
}

fn columns_read(
    table: &TableDescriptor,
    project: &[Expr],
    filter: &Option<Expr>,
    aggregates: &[AggregateCall],
    order: &[SortKey],
) -> Vec<usize> {
    let mut columns = std::collections::BTreeSet::new();
    if aggregates.is_empty() {
        columns.extend(project.iter().flat_map(Expr::columns));
    }
    columns.extend(filter.iter().flat_map(Expr::columns));
    columns.extend(order.iter().flat_map(|k| k.expr.columns()));
    for call in aggregates {
        columns.extend(call.args.iter().chain(&call.filter).flat_map(Expr::columns));
    }
    columns.into_iter().filter(|c| *c < table.columns.len()).collect()
}

fn covers(table: &TableDescriptor, index: catalog::IndexId, columns: &[usize]) -> bool {
    let Some(index) = table.index_by_id(index) else { return false };
    let mut held = table.index_ordinals(index);
    held.extend(table.row_key_ordinals());
    columns.iter().all(|c| held.contains(c))
}
