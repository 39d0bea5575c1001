//! One transaction: snapshot, buffered writes, locks held at leaders.
//!
//! ```text
//! begin ─▶ begin_statement ─▶ reads at the snapshot, own writes on top
//!                          └▶ lock: newest values, remembered with their versions
//!                          └▶ put, delete: buffered
//!       ─▶ commit (commit.rs) or rollback; dropping it rolls back in the background
//! ```

use crate::bulk::{Bulk, check_savepoint, roll_back_bulk};
use crate::coordinator::{MEMORY_BYTES_MAX, Shared, TXN_BYTES_MAX, VALUE_BYTES_MAX};
use crate::sender::{Served, kv_error};
use crate::snapshots::Epoch;
use async_trait::async_trait;
use core_domain::write_buffer::covered_span;
use core_domain::{
    CommitReceipt, ConsistencyLevel, Generation, Guarantee, IsolationLevel, Key, KvError, KvResult,
    KvTransaction, LockMode, LockedValue, RangeId, ReadAt, ReadSet, SavepointId, ScanOptions,
    ScanPage, Span, Timestamp, TxnId, TxnOptions, Value, WaitPolicy, WriteBuffer,
};
use hashbrown::HashMap;
use parking_lot::Mutex;
use replication::RangeDescriptor;
use replication::evaluate::{RangeError, RangeRequest, RangeResponse, TXN_EXPIRY};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// A wait after which an advisory lock is confirmed before its holder goes on.
const CONFIRM_AFTER: Duration = Duration::from_millis(500);

pub(crate) struct Transaction {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: TxnId,
    pub(crate) options: TxnOptions,
    began: Instant,
    me: Weak<Transaction>,
    pub(crate) state: Mutex<TxnState>,
    /// Set by the first part that is written ahead of the commit.
    pub(crate) bulk: OnceLock<Arc<Bulk>>,
    memory_bytes_max: AtomicU64,
    /// Advisory locks are either asserted or given back.
    turn: tokio::sync::Mutex<()>,
}

pub(crate) struct TxnState {
    pub snapshot: Option<Timestamp>,
    pub buffer: WriteBuffer,
    pub locked: HashMap<Key, HeldLock>,
    /// What was asked for since there have been savepoints, oldest first.
    lock_steps: Vec<LockStep>,
    /// What the buffer's writes up to here wrote is sent: no savepoint before it can be gone back to.
    pub sent_upto: u64,
    /// Every range where locks were asked for: where to release.
    pub touched: HashMap<RangeId, Touched>,
    /// What a SERIALIZABLE transaction that may write has read.
    pub reads: Option<Box<ReadSet>>,
    /// Keeps what its snapshots see from being dropped, until the end.
    held: Option<Arc<Epoch>>,
    /// No more statements.
    pub ended: bool,
    /// When the leaders last confirmed the advisory locks; `None`: there are none.
    pub confirmed: Option<Instant>,
    guarantee: Guarantee,
}

/// Where locks were asked for.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    /// In the range.
    pub key: Key,
    /// The range's, before the first lock. It may have split since, and its right half have moved.
    generation: Generation,
}

/// What a transaction leaves behind at leaders.
#[derive(Default)]
pub(crate) struct Leftover {
    touched: Vec<Touched>,
    locked: HashMap<Key, HeldLock>,
}

/// A lock, and the newest version when it was taken (protocol.md, rule 3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldLock {
    pub mode: LockMode,
    pub seen: Timestamp,
}

/// A lock that was asked for, or asked to be stronger, after a savepoint.
struct LockStep {
    /// The latest one at the time.
    savepoint: SavepointId,
    key: Key,
    /// What was held of the key before.
    before: Option<LockMode>,
}

impl TxnState {
    /// Forgets what was locked since `savepoint`: keys to be freed, and those to be held in a weaker
    /// mode again.
    fn undo_locks(&mut self, savepoint: SavepointId) -> (Vec<Key>, Vec<(Key, LockMode)>) {
        let mut before = HashMap::new();
        while let Some(step) = self.lock_steps.pop_if(|step| step.savepoint >= savepoint) {
            // The oldest step of a key is what counts.
            before.insert(step.key, step.before);
        }
        let (mut freed, mut weakened) = (Vec::new(), Vec::new());
        for (key, mode) in before {
            match (mode, self.locked.get_mut(&key)) {
                (Some(mode), Some(held)) => {
                    held.mode = mode;
                    weakened.push((key, mode));
                }
                // Unlocked since.
                (Some(_), None) => {}
                (None, _) => freed.push(key),
            }
        }
        (freed, weakened)
    }
}

