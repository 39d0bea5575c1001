//! INSERT, UPDATE and DELETE: one description for all ways of finding the rows.
//!
//! `update accounts set abalance = abalance + $1 where aid = $2` becomes
//! `Update { source: Keys { access: PkGet { key: [$2] }, .. }, set: [(3, #3 + $1)] }`: lock the key
//! and read it, evaluate, put. No scan, no relational engine.
//!
//! `update t set a = u.a from u where t.id = u.id` becomes
//! `Update { source: Rel(..), set: [(1, #5)], recheck: Some(#0 = #4) }`: the relational engine answers
//! rows of [row key of t][extra columns: those of u]; each target is locked and read again, and `set`
//! and `recheck` see [newest old row of t][extra columns].

use super::{Access, Field, Rel};
use catalog::{IndexId, TableDescriptor};
use core_domain::LockMode;
use expr::Expr;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct WritePlan {
    pub table: Arc<TableDescriptor>,
    pub op: WriteOp,
    /// CHECK constraints to test on the new row: all for INSERT, for UPDATE those that read an
    /// assigned column. Violated by false only, not by NULL.
    pub checks: Vec<Check>,
    /// Stored generated columns to compute after `set`/defaults, in this order; `Expr`s over the
    /// new row.
    pub generated: Vec<(usize, Expr)>,
    pub returning: Option<Returning>,
}

#[derive(Clone, Debug)]
pub enum WriteOp {
    Insert(InsertOp),
    Update(UpdateOp),
    Delete(DeleteOp),
}

#[derive(Clone, Debug)]
pub struct Check {
    pub name: String,
    pub expr: Expr,
}

#[derive(Clone, Debug)]
pub struct Returning {
    pub exprs: Vec<Expr>,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub struct InsertOp {
    pub source: InsertSource,
    pub on_conflict: Option<OnConflict>,
}

#[derive(Clone, Debug)]
pub enum InsertSource {
    /// Whole rows: one expression per table column in order, casts and defaults included
    /// (NULL for generated columns). No columns are read.
    Values(Vec<Vec<Expr>>),
    /// `project` turns each row of `rel` into a whole row: one expression per table column.
    Query { rel: Box<Rel>, project: Vec<Expr> },
}

#[derive(Clone, Debug)]
pub struct OnConflict {
    /// Which unique indexes; `None`: any.
    pub arbiters: Option<Vec<IndexId>>,
    pub action: ConflictAction,
}

#[derive(Clone, Debug)]
pub enum ConflictAction {
    Nothing,
    /// Over [existing row][excluded row]. A row met twice in one statement is 21000.
    Update {
        set: Vec<(usize, Expr)>,
        filter: Option<Expr>,
        changes_key: bool,
        checks: Vec<Check>,
    },
}

#[derive(Clone, Debug)]
pub struct UpdateOp {
    pub source: TargetSource,
    /// (ordinal, new value): all over the old row and extra columns, so `SET a = b, b = a` swaps.
    pub set: Vec<(usize, Expr)>,
    /// Whether row key or any unique index column is assigned: lock Exclusive, else NoKeyExclusive.
    pub changes_key: bool,
}

impl UpdateOp {
    pub fn lock_mode(&self) -> LockMode {
        if self.changes_key { LockMode::Exclusive } else { LockMode::NoKeyExclusive }
    }
}

#[derive(Clone, Debug)]
pub struct DeleteOp {
    pub source: TargetSource,
}

/// What finds the rows to change. Each is locked, read again, and re-checked if it changed since the
/// statement's snapshot (READ COMMITTED).
#[derive(Clone, Debug)]
pub enum TargetSource {
    /// Straight key-value access; `filter` is over the row and decides again after locking.
    Keys {
        access: Access,
        filter: Option<Expr>,
        /// The whole WHERE clause over the row, key conditions included, for the second look at a
        /// row whose key columns may have changed (after an index access).
        recheck: Option<Expr>,
    },
    /// Rows of [row key columns in key order, or the hidden row id as int8][extra columns]. A target
    /// that appears more than once is changed once. `recheck` is over [row][extra columns].
    Rel { rel: Box<Rel>, key_width: usize, recheck: Option<Expr> },
    /// `WHERE CURRENT OF cursor`.
    CurrentOf(String),
}
