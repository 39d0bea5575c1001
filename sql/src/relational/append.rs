//! UNION ALL: one input after the other, in one partition.
//!
//! DataFusion's union makes a partition of each input; rows would then come in any order, and
//! aggregates above would exchange partial states, which ours do not have.

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// Streams with columns of the same types; read once.
pub struct Append {
    schema: SchemaRef,
    inputs: Mutex<Option<Vec<SendableRecordBatchStream>>>,
}

impl Append {
    pub fn new(schema: SchemaRef, inputs: Vec<SendableRecordBatchStream>) -> Self {
        Self { schema, inputs: Mutex::new(Some(inputs)) }
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Append")
    }
}

impl PartitionStream for Append {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let Some(inputs) = self.inputs.lock().take() else {
            let again = DataFusionError::Internal("an append is read twice".to_owned());
            let failed = stream::iter([Err::<RecordBatch, _>(again)]);
            return Box::pin(RecordBatchStreamAdapter::new(schema, failed));
        };
        let named = schema.clone();
        let batches = stream::iter(inputs).flatten().map(move |batch| renamed(batch?, &named));
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

fn renamed(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}
