//! A key-value store in memory, with real versions and locks that wait: what the tests of `sql`
//! and `catalog` run on instead of ranges.
//!
//! ```text
//! let store = MemoryKv::new();
//! let txn = store.begin(TxnOptions::default()).await?;
//! txn.begin_statement().await?;
//! txn.lock(&[key.clone()], LockMode::Exclusive, WaitPolicy::Wait(None)).await?;
//! txn.put(key, value)?;
//! txn.commit().await?;
//! ```
//!
//! Everything is one mutex; a commit is atomic because it holds it. Waiters look again whenever a
//! transaction ends. Queues are not fair here; those of the real leaders are.

use async_trait::async_trait;
use core_domain::write_buffer::{covered_span, rest_after};
use core_domain::{
    Clock, CommitReceipt, Guarantee, IsolationLevel, Key, KvError, KvResult, KvStore,
    KvTransaction, LockMode, LockWait, LockedValue, NodeId, OtherWaits, RangeId, ReadAt, ReadSet,
    SavepointId, ScanOptions, ScanPage, Span, SystemClock, Timestamp, TxnId, TxnOptions, TxnStatus,
    Value, WaitPolicy, WriteBuffer,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

#[derive(Default)]
struct State {
    /// Newest first is `next_back`: timestamps ascend.
    versions: BTreeMap<Key, BTreeMap<Timestamp, (TxnId, Option<Value>)>>,
    locks: HashMap<Key, Vec<(TxnId, LockMode)>>,
    /// Who waits for what: the edges of deadlock detection.
    waits: HashMap<TxnId, (Key, LockMode)>,
    outcomes: HashMap<TxnId, TxnStatus>,
    last: Timestamp,
    nearly_full: bool,
    boundaries: BTreeSet<Key>,
    /// Reads below are refused.
    threshold: Timestamp,
}

struct Shared {
    state: Mutex<State>,
    /// Told whenever locks are released.
    released: Notify,
    clock: SystemClock,
    others: Mutex<Option<OtherWaits>>,
}

/// The store. Clones share everything.
#[derive(Clone)]
pub struct MemoryKv {
    shared: Arc<Shared>,
}

impl Default for MemoryKv {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryKv {
    pub fn new() -> Self {
        let shared = Shared {
            state: Mutex::default(),
            released: Notify::new(),
            clock: SystemClock::default(),
            others: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// While it is nearly full, commits that put rows are refused, as leaders do it.
    pub fn set_nearly_full(&self, full: bool) {
        self.shared.state.lock().nearly_full = full;
    }

    /// Where ranges would begin if there were any, in order.
    pub fn boundaries(&self) -> Vec<Key> {
        self.shared.state.lock().boundaries.iter().cloned().collect()
    }

    /// From now on reads below `threshold` are refused, as if what they would see were gone.
    pub fn forget_below(&self, threshold: Timestamp) {
        self.shared.state.lock().threshold = threshold;
    }
}

impl Shared {
    fn draw(&self, state: &mut State) -> Timestamp {
        state.last = Timestamp::new(self.clock.wall_ms(), 0).max(state.last.next());
        state.last
    }

    fn end(&self, state: &mut State, txn: TxnId, outcome: TxnStatus) {
        state.outcomes.insert(txn, outcome);
        state.locks.retain(|_, holders| {
            holders.retain(|(holder, _)| *holder != txn);
            !holders.is_empty()
        });
        self.released.notify_waiters();
    }
}

impl State {
    fn refuse_old(&self, at: Timestamp) -> KvResult<()> {
        match at >= self.threshold {
            true => Ok(()),
            false => Err(KvError::SnapshotTooOld { at }),
        }
    }

    fn newest(&self, key: &Key) -> Option<(Timestamp, TxnId, Option<Value>)> {
        let (commit, (start, value)) = self.versions.get(key)?.last_key_value()?;
        Some((*commit, *start, value.clone()))
    }

    fn read(&self, key: &Key, at: Timestamp) -> Option<Value> {
        visible(self.versions.get(key)?, at)
    }

    fn scan(&self, span: &Span, options: &ScanOptions, at: Timestamp) -> ScanPage {
        if span.is_empty() {
            return ScanPage::default();
        }
        let upper = match span.end.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Excluded(&span.end),
        };
        let range = self.versions.range((Bound::Included(&span.start), upper));
        let mut page = ScanPage::default();
        let mut bytes = 0;
        let mut take = |key: &Key, versions| {
            if let Some(value) = visible(versions, at) {
                bytes += key.len() + value.len();
                page.rows.push((key.clone(), value));
            }
            if page.rows.len() >= options.rows_max || bytes >= options.bytes_max {
                page.rest = rest_after(span, options.reverse, Some(key));
                return false;
            }
            true
        };
        let _all_taken = match options.reverse {
            true => range.rev().all(|(key, versions)| take(key, versions)),
            false => range.into_iter().all(|(key, versions)| take(key, versions)),
        };
        page
    }

    /// Nothing that `txn` has read was changed by others.
    fn validate(&self, txn: TxnId, reads: ReadSet) -> KvResult<()> {
        for read in reads.into_spans() {
            let changed = self.versions.iter().find_map(|(key, versions)| {
                let (commit, (start, _)) = versions.last_key_value()?;
                let changed = read.span.contains(key) && *commit > read.since && *start != txn;
                changed.then(|| (key.clone(), *start))
            });
            if let Some((key, other)) = changed {
                return Err(KvError::Conflict { key, other });
            }
        }
        Ok(())
    }

    /// Another transaction that stands in the way of `txn` locking `key`.
    fn blocker(&self, txn: TxnId, key: &Key, mode: LockMode) -> Option<TxnId> {
        let holders = self.locks.get(key)?;
        holders
            .iter()
            .find(|(holder, held)| *holder != txn && held.conflicts_with(mode))
            .map(|(holder, _)| *holder)
    }

    /// Whether waiting for `key` would close a circle back to `txn`.
    fn would_deadlock(
        &self,
        txn: TxnId,
        key: &Key,
        mode: LockMode,
        others: &[(TxnId, TxnId)],
    ) -> bool {
        let mut seen = HashSet::new();
        let mut open = self.blockers(txn, key, mode);
        while let Some(holder) = open.pop() {
            if holder == txn {
                return true;
            }
            if !seen.insert(holder) {
                continue;
            }
            if let Some((key, mode)) = self.waits.get(&holder) {
                open.extend(self.blockers(holder, key, *mode));
            }
            open.extend(others.iter().filter(|(first, _)| *first == holder).map(|(_, next)| *next));
        }
        false
    }

    fn blockers(&self, txn: TxnId, key: &Key, mode: LockMode) -> Vec<TxnId> {
        let holders = self.locks.get(key).map(Vec::as_slice).unwrap_or_default();
        holders
            .iter()
            .filter(|(holder, held)| *holder != txn && held.conflicts_with(mode))
            .map(|(holder, _)| *holder)
            .collect()
    }
}

fn visible(versions: &BTreeMap<Timestamp, (TxnId, Option<Value>)>, at: Timestamp) -> Option<Value> {
    versions.range(..=at).next_back().and_then(|(_, (_, value))| value.clone())
}

#[async_trait]
impl KvStore for MemoryKv {
    async fn begin(&self, options: TxnOptions) -> KvResult<Arc<dyn KvTransaction>> {
        let id = TxnId(self.shared.draw(&mut self.shared.state.lock()).0);
        Ok(Arc::new(MemoryTransaction {
            id,
            options,
            shared: self.shared.clone(),
            own: Mutex::new(Own {
                snapshot: options.as_of,
                buffer: WriteBuffer::default(),
                reads: ReadSet::default(),
                ended: false,
            }),
        }))
    }

    async fn now(&self) -> KvResult<Timestamp> {
        Ok(self.shared.draw(&mut self.shared.state.lock()))
    }

    async fn txn_status(&self, txn: TxnId) -> KvResult<TxnStatus> {
        let state = self.shared.state.lock();
        Ok(state.outcomes.get(&txn).copied().unwrap_or(TxnStatus::Unknown))
    }

    async fn lock_waits(&self) -> KvResult<Vec<LockWait>> {
        let state = self.shared.state.lock();
        let waits = state.waits.iter().map(|(waiter, (key, mode))| LockWait {
            waiter: *waiter,
            key: key.clone(),
            mode: *mode,
            blockers: state.blockers(*waiter, key, *mode),
        });
        Ok(waits.collect())
    }

    fn watch_waits(&self, others: OtherWaits) {
        *self.shared.others.lock() = Some(others);
    }

    async fn split_at(&self, key: &Key) -> KvResult<()> {
        self.shared.state.lock().boundaries.insert(key.clone());
        Ok(())
    }

    /// There is one range, on one node.
    async fn transfer_leader(&self, range: RangeId, node: NodeId) -> KvResult<bool> {
        Ok(range == RangeId(1) && node == NodeId(1))
    }

    async fn erase(&self, span: &Span) -> KvResult<()> {
        self.shared.state.lock().versions.retain(|key, _| !span.contains(key));
        Ok(())
    }
}

struct Own {
    snapshot: Option<Timestamp>,
    buffer: WriteBuffer,
    /// What a SERIALIZABLE transaction has read.
    reads: ReadSet,
    ended: bool,
}

struct MemoryTransaction {
    id: TxnId,
    options: TxnOptions,
    shared: Arc<Shared>,
    own: Mutex<Own>,
}

impl MemoryTransaction {
    fn timestamp(&self, at: ReadAt) -> Timestamp {
        match at {
            ReadAt::Latest => self.options.as_of.unwrap_or(Timestamp::MAX),
            ReadAt::Snapshot => {
                let mut own = self.own.lock();
                *own.snapshot.get_or_insert_with(|| self.shared.draw(&mut self.shared.state.lock()))
            }
        }
    }

    fn alive(&self) -> KvResult<()> {
        if self.own.lock().ended { Err(KvError::Aborted { txn: self.id }) } else { Ok(()) }
    }

    async fn lock_one(&self, key: &Key, mode: LockMode, wait: WaitPolicy) -> KvResult<LockedValue> {
        let started = Instant::now();
        loop {
            let released = self.shared.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            let others = self.shared.others.lock().clone().map(|tell| tell()).unwrap_or_default();
            let _waiting = {
                let own = self.own.lock();
                let mut state = self.shared.state.lock();
                let Some(holder) = state.blocker(self.id, key, mode) else {
                    return self.take(&own, &mut state, key, mode);
                };
                match wait {
                    WaitPolicy::NoWait => {
                        return Err(KvError::LockNotAvailable { key: key.clone() });
                    }
                    WaitPolicy::SkipLocked => return Ok(LockedValue::Skipped),
                    WaitPolicy::Wait(_) => {}
                }
                if state.would_deadlock(self.id, key, mode, &others) {
                    return Err(KvError::Deadlock { key: key.clone(), waiter: self.id, holder });
                }
                state.waits.insert(self.id, (key.clone(), mode));
                Waiting { txn: self.id, shared: &self.shared }
            };
            match wait {
                WaitPolicy::Wait(Some(limit)) => {
                    let left = limit.saturating_sub(started.elapsed());
                    if tokio::time::timeout(left, released).await.is_err() {
                        return Err(KvError::LockTimeout { key: key.clone() });
                    }
                }
                WaitPolicy::Wait(None) | WaitPolicy::NoWait | WaitPolicy::SkipLocked => {
                    released.await;
                }
            }
        }
    }

    /// Locks are always taken in this order: `own`, then the store's state.
    fn take(
        &self,
        own: &Own,
        state: &mut State,
        key: &Key,
        mode: LockMode,
    ) -> KvResult<LockedValue> {
        let holders = state.locks.entry(key.clone()).or_default();
        if !holders.contains(&(self.id, mode)) {
            holders.push((self.id, mode));
        }
        let newest = state.newest(key);
        if self.options.isolation != IsolationLevel::ReadCommitted
            && let (Some((commit, other, value)), Some(snapshot)) = (&newest, own.snapshot)
            && *commit > snapshot
            && (mode != LockMode::KeyShare || value.is_none())
        {
            return Err(KvError::Conflict { key: key.clone(), other: *other });
        }
        let committed_at = newest.as_ref().map_or(Timestamp::ZERO, |(commit, ..)| *commit);
        let value = match own.buffer.get(key) {
            Some(write) => write.clone(),
            None => newest.and_then(|(_, _, value)| value),
        };
        Ok(LockedValue::Locked { value, committed_at })
    }
}

/// Takes the transaction out of the waiters, also when its future is dropped.
struct Waiting<'a> {
    txn: TxnId,
    shared: &'a Shared,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.state.lock().waits.remove(&self.txn);
    }
}

#[async_trait]
impl KvTransaction for MemoryTransaction {
    fn id(&self) -> TxnId {
        self.id
    }

    fn options(&self) -> TxnOptions {
        self.options
    }

    async fn begin_statement(&self) -> KvResult<Timestamp> {
        self.alive()?;
        let mut own = self.own.lock();
        let keep =
            self.options.isolation != IsolationLevel::ReadCommitted || self.options.as_of.is_some();
        let snapshot = match own.snapshot.filter(|_| keep) {
            Some(snapshot) => snapshot,
            None => self.shared.draw(&mut self.shared.state.lock()),
        };
        own.snapshot = Some(snapshot);
        Ok(snapshot)
    }

    async fn get(&self, key: &Key, at: ReadAt) -> KvResult<Option<Value>> {
        self.alive()?;
        if let Some(write) = self.own.lock().buffer.get(key) {
            return Ok(write.clone());
        }
        let at = self.timestamp(at);
        let mut own = self.own.lock();
        let state = self.shared.state.lock();
        state.refuse_old(at)?;
        self.note(&mut own, &state, Span::point(key.clone()), at);
        Ok(state.read(key, at))
    }

    async fn multi_get(&self, keys: &[Key], at: ReadAt) -> KvResult<Vec<Option<Value>>> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.get(key, at).await?);
        }
        Ok(values)
    }

    async fn scan(&self, span: &Span, options: ScanOptions) -> KvResult<ScanPage> {
        self.alive()?;
        let at = self.timestamp(options.read_at);
        let mut own = self.own.lock();
        let state = self.shared.state.lock();
        state.refuse_old(at)?;
        let page = own.buffer.merge(span, &options, state.scan(span, &options, at));
        self.note(&mut own, &state, covered_span(span, options.reverse, page.rest.as_ref()), at);
        Ok(page)
    }

    async fn lock(
        &self,
        keys: &[Key],
        mode: LockMode,
        wait: WaitPolicy,
    ) -> KvResult<Vec<LockedValue>> {
        self.alive()?;
        let mut locked = Vec::with_capacity(keys.len());
        for key in keys {
            locked.push(self.lock_one(key, mode, wait).await?);
        }
        Ok(locked)
    }

    async fn unlock(&self, keys: &[Key]) -> KvResult<()> {
        self.alive()?;
        let own = self.own.lock();
        let mut state = self.shared.state.lock();
        for key in keys.iter().filter(|key| own.buffer.get(key).is_none()) {
            if let Some(holders) = state.locks.get_mut(key) {
                holders.retain(|(holder, _)| *holder != self.id);
            }
        }
        state.locks.retain(|_, holders| !holders.is_empty());
        self.shared.released.notify_waiters();
        Ok(())
    }

    fn put(&self, key: Key, value: Value) -> KvResult<()> {
        self.alive()?;
        self.own.lock().buffer.put(key, value);
        Ok(())
    }

    fn delete(&self, key: Key) -> KvResult<()> {
        self.alive()?;
        self.own.lock().buffer.delete(key);
        Ok(())
    }

    fn savepoint(&self) -> SavepointId {
        self.own.lock().buffer.savepoint()
    }

    fn rollback_to(&self, savepoint: SavepointId) -> KvResult<()> {
        self.alive()?;
        self.own.lock().buffer.rollback_to(savepoint);
        Ok(())
    }

    fn buffered_bytes(&self) -> u64 {
        self.own.lock().buffer.bytes()
    }

    fn has_writes(&self) -> bool {
        !self.own.lock().buffer.is_empty()
    }

    fn guarantee(&self) -> Guarantee {
        let read_timestamp = self.own.lock().snapshot.unwrap_or_default();
        Guarantee { read_timestamp, ..Guarantee::default() }
    }

    async fn commit(&self) -> KvResult<CommitReceipt> {
        self.alive()?;
        let mut own = self.own.lock();
        let mut state = self.shared.state.lock();
        let grows = own.buffer.iter().any(|(key, write)| write.is_some() && !key.is_system());
        if state.nearly_full && grows {
            return Err(KvError::DiskFull("no space left on device".into()));
        }
        if !own.buffer.is_empty() {
            state.validate(self.id, std::mem::take(&mut own.reads))?;
        }
        own.ended = true;
        let timestamp = if own.buffer.is_empty() {
            own.snapshot.unwrap_or(state.last)
        } else {
            self.shared.draw(&mut state)
        };
        for (key, write) in own.buffer.iter() {
            let versions = state.versions.entry(key.clone()).or_default();
            versions.insert(timestamp, (self.id, write.clone()));
        }
        self.shared.end(&mut state, self.id, TxnStatus::Committed(timestamp));
        Ok(CommitReceipt { timestamp })
    }

    async fn rollback(&self) {
        self.abandon();
    }
}

impl MemoryTransaction {
    fn note(&self, own: &mut Own, state: &State, span: Span, at: Timestamp) {
        if self.options.isolation == IsolationLevel::Serializable {
            own.reads.note(span, at.min(state.last));
        }
    }

    fn abandon(&self) {
        let mut own = self.own.lock();
        if !std::mem::replace(&mut own.ended, true) {
            own.buffer.clear();
            self.shared.end(&mut self.shared.state.lock(), self.id, TxnStatus::RolledBack);
        }
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        self.abandon();
    }
}
