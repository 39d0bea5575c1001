//! Which rows an UPDATE or DELETE changes: found at the snapshot, then, a chunk at a time, locked and
//! looked at again.

use super::{CHUNK_ROWS, lock_refused};
use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::oltp::access::{Cursor, pinned_key};
use crate::oltp::passes;
use crate::outcome::Row;
use crate::relational::{self, Kept, row_bytes};
use crate::row_locks::refused;
use crate::table_code::TableCode;
use core_domain::{Key, LockMode, LockedValue, ReadAt};
use datum::Datum;
use expr::Expr;
use planner::{Access, TargetSource};
use std::collections::HashSet;
use std::sync::Arc;

/// A row to change: its newest version, locked.
pub(super) struct Target {
    pub key: Key,
    pub old: Row,
    /// Columns of other tables that came with it.
    pub extra: Row,
}

/// The keys that were found, with columns of other tables.
pub(super) struct Targets<'p> {
    found: std::vec::IntoIter<(Key, Row)>,
    condition: Option<&'p Expr>,
    again: Again,
    code: Arc<TableCode>,
    ctx: Arc<ExecContext>,
    mode: LockMode,
    /// Counts `found`.
    _kept: Kept,
}

pub(super) async fn find<'p>(
    source: &'p TargetSource,
    code: &Arc<TableCode>,
    ctx: &Arc<ExecContext>,
    mode: LockMode,
) -> SqlResult<Targets<'p>> {
    let kept = Kept::new();
    let (found, condition, again) = match source {
        TargetSource::Keys { access, filter, recheck } => {
            if let Some(keys) = pinned_key(access, code, &ctx.eval())? {
                let found: Vec<_> = keys.into_iter().map(|key| (key, Row::new())).collect();
                (found, filter.as_ref(), Again::Always)
            } else {
                let found = passing(access, filter.as_ref(), code, ctx, &kept).await?;
                (found, recheck.as_ref().or(filter.as_ref()), Again::IfChanged)
            }
        }
        TargetSource::Rel { rel, key_width, recheck } => {
            let mut stream = relational::execute(rel, ctx).await?;
            let mut found = Vec::new();
            let mut seen = HashSet::new();
            while let Some(rows) = stream.next(CHUNK_ROWS).await? {
                for mut row in rows {
                    let extra = row.split_off(*key_width);
                    let key = row_key(code, &row)?;
                    if seen.insert(key.clone()) {
                        kept.bytes(2 * size_of::<Key>() + key.len() + row_bytes(&extra))?;
                        found.push((key, extra));
                    }
                }
            }
            (found, recheck.as_ref(), Again::IfChanged)
        }
        TargetSource::CurrentOf(_) => return Err(SqlError::unsupported("WHERE CURRENT OF")),
    };
    let (code, ctx, found) = (code.clone(), ctx.clone(), found.into_iter());
    Ok(Targets { found, condition, again, code, ctx, mode, _kept: kept })
}

async fn passing(
    access: &Access,
    filter: Option<&Expr>,
    code: &Arc<TableCode>,
    ctx: &Arc<ExecContext>,
    kept: &Kept,
) -> SqlResult<Vec<(Key, Row)>> {
    let wanted = filter.map(Expr::columns).unwrap_or_default();
    let mut cursor = Cursor::open(access, code, ctx, ReadAt::Snapshot).await?;
    let mut found = Vec::new();
    while let Some(page) = cursor.next(ctx, &wanted, usize::MAX).await? {
        ctx.check_cancel()?;
        let eval = ctx.eval();
        for row in page {
            if passes(filter, &row.row, &eval)? {
                kept.bytes(size_of::<(Key, Row)>() + row.key.len())?;
                found.push((row.key, Row::new()));
            }
        }
    }
    Ok(found)
}

fn row_key(code: &TableCode, key: &[Datum]) -> SqlResult<Key> {
    if !code.row_keys.is_hidden() {
        return Ok(code.row_keys.of_values(key)?);
    }
    match key {
        [Datum::Int8(id)] => Ok(code.row_keys.hidden(*id)),
        _ => Err(SqlError::internal("a hidden row id is not an int8")),
    }
}

/// When to ask the condition of a locked row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// It has not been asked yet.
    Always,
    /// Only if the row is not the one that the snapshot showed.
    IfChanged,
}

impl Targets<'_> {
    /// The next rows, locked; `kept` counts them. `None`: there are no more.
    pub async fn next(&mut self, kept: &Kept) -> SqlResult<Option<Vec<Target>>> {
        let ctx = &self.ctx;
        ctx.check_cancel()?;
        let chunk: Vec<(Key, Row)> = self.found.by_ref().take(CHUNK_ROWS).collect();
        if chunk.is_empty() {
            return Ok(None);
        }
        let keys: Vec<Key> = chunk.iter().map(|(key, _)| key.clone()).collect();
        let locked = match ctx.txn.lock(&keys, self.mode, ctx.wait()).await {
            Ok(locked) => locked,
            Err(error) => {
                return Err(Box::pin(refused(ctx, &self.code.table, true, error)).await);
            }
        };
        let mut targets = Vec::with_capacity(chunk.len());
        let eval = ctx.eval();
        for ((key, extra), locked) in chunk.into_iter().zip(locked) {
            // A row that another part of the statement has changed is left alone.
            if ctx.unseen.as_ref().is_some_and(|unseen| unseen.wrote(&key)) {
                continue;
            }
            let (value, committed_at) = match locked {
                LockedValue::Locked { value: Some(value), committed_at } => (value, committed_at),
                // Deleted meanwhile.
                LockedValue::Locked { value: None, .. } => continue,
                LockedValue::Skipped => return Err(lock_refused()),
            };
            let old = self.code.decode_all(&value)?;
            kept.bytes(row_bytes(&old))?;
            if self.again == Again::Always || committed_at > ctx.snapshot {
                let holds = if extra.is_empty() {
                    passes(self.condition, &old, &eval)?
                } else {
                    let joined: Row = old.iter().chain(&extra).cloned().collect();
                    passes(self.condition, &joined, &eval)?
                };
                if !holds {
                    continue;
                }
            }
            targets.push(Target { key, old, extra });
        }
        Ok(Some(targets))
    }
}
