//! FOR UPDATE and its kin over a relational query.
//!
//! The rows found are locked; if one of them has changed since the statement's snapshot, READ
//! COMMITTED takes a fresh snapshot and runs the query again, now holding those locks, until nothing
//! changes under it. What is returned is thus one consistent snapshot in which every returned row
//! is locked. (PostgreSQL re-evaluates only the changed row; a row that stops matching stays locked
//! here as there.) Under REPEATABLE READ a changed row is a conflict, raised by the lock itself.

use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::outcome::Row;
use crate::relational::lower::Lowering;
use crate::row_locks;
use catalog::keys::RowKeys;
use core_domain::{Key, LockedValue, Timestamp};
use planner::plan::{LockTarget, Rel};
use std::collections::BTreeSet;

/// Rounds before giving up on a query whose rows never stay still.
const ROUNDS_MAX: usize = 16;

/// The first `rows_max` rows of `input` that can be had, locked.
pub async fn lock_rows(
    lowering: &mut Lowering,
    input: &Rel,
    targets: &[LockTarget],
    rows_max: usize,
) -> SqlResult<Vec<Row>> {
    let exec = lowering.context.exec.clone();
    let mut snapshot = exec.txn.guarantee().read_timestamp;
    'again: for _ in 0..ROUNDS_MAX {
        let rows = lowering.rows(input).await?;
        let mut kept = Vec::new();
        let mut rest = rows.as_slice();
        while kept.len() < rows_max && !rest.is_empty() {
            // No more than are still wanted: of those, SKIP LOCKED may leave some out.
            let (some, more) = rest.split_at(rest.len().min(rows_max - kept.len()));
            rest = more;
            let mut skipped = vec![false; some.len()];
            for target in targets {
                let changed = lock_target(&exec, target, some, snapshot, &mut skipped).await?;
                if changed {
                    snapshot = exec.txn.begin_statement().await?;
                    continue 'again;
                }
            }
            let had = some.iter().zip(skipped).filter(|(_, skipped)| !skipped);
            kept.extend(had.map(|(row, _)| row.clone()));
        }
        return Ok(kept);
    }
    Err(SqlError::new("40001", "could not lock rows that keep changing")
        .with_hint("The transaction might succeed if retried."))
}

/// Locks what the target names in `rows`; whether something of it has changed since the snapshot.
async fn lock_target(
    exec: &ExecContext,
    target: &LockTarget,
    rows: &[Row],
    snapshot: Timestamp,
    skipped: &mut [bool],
) -> SqlResult<bool> {
    let encoder = RowKeys::new(&target.table);
    let keys = rows
        .iter()
        .map(|row| key_of(&encoder, target, row))
        .collect::<SqlResult<Vec<Option<Key>>>>()?;
    // A row may come by several times: one lock, in key order, so that two queries over the same
    // rows cannot wait for each other.
    let wanted: Vec<Key> =
        keys.iter().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let wait = exec.wait_policy(target.lock.wait);
    let locked = match exec.txn.lock(&wanted, target.lock.mode, wait).await {
        Ok(locked) => locked,
        Err(error) => return Err(row_locks::refused(exec, &target.table, false, error).await),
    };
    let keeps_snapshot = row_locks::keeps_snapshot(exec, target.lock.mode);
    let mut changed = false;
    let mut missed = BTreeSet::new();
    for (key, outcome) in wanted.iter().zip(&locked) {
        match outcome {
            LockedValue::Locked { committed_at, .. } => {
                changed |= *committed_at > snapshot && !keeps_snapshot;
            }
            LockedValue::Skipped => {
                missed.insert(key);
            }
        }
    }
    for (skip, key) in skipped.iter_mut().zip(&keys) {
        *skip |= key.as_ref().is_some_and(|key| missed.contains(key));
    }
    Ok(changed)
}

/// The key of the row that a target names; `None` on the empty side of an outer join.
fn key_of(encoder: &RowKeys, target: &LockTarget, row: &Row) -> SqlResult<Option<Key>> {
    let values: Vec<_> = target.key.iter().map(|&index| row[index].clone()).collect();
    if values.iter().any(datum::Datum::is_null) {
        return Ok(None);
    }
    if encoder.is_hidden() {
        let id =
            values[0].as_i64().ok_or_else(|| SqlError::internal("a row id that is no int8"))?;
        return Ok(Some(encoder.hidden(id)));
    }
    Ok(Some(encoder.of_values(&values)?))
}
