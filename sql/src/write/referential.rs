//! Foreign keys, from both ends.
//!
//! ```text
//! child written    its parents' keys are locked KeyShare and must be there; one that is missing may
//!                  still come in the same statement, so it is looked for again at the end
//! parent changed   at the end: children are read at their newest (protocol.md, rule 6). The
//!                  parent's lock keeps new ones away. Then NO ACTION refuses, CASCADE and its kin
//!                  change the children, which may be parents themselves
//! ```

use super::writer::{Change, Rules, Writer};
use super::{lock_refused, violation};
use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::oltp::access::{Cursor, Found};
use crate::outcome::Row;
use crate::relational::{Kept, row_bytes};
use crate::table_code::TableCode;
use catalog::table::ROWS_INDEX;
use catalog::{
    ConstraintDescriptor, ForeignKey, ForeignKeyAction, ForeignKeyMatch, TableDescriptor,
};
use core_domain::{Key, KvError, LockMode, LockedValue, ReadAt, WaitPolicy};
use datum::{ColumnType, Datum, eq_as};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What a statement's row changes demand of other tables.
#[derive(Default)]
pub(crate) struct Effects {
    /// Parents' keys that were not there, and what to say if they still are not at the end.
    missing: HashMap<Key, SqlError>,
    /// Rows of referenced tables that went or changed.
    changed: VecDeque<Changed>,
}

struct Changed {
    code: Arc<TableCode>,
    old: Row,
    new: Option<Row>,
}

