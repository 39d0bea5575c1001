//! Requests become commands, at the leader of a range.
//!
//! ```text
//! request.rs     what can be asked, what is answered
//! group.rs       what evaluation needs of a replica
//! gate.rs        the leader's memory of one range: term, max_ts, entries in flight
//! pipeline.rs    evaluated effects of many transactions → one log entry
//! flight.rs      entries in flight
//! lock_table.rs  who holds and who waits, for all ranges led here
//! record.rs      status records, markers, intents: their bytes
//! read.rs        Get, Scan                 under rule 1
//! try_read.rs    a read of one key, if nothing has to be waited for
//! lock.rs        Lock, Release, ReleaseKeys, WeakenKeys, Heartbeat
//! advisory.rs    Reassert: locks that guard nothing stored
//! deadlock.rs    circles of waiters through several nodes
//! commit.rs      Commit in one phase       under rules 1, 3, 4
//! two_phase.rs   Prewrite, CommitPrimary, Resolve, Rollback, QueryTxn
//! bulk.rs        BulkWrite, BulkCommit …   transactions that write ahead of their commit
//! hidden.rs      what a leader knows about these
//! async_commit.rs  PrewriteAsync, SettleSecondaries
//! hand_over.rs   locks go along to the next leader   under rule 2
//! validate.rs    CommitValidated, Validate, PushTxn, under rule 5
//! erase.rs       Erase: all versions of what nothing refers to any more
//! garbage.rs     Report, MoveMarks, FindIntents: what garbage collection may drop
//! dead_runs.rs   runs of deleted keys that scans leap over
//! oracle.rs      Draw                      under rule 12
//! ```
//!
//! A one-phase commit, from the request to the answer (rules are protocol.md's):
//!
//! ```text
//! wait for flights on the keys → status record? answer from it (4) → newest versions as seen at
//! lock time? (3) → C = max(max_ts + 1, newest + 1, floor) → record the flight (1)
//! → propose {versions at C, status record} → applied: land, free the locks, answer C
//! ```
//!
//! A read at R: raise `max_ts` to R, wait for flights with `min_commit` ≤ R, meet no intent with
//! `min_commit` ≤ R, read, and only then check that this replica still leads under the same
//! generation.
//!
//! Followers know nothing of this: they apply bytes.

mod advisory;
mod async_commit;
mod bulk;
mod commit;
mod dead_runs;
mod deadlock;
mod erase;
mod flight;
mod garbage;
mod gate;
mod group;
mod hand_over;
mod hidden;
mod lock;
mod lock_table;
mod oracle;
mod pipeline;
mod read;
mod record;
mod request;
mod try_read;
mod two_phase;
mod validate;

#[cfg(test)]
mod tests;

pub use bulk::{BulkPart, BulkScope};
pub use deadlock::{Victim, WaitEdge, WaitReport};
pub use gate::Admission;
pub use group::Group;
pub use hand_over::HeldLocks;
pub(crate) use hidden::copy_records;
pub use lock_table::{Acquired, LockTable, Ticket, Wake};
pub use record::{Intents, LockIntent, Outcome, WriteIntent};
pub use request::{
    AsyncPrewrite, ForeignIntent, LockedKey, RangeError, RangeRequest, RangeResponse,
    ValidatedCommit, Write,
};
pub use storage::Marks;

use crate::descriptor::RangeDescriptor;
use crate::error::ReplicationError;
use crate::observer::Observer;
use async_trait::async_trait;
use core_domain::{Clock, Key, KvError, KvResult, RangeId, Span, Timestamp};
use deadlock::WaitGraph;
use garbage::Reports;
use gate::Gate;
use oracle::Oracle;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use storage::{Engine, gc};

/// A transaction that was not heard of for so long is taken for dead: its locks are freed, and its
/// intents rolled back by whoever meets them.
pub const TXN_EXPIRY: Duration = Duration::from_secs(5);

/// How often the room on the disk is looked at.
const DISK_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// How often it is looked whether tombstones can go.
const COLLECTION_INTERVAL: Duration = Duration::from_secs(1);

/// Fresh timestamps for a new leader; implemented by the layer that can reach the oracle.
#[async_trait]
pub trait TimestampSource: Send + Sync + 'static {
    async fn draw(&self) -> KvResult<Timestamp>;
}

