//! PostgreSQL's aggregates inside DataFusion: the accumulators of `expr`, called row by row.
//!
//! DISTINCT and ORDER BY within a call are handled here: the rows of a group are kept, then sorted
//! and made distinct before they are fed. Plans run in one partition, so that no partial states are
//! exchanged; should DataFusion ever ask for one, that is an error, not a wrong sum.

use super::batch::{ColumnBuilder, arrow_type, read};
use super::fault::{from_sql, into_datafusion};
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datum::{Datum, SqlType};
use expr::{BoundFunction, OwnedContext};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

/// How one aggregate call collects its input.
#[derive(Clone)]
pub struct CallShape {
    pub function: Arc<BoundFunction>,
    pub result: SqlType,
    /// Types of the arguments proper, which come first among the columns.
    pub arguments: Vec<SqlType>,
    pub distinct: bool,
    /// Sort keys, whose columns follow the arguments: type, descending, nulls first.
    pub order: Vec<(SqlType, bool, bool)>,
}

impl CallShape {
    /// A state for one group.
    ///
    /// # Errors
    /// The function is no aggregate.
    pub fn start(&self) -> expr::Result<GroupState> {
        Ok(GroupState {
            inner: self.function.accumulator()?,
            rows: Vec::new(),
            shape: self.clone(),
        })
    }

    fn keeps_rows(&self) -> bool {
        self.distinct || !self.order.is_empty()
    }

    fn compare(&self, a: &[Datum], b: &[Datum]) -> Ordering {
        let keys = self.arguments.len()..;
        let ordered = self.order.iter().zip(a[keys.clone()].iter().zip(&b[keys])).map(
            |((ty, descending, nulls_first), (a, b))| match (a.is_null(), b.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) if *nulls_first => Ordering::Less,
                (true, false) => Ordering::Greater,
                (false, true) if *nulls_first => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => {
                    let order = datum::compare_as(ty, a, b);
                    if *descending { order.reverse() } else { order }
                }
            },
        );
        ordered.fold(Ordering::Equal, Ordering::then)
    }
}

/// One group of one call.
pub struct GroupState {
    inner: Box<dyn expr::Accumulator>,
    rows: Vec<Vec<Datum>>,
    shape: CallShape,
}

impl GroupState {
    /// One input row: the arguments, then the sort keys.
    pub fn update(&mut self, row: &[Datum], context: &OwnedContext) -> expr::Result<()> {
        if self.shape.keeps_rows() {
            self.rows.push(row.to_vec());
            return Ok(());
        }
        self.inner.update(row, &context.borrow())
    }

    pub fn finish(&mut self, context: &OwnedContext) -> expr::Result<Datum> {
        if self.shape.keeps_rows() {
            let mut rows = std::mem::take(&mut self.rows);
            let arguments = self.shape.arguments.len();
            if self.shape.distinct {
                // PostgreSQL sorts to find duplicates; what comes out is in that order.
                let types = &self.shape.arguments;
                rows.sort_by(|a, b| by_arguments(types, a, b));
                rows.dedup_by(|a, b| by_arguments(types, a, b).is_eq());
            }
            rows.sort_by(|a, b| self.shape.compare(a, b));
            for row in rows {
                self.inner.update(&row[..arguments], &context.borrow())?;
            }
        }
        self.inner.finish(&context.borrow())
    }

    fn size_bytes(&self) -> usize {
        self.rows.iter().flatten().map(Datum::size_bytes).sum::<usize>() + 128
    }
}

fn by_arguments(types: &[SqlType], a: &[Datum], b: &[Datum]) -> Ordering {
    types
        .iter()
        .zip(a.iter().zip(b))
        .map(|(ty, (a, b))| match (a.is_null(), b.is_null()) {
            (false, false) => datum::compare_as(ty, a, b),
            (a, b) => a.cmp(&b),
        })
        .fold(Ordering::Equal, Ordering::then)
}

/// The call as DataFusion knows it.
pub struct AggregateFunction {
    id: u64,
    shape: CallShape,
    context: OwnedContext,
    signature: Signature,
}

impl AggregateFunction {
    pub fn new(shape: CallShape, context: OwnedContext) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let columns = shape.arguments.len() + shape.order.len();
        let signature = if columns == 0 {
            Signature::nullary(Volatility::Stable)
        } else {
            Signature::any(columns, Volatility::Stable)
        };
        Self { id: NEXT.fetch_add(1, Atomic::Relaxed), shape, context, signature }
    }
}

impl std::fmt::Debug for AggregateFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.shape.function.def.name, self.id)
    }
}

impl PartialEq for AggregateFunction {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for AggregateFunction {}

impl Hash for AggregateFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl AggregateUDFImpl for AggregateFunction {
    fn name(&self) -> &str {
        self.shape.function.def.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(arrow_type(&self.shape.result))
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let state = self.shape.start().map_err(into_datafusion)?;
        Ok(Box::new(RowAccumulator {
            state,
            context: self.context.clone(),
            types: column_types(&self.shape),
            row: Vec::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![args.return_field])
    }
}

fn column_types(shape: &CallShape) -> Vec<SqlType> {
    shape.arguments.iter().cloned().chain(shape.order.iter().map(|key| key.0.clone())).collect()
}

struct RowAccumulator {
    state: GroupState,
    context: OwnedContext,
    types: Vec<SqlType>,
    row: Vec<Datum>,
}

impl std::fmt::Debug for RowAccumulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.state.shape.function.def.name)
    }
}

impl Accumulator for RowAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, Array::len);
        for index in 0..rows {
            self.row.clear();
            for (column, ty) in values.iter().zip(&self.types) {
                self.row.push(from_sql(read(column.as_ref(), index, ty))?);
            }
            self.state.update(&self.row, &self.context).map_err(into_datafusion)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.state.finish(&self.context).map_err(into_datafusion)?;
        let mut builder = ColumnBuilder::new(&self.state.shape.result, 1);
        from_sql(builder.append(&value))?;
        ScalarValue::try_from_array(&builder.finish(), 0)
    }

    fn size(&self) -> usize {
        self.state.size_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        exec_err!("partial state of {} was asked for", self.state.shape.function.def.name)
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        exec_err!("partial states of {} were to be merged", self.state.shape.function.def.name)
    }
}
