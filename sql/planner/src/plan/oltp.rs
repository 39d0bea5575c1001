//! Single-table plans that run straight on a `KvTransaction`, with no planning at run time.
//!
//! `select abalance from accounts where aid = $1` becomes
//! `OltpPlan { access: PkGet { key: [$1] }, filter: None, project: [column 3] }`: encode the key,
//! get, decode column 3, answer.
//!
//! `select * from t where a = 5 and b > $1 order by b limit 10` with an index on (a, b) becomes
//! `IndexRange { index, range: { prefix: [5], lower: Excluded($1), upper: Unbounded } }`, no sort
//! (the index has that order), `limit: 10`.

use super::rel::SortKey;
use super::{AggregateCall, Field};
use catalog::{IndexId, TableDescriptor};
use core_domain::LockMode;
use expr::Expr;
use std::ops::Bound;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct OltpPlan {
    /// `None` only with `Access::Values`.
    pub table: Option<Arc<TableDescriptor>>,
    pub access: Access,
    /// Ordinals that filter, order, aggregates, project read: all that must be decoded. The row
    /// given to expressions has full width; other columns may be NULL in it.
    pub columns: Vec<usize>,
    /// What the access does not guarantee already.
    pub filter: Option<Expr>,
    /// Ungrouped aggregation over the filtered rows; empty: none. Exactly one row results.
    pub aggregates: Vec<AggregateCall>,
    /// HAVING, over the aggregates' results.
    pub having: Option<Expr>,
    /// A sort that the access order does not give; the number of rows is expected to be small.
    pub order: Vec<SortKey>,
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
    pub lock: Option<RowLock>,
    pub project: Vec<Expr>,
    pub fields: Vec<Field>,
}

/// Where rows come from. Key expressions have the key column's type and use no columns: constants,
/// parameters and functions of these, evaluated once per execution. A NULL among them (other than
/// by `Null` bounds) finds nothing.
#[derive(Clone, Debug)]
pub enum Access {
    /// Rows computed from nothing: `SELECT 1`, `VALUES`. Each row is evaluated in turn, and
    /// `filter`, `project` then apply to it (the row layout is that of the values).
    Values(Vec<Vec<Expr>>),
    /// The row with this row key (`TableDescriptor::row_key`), all key columns given.
    PkGet { key: Vec<Expr> },
    /// The rows with these keys; duplicates once, absent ones left out.
    PkMultiGet { keys: KeyList },
    /// A span of the rows' own index; the whole table with an empty prefix and open bounds (also
    /// for tables with hidden row ids).
    PkRange(KeyRange),
    /// At most one row through a unique secondary index, all columns given and not NULL.
    IndexGet { index: IndexId, key: Vec<Expr> },
    /// A span of a secondary index. `covering`: the entry has every column in `OltpPlan::columns`
    /// (index columns plus row key), the row need not be fetched.
    IndexRange { index: IndexId, range: KeyRange, covering: bool },
}

impl Access {
    pub fn full_scan() -> Self {
        Access::PkRange(KeyRange::default())
    }

    pub fn is_full_scan(&self) -> bool {
        matches!(self, Access::PkRange(range) if range.is_everything())
    }
}

#[derive(Clone, Debug)]
pub enum KeyList {
    /// `id IN (1, 2, $1)`: each a full key.
    Keys(Vec<Vec<Expr>>),
    /// `id = ANY($1)`: an array whose elements are keys of one column.
    Array(Expr),
}

/// `prefix` columns are equal; the next column lies between the bounds.
#[derive(Clone, Debug)]
pub struct KeyRange {
    pub prefix: Vec<KeyPart>,
    /// In the column's ascending order, whatever the index direction. With a bounded side, NULLs of
    /// that column are outside.
    pub lower: Bound<Expr>,
    pub upper: Bound<Expr>,
    /// Walk the index from its end to its start.
    pub reverse: bool,
}

impl Default for KeyRange {
    fn default() -> Self {
        Self {
            prefix: Vec::new(),
            lower: Bound::Unbounded,
            upper: Bound::Unbounded,
            reverse: false,
        }
    }
}

impl KeyRange {
    pub fn is_everything(&self) -> bool {
        self.prefix.is_empty()
            && matches!((&self.lower, &self.upper), (Bound::Unbounded, Bound::Unbounded))
    }
}

#[derive(Clone, Debug)]
pub enum KeyPart {
    Equal(Expr),
    /// `IS NULL`.
    IsNull,
}

/// FOR UPDATE and its weaker kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLock {
    pub mode: LockMode,
    pub wait: RowLockWait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowLockWait {
    /// As long as `lock_timeout` allows.
    Wait,
    NoWait,
    SkipLocked,
}