/// Evaluates requests for every range that is led on this node. Give it to the store as its
/// observer, and `connect` it before requests come.
pub struct Evaluator {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    locks: Mutex<LockTable>,
    /// Used where the system range is led.
    graph: Mutex<WaitGraph>,
    gates: RwLock<HashMap<RangeId, Arc<Gate>>>,
    oracle: Oracle,
    source: OnceLock<Arc<dyn TimestampSource>>,
    /// As of a moment ago.
    disk_nearly_full: AtomicBool,
    /// Who holds the marks back, at the system range's leader.
    reports: Mutex<Reports>,
}

impl Evaluator {
    pub fn new(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            oracle: Oracle::new(clock.clone()),
            clock,
            locks: Mutex::default(),
            graph: Mutex::default(),
            gates: RwLock::default(),
            source: OnceLock::new(),
            disk_nearly_full: AtomicBool::new(false),
            reports: Mutex::default(),
        })
    }

    /// Says where fresh timestamps come from, and starts to free the locks of dead transactions.
    pub fn connect(self: &Arc<Self>, source: Arc<dyn TimestampSource>) {
        if self.source.set(source).is_err() {
            return;
        }
        tokio::spawn(watch_disk(Arc::downgrade(self)));
        tokio::spawn(collect_garbage(Arc::downgrade(self)));
        let evaluator = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TXN_EXPIRY / 5).await;
                let Some(evaluator) = evaluator.upgrade() else { return };
                let dead = evaluator.locks.lock().expire(evaluator.clock.monotonic());
                if !dead.is_empty() {
                    tracing::warn!(?dead, "locks of silent transactions expired");
                }
            }
        });
    }

    /// Answers one request at `group`'s leader, which must be this node.
    ///
    /// # Errors
    /// [`RangeError`] says what the sender does next. Dropping the future abandons a wait; a
    /// command that was proposed takes its course.
    pub async fn execute(
        self: &Arc<Self>,
        group: &Arc<dyn Group>,
        request: RangeRequest,
    ) -> Result<RangeResponse, RangeError> {
        let gate = self.gate(group.range());
        let at = Place { evaluator: self, group, gate: &gate };
        // What is rare is boxed: this future is copied on its way up, and is as large as the largest.
        match request {
            RangeRequest::Get { keys, at: timestamp } => at.get(&keys, timestamp, None).await,
            RangeRequest::Scan { span, at: timestamp, reverse, rows_max, bytes_max } => {
                at.scan(&span, timestamp, reverse, rows_max, bytes_max, None).await
            }
            RangeRequest::Lock { txn, keys, mode, wait, snapshot } => {
                at.lock(txn, &keys, mode, wait, snapshot).await
            }
            RangeRequest::Commit { txn, primary, floor, writes, locked } => {
                at.commit(txn, primary, floor, writes, locked).await
            }
            RangeRequest::Prewrite { txn, primary, writes, locked } => {
                Box::pin(at.prewrite(txn, primary, writes, locked)).await
            }
            RangeRequest::CommitPrimary { txn, primary, commit, keys } => {
                Box::pin(at.commit_primary(txn, primary, commit, keys)).await
            }
            RangeRequest::Resolve { txn, outcome, keys } => {
                Box::pin(at.resolve(txn, outcome, keys)).await
            }
            RangeRequest::Rollback { txn, primary } => Box::pin(at.rollback(txn, primary)).await,
            RangeRequest::QueryTxn { txn, primary, seen, now } => {
                Box::pin(at.query_txn(txn, primary, seen, now)).await
            }
            RangeRequest::FindTxn { txn } => Box::pin(at.find_txn(txn)).await,
            RangeRequest::Release { txn } => gate.free(&self.locks, |locks| locks.release(txn)),
            RangeRequest::ReleaseKeys { txn, keys } => at.release_keys(txn, &keys),
            RangeRequest::ReportWaits(report) => Box::pin(at.report_waits(report)).await,
            RangeRequest::ListWaits => Box::pin(at.list_waits()).await,
            RangeRequest::Reassert { txn, locks } => Box::pin(at.reassert(txn, locks)).await,
            RangeRequest::WeakenKeys { txn, locks } => at.weaken_keys(txn, &locks),
            RangeRequest::Heartbeat { txn } => {
                self.locks.lock().touch(txn, self.expiry());
                Ok(RangeResponse::Done)
            }
            RangeRequest::BulkWrite(part) => Box::pin(at.bulk_write(part)).await,
            RangeRequest::BulkPrepare { txn, primary, generation } => {
                Box::pin(at.bulk_prepare(txn, primary, generation)).await
            }
            RangeRequest::BulkCommit { txn, primary, floor, scope, locked } => {
                Box::pin(at.bulk_commit(txn, primary, floor, scope, locked)).await
            }
            RangeRequest::BulkDecide { txn, outcome, spans, generation } => {
                Box::pin(at.bulk_decide(txn, outcome, spans, Some(generation))).await
            }
            RangeRequest::OwnGet { txn, keys, at: timestamp } => {
                Box::pin(at.get(&keys, timestamp, Some(txn))).await
            }
            RangeRequest::OwnScan { txn, span, at: timestamp, reverse, rows_max, bytes_max } => {
                let own = Some(txn);
                Box::pin(at.scan(&span, timestamp, reverse, rows_max, bytes_max, own)).await
            }
            RangeRequest::Erase { span } => Box::pin(at.erase(span)).await,
            RangeRequest::Report { node, oldest } => Box::pin(at.report(node, oldest)).await,
            RangeRequest::MoveMarks { wanted, silence_max } => {
                Box::pin(at.move_marks(wanted, silence_max)).await
            }
            RangeRequest::FindIntents { before } => Box::pin(at.find_intents(before)).await,
            RangeRequest::Draw { count } => {
                Box::pin(at.draw(count)).await.map(RangeResponse::Drawn)
            }
            RangeRequest::CommitValidated(commit) => Box::pin(at.commit_validated(*commit)).await,
            RangeRequest::Validate { txn, at: timestamp, reads, passed } => {
                Box::pin(at.validate(txn, timestamp, &reads, &passed)).await
            }
            RangeRequest::PrewriteAsync(prewrite) => Box::pin(at.prewrite_async(*prewrite)).await,
            RangeRequest::SettleSecondaries { txn, keys } => {
                Box::pin(at.settle_secondaries(txn, keys)).await
            }
            RangeRequest::PushTxn { txn, primary, seen, now, above } => {
                Box::pin(at.push_txn(txn, primary, seen, now, above)).await
            }
        }
    }

    /// No more rows while the disk is nearly full. Deletes and the catalog's changes, DROP and
    /// TRUNCATE among them, may use what is kept for them: they make room.
    fn refuse_growth(&self, writes: &[Write]) -> KvResult<()> {
        let grows = |write: &Write| write.value.is_some() && !write.key.is_system();
        if self.disk_nearly_full.load(Ordering::Relaxed) && writes.iter().any(grows) {
            let text = "could not extend the data directory: no space left on device";
            return Err(KvError::DiskFull(text.into()));
        }
        Ok(())
    }

    /// A timestamp without waiting, if the oracle is served here and has one at hand.
    pub fn try_draw(&self, system: &dyn Group) -> Option<Timestamp> {
        self.oracle.try_draw(system, 1)
    }

    /// Lets this node's engine drop what lies below `marks`, and refuse to read there.
    ///
    /// # Errors
    /// Of the disk.
    pub async fn raise_marks(&self, marks: Marks) -> KvResult<()> {
        let engine = self.engine.clone();
        let raised = tokio::task::spawn_blocking(move || gc::raise(&*engine, marks)).await;
        raised.map_err(|error| KvError::Internal(error.to_string()))?.map_err(KvError::from)
    }

    /// As far as this node's engine drops, and refuses to read.
    pub fn marks(&self) -> Marks {
        self.engine.garbage().marks()
    }

    /// Drops the tombstones that may go by now; how many versions went.
    ///
    /// # Errors
    /// Of the disk, or what is damaged on it.
    pub async fn collect_garbage(&self) -> KvResult<u64> {
        let engine = self.engine.clone();
        let collected = tokio::task::spawn_blocking(move || gc::collect(&*engine)).await;
        collected.map_err(|error| KvError::Internal(error.to_string()))?.map_err(KvError::from)
    }

    /// The waits in this node's queues. `again`: only those that the last such call has met, too.
    pub fn waits(&self, again: bool) -> Vec<WaitEdge> {
        self.locks.lock().waits(again)
    }

    /// Ends a wait, if it still goes on: somebody in its circle has to.
    pub fn give_way(&self, victim: &Victim) {
        self.locks.lock().give_way(victim);
    }

    /// Keys locked or waited for here, for metrics.
    pub fn locked_keys(&self) -> usize {
        self.locks.lock().len()
    }

    fn gate(&self, range: RangeId) -> Arc<Gate> {
        if let Some(gate) = self.gates.read().get(&range) {
            return gate.clone();
        }
        self.gates.write().entry(range).or_insert_with(|| Gate::new(range)).clone()
    }

    /// When a transaction that is heard of now will be taken for dead.
    fn expiry(&self) -> Duration {
        self.clock.monotonic() + TXN_EXPIRY
    }
}