impl Transaction {
    /// `held` was taken before `id` was drawn.
    pub(crate) fn begin(
        shared: Arc<Shared>,
        id: TxnId,
        options: TxnOptions,
        held: Arc<Epoch>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            shared,
            id,
            options,
            began: Instant::now(),
            me: me.clone(),
            bulk: OnceLock::new(),
            memory_bytes_max: AtomicU64::new(MEMORY_BYTES_MAX),
            turn: tokio::sync::Mutex::default(),
            state: Mutex::new(TxnState {
                snapshot: options.as_of,
                buffer: WriteBuffer::default(),
                locked: HashMap::new(),
                lock_steps: Vec::new(),
                touched: HashMap::new(),
                sent_upto: 0,
                reads: tracks_reads(options).then(Box::default),
                held: Some(held),
                ended: false,
                confirmed: None,
                guarantee: Guarantee::default(),
            }),
        })
    }

    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.load(Ordering::Relaxed)
    }

    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Where leaders must hear that the transaction lives: one key of each range.
    pub(crate) async fn heartbeat_keys(&self) -> Vec<Key> {
        let mut changed = Vec::new();
        for Touched { key, generation } in self.touched().touched {
            if let Ok(now) = self.shared.sender.locate(&key).await
                && now.generation != generation
            {
                changed.push(now);
            }
        }
        if !changed.is_empty()
            && let Err(error) = self.follow_locks(changed).await
        {
            tracing::debug!(txn = %self.id, %error, "where the locks are is not known");
        }
        self.touched().touched.into_iter().map(|touched| touched.key).collect()
    }

    /// The locks of ranges that have `changed` may be in other ranges by now.
    async fn follow_locks(&self, changed: Vec<Arc<RangeDescriptor>>) -> KvResult<()> {
        let locked = self.state.lock().locked.keys().cloned().collect();
        let mut holding = locate_all(&self.shared, locked).await?;
        if let Some(bulk) = self.bulk.get() {
            holding.extend(Box::pin(bulk.places(&self.shared)).await?);
        }
        let mut state = self.state.lock();
        // Once it has ended nothing is held.
        if state.touched.is_empty() {
            return Ok(());
        }
        for (now, key) in holding {
            let generation = now.generation;
            state.touched.entry(now.range).or_insert(Touched { key, generation });
        }
        for now in changed {
            if let Some(before) = state.touched.get_mut(&now.range) {
                before.generation = now.generation;
            }
        }
        Ok(())
    }

    /// Where locks were asked for, by the ranges' keys alone.
    pub(crate) fn touched(&self) -> Leftover {
        let touched = self.state.lock().touched.values().cloned().collect();
        Leftover { touched, locked: HashMap::new() }
    }

    pub(crate) fn has_advisory_locks(&self) -> bool {
        self.state.lock().confirmed.is_some()
    }

    pub(crate) fn touch(&self, descriptor: &RangeDescriptor, key: &Key) {
        let first = {
            let mut state = self.state.lock();
            let first = state.touched.is_empty();
            state
                .touched
                .entry(descriptor.range)
                .or_insert_with(|| Touched { key: key.clone(), generation: descriptor.generation });
            first
        };
        if first {
            self.shared.alive.lock().insert(self.id, self.me.clone());
        }
    }

    fn running(&self) -> KvResult<()> {
        let mut state = self.state.lock();
        if state.confirmed.is_some_and(|at| at.elapsed() >= TXN_EXPIRY) {
            // The leaders may have given its advisory locks to others.
            state.ended = true;
        }
        match state.ended {
            true => Err(KvError::Aborted { txn: self.id }),
            false => Ok(()),
        }
    }

    /// Notes for the commit what was read; `spans` is not asked where nothing has to be noted.
    fn note_reads<I: IntoIterator<Item = Span>>(&self, at: Timestamp, spans: impl FnOnce() -> I) {
        if !tracks_reads(self.options) {
            return;
        }
        if let Some(reads) = &mut self.state.lock().reads {
            spans().into_iter().for_each(|span| reads.note(span, at));
        }
    }

    /// An advisory lock that was asked for at `asked` has been granted: when did the leader say so?
    async fn confirm(&self, asked: Instant) -> KvResult<()> {
        if asked.elapsed() <= CONFIRM_AFTER {
            let mut state = self.state.lock();
            state.confirmed = state.confirmed.map(|at| at.min(asked));
            return Ok(());
        }
        // The answer may be old: what counts is that the lock is held now.
        let now = Instant::now();
        self.reassert().await;
        {
            let mut state = self.state.lock();
            let confirmed = state.confirmed.is_none_or(|at| at >= now);
            state.ended |= !confirmed;
        }
        self.running()
    }

    /// Tells the leader that the advisory locks are held. Once one is lost, every call is refused.
    pub(crate) async fn reassert(&self) {
        // What has lapsed is not asserted: others may have had it since.
        if self.running().is_err() {
            return;
        }
        let _turn = self.turn.lock().await;
        let asserted: Vec<(Key, LockMode)> = {
            let state = self.state.lock();
            let advisory = state.locked.iter().filter(|(key, _)| key.is_advisory());
            advisory.map(|(key, held)| (key.clone(), held.mode)).collect()
        };
        if asserted.is_empty() {
            return;
        }
        let sent = Instant::now();
        let answer = self.assert_all(asserted).await;
        let mut state = self.state.lock();
        match answer {
            Ok(()) => state.confirmed = state.confirmed.map(|at| at.max(sent)),
            Err(KvError::Aborted { .. }) => {
                tracing::warn!(txn = %self.id, "an advisory lock was lost");
                state.ended = true;
            }
            Err(error) => tracing::debug!(txn = %self.id, %error, "locks not asserted"),
        }
    }

    /// Sends each range its share of `left` in one request.
    async fn ask_each_range<T: Clone>(
        &self,
        mut left: Vec<T>,
        key: impl Fn(&T) -> &Key,
        request: impl Fn(Vec<T>) -> RangeRequest,
    ) -> KvResult<()> {
        while let Some(first) = left.first() {
            let descriptor = self.shared.sender.locate(key(first)).await?;
            let (here, elsewhere): (Vec<T>, Vec<T>) =
                left.into_iter().partition(|item| descriptor.span.contains(key(item)));
            left = elsewhere;
            if self.ask(&descriptor, request(here.clone())).await?.is_none() {
                left.extend(here);
            }
        }
        Ok(())
    }

    async fn assert_all(&self, locks: Vec<(Key, LockMode)>) -> KvResult<()> {
        let request = |locks| RangeRequest::Reassert { txn: self.id, locks };
        self.ask_each_range(locks, |(key, _)| key, request).await
    }

    async fn release_keys(&self, keys: Vec<Key>) -> KvResult<()> {
        let request = |keys| RangeRequest::ReleaseKeys { txn: self.id, keys };
        self.ask_each_range(keys, |key| key, request).await
    }

    async fn timestamp(&self, at: ReadAt) -> KvResult<Timestamp> {
        match at {
            // There is nothing newer in the past.
            ReadAt::Latest if self.options.as_of.is_none() => self.shared.oracle.draw().await,
            ReadAt::Snapshot | ReadAt::Latest => {
                let snapshot = self.state.lock().snapshot;
                match snapshot {
                    Some(snapshot) => Ok(snapshot),
                    None => self.begin_statement().await,
                }
            }
        }
    }

    fn served(&self, served: Served) {
        let mut state = self.state.lock();
        if !state.guarantee.replicas.contains(&served.node) {
            state.guarantee.replicas.push(served.node);
        }
        state.guarantee.redirects += served.redirects;
    }

    /// Sends to `descriptor`'s range until nothing of others is in the way. `None`: the keys are
    /// elsewhere now, locate them again.
    async fn ask(
        &self,
        descriptor: &RangeDescriptor,
        request: RangeRequest,
    ) -> KvResult<Option<RangeResponse>> {
        let mut attempt = 0;
        loop {
            match self.shared.sender.send(descriptor, request.clone()).await {
                Ok((response, served)) => {
                    self.served(served);
                    return Ok(Some(response));
                }
                Err(RangeError::WrongRange { .. }) => return Ok(None),
                Err(RangeError::Intents(foreign)) => {
                    let started = Instant::now();
                    self.shared.clear_intents(foreign, attempt).await?;
                    self.state.lock().guarantee.waited += started.elapsed();
                    attempt += 1;
                }
                Err(error) => return Err(kv_error(descriptor.range, error)),
            }
        }
    }

    async fn read(&self, keys: &[Key], at: Timestamp) -> KvResult<Vec<Option<Value>>> {
        let own = match self.bulk.get() {
            Some(_) => Box::pin(self.settle_keys(keys)).await?,
            None => false,
        };
        let mut values = vec![None; keys.len()];
        let mut left: Vec<usize> = (0..keys.len()).collect();
        while let Some(first) = left.first() {
            let descriptor = self.shared.sender.locate(&keys[*first]).await?;
            let (here, elsewhere): (Vec<usize>, Vec<usize>) =
                left.iter().partition(|i| descriptor.span.contains(&keys[**i]));
            let wanted = here.iter().map(|i| keys[*i].clone()).collect();
            let request = match own {
                false => RangeRequest::Get { keys: wanted, at },
                true => RangeRequest::OwnGet { txn: self.id, keys: wanted, at },
            };
            match self.ask(&descriptor, request).await? {
                Some(RangeResponse::Values(found)) => {
                    here.into_iter().zip(found).for_each(|(i, value)| values[i] = value);
                    left = elsewhere;
                }
                Some(other) => return Err(surprise("a read", &other)),
                None => {}
            }
        }
        Ok(values)
    }

    /// One page of committed rows, from the first range (in scan order) that has any.
    async fn read_page(
        &self,
        span: &Span,
        options: &ScanOptions,
        at: Timestamp,
    ) -> KvResult<ScanPage> {
        let mut span = span.clone();
        let own = self.bulk.get().is_some() && Box::pin(self.settle_for(&span)).await?;
        loop {
            let descriptor = match options.reverse {
                true => self.shared.sender.locate_before(&span.end).await?,
                false => self.shared.sender.locate(&span.start).await?,
            };
            let Some(here) = span.intersect(&descriptor.span).filter(|here| !here.is_empty())
            else {
                return Err(KvError::Internal(format!(
                    "{} does not have its keys",
                    descriptor.range
                )));
            };
            let (rows_max, bytes_max) = (options.rows_max as u64, options.bytes_max as u64);
            let (span_here, reverse) = (here.clone(), options.reverse);
            let request = match own {
                false => RangeRequest::Scan { span: span_here, at, reverse, rows_max, bytes_max },
                true => {
                    let (txn, span) = (self.id, span_here);
                    RangeRequest::OwnScan { txn, span, at, reverse, rows_max, bytes_max }
                }
            };
            let mut page = match self.ask(&descriptor, request).await? {
                Some(RangeResponse::Page(page)) => page,
                Some(other) => return Err(surprise("a scan", &other)),
                None => continue,
            };
            page.rest = join_rest(&span, &here, options.reverse, page.rest.take());
            match page.rest {
                Some(rest) if page.rows.is_empty() => span = rest,
                _ => return Ok(page),
            }
        }
    }

    async fn lock_in_range(
        &self,
        descriptor: &RangeDescriptor,
        keys: &[Key],
        mode: LockMode,
        wait: WaitPolicy,
    ) -> KvResult<Option<Vec<LockedValue>>> {
        self.touch(descriptor, &keys[0]);
        let snapshot = match self.options.isolation {
            IsolationLevel::ReadCommitted => None,
            IsolationLevel::RepeatableRead | IsolationLevel::Serializable => {
                self.state.lock().snapshot
            }
        };
        let request =
            RangeRequest::Lock { txn: self.id, keys: keys.to_vec(), mode, wait, snapshot };
        match self.ask(descriptor, request).await? {
            Some(RangeResponse::Locked(values)) => Ok(Some(values)),
            Some(other) => Err(surprise("a lock", &other)),
            None => Ok(None),
        }
    }

    /// Remembers what is about to be locked, if there is a savepoint: a request that fails or is given
    /// up may have locked some of it.
    fn note_steps(&self, keys: &[Key], mode: LockMode) {
        let mut state = self.state.lock();
        let Some(savepoint) = state.buffer.last_savepoint() else { return };
        for key in keys {
            let before = state.locked.get(key).map(|held| held.mode);
            if before.is_none_or(|before| before < mode) {
                state.lock_steps.push(LockStep { savepoint, key: key.clone(), before });
            }
        }
    }

    /// Remembers a lock; own writes lie over the committed value.
    fn note_lock(&self, key: &Key, mode: LockMode, locked: LockedValue) -> KvResult<LockedValue> {
        let LockedValue::Locked { value, committed_at } = locked else { return Ok(locked) };
        let mut state = self.state.lock();
        if state.ended {
            return Err(KvError::Aborted { txn: self.id });
        }
        if key.is_advisory() {
            state.confirmed.get_or_insert_with(Instant::now);
            // Its holder reads and writes nothing, and may live as long as its session.
            state.held = None;
        }
        let held = state.locked.entry(key.clone()).or_insert(HeldLock { mode, seen: committed_at });
        // A deletion that was seen may have been collected since: the commit looks closer.
        if held.seen != committed_at && committed_at != Timestamp::ZERO {
            if held.mode != LockMode::KeyShare || value.is_none() {
                // The lock was lost in between and somebody else wrote.
                return Err(KvError::Conflict { key: key.clone(), other: UNKNOWN });
            }
            // Others may change the rest of a row whose key is held.
            held.seen = committed_at;
        }
        held.mode = held.mode.max(mode);
        let value = match state.buffer.get(key) {
            Some(own) => own.clone(),
            None => value,
        };
        Ok(LockedValue::Locked { value, committed_at })
    }

    /// SQL does not come so far: who reads the past only reads.
    fn refuse_past(&self, what: &str) -> KvResult<()> {
        match self.options.as_of {
            None => Ok(()),
            Some(at) => Err(KvError::Internal(format!("{what} in a transaction as of {at}"))),
        }
    }

    fn write(&self, key: Key, value: Option<Value>) -> KvResult<()> {
        self.refuse_past("write")?;
        let size = (key.len() + value.as_ref().map_or(0, |value| value.len())) as u64;
        check_size("a row", size, VALUE_BYTES_MAX)?;
        let mut state = self.state.lock();
        if state.ended {
            return Err(KvError::Aborted { txn: self.id });
        }
        check_size("a transaction", state.buffer.bytes() + size, TXN_BYTES_MAX)?;
        // Whoever can relieve itself does so between two chunks of rows.
        let bytes_max = self.memory_bytes_max() << u32::from(self.may_bulk());
        if state.buffer.bytes() + size > bytes_max {
            return Err(KvError::OverBudget { bytes: state.buffer.bytes() + size, bytes_max });
        }
        match value {
            Some(value) => state.buffer.put(key, value),
            None => state.buffer.delete(key),
        }
        Ok(())
    }

    /// Frees the locks at every leader that was asked for some.
    pub(crate) async fn release(shared: &Shared, txn: TxnId, left: Leftover) {
        shared.alive.lock().remove(&txn);
        if let Err(error) = Self::release_everywhere(shared, txn, left).await {
            tracing::debug!(%txn, %error, "locks left to expire");
        }
    }

    async fn release_everywhere(shared: &Shared, txn: TxnId, left: Leftover) -> KvResult<()> {
        let mut split = false;
        let mut failed = Ok(());
        for Touched { key, generation } in left.touched {
            let now = shared.sender.locate(&key).await;
            split |= now.is_ok_and(|now| now.generation != generation);
            let released = shared.at_key(&key, RangeRequest::Release { txn }).await;
            failed = failed.and(released.map(drop));
        }
        if split {
            for (_, key) in locate_all(shared, left.locked.into_keys().collect()).await? {
                shared.at_key(&key, RangeRequest::Release { txn }).await?;
            }
        }
        failed
    }

    /// Ends the transaction; what must be released, once.
    pub(crate) fn end(&self) -> Leftover {
        let mut state = self.state.lock();
        state.ended = true;
        state.buffer.clear();
        state.lock_steps.clear();
        state.held = None;
        Leftover {
            touched: std::mem::take(&mut state.touched).into_values().collect(),
            locked: std::mem::take(&mut state.locked),
        }
    }
}

