//! The memory that all statements of a node may take together for rows they keep: sorts, hash tables,
//! what `operators/` collects, cursors, the input of writes and what they return. Beyond it a statement
//! ends with 53200; sorts and aggregates spill to temporary files before that.

use super::fault::into_sql;
use crate::error::SqlResult;
use crate::outcome::Row;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datum::Datum;
use std::sync::{Arc, LazyLock, OnceLock};

/// Bytes of rows kept by statements at one time, if no server says otherwise.
pub const QUERY_BYTES_MAX: usize = 1 << 30;

static BYTES_MAX: OnceLock<usize> = OnceLock::new();

/// The budget of this process: the first server's, if no statement was before.
pub fn limit(bytes_max: usize) {
    let _ = BYTES_MAX.set(bytes_max);
}

/// What every query of this process runs in.
pub fn runtime() -> Arc<RuntimeEnv> {
    static RUNTIME: LazyLock<Arc<RuntimeEnv>> = LazyLock::new(|| {
        let bytes_max = *BYTES_MAX.get_or_init(|| QUERY_BYTES_MAX);
        RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes_max)))
            .build_arc()
            .expect("a runtime without object stores and caches needs nothing")
    });
    RUNTIME.clone()
}

/// Bytes of rows that are kept now.
pub fn kept_bytes() -> usize {
    runtime().memory_pool.reserved()
}

/// Counts the rows that one statement keeps; given back when it is dropped.
pub struct Kept(MemoryReservation);

impl Kept {
    pub fn new() -> Self {
        Self(MemoryConsumer::new("rows").register(&runtime().memory_pool))
    }

    /// # Errors
    /// 53200 if the statements of this node keep too much already.
    ///
    /// Counts them twice, because they become the batches of the next node while they are still there.
    pub fn rows(&self, rows: &[Row]) -> SqlResult<()> {
        self.bytes(2 * rows.iter().map(|row| row_bytes(row)).sum::<usize>())
    }

    /// Rows that become nothing else.
    ///
    /// # Errors
    /// As [`Kept::rows`].
    pub fn rows_once(&self, rows: &[Row]) -> SqlResult<()> {
        self.bytes(rows.iter().map(|row| row_bytes(row)).sum())
    }

    /// # Errors
    /// As [`Kept::rows`].
    pub fn bytes(&self, bytes: usize) -> SqlResult<()> {
        self.0.try_grow(bytes).map_err(into_sql)
    }

    /// What was counted so far is kept no more.
    pub fn give_back(&self) {
        self.0.free();
    }
}

pub fn row_bytes(row: &[Datum]) -> usize {
    size_of::<Row>() + row.iter().map(Datum::size_bytes).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_until_they_are_let_go() {
        let row = vec![Datum::bytea(vec![0; 1 << 20])];
        let rows = vec![row; QUERY_BYTES_MAX >> 20];
        let error = Kept::new().rows_once(&rows).unwrap_err();
        assert_eq!(error.sqlstate, "53200");
        let kept = Kept::new();
        kept.rows_once(&rows[..10]).unwrap();
        assert!(kept.0.size() > 10 << 20, "{} bytes", kept.0.size());
        drop(kept);
        Kept::new().rows_once(&rows[..rows.len() / 2]).unwrap();
    }
}
