//! `generate_series` over integers in FROM: numbers as they are asked for, however many.

use super::batch::ColumnBuilder;
use super::fault::{from_sql, into_datafusion};
use super::kernel::Slot;
use super::lower::schema_of;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datum::{Datum, SqlType};
use expr::Integers;
use std::sync::Arc;

const BATCH_ROWS: usize = 8192;

#[derive(Debug)]
pub struct Series {
    numbers: Integers,
    ty: SqlType,
    schema: SchemaRef,
}

impl Series {
    pub fn new(numbers: Integers, slot: &Slot) -> Self {
        let schema = Arc::new(schema_of(std::slice::from_ref(slot)));
        Self { numbers, ty: slot.1.clone(), schema }
    }
}

impl PartitionStream for Series {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (ty, schema) = (self.ty.clone(), self.schema.clone());
        let mut numbers = self.numbers.clone();
        let batches = std::iter::from_fn(move || next_batch(&mut numbers, &ty, &schema));
        let stream = futures::stream::iter(batches);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
    }
}

fn next_batch(
    numbers: &mut Integers,
    ty: &SqlType,
    schema: &SchemaRef,
) -> Option<Result<RecordBatch>> {
    let mut builder = ColumnBuilder::new(ty, BATCH_ROWS);
    let mut count = 0;
    for value in numbers.take(BATCH_ROWS) {
        let appended =
            value.map_err(into_datafusion).and_then(|v: Datum| from_sql(builder.append(&v)));
        if let Err(error) = appended {
            return Some(Err(error));
        }
        count += 1;
    }
    (count > 0).then(|| Ok(RecordBatch::try_new(schema.clone(), vec![builder.finish()])?))
}
