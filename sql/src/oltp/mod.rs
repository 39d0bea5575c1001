//! Point and short-range reads, straight on the key-value transaction.
//!
//! ```text
//! access (rows by key) ─▶ filter ─▶ lock, look again ─▶ aggregate ─▶ order ─▶ offset, limit ─▶ project
//! ```
//!
//! A statement that needs neither aggregation nor a sort streams: pages come from the store as the
//! client takes rows. Everything else is collected first, which the planner allows for small
//! results only.
//!
//! `FOR UPDATE`: rows found at the statement's snapshot are locked, their newest versions read, and
//! the filter asked again (READ COMMITTED's second look; protocol.md, rule 6).

pub(crate) mod access;
mod aggregate;

use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::outcome::{Row, RowSource, RowStream};
use crate::row_locks;
use crate::table_code::TableCode;
use access::{Cursor, Found};
use async_trait::async_trait;
use core_domain::{LockedValue, ReadAt};
use datum::{Datum, compare_as};
use expr::{EvalContext, Expr};
use planner::{Access, OltpPlan, RowLock, SortKey};
use std::cmp::Ordering;
use std::sync::Arc;

/// Bytes that one row's computed values may take; they are in memory at once.
const ROW_BYTES_MAX: usize = 1 << 30;

/// Runs the plan. Short results come ready; long ones as a stream.
pub(crate) async fn execute(plan: &OltpPlan, ctx: &Arc<ExecContext>) -> SqlResult<RowStream> {
    let eval = ctx.eval();
    let mut window = Window::of(plan, &eval)?;
    let Some(table) = &plan.table else {
        let rows = computed_rows(plan, &mut window, ctx)?;
        return Ok(RowStream::ready(rows));
    };
    if window.is_over() {
        return Ok(RowStream::ready(Vec::new()));
    }
    let code = ctx.server.codes.get(table, &ctx.catalog)?;
    let mut cursor = Cursor::open(&plan.access, &code, ctx, ReadAt::Snapshot).await?;
    if !plan.aggregates.is_empty() {
        let row = aggregate::run(plan, &code, &mut cursor, ctx).await?;
        let rows: Vec<Row> = row.into_iter().collect();
        let rows = window.cut(rows);
        let projected = rows.iter().map(|row| project(&plan.project, row, &eval));
        return Ok(RowStream::ready(projected.collect::<SqlResult<_>>()?));
    }
    if !plan.order.is_empty() {
        let mut rows = Vec::new();
        while let Some(page) = cursor.next(ctx, &plan.columns, usize::MAX).await? {
            ctx.check_cancel()?;
            let page = filter(page, plan.filter.as_ref(), &eval)?;
            rows.extend(lock(page, plan, &code, &cursor, ctx).await?);
        }
        let rows = sort(rows.into_iter().map(|f| f.row).collect(), &plan.order, &eval)?;
        let rows = window.cut(rows);
        let projected = rows.iter().map(|row| project(&plan.project, row, &eval));
        return Ok(RowStream::ready(projected.collect::<SqlResult<_>>()?));
    }
    // The first page is read at once: most results end there.
    let first = page(plan, &code, &mut cursor, &mut window, ctx).await?;
    match first {
        Page { rows, more: false } => Ok(RowStream::ready(rows)),
        Page { rows, more: true } => Ok(RowStream::pull(Box::new(Scan {
            plan: plan.clone(),
            code,
            cursor,
            window,
            ctx: ctx.clone(),
            ready: rows.into_iter(),
            more: true,
        }))),
    }
}

/// What OFFSET and LIMIT leave.
struct Window {
    skip: u64,
    /// `None`: no limit.
    left: Option<u64>,
}

impl Window {
    fn of(plan: &OltpPlan, eval: &EvalContext<'_>) -> SqlResult<Self> {
        let count = |expr: &Option<Expr>, word: &str, state: &str| -> SqlResult<Option<u64>> {
            let Some(expr) = expr else { return Ok(None) };
            match expr.eval(&[], eval)?.as_i64() {
                None => Ok(None),
                Some(n) if n < 0 => {
                    Err(SqlError::new(state, format!("{word} must not be negative")))
                }
                Some(n) => Ok(Some(n as u64)),
            }
        };
        Ok(Self {
            skip: count(&plan.offset, "OFFSET", "2201X")?.unwrap_or(0),
            left: count(&plan.limit, "LIMIT", "2201W")?,
        })
    }

    fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// How many more rows matter.
    fn wanted(&self) -> usize {
        match self.left {
            Some(left) => usize::try_from(left.saturating_add(self.skip)).unwrap_or(usize::MAX),
            None => usize::MAX,
        }
    }

    fn cut<T>(&mut self, mut rows: Vec<T>) -> Vec<T> {
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rows.len());
        if skip > 0 {
            rows.drain(..skip);
            self.skip -= skip as u64;
        }
        if let Some(left) = &mut self.left {
            rows.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= rows.len() as u64;
        }
        rows
    }
}

struct Page {
    rows: Vec<Row>,
    more: bool,
}

/// Reads until there are rows or the end is reached.
async fn page(
    plan: &OltpPlan,
    code: &Arc<TableCode>,
    cursor: &mut Cursor,
    window: &mut Window,
    ctx: &Arc<ExecContext>,
) -> SqlResult<Page> {
    let eval = ctx.eval();
    let single = matches!(plan.access, Access::PkGet { .. } | Access::IndexGet { .. });
    loop {
        let hint = if plan.filter.is_some() { usize::MAX } else { window.wanted() };
        let Some(found) = cursor.next(ctx, &plan.columns, hint).await? else {
            return Ok(Page { rows: Vec::new(), more: false });
        };
        ctx.check_cancel()?;
        let found = filter(found, plan.filter.as_ref(), &eval)?;
        let found = match plan.lock {
            // Only what is returned is locked.
            Some(_) if window.left.is_some() => {
                let mut kept = Vec::new();
                for one in found {
                    if kept.len() >= window.wanted() {
                        break;
                    }
                    kept.extend(lock(vec![one], plan, code, cursor, ctx).await?);
                }
                kept
            }
            _ => lock(found, plan, code, cursor, ctx).await?,
        };
        let found = window.cut(found);
        let rows = found.iter().map(|found| project(&plan.project, &found.row, &eval));
        let rows = rows.collect::<SqlResult<Vec<Row>>>()?;
        let more = !single && !window.is_over();
        if !rows.is_empty() || !more {
            return Ok(Page { rows, more });
        }
    }
}

struct Scan {
    plan: OltpPlan,
    code: Arc<TableCode>,
    cursor: Cursor,
    window: Window,
    ctx: Arc<ExecContext>,
    ready: std::vec::IntoIter<Row>,
    more: bool,
}

#[async_trait]
impl RowSource for Scan {
    async fn next(&mut self, rows_max: usize) -> SqlResult<Option<Vec<Row>>> {
        if self.ready.len() == 0 && self.more {
            let Self { plan, code, cursor, window, ctx, .. } = self;
            let Page { rows, more } = page(plan, code, cursor, window, ctx).await?;
            self.ready = rows.into_iter();
            self.more = more;
        }
        let rows: Vec<Row> = match self.ready.len() <= rows_max {
            true => std::mem::take(&mut self.ready).collect(),
            false => self.ready.by_ref().take(rows_max).collect(),
        };
        Ok((!rows.is_empty()).then_some(rows))
    }
}

fn computed_rows(plan: &OltpPlan, window: &mut Window, ctx: &ExecContext) -> SqlResult<Vec<Row>> {
    let Access::Values(exprs) = &plan.access else {
        return Err(SqlError::internal("a plan without a table reads one"));
    };
    let eval = ctx.eval();
    let mut rows = Vec::with_capacity(exprs.len());
    for exprs in exprs {
        let row = project(exprs, &[], &eval)?;
        if passes(plan.filter.as_ref(), &row, &eval)? {
            rows.push(row);
        }
    }
    if !plan.aggregates.is_empty() {
        rows = aggregate::of_rows(plan, rows, ctx)?.into_iter().collect();
    }
    let rows = sort(rows, &plan.order, &eval)?;
    let rows = window.cut(rows);
    rows.iter().map(|row| project(&plan.project, row, &eval)).collect()
}

