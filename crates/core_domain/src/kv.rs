//! The one interface between SQL and the ranges: transactions over ordered keys.
//!
//! Two implementations: the distributed one in `query`, and an in-memory one in `testkit` for the
//! tests of `sql` and `catalog`.
//!
//! A statement's life, as `sql` drives it:
//!
//! ```text
//! begin_statement()           READ COMMITTED draws a fresh snapshot, other levels keep theirs
//! get / multi_get / scan      at the snapshot, own buffered writes on top
//! lock(keys, mode)            waits at the leaders; answers the newest committed value, own writes on top
//! put / delete                buffered until commit; only on keys locked Exclusive by this transaction
//! savepoint / rollback_to     a failed statement inside a transaction undoes its buffered writes
//! commit                      one range: one Raft command; several: two phases
//! ```
//!
//! What it does not do: constraints, rows, types, retries of statements. Those are SQL's.

use crate::consistency::{Guarantee, IsolationLevel};
use crate::error::KvResult;
use crate::id::{NodeId, RangeId, TxnId};
use crate::key::{Key, Span, Value};
use crate::time::Timestamp;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Which versions a read sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadAt {
    /// The statement's snapshot.
    Snapshot,
    /// The newest committed versions now: constraint checks, after locking (protocol.md, rule 6).
    Latest,
}

/// A row lock's strength, as PostgreSQL names them. Conflicts: see [`LockMode::conflicts_with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LockMode {
    /// The key exists and stays: foreign keys.
    KeyShare,
    Share,
    /// An update that leaves the key columns alone.
    NoKeyExclusive,
    /// Delete, update of key columns, insert.
    Exclusive,
}

impl LockMode {
    /// PostgreSQL's table of row-lock conflicts (manual, 13.3.2).
    pub fn conflicts_with(self, other: LockMode) -> bool {
        use LockMode::*;
        match (self, other) {
            (KeyShare, Exclusive) | (Exclusive, KeyShare) => true,
            (KeyShare, _) | (_, KeyShare) => false,
            (Share, Share) => false,
            _ => true,
        }
    }

    /// Whether writes are allowed under this lock.
    pub fn permits_write(self) -> bool {
        matches!(self, LockMode::NoKeyExclusive | LockMode::Exclusive)
    }
}

/// What to do when a lock is held by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitPolicy {
    /// Wait, at most this long; `None`: until it is free or a deadlock is found.
    Wait(Option<Duration>),
    /// Fail with `LockNotAvailable`.
    NoWait,
    /// Leave the key out.
    SkipLocked,
}

/// The answer to a lock request for one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockedValue {
    /// Locked. `value` is the newest one (own buffered write, else newest committed), `committed_at`
    /// the timestamp of the newest committed version, a deletion's included (zero: none ever).
    Locked { value: Option<Value>, committed_at: Timestamp },
    /// `SkipLocked` met another's lock.
    Skipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanOptions {
    pub read_at: ReadAt,
    /// From the end of the span to its start.
    pub reverse: bool,
    /// At most this many rows in the page.
    pub rows_max: usize,
    /// Stop after about this many bytes of keys and values (at least one row comes).
    pub bytes_max: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self { read_at: ReadAt::Snapshot, reverse: false, rows_max: usize::MAX, bytes_max: 1 << 20 }
    }
}

/// One page of a scan, in scan order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanPage {
    pub rows: Vec<(Key, Value)>,
    /// What is left to scan; `None` when the span is exhausted.
    pub rest: Option<Span>,
}

/// A point in a transaction's buffer to which it can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SavepointId(pub u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxnOptions {
    pub isolation: IsolationLevel,
    pub read_only: bool,
    /// Every read is at this moment of the past, whatever the isolation; nothing is locked or
    /// written.
    pub as_of: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitReceipt {
    /// When the writes became visible; the last snapshot for a transaction that wrote nothing.
    pub timestamp: Timestamp,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnStatus {
    InProgress,
    Committed(Timestamp),
    RolledBack,
    /// Older than status records are kept, or never seen.
    Unknown,
}

/// Somebody waits for a lock on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockWait {
    pub waiter: TxnId,
    pub key: Key,
    pub mode: LockMode,
    /// Whoever has to end first, whether it holds the key or waits for it before this one.
    pub blockers: Vec<TxnId>,
}

/// Tells of waits that the store does not see: the first transaction goes on when the second does.
/// Both directions together say that they are one session's.
pub type OtherWaits = Arc<dyn Fn() -> Vec<(TxnId, TxnId)> + Send + Sync>;

/// One transaction. Methods take `&self`: scans of one statement may run side by side. Dropping it
/// without commit rolls back in the background.
///
/// All errors are [`crate::KvError`]; after one that `is_retryable`, only `rollback` is of use.
#[async_trait]
pub trait KvTransaction: Send + Sync {
    fn id(&self) -> TxnId;
    fn options(&self) -> TxnOptions;

    /// Starts a statement and answers its snapshot.
    async fn begin_statement(&self) -> KvResult<Timestamp>;

    async fn get(&self, key: &Key, at: ReadAt) -> KvResult<Option<Value>>;

    /// Answers in the order of `keys`.
    async fn multi_get(&self, keys: &[Key], at: ReadAt) -> KvResult<Vec<Option<Value>>>;

    /// One page; call again with `rest`.
    async fn scan(&self, span: &Span, options: ScanOptions) -> KvResult<ScanPage>;

