//! The expression tree that the planner builds (through the `Resolver`) and that executors evaluate.

use crate::cast::BoundCast;
use crate::registry::{BoundFunction, RecordShape, Volatility};
use datum::{ColumnType, Datum, SqlType};
use std::sync::Arc;

/// Equality is structural and ignores positions: `GROUP BY a + 1` finds `a + 1` in the select list.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Const(Datum, ColumnType),
    /// A quoted literal or NULL that has no type yet. `coerce` turns it into a `Const`.
    Unknown {
        text: Option<Arc<str>>,
        position: Position,
    },
    /// A field of the row that is evaluated.
    Column {
        index: usize,
        ty: ColumnType,
    },
    /// A field of an enclosing query's row; depth 0 is the nearest.
    OuterColumn {
        depth: usize,
        index: usize,
        ty: ColumnType,
    },
    /// `$index+1`. Type `unknown` until `coerce` has inferred it.
    Param {
        index: usize,
        ty: ColumnType,
        position: Position,
    },
    Call {
        func: Arc<BoundFunction>,
        args: Vec<Expr>,
        position: Position,
    },
    Cast {
        cast: Arc<BoundCast>,
        arg: Box<Expr>,
        position: Position,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull {
        arg: Box<Expr>,
        negated: bool,
    },
    /// `IS [NOT] TRUE | FALSE | UNKNOWN`.
    IsBool {
        arg: Box<Expr>,
        test: BoolTest,
        negated: bool,
    },
    /// `IS [NOT] DISTINCT FROM`; `equal` is the resolved `=`.
    IsDistinct {
        equal: Arc<BoundFunction>,
        left: Box<Expr>,
        right: Box<Expr>,
        negated: bool,
    },
    /// Searched CASE; the simple form becomes comparisons.
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
        ty: ColumnType,
    },
    Coalesce {
        args: Vec<Expr>,
        ty: ColumnType,
    },
    NullIf {
        equal: Arc<BoundFunction>,
        left: Box<Expr>,
        right: Box<Expr>,
        ty: ColumnType,
    },
    /// GREATEST or LEAST over one type.
    Extreme {
        greatest: bool,
        args: Vec<Expr>,
        ty: ColumnType,
    },
    /// `arg [NOT] IN (list)`; `equal` takes the argument and one element.
    InList {
        equal: Arc<BoundFunction>,
        arg: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    /// `left op ANY|ALL (array)`.
    AnyAll {
        op: Arc<BoundFunction>,
        left: Box<Expr>,
        array: Box<Expr>,
        all: bool,
    },
    /// `ARRAY[...]`; elements of array type make one dimension more. `ty` is the array type.
    Array {
        elements: Vec<Expr>,
        ty: ColumnType,
    },
    /// `ROW(...)`, or a whole row of a table with its column names.
    Row {
        fields: Vec<Expr>,
        shape: Arc<RecordShape>,
    },
    /// `(a, b) < (c, d)`, lexicographic; `pairs` have (equal, less, left, right) of each field.
    RowCompare {
        op: Comparison,
        pairs: Vec<RowPair>,
    },
    Field {
        record: Box<Expr>,
        index: usize,
        ty: ColumnType,
    },
    Subscript {
        array: Box<Expr>,
        subscripts: Vec<Subscript>,
        ty: ColumnType,
    },
    /// An uncorrelated scalar subquery: `EvalContext::subqueries[index]`.
    Subquery {
        index: usize,
        ty: ColumnType,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct RowPair {
    pub equal: Arc<BoundFunction>,
    /// Only for the four orderings.
    pub less: Option<Arc<BoundFunction>>,
    pub left: Expr,
    pub right: Expr,
}

/// `a[i]` or `a[lower:upper]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Subscript {
    Index(Expr),
    Slice { lower: Option<Expr>, upper: Option<Expr> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BoolTest {
    True,
    False,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        Some(match symbol {
            "=" => Self::Eq,
            "<>" | "!=" => Self::Ne,
            "<" => Self::Lt,
            "<=" => Self::Le,
            ">" => Self::Gt,
            ">=" => Self::Ge,
            _ => return None,
        })
    }

    pub fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "<>",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }

    /// The comparison with its sides exchanged.
    pub fn swapped(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
            same => same,
        }
    }

    pub fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Ne => ordering.is_ne(),
            Self::Lt => ordering.is_lt(),
            Self::Le => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::Ge => ordering.is_ge(),
        }
    }
}

