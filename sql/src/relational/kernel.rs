//! Expressions inside DataFusion.
//!
//! A whole [`expr::Expr`] becomes one scalar function over the columns that it reads; it runs the
//! same kernels as the row path. Only what means exactly the same in both worlds stays native, so
//! that filters push down and joins hash: columns, AND/OR/NOT, IS NULL, and comparisons of types
//! that compare natively (see `batch`).

use super::batch::{ColumnBuilder, arrow_type, compares_natively, read, sort_key};
use super::fault::{from_sql, into_datafusion};
use datafusion::arrow::array::{ArrayRef, BinaryBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr as DfExpr, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datum::{Datum, SqlType};
use expr::tree::Comparison;
use expr::{Expr, OwnedContext};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows computed before it is asked whether the statement must end: one may take long.
const ROWS_PER_CHECK: usize = 16;

/// A column of a lowered plan: its name there and its type.
pub type Slot = (String, SqlType);

/// Lowers an expression over a plan whose columns are `slots`.
pub fn lower(expr: &Expr, slots: &[Slot], context: &OwnedContext) -> DfExpr {
    native(expr, slots, context).unwrap_or_else(|| kernel(expr.clone(), slots, context))
}

/// The expression with DataFusion's own nodes, where these mean the same.
fn native(expr: &Expr, slots: &[Slot], context: &OwnedContext) -> Option<DfExpr> {
    match expr {
        Expr::Column { index, .. } => Some(column(&slots[*index].0)),
        Expr::And(terms) => junction(terms, Operator::And, slots, context),
        Expr::Or(terms) => junction(terms, Operator::Or, slots, context),
        Expr::Not(arg) => Some(DfExpr::Not(Box::new(lower(arg, slots, context)))),
        Expr::IsNull { arg, negated } if !matches!(arg.sql_type(), SqlType::Record) => {
            let arg = Box::new(lower(arg, slots, context));
            Some(if *negated { DfExpr::IsNotNull(arg) } else { DfExpr::IsNull(arg) })
        }
        Expr::Const(value, ty) => literal(value, &ty.ty),
        Expr::Param { index, ty, .. } => literal(context.params.get(*index)?, &ty.ty),
        _ => {
            let (comparison, left, right) = expr.as_comparison()?;
            let same = left.sql_type() == right.sql_type()
                || arrow_type(left.sql_type()) == arrow_type(right.sql_type());
            if !same || !compares_natively(left.sql_type()) || !compares_natively(right.sql_type())
            {
                return None;
            }
            let operator = match comparison {
                Comparison::Eq => Operator::Eq,
                Comparison::Ne => Operator::NotEq,
                Comparison::Lt => Operator::Lt,
                Comparison::Le => Operator::LtEq,
                Comparison::Gt => Operator::Gt,
                Comparison::Ge => Operator::GtEq,
            };
            let (left, right) = (lower(left, slots, context), lower(right, slots, context));
            Some(DfExpr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right))))
        }
    }
}

fn junction(
    terms: &[Expr],
    operator: Operator,
    slots: &[Slot],
    context: &OwnedContext,
) -> Option<DfExpr> {
    terms
        .iter()
        .map(|term| lower(term, slots, context))
        .reduce(|a, b| DfExpr::BinaryExpr(BinaryExpr::new(Box::new(a), operator, Box::new(b))))
}

pub fn column(name: &str) -> DfExpr {
    DfExpr::Column(Column::new_unqualified(name))
}

/// The value as DataFusion's literal; `None` for types that it carries as opaque bytes.
pub fn literal(value: &Datum, ty: &SqlType) -> Option<DfExpr> {
    let scalar = match (value, arrow_type(ty)) {
        (Datum::Null, data_type) => ScalarValue::try_from(&data_type).ok()?,
        (Datum::Bool(v), DataType::Boolean) => ScalarValue::Boolean(Some(*v)),
        (Datum::Int2(v), DataType::Int16) => ScalarValue::Int16(Some(*v)),
        (Datum::Int4(v) | Datum::Date(v), DataType::Int32) => ScalarValue::Int32(Some(*v)),
        (
            Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) | Datum::Timestamptz(v),
            DataType::Int64,
        ) => ScalarValue::Int64(Some(*v)),
        (Datum::Oid(v), DataType::UInt32) => ScalarValue::UInt32(Some(*v)),
        (Datum::Text(v), DataType::Utf8) => ScalarValue::Utf8(Some(v.to_string())),
        _ => return None,
    };
    Some(DfExpr::Literal(scalar, None))
}

