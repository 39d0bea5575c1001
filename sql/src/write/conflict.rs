//! INSERT ... ON CONFLICT: rows one after the other, each against what is there by then.

use super::referential::Effects;
use super::writer::{Change, Occupied, Placed, Rules, Writer};
use super::{lock_refused, violation};
use crate::error::{SqlError, SqlResult};
use crate::oltp::passes;
use crate::outcome::Row;
use catalog::table::ROWS_INDEX;
use core_domain::{Key, LockMode, LockedValue};
use datum::Datum;
use expr::Expr;
use planner::{Check, ConflictAction, OnConflict};
use std::collections::HashSet;

/// Keys of rows that this statement has inserted or updated: not to be updated again.
#[derive(Default)]
pub(super) struct Touched(HashSet<Key>);

/// Inserts a chunk; answers the rows inserted or updated.
pub(super) async fn insert(
    writer: &Writer<'_>,
    rows: Vec<Row>,
    rules: &Rules<'_>,
    clause: &OnConflict,
    touched: &mut Touched,
    effects: &mut Effects,
) -> SqlResult<Vec<Row>> {
    let placed = writer.place(rows, rules).await?;
    let mut occupied = writer.lock_places(&placed).await?;
    let mut out = Vec::with_capacity(placed.len());
    for place in placed {
        match conflict(writer, &place, clause, &occupied)? {
            None => {
                touched.0.insert(place.key.clone());
                let row = writer.put(place, &mut occupied)?;
                effects.rows_written(writer, std::iter::once((None, &row))).await?;
                out.push(row);
            }
            Some(existing) => match &clause.action {
                ConflictAction::Nothing => {}
                ConflictAction::Update { set, filter, changes_key, checks } => {
                    if !touched.0.insert(existing.clone()) {
                        return Err(twice());
                    }
                    let mode = match changes_key {
                        true => LockMode::Exclusive,
                        false => LockMode::NoKeyExclusive,
                    };
                    let action = Action { set, filter: filter.as_ref(), checks, mode };
                    let updated =
                        update(writer, existing, place.row, &action, rules, effects).await?;
                    if let Some((key, row)) = updated {
                        occupied.set(key.clone(), Some(writer.code.encoder.encode(&row)));
                        touched.0.insert(key);
                        out.push(row);
                    }
                }
            },
        }
    }
    Ok(out)
}

/// The key of the row that stands in the way. A conflict that is not the clause's is an error.
fn conflict(
    writer: &Writer<'_>,
    place: &Placed,
    clause: &OnConflict,
    occupied: &Occupied,
) -> SqlResult<Option<Key>> {
    let code = &writer.code;
    let covers = |index: u32| clause.arbiters.as_ref().is_none_or(|list| list.contains(&index));
    let mut found = None;
    if !code.row_keys.is_hidden() && occupied.get(&place.key).is_some() {
        if !covers(ROWS_INDEX) {
            return Err(violation::duplicate_row_key(code, &place.row, &writer.ctx.types));
        }
        found = Some(place.key.clone());
    }
    for (index, entry) in code.indexes.iter().zip(&place.entries) {
        let Some(entry) = entry.as_ref().filter(|entry| entry.exclusive) else { continue };
        let Some(value) = occupied.get(&entry.key) else { continue };
        if covers(index.index.id) {
            let existing = index.keys.row_key(&entry.key, value)?;
            found.get_or_insert(existing);
        } else if found.is_none() {
            return Err(violation::duplicate_entry(code, index, &place.row, &writer.ctx.types));
        }
    }
    Ok(found)
}

struct Action<'a> {
    set: &'a [(usize, Expr)],
    filter: Option<&'a Expr>,
    checks: &'a [Check],
    mode: LockMode,
}

/// DO UPDATE; `None` if its WHERE says no.
async fn update(
    writer: &Writer<'_>,
    key: Key,
    excluded: Row,
    action: &Action<'_>,
    rules: &Rules<'_>,
    effects: &mut Effects,
) -> SqlResult<Option<(Key, Row)>> {
    let ctx = writer.ctx;
    let locked = ctx.txn.lock(std::slice::from_ref(&key), action.mode, ctx.wait()).await?;
    let old = match locked.into_iter().next() {
        Some(LockedValue::Locked { value: Some(value), .. }) => writer.code.decode_all(&value)?,
        // The unique entry is locked, so its row cannot have gone.
        Some(LockedValue::Locked { value: None, .. }) => {
            return Err(SqlError::internal("an index entry without its row"));
        }
        Some(LockedValue::Skipped) | None => return Err(lock_refused()),
    };
    let both: Vec<Datum> = old.iter().chain(&excluded).cloned().collect();
    let eval = ctx.eval();
    if !passes(action.filter, &both, &eval)? {
        return Ok(None);
    }
    let mut new = old.clone();
    for (ordinal, expr) in action.set {
        new[*ordinal] = expr.eval(&both, &eval)?;
    }
    let rules = Rules { checks: action.checks, generated: rules.generated };
    let change = Change { key: key.clone(), old, new };
    let mut rows = writer.update(vec![change], &rules, effects).await?;
    let row = rows.pop().ok_or_else(|| SqlError::internal("an update lost its row"))?;
    let key =
        if writer.code.row_keys.is_hidden() { key } else { writer.code.row_keys.of_row(&row)? };
    Ok(Some((key, row)))
}

fn twice() -> SqlError {
    SqlError::new("21000", "ON CONFLICT DO UPDATE command cannot affect row a second time")
        .with_hint(
            "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
        )
}
