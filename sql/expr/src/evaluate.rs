//! `Expr` on one row of values. Three-valued logic; subexpressions that need not run do not.

use crate::context::EvalContext;
use crate::error::{EvalResult, ExprError, Result, check_bytes, too_large};
use crate::registry::{BoundFunction, Volatility};
use crate::tree::{BoolTest, Comparison, Expr, RowPair, Subscript};
use datum::{ArrayDim, ArrayValue, Datum, SqlType};
use std::sync::Arc;

impl Expr {
    /// The value for `row`, whose fields `Expr::Column` indexes.
    ///
    /// # Errors
    /// What PostgreSQL reports for these values, with a position where the planner gave one to a literal.
    pub fn eval(&self, row: &[Datum], ctx: &EvalContext<'_>) -> EvalResult {
        match self {
            Self::Const(value, _) => Ok(value.clone()),
            Self::Column { index, .. } => row.get(*index).cloned().ok_or_else(|| {
                ExprError::internal(format!("no column {index} in a row of {}", row.len()))
            }),
            Self::Param { index, .. } => ctx.param(*index),
            Self::Call { func, args, .. } => call(func, args, row, ctx),
            Self::Cast { cast, arg, .. } => cast.apply(arg.eval(row, ctx)?, ctx),
            Self::And(terms) => and(terms, row, ctx),
            Self::Or(terms) => or(terms, row, ctx),
            Self::Not(arg) => Ok(not(arg.eval(row, ctx)?)),
            Self::IsNull { arg, negated } => {
                Ok(Datum::Bool(is_null(&arg.eval(row, ctx)?, *negated)))
            }
            Self::IsBool { arg, test, negated } => {
                let value = arg.eval(row, ctx)?;
                let holds = match test {
                    BoolTest::True => value.as_bool() == Some(true),
                    BoolTest::False => value.as_bool() == Some(false),
                    BoolTest::Unknown => value.is_null(),
                };
                Ok(Datum::Bool(holds != *negated))
            }
            Self::IsDistinct { equal, left, right, negated } => {
                let pair = [left.eval(row, ctx)?, right.eval(row, ctx)?];
                let distinct = match (pair[0].is_null(), pair[1].is_null()) {
                    (true, true) => false,
                    (false, false) => equal.call(&pair, ctx)?.as_bool() != Some(true),
                    _ => true,
                };
                Ok(Datum::Bool(distinct != *negated))
            }
            Self::Case { branches, otherwise, .. } => {
                for (when, then) in branches {
                    if when.eval(row, ctx)?.as_bool() == Some(true) {
                        return then.eval(row, ctx);
                    }
                }
                otherwise.as_ref().map_or(Ok(Datum::Null), |expr| expr.eval(row, ctx))
            }
            Self::Coalesce { args, .. } => {
                for arg in args {
                    let value = arg.eval(row, ctx)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Ok(Datum::Null)
            }
            Self::NullIf { equal, left, right, .. } => {
                let value = left.eval(row, ctx)?;
                if value.is_null() {
                    return Ok(value);
                }
                let pair = [value, right.eval(row, ctx)?];
                if pair[1].is_null() || equal.call(&pair, ctx)?.as_bool() != Some(true) {
                    let [value, _] = pair;
                    return Ok(value);
                }
                Ok(Datum::Null)
            }
            Self::Extreme { greatest, args, ty } => extreme(*greatest, args, &ty.ty, row, ctx),
            Self::InList { equal, arg, list, negated } => {
                let found = in_list(equal, arg, list, row, ctx)?;
                Ok(if *negated { not(found) } else { found })
            }
            Self::AnyAll { op, left, array, all } => any_all(op, left, array, *all, row, ctx),
            Self::Array { elements, ty } => array(elements, &ty.ty, row, ctx),
            Self::Row { fields, shape } => {
                let fields = eval_all(fields, row, ctx)?;
                let record = Datum::record(Arc::clone(&shape.types), fields);
                if record_depth(&record) > RECORD_DEPTH_MAX {
                    return Err(too_large());
                }
                Ok(record)
            }
            Self::RowCompare { op, pairs } => row_compare(*op, pairs, row, ctx),
            Self::Field { record, index, .. } => match record.eval(row, ctx)? {
                Datum::Record(record) => Ok(record.fields.get(*index).cloned().unwrap_or_default()),
                _ => Ok(Datum::Null),
            },
            Self::Subscript { array, subscripts, .. } => subscript(array, subscripts, row, ctx),
            Self::OuterColumn { depth, index, .. } => ctx
                .outer
                .get(*depth)
                .and_then(|row| row.get(*index))
                .cloned()
                .ok_or_else(|| ExprError::internal(format!("no outer column {depth}.{index}"))),
            Self::Subquery { index, .. } => ctx
                .subqueries
                .get(*index)
                .cloned()
                .ok_or_else(|| ExprError::internal(format!("subquery {index} was not run"))),
            Self::Unknown { text, .. } => Ok(Datum::from(text.clone())),
        }
    }

    /// WHERE, ON, HAVING, FILTER: true, and neither false nor null.
    pub fn holds(&self, row: &[Datum], ctx: &EvalContext<'_>) -> Result<bool> {
        Ok(self.eval(row, ctx)?.as_bool() == Some(true))
    }

    /// Replaces what depends on nothing by its value. Parts that fail are left: they may never be reached at run time.
    pub fn fold(&mut self, ctx: &EvalContext<'_>) {
        for child in self.children_mut() {
            child.fold(ctx);
        }
        // CASE and COALESCE exist to keep parts from running; their parts have been folded.
        if matches!(self, Self::Const(..) | Self::Unknown { .. } | Self::Row { .. })
            || self.children().iter().any(|child| !matches!(child, Self::Const(..)))
        {
            return;
        }
        if !self.is_row_independent() || self.volatility() != Volatility::Immutable {
            return;
        }
        if let Ok(value) = self.eval(&[], ctx) {
            *self = Self::Const(value, self.ty().clone());
        }
    }
}

/// The common arities on the stack.
fn call(func: &BoundFunction, args: &[Expr], row: &[Datum], ctx: &EvalContext<'_>) -> EvalResult {
    match args {
        [] => func.call(&[], ctx),
        [a] => func.call(&[a.eval(row, ctx)?], ctx),
        [a, b] => func.call(&[a.eval(row, ctx)?, b.eval(row, ctx)?], ctx),
        [a, b, c] => func.call(&[a.eval(row, ctx)?, b.eval(row, ctx)?, c.eval(row, ctx)?], ctx),
        args => func.call(&eval_all(args, row, ctx)?, ctx),
    }
}

/// All of them are in memory at once, so together they may not be larger than one value.
fn eval_all(args: &[Expr], row: &[Datum], ctx: &EvalContext<'_>) -> Result<Vec<Datum>> {
    let mut values = Vec::with_capacity(args.len());
    let mut bytes = 0;
    for arg in args {
        let value = arg.eval(row, ctx)?;
        bytes += value.size_bytes();
        check_bytes(bytes)?;
        values.push(value);
    }
    Ok(values)
}

fn and(terms: &[Expr], row: &[Datum], ctx: &EvalContext<'_>) -> EvalResult {
    let mut unknown = false;
    for term in terms {
        match term.eval(row, ctx)? {
            Datum::Bool(true) => {}
            Datum::Bool(false) => return Ok(Datum::Bool(false)),
            _ => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(true) })
}

fn or(terms: &[Expr], row: &[Datum], ctx: &EvalContext<'_>) -> EvalResult {
    let mut unknown = false;
    for term in terms {
        match term.eval(row, ctx)? {
            Datum::Bool(false) => {}
            Datum::Bool(true) => return Ok(Datum::Bool(true)),
            _ => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(false) })
}

fn not(value: Datum) -> Datum {
    match value {
        Datum::Bool(v) => Datum::Bool(!v),
        _ => Datum::Null,
    }
}

/// A row is null if all its fields are, and not null if none is.
fn is_null(value: &Datum, negated: bool) -> bool {
    match value {
        Datum::Record(record) => record.fields.iter().all(|field| field.is_null() != negated),
        value => value.is_null() != negated,
    }
}

fn extreme(
    greatest: bool,
    args: &[Expr],
    ty: &SqlType,
    row: &[Datum],
    ctx: &EvalContext<'_>,
) -> EvalResult {
    let mut best = Datum::Null;
    for arg in args {
        let value = arg.eval(row, ctx)?;
        if value.is_null() {
            continue;
        }
        let order = datum::compare_as(ty, &value, &best);
        if best.is_null() || (if greatest { order.is_gt() } else { order.is_lt() }) {
            best = value;
        }
    }
    Ok(best)
}

fn in_list(
    equal: &BoundFunction,
    arg: &Expr,
    list: &[Expr],
    row: &[Datum],
    ctx: &EvalContext<'_>,
) -> EvalResult {
    let value = arg.eval(row, ctx)?;
    if value.is_null() {
        return Ok(if list.is_empty() { Datum::Bool(false) } else { Datum::Null });
    }
    let mut pair = [value, Datum::Null];
    let mut unknown = false;
    for item in list {
        pair[1] = item.eval(row, ctx)?;
        match equal.call(&pair, ctx)? {
            Datum::Bool(true) => return Ok(Datum::Bool(true)),
            Datum::Bool(false) => {}
            _ => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(false) })
}

fn any_all(
    op: &BoundFunction,
    left: &Expr,
    array: &Expr,
    all: bool,
    row: &[Datum],
    ctx: &EvalContext<'_>,
) -> EvalResult {
    let value = left.eval(row, ctx)?;
    let Datum::Array(array) = array.eval(row, ctx)? else { return Ok(Datum::Null) };
    if array.is_empty() {
        return Ok(Datum::Bool(all));
    }
    let mut pair = [value, Datum::Null];
    let mut unknown = false;
    for item in &array.items {
        pair[1] = item.clone();
        match op.call(&pair, ctx)? {
            Datum::Bool(holds) if holds != all => return Ok(Datum::Bool(holds)),
            Datum::Bool(_) => {}
            _ => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(all) })
}

fn array(elements: &[Expr], ty: &SqlType, row: &[Datum], ctx: &EvalContext<'_>) -> EvalResult {
    let element = ty.element_type().unwrap_or(SqlType::Text);
    let values = eval_all(elements, row, ctx)?;
    let nested = elements.first().is_some_and(|first| first.sql_type().is_array());
    if !nested {
        return Ok(Datum::array(element, values));
    }
    stack_arrays(element, values)
}

/// Arrays of equal shape become the slices of one with a dimension more.
pub(crate) fn stack_arrays(element: SqlType, values: Vec<Datum>) -> EvalResult {
    let mismatch = || {
        ExprError::new(
            "2202E",
            "multidimensional arrays must have array expressions with matching dimensions",
        )
    };
    let mut inner: Option<Vec<ArrayDim>> = None;
    let mut items = Vec::new();
    let count = values.len();
    for value in values {
        let dims = match &value {
            Datum::Array(array) => {
                items.extend(array.items.iter().cloned());
                array.dims.clone()
            }
            _ => Vec::new(),
        };
        match &inner {
            None => inner = Some(dims),
            Some(known) if *known == dims => {}
            Some(_) => return Err(mismatch()),
        }
    }
    let inner = inner.unwrap_or_default();
    if inner.is_empty() {
        return Ok(Datum::Array(Arc::new(ArrayValue::empty(element))));
    }
    if inner.len() >= DIMENSIONS_MAX {
        return Err(ExprError::new(
            "54000",
            format!(
                "number of array dimensions ({}) exceeds the maximum allowed ({DIMENSIONS_MAX})",
                inner.len() + 1
            ),
        ));
    }
    let mut dims = vec![ArrayDim { length: count as i32, lower: 1 }];
    dims.extend(inner);
    Ok(Datum::Array(Arc::new(ArrayValue { element, dims, items })))
}

/// `MAXDIM`.
pub(crate) const DIMENSIONS_MAX: usize = 6;

fn row_compare(
    op: Comparison,
    pairs: &[RowPair],
    row: &[Datum],
    ctx: &EvalContext<'_>,
) -> EvalResult {
    let mut unknown = false;
    for pair in pairs {
        let values = [pair.left.eval(row, ctx)?, pair.right.eval(row, ctx)?];
        let equal = pair.equal.call(&values, ctx)?;
        match (op, equal) {
            (Comparison::Eq, Datum::Bool(false)) => return Ok(Datum::Bool(false)),
            (Comparison::Ne, Datum::Bool(false)) => return Ok(Datum::Bool(true)),
            (_, Datum::Bool(true)) => {}
            // The first fields that differ decide the order.
            (_, Datum::Bool(false)) => {
                let Some(less) = &pair.less else { return Ok(Datum::Null) };
                let less = less.call(&values, ctx)?.as_bool() == Some(true);
                return Ok(Datum::Bool(less == matches!(op, Comparison::Lt | Comparison::Le)));
            }
            (Comparison::Eq | Comparison::Ne, _) => unknown = true,
            _ => return Ok(Datum::Null),
        }
    }
    Ok(if unknown {
        Datum::Null
    } else {
        Datum::Bool(matches!(op, Comparison::Eq | Comparison::Le | Comparison::Ge))
    })
}

fn subscript(
    array: &Expr,
    subscripts: &[Subscript],
    row: &[Datum],
    ctx: &EvalContext<'_>,
) -> EvalResult {
    let Datum::Array(array) = array.eval(row, ctx)? else { return Ok(Datum::Null) };
    if let [Subscript::Index(_), ..] = subscripts {
        let mut at = Vec::with_capacity(subscripts.len());
        for part in subscripts {
            let Subscript::Index(index) = part else { return Ok(Datum::Null) };
            match index.eval(row, ctx)? {
                Datum::Int4(index) => at.push(index),
                _ => return Ok(Datum::Null),
            }
        }
        return Ok(array.get(&at).cloned().unwrap_or_default());
    }
    let mut bounds = Vec::with_capacity(subscripts.len());
    for (part, dim) in subscripts.iter().zip(&array.dims) {
        let Subscript::Slice { lower, upper } = part else { return Ok(Datum::Null) };
        let end = |bound: &Option<Expr>, default: i32| match bound {
            None => Ok(Some(default)),
            Some(bound) => Ok::<_, ExprError>(bound.eval(row, ctx)?.as_i64().map(|v| v as i32)),
        };
        let (Some(from), Some(to)) =
            (end(lower, dim.lower)?, end(upper, dim.lower + dim.length - 1)?)
        else {
            return Ok(Datum::Null);
        };
        bounds.push((from.max(dim.lower), to.min(dim.lower + dim.length - 1)));
    }
    if subscripts.len() > array.dims.len() || bounds.iter().any(|(from, to)| from > to) {
        return Ok(Datum::Array(Arc::new(ArrayValue::empty(array.element.clone()))));
    }
    // Dimensions without a subscript are whole.
    for dim in &array.dims[bounds.len()..] {
        bounds.push((dim.lower, dim.lower + dim.length - 1));
    }
    Ok(Datum::Array(Arc::new(slice(&array, &bounds))))
}

fn slice(array: &ArrayValue, bounds: &[(i32, i32)]) -> ArrayValue {
    let mut items = Vec::new();
    let mut at: Vec<i32> = bounds.iter().map(|(from, _)| *from).collect();
    'all: loop {
        items.push(array.get(&at).cloned().unwrap_or_default());
        for axis in (0..at.len()).rev() {
            if at[axis] < bounds[axis].1 {
                at[axis] += 1;
                continue 'all;
            }
            at[axis] = bounds[axis].0;
        }
        break;
    }
    let dims =
        bounds.iter().map(|(from, to)| ArrayDim { length: to - from + 1, lower: 1 }).collect();
    ArrayValue { element: array.element.clone(), dims, items }
}

/// Records within records: each level doubles the quotes of its text, which has to stay below
/// [`crate::error::VALUE_BYTES_MAX`].
const RECORD_DEPTH_MAX: usize = 24;

fn record_depth(value: &Datum) -> usize {
    match value {
        Datum::Record(record) => 1 + record.fields.iter().map(record_depth).max().unwrap_or(0),
        Datum::Array(array) => array.items.iter().map(record_depth).max().unwrap_or(0),
        _ => 0,
    }
}
