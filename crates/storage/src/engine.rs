//! The ordered map under everything: column families, atomic batches, pinned iterators.
//!
//! A write without `sync` is visible at once and durable after the next [`Engine::sync_wal`] (or
//! synced write): all batches share one write-ahead log, so what survives a crash is always a
//! prefix of the batches in the order they were written.
//!
//! ```text
//! write(A, sync=false)  write(B, sync=false)  sync_wal()  write(C, sync=false)  CRASH
//! after restart: A B, or A B C; never B without A, never C without B
//! ```

use crate::error::StorageResult;
use crate::gc::Garbage;
use crate::row_cache::RowCache;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// The column families.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Cf {
    /// Committed versions: `keyspace::version_key`.
    Data,
    /// Prewritten intents and lock intents: `keyspace::encode_key`. Normally almost empty.
    Lock,
    /// Status records of transactions, beside their primary key: `keyspace::txn_key`.
    Txn,
    /// Raft logs, votes, applied states. Keys are replication's.
    Raft,
    /// Node identity, markers, the hand-off log. Keys are their owners'.
    Local,
}

impl Cf {
    pub const ALL: [Cf; 5] = [Cf::Data, Cf::Lock, Cf::Txn, Cf::Raft, Cf::Local];
    /// The families whose keys begin with an encoded user key: what a range consists of.
    pub const REPLICATED: [Cf; 3] = [Cf::Data, Cf::Lock, Cf::Txn];

    pub fn name(self) -> &'static str {
        match self {
            Cf::Data => "data",
            Cf::Lock => "lock",
            Cf::Txn => "txn",
            Cf::Raft => "raft",
            Cf::Local => "local",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOp {
    Put {
        cf: Cf,
        key: Bytes,
        value: Bytes,
    },
    Delete {
        cf: Cf,
        key: Bytes,
    },
    /// Every key in `[start, end)`.
    DeleteRange {
        cf: Cf,
        start: Bytes,
        end: Bytes,
    },
}

/// Writes that become visible and durable together, applied in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    ops: Vec<BatchOp>,
    bytes: usize,
}

impl WriteBatch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put(&mut self, cf: Cf, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.push(BatchOp::Put { cf, key: key.into(), value: value.into() });
    }

    pub fn delete(&mut self, cf: Cf, key: impl Into<Bytes>) {
        self.push(BatchOp::Delete { cf, key: key.into() });
    }

    /// Deletes `[start, end)`.
    pub fn delete_range(&mut self, cf: Cf, start: impl Into<Bytes>, end: impl Into<Bytes>) {
        self.push(BatchOp::DeleteRange { cf, start: start.into(), end: end.into() });
    }

    pub fn push(&mut self, op: BatchOp) {
        self.bytes += match &op {
            BatchOp::Put { key, value, .. } => key.len() + value.len(),
            BatchOp::Delete { key, .. } => key.len(),
            BatchOp::DeleteRange { start, end, .. } => start.len() + end.len(),
        };
        self.ops.push(op);
    }

    /// Appends all of `other`.
    pub fn append(&mut self, mut other: WriteBatch) {
        self.bytes += other.bytes;
        self.ops.append(&mut other.ops);
    }

    pub fn ops(&self) -> &[BatchOp] {
        &self.ops
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// How an iterator looks at a family.
#[derive(Clone, Debug, Default)]
pub struct IterOptions {
    /// Keys below are never seen.
    pub lower: Option<Vec<u8>>,
    /// Keys at or above are never seen.
    pub upper: Option<Vec<u8>>,
    /// Only versions of one user key will be visited (`Cf::Data` and `Cf::Txn`): lets the prefix
    /// bloom filters say no. The bounds must lie within that key's versions.
    pub one_key: bool,
    /// A long scan that should not push out what point reads need.
    pub bulk: bool,
    /// A move over more deleted keys than this ends in an error.
    pub skips_max: Option<u64>,
}

/// A cursor over one family, pinned to the moment of its creation. Starts unpositioned.
pub trait EngineIterator {
    /// To the first key ≥ `key`.
    fn seek(&mut self, key: &[u8]);
    /// To the last key ≤ `key`.
    fn seek_for_prev(&mut self, key: &[u8]);
    fn seek_to_first(&mut self);
    fn seek_to_last(&mut self);
    /// Only when valid.
    fn next(&mut self);
    /// Only when valid.
    fn prev(&mut self);
    /// Whether it stands on a key. When false, `status` tells the end from an error.
    fn valid(&self) -> bool;
    /// Only when valid.
    fn key(&self) -> &[u8];
    /// Only when valid.
    fn value(&self) -> &[u8];
    fn status(&self) -> StorageResult<()>;
}

/// What the live engine and a pinned snapshot have in common.
pub trait EngineReader: Send + Sync {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>>;
    /// A cursor on the state at the time of this call (or of the snapshot).
    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIterator + '_>;
    /// The newest versions that are at hand without a cursor, of what is read now.
    fn row_cache(&self) -> Option<&RowCache> {
        None
    }
}

/// The store of one node. Used as `Arc<dyn Engine>`. All methods may block on the disk, briefly.
pub trait Engine: EngineReader + 'static {
    /// Applies all of `batch` atomically; with `sync`, returns after it is durable.
    fn write(&self, batch: WriteBatch, sync: bool) -> StorageResult<()>;

    /// Makes every batch written so far durable.
    fn sync_wal(&self) -> StorageResult<()>;

    /// A consistent view of all families, for as long as it is held.
    fn snapshot(&self) -> Arc<dyn EngineReader>;

    /// Hard-linked copy of the whole store in the new directory `dir`.
    fn checkpoint(&self, dir: &Path) -> StorageResult<()>;

    /// About how many bytes `[start, end)` takes on disk and in memory tables.
    fn approximate_bytes(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<u64>;

    /// Whether so little room is left that the store must take no more data, to go on at all. Asks
    /// the system.
    fn is_nearly_full(&self) -> bool {
        false
    }

    /// What may be dropped, and what was.
    fn garbage(&self) -> &Garbage;

    /// Rewrites `[start, end)`, without what garbage collection lets go. Blocks until it is done.
    fn compact(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<()>;

    /// Facts for `/metrics`: name and value.
    fn metrics(&self) -> Vec<(&'static str, u64)>;
}
