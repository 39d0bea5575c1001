//! The relational tree: what the relational engine lowers and runs.
//!
//! Columns are positions in the node's input; names in `fields` are for output and `EXPLAIN` only.
//! Duplicate names are normal. Types of the two sides of a comparison, of set operations and of
//! join keys are equal already: the binder has inserted the casts.
//!
//! **Subqueries in expressions** never appear inside an `Expr`. The binder puts an [`RelNode::Apply`]
//! under the node that uses the expression; Apply adds one column with the subquery's value to its
//! left input. Inside `right`, `Expr::OuterColumn { depth, index }` is a column of the left input of
//! the enclosing Apply: depth 0 the nearest one, 1 the next one up, and so on. A `right` without
//! outer columns runs once. ([`Expr::Subquery`] is not used.)
//!
//! `select id, (select max(x) from u where u.id = t.id) from t where exists (select 1 from u)`:
//!
//! ```text
//! Project [0, 2]
//!   Apply Scalar                       fields: t.id, t.a, ?column?
//!     Filter #2                        (a Project above drops the column again)
//!       Apply Exists, uncorrelated     fields: t.id, t.a, exists
//!         Scan t
//!         Project [1] (Scan u)
//!     Aggregate max(#1) (Filter #0 = outer(0, 0) (Scan u))
//! ```

use super::RowLock;
use catalog::{Oid, TableDescriptor, VirtualTable};
use datum::ColumnType;
use expr::{BoundFunction, Expr};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Rel {
    pub node: RelNode,
    pub fields: Vec<Field>,
}

impl Rel {
    pub fn new(node: RelNode, fields: Vec<Field>) -> Self {
        Self { node, fields }
    }
}

/// One output column.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub ty: ColumnType,
    /// The alias or table it came from, if it still has one.
    pub qualifier: Option<String>,
    /// Table OID and attnum, where it is a table's column unchanged.
    pub origin: Option<(Oid, i16)>,
}

impl Field {
    pub fn new(name: impl Into<String>, ty: ColumnType) -> Self {
        Self { name: name.into(), ty, qualifier: None, origin: None }
    }
}

/// Names a CTE within one plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CteId(pub u32);

#[derive(Clone, Debug)]
pub enum RelNode {
    /// Ordinals of the columns wanted, then, if asked for, the hidden row id as int8
    /// (only for tables whose `row_key()` is `Hidden`).
    Scan {
        table: Arc<TableDescriptor>,
        columns: Vec<usize>,
        row_id: bool,
        sample: Option<Sample>,
    },
    /// pg_catalog, information_schema, shanghai.
    VirtualScan {
        table: VirtualTableRef,
        columns: Vec<usize>,
    },
    /// At least one row; `SELECT` without FROM reads one row of no columns.
    Values {
        rows: Vec<Vec<Expr>>,
    },
    Filter {
        input: Box<Rel>,
        predicate: Expr,
    },
    Project {
        input: Box<Rel>,
        exprs: Vec<Expr>,
    },
    /// Set-returning functions in a select list: all advance together, shorter ones give NULLs,
    /// until the longest ends; no row when all are empty.
    ProjectSet {
        input: Box<Rel>,
        items: Vec<ProjectItem>,
    },
    /// Functions in FROM. No input; arguments may hold outer columns (LATERAL, through Apply).
    TableFunction {
        functions: Vec<TableFunctionCall>,
        ordinality: bool,
    },
    /// `on`: equal pairs, left over the left input, right over the right input (hashable, same
    /// type). `filter`: the rest of the condition, over [left, right]. Semi and Anti give the left
    /// fields only.
    Join {
        kind: JoinKind,
        left: Box<Rel>,
        right: Box<Rel>,
        on: Vec<(Expr, Expr)>,
        filter: Option<Expr>,
    },
    /// Fields: [groups][calls][groupings].
    Aggregate {
        input: Box<Rel>,
        groups: Vec<Expr>,
        /// Indexes into `groups`; one empty set and no groups for an ungrouped aggregate. `None`:
        /// one set of all groups.
        sets: Option<Vec<Vec<usize>>>,
        calls: Vec<AggregateCall>,
        /// `GROUPING(a, b)`: int4, one bit per listed group, first is highest; 1 where it is absent
        /// from the set.
        groupings: Vec<Vec<usize>>,
    },
    /// Fields: [input][one per call].
    Window {
        input: Box<Rel>,
        calls: Vec<WindowCall>,
    },
    Sort {
        input: Box<Rel>,
        keys: Vec<SortKey>,
    },
    /// Expressions over no columns, int8; NULL means no limit.
    Limit {
        input: Box<Rel>,
        limit: Option<Expr>,
        offset: Option<Expr>,
        ties: Option<Vec<SortKey>>,
    },
    Distinct {
        input: Box<Rel>,
    },
    /// The first row of each group of equal `keys`, in input order (the input is sorted by `keys`
    /// first).
    DistinctOn {
        input: Box<Rel>,
        keys: Vec<Expr>,
    },
    SetOp {
        op: SetOperator,
        all: bool,
        left: Box<Rel>,
        right: Box<Rel>,
    },
    /// `ctes` in order of definition; each may read the ones before it.
    With {
        ctes: Vec<Cte>,
        body: Box<Rel>,
    },
    /// All rows of a CTE, of the working table inside `RecursiveUnion::step`, or of a writing CTE.
    CteRef {
        id: CteId,
        name: String,
    },
    /// `base`, then `step` again and again over the rows of the round before (`CteRef { id }`),
    /// until it gives none. `all` false: rows seen before are dropped.
    RecursiveUnion {
        id: CteId,
        name: String,
        all: bool,
        base: Box<Rel>,
        step: Box<Rel>,
    },
    Apply {
        kind: ApplyKind,
        left: Box<Rel>,
        right: Box<Rel>,
    },
    /// Locks the rows that come by; their newest versions are what `FOR UPDATE` then returns.
    LockRows {
        input: Box<Rel>,
        targets: Vec<LockTarget>,
    },
}