/// One of `keys` for each range that they are in.
async fn locate_all(
    shared: &Shared,
    mut keys: Vec<Key>,
) -> KvResult<Vec<(Arc<RangeDescriptor>, Key)>> {
    let mut found = Vec::new();
    while let Some(key) = keys.pop() {
        let descriptor = shared.sender.locate(&key).await?;
        keys.retain(|other| !descriptor.span.contains(other));
        found.push((descriptor, key));
    }
    Ok(found)
}

/// What is declared to be read-only is serialised at its snapshot.
pub(crate) fn tracks_reads(options: TxnOptions) -> bool {
    options.isolation == IsolationLevel::Serializable && !options.read_only
}

/// Stands for whoever wrote to a key whose lock was lost.
pub(crate) const UNKNOWN: TxnId = TxnId(0);

fn check_size(what: &str, bytes: u64, bytes_max: u64) -> KvResult<()> {
    match bytes <= bytes_max {
        true => Ok(()),
        false => Err(KvError::TooLarge { what: what.into(), bytes, bytes_max }),
    }
}

pub(crate) fn surprise(question: &str, answer: &RangeResponse) -> KvError {
    KvError::Internal(format!("{question} was answered by {answer:?}"))
}

/// What is left of `span` after a page of its part `here` left `rest`.
fn join_rest(span: &Span, here: &Span, reverse: bool, rest: Option<Span>) -> Option<Span> {
    let joined = match (reverse, rest) {
        (false, Some(rest)) => Span::new(rest.start, span.end.clone()),
        (true, Some(rest)) => Span::new(span.start.clone(), rest.end),
        (false, None) if here.end == span.end => return None,
        (false, None) => Span::new(here.end.clone(), span.end.clone()),
        (true, None) if here.start == span.start => return None,
        (true, None) => Span::new(span.start.clone(), here.start.clone()),
    };
    (!joined.is_empty()).then_some(joined)
}

