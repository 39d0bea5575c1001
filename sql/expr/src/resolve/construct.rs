//! The constructs of the grammar that are neither operators nor functions: each brings its parts to the types
//! that it needs, with PostgreSQL's errors.

use super::{CoercionContext, Resolver};
use crate::error::{ExprError, Result};
use crate::registry::{BoundFunction, RecordShape};
use crate::tree::{BoolTest, Comparison, Expr, Position, RowPair, Subscript};
use datum::{ColumnType, SqlType};
use std::sync::Arc;

impl Resolver<'_> {
    pub fn and(&self, terms: Vec<Expr>) -> Result<Expr> {
        let terms = self.booleans(terms, "argument of AND")?;
        Ok(Expr::And(flatten(terms, |term| match term {
            Expr::And(inner) => Ok(inner),
            other => Err(other),
        })))
    }

    pub fn or(&self, terms: Vec<Expr>) -> Result<Expr> {
        let terms = self.booleans(terms, "argument of OR")?;
        Ok(Expr::Or(flatten(terms, |term| match term {
            Expr::Or(inner) => Ok(inner),
            other => Err(other),
        })))
    }

    pub fn not(&self, arg: Expr) -> Result<Expr> {
        Ok(Expr::Not(Box::new(self.coerce_to_boolean(arg, "argument of NOT")?)))
    }

    fn booleans(&self, terms: Vec<Expr>, construct: &str) -> Result<Vec<Expr>> {
        terms.into_iter().map(|term| self.coerce_to_boolean(term, construct)).collect()
    }

    /// `IS [NOT] NULL`.
    pub fn is_null(&self, arg: Expr, negated: bool) -> Result<Expr> {
        let arg = self.default_unknown(arg)?;
        Ok(Expr::IsNull { arg: Box::new(arg), negated })
    }

    /// `IS [NOT] TRUE` and so on.
    pub fn is_bool(&self, arg: Expr, test: BoolTest, negated: bool) -> Result<Expr> {
        let word = match test {
            BoolTest::True => "TRUE",
            BoolTest::False => "FALSE",
            BoolTest::Unknown => "UNKNOWN",
        };
        let not = if negated { "NOT " } else { "" };
        let arg = self.coerce_to_boolean(arg, &format!("argument of IS {not}{word}"))?;
        Ok(Expr::IsBool { arg: Box::new(arg), test, negated })
    }

    /// `left IS [NOT] DISTINCT FROM right`.
    pub fn is_distinct(
        &self,
        left: Expr,
        right: Expr,
        negated: bool,
        position: Option<u32>,
    ) -> Result<Expr> {
        if is_bare_null(&right) {
            return self.is_null(left, !negated);
        }
        if is_bare_null(&left) {
            return self.is_null(right, !negated);
        }
        let (equal, left, right) = self.operands("=", left, right, position)?;
        Ok(Expr::IsDistinct { equal, left: Box::new(left), right: Box::new(right), negated })
    }

    /// CASE; for the simple form each condition is `operand = value`, built here.
    pub fn case(
        &self,
        operand: Option<Expr>,
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Expr>,
        position: Option<u32>,
    ) -> Result<Expr> {
        let operand = operand.map(|operand| self.default_unknown(operand)).transpose()?;
        let mut whens = Vec::with_capacity(branches.len());
        let mut thens = Vec::with_capacity(branches.len());
        for (when, then) in branches {
            whens.push(match &operand {
                Some(operand) => {
                    self.resolve_operator("=", Some(operand.clone()), when, position)?
                }
                None => self.coerce_to_boolean(when, "argument of CASE/WHEN")?,
            });
            thens.push(then);
        }
        let otherwise = otherwise.unwrap_or_else(|| Expr::unknown_null(None));
        // PostgreSQL looks at ELSE first.
        let all: Vec<&Expr> = std::iter::once(&otherwise).chain(&thens).collect();
        let ty = self.common_type("CASE", &all)?;
        let otherwise = self.coerce_to_common("CASE/ELSE", otherwise, &ty)?;
        let branches = whens
            .into_iter()
            .zip(thens)
            .map(|(when, then)| Ok((when, self.coerce_to_common("CASE/WHEN", then, &ty)?)))
            .collect::<Result<_>>()?;
        Ok(Expr::Case { branches, otherwise: Some(Box::new(otherwise)), ty })
    }

    pub fn coalesce(&self, args: Vec<Expr>) -> Result<Expr> {
        let (args, ty) = self.unify("COALESCE", args)?;
        Ok(Expr::Coalesce { args, ty })
    }

    pub fn greatest(&self, args: Vec<Expr>) -> Result<Expr> {
        let (args, ty) = self.unify("GREATEST", args)?;
        self.bind_operator("<", &[ty.ty.clone(), ty.ty.clone()], None)?;
        Ok(Expr::Extreme { greatest: true, args, ty })
    }

    pub fn least(&self, args: Vec<Expr>) -> Result<Expr> {
        let (args, ty) = self.unify("LEAST", args)?;
        self.bind_operator("<", &[ty.ty.clone(), ty.ty.clone()], None)?;
        Ok(Expr::Extreme { greatest: false, args, ty })
    }

    pub fn nullif(&self, left: Expr, right: Expr, position: Option<u32>) -> Result<Expr> {
        let (equal, left, right) = self.operands("=", left, right, position)?;
        let ty = left.ty().clone();
        Ok(Expr::NullIf { equal, left: Box::new(left), right: Box::new(right), ty })
    }

    /// All to their common type.
    pub fn unify(&self, construct: &str, args: Vec<Expr>) -> Result<(Vec<Expr>, ColumnType)> {
        let ty = self.common_type(construct, &args.iter().collect::<Vec<_>>())?;
        let args = args
            .into_iter()
            .map(|arg| self.coerce_to_common(construct, arg, &ty))
            .collect::<Result<_>>()?;
        Ok((args, ty))
    }

    /// `arg [NOT] IN (list)`.
    pub fn in_list(
        &self,
        arg: Expr,
        list: Vec<Expr>,
        negated: bool,
        position: Option<u32>,
    ) -> Result<Expr> {
        if matches!(arg, Expr::Row { .. }) {
            let terms = list
                .into_iter()
                .map(|item| self.compare(Comparison::Eq, arg.clone(), item, position))
                .collect::<Result<Vec<_>>>()?;
            let any =
                if terms.len() == 1 { terms.into_iter().next() } else { Some(Expr::Or(terms)) };
            let any = any.unwrap_or_else(|| Expr::bool(false));
            return Ok(if negated { Expr::Not(Box::new(any)) } else { any });
        }
        let all: Vec<&Expr> = std::iter::once(&arg).chain(&list).collect();
        let common = self.common_type("IN", &all).ok().filter(|ty| {
            all.iter()
                .all(|expr| self.can_coerce(expr.sql_type(), &ty.ty, CoercionContext::Implicit))
        });
        let Some(common) = common else {
            let symbol = if negated { "<>" } else { "=" };
            let terms = list
                .into_iter()
                .map(|item| self.resolve_operator(symbol, Some(arg.clone()), item, position))
                .collect::<Result<Vec<_>>>()?;
            return Ok(if negated { Expr::And(terms) } else { Expr::Or(terms) });
        };
        let types = [arg.sql_type().clone(), common.ty.clone()];
        let equal = self.bind_operator("=", &types, position)?;
        let arg = self.coerce_argument(arg, &equal.arg_types[0].ty)?;
        let list = list
            .into_iter()
            .map(|item| self.coerce_argument(item, &equal.arg_types[1].ty))
            .collect::<Result<_>>()?;
        Ok(Expr::InList { equal, arg: Box::new(arg), list, negated })
    }

    /// `left symbol ANY|ALL (array)`.
    pub fn any_all(
        &self,
        symbol: &str,
        left: Expr,
        array: Expr,
        all: bool,
        position: Option<u32>,
    ) -> Result<Expr> {
        // An untyped array takes its element type from the left side.
        let element = match array.sql_type() {
            SqlType::Unknown => SqlType::Unknown,
            ty => ty.element_type().ok_or_else(|| {
                ExprError::new("42809", "op ANY/ALL (array) requires array on right side")
                    .at(position)
            })?,
        };
        let op =
            self.bind_operator(symbol, &[left.sql_type().clone(), element.clone()], position)?;
        if op.ty.ty != SqlType::Bool {
            return Err(ExprError::new(
                "42809",
                "op ANY/ALL (array) requires operator to yield boolean",
            )
            .at(position));
        }
        let left = self.coerce_argument(left, &op.arg_types[0].ty)?;
        let wanted = &op.arg_types[1].ty;
        let array = if element == SqlType::Unknown || !crate::cast::is_relabel(&element, wanted) {
            let to = ColumnType::plain(SqlType::array_of(wanted.clone()));
            self.coerce(array, &to, CoercionContext::Implicit)?
        } else {
            array
        };
        Ok(Expr::AnyAll { op, left: Box::new(left), array: Box::new(array), all })
    }

    /// `ARRAY[...]`. Empty: 42P18 unless cast, which `coerce` handles before: give it `Expr::Array` with unknown type.
    pub fn array(&self, elements: Vec<Expr>, position: Option<u32>) -> Result<Expr> {
        if elements.is_empty() {
            return Err(ExprError::new("42P18", "cannot determine type of empty array")
                .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[].")
                .at(position));
        }
        let (elements, ty) = self.unify("ARRAY", elements)?;
        let array = SqlType::array_of(ty.ty.clone());
        Ok(Expr::Array { elements, ty: ColumnType::new(array, ty.typmod) })
    }

    /// `ARRAY[]::int[]`.
    pub fn empty_array(&self, ty: ColumnType) -> Expr {
        Expr::Array { elements: Vec::new(), ty }
    }

    /// `ROW(...)`.
    pub fn row(&self, fields: Vec<Expr>) -> Result<Expr> {
        let fields = fields
            .into_iter()
            .map(|field| self.default_unknown(field))
            .collect::<Result<Vec<_>>>()?;
        let types: Vec<SqlType> = fields.iter().map(|field| field.sql_type().clone()).collect();
        Ok(Expr::Row { fields, shape: Arc::new(RecordShape::anonymous(types)) })
    }

    /// A row that is still to be compared field by field: its literals stay untyped.
    pub fn untyped_row(&self, fields: Vec<Expr>) -> Expr {
        let types: Vec<SqlType> = fields.iter().map(|field| field.sql_type().clone()).collect();
        Expr::Row { fields, shape: Arc::new(RecordShape::anonymous(types)) }
    }

    /// A whole row of a table: names and fields.
    pub fn named_row(&self, fields: Vec<Expr>, names: Vec<Arc<str>>) -> Expr {
        let types: Vec<SqlType> = fields.iter().map(|field| field.sql_type().clone()).collect();
        Expr::Row { fields, shape: Arc::new(RecordShape { names, types: types.into() }) }
    }

    /// A comparison that may be between rows.
    pub fn compare(
        &self,
        op: Comparison,
        left: Expr,
        right: Expr,
        position: Option<u32>,
    ) -> Result<Expr> {
        let (left, right) = match (left, right) {
            (Expr::Row { fields: left, .. }, Expr::Row { fields: right, .. }) => (left, right),
            (left, right) => {
                return self.resolve_operator(op.symbol(), Some(left), right, position);
            }
        };
        if left.len() != right.len() {
            return Err(ExprError::new("42601", "unequal number of entries in row expressions")
                .at(position));
        }
        if left.is_empty() {
            return Err(ExprError::unsupported("cannot compare rows of zero length").at(position));
        }
        let ordering = !matches!(op, Comparison::Eq | Comparison::Ne);
        let pairs = left
            .into_iter()
            .zip(right)
            .map(|(left, right)| {
                let (equal, left, right) = self.operands("=", left, right, position)?;
                let types = [left.sql_type().clone(), right.sql_type().clone()];
                let less =
                    ordering.then(|| self.bind_operator("<", &types, position)).transpose()?;
                Ok(RowPair { equal, less, left, right })
            })
            .collect::<Result<_>>()?;
        Ok(Expr::RowCompare { op, pairs })
    }

    /// `(record).field` by name.
    pub fn field(&self, record: Expr, name: &str, position: Option<u32>) -> Result<Expr> {
        let missing = || {
            ExprError::new("42703", format!("column \"{name}\" not found in data type record"))
                .at(position)
        };
        if *record.sql_type() != SqlType::Record {
            return Err(ExprError::new(
                "42809",
                format!(
                    "column notation .{name} applied to type {}, which is not a composite type",
                    record.sql_type().name()
                ),
            )
            .at(position));
        }
        let shape = record.shape().cloned().ok_or_else(missing)?;
        let index = shape.names.iter().position(|own| &**own == name).ok_or_else(missing)?;
        let ty = ColumnType::plain(shape.types[index].clone());
        Ok(Expr::Field { record: Box::new(record), index, ty })
    }

    /// `array[subscripts]`; a slice anywhere makes all of them slices. jsonb subscripts are `->`.
    pub fn subscript(
        &self,
        array: Expr,
        subscripts: Vec<Subscript>,
        position: Option<u32>,
    ) -> Result<Expr> {
        if *array.sql_type() == SqlType::Jsonb {
            return self.jsonb_subscript(array, subscripts, position);
        }
        let element = array.sql_type().element_type().ok_or_else(|| {
            ExprError::datatype_mismatch(format!(
                "cannot subscript type {} because it does not support subscripting",
                array.sql_type().name()
            ))
            .at(position)
        })?;
        let integer = |expr: Expr| {
            if !self.can_coerce(expr.sql_type(), &SqlType::Int4, CoercionContext::Assignment) {
                return Err(ExprError::datatype_mismatch("array subscript must have type integer")
                    .at(expr.position().or(position)));
            }
            self.coerce(expr, &ColumnType::plain(SqlType::Int4), CoercionContext::Assignment)
        };
        let sliced = subscripts.iter().any(|part| matches!(part, Subscript::Slice { .. }));
        let subscripts = subscripts
            .into_iter()
            .map(|part| {
                Ok(match part {
                    // In a slice, a[3] means a[1:3].
                    Subscript::Index(index) if sliced => Subscript::Slice {
                        lower: Some(Expr::int4(1)),
                        upper: Some(integer(index)?),
                    },
                    Subscript::Index(index) => Subscript::Index(integer(index)?),
                    Subscript::Slice { lower, upper } => Subscript::Slice {
                        lower: lower.map(integer).transpose()?,
                        upper: upper.map(integer).transpose()?,
                    },
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let ty =
            if sliced { array.ty().clone() } else { ColumnType::new(element, array.ty().typmod) };
        Ok(Expr::Subscript { array: Box::new(array), subscripts, ty })
    }

    fn jsonb_subscript(
        &self,
        mut value: Expr,
        subscripts: Vec<Subscript>,
        position: Option<u32>,
    ) -> Result<Expr> {
        for part in subscripts {
            let Subscript::Index(index) = part else {
                return Err(ExprError::datatype_mismatch(
                    "jsonb subscript does not support slices",
                )
                .at(position));
            };
            value = self.resolve_operator("->", Some(value), index, position)?;
        }
        Ok(value)
    }

    /// Binds an operator and brings both sides to its argument types.
    fn operands(
        &self,
        symbol: &str,
        left: Expr,
        right: Expr,
        position: Option<u32>,
    ) -> Result<(Arc<BoundFunction>, Expr, Expr)> {
        let types = [left.sql_type().clone(), right.sql_type().clone()];
        let op = self.bind_operator(symbol, &types, position)?;
        let left = self.coerce_argument(left, &op.arg_types[0].ty)?;
        let right = self.coerce_argument(right, &op.arg_types[1].ty)?;
        Ok((op, left, right))
    }

    /// `CAST(expr AS ty)`.
    pub fn cast(&self, expr: Expr, ty: &ColumnType, position: Option<u32>) -> Result<Expr> {
        match self.coerce(expr, ty, CoercionContext::Explicit) {
            Ok(Expr::Cast { cast, arg, position: Position(own) }) => {
                Ok(Expr::Cast { cast, arg, position: Position(own.or(position)) })
            }
            // That there is no such cast is a mistake of the text; that a value does not fit is not.
            Err(error) if error.sqlstate == "42846" => Err(error.at(position)),
            other => other,
        }
    }
}

fn is_bare_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Unknown { text: None, .. })
}

fn flatten(terms: Vec<Expr>, open: impl Fn(Expr) -> Result<Vec<Expr>, Expr>) -> Vec<Expr> {
    let mut flat = Vec::with_capacity(terms.len());
    for term in terms {
        match open(term) {
            Ok(inner) => flat.extend(inner),
            Err(term) => flat.push(term),
        }
    }
    flat
}