/// Where in the statement's text (characters, from one); equal to every other position.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position(pub Option<u32>);

impl PartialEq for Position {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Position {}

impl From<u32> for Position {
    fn from(character: u32) -> Self {
        Self(Some(character))
    }
}

impl From<Option<u32>> for Position {
    fn from(character: Option<u32>) -> Self {
        Self(character)
    }
}

static BOOL: ColumnType = ColumnType::plain(SqlType::Bool);
static UNKNOWN: ColumnType = ColumnType::plain(SqlType::Unknown);
static RECORD: ColumnType = ColumnType::plain(SqlType::Record);

impl Expr {
    pub fn constant(value: impl Into<Datum>, ty: SqlType) -> Self {
        Self::Const(value.into(), ColumnType::plain(ty))
    }

    /// NULL of a known type.
    pub fn null(ty: impl Into<ColumnType>) -> Self {
        Self::Const(Datum::Null, ty.into())
    }

    pub fn int4(value: i32) -> Self {
        Self::Const(Datum::Int4(value), ColumnType::plain(SqlType::Int4))
    }

    pub fn bool(value: bool) -> Self {
        Self::Const(Datum::Bool(value), ColumnType::plain(SqlType::Bool))
    }

    pub fn text(value: impl AsRef<str>) -> Self {
        Self::Const(Datum::text(value), ColumnType::plain(SqlType::Text))
    }

    /// A quoted literal before resolution.
    pub fn unknown(text: impl Into<Arc<str>>, position: impl Into<Position>) -> Self {
        Self::Unknown { text: Some(text.into()), position: position.into() }
    }

    /// NULL before resolution.
    pub fn unknown_null(position: impl Into<Position>) -> Self {
        Self::Unknown { text: None, position: position.into() }
    }

    /// A numeric literal as PostgreSQL types it: int4, int8 or numeric, by size and spelling.
    pub fn number(spelling: &str) -> crate::Result<Self> {
        let digits = spelling.replace('_', "");
        if let Ok(value) = digits.parse::<i32>() {
            return Ok(Self::int4(value));
        }
        if let Ok(value) = digits.parse::<i64>() {
            return Ok(Self::Const(Datum::Int8(value), ColumnType::plain(SqlType::Int8)));
        }
        let ty = ColumnType::plain(SqlType::Numeric);
        let value = datum::text::parse(&ty, &digits, &datum::TypeContext::default())?;
        Ok(Self::Const(value, ty))
    }

    pub fn column(index: usize, ty: impl Into<ColumnType>) -> Self {
        Self::Column { index, ty: ty.into() }
    }

    pub fn param(index: usize, ty: impl Into<ColumnType>, position: impl Into<Position>) -> Self {
        Self::Param { index, ty: ty.into(), position: position.into() }
    }

    /// All of them; TRUE for none.
    pub fn conjunction(mut terms: Vec<Expr>) -> Self {
        match terms.len() {
            0 => Self::bool(true),
            1 => terms.remove(0),
            _ => Self::And(terms),
        }
    }

    /// The terms of nested ANDs.
    pub fn into_conjuncts(self) -> Vec<Expr> {
        match self {
            Self::And(terms) => terms.into_iter().flat_map(Expr::into_conjuncts).collect(),
            other => vec![other],
        }
    }