#[async_trait]
impl KvTransaction for Transaction {
    fn id(&self) -> TxnId {
        self.id
    }

    fn options(&self) -> TxnOptions {
        self.options
    }

    async fn begin_statement(&self) -> KvResult<Timestamp> {
        self.running()?;
        let kept = match self.options.isolation {
            IsolationLevel::ReadCommitted => self.options.as_of,
            IsolationLevel::RepeatableRead | IsolationLevel::Serializable => {
                self.state.lock().snapshot
            }
        };
        let snapshot = match kept {
            Some(snapshot) => snapshot,
            None => self.shared.oracle.draw().await?,
        };
        let mut state = self.state.lock();
        state.snapshot = Some(snapshot);
        state.guarantee = Guarantee {
            asked: ConsistencyLevel::Strong,
            served: ConsistencyLevel::Strong,
            read_timestamp: snapshot,
            ..Guarantee::default()
        };
        Ok(snapshot)
    }

    async fn get(&self, key: &Key, at: ReadAt) -> KvResult<Option<Value>> {
        self.running()?;
        if let Some(own) = self.state.lock().buffer.get(key) {
            return Ok(own.clone());
        }
        let at = self.timestamp(at).await?;
        let mut values = self.read(std::slice::from_ref(key), at).await?;
        self.note_reads(at, || [Span::point(key.clone())]);
        Ok(values.pop().flatten())
    }

