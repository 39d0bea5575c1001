//! Rows and index entries of one table: the level below SQL's statements.

use super::referential::Effects;
use super::{lock_refused, violation};
use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::outcome::Row;
use crate::table_code::{IndexCode, TableCode};
use catalog::keys::{IndexEntry, IndexKeys};
use core_domain::{Key, LockMode, LockedValue, ReadAt, Value};
use datum::Datum;
use expr::Expr;
use planner::Check;
use std::collections::HashMap;
use std::sync::Arc;

pub(crate) struct Writer<'a> {
    pub ctx: &'a Arc<ExecContext>,
    pub code: Arc<TableCode>,
}

/// What new rows must satisfy besides NOT NULL and keys.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub checks: &'a [Check],
    pub generated: &'a [(usize, Expr)],
}

/// A row to be replaced. Its key is locked.
pub(crate) struct Change {
    pub key: Key,
    pub old: Row,
    pub new: Row,
}

/// A new row with its key and index entries.
pub(super) struct Placed {
    pub row: Row,
    pub key: Key,
    /// By position in `TableCode::indexes`; `None` where a partial index leaves the row out.
    pub entries: Vec<Option<IndexEntry>>,
}

/// Which keys hold something now, as far as this statement has looked or written.
#[derive(Default)]
pub(super) struct Occupied(HashMap<Key, Option<Value>>);

impl Occupied {
    pub fn set(&mut self, key: Key, value: Option<Value>) {
        self.0.insert(key, value);
    }

    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.0.get(key).and_then(Option::as_ref)
    }
}

impl<'a> Writer<'a> {
    pub fn new(ctx: &'a Arc<ExecContext>, code: Arc<TableCode>) -> Self {
        Self { ctx, code }
    }

    /// Inserts whole rows; answers them with generated columns filled in.
    ///
    /// # Errors
    /// 23502, 23514, 23505. Foreign keys are checked by `Effects::finish`.
    pub async fn insert(
        &self,
        rows: Vec<Row>,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) -> SqlResult<Vec<Row>> {
        let placed = self.place(rows, rules).await?;
        let mut occupied = match self.lock_places(&placed).await {
            Ok(occupied) => occupied,
            Err(error) if error.sqlstate == "40001" => {
                return Err(Box::pin(self.duplicate_since(&placed, error)).await);
            }
            Err(error) => return Err(error),
        };
        let mut inserted = Vec::with_capacity(placed.len());
        for place in placed {
            self.refuse_duplicate(&place, &occupied)?;
            inserted.push(self.put(place, &mut occupied)?);
        }
        effects.rows_written(self, inserted.iter().map(|row| (None, row))).await?;
        self.ctx.txn.relieve().await?;
        Ok(inserted)
    }

    /// Inserts rows that nobody asks back: COPY. A duplicate may be found late, at the latest by
    /// [`Writer::settle`].
    ///
    /// # Errors
    /// As `insert`.
    pub async fn load(
        &self,
        rows: Vec<Row>,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) -> SqlResult<()> {
        let placed = self.place(rows, rules).await?;
        let hidden = self.code.row_keys.is_hidden();
        let mut new = Vec::with_capacity(placed.len());
        for place in &placed {
            let value = self.code.encoder.encode(&place.row);
            match hidden {
                true => self.ctx.txn.put(place.key.clone(), value)?,
                false => new.push((place.key.clone(), value)),
            }
            for entry in place.entries.iter().flatten() {
                match entry.exclusive {
                    true => new.push((entry.key.clone(), entry.value.clone())),
                    false => self.ctx.txn.put(entry.key.clone(), entry.value.clone())?,
                }
            }
        }
        if !new.is_empty() {
            match self.ctx.txn.insert(new, self.ctx.wait()).await.map_err(SqlError::from) {
                Ok(None) => {}
                Ok(Some(key)) => return Err(self.duplicate(&placed, &key)?),
                Err(error) if error.sqlstate == "40001" => {
                    return Err(Box::pin(self.duplicate_since(&placed, error)).await);
                }
                Err(error) => return Err(error),
            }
        }
        self.ctx.txn.relieve().await?;
        effects.rows_written(self, placed.iter().map(|place| (None, &place.row))).await
    }

