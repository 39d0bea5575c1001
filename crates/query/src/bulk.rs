//! Transactions that write ahead of their commit, because of their size.
//!
//! ```text
//! insert  ─▶ open part ─┐ full                                     commit: drain, one small record
//! put     ─▶ buffer ────┤ over the budget, or at the commit        rollback: drain, one small record
//!                       ▼
//!            BulkWrite to the leaders, PARTS_AT_ONCE at a time ─▶ hidden versions
//! ```
//!
//! From the first part on, memory is bounded by the parts under way and by what is buffered since.
//! Own reads of what was sent go through `OwnGet` and `OwnScan`, after all parts have arrived.
//!
//! What it does not do: SERIALIZABLE transactions (their reads are validated at one place only), and
//! `ROLLBACK TO SAVEPOINT` behind a part that was sent: both stay within the budget or are refused.

use crate::commit::{Commit, Failure};
use crate::coordinator::Shared;
use crate::sender::kv_error;
use crate::transaction::{Transaction, surprise};
use core_domain::key::TABLE_KEY_HEADER;
use core_domain::kv::insert_by_locks;
use core_domain::{
    CommitReceipt, IsolationLevel, Key, KvError, KvResult, LockMode, RangeId, Span, Timestamp,
    TxnId, TxnStatus, Value, WaitPolicy,
};
use parking_lot::Mutex;
use replication::RangeDescriptor;
use replication::evaluate::{
    BulkPart, BulkScope, LockedKey, Outcome, RangeError, RangeRequest, RangeResponse, Write,
};
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// What one entry carries.
const PART_BYTES: usize = 512 << 10;
const PART_KEYS_MAX: usize = 8192;
/// Parts on their way. While one is written, the next are evaluated.
const PARTS_AT_ONCE: u32 = 4;
/// From so many bytes on, a commit writes ahead: it fits into no single entry.
pub(crate) const BULK_BYTES_MIN: u64 = 1 << 20;
/// A statement that holds as much in buffer and locks goes on ahead: the disk works meanwhile.
const EARLY_BYTES: u64 = 16 << 20;
/// Once parts are sent, the buffer is sent whenever it holds as much.
const SPILL_BYTES: u64 = 4 << 20;
/// Beside its bytes, what a buffered write or a lock costs in memory.
const ENTRY_BYTES: u64 = 160;

/// What a transaction has sent ahead.
pub(crate) struct Bulk {
    primary: Key,
    permits: Arc<Semaphore>,
    state: Mutex<BulkState>,
}

#[derive(Default)]
struct BulkState {
    sequence: u32,
    /// Rows that must be new, until they fill a part.
    open: Vec<Write>,
    open_bytes: usize,
    wait: Option<WaitPolicy>,
    /// Where parts were sent to.
    spans: Vec<Span>,
    failure: Option<KvError>,
    /// A key of `insert` that holds something.
    present: Option<Key>,
    /// Parts under way.
    sending: Vec<AbortHandle>,
    /// `BulkPrepare` was sent: somebody may ask the primary.
    prepared: bool,
}

impl Bulk {
    fn check(&self) -> KvResult<()> {
        self.state.lock().failure.clone().map_or(Ok(()), Err)
    }

    /// Whether one of the spans that were written may touch `span`.
    fn touches(&self, span: &Span) -> bool {
        let state = self.state.lock();
        state.spans.iter().any(|sent| sent.overlaps(span))
            || state.open.iter().any(|write| span.contains(&write.key))
    }

    /// The ranges that have some of it, each with a key of its own.
    pub(crate) async fn places(
        &self,
        shared: &Shared,
    ) -> KvResult<Vec<(Arc<RangeDescriptor>, Key)>> {
        let spans = self.state.lock().spans.clone();
        let ranges = ranges_of(shared, &spans).await?.into_iter();
        Ok(ranges.map(|range| (range.clone(), range.span.start.clone())).collect())
    }

    async fn drain(&self) -> KvResult<()> {
        // Never closed: the permits all come back.
        let _all = self.permits.acquire_many(PARTS_AT_ONCE).await;
        self.check()
    }
}

impl Transaction {
    pub(crate) fn may_bulk(&self) -> bool {
        self.options.isolation != IsolationLevel::Serializable
    }

