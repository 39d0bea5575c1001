//! What can be asked of a range's leader, and what it answers. Sent between nodes by postcard, with
//! the version of the service in its name.

use super::bulk::{BulkPart, BulkScope};
use super::deadlock::{Victim, WaitEdge, WaitReport};
use super::record::Outcome;
use crate::descriptor::{RangeDescriptor, ReplicaPlace};
use core_domain::{
    Generation, Key, KvError, LockMode, LockedValue, NodeId, RangeId, ReadSpan, ScanPage, Span,
    Timestamp, TxnId, TxnStatus, Value, WaitPolicy,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use storage::Marks;

/// One buffered write on its way into a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    pub key: Key,
    /// `None` deletes.
    pub value: Option<Value>,
    /// The newest version when the key was locked; `None` if it was not (a key that nobody else
    /// can write).
    pub seen: Option<Timestamp>,
}

/// A key that the transaction locked and did not write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedKey {
    pub key: Key,
    pub mode: LockMode,
    /// The newest version when it was locked.
    pub seen: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RangeRequest {
    /// → `Values`, in the order of `keys`.
    Get { keys: Vec<Key>, at: Timestamp },
    /// → `Page`. `span` must lie within the range.
    Scan { span: Span, at: Timestamp, reverse: bool, rows_max: u64, bytes_max: u64 },
    /// → `Locked`, in the order of `keys`. `snapshot`: a newer version is a conflict.
    Lock {
        txn: TxnId,
        keys: Vec<Key>,
        mode: LockMode,
        wait: WaitPolicy,
        snapshot: Option<Timestamp>,
    },
    /// One-phase commit → `Committed`. `floor`: an oracle timestamp drawn for this commit.
    Commit {
        txn: TxnId,
        primary: Key,
        floor: Timestamp,
        writes: Vec<Write>,
        locked: Vec<LockedKey>,
    },
    /// → `Prewritten`.
    Prewrite { txn: TxnId, primary: Key, writes: Vec<Write>, locked: Vec<LockedKey> },
    /// Decides a two-phase commit → `Committed`. `keys`: what else of this range to resolve in the
    /// same entry.
    CommitPrimary { txn: TxnId, primary: Key, commit: Timestamp, keys: Vec<Key> },
    /// Finishes intents whose transaction is decided → `Done`.
    Resolve { txn: TxnId, outcome: Outcome, keys: Vec<Key> },
    /// Decides a rollback at the primary → `Status`, `Committed` if that came first.
    Rollback { txn: TxnId, primary: Key },
    /// What became of a transaction, asked at its primary → `Status`. It is rolled back if it was
    /// not heard of; `seen`: when its intent was placed, `now`: a fresh timestamp.
    QueryTxn { txn: TxnId, primary: Key, seen: Timestamp, now: Timestamp },
    /// Looks for a status record anywhere in the range → `Status`.
    FindTxn { txn: TxnId },
    /// Frees every lock of a transaction on this node → `Done`.
    Release { txn: TxnId },
    /// → `Done`.
    Heartbeat { txn: TxnId },
    /// Drops every version in `span`, which nothing refers to any more → `Done`.
    Erase { span: Span },
    /// A part of a large transaction, ahead of its commit → `Done`, `Present`.
    BulkWrite(BulkPart),
    /// No commit of the transaction's parts here will be below the answer → `Prewritten`.
    BulkPrepare { txn: TxnId, primary: Key, generation: Generation },
    /// Decides about every part → `Committed`, `Pushed`. `floor`: an oracle timestamp drawn for it.
    BulkCommit {
        txn: TxnId,
        primary: Key,
        floor: Timestamp,
        scope: BulkScope,
        locked: Vec<LockedKey>,
    },
    /// What was decided about the parts → `Done`.
    /// After a rollback the versions in `spans` are removed in the background.
    BulkDecide { txn: TxnId, outcome: Outcome, spans: Vec<Span>, generation: Generation },
    /// As `Get`, with what the transaction wrote ahead of its commit.
    OwnGet { txn: TxnId, keys: Vec<Key>, at: Timestamp },
    /// As `Scan`, with what the transaction wrote ahead of its commit.
    OwnScan { txn: TxnId, span: Span, at: Timestamp, reverse: bool, rows_max: u64, bytes_max: u64 },
    /// System range only → `Drawn`: the first of `count` consecutive timestamps.
    Draw { count: u32 },
    /// One-phase commit that fails if anything that was read has changed → `Committed`.
    CommitValidated(Box<ValidatedCommit>),
    /// Whether nothing in `reads` has changed until `at`, nor ever will → `Done`. `passed`: those
    /// who will not commit at or below `at`, whatever their intents say.
    Validate { txn: TxnId, at: Timestamp, reads: Vec<ReadSpan>, passed: Vec<TxnId> },
    /// As `QueryTxn`; if the transaction is in progress it will not commit at or below `above`
    /// → `Status`, or `Pushed`.
    PushTxn { txn: TxnId, primary: Key, seen: Timestamp, now: Timestamp, above: Timestamp },
    /// Frees some locks of a transaction that goes on → `Done`. `keys` must lie in the range.
    ReleaseKeys { txn: TxnId, keys: Vec<Key> },
    /// The transaction lives and holds these advisory locks → `Done`, or `Aborted` if one was lost.
    Reassert { txn: TxnId, locks: Vec<(Key, LockMode)> },
    /// Holds locks in these weaker modes from now on → `Done`. The keys must lie in the range.
    WeakenKeys { txn: TxnId, locks: Vec<(Key, LockMode)> },
    /// System range only → `Victims`.
    ReportWaits(WaitReport),
    /// System range only → `Waits`: those that were reported.
    ListWaits,
    /// As `Prewrite`; committed when every part is applied → `Prewritten`.
    PrewriteAsync(Box<AsyncPrewrite>),
    /// Whether an abandoned asynchronous commit has all its intents on `keys`; it never will if it
    /// has not now → `Prewritten`, or `Status`.
    SettleSecondaries { txn: TxnId, keys: Vec<Key> },
    /// System range only: `node` reads nothing below `oldest` → `Marks`.
    Report { node: NodeId, oldest: Timestamp },
    /// System range only: drops more, as far as nobody who was heard of within `silence_max` holds it
    /// back → `Marks`.
    MoveMarks { wanted: Marks, silence_max: Duration },
    /// → `Done` if nothing is left in the range of transactions that began before, else `Intents`.
    FindIntents { before: Timestamp },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsyncPrewrite {
    pub txn: TxnId,
    pub primary: Key,
    /// An oracle timestamp drawn for this commit.
    pub floor: Timestamp,
    pub writes: Vec<Write>,
    pub locked: Vec<LockedKey>,
    /// With the primary: every other key of the transaction.
    pub secondaries: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatedCommit {
    pub txn: TxnId,
    pub primary: Key,
    /// As in `Commit`.
    pub floor: Timestamp,
    pub writes: Vec<Write>,
    pub locked: Vec<LockedKey>,
    /// All of it in this range.
    pub reads: Vec<ReadSpan>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RangeResponse {
    Values(Vec<Option<Value>>),
    Page(ScanPage),
    Locked(Vec<LockedValue>),
    Committed(Timestamp),
    Prewritten {
        min_commit: Timestamp,
    },
    Status(TxnStatus),
    Drawn(Timestamp),
    /// A key that should hold nothing holds something; nothing was done.
    Present {
        key: Key,
    },
    Done,
    /// Nothing was done: the transaction must commit above this.
    Pushed {
        above: Timestamp,
    },
    /// Waits of the reporting node that must end.
    Victims(Vec<Victim>),
    Waits(Vec<WaitEdge>),
    /// An abandoned asynchronous commit: these keys decide it.
    Secondaries {
        keys: Vec<Key>,
        min_commit: Timestamp,
    },
    Marks(Marks),
}

/// Another transaction's intent that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignIntent {
    pub key: Key,
    pub txn: TxnId,
    pub primary: Key,
    pub min_commit: Timestamp,
}

/// Why a range did not answer, named by what the sender does next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RangeError {
    /// Nothing was done: ask the leader.
    #[error("{range} is not led here")]
    NotLeader { range: RangeId, leader: Option<ReplicaPlace> },
    /// Nothing was done: the span moved. Look the keys up again.
    #[error("the keys are not in this range any more")]
    WrongRange { actual: Option<RangeDescriptor> },
    /// Nothing was done: find out what became of these first.
    #[error("{} intents of other transactions are in the way", .0.len())]
    Intents(Vec<ForeignIntent>),
    /// Nothing was done: no quorum.
    #[error("{range} has no quorum: {reason}")]
    NoQuorum { range: RangeId, reason: String },
    /// Proposed; asking again tells, once a leader is found.
    #[error("the outcome at {range} is unknown: {reason}")]
    OutcomeUnknown { range: RangeId, reason: String },
    #[error(transparent)]
    Kv(#[from] KvError),
}