/// An expression that orders and compares as `expr` does: itself, or its sort key.
pub fn comparable(expr: &Expr, slots: &[Slot], context: &OwnedContext) -> DfExpr {
    if compares_natively(expr.sql_type()) {
        return lower(expr, slots, context);
    }
    let function = SortKeyFunction {
        ty: expr.sql_type().clone(),
        signature: any_arguments(Volatility::Immutable),
    };
    ScalarUDF::new_from_impl(function).call(vec![lower(expr, slots, context)])
}

/// The whole expression as one function of the columns that it reads.
fn kernel(mut expr: Expr, slots: &[Slot], context: &OwnedContext) -> DfExpr {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut read = expr.columns();
    read.sort_unstable();
    read.dedup();
    let arguments = read.iter().map(|index| column(&slots[*index].0)).collect();
    let types = read.iter().map(|index| slots[*index].1.clone()).collect();
    let volatile = expr.is_volatile();
    expr.map_columns(&|index| {
        read.binary_search(&index).expect("every column that is read was listed")
    });
    let function = KernelFunction {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        result: expr.sql_type().clone(),
        expr,
        types,
        context: context.clone(),
        signature: any_arguments(if volatile {
            Volatility::Volatile
        } else {
            // Errors and session facts make constant folding at plan time unwelcome.
            Volatility::Stable
        }),
    };
    ScalarUDF::new_from_impl(function).call(arguments)
}

/// Any number of arguments, none included, of any types.
fn any_arguments(volatility: Volatility) -> Signature {
    Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], volatility)
}

/// One bound expression; `types` are those of its columns.
struct KernelFunction {
    id: u64,
    expr: Expr,
    types: Vec<SqlType>,
    result: SqlType,
    context: OwnedContext,
    signature: Signature,
}

impl std::fmt::Debug for KernelFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.expr)
    }
}

impl PartialEq for KernelFunction {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for KernelFunction {}

impl Hash for KernelFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl ScalarUDFImpl for KernelFunction {
    fn name(&self) -> &str {
        "kernel"
    }

    fn schema_name(&self, _: &[DfExpr]) -> Result<String> {
        Ok(format!("kernel{}", self.id))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(arrow_type(&self.result))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let context = self.context.borrow();
        let mut builder = ColumnBuilder::new(&self.result, rows);
        let mut row: Vec<Datum> = Vec::with_capacity(columns.len());
        // Columns may have come as scalars: then the arrays have one row.
        let at = |column: &ArrayRef, index: usize| if column.len() == 1 { 0 } else { index };
        for index in 0..rows {
            if index.is_multiple_of(ROWS_PER_CHECK) {
                context.facts.check_cancel().map_err(into_datafusion)?;
            }
            row.clear();
            for (column, ty) in columns.iter().zip(&self.types) {
                row.push(from_sql(read(column.as_ref(), at(column, index), ty))?);
            }
            let value = self.expr.eval(&row, &context).map_err(into_datafusion)?;
            from_sql(builder.append(&value))?;
        }
        Ok(ColumnarValue::Array(builder.finish()))
    }
}

/// A value's order-preserving bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SortKeyFunction {
    ty: SqlType,
    signature: Signature,
}

impl ScalarUDFImpl for SortKeyFunction {
    fn name(&self) -> &str {
        "sort_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let values = &columns[0];
        let mut builder = BinaryBuilder::with_capacity(values.len(), values.len() * 16);
        let mut key = Vec::new();
        for index in 0..values.len() {
            match from_sql(read(values.as_ref(), index, &self.ty))? {
                Datum::Null => builder.append_null(),
                value => {
                    key.clear();
                    from_sql(sort_key(&value, &self.ty, &mut key))?;
                    builder.append_value(&key);
                }
            }
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}
