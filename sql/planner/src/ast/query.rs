//! Queries and the statements that change rows.

use super::{Expr, Ident, ObjectName, Pos, TypeName, WindowSpec};
use crate::plan::{RowLockWait, SetOperator};
use core_domain::LockMode;

#[derive(Clone, Debug)]
pub struct Query {
    pub with: Option<With>,
    pub body: SetExpr,
    pub order: Vec<OrderItem>,
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
    pub with_ties: bool,
    pub locking: Vec<Locking>,
}

#[derive(Clone, Debug)]
pub enum SetExpr {
    Select(Box<Select>),
    Values(Vec<Vec<Expr>>),
    SetOp {
        op: SetOperator,
        all: bool,
        left: Box<SetExpr>,
        right: Box<SetExpr>,
        pos: Pos,
    },
    /// In parentheses, with clauses of its own.
    Nested(Box<Query>),
}

#[derive(Clone, Debug)]
pub struct With {
    pub recursive: bool,
    pub ctes: Vec<CteDef>,
}

#[derive(Clone, Debug)]
pub struct CteDef {
    pub name: Ident,
    pub columns: Vec<Ident>,
    pub materialized: Option<bool>,
    pub body: CteBody,
}

#[derive(Clone, Debug)]
pub enum CteBody {
    Query(Box<Query>),
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
}

#[derive(Clone, Debug)]
pub struct Select {
    pub distinct: Option<Distinct>,
    pub items: Vec<SelectItem>,
    /// SELECT INTO: a table to create.
    pub into: Option<IntoTable>,
    pub from: Vec<FromItem>,
    pub filter: Option<Expr>,
    pub group: Vec<GroupItem>,
    pub group_distinct: bool,
    pub having: Option<Expr>,
    pub windows: Vec<(Ident, WindowSpec)>,
    pub pos: Pos,
}

#[derive(Clone, Debug)]
pub struct IntoTable {
    pub name: ObjectName,
    pub temporary: bool,
}

#[derive(Clone, Debug)]
pub enum Distinct {
    All,
    On(Vec<Expr>),
}

#[derive(Clone, Debug)]
pub enum SelectItem {
    Expr {
        expr: Expr,
        alias: Option<Ident>,
    },
    /// `*` or `t.*`
    Star {
        qualifier: Vec<Ident>,
        pos: Pos,
    },
}

#[derive(Clone, Debug)]
pub enum GroupItem {
    Expr(Expr),
    /// `()`
    Empty,
    Rollup(Vec<Vec<Expr>>),
    Cube(Vec<Vec<Expr>>),
    Sets(Vec<GroupItem>),
    /// `(a, b)` within sets.
    List(Vec<Expr>),
}

#[derive(Clone, Debug)]
pub struct OrderItem {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: Option<bool>,
}

#[derive(Clone, Debug)]
pub struct Locking {
    pub mode: LockMode,
    pub of: Vec<ObjectName>,
    pub wait: RowLockWait,
    pub pos: Pos,
}

#[derive(Clone, Debug)]
pub struct TableAlias {
    pub name: Ident,
    pub columns: Vec<Ident>,
}

#[derive(Clone, Debug)]
pub enum FromItem {
    Table {
        name: ObjectName,
        alias: Option<TableAlias>,
        sample: Option<SampleClause>,
    },
    Query {
        lateral: bool,
        query: Box<Query>,
        alias: Option<TableAlias>,
        pos: Pos,
    },
    Function {
        calls: Vec<(Expr, Vec<ColumnDefItem>)>,
        ordinality: bool,
        alias: Option<TableAlias>,
        /// `AS (a int, b text)`
        columns: Vec<ColumnDefItem>,
        pos: Pos,
    },
    Join {
        kind: JoinType,
        left: Box<FromItem>,
        right: Box<FromItem>,
        condition: JoinCondition,
        alias: Option<TableAlias>,
        pos: Pos,
    },
}

#[derive(Clone, Debug)]
pub struct SampleClause {
    pub method: Ident,
    pub args: Vec<Expr>,
    pub seed: Option<Expr>,
}

#[derive(Clone, Debug)]
pub struct ColumnDefItem {
    pub name: Ident,
    pub ty: TypeName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinType {
    Cross,
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Clone, Debug)]
pub enum JoinCondition {
    None,
    On(Expr),
    Using { columns: Vec<Ident>, alias: Option<Ident> },
    Natural,
}

#[derive(Clone, Debug)]
pub struct Insert {
    pub with: Option<With>,
    pub table: ObjectName,
    pub alias: Option<Ident>,
    pub columns: Vec<Ident>,
    pub overriding: Option<Overriding>,
    pub source: InsertFrom,
    pub on_conflict: Option<OnConflictClause>,
    pub returning: Vec<SelectItem>,
    pub pos: Pos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overriding {
    System,
    User,
}

#[derive(Clone, Debug)]
pub enum InsertFrom {
    DefaultValues,
    Query(Box<Query>),
}

#[derive(Clone, Debug)]
pub struct OnConflictClause {
    pub target: Option<ConflictTarget>,
    /// `None`: DO NOTHING.
    pub update: Option<(Vec<Assignment>, Option<Expr>)>,
    pub pos: Pos,
}

#[derive(Clone, Debug)]
pub enum ConflictTarget {
    Columns { columns: Vec<Expr>, filter: Option<Expr> },
    Constraint(Ident),
}

#[derive(Clone, Debug)]
pub struct Assignment {
    /// One, or several for `(a, b) = ...`.
    pub columns: Vec<Ident>,
    pub value: Expr,
    pub multiple: bool,
}

#[derive(Clone, Debug)]
pub struct Update {
    pub with: Option<With>,
    pub table: ObjectName,
    pub alias: Option<Ident>,
    pub set: Vec<Assignment>,
    pub from: Vec<FromItem>,
    pub filter: Option<Expr>,
    pub current_of: Option<Ident>,
    pub returning: Vec<SelectItem>,
}

#[derive(Clone, Debug)]
pub struct Delete {
    pub with: Option<With>,
    pub table: ObjectName,
    pub alias: Option<Ident>,
    pub using: Vec<FromItem>,
    pub filter: Option<Expr>,
    pub current_of: Option<Ident>,
    pub returning: Vec<SelectItem>,
}