impl Effects {
    /// Rows were inserted (no old row) or updated: their parents must exist.
    pub async fn rows_written<'r>(
        &mut self,
        writer: &Writer<'_>,
        rows: impl Iterator<Item = (Option<&'r Row>, &'r Row)> + Send,
    ) -> SqlResult<()> {
        if writer.code.table.foreign_keys().next().is_none() {
            return Ok(());
        }
        let rows: Vec<_> = rows.collect();
        for (constraint, key) in writer.code.table.foreign_keys() {
            self.check_parents(writer, constraint, key, &rows).await?;
        }
        Ok(())
    }

    async fn check_parents(
        &mut self,
        writer: &Writer<'_>,
        constraint: &ConstraintDescriptor,
        key: &ForeignKey,
        rows: &[(Option<&Row>, &Row)],
    ) -> SqlResult<()> {
        let ctx = writer.ctx;
        let table = &writer.code.table;
        let ordinals = table.ordinals(key.columns.iter().copied());
        let parent = parent_of(ctx, key)?;
        let mut wanted: HashMap<Key, &Row> = HashMap::new();
        for (old, new) in rows {
            if old.is_some_and(|old| same(table, &ordinals, old, new)) {
                continue;
            }
            let nulls = ordinals.iter().filter(|o| new[**o].is_null()).count();
            if nulls > 0 {
                if key.match_type == ForeignKeyMatch::Full && nulls < ordinals.len() {
                    return Err(violation::partial_null_match(&writer.code, &constraint.name));
                }
                continue;
            }
            if let Some(parent_key) = parent_key(ctx, key, table, &ordinals, &parent, new)? {
                wanted.entry(parent_key).or_insert(new);
            } else {
                return Err(violation::no_parent(
                    &writer.code,
                    &constraint.name,
                    key,
                    &parent.table,
                    new,
                    &ctx.types,
                ));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut keys: Vec<Key> = wanted.keys().cloned().collect();
        keys.sort_unstable();
        let there = held_where_there(ctx, &keys).await?;
        for (parent_key, _) in keys.into_iter().zip(there).filter(|(_, there)| !there) {
            let row = wanted[&parent_key];
            let error = violation::no_parent(
                &writer.code,
                &constraint.name,
                key,
                &parent.table,
                row,
                &ctx.types,
            );
            self.missing.entry(parent_key).or_insert(error);
        }
        Ok(())
    }

    /// A row was updated or deleted: its children may care.
    pub fn row_changed(&mut self, writer: &Writer<'_>, old: &Row, new: Option<&Row>) {
        let code = &writer.code;
        let catalog = &writer.ctx.catalog;
        let matters = catalog.referenced_by(code.table.oid).any(|(_, _, key)| {
            let ordinals = code.table.ordinals(key.referenced_columns.iter().copied());
            new.is_none_or(|new| !same(&code.table, &ordinals, old, new))
        });
        if matters {
            self.changed.push_back(Changed {
                code: code.clone(),
                old: old.clone(),
                new: new.cloned(),
            });
        }
    }

    /// Adds what another write of the same statement demands.
    pub fn append(&mut self, other: Self) {
        for (key, error) in other.missing {
            self.missing.entry(key).or_insert(error);
        }
        self.changed.extend(other.changed);
    }

    /// At the end of the statement.
    ///
    /// # Errors
    /// 23503.
    pub async fn finish(mut self, ctx: &Arc<ExecContext>) -> SqlResult<()> {
        while let Some(changed) = self.changed.pop_front() {
            ctx.check_cancel()?;
            let referencing: Vec<(Arc<TableDescriptor>, ConstraintDescriptor, ForeignKey)> = ctx
                .catalog
                .referenced_by(changed.code.table.oid)
                .map(|(table, constraint, key)| (table.clone(), constraint.clone(), key.clone()))
                .collect();
            for (table, constraint, key) in referencing {
                // Boxed, since an action may lead back here.
                Box::pin(self.follow(&changed, &table, &constraint, &key, ctx)).await?;
            }
        }
        if self.missing.is_empty() {
            return Ok(());
        }
        let mut keys: Vec<Key> = self.missing.keys().cloned().collect();
        keys.sort_unstable();
        let there = held_where_there(ctx, &keys).await?;
        for (key, there) in keys.iter().zip(there) {
            if !there && let Some(error) = self.missing.remove(key) {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn follow(
        &mut self,
        changed: &Changed,
        table: &Arc<TableDescriptor>,
        constraint: &ConstraintDescriptor,
        key: &ForeignKey,
        ctx: &Arc<ExecContext>,
    ) -> SqlResult<()> {
        let parent = &changed.code;
        let referenced = parent.table.ordinals(key.referenced_columns.iter().copied());
        if referenced.iter().any(|o| changed.old[*o].is_null()) {
            return Ok(());
        }
        if let Some(new) = &changed.new
            && same(&parent.table, &referenced, &changed.old, new)
        {
            return Ok(());
        }
        let child = ctx.server.codes.get(table, &ctx.catalog)?;
        let columns = table.ordinals(key.columns.iter().copied());
        let wanted: Vec<Datum> = referenced
            .iter()
            .zip(&columns)
            .map(|(from, to)| {
                let (from_ty, to_ty) = (&parent.table.columns[*from].ty, &table.columns[*to].ty);
                convert(&changed.old[*from], from_ty, to_ty, ctx)
            })
            .collect::<SqlResult<_>>()?;
        let kept = Kept::new();
        let children = children(&child, &columns, &wanted, ctx, &kept).await?;
        if children.is_empty() {
            return Ok(());
        }
        let action = if changed.new.is_some() { key.on_update } else { key.on_delete };
        let writer = Writer::new(ctx, child.clone());
        match action {
            ForeignKeyAction::NoAction | ForeignKeyAction::Restrict => {
                let still_there = action == ForeignKeyAction::NoAction
                    && parent_exists(ctx, key, parent, &referenced, &changed.old).await?;
                if still_there {
                    return Ok(());
                }
                let (row, types) = (&changed.old, &ctx.types);
                let name = &constraint.name;
                Err(violation::still_referenced(parent, &child, name, &referenced, row, types))
            }
            ForeignKeyAction::Cascade if changed.new.is_none() => {
                let rows = relock(&child, children, LockMode::Exclusive, ctx).await?;
                writer.delete(rows.into_iter().map(|f| (f.key, f.row)).collect(), self).await
            }
            ForeignKeyAction::Cascade
            | ForeignKeyAction::SetNull
            | ForeignKeyAction::SetDefault => {
                let parts = child.parts(&ctx.catalog)?;
                let rows = relock(&child, children, LockMode::Exclusive, ctx).await?;
                let mut changes = Vec::with_capacity(rows.len());
                for found in rows {
                    let mut new = found.row.clone();
                    for (column, from) in columns.iter().zip(&referenced) {
                        new[*column] = match (action, &changed.new) {
                            (ForeignKeyAction::Cascade, Some(parent_row)) => convert(
                                &parent_row[*from],
                                &parent.table.columns[*from].ty,
                                &table.columns[*column].ty,
                                ctx,
                            )?,
                            (ForeignKeyAction::SetDefault, _) => {
                                parts.defaults[*column].eval(&[], &ctx.eval())?
                            }
                            _ => Datum::Null,
                        };
                    }
                    changes.push(Change { key: found.key, old: found.row, new });
                }
                // A default that is the very key that goes changes nothing, and so nobody would look.
                let kept = action == ForeignKeyAction::SetDefault
                    && changes.iter().any(|c| same(table, &columns, &c.old, &c.new));
                if kept && !parent_exists(ctx, key, parent, &referenced, &changed.old).await? {
                    let (row, types) = (&changed.old, &ctx.types);
                    let name = &constraint.name;
                    return Err(violation::still_referenced(
                        parent,
                        &child,
                        name,
                        &referenced,
                        row,
                        types,
                    ));
                }
                let rules = Rules { checks: &parts.checks, generated: &parts.generated };
                writer.update(changes, &rules, self).await.map(|_| ())
            }
        }
    }
}

/// The parent's code by the constraint that points at it.
pub(crate) fn parent_of(ctx: &ExecContext, key: &ForeignKey) -> SqlResult<Arc<TableCode>> {
    let table = ctx.catalog.table(key.referenced_table).ok_or_else(|| {
        SqlError::internal(format!("a foreign key points at table {}", key.referenced_table))
    })?;
    ctx.server.codes.get(table, &ctx.catalog)
}

/// The key under which the parent of `row` is found; `None` if its type cannot hold the value.
pub(crate) fn parent_key(
    ctx: &ExecContext,
    key: &ForeignKey,
    child: &TableDescriptor,
    ordinals: &[usize],
    parent: &TableCode,
    row: &[Datum],
) -> SqlResult<Option<Key>> {
    let mut by_column = HashMap::with_capacity(ordinals.len());
    for (ordinal, referenced) in ordinals.iter().zip(&key.referenced_columns) {
        let Some(to) = parent.table.column(*referenced) else {
            return Err(SqlError::internal("a foreign key points at a column that is not there"));
        };
        match convert(&row[*ordinal], &child.columns[*ordinal].ty, &to.ty, ctx) {
            Ok(value) => by_column.insert(*referenced, value),
            Err(_) => return Ok(None),
        };
    }
    let index = parent.table.index(key.referenced_index).ok_or_else(|| {
        SqlError::internal(format!("a foreign key points at index {}", key.referenced_index))
    })?;
    let values: Vec<Datum> =
        index.columns.iter().filter_map(|c| by_column.get(&c.column).cloned()).collect();
    Ok(Some(match index.id {
        ROWS_INDEX => parent.row_keys.of_values(&values)?,
        id => parent.index(id)?.keys.prefix_of(&values)?,
    }))
}

/// Which of `keys` parents have; those are kept from being removed. A parent that is only being
/// inserted by somebody else is not there, and not waited for.
async fn held_where_there(ctx: &ExecContext, keys: &[Key]) -> SqlResult<Vec<bool>> {
    let is_there = |locked: LockedValue| match locked {
        LockedValue::Locked { value, .. } => Ok(value.is_some()),
        LockedValue::Skipped => Err(lock_refused()),
    };
    match ctx.txn.lock(keys, LockMode::KeyShare, WaitPolicy::NoWait).await {
        Ok(locked) => return locked.into_iter().map(is_there).collect(),
        Err(KvError::LockNotAvailable { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let newest = ctx.txn.multi_get(keys, ReadAt::Latest).await?;
    let mut there: Vec<bool> = newest.iter().map(Option::is_some).collect();
    let wanted = keys.iter().zip(&there).filter(|(_, there)| **there);
    let wanted: Vec<Key> = wanted.map(|(key, _)| key.clone()).collect();
    let locked = ctx.txn.lock(&wanted, LockMode::KeyShare, ctx.wait()).await?;
    for (there, locked) in there.iter_mut().filter(|there| **there).zip(locked) {
        *there = is_there(locked)?;
    }
    Ok(there)
}

/// NO ACTION: another row may have taken over the key.
async fn parent_exists(
    ctx: &ExecContext,
    key: &ForeignKey,
    parent: &TableCode,
    referenced: &[usize],
    old: &[Datum],
) -> SqlResult<bool> {
    let table = &parent.table;
    match parent_key(ctx, key, table, referenced, parent, old)? {
        Some(key) => Ok(ctx.txn.get(&key, ReadAt::Latest).await?.is_some()),
        None => Ok(false),
    }
}

/// Newest rows of `child` whose `columns` equal `values`.
async fn children(
    child: &Arc<TableCode>,
    columns: &[usize],
    values: &[Datum],
    ctx: &ExecContext,
    kept: &Kept,
) -> SqlResult<Vec<Found>> {
    // An index whose leading columns are the constraint's, in any order, finds them without a scan.
    let leads = |ordinals: &[usize]| {
        ordinals.len() >= columns.len()
            && ordinals[..columns.len()].iter().all(|o| columns.contains(o))
    };
    let arranged = |ordinals: &[usize]| -> Vec<Datum> {
        let value_of = |o: &usize| columns.iter().position(|c| c == o).map(|at| values[at].clone());
        ordinals[..columns.len()].iter().filter_map(value_of).collect()
    };
    let row_key = child.table.row_key_ordinals();
    let index = child
        .indexes
        .iter()
        .position(|i| i.is_public() && i.predicate.is_none() && leads(&i.ordinals));
    let mut cursor = if leads(&row_key) {
        Cursor::by_key_prefix(child, &arranged(&row_key), ReadAt::Latest)?
    } else if let Some(at) = index {
        let values = arranged(&child.indexes[at].ordinals);
        Cursor::by_index_prefix(child, at, &values, ReadAt::Latest)?
    } else {
        Cursor::by_key_prefix(child, &[], ReadAt::Latest)?
    };
    let all: Vec<usize> = (0..child.width()).collect();
    let mut found = Vec::new();
    while let Some(page) = cursor.next(ctx, &all, usize::MAX).await? {
        ctx.check_cancel()?;
        for child_row in page {
            let refers = columns.iter().zip(values).all(|(column, value)| {
                let datum = &child_row.row[*column];
                !datum.is_null() && eq_as(&child.table.columns[*column].ty.ty, datum, value)
            });
            if refers {
                kept.bytes(child_row.key.len() + row_bytes(&child_row.row))?;
                found.push(child_row);
            }
        }
    }
    Ok(found)
}

/// Locks rows and reads them again; those that have gone are left out.
async fn relock(
    code: &TableCode,
    found: Vec<Found>,
    mode: LockMode,
    ctx: &ExecContext,
) -> SqlResult<Vec<Found>> {
    let keys: Vec<Key> = found.into_iter().map(|f| f.key).collect();
    let locked = ctx.txn.lock(&keys, mode, ctx.wait()).await?;
    let mut rows = Vec::with_capacity(keys.len());
    for (key, locked) in keys.into_iter().zip(locked) {
        match locked {
            LockedValue::Locked { value: Some(value), .. } => {
                rows.push(Found { key, row: code.decode_all(&value)? });
            }
            LockedValue::Locked { value: None, .. } => {}
            LockedValue::Skipped => return Err(lock_refused()),
        }
    }
    Ok(rows)
}

fn same(table: &TableDescriptor, ordinals: &[usize], a: &[Datum], b: &[Datum]) -> bool {
    ordinals.iter().all(|o| match (a[*o].is_null(), b[*o].is_null()) {
        (true, true) => true,
        (false, false) => eq_as(&table.columns[*o].ty.ty, &a[*o], &b[*o]),
        (true, false) | (false, true) => false,
    })
}

/// A key value in the type of the other side: int4 may reference int8.
fn convert(
    value: &Datum,
    from: &ColumnType,
    to: &ColumnType,
    ctx: &ExecContext,
) -> SqlResult<Datum> {
    if value.is_null() || from.ty == to.ty || (from.ty.is_text_like() && to.ty.is_text_like()) {
        return Ok(value.clone());
    }
    let text = datum::text::to_string(value, &from.ty, &ctx.types);
    Ok(datum::text::parse(to, &text, &ctx.types)?)
}