    /// From how many bytes on it does so: not before it must, while somebody may want to go back to
    /// a savepoint.
    fn bulk_from(&self, bytes_min: u64) -> u64 {
        let bytes_max = self.memory_bytes_max();
        match self.state.lock().buffer.last_savepoint() {
            Some(_) => bytes_max,
            None => bytes_min.min(bytes_max),
        }
    }

    /// What the buffer and the locks take.
    fn memory(&self) -> u64 {
        let state = self.state.lock();
        let entries = (state.buffer.len() + state.locked.len()) as u64;
        state.buffer.bytes() + ENTRY_BYTES * entries
    }

    /// Keeps the transaction within its memory.
    pub(crate) async fn relieve_memory(&self) -> KvResult<()> {
        let bytes_max = self.memory_bytes_max();
        if self.bulk.get().is_some() {
            let bytes = self.state.lock().buffer.bytes();
            if bytes >= SPILL_BYTES.min(bytes_max) {
                self.spill().await?;
            }
            return Ok(());
        }
        let bytes = self.memory();
        if self.may_bulk() {
            return match bytes <= self.bulk_from(EARLY_BYTES) {
                true => Ok(()),
                false => self.spill().await,
            };
        }
        if bytes <= bytes_max {
            return Ok(());
        }
        Err(KvError::OverBudget { bytes, bytes_max })
    }

    pub(crate) async fn insert_rows(
        &self,
        rows: Vec<(Key, Value)>,
        wait: WaitPolicy,
    ) -> KvResult<Option<Key>> {
        let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
        let buffered = self.state.lock().buffer.bytes();
        if self.bulk.get().is_none() {
            if rows.is_empty() {
                return Ok(None);
            }
            let small = buffered + (bytes as u64) < self.bulk_from(BULK_BYTES_MIN);
            if !self.may_bulk() || small {
                return insert_by_locks(self, rows, wait).await;
            }
        }
        let deleted_before = {
            let state = self.state.lock();
            rows.iter().any(|(key, _)| state.buffer.get(key).is_some())
        };
        if deleted_before || rows.is_empty() {
            self.spill().await?;
        }
        let bulk = match (self.bulk.get(), rows.first()) {
            (Some(bulk), _) => bulk.clone(),
            (None, Some((first, _))) => self.start_bulk(first.clone()),
            (None, None) => return Ok(None),
        };
        if rows.is_empty() {
            self.send_open(&bulk).await?;
            bulk.drain().await?;
        }
        bulk.check()?;
        self.state.lock().mark_sent();
        let full = {
            let mut state = bulk.state.lock();
            if let Some(key) = state.present.take() {
                return Ok(Some(key));
            }
            state.wait = Some(wait);
            state.open_bytes += bytes;
            let writes = rows.into_iter();
            state.open.extend(writes.map(|(key, value)| Write {
                key,
                value: Some(value),
                seen: None,
            }));
            state.open_bytes >= PART_BYTES || state.open.len() >= PART_KEYS_MAX
        };
        if full {
            self.send_open(&bulk).await?;
        }
        Ok(None)
    }

    /// From now on this is a transaction that writes ahead, though all of it is still here.
    pub(crate) fn go_bulk(&self) {
        let first = self.state.lock().buffer.iter().next().map(|(key, _)| key.clone());
        if let (None, Some(first)) = (self.bulk.get(), first) {
            self.start_bulk(first);
        }
    }

    fn start_bulk(&self, primary: Key) -> Arc<Bulk> {
        let permits = Arc::new(Semaphore::new(PARTS_AT_ONCE as usize));
        let bulk = Arc::new(Bulk { primary, permits, state: Mutex::default() });
        self.bulk.get_or_init(|| bulk).clone()
    }

    /// Sends the rows that are not part of a full part yet.
    async fn send_open(&self, bulk: &Arc<Bulk>) -> KvResult<()> {
        let (mut writes, wait) = {
            let mut state = bulk.state.lock();
            state.open_bytes = 0;
            (std::mem::take(&mut state.open), state.wait.unwrap_or(WaitPolicy::Wait(None)))
        };
        if !writes.is_sorted_by(|a, b| a.key <= b.key) {
            writes.sort_by(|a, b| a.key.cmp(&b.key));
        }
        let snapshot = match self.options.isolation {
            IsolationLevel::ReadCommitted => None,
            IsolationLevel::RepeatableRead | IsolationLevel::Serializable => {
                self.state.lock().snapshot
            }
        };
        let mut writes = writes.into_iter().peekable();
        while writes.peek().is_some() {
            let part = next_part(&mut writes);
            self.send_part(bulk, part, |floor, sequence, writes| BulkPart {
                txn: self.id,
                floor,
                sequence,
                absent: true,
                mode: LockMode::Exclusive,
                snapshot,
                wait,
                writes,
            })
            .await?;
        }
        Ok(())
    }

