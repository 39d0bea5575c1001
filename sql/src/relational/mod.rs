//! Everything that is not a point or short-range statement.
//!
//! ```text
//! Rel ──lower──▶ DataFusion logical plan ──optimise, run──▶ record batches ──batch──▶ rows
//!      │
//!      └─ nodes that DataFusion has not, or has otherwise (windows, correlated subqueries,
//!         set-returning functions, recursion, row locks): their inputs run first, `operators/`
//!         computes their rows, and these are a table to the plan above
//! ```
//!
//! ```text
//! batch.rs      datums in Arrow arrays            lower.rs      Rel to logical plan
//! kernel.rs     expressions as functions          scan.rs       tables as providers
//! aggregate.rs  accumulators as functions         operators/    nodes of our own
//! series.rs     generate_series as a stream       memory.rs     how much queries may keep
//! append.rs     UNION ALL                         fault.rs      errors across the border
//! by_key.rs     parts that keys answer            pausing.rs    joins that hear time-outs
//! ```
//!
//! Invariants, as absences: no semantics of DataFusion's that differ from PostgreSQL's is reachable;
//! nothing here writes; nothing here knows how a key is made beyond `catalog`'s spans.

mod aggregate;
mod append;
mod batch;
mod by_key;
mod fault;
mod kernel;
mod lower;
pub(crate) mod memory;
mod operators;
mod pausing;
mod scan;
mod series;

pub(crate) use memory::{Kept, row_bytes};

use crate::context::ExecContext;
use crate::error::SqlResult;
use crate::outcome::{Row, RowSource, RowStream};
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use datum::SqlType;
use expr::OwnedContext;
use futures::StreamExt;
use futures::future::BoxFuture;
use lower::Lowering;
use planner::plan::Rel;
use std::sync::Arc;

/// What a query runs with: the statement's context, and the part of it that functions keep.
#[derive(Clone)]
struct QueryContext {
    exec: Arc<ExecContext>,
    eval: OwnedContext,
}

/// Runs a query; rows come as they are asked for. Boxed here, so that no crate above looks into
/// DataFusion's types to know what the future is.
///
/// # Errors
/// What the statement's expressions, reads and locks meet; 53200 beyond the memory budget.
pub fn execute<'a>(
    rel: &'a Rel,
    context: &'a Arc<ExecContext>,
) -> BoxFuture<'a, SqlResult<RowStream>> {
    Box::pin(async move {
        let (stream, kept) = start(rel, context).await?;
        let types = rel.fields.iter().map(|field| field.ty.ty.clone()).collect();
        let ready = Vec::new().into_iter();
        Ok(RowStream::pull(Box::new(BatchRows { stream, types, ready, _kept: kept })))
    })
}

/// Runs a query to its end.
///
/// # Errors
/// As [`execute`].
pub async fn collect(rel: &Rel, context: &Arc<ExecContext>) -> SqlResult<Vec<Row>> {
    execute(rel, context).await?.collect().await
}

async fn start(
    rel: &Rel,
    context: &Arc<ExecContext>,
) -> SqlResult<(SendableRecordBatchStream, memory::Kept)> {
    let eval = context.owned_eval();
    let mut lowering = Lowering::new(QueryContext { exec: context.clone(), eval });
    let lowered = lowering.lower(rel).await?;
    let stream = lower::run(lowered.plan, &lowering.context.eval.facts).await?;
    Ok((stream, lowering.kept))
}

/// Record batches as rows.
struct BatchRows {
    stream: SendableRecordBatchStream,
    types: Vec<SqlType>,
    ready: std::vec::IntoIter<Row>,
    /// Rows under the plan are counted as long as it runs.
    _kept: memory::Kept,
}

#[async_trait]
impl RowSource for BatchRows {
    async fn next(&mut self, rows_max: usize) -> SqlResult<Option<Vec<Row>>> {
        while self.ready.len() == 0 {
            match self.stream.next().await {
                None => return Ok(None),
                Some(batch) => {
                    let batch = batch.map_err(fault::into_sql)?;
                    self.ready = batch::rows(&batch, &self.types)?.into_iter();
                }
            }
        }
        Ok(Some(self.ready.by_ref().take(rows_max).collect()))
    }
}
