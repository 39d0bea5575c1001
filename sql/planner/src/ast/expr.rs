//! Expressions as written.

use super::{Ident, ObjectName, OrderItem, Pos, Query, TypeName};

#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub pos: Pos,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    Null,
    Bool(bool),
    Int(String),
    Decimal(String),
    Str(String),
    /// B'..' and X'..'
    Bits,
    Param(u32),
    /// `a`, `t.a`, `s.t.a`, also a whole row.
    Column(Vec<Ident>),
    /// `t.*` as an argument.
    Star(Vec<Ident>),
    /// `(e).name`
    Field(Box<Expr>, Ident),
    /// `(e).*`
    FieldStar(Box<Expr>),
    Subscript(Box<Expr>, Subscript),
    Unary(Operator, Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull(Box<Expr>, bool),
    /// `IS [NOT] TRUE | FALSE | UNKNOWN` (`None`); the last is "negated".
    IsBool(Box<Expr>, Option<bool>, bool),
    /// IS [NOT] DISTINCT FROM.
    IsDistinct(Box<Expr>, Box<Expr>, bool),
    Between {
        expr: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
        negated: bool,
        symmetric: bool,
    },
    InList {
        expr: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    InQuery {
        expr: Box<Expr>,
        query: Box<Query>,
        negated: bool,
    },
    Like {
        kind: LikeKind,
        expr: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<Box<Expr>>,
        negated: bool,
    },
    /// `e op ANY (array or query)`.
    Quantified {
        op: Operator,
        all: bool,
        left: Box<Expr>,
        right: Quantified,
    },
    Cast(Box<Expr>, TypeName),
    /// `date '2024-01-01'`
    TypedLiteral(TypeName, String),
    Case {
        operand: Option<Box<Expr>>,
        whens: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Call(Box<Call>),
    Row(Vec<Expr>),
    Array(Vec<Expr>),
    ArrayQuery(Box<Query>),
    Scalar(Box<Query>),
    Exists(Box<Query>),
    Collate(Box<Expr>, ObjectName),
    /// DEFAULT, where INSERT and UPDATE allow it.
    Default,
}

/// An operator; `pos` is its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    pub name: String,
    pub pos: Pos,
}

#[derive(Clone, Debug)]
pub enum Quantified {
    Query(Box<Query>),
    Array(Box<Expr>),
}

#[derive(Clone, Debug)]
pub enum Subscript {
    Index(Box<Expr>),
    Slice(Option<Box<Expr>>, Option<Box<Expr>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LikeKind {
    Like,
    ILike,
    Similar,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub name: ObjectName,
    pub args: Vec<Arg>,
    /// `count(*)`
    pub star: bool,
    pub distinct: bool,
    pub variadic: bool,
    pub order: Vec<OrderItem>,
    pub within_group: Vec<OrderItem>,
    pub filter: Option<Expr>,
    pub over: Option<Over>,
    /// Written with SQL's own syntax (`extract(x from y)`, `current_date`): resolved in
    /// pg_catalog, and named as such.
    pub special: bool,
}

#[derive(Clone, Debug)]
pub struct Arg {
    /// `name => value`
    pub name: Option<Ident>,
    pub value: Expr,
}

#[derive(Clone, Debug)]
pub enum Over {
    Named(Ident),
    Spec(WindowSpec),
}

#[derive(Clone, Debug)]
pub struct WindowSpec {
    pub base: Option<Ident>,
    pub partition: Vec<Expr>,
    pub order: Vec<OrderItem>,
    pub frame: Option<FrameSpec>,
    pub pos: Pos,
}

#[derive(Clone, Debug)]
pub struct FrameSpec {
    pub mode: crate::plan::FrameMode,
    pub start: FrameEdge,
    pub end: FrameEdge,
    pub exclude: crate::plan::FrameExclude,
}

#[derive(Clone, Debug)]
pub enum FrameEdge {
    UnboundedPreceding,
    Preceding(Expr),
    CurrentRow,
    Following(Expr),
    UnboundedFollowing,
}