    /// Sends everything that is buffered; its locks stand for themselves from then on.
    pub(crate) async fn spill(&self) -> KvResult<()> {
        let (writes, mode) = {
            let mut state = self.state.lock();
            if state.ended {
                return Err(KvError::Aborted { txn: self.id });
            }
            state.mark_sent();
            let state = &mut *state;
            let mut writes = Vec::with_capacity(state.buffer.len());
            let mut mode = LockMode::NoKeyExclusive;
            for (key, value) in state.buffer.take_writes() {
                let held = state.locked.remove(&key);
                mode = mode.max(held.map_or(mode, |held| held.mode));
                writes.push(Write { key, value, seen: held.map(|held| held.seen) });
            }
            (writes, mode)
        };
        let Some(first) = writes.first().map(|write| write.key.clone()) else { return Ok(()) };
        let bulk = match self.bulk.get() {
            Some(bulk) => bulk.clone(),
            None => self.start_bulk(first),
        };
        // What is overwritten must have arrived.
        self.send_open(&bulk).await?;
        bulk.drain().await?;
        let mut writes = writes.into_iter().peekable();
        while writes.peek().is_some() {
            let part = next_part(&mut writes);
            self.send_part(&bulk, part, |floor, sequence, writes| BulkPart {
                txn: self.id,
                floor,
                sequence,
                absent: false,
                mode,
                snapshot: None,
                wait: WaitPolicy::Wait(None),
                writes,
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until one more part may be under way, and sets it off.
    async fn send_part(
        &self,
        bulk: &Arc<Bulk>,
        writes: Vec<Write>,
        make: impl FnOnce(Timestamp, u32, Vec<Write>) -> BulkPart,
    ) -> KvResult<()> {
        let Ok(permit) = bulk.permits.clone().acquire_owned().await else {
            return Err(KvError::Internal("a transaction's permits were closed".into()));
        };
        bulk.check()?;
        let floor = self.shared.oracle.draw().await?;
        let span = Span::new(writes[0].key.clone(), writes[writes.len() - 1].key.next());
        // The leaders must hear that the transaction lives, and of its end.
        for descriptor in ranges_of(&self.shared, std::slice::from_ref(&span)).await? {
            let here = span.intersect(&descriptor.span).map_or(span.start.clone(), |s| s.start);
            self.touch(&descriptor, &here);
        }
        let sequence = {
            let mut state = bulk.state.lock();
            state.spans.push(span);
            state.sequence += 1;
            state.sequence
        };
        let part = make(floor, sequence, writes);
        let (shared, told) = (self.shared.clone(), bulk.clone());
        let task = tokio::spawn(async move {
            match deliver(&shared, part).await {
                Ok(None) => {}
                Ok(Some(key)) => {
                    told.state.lock().present.get_or_insert(key);
                }
                Err(error) => {
                    told.state.lock().failure.get_or_insert(error);
                }
            }
            drop(permit);
        });
        let mut state = bulk.state.lock();
        state.sending.retain(|task| !task.is_finished());
        state.sending.push(task.abort_handle());
        Ok(())
    }

    /// Before a read or a lock: whether it may meet what was sent, which has arrived then.
    pub(crate) async fn settle_for(&self, span: &Span) -> KvResult<bool> {
        let Some(bulk) = self.bulk.get() else { return Ok(false) };
        if !bulk.touches(span) {
            return Ok(false);
        }
        self.send_open(bulk).await?;
        bulk.drain().await?;
        Ok(true)
    }

    pub(crate) async fn settle_keys(&self, keys: &[Key]) -> KvResult<bool> {
        match (keys.iter().min(), keys.iter().max()) {
            (Some(first), Some(last)) => {
                self.settle_for(&Span::new(first.clone(), last.next())).await
            }
            _ => Ok(false),
        }
    }

    pub(crate) async fn commit_bulk(&self, bulk: &Arc<Bulk>) -> KvResult<CommitReceipt> {
        let outcome = self.decide_bulk(bulk).await;
        match outcome {
            Ok(timestamp) => {
                self.release_except(None).await;
                Ok(CommitReceipt { timestamp })
            }
            Err(Failure::Unknown) => {
                self.end();
                self.shared.alive.lock().remove(&self.id);
                self.shared.remember_unresolved(self.id, bulk.primary.clone());
                Err(KvError::OutcomeUnknown { txn: self.id })
            }
            Err(Failure::Moved | Failure::Pushed { .. }) => {
                Err(KvError::Internal("a commit gave up too early".into()))
            }
            Err(Failure::No(error)) => {
                roll_back_bulk(&self.shared, self.id, bulk).await;
                self.release_except(None).await;
                Err(error)
            }
        }
    }

    async fn decide_bulk(&self, bulk: &Arc<Bulk>) -> Result<Timestamp, Failure> {
        let started = Instant::now();
        self.spill().await.map_err(Failure::No)?;
        self.send_open(bulk).await.map_err(Failure::No)?;
        bulk.drain().await.map_err(Failure::No)?;
        if let Some(key) = bulk.state.lock().present.take() {
            return Err(Failure::No(KvError::Conflict { key, other: TxnId::default() }));
        }
        let locked: Vec<LockedKey> = {
            let mut state = self.state.lock();
            if std::mem::replace(&mut state.ended, true) {
                return Err(Failure::No(KvError::Aborted { txn: self.id }));
            }
            let locked = std::mem::take(&mut state.locked).into_iter();
            locked
                .filter(|(key, _)| !key.is_advisory())
                .map(|(key, held)| LockedKey { key, mode: held.mode, seen: held.seen })
                .collect()
        };
        let commit = Commit {
            shared: self.shared.clone(),
            txn: self.id,
            primary: bulk.primary.clone(),
            writes: Arc::default(),
            locked: Arc::new(locked),
            reads: Arc::default(),
            sent: Arc::default(),
            asynchronous: Arc::default(),
        };
        let bulk = bulk.clone();
        // A client that goes away does not leave a commit half done.
        let task = tokio::spawn(async move { commit.bulk(&bulk, started).await });
        task.await.unwrap_or(Err(Failure::Unknown))
    }
}

/// As much as one entry carries, of one index: then the spans of parts say where they are.
fn next_part(writes: &mut Peekable<impl Iterator<Item = Write>>) -> Vec<Write> {
    let Some(first) = writes.next() else { return Vec::new() };
    let size = |write: &Write| write.key.len() + write.value.as_ref().map_or(0, |v| v.len());
    let mut bytes = size(&first);
    let mut part = vec![first];
    while bytes < PART_BYTES
        && part.len() < PART_KEYS_MAX
        && let Some(write) = writes.next_if(|write| index_of(&write.key) == index_of(&part[0].key))
    {
        bytes += size(&write);
        part.push(write);
    }
    part
}

fn index_of(key: &Key) -> &[u8] {
    match key.is_system() {
        true => &[],
        false => key.as_slice().get(..TABLE_KEY_HEADER).unwrap_or_default(),
    }
}

/// The ranges that `spans` lie in.
async fn ranges_of(shared: &Shared, spans: &[Span]) -> KvResult<Vec<Arc<RangeDescriptor>>> {
    let mut ranges: BTreeMap<RangeId, Arc<RangeDescriptor>> = BTreeMap::new();
    for span in spans {
        let mut at = span.start.clone();
        if ranges.values().any(|range| range.span.contains_span(span)) {
            continue;
        }
        loop {
            let descriptor = shared.sender.locate(&at).await?;
            let end = descriptor.span.end.clone();
            ranges.insert(descriptor.range, descriptor);
            if end.is_empty() || end >= span.end {
                break;
            }
            at = end;
        }
    }
    Ok(ranges.into_values().collect())
}

/// Brings a part to its ranges, until they have it. A key that should have held nothing, if one did.
async fn deliver(shared: &Shared, mut part: BulkPart) -> KvResult<Option<Key>> {
    let started = Instant::now();
    let mut left = std::mem::take(&mut part.writes);
    let mut attempt = 0;
    while !left.is_empty() {
        let descriptor = shared.sender.locate(&left[0].key).await?;
        let run = left.iter().take_while(|write| descriptor.span.contains(&write.key)).count();
        let rest = left.split_off(run.max(1));
        let request = RangeRequest::BulkWrite(BulkPart { writes: left, ..part.clone() });
        let answer = shared.sender.send(&descriptor, request.clone()).await;
        let RangeRequest::BulkWrite(BulkPart { writes: sent, .. }) = request else {
            return Err(KvError::Internal("a request has changed".into()));
        };
        let again = match answer {
            Ok((RangeResponse::Done, _)) => false,
            Ok((RangeResponse::Present { key }, _)) => return Ok(Some(key)),
            Ok((other, _)) => return Err(surprise("a part", &other)),
            Err(RangeError::WrongRange { .. }) => true,
            Err(RangeError::Intents(foreign)) => {
                shared.clear_intents(foreign, attempt).await?;
                attempt += 1;
                true
            }
            // A copy does no harm.
            Err(RangeError::OutcomeUnknown { .. })
                if started.elapsed() < shared.sender.tuning.outcome_timeout =>
            {
                true
            }
            Err(error) => return Err(kv_error(descriptor.range, error)),
        };
        left = match again {
            true => [sent, rest].concat(),
            false => rest,
        };
    }
    Ok(None)
}

impl Commit {
    async fn bulk(&self, bulk: &Arc<Bulk>, started: Instant) -> Result<Timestamp, Failure> {
        loop {
            let spans = bulk.state.lock().spans.clone();
            let ranges = ranges_of(&self.shared, &spans).await;
            let ranges = ranges.map_err(|error| self.failure(error))?;
            let one = match ranges.as_slice() {
                [one] if self.locked.iter().all(|locked| one.span.contains(&locked.key)) => one,
                _ => return self.bulk_over_ranges(bulk, started).await,
            };
            let floor = self.shared.oracle.draw().await.map_err(|error| self.failure(error))?;
            let scope = BulkScope::Only(one.generation);
            let request = self.bulk_commit(floor, scope, (*self.locked).clone());
            match self.decide(one, request, started).await {
                // It was split, or its replicas changed.
                Err(Failure::Moved) => {}
                outcome => return outcome,
            }
        }
    }

    fn bulk_commit(
        &self,
        floor: Timestamp,
        scope: BulkScope,
        locked: Vec<LockedKey>,
    ) -> RangeRequest {
        RangeRequest::BulkCommit {
            txn: self.txn,
            primary: self.primary.clone(),
            floor,
            scope,
            locked,
        }
    }

    async fn bulk_over_ranges(
        &self,
        bulk: &Arc<Bulk>,
        started: Instant,
    ) -> Result<Timestamp, Failure> {
        bulk.state.lock().prepared = true;
        let spans = bulk.state.lock().spans.clone();
        let (parts, decided) = loop {
            // Locks that nothing was written under take part as intents.
            let parts = match self.locked.is_empty() {
                true => Vec::new(),
                false => self.locked_parts().await.map_err(|error| self.failure(error))?,
            };
            match self.prepare_and_decide(&spans, &parts, started).await {
                Err(Failure::Moved) => {}
                decided => break (parts, decided),
            }
        };
        let outcome = match &decided {
            Ok(at) => Outcome::Committed(*at),
            Err(Failure::Unknown) => return decided,
            Err(_) => Outcome::RolledBack,
        };
        match outcome {
            Outcome::Committed(_) => {
                let (commit, spans) = (self.clone(), spans);
                tokio::spawn(async move {
                    tell(&commit.shared, commit.txn, outcome, &spans).await;
                    commit.resolve(parts, outcome).await;
                });
            }
            Outcome::RolledBack => self.clone().resolve(parts, outcome).await,
        }
        decided
    }

    async fn prepare_and_decide(
        &self,
        spans: &[Span],
        guards: &[crate::commit::Part],
        started: Instant,
    ) -> Result<Timestamp, Failure> {
        let mut highest = match guards.is_empty() {
            true => Timestamp::ZERO,
            false => self.prewrite(guards).await?,
        };
        let mut prepared: BTreeMap<RangeId, core_domain::Generation> = BTreeMap::new();
        loop {
            let ranges = ranges_of(&self.shared, spans).await;
            let ranges = ranges.map_err(|error| self.failure(error))?;
            let left = ranges.iter().find(|r| prepared.get(&r.range) != Some(&r.generation));
            let Some(descriptor) = left else { break };
            let request = RangeRequest::BulkPrepare {
                txn: self.txn,
                primary: self.primary.clone(),
                generation: descriptor.generation,
            };
            match self.shared.sender.send(descriptor, request).await {
                Ok((RangeResponse::Prewritten { min_commit }, _)) => {
                    highest = highest.max(min_commit);
                    prepared.insert(descriptor.range, descriptor.generation);
                }
                Ok((other, _)) => return Err(self.failure(surprise("a preparation", &other))),
                Err(RangeError::WrongRange { .. }) => {}
                Err(RangeError::OutcomeUnknown { .. })
                    if started.elapsed() < self.shared.sender.tuning.outcome_timeout => {}
                Err(error) => return Err(self.failure(kv_error(descriptor.range, error))),
            }
        }
        let mut commit = None;
        loop {
            let at = match commit {
                Some(at) => at,
                None => {
                    let drawn = self.draw_at_least(highest).await;
                    drawn.map_err(|error| self.failure(error))?
                }
            };
            commit = Some(at);
            let primary = self.shared.sender.locate(&self.primary).await;
            let primary = primary.map_err(|error| self.failure(error))?;
            let request = self.bulk_commit(Timestamp::ZERO, BulkScope::Prepared(at), Vec::new());
            match self.decide(&primary, request, started).await {
                Err(Failure::Moved) => {}
                Err(Failure::Pushed { above }) => {
                    highest = highest.max(above.next());
                    commit = None;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Tells every range of `spans` what was decided.
async fn tell(shared: &Shared, txn: TxnId, outcome: Outcome, spans: &[Span]) {
    let mut told: BTreeMap<RangeId, core_domain::Generation> = BTreeMap::new();
    loop {
        let Ok(ranges) = ranges_of(shared, spans).await else { return };
        let left = ranges.iter().find(|range| told.get(&range.range) != Some(&range.generation));
        let Some(descriptor) = left else { return };
        let here: Vec<Span> =
            spans.iter().filter_map(|span| span.intersect(&descriptor.span)).collect();
        let generation = descriptor.generation;
        let request = RangeRequest::BulkDecide { txn, outcome, spans: here, generation };
        match shared.sender.send(descriptor, request).await {
            Ok(_) => {
                told.insert(descriptor.range, descriptor.generation);
            }
            Err(RangeError::WrongRange { .. }) => {}
            Err(error) => {
                tracing::debug!(%txn, %error, "a decision left to whoever meets the versions");
                told.insert(descriptor.range, descriptor.generation);
            }
        }
    }
}

/// Ends what was sent ahead, unless its commit came first.
pub(crate) async fn roll_back_bulk(shared: &Shared, txn: TxnId, bulk: &Bulk) {
    // A part may wait for a lock. What the leaders have begun comes before what they hear next.
    std::mem::take(&mut bulk.state.lock().sending).iter().for_each(AbortHandle::abort);
    let _all = bulk.permits.acquire_many(PARTS_AT_ONCE).await;
    let (spans, prepared) = {
        let state = bulk.state.lock();
        (state.spans.clone(), state.prepared)
    };
    let mut outcome = Outcome::RolledBack;
    if prepared {
        let primary = bulk.primary.clone();
        let request = RangeRequest::Rollback { txn, primary: primary.clone() };
        match shared.at_key(&primary, request).await {
            Ok(RangeResponse::Status(TxnStatus::Committed(at))) => outcome = Outcome::Committed(at),
            Ok(_) => {}
            Err(error) => {
                tracing::info!(%txn, %error, "rollback left to others");
                return;
            }
        }
    }
    tell(shared, txn, outcome, &spans).await;
}

impl crate::transaction::TxnState {
    /// What is written until now can no longer be taken back by itself.
    fn mark_sent(&mut self) {
        self.sent_upto = self.buffer.mark();
    }
}

/// Refuses to go back behind what was sent.
pub(crate) fn check_savepoint(sent_upto: u64, savepoint: u64) -> KvResult<()> {
    match savepoint < sent_upto {
        true => Err(KvError::Unsaved),
        false => Ok(()),
    }
}