/// A virtual table, printable.
#[derive(Clone, Copy)]
pub struct VirtualTableRef(pub &'static VirtualTable);

impl std::fmt::Debug for VirtualTableRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

#[derive(Clone, Debug)]
pub struct Sample {
    /// BERNOULLI and SYSTEM are the same here.
    pub percent: Expr,
    pub seed: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    /// Left rows that have a match.
    Semi,
    /// Left rows that have none (NOT EXISTS; not NOT IN).
    Anti,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOperator {
    Union,
    Intersect,
    Except,
}

#[derive(Clone, Debug)]
pub enum ApplyKind {
    /// Adds the single value of `right` (one column); NULL for no row; 21000 for more than one.
    Scalar,
    /// Adds the values of all of `right`'s columns, NULLs for no row; 21000 for more than one:
    /// `(a, b) = (SELECT ...)`, `UPDATE ... SET (a, b) = (SELECT ...)`.
    ScalarRow,
    /// Adds bool.
    Exists,
    /// Adds an array of `right`'s only column, in its order: `ARRAY(SELECT ...)`.
    Array,
    /// Adds bool or NULL by three-valued logic. `test` is over [left fields][right fields]: `IN` and
    /// `= ANY` with an equality, other operators for ANY.
    Any { test: Expr },
    /// `NOT IN` is `All` with `<>`.
    All { test: Expr },
    /// Adds `right`'s columns and repeats the left row for each of its rows: LATERAL.
    Lateral,
    /// The same, with one row of NULLs where `on` (over [left][right]) holds for none.
    LateralLeft { on: Option<Expr> },
}

#[derive(Clone, Debug)]
pub struct Cte {
    pub id: CteId,
    pub name: String,
    pub rel: Rel,
    /// True: run once and keep the rows (MATERIALIZED, volatile, or read more than once).
    pub materialized: bool,
}

#[derive(Clone, Debug)]
pub struct SortKey {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Clone, Debug)]
pub enum ProjectItem {
    Scalar(Expr),
    /// A set-returning call; one column.
    Set(SetCall),
}

#[derive(Clone, Debug)]
pub struct SetCall {
    pub function: Arc<BoundFunction>,
    pub args: Vec<Expr>,
    pub ty: ColumnType,
}

/// One function of FROM or of ROWS FROM.
#[derive(Clone, Debug)]
pub struct TableFunctionCall {
    pub source: TableFunctionSource,
    /// How many of the node's fields it fills.
    pub width: usize,
}

#[derive(Clone, Debug)]
pub enum TableFunctionSource {
    /// `width` values per row come from the kernel.
    Set(SetCall),
    /// An ordinary function: one row; one column, or the fields of the record it answers.
    Scalar(Expr),
}

#[derive(Clone, Debug)]
pub struct AggregateCall {
    pub function: Arc<BoundFunction>,
    /// Empty for `count(*)`. For an ordered-set aggregate the direct arguments come first.
    pub args: Vec<Expr>,
    /// How many of `args` are direct arguments (constant within a group): percentile_cont's 0.5.
    pub direct: usize,
    pub distinct: bool,
    /// ORDER BY, or WITHIN GROUP (ORDER BY ...) whose expressions are then also the last `args`.
    pub order: Vec<SortKey>,
    pub filter: Option<Expr>,
    pub ty: ColumnType,
}

#[derive(Clone, Debug)]
pub struct WindowCall {
    pub function: WindowFunction,
    pub partition: Vec<Expr>,
    pub order: Vec<SortKey>,
    pub frame: Frame,
    pub ty: ColumnType,
}

#[derive(Clone, Debug)]
pub enum WindowFunction {
    /// row_number, rank, lag, first_value, ...
    Window { function: Arc<BoundFunction>, args: Vec<Expr> },
    /// Any aggregate; its `filter` applies, `order` is empty.
    Aggregate(AggregateCall),
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub mode: FrameMode,
    pub start: FrameBound,
    pub end: FrameBound,
    pub exclude: FrameExclude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameMode {
    Rows,
    Range,
    Groups,
}

#[derive(Clone, Debug)]
pub enum FrameBound {
    UnboundedPreceding,
    /// Over no columns: int8 for ROWS and GROUPS; for RANGE what is subtracted from the order key.
    Preceding(Expr),
    CurrentRow,
    Following(Expr),
    UnboundedFollowing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameExclude {
    NoOthers,
    CurrentRow,
    Group,
    Ties,
}

/// Rows to lock, found through columns of the LockRows' input.
#[derive(Clone, Debug)]
pub struct LockTarget {
    pub table: Arc<TableDescriptor>,
    /// Input positions of the row key, in key order (the hidden row id alone where there is none).
    pub key: Vec<usize>,
    pub lock: RowLock,
}