    pub fn ty(&self) -> &ColumnType {
        match self {
            Self::Const(_, ty)
            | Self::Column { ty, .. }
            | Self::OuterColumn { ty, .. }
            | Self::Param { ty, .. }
            | Self::Case { ty, .. }
            | Self::Coalesce { ty, .. }
            | Self::NullIf { ty, .. }
            | Self::Extreme { ty, .. }
            | Self::Array { ty, .. }
            | Self::Field { ty, .. }
            | Self::Subscript { ty, .. }
            | Self::Subquery { ty, .. } => ty,
            Self::Unknown { .. } => &UNKNOWN,
            Self::Call { func, .. } => &func.ty,
            Self::Cast { cast, .. } => &cast.to,
            Self::And(_)
            | Self::Or(_)
            | Self::Not(_)
            | Self::IsNull { .. }
            | Self::IsBool { .. }
            | Self::IsDistinct { .. }
            | Self::InList { .. }
            | Self::AnyAll { .. }
            | Self::RowCompare { .. } => &BOOL,
            Self::Row { .. } => &RECORD,
        }
    }

    pub fn sql_type(&self) -> &SqlType {
        &self.ty().ty
    }

    /// Untyped: a bare literal, NULL, or a parameter whose type is still open.
    pub fn is_unknown(&self) -> bool {
        self.ty().ty == SqlType::Unknown
    }

    pub fn position(&self) -> Option<u32> {
        match self {
            Self::Unknown { position, .. }
            | Self::Param { position, .. }
            | Self::Call { position, .. }
            | Self::Cast { position, .. } => position.0,
            _ => None,
        }
    }

    /// Field names and types, where the expression is a row whose shape is known here.
    pub fn shape(&self) -> Option<&Arc<RecordShape>> {
        match self {
            Self::Row { shape, .. } => Some(shape),
            Self::Call { func, .. } => func.result_shape.as_ref(),
            _ => None,
        }
    }