    /// After the last `load`.
    ///
    /// # Errors
    /// 23505.
    pub async fn settle(&self) -> SqlResult<()> {
        match self.ctx.txn.insert(Vec::new(), self.ctx.wait()).await? {
            None => Ok(()),
            Some(key) => Err(self.duplicate(&[], &key)?),
        }
    }

    /// What to say about `key`, which holds something. Its row may be of an earlier batch: then the
    /// key alone tells its columns.
    fn duplicate(&self, placed: &[Placed], key: &Key) -> SqlResult<SqlError> {
        let types = &self.ctx.types;
        let columns_of = |keys: &IndexKeys| -> SqlResult<Row> {
            let mut row = vec![Datum::Null; self.code.width()];
            for (ordinal, value) in keys.ordinals().zip(keys.decode(key)?) {
                row[ordinal] = value;
            }
            Ok(row)
        };
        if self.code.row_keys.span().contains(key) {
            let row = match placed.iter().find(|place| place.key == *key) {
                Some(place) => place.row.clone(),
                None => columns_of(self.code.row_keys.keys())?,
            };
            return Ok(violation::duplicate_row_key(&self.code, &row, types));
        }
        for (at, index) in self.code.indexes.iter().enumerate() {
            if index.keys.all().contains(key) {
                let of =
                    |place: &&Placed| place.entries[at].as_ref().is_some_and(|e| e.key == *key);
                let row = match placed.iter().find(of) {
                    Some(place) => place.row.clone(),
                    None => columns_of(&index.keys)?,
                };
                return Ok(violation::duplicate_entry(&self.code, index, &row, types));
            }
        }
        Ok(SqlError::internal(format!("{key} is of no index of {}", self.code.table.name)))
    }

    fn refuse_duplicate(&self, place: &Placed, occupied: &Occupied) -> SqlResult<()> {
        let types = &self.ctx.types;
        if !self.code.row_keys.is_hidden() && occupied.get(&place.key).is_some() {
            return Err(violation::duplicate_row_key(&self.code, &place.row, types));
        }
        for (index, entry) in self.code.indexes.iter().zip(&place.entries) {
            if let Some(entry) = entry
                && entry.exclusive
                && occupied.get(&entry.key).is_some()
            {
                return Err(violation::duplicate_entry(&self.code, index, &place.row, types));
            }
        }
        Ok(())
    }

    /// REPEATABLE READ could not lock a place, since it has changed after the snapshot. If another
    /// row is there now, that is the answer: trying again would not help.
    async fn duplicate_since(&self, placed: &[Placed], conflict: SqlError) -> SqlError {
        let keys = self.exclusive_keys(placed);
        let Ok(values) = self.ctx.txn.multi_get(&keys, ReadAt::Latest).await else {
            return conflict;
        };
        let occupied = Occupied(keys.into_iter().zip(values).collect());
        let found = placed.iter().find_map(|place| self.refuse_duplicate(place, &occupied).err());
        found.unwrap_or(conflict)
    }