    async fn multi_get(&self, keys: &[Key], at: ReadAt) -> KvResult<Vec<Option<Value>>> {
        self.running()?;
        let own: Vec<Option<Option<Value>>> = {
            let state = self.state.lock();
            keys.iter().map(|key| state.buffer.get(key).cloned()).collect()
        };
        let foreign: Vec<Key> = keys
            .iter()
            .zip(&own)
            .filter(|(_, own)| own.is_none())
            .map(|(k, _)| k.clone())
            .collect();
        let mut read = match foreign.is_empty() {
            true => Vec::new(),
            false => {
                let at = self.timestamp(at).await?;
                let values = self.read(&foreign, at).await?;
                self.note_reads(at, || foreign.into_iter().map(Span::point));
                values
            }
        }
        .into_iter();
        Ok(own.into_iter().map(|own| own.unwrap_or_else(|| read.next().flatten())).collect())
    }

    async fn scan(&self, span: &Span, options: ScanOptions) -> KvResult<ScanPage> {
        self.running()?;
        if span.is_empty() {
            return Ok(ScanPage::default());
        }
        let at = self.timestamp(options.read_at).await?;
        let page = self.read_page(span, &options, at).await?;
        let page = self.state.lock().buffer.merge(span, &options, page);
        self.note_reads(at, || [covered_span(span, options.reverse, page.rest.as_ref())]);
        Ok(page)
    }