async fn collect_garbage(evaluator: Weak<Evaluator>) {
    loop {
        tokio::time::sleep(COLLECTION_INTERVAL).await;
        let Some(evaluator) = evaluator.upgrade() else { return };
        match evaluator.collect_garbage().await {
            Ok(0) => {}
            Ok(dropped) => tracing::debug!(dropped, "deleted rows are gone"),
            Err(error) => tracing::error!(%error, "garbage collection failed"),
        }
    }
}

async fn watch_disk(evaluator: Weak<Evaluator>) {
    while let Some(evaluator) = evaluator.upgrade() {
        let full = evaluator.engine.is_nearly_full();
        if evaluator.disk_nearly_full.swap(full, Ordering::Relaxed) != full {
            match full {
                true => tracing::error!("the disk is nearly full: no more rows are taken"),
                false => tracing::info!("the disk has room again"),
            }
        }
        drop(evaluator);
        tokio::time::sleep(DISK_CHECK_INTERVAL).await;
    }
}

impl Observer for Evaluator {
    fn leadership_lost(&self, range: RangeId) {
        if let Some(gate) = self.gates.read().get(&range) {
            gate.lose(&self.locks);
        }
    }

    /// Rule 9: what is kept per range is copied; locks are kept by key and stay where they are.
    fn split(&self, left: &RangeDescriptor, right: &RangeDescriptor) {
        let spans = [&left.span, &right.span];
        self.gate(right.range).inherit(&self.gate(left.range), spans);
    }