    /// Replaces rows; answers the new ones with generated columns filled in.
    ///
    /// # Errors
    /// 23502, 23514, 23505.
    pub async fn update(
        &self,
        mut changes: Vec<Change>,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) -> SqlResult<Vec<Row>> {
        for change in &mut changes {
            self.complete(&mut change.new, rules)?;
        }
        // What each change removes and adds: (position of the index, old entry, new entry).
        let mut plans = Vec::with_capacity(changes.len());
        let mut to_lock = Vec::new();
        for change in &changes {
            let key = self.moved_key(change)?;
            let mut entries = Vec::new();
            for (at, index) in self.code.indexes.iter().enumerate() {
                let before = self.entry(index, &change.old, &change.key)?;
                let after = self.entry(index, &change.new, key.as_ref().unwrap_or(&change.key))?;
                if before == after {
                    continue;
                }
                to_lock.extend(before.iter().filter(|e| e.exclusive).map(|e| e.key.clone()));
                to_lock.extend(after.iter().filter(|e| e.exclusive).map(|e| e.key.clone()));
                entries.push((at, before, after));
            }
            to_lock.extend(key.clone());
            plans.push((key, entries));
        }
        let mut occupied = self.lock_keys(to_lock).await?;
        for (change, (moved, entries)) in changes.iter().zip(plans) {
            let types = &self.ctx.types;
            if let Some(new_key) = &moved {
                if occupied.get(new_key).is_some() {
                    return Err(violation::duplicate_row_key(&self.code, &change.new, types));
                }
                self.ctx.txn.delete(change.key.clone())?;
                occupied.set(change.key.clone(), None);
            }
            let value = self.code.encoder.encode(&change.new);
            let key = moved.unwrap_or_else(|| change.key.clone());
            occupied.set(key.clone(), Some(value.clone()));
            self.ctx.txn.put(key, value)?;
            for (at, before, after) in entries {
                // An entry whose key stays is overwritten, not removed.
                let stays = |e: &IndexEntry| after.as_ref().is_some_and(|a| a.key == e.key);
                let same_key = before.as_ref().is_some_and(stays);
                if let Some(before) = before.filter(|e| !stays(e)) {
                    occupied.set(before.key.clone(), None);
                    self.ctx.txn.delete(before.key)?;
                }
                if let Some(after) = after {
                    if after.exclusive && !same_key && occupied.get(&after.key).is_some() {
                        let index = &self.code.indexes[at];
                        return Err(violation::duplicate_entry(
                            &self.code,
                            index,
                            &change.new,
                            types,
                        ));
                    }
                    occupied.set(after.key.clone(), Some(after.value.clone()));
                    self.ctx.txn.put(after.key, after.value)?;
                }
            }
        }
        self.ctx.txn.relieve().await?;
        effects.rows_written(self, changes.iter().map(|c| (Some(&c.old), &c.new))).await?;
        for change in &changes {
            effects.row_changed(self, &change.old, Some(&change.new));
        }
        Ok(changes.into_iter().map(|change| change.new).collect())
    }

    /// Removes rows whose keys are locked.
    pub async fn delete(&self, rows: Vec<(Key, Row)>, effects: &mut Effects) -> SqlResult<()> {
        let mut removed = Vec::with_capacity(rows.len());
        let mut to_lock = Vec::new();
        for (key, row) in &rows {
            removed.push(key.clone());
            for index in &self.code.indexes {
                if let Some(entry) = self.entry(index, row, key)? {
                    if entry.exclusive {
                        to_lock.push(entry.key.clone());
                    }
                    removed.push(entry.key);
                }
            }
        }
        // Whoever wants to insert the same unique value waits for this transaction.
        self.lock_keys(to_lock).await?;
        for key in removed {
            self.ctx.txn.delete(key)?;
        }
        self.ctx.txn.relieve().await?;
        for (_, row) in &rows {
            effects.row_changed(self, row, None);
        }
        Ok(())
    }

    /// Completes new rows and works out where they go.
    pub(super) async fn place(&self, rows: Vec<Row>, rules: &Rules<'_>) -> SqlResult<Vec<Placed>> {
        let hidden = match self.code.row_keys.is_hidden() {
            true => self.ctx.server.numbers.row_ids(rows.len()).await?,
            false => 0..0,
        };
        let mut hidden = hidden.into_iter();
        let mut placed = Vec::with_capacity(rows.len());
        for mut row in rows {
            self.complete(&mut row, rules)?;
            let key = match hidden.next() {
                Some(id) => self.code.row_keys.hidden(id),
                None => self.code.row_keys.of_row(&row)?,
            };
            let mut entries = Vec::with_capacity(self.code.indexes.len());
            for index in &self.code.indexes {
                entries.push(self.entry(index, &row, &key)?);
            }
            placed.push(Placed { row, key, entries });
        }
        Ok(placed)
    }