    async fn lock(
        &self,
        keys: &[Key],
        mode: LockMode,
        wait: WaitPolicy,
    ) -> KvResult<Vec<LockedValue>> {
        self.running()?;
        self.refuse_past("lock")?;
        let started = Instant::now();
        if self.bulk.get().is_some() {
            Box::pin(self.settle_keys(keys)).await?;
        }
        let mut answers = Vec::with_capacity(keys.len());
        while answers.len() < keys.len() {
            let left = &keys[answers.len()..];
            let descriptor = self.shared.sender.locate(&left[0]).await?;
            let run = left.iter().take_while(|key| descriptor.span.contains(key)).count().max(1);
            self.note_steps(&left[..run], mode);
            let Some(locked) = self.lock_in_range(&descriptor, &left[..run], mode, wait).await?
            else {
                continue;
            };
            for (key, locked) in left.iter().zip(locked) {
                match self.note_lock(key, mode, locked) {
                    Ok(locked) => answers.push(locked),
                    Err(error) => return Err(Box::pin(self.name_the_other(error)).await),
                }
            }
        }
        let waited = started.elapsed();
        self.state.lock().guarantee.waited += waited;
        if keys.first().is_some_and(Key::is_advisory) {
            Box::pin(self.confirm(started)).await?;
        }
        Ok(answers)
    }

