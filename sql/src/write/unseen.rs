//! WITH queries that write: the rest of their statement does not see what they wrote.
//!
//! ```text
//! read at the snapshot            the buffer is taken back to the statement's start
//! lock, read of the newest, put   the writes taken back are put again first, in their order
//! ```
//!
//! A statement reads its input before it writes, so the buffer goes back and forth once per write.

use async_trait::async_trait;
use core_domain::{
    CommitReceipt, Guarantee, Key, KvResult, KvTransaction, LockMode, LockedValue, ReadAt,
    SavepointId, ScanOptions, ScanPage, Span, Timestamp, TxnId, TxnOptions, Value, WaitPolicy,
};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

/// A transaction as one statement with writing WITH queries sees it.
pub(crate) struct Unseen {
    inner: Arc<dyn KvTransaction>,
    start: SavepointId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order they were made; no value: a deletion.
    writes: Vec<(Key, Option<Value>)>,
    keys: HashSet<Key>,
    /// They are not in the buffer at the moment.
    hidden: bool,
}

impl Unseen {
    pub fn new(inner: Arc<dyn KvTransaction>) -> Self {
        let start = inner.savepoint();
        Self { inner, start, state: Mutex::default() }
    }

    /// Whether the statement has written this key already.
    pub fn wrote(&self, key: &Key) -> bool {
        self.state.lock().keys.contains(key)
    }

    /// Puts the writes back: at the latest when the statement ends.
    pub fn show(&self) -> KvResult<()> {
        self.shown(&mut self.state.lock())
    }

    fn shown(&self, state: &mut State) -> KvResult<()> {
        if std::mem::take(&mut state.hidden) {
            for (key, value) in &state.writes {
                self.forward(key.clone(), value.clone())?;
            }
        }
        Ok(())
    }

    fn hide(&self) -> KvResult<()> {
        let mut state = self.state.lock();
        if !state.hidden && !state.writes.is_empty() {
            self.inner.rollback_to(self.start)?;
            state.hidden = true;
        }
        Ok(())
    }

    fn before(&self, at: ReadAt) -> KvResult<()> {
        match at {
            ReadAt::Snapshot => self.hide(),
            ReadAt::Latest => self.show(),
        }
    }

    fn forward(&self, key: Key, value: Option<Value>) -> KvResult<()> {
        match value {
            Some(value) => self.inner.put(key, value),
            None => self.inner.delete(key),
        }
    }

    fn write(&self, key: Key, value: Option<Value>) -> KvResult<()> {
        let mut state = self.state.lock();
        self.shown(&mut state)?;
        self.forward(key.clone(), value.clone())?;
        state.keys.insert(key.clone());
        state.writes.push((key, value));
        Ok(())
    }
}

#[async_trait]
impl KvTransaction for Unseen {
    fn id(&self) -> TxnId {
        self.inner.id()
    }

    fn options(&self) -> TxnOptions {
        self.inner.options()
    }

    async fn begin_statement(&self) -> KvResult<Timestamp> {
        self.inner.begin_statement().await
    }

    async fn get(&self, key: &Key, at: ReadAt) -> KvResult<Option<Value>> {
        self.before(at)?;
        self.inner.get(key, at).await
    }

    async fn multi_get(&self, keys: &[Key], at: ReadAt) -> KvResult<Vec<Option<Value>>> {
        self.before(at)?;
        self.inner.multi_get(keys, at).await
    }

    async fn scan(&self, span: &Span, options: ScanOptions) -> KvResult<ScanPage> {
        self.before(options.read_at)?;
        self.inner.scan(span, options).await
    }

    async fn lock(
        &self,
        keys: &[Key],
        mode: LockMode,
        wait: WaitPolicy,
    ) -> KvResult<Vec<LockedValue>> {
        self.show()?;
        self.inner.lock(keys, mode, wait).await
    }

    fn put(&self, key: Key, value: Value) -> KvResult<()> {
        self.write(key, Some(value))
    }

    fn delete(&self, key: Key) -> KvResult<()> {
        self.write(key, None)
    }

    fn savepoint(&self) -> SavepointId {
        self.inner.savepoint()
    }

    fn rollback_to(&self, savepoint: SavepointId) -> KvResult<()> {
        self.inner.rollback_to(savepoint)
    }

    fn buffered_bytes(&self) -> u64 {
        self.inner.buffered_bytes()
    }

    fn has_writes(&self) -> bool {
        self.inner.has_writes()
    }

    fn guarantee(&self) -> Guarantee {
        self.inner.guarantee()
    }

    async fn commit(&self) -> KvResult<CommitReceipt> {
        self.show()?;
        self.inner.commit().await
    }

    async fn rollback(&self) {
        self.inner.rollback().await;
    }
}
