//! Parts of a larger query that keys answer: read straight from the ranges, not by DataFusion's scans.
//!
//! ```text
//! filter on one table       a point or short-range statement of its own
//! join, one side a few      those rows by key, then their partners by key
//! ```

use super::kernel;
use super::lower::{Lowered, Lowering, build};
use super::memory::Kept;
use crate::context::ExecContext;
use crate::error::SqlResult;
use crate::outcome::Row;
use datafusion::logical_expr::LogicalPlanBuilder;
use datum::{Datum, TypeContext};
use expr::{EvalContext, Expr, NoSession, ParamTypes, Position, Resolver};
use planner::plan::{JoinKind, Rel, RelNode};
use std::collections::HashSet;
use std::sync::Arc;

/// Rows fetched by key under a plan of DataFusion's; a scan is the cheaper way to more.
pub const LOOKED_UP_ROWS_MAX: usize = 4096;

/// Rows of one side of a join whose partners are looked up one by one.
const JOINED_BY_KEY_ROWS_MAX: usize = 128;

/// The rows of what one table's keys answer: a subquery that runs once per outer row must not read
/// the whole table each time. `None` if they do not, or if there are more rows than `rows_max`.
pub async fn looked_up(
    rel: &Rel,
    rows_max: usize,
    exec: Arc<ExecContext>,
    kept: Option<&Kept>,
) -> SqlResult<Option<Vec<Row>>> {
    let Some(plan) = planner::access::oltp_plan(rel) else { return Ok(None) };
    let by_key = plan.table.is_none() || !plan.access.is_full_scan();
    if !by_key || plan.lock.is_some() || plan.project.len() != rel.fields.len() {
        return Ok(None);
    }
    let mut stream = crate::oltp::execute(&plan, &exec).await?;
    let mut rows = Vec::new();
    while let Some(page) = stream.next(LOOKED_UP_ROWS_MAX).await? {
        if let Some(kept) = kept {
            kept.rows(&page)?;
        }
        rows.extend(page);
        if rows.len() > rows_max {
            return Ok(None);
        }
    }
    Ok(Some(rows))
}

/// `column = value`, for keys to answer.
fn equals(column: Expr, value: Expr) -> Option<Expr> {
    let types = TypeContext::default();
    let context = EvalContext::new(&types, &NoSession);
    let params = ParamTypes::default();
    let resolver = Resolver::new(&context, &params);
    resolver.resolve_operator("=", Some(column), value, Position::default()).ok()
}

impl Lowering {
    /// Both sides of a join of which one is a few rows found by key, and the other their partners,
    /// found by key too.
    pub async fn sides_by_key(
        &mut self,
        kind: JoinKind,
        left: &Rel,
        right: &Rel,
        on: &[(Expr, Expr)],
    ) -> SqlResult<Option<(Lowered, Lowered)>> {
        if !matches!(kind, JoinKind::Right | JoinKind::Full) {
            let pairs: Vec<(&Expr, &Expr)> = on.iter().map(|(l, r)| (l, r)).collect();
            if let Some((few, partners)) = self.few_and_partners(left, right, &pairs).await? {
                return Ok(Some((few, partners)));
            }
        }
        if matches!(kind, JoinKind::Inner | JoinKind::Right) {
            let pairs: Vec<(&Expr, &Expr)> = on.iter().map(|(l, r)| (r, l)).collect();
            if let Some((few, partners)) = self.few_and_partners(right, left, &pairs).await? {
                return Ok(Some((partners, few)));
            }
        }
        Ok(None)
    }

    async fn few_and_partners(
        &mut self,
        few: &Rel,
        other: &Rel,
        on: &[(&Expr, &Expr)],
    ) -> SqlResult<Option<(Lowered, Lowered)>> {
        let RelNode::Filter { input: source, .. } = &few.node else { return Ok(None) };
        let (scan, predicate) = match &other.node {
            RelNode::Filter { input, predicate } => (&**input, Some(predicate)),
            _ => (other, None),
        };
        let of_tables = matches!(source.node, RelNode::Scan { .. })
            && matches!(scan.node, RelNode::Scan { sample: None, .. });
        if on.is_empty() || !of_tables {
            return Ok(None);
        }
        let exec = self.context.exec.clone();
        let Some(rows) = looked_up(few, JOINED_BY_KEY_ROWS_MAX, exec.clone(), None).await? else {
            return Ok(None);
        };
        let mut seen = HashSet::new();
        let mut partners = Vec::new();
        for row in &rows {
            let values = {
                let eval = self.context.eval.borrow();
                let values = on.iter().map(|(from, _)| from.eval(row, &eval));
                values.collect::<Result<Vec<Datum>, _>>()?
            };
            let mut key = Vec::new();
            for ((from, _), value) in on.iter().zip(&values) {
                super::batch::sort_key(value, from.sql_type(), &mut key)?;
            }
            if values.iter().any(Datum::is_null) || !seen.insert(key) {
                continue;
            }
            let mut terms = Vec::with_capacity(on.len());
            for ((from, to), value) in on.iter().zip(values) {
                let value = Expr::Const(value, from.ty().clone());
                let Some(term) = equals((*to).clone(), value) else { return Ok(None) };
                terms.push(term);
            }
            let predicate = Expr::conjunction(terms);
            let node = RelNode::Filter { input: Box::new(scan.clone()), predicate };
            let rel = Rel::new(node, scan.fields.clone());
            let Some(found) = looked_up(&rel, LOOKED_UP_ROWS_MAX, exec.clone(), None).await? else {
                return Ok(None);
            };
            partners.extend(found);
            if partners.len() > LOOKED_UP_ROWS_MAX {
                return Ok(None);
            }
        }
        let few = self.table(&few.fields, &rows)?;
        let mut partners = self.table(&scan.fields, &partners)?;
        if let Some(predicate) = predicate {
            let predicate = kernel::lower(predicate, &partners.slots, &self.context.eval);
            partners.plan = build(LogicalPlanBuilder::from(partners.plan).filter(predicate))?;
        }
        Ok(Some((few, partners)))
    }
}
