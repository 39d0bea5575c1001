//! What can go wrong below SQL, named by what the caller can do about it.

use crate::id::{RangeId, TxnId};
use crate::key::Key;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub type KvResult<T> = Result<T, KvError>;

/// An error of the key-value interface. `sqlstate` says how SQL reports it.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum KvError {
    /// Someone else committed to a key that this transaction read or wrote: start again.
    #[error("could not serialize access due to concurrent update of {key} by transaction {other}")]
    Conflict { key: Key, other: TxnId },
    /// Waiting would never end: this transaction was chosen to give way.
    #[error("deadlock detected: transaction {waiter} waits for {key}, held by {holder}")]
    Deadlock { key: Key, waiter: TxnId, holder: TxnId },
    /// A lock was not free and the caller would not wait (NOWAIT).
    #[error("could not obtain lock on {key}")]
    LockNotAvailable { key: Key },
    /// A lock was not free within the caller's `lock_timeout`.
    #[error("canceling statement due to lock timeout")]
    LockTimeout { key: Key },
    /// The transaction was rolled back by someone else (its heartbeat lapsed) or by itself.
    #[error("transaction {txn} was aborted")]
    Aborted { txn: TxnId },
    /// The range has no leader, or its leader no quorum, within the time allowed.
    #[error("range {range} is unavailable: {reason}")]
    Unavailable { range: RangeId, reason: String },
    /// The commit was sent and its outcome is not known.
    #[error("the outcome of the commit of transaction {txn} is unknown")]
    OutcomeUnknown { txn: TxnId },
    /// The snapshot is older than what garbage collection left.
    #[error("snapshot too old")]
    SnapshotTooOld { at: Timestamp },
    /// A key, a value or a transaction is over its documented limit.
    #[error("{what} is too large: {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge { what: String, bytes: u64, bytes_max: u64 },
    /// More is buffered than a transaction may hold in memory, and it cannot be written ahead.
    #[error("the transaction needs {bytes} bytes of memory, at most {bytes_max} are allowed")]
    OverBudget { bytes: u64, bytes_max: u64 },
    /// What was written since the savepoint is no longer in memory only.
    #[error("too much was written since the savepoint to go back to it")]
    Unsaved,
    /// The disk is full, or the store refuses work to stay alive.
    #[error("{0}")]
    DiskFull(String),
    /// Bytes on disk or on the wire that cannot be.
    #[error("data corrupted: {0}")]
    Corruption(String),
    /// The node is going away.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// A broken promise in our own code; reported, never hidden.
    #[error("internal error: {0}")]
    Internal(String),
}

impl KvError {
    /// Whether the same transaction, begun again, may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            KvError::Conflict { .. } | KvError::Deadlock { .. } | KvError::Aborted { .. } => true,
            KvError::LockNotAvailable { .. }
            | KvError::LockTimeout { .. }
            | KvError::Unavailable { .. }
            | KvError::OutcomeUnknown { .. }
            | KvError::SnapshotTooOld { .. }
            | KvError::TooLarge { .. }
            | KvError::OverBudget { .. }
            | KvError::Unsaved
            | KvError::DiskFull(_)
            | KvError::Corruption(_)
            | KvError::ShuttingDown
            | KvError::Internal(_) => false,
        }
    }

    /// The five characters PostgreSQL uses for this.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            KvError::Conflict { .. } | KvError::Aborted { .. } => "40001",
            KvError::Deadlock { .. } => "40P01",
            KvError::LockNotAvailable { .. } | KvError::LockTimeout { .. } => "55P03",
            KvError::Unavailable { .. } => "58030",
            KvError::OutcomeUnknown { .. } => "40003",
            KvError::SnapshotTooOld { .. } => "72000",
            KvError::TooLarge { .. } => "54000",
            KvError::OverBudget { .. } | KvError::Unsaved => "53200",
            KvError::DiskFull(_) => "53100",
            KvError::Corruption(_) => "XX001",
            KvError::ShuttingDown => "57P01",
            KvError::Internal(_) => "XX000",
        }
    }
}