    /// Locks `keys` in their order and answers in it. Under REPEATABLE READ and SERIALIZABLE a key
    /// whose newest version is younger than the snapshot is a `Conflict`; asked for `KeyShare`, one
    /// that was deleted since.
    async fn lock(
        &self,
        keys: &[Key],
        mode: LockMode,
        wait: WaitPolicy,
    ) -> KvResult<Vec<LockedValue>>;

    /// Frees locks before the end of the transaction: those taken since a savepoint that was rolled
    /// back to, and advisory ones. Keys with a buffered write stay locked; what was not locked is
    /// passed over.
    ///
    /// # Errors
    /// A leader did not answer; its locks go with the transaction.
    async fn unlock(&self, keys: &[Key]) -> KvResult<()>;

    /// Buffers a write. The key must be locked in a mode that permits writes, or be one that no
    /// other transaction can write (a fresh hidden row id, a non-unique index entry).
    fn put(&self, key: Key, value: Value) -> KvResult<()>;
    fn delete(&self, key: Key) -> KvResult<()>;

    /// Locks, checks and writes keys that must hold nothing: the first found that holds something
    /// already. It may be found late, at the next call: one without rows waits for all before.
    async fn insert(&self, rows: Vec<(Key, Value)>, wait: WaitPolicy) -> KvResult<Option<Key>> {
        insert_by_locks(self, rows, wait).await
    }

    /// Between two chunks of rows: brings the transaction back within its memory.
    async fn relieve(&self) -> KvResult<()> {
        Ok(())
    }

    /// How much the transaction may hold in memory.
    fn limit_memory(&self, bytes_max: u64) {
        let _ = bytes_max;
    }

    fn savepoint(&self) -> SavepointId;
    /// Undoes every write buffered since; the savepoint itself stays. Locks stay: see
    /// [`release_since`](Self::release_since).
    fn rollback_to(&self, savepoint: SavepointId) -> KvResult<()>;

    /// After [`rollback_to`](Self::rollback_to): frees the locks taken since, and weakens those made
    /// stronger since. An implementation that cannot keeps them until the end.
    ///
    /// # Errors
    /// A leader did not answer; its locks go with the transaction.
    async fn release_since(&self, _savepoint: SavepointId) -> KvResult<()> {
        Ok(())
    }

    /// Bytes and keys buffered, for limits.
    fn buffered_bytes(&self) -> u64;
    fn has_writes(&self) -> bool;

    /// What the reads since `begin_statement` were served with.
    fn guarantee(&self) -> Guarantee;

    async fn commit(&self) -> KvResult<CommitReceipt>;
    async fn rollback(&self);
}

/// [`KvTransaction::insert`] of few rows.
///
/// # Errors
/// Those of `lock` and `put`.
pub async fn insert_by_locks<T: KvTransaction + ?Sized>(
    txn: &T,
    mut rows: Vec<(Key, Value)>,
    wait: WaitPolicy,
) -> KvResult<Option<Key>> {
    if rows.is_empty() {
        return Ok(None);
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Ok(Some(pair[0].0.clone()));
    }
    let keys: Vec<Key> = rows.iter().map(|(key, _)| key.clone()).collect();
    let locked = txn.lock(&keys, LockMode::Exclusive, wait).await?;
    let holds = |locked: &LockedValue| matches!(locked, LockedValue::Locked { value: Some(_), .. });
    if let Some(at) = locked.iter().position(holds) {
        return Ok(Some(keys[at].clone()));
    }
    rows.into_iter().try_for_each(|(key, value)| txn.put(key, value))?;
    Ok(None)
}

/// One key read by itself, a transaction of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointRead {
    pub value: Option<Value>,
    /// Its snapshot: drawn after the question.
    pub at: Timestamp,
    /// When what was found was committed, a deletion included; zero: never anything. Whoever reads
    /// at or above it elsewhere sees nothing older.
    pub seen: Timestamp,
    pub node: NodeId,
}

/// Where transactions come from.
#[async_trait]
pub trait KvStore: Send + Sync {
    async fn begin(&self, options: TxnOptions) -> KvResult<Arc<dyn KvTransaction>>;

    /// A strong read of one key, if it can be answered without waiting. `None`: begin a
    /// transaction.
    fn try_get(&self, _key: &Key) -> Option<PointRead> {
        None
    }

    /// A fresh timestamp from the oracle.
    async fn now(&self) -> KvResult<Timestamp>;

    /// The outcome of a transaction that ended some time ago.
    async fn txn_status(&self, txn: TxnId) -> KvResult<TxnStatus>;

    /// Who waits for whom at the moment, anywhere; waits on other nodes may be a moment late.
    async fn lock_waits(&self) -> KvResult<Vec<LockWait>>;

    /// From now on deadlock detection knows of these waits, too.
    fn watch_waits(&self, others: OtherWaits);

    /// Makes sure a range boundary lies at `key` (a table group's start). Idempotent.
    async fn split_at(&self, key: &Key) -> KvResult<()>;

    /// Makes the replica of `range` on `node` its leader; false if there is none that could be.
    async fn transfer_leader(&self, range: RangeId, node: NodeId) -> KvResult<bool>;

    /// Drops every version in `span`, outside any transaction and for readers of every timestamp:
    /// only for what nothing refers to any more, such as a dropped index. Idempotent.
    async fn erase(&self, span: &Span) -> KvResult<()>;
}