    async fn unlock(&self, keys: &[Key]) -> KvResult<()> {
        self.running()?;
        if keys.is_empty() {
            return Ok(());
        }
        // What is being asserted is held, until that is done.
        let _turn = match self.has_advisory_locks() {
            true => Some(self.turn.lock().await),
            false => None,
        };
        let unwritten: Vec<Key> = {
            let mut state = self.state.lock();
            let unwritten = keys.iter().filter(|key| state.buffer.get(key).is_none());
            let unwritten: Vec<Key> = unwritten.cloned().collect();
            for key in &unwritten {
                state.locked.remove(key);
            }
            if state.confirmed.is_some() && !state.locked.keys().any(Key::is_advisory) {
                state.confirmed = None;
            }
            unwritten
        };
        self.release_keys(unwritten).await
    }

    fn put(&self, key: Key, value: Value) -> KvResult<()> {
        self.write(key, Some(value))
    }

    fn delete(&self, key: Key) -> KvResult<()> {
        self.write(key, None)
    }

    fn savepoint(&self) -> SavepointId {
        self.state.lock().buffer.savepoint()
    }

    fn rollback_to(&self, savepoint: SavepointId) -> KvResult<()> {
        self.running()?;
        let mut state = self.state.lock();
        check_savepoint(state.sent_upto, savepoint.0)?;
        state.buffer.rollback_to(savepoint);
        Ok(())
    }

    async fn release_since(&self, savepoint: SavepointId) -> KvResult<()> {
        self.running()?;
        let (freed, weakened) = self.state.lock().undo_locks(savepoint);
        if !freed.is_empty() {
            self.unlock(&freed).await?;
        }
        let request = |locks| RangeRequest::WeakenKeys { txn: self.id, locks };
        self.ask_each_range(weakened, |(key, _)| key, request).await
    }

    fn buffered_bytes(&self) -> u64 {
        self.state.lock().buffer.bytes()
    }

    fn has_writes(&self) -> bool {
        self.bulk.get().is_some() || !self.state.lock().buffer.is_empty()
    }

    async fn insert(&self, rows: Vec<(Key, Value)>, wait: WaitPolicy) -> KvResult<Option<Key>> {
        self.running()?;
        self.insert_rows(rows, wait).await
    }

    async fn relieve(&self) -> KvResult<()> {
        self.running()?;
        self.relieve_memory().await
    }

    fn limit_memory(&self, bytes_max: u64) {
        self.memory_bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    fn guarantee(&self) -> Guarantee {
        self.state.lock().guarantee.clone()
    }

    async fn commit(&self) -> KvResult<CommitReceipt> {
        self.commit_buffer().await
    }

    async fn rollback(&self) {
        let ended = self.state.lock().ended;
        if let Some(bulk) = self.bulk.get().filter(|_| !ended) {
            roll_back_bulk(&self.shared, self.id, bulk).await;
        }
        let left = self.end();
        if !left.touched.is_empty() {
            Self::release(&self.shared, self.id, left).await;
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let undecided = !self.state.get_mut().ended;
        let left = self.end();
        if left.touched.is_empty() {
            return;
        }
        self.shared.alive.lock().remove(&self.id);
        // Without a runtime the process is ending, and the locks with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shared, id) = (self.shared.clone(), self.id);
            let bulk = self.bulk.get().filter(|_| undecided).cloned();
            runtime.spawn(async move {
                if let Some(bulk) = bulk {
                    roll_back_bulk(&shared, id, &bulk).await;
                }
                Self::release(&shared, id, left).await;
            });
        }
    }
}
