//! FOR UPDATE and its kin over a relational query.
//!
//! The rows found are locked; if one of them has changed since the statement's snapshot, READ
//! COMMITTED takes a fresh snapshot and runs the query again, now holding those locks, until nothing
//! changes under it. What is returned is thus one consistent snapshot in which every returned row
//! is locked. (PostgreSQL re-evaluates only the changed row; a row that stops matching stays locked
//! here as there.) Under REPEATABLE READ a changed row is a conflict, raised by the lock itself.

use crate::error::{SqlError, SqlResult};
use crate::outcome::Row;
use crate::relational::lower::Lowering;
use catalog::keys::RowKeys;
use core_domain::{Key, LockedValue};
use planner::plan::{LockTarget, Rel};
use std::collections::BTreeSet;

/// Rounds before giving up on a query whose rows never stay still.
const ROUNDS_MAX: usize = 16;

pub async fn lock_rows(
    lowering: &mut Lowering,
    input: &Rel,
    targets: &[LockTarget],
) -> SqlResult<Vec<Row>> {
    let exec = lowering.context.exec.clone();
    let mut snapshot = exec.txn.guarantee().read_timestamp;
    for _ in 0..ROUNDS_MAX {
        let rows = lowering.rows(input).await?;
        let mut changed = false;
        let mut skipped = vec![false; rows.len()];
        for target in targets {
            let encoder = RowKeys::new(&target.table);
            let keys = rows
                .iter()
                .map(|row| key_of(&encoder, target, row))
                .collect::<SqlResult<Vec<Option<Key>>>>()?;
            // A row may come by several times: one lock, in key order, so that two queries over
            // the same rows cannot wait for each other.
            let wanted: Vec<Key> =
                keys.iter().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect();
            let wait = exec.wait_policy(target.lock.wait);
            let locked = exec.txn.lock(&wanted, target.lock.mode, wait).await?;
            let mut missed = BTreeSet::new();
            for (key, outcome) in wanted.iter().zip(&locked) {
                match outcome {
                    LockedValue::Locked { committed_at, .. } => changed |= *committed_at > snapshot,
                    LockedValue::Skipped => {
                        missed.insert(key);
                    }
                }
            }
            for (skip, key) in skipped.iter_mut().zip(&keys) {
                *skip |= key.as_ref().is_some_and(|key| missed.contains(key));
            }
        }
        if !changed {
            let kept = rows.into_iter().zip(skipped).filter(|(_, skip)| !skip);
            return Ok(kept.map(|(row, _)| row).collect());
        }
        snapshot = exec.txn.begin_statement().await?;
    }
    Err(SqlError::new("40001", "could not lock rows that keep changing")
        .with_hint("The transaction might succeed if retried."))
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