    /// Locks everything where another row may be, and tells where one is.
    pub(super) async fn lock_places(&self, placed: &[Placed]) -> SqlResult<Occupied> {
        self.lock_keys(self.exclusive_keys(placed)).await
    }

    fn exclusive_keys(&self, placed: &[Placed]) -> Vec<Key> {
        let mut keys = Vec::with_capacity(placed.len());
        for place in placed {
            if !self.code.row_keys.is_hidden() {
                keys.push(place.key.clone());
            }
            let exclusive = place.entries.iter().flatten().filter(|entry| entry.exclusive);
            keys.extend(exclusive.map(|entry| entry.key.clone()));
        }
        keys
    }

    /// In key order, so that two statements do not wait for each other crosswise.
    pub(super) async fn lock_keys(&self, mut keys: Vec<Key>) -> SqlResult<Occupied> {
        let mut occupied = Occupied::default();
        if keys.is_empty() {
            return Ok(occupied);
        }
        keys.sort_unstable();
        keys.dedup();
        let locked = self.ctx.txn.lock(&keys, LockMode::Exclusive, self.ctx.wait()).await?;
        for (key, locked) in keys.into_iter().zip(locked) {
            match locked {
                LockedValue::Locked { value, .. } => occupied.set(key, value),
                LockedValue::Skipped => return Err(lock_refused()),
            }
        }
        Ok(occupied)
    }

    /// Writes a row at its place, which is free.
    pub(super) fn put(&self, place: Placed, occupied: &mut Occupied) -> SqlResult<Row> {
        let value = self.code.encoder.encode(&place.row);
        if !self.code.row_keys.is_hidden() {
            occupied.set(place.key.clone(), Some(value.clone()));
        }
        self.ctx.txn.put(place.key, value)?;
        for entry in place.entries.into_iter().flatten() {
            if entry.exclusive {
                occupied.set(entry.key.clone(), Some(entry.value.clone()));
            }
            self.ctx.txn.put(entry.key, entry.value)?;
        }
        Ok(place.row)
    }

    /// Generated columns, NOT NULL, CHECK.
    pub(super) fn complete(&self, row: &mut Row, rules: &Rules<'_>) -> SqlResult<()> {
        let eval = self.ctx.eval();
        for (ordinal, expr) in rules.generated {
            row[*ordinal] = expr.eval(row, &eval)?;
        }
        for (ordinal, column) in self.code.table.columns.iter().enumerate() {
            if column.not_null && row[ordinal].is_null() {
                return Err(violation::not_null(&self.code, ordinal, row, &self.ctx.types));
            }
        }
        for check in rules.checks {
            if matches!(check.expr.eval(row, &eval)?, Datum::Bool(false)) {
                return Err(violation::check(&self.code, &check.name, row, &self.ctx.types));
            }
        }
        Ok(())
    }

    /// The entry of a row in an index; `None` if the index leaves the row out.
    pub(super) fn entry(
        &self,
        index: &IndexCode,
        row: &[Datum],
        key: &Key,
    ) -> SqlResult<Option<IndexEntry>> {
        if let Some(predicate) = &index.predicate
            && !matches!(predicate.eval(row, &self.ctx.eval())?, Datum::Bool(true))
        {
            return Ok(None);
        }
        Ok(Some(index.keys.entry(row, key)?))
    }

    /// The row's new key, if it changes.
    fn moved_key(&self, change: &Change) -> SqlResult<Option<Key>> {
        if self.code.row_keys.is_hidden() {
            return Ok(None);
        }
        let key = self.code.row_keys.of_row(&change.new)?;
        Ok((key != change.key).then_some(key))
    }
}