    fn removed(&self, range: RangeId) {
        if let Some(gate) = self.gates.write().remove(&range) {
            gate.lose(&self.locks);
        }
    }
}

/// Where a request is evaluated.
#[derive(Clone, Copy)]
struct Place<'a> {
    evaluator: &'a Arc<Evaluator>,
    group: &'a Arc<dyn Group>,
    gate: &'a Arc<Gate>,
}

impl Place<'_> {
    fn engine(&self) -> &dyn Engine {
        &*self.evaluator.engine
    }

    fn now(&self) -> Duration {
        self.evaluator.clock.monotonic()
    }

    fn not_leader(&self) -> RangeError {
        let leader = self.group.leader();
        RangeError::NotLeader { range: self.group.range(), leader }
    }
}

/// Refuses keys that the range does not have (any more).
fn check_keys<'k>(
    descriptor: &RangeDescriptor,
    mut keys: impl Iterator<Item = &'k Key>,
) -> Result<(), RangeError> {
    match keys.all(|key| descriptor.span.contains(key)) {
        true => Ok(()),
        false => Err(RangeError::WrongRange { actual: Some(descriptor.clone()) }),
    }
}

fn check_span(descriptor: &RangeDescriptor, span: &Span) -> Result<(), RangeError> {
    match descriptor.span.contains_span(span) {
        true => Ok(()),
        false => Err(RangeError::WrongRange { actual: Some(descriptor.clone()) }),
    }
}

impl From<ReplicationError> for RangeError {
    fn from(error: ReplicationError) -> Self {
        let reason = error.to_string();
        match error {
            ReplicationError::NotLeader { range, leader } => Self::NotLeader { range, leader },
            ReplicationError::NoReplica { range } => Self::NotLeader { range, leader: None },
            ReplicationError::NoQuorum { range, .. } => Self::NoQuorum { range, reason },
            ReplicationError::OutcomeUnknown { range, .. }
            | ReplicationError::Stopped { range, .. } => Self::OutcomeUnknown { range, reason },
            ReplicationError::Refused(_) | ReplicationError::Storage(_) => {
                Self::Kv(KvError::Internal(reason))
            }
            ReplicationError::Damaged(_) => Self::Kv(KvError::Corruption(reason)),
        }
    }
}

impl From<storage::StorageError> for RangeError {
    fn from(error: storage::StorageError) -> Self {
        Self::Kv(error.into())
    }
}
