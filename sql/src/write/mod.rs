//! The one way to change rows: INSERT, UPDATE, DELETE, COPY FROM and foreign-key actions.
//!
//! ```text
//! find targets (targets.rs)  snapshot read or pinned keys ─▶ lock ─▶ newest version ─▶ look again
//! new rows                   defaults, SET, generated columns, NOT NULL, CHECK
//! change them (writer.rs)    lock what must be unique ─▶ look ─▶ put row and index entries
//!   ON CONFLICT (conflict.rs)
//! afterwards (referential.rs) parents exist (locked KeyShare); children of changed parents follow
//! in WITH (unseen.rs)        what one part writes is hidden from the reads of the others
//! what is refused (violation.rs) in PostgreSQL's words
//! ```
//!
//! Locks are asked for in batches, one round for as many rows as a chunk holds. Everything is
//! buffered in the key-value transaction until its commit, so a failed statement leaves nothing.
//!
//! A statement does not see its own rows: what it inserts is read, and which rows it changes is known
//! by their keys, before its first write. That counts as memory of the relational engine's (53200).

mod conflict;
mod referential;
mod targets;
mod unseen;
pub(crate) mod violation;
mod writer;

use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::oltp::project;
use crate::outcome::Row;
use crate::relational::{self, Kept, row_bytes};
use core_domain::LockMode;
use datum::Datum;
use planner::{InsertOp, InsertSource, UpdateOp, WriteOp, WritePlan};
use std::sync::Arc;

pub(crate) use referential::Effects;
pub(crate) use unseen::Unseen;
pub(crate) use writer::{Change, Rules, Writer};

/// Rows handled between two rounds of locks.
const CHUNK_ROWS: usize = 1000;

/// What a write did.
pub(crate) struct Written {
    pub count: u64,
    /// RETURNING.
    pub rows: Vec<Row>,
    /// Counts these.
    pub kept: Kept,
}

impl Written {
    /// Adds what RETURNING answers for a row, which `extra` columns of other tables came with.
    fn returning(
        &mut self,
        plan: &WritePlan,
        row: &[Datum],
        extra: &[Datum],
        ctx: &ExecContext,
    ) -> SqlResult<()> {
        let Some(returning) = &plan.returning else { return Ok(()) };
        let eval = ctx.eval();
        let row = if extra.is_empty() {
            project(&returning.exprs, row, &eval)?
        } else {
            let joined: Row = row.iter().chain(extra).cloned().collect();
            project(&returning.exprs, &joined, &eval)?
        };
        self.kept.bytes(row_bytes(&row))?;
        self.rows.push(row);
        Ok(())
    }
}

pub(crate) async fn execute(plan: &WritePlan, ctx: &Arc<ExecContext>) -> SqlResult<Written> {
    let code = ctx.server.codes.get(&plan.table, &ctx.catalog)?;
    let writer = Writer::new(ctx, code);
    let mut effects = Effects::default();
    let mut written = Written { count: 0, rows: Vec::new(), kept: Kept::new() };
    match &plan.op {
        WriteOp::Insert(op) => insert(plan, op, &writer, &mut effects, &mut written).await?,
        WriteOp::Update(op) => update(plan, op, &writer, &mut effects, &mut written).await?,
        WriteOp::Delete(op) => {
            let mode = LockMode::Exclusive;
            let mut targets = targets::find(&op.source, &writer.code, ctx, mode).await?;
            let kept = Kept::new();
            while let Some(chunk) = targets.next(&kept).await? {
                let rows = chunk.iter().map(|t| (t.key.clone(), t.old.clone())).collect();
                writer.delete(rows, &mut effects).await?;
                written.count += chunk.len() as u64;
                for target in &chunk {
                    written.returning(plan, &target.old, &target.extra, ctx)?;
                }
                kept.give_back();
            }
        }
    }
    match &ctx.unseen {
        Some(statement) => statement.defer(effects),
        None => effects.finish(ctx).await?,
    }
    Ok(written)
}

async fn insert(
    plan: &WritePlan,
    op: &InsertOp,
    writer: &Writer<'_>,
    effects: &mut Effects,
    written: &mut Written,
) -> SqlResult<()> {
    let ctx = writer.ctx;
    let rules = Rules { checks: &plan.checks, generated: &plan.generated };
    let kept = Kept::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut keep = |row: Row| -> SqlResult<()> {
        kept.bytes(row_bytes(&row))?;
        rows.push(row);
        Ok(())
    };
    match &op.source {
        InsertSource::Values(source) => {
            let eval = ctx.eval();
            for exprs in source {
                keep(project(exprs, &[], &eval)?)?;
            }
        }
        InsertSource::Query { rel, project: exprs } => {
            let mut stream = relational::execute(rel, ctx).await?;
            while let Some(batch) = stream.next(CHUNK_ROWS).await? {
                let eval = ctx.eval();
                for row in batch {
                    keep(project(exprs, &row, &eval)?)?;
                }
            }
        }
    }
    let mut rows = rows.into_iter();
    let mut touched = conflict::Touched::default();
    loop {
        let chunk: Vec<Row> = rows.by_ref().take(CHUNK_ROWS).collect();
        if chunk.is_empty() {
            return Ok(());
        }
        ctx.check_cancel()?;
        let inserted = match &op.on_conflict {
            None => writer.insert(chunk, &rules, effects).await?,
            Some(clause) => {
                conflict::insert(writer, chunk, &rules, clause, &mut touched, effects).await?
            }
        };
        written.count += inserted.len() as u64;
        for row in &inserted {
            written.returning(plan, row, &[], ctx)?;
        }
    }
}

async fn update(
    plan: &WritePlan,
    op: &UpdateOp,
    writer: &Writer<'_>,
    effects: &mut Effects,
    written: &mut Written,
) -> SqlResult<()> {
    let ctx = writer.ctx;
    let rules = Rules { checks: &plan.checks, generated: &plan.generated };
    let mut targets = targets::find(&op.source, &writer.code, ctx, op.lock_mode()).await?;
    let kept = Kept::new();
    while let Some(chunk) = targets.next(&kept).await? {
        let mut changes = Vec::with_capacity(chunk.len());
        let mut extras = Vec::with_capacity(chunk.len());
        for target in chunk {
            let new = assign(&op.set, &target.old, &target.extra, ctx)?;
            changes.push(Change { key: target.key, old: target.old, new });
            extras.push(target.extra);
        }
        written.count += changes.len() as u64;
        let new = writer.update(changes, &rules, effects).await?;
        for (row, extra) in new.iter().zip(&extras) {
            written.returning(plan, row, extra, ctx)?;
        }
        kept.give_back();
    }
    Ok(())
}

/// The old row with `set` applied; its expressions see the old row and `extra`.
fn assign(
    set: &[(usize, expr::Expr)],
    old: &[Datum],
    extra: &[Datum],
    ctx: &ExecContext,
) -> SqlResult<Row> {
    let eval = ctx.eval();
    let mut new = old.to_vec();
    if extra.is_empty() {
        for (ordinal, expr) in set {
            new[*ordinal] = expr.eval(old, &eval)?;
        }
    } else {
        let joined: Row = old.iter().chain(extra).cloned().collect();
        for (ordinal, expr) in set {
            new[*ordinal] = expr.eval(&joined, &eval)?;
        }
    }
    Ok(new)
}

pub(crate) fn lock_refused() -> SqlError {
    SqlError::internal("a lock was neither taken nor refused")
}