    /// `left <op> right` with a plain comparison operator: what access paths are made of.
    pub fn as_comparison(&self) -> Option<(Comparison, &Expr, &Expr)> {
        match self {
            Self::Call { func, args, .. } => {
                let op = func.def.comparison()?;
                match args.as_slice() {
                    [left, right] => Some((op, left, right)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    pub fn as_const(&self) -> Option<&Datum> {
        match self {
            Self::Const(value, _) => Some(value),
            _ => None,
        }
    }

    /// The direct subexpressions.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Const(..)
            | Self::Unknown { .. }
            | Self::Column { .. }
            | Self::OuterColumn { .. }
            | Self::Param { .. }
            | Self::Subquery { .. } => Vec::new(),
            Self::Call { args, .. }
            | Self::And(args)
            | Self::Or(args)
            | Self::Coalesce { args, .. }
            | Self::Extreme { args, .. }
            | Self::Array { elements: args, .. }
            | Self::Row { fields: args, .. } => args.iter().collect(),
            Self::Cast { arg, .. }
            | Self::Not(arg)
            | Self::IsNull { arg, .. }
            | Self::IsBool { arg, .. }
            | Self::Field { record: arg, .. } => vec![arg],
            Self::IsDistinct { left, right, .. } | Self::NullIf { left, right, .. } => {
                vec![left, right]
            }
            Self::AnyAll { left, array, .. } => vec![left, array],
            Self::Case { branches, otherwise, .. } => branches
                .iter()
                .flat_map(|(when, then)| [when, then])
                .chain(otherwise.as_deref())
                .collect(),
            Self::InList { arg, list, .. } => std::iter::once(&**arg).chain(list).collect(),
            Self::RowCompare { pairs, .. } => {
                pairs.iter().flat_map(|pair| [&pair.left, &pair.right]).collect()
            }
            Self::Subscript { array, subscripts, .. } => {
                let mut all = vec![&**array];
                for subscript in subscripts {
                    match subscript {
                        Subscript::Index(index) => all.push(index),
                        Subscript::Slice { lower, upper } => all.extend(lower.iter().chain(upper)),
                    }
                }
                all
            }
        }
    }

    /// The same, to be changed in place.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Self::Const(..)
            | Self::Unknown { .. }
            | Self::Column { .. }
            | Self::OuterColumn { .. }
            | Self::Param { .. }
            | Self::Subquery { .. } => Vec::new(),
            Self::Call { args, .. }
            | Self::And(args)
            | Self::Or(args)
            | Self::Coalesce { args, .. }
            | Self::Extreme { args, .. }
            | Self::Array { elements: args, .. }
            | Self::Row { fields: args, .. } => args.iter_mut().collect(),
            Self::Cast { arg, .. }
            | Self::Not(arg)
            | Self::IsNull { arg, .. }
            | Self::IsBool { arg, .. }
            | Self::Field { record: arg, .. } => vec![arg],
            Self::IsDistinct { left, right, .. } | Self::NullIf { left, right, .. } => {
                vec![left, right]
            }
            Self::AnyAll { left, array, .. } => vec![left, array],
            Self::Case { branches, otherwise, .. } => branches
                .iter_mut()
                .flat_map(|(when, then)| [when, then])
                .chain(otherwise.as_deref_mut())
                .collect(),
            Self::InList { arg, list, .. } => {
                std::iter::once(&mut **arg).chain(list.iter_mut()).collect()
            }
            Self::RowCompare { pairs, .. } => {
                pairs.iter_mut().flat_map(|pair| [&mut pair.left, &mut pair.right]).collect()
            }
            Self::Subscript { array, subscripts, .. } => {
                let mut all = vec![&mut **array];
                for subscript in subscripts {
                    match subscript {
                        Subscript::Index(index) => all.push(index),
                        Subscript::Slice { lower, upper } => {
                            all.extend(lower.iter_mut().chain(upper));
                        }
                    }
                }
                all
            }
        }
    }

    /// Whether `test` holds for this or any subexpression.
    pub fn any(&self, test: &mut dyn FnMut(&Expr) -> bool) -> bool {
        test(self) || self.children().into_iter().any(|child| child.any(test))
    }

    /// Rewrites bottom-up, in place.
    pub fn transform(&mut self, change: &mut dyn FnMut(&mut Expr)) {
        for child in self.children_mut() {
            child.transform(change);
        }
        change(self);
    }

    /// Row fields used, ascending, each once.
    pub fn columns(&self) -> Vec<usize> {
        let mut found = std::collections::BTreeSet::new();
        self.any(&mut |expr| {
            if let Self::Column { index, .. } = expr {
                found.insert(*index);
            }
            false
        });
        found.into_iter().collect()
    }

    /// Moves column references, for a projection or the right side of a join.
    pub fn map_columns(&mut self, to: &dyn Fn(usize) -> usize) {
        self.transform(&mut |expr| {
            if let Self::Column { index, .. } = expr {
                *index = to(*index);
            }
        });
    }

    /// The most volatile thing in it.
    pub fn volatility(&self) -> Volatility {
        let mut worst = Volatility::Immutable;
        self.any(&mut |expr| {
            let own = match expr {
                Self::Call { func, .. } => func.def.volatility,
                Self::Cast { cast, .. } => cast.volatility(),
                Self::AnyAll { op, .. } => op.def.volatility,
                _ => Volatility::Immutable,
            };
            worst = worst.max(own);
            false
        });
        worst
    }

    pub fn is_volatile(&self) -> bool {
        self.volatility() == Volatility::Volatile
    }

    /// Depends on no row, parameter or subquery: may be folded if its volatility allows.
    pub fn is_row_independent(&self) -> bool {
        !self.any(&mut |expr| {
            matches!(
                expr,
                Self::Column { .. }
                    | Self::OuterColumn { .. }
                    | Self::Param { .. }
                    | Self::Subquery { .. }
            )
        })
    }
}
