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
use async_trait::async_trait;
use core_domain::{
    CommitReceipt, ConsistencyLevel, Guarantee, IsolationLevel, Key, KvError, KvResult,
    KvTransaction, LockMode, LockedValue, RangeId, ReadAt, SavepointId, ScanOptions, ScanPage,
    Span, Timestamp, TxnId, TxnOptions, Value, WaitPolicy, WriteBuffer,
};
use hashbrown::HashMap;
use parking_lot::Mutex;
use replication::RangeDescriptor;
use replication::evaluate::{RangeError, RangeRequest, RangeResponse};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

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
}

pub(crate) struct TxnState {
    pub snapshot: Option<Timestamp>,
    pub buffer: WriteBuffer,
    pub locked: HashMap<Key, HeldLock>,
    /// One key of every range where locks were asked for: where to release.
    pub touched: HashMap<RangeId, Key>,
    /// What the buffer's writes up to here wrote is sent: no savepoint before it can be gone back to.
    pub sent_upto: u64,
    /// No more statements.
    pub ended: bool,
    guarantee: Guarantee,
}

/// A lock, and the newest version when it was taken (protocol.md, rule 3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldLock {
    pub mode: LockMode,
    pub seen: Timestamp,
}

impl Transaction {
    pub(crate) fn begin(shared: Arc<Shared>, id: TxnId, options: TxnOptions) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            shared,
            id,
            options,
            began: Instant::now(),
            me: me.clone(),
            bulk: OnceLock::new(),
            memory_bytes_max: AtomicU64::new(MEMORY_BYTES_MAX),
            state: Mutex::new(TxnState {
                snapshot: None,
                buffer: WriteBuffer::default(),
                locked: HashMap::new(),
                touched: HashMap::new(),
                sent_upto: 0,
                ended: false,
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

    /// Where leaders must hear that the transaction lives.
    pub(crate) fn heartbeat_keys(&self) -> Vec<Key> {
        self.state.lock().touched.values().cloned().collect()
    }

    pub(crate) fn touch(&self, range: RangeId, key: &Key) {
        let first = {
            let mut state = self.state.lock();
            let first = state.touched.is_empty();
            state.touched.entry(range).or_insert_with(|| key.clone());
            first
        };
        if first {
            self.shared.alive.lock().insert(self.id, self.me.clone());
        }
    }

    fn running(&self) -> KvResult<()> {
        match self.state.lock().ended {
            true => Err(KvError::Aborted { txn: self.id }),
            false => Ok(()),
        }
    }

    async fn timestamp(&self, at: ReadAt) -> KvResult<Timestamp> {
        match at {
            ReadAt::Latest => self.shared.oracle.draw().await,
            ReadAt::Snapshot => {
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
        self.touch(descriptor.range, &keys[0]);
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

    /// Remembers a lock; own writes lie over the committed value.
    fn note_lock(&self, key: &Key, mode: LockMode, locked: LockedValue) -> KvResult<LockedValue> {
        let LockedValue::Locked { value, committed_at } = locked else { return Ok(locked) };
        let mut state = self.state.lock();
        if state.ended {
            return Err(KvError::Aborted { txn: self.id });
        }
        let held = state.locked.entry(key.clone()).or_insert(HeldLock { mode, seen: committed_at });
        held.mode = held.mode.max(mode);
        if held.seen != committed_at {
            // The lock was lost in between and somebody else wrote.
            return Err(KvError::Conflict { key: key.clone(), other: TxnId::default() });
        }
        let value = match state.buffer.get(key) {
            Some(own) => own.clone(),
            None => value,
        };
        Ok(LockedValue::Locked { value, committed_at })
    }

    fn write(&self, key: Key, value: Option<Value>) -> KvResult<()> {
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
    pub(crate) async fn release(shared: &Shared, txn: TxnId, keys: Vec<Key>) {
        shared.alive.lock().remove(&txn);
        for key in keys {
            if let Err(error) = shared.at_key(&key, RangeRequest::Release { txn }).await {
                tracing::debug!(%txn, %error, "locks left to expire");
            }
        }
    }

    /// Ends the transaction; what must be released, once.
    pub(crate) fn end(&self) -> Vec<Key> {
        let mut state = self.state.lock();
        state.ended = true;
        state.buffer.clear();
        state.locked.clear();
        std::mem::take(&mut state.touched).into_values().collect()
    }
}

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
            IsolationLevel::ReadCommitted => None,
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
                self.read(&foreign, at).await?
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
        Ok(self.state.lock().buffer.merge(span, &options, page))
    }

    async fn lock(
        &self,
        keys: &[Key],
        mode: LockMode,
        wait: WaitPolicy,
    ) -> KvResult<Vec<LockedValue>> {
        self.running()?;
        let started = Instant::now();
        if self.bulk.get().is_some() {
            Box::pin(self.settle_keys(keys)).await?;
        }
        let mut answers = Vec::with_capacity(keys.len());
        while answers.len() < keys.len() {
            let left = &keys[answers.len()..];
            let descriptor = self.shared.sender.locate(&left[0]).await?;
            let run = left.iter().take_while(|key| descriptor.span.contains(key)).count().max(1);
            let Some(locked) = self.lock_in_range(&descriptor, &left[..run], mode, wait).await?
            else {
                continue;
            };
            for (key, locked) in left.iter().zip(locked) {
                answers.push(self.note_lock(key, mode, locked)?);
            }
        }
        self.state.lock().guarantee.waited += started.elapsed();
        Ok(answers)
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
        let touched = self.end();
        if !touched.is_empty() {
            Self::release(&self.shared, self.id, touched).await;
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let undecided = !self.state.get_mut().ended;
        let touched = self.end();
        if touched.is_empty() {
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
                Self::release(&shared, id, touched).await;
            });
        }
    }
}
