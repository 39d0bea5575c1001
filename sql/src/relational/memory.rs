//! The memory that all queries of a node may take together for rows they keep: sorts, hash tables,
//! and what `operators/` collects. Beyond it a query ends with 53200; sorts and aggregates spill to
//! temporary files before that.

use super::fault::into_sql;
use crate::error::SqlResult;
use crate::outcome::Row;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datum::Datum;
use std::sync::{Arc, LazyLock};

/// Bytes of rows kept by queries at one time.
const QUERY_BYTES_MAX: usize = 1 << 30;

/// What every query of this process runs in.
pub fn runtime() -> Arc<RuntimeEnv> {
    static RUNTIME: LazyLock<Arc<RuntimeEnv>> = LazyLock::new(|| {
        RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(QUERY_BYTES_MAX)))
            .build_arc()
            .expect("a runtime without object stores and caches needs nothing")
    });
    RUNTIME.clone()
}

/// Counts the rows that one query keeps; given back when it is dropped.
pub struct Kept(MemoryReservation);

impl Kept {
    pub fn new() -> Self {
        Self(MemoryConsumer::new("rows").register(&runtime().memory_pool))
    }

    /// # Errors
    /// 53200 if the queries of this node keep too much already.
    pub fn rows(&self, rows: &[Row]) -> SqlResult<()> {
        let bytes: usize = rows.iter().map(|row| row_bytes(row)).sum();
        self.0.try_grow(bytes).map_err(into_sql)
    }
}

/// Twice, because rows become the batches of the next node while they are still there.
fn row_bytes(row: &[Datum]) -> usize {
    2 * (size_of::<Row>() + row.iter().map(Datum::size_bytes).sum::<usize>())
}
