//! WITH queries that write: the rest of their statement does not see what they wrote.
//!
//! ```text
//! read at the snapshot            the buffer is taken back to the statement's start
//! lock, read of the newest, put   the writes taken back are put again first, in their order
//! ```
//!
//! A statement reads its input before it writes, so the buffer goes back and forth once per write.
//! What its writes demand of other tables is looked at when all of them are done.

use super::Effects;
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
    effects: Effects,
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

    /// Leaves a write's foreign keys to the end of the statement.
    pub fn defer(&self, effects: Effects) {
        self.state.lock().effects.append(effects);
    }

    pub fn take_effects(&self) -> Effects {
        std::mem::take(&mut self.state.lock().effects)
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

    async fn unlock(&self, keys: &[Key]) -> KvResult<()> {
        self.show()?;
        self.inner.unlock(keys).await
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

    async fn release_since(&self, savepoint: SavepointId) -> KvResult<()> {
        self.inner.release_since(savepoint).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use core_domain::KvStore;
    use testkit::MemoryKv;

    fn key(name: &str) -> Key {
        Key::from(name.as_bytes())
    }

    fn value(text: &'static str) -> Value {
        Value::from_static(text.as_bytes())
    }

    /// A transaction on a=1, b=2 that wrote c=3 in an earlier statement; now another one begins.
    async fn begun(store: &MemoryKv) -> Unseen {
        for (name, text) in [("a", "1"), ("b", "2")] {
            let before = store.begin(TxnOptions::default()).await.unwrap();
            before.put(key(name), value(text)).unwrap();
            before.commit().await.unwrap();
        }
        let txn = store.begin(TxnOptions::default()).await.unwrap();
        txn.begin_statement().await.unwrap();
        txn.put(key("c"), value("3")).unwrap();
        txn.begin_statement().await.unwrap();
        Unseen::new(txn)
    }

    /// What a scan shows, as `a=1 b=2`.
    async fn scanned(txn: &dyn KvTransaction, read_at: ReadAt) -> String {
        let options = ScanOptions { read_at, ..ScanOptions::default() };
        let page = txn.scan(&Span::all(), options).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let rows = page.rows.iter().map(|(key, value)| format!("{}={}", text(&key.0), text(value)));
        rows.collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn reads_at_the_snapshot_see_earlier_statements_and_nothing_of_this_one() {
        let txn = begun(&MemoryKv::new()).await;
        txn.put(key("a"), value("10")).unwrap();
        txn.delete(key("b")).unwrap();
        txn.put(key("d"), value("40")).unwrap();
        assert_eq!(txn.get(&key("a"), ReadAt::Snapshot).await.unwrap(), Some(value("1")));
        txn.put(key("c"), value("30")).unwrap();
        let keys = ["a", "b", "c", "d"].map(key);
        let values = txn.multi_get(&keys, ReadAt::Snapshot).await.unwrap();
        assert_eq!(values, [Some(value("1")), Some(value("2")), Some(value("3")), None]);
        txn.put(key("e"), value("50")).unwrap();
        assert_eq!(scanned(&txn, ReadAt::Snapshot).await, "a=1 b=2 c=3");
    }

    /// Constraints and foreign keys are checked against what is there now.
    #[tokio::test]
    async fn reads_of_the_newest_see_everything_also_after_one_at_the_snapshot() {
        let txn = begun(&MemoryKv::new()).await;
        txn.put(key("a"), value("10")).unwrap();
        txn.delete(key("b")).unwrap();
        for _ in 0..2 {
            assert_eq!(scanned(&txn, ReadAt::Snapshot).await, "a=1 b=2 c=3");
            assert_eq!(scanned(&txn, ReadAt::Latest).await, "a=10 c=3");
        }
        assert_eq!(scanned(&txn, ReadAt::Snapshot).await, "a=1 b=2 c=3");
        assert_eq!(txn.get(&key("b"), ReadAt::Latest).await.unwrap(), None);
        assert_eq!(scanned(&txn, ReadAt::Snapshot).await, "a=1 b=2 c=3");
        let values = txn.multi_get(&[key("a")], ReadAt::Latest).await.unwrap();
        assert_eq!(values, [Some(value("10"))]);
    }

    #[tokio::test]
    async fn a_lock_answers_what_the_statement_wrote() {
        let txn = begun(&MemoryKv::new()).await;
        txn.put(key("a"), value("10")).unwrap();
        assert_eq!(scanned(&txn, ReadAt::Snapshot).await, "a=1 b=2 c=3");
        let wait = WaitPolicy::Wait(None);
        let locked = txn.lock(&[key("a")], LockMode::Exclusive, wait).await.unwrap();
        let [LockedValue::Locked { value: seen, .. }] = locked.as_slice() else {
            panic!("{locked:?}")
        };
        assert_eq!(*seen, Some(value("10")));
    }

    #[tokio::test]
    async fn writes_are_put_back_in_their_order_whatever_was_read_between() {
        let store = MemoryKv::new();
        let txn = begun(&store).await;
        txn.put(key("a"), value("10")).unwrap();
        txn.put(key("d"), value("40")).unwrap();
        scanned(&txn, ReadAt::Snapshot).await;
        txn.delete(key("a")).unwrap();
        scanned(&txn, ReadAt::Snapshot).await;
        txn.put(key("d"), value("41")).unwrap();
        txn.delete(key("b")).unwrap();
        txn.put(key("b"), value("20")).unwrap();
        scanned(&txn, ReadAt::Snapshot).await;
        txn.show().unwrap();
        txn.show().unwrap();
        assert_eq!(scanned(&*txn.inner, ReadAt::Snapshot).await, "b=20 c=3 d=41");
    }

    #[tokio::test]
    async fn a_commit_takes_what_is_hidden_at_the_moment() {
        let store = MemoryKv::new();
        let txn = begun(&store).await;
        txn.put(key("a"), value("10")).unwrap();
        scanned(&txn, ReadAt::Snapshot).await;
        txn.commit().await.unwrap();
        let later = store.begin(TxnOptions::default()).await.unwrap();
        later.begin_statement().await.unwrap();
        assert_eq!(scanned(&*later, ReadAt::Snapshot).await, "a=10 b=2 c=3");
    }

    /// So that another part of the statement leaves the row alone.
    #[tokio::test]
    async fn it_knows_the_keys_of_this_statement_only() {
        let txn = begun(&MemoryKv::new()).await;
        txn.put(key("a"), value("10")).unwrap();
        txn.delete(key("b")).unwrap();
        scanned(&txn, ReadAt::Snapshot).await;
        assert_eq!(
            ["a", "b", "c", "d"].map(|name| txn.wrote(&key(name))),
            [true, true, false, false]
        );
    }
}