pub(crate) fn project(exprs: &[Expr], row: &[Datum], eval: &EvalContext<'_>) -> SqlResult<Row> {
    let mut out = Vec::with_capacity(exprs.len());
    let mut bytes = 0;
    for expr in exprs {
        out.push(match expr {
            Expr::Column { index, .. } => row[*index].clone(),
            other => {
                let value = other.eval(row, eval)?;
                bytes += value.size_bytes();
                if bytes > ROW_BYTES_MAX {
                    return Err(SqlError::new("54000", "row is too big"));
                }
                value
            }
        });
    }
    Ok(out)
}

/// NULL does not pass.
pub(crate) fn passes(
    filter: Option<&Expr>,
    row: &[Datum],
    eval: &EvalContext<'_>,
) -> SqlResult<bool> {
    match filter {
        None => Ok(true),
        Some(filter) => Ok(matches!(filter.eval(row, eval)?, Datum::Bool(true))),
    }
}

fn filter(
    found: Vec<Found>,
    filter: Option<&Expr>,
    eval: &EvalContext<'_>,
) -> SqlResult<Vec<Found>> {
    let Some(filter) = filter else { return Ok(found) };
    let mut kept = Vec::with_capacity(found.len());
    for found in found {
        if passes(Some(filter), &found.row, eval)? {
            kept.push(found);
        }
    }
    Ok(kept)
}

/// FOR UPDATE and its kin: the newest versions of those rows that still qualify.
async fn lock(
    found: Vec<Found>,
    plan: &OltpPlan,
    code: &Arc<TableCode>,
    cursor: &Cursor,
    ctx: &ExecContext,
) -> SqlResult<Vec<Found>> {
    let Some(RowLock { mode, wait }) = plan.lock else { return Ok(found) };
    if found.is_empty() {
        return Ok(found);
    }
    let eval = ctx.eval();
    let keys: Vec<_> = found.iter().map(|f| f.key.clone()).collect();
    let locked = match ctx.txn.lock(&keys, mode, ctx.wait_policy(wait)).await {
        Ok(locked) => locked,
        Err(error) => {
            return Err(Box::pin(row_locks::refused(ctx, &code.table, false, error)).await);
        }
    };
    let keeps_snapshot = row_locks::keeps_snapshot(ctx, mode);
    let mut kept = Vec::with_capacity(found.len());
    for (found, locked) in found.into_iter().zip(locked) {
        let LockedValue::Locked { value: Some(value), committed_at } = locked else { continue };
        if keeps_snapshot && committed_at > ctx.snapshot {
            kept.push(found);
            continue;
        }
        let row = code.decode_all(&value)?;
        // The access's own conditions are not in `filter`.
        if cursor.admits(&found.key, &row)? && passes(plan.filter.as_ref(), &row, &eval)? {
            kept.push(Found { key: found.key, row });
        }
    }
    Ok(kept)
}

/// Sorts rows, stable.
pub(crate) fn sort(
    rows: Vec<Row>,
    keys: &[SortKey],
    eval: &EvalContext<'_>,
) -> SqlResult<Vec<Row>> {
    if keys.is_empty() || rows.len() < 2 {
        return Ok(rows);
    }
    let mut keyed = Vec::with_capacity(rows.len());
    for row in rows {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(key.expr.eval(&row, eval)?);
        }
        keyed.push((values, row));
    }
    keyed.sort_by(|(a, _), (b, _)| compare_keys(keys, a, b));
    Ok(keyed.into_iter().map(|(_, row)| row).collect())
}

pub(crate) fn compare_keys(keys: &[SortKey], a: &[Datum], b: &[Datum]) -> Ordering {
    for (key, (a, b)) in keys.iter().zip(a.iter().zip(b)) {
        let ordering = match (a.is_null(), b.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) if key.nulls_first => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if key.nulls_first => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let ordering = compare_as(key.expr.sql_type(), a, b);
                if key.descending { ordering.reverse() } else { ordering }
            }
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}
