//! What was acknowledged is on disk.

use crate::support::{RANGE, contents, eventually, get, put, single};
use cluster::MemoryNetwork;
use parking_lot::{Mutex, RwLock};
use replication::{Applied, LogTrace, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use storage::{
    Cf, CrashEngine, Engine, EngineIterator, EngineReader, IterOptions, StorageError,
    StorageResult, WriteBatch,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_a_crash_that_discards_unsynced_bytes() {
    for seed in 0..12 {
        let engine = Arc::new(CrashEngine::new());
        let store = single(engine.clone()).await;
        let replica = store.group(RANGE).unwrap();
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let writers = (0..8).map(|writer| {
            let (replica, acknowledged) = (replica.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    let key = format!("{writer}/{n}");
                    match put(&replica, &key, "v").await {
                        Ok(outcome) => {
                            assert_eq!(outcome, Applied::Ok);
                            acknowledged.lock().push(key);
                        }
                        Err(_) => return,
                    }
                }
            })
        });
        let writers = writers.collect::<Vec<_>>();
        eventually("some writes", || acknowledged.lock().len() > 50 + seed as usize * 7).await;
        let left = Arc::new(engine.crash(seed));
        store.shutdown().await;
        for writer in writers {
            writer.await.unwrap();
        }
        let store = single(left.clone()).await;
        let replica = store.group(RANGE).unwrap();
        replica.confirm_leadership().await.unwrap();
        for key in acknowledged.lock().iter() {
            assert_eq!(get(&*left, key).as_deref(), Some("v"), "seed {seed}: {key} is lost");
        }
        assert_eq!(put(&replica, "after", "v").await, Ok(Applied::Ok));
        store.shutdown().await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Written(u64),
    Synced,
    Acknowledged(u64),
}

/// Records the writer's steps; syncs are recorded by the engine itself.
#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

struct Tracer(Arc<Recorder>);

impl LogTrace for Tracer {
    fn written(&self, _: core_domain::RangeId, index: u64) {
        self.0.0.lock().push(Event::Written(index));
    }
    fn acknowledging(&self, _: core_domain::RangeId, index: u64) {
        self.0.0.lock().push(Event::Acknowledged(index));
    }
    fn disk_failed(&self, error: &StorageError) {
        panic!("{error}");
    }
}

/// Tells when a sync is over, counts them, and can hold them back.
struct SpyEngine {
    inner: CrashEngine,
    recorder: Arc<Recorder>,
    hold: RwLock<()>,
    syncs: AtomicU64,
}

impl EngineReader for SpyEngine {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<bytes::Bytes>> {
        self.inner.get(cf, key)
    }
    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIterator + '_> {
        self.inner.iter(cf, options)
    }
}

impl Engine for SpyEngine {
    fn write(&self, batch: WriteBatch, sync: bool) -> StorageResult<()> {
        self.inner.write(batch, sync)
    }
    fn sync_wal(&self) -> StorageResult<()> {
        let _free = self.hold.read();
        std::thread::sleep(Duration::from_millis(2));
        self.inner.sync_wal()?;
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.recorder.0.lock().push(Event::Synced);
        Ok(())
    }
    fn snapshot(&self) -> Arc<dyn EngineReader> {
        self.inner.snapshot()
    }
    fn checkpoint(&self, dir: &Path) -> StorageResult<()> {
        self.inner.checkpoint(dir)
    }
    fn approximate_bytes(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<u64> {
        self.inner.approximate_bytes(cf, start, end)
    }
    fn garbage(&self) -> &storage::Garbage {
        self.inner.garbage()
    }
    fn compact(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<()> {
        self.inner.compact(cf, start, end)
    }
    fn metrics(&self) -> Vec<(&'static str, u64)> {
        self.inner.metrics()
    }
}

async fn spied() -> (Arc<SpyEngine>, Arc<Store>) {
    let recorder = Arc::new(Recorder::default());
    let engine = Arc::new(SpyEngine {
        inner: CrashEngine::new(),
        recorder: recorder.clone(),
        hold: RwLock::new(()),
        syncs: AtomicU64::new(0),
    });
    let transport = Arc::<MemoryNetwork>::default().node(crate::support::address(1));
    let store = Store::open(
        engine.clone(),
        core_domain::NodeId(1),
        transport,
        Arc::new(replication::Deaf),
        Arc::new(Tracer(recorder)),
        crate::support::tuning(),
    )
    .await
    .unwrap();
    crate::support::found_alone(&store).await;
    (engine, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_entry_is_acknowledged_before_the_sync_that_covers_it() {
    let (engine, store) = spied().await;
    let replica = store.group(RANGE).unwrap();
    let writers = (0..16).map(|writer| {
        let replica = replica.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                put(&replica, &format!("{writer}/{n}"), "v").await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let events = engine.recorder.0.lock().clone();
    let (mut written, mut durable, mut acknowledged) = (None, None, 0);
    for event in &events {
        match event {
            Event::Written(index) => written = written.max(Some(*index)),
            Event::Synced => durable = written,
            Event::Acknowledged(index) => {
                assert!(Some(*index) <= durable, "{index} acknowledged, durable: {durable:?}");
                acknowledged += 1;
            }
        }
    }
    assert!(acknowledged > 0, "the trace saw nothing");
    let syncs = engine.syncs.load(Ordering::SeqCst);
    assert!(syncs < 200, "320 writes of 16 clients took {syncs} syncs: they are not grouped");
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_not_answered_while_the_disk_does_not_answer() {
    let (engine, store) = spied().await;
    let replica = store.group(RANGE).unwrap();
    put(&replica, "before", "v").await.unwrap();
    let held = engine.hold.write();
    let writing = {
        let replica = replica.clone();
        tokio::spawn(async move { put(&replica, "held", "v").await })
    };
    std::thread::sleep(Duration::from_millis(200));
    assert!(!writing.is_finished(), "answered before the sync");
    assert_eq!(get(&*engine, "held"), None, "visible before the sync");
    drop(held);
    assert_eq!(writing.await.unwrap(), Ok(Applied::Ok));
    assert_eq!(contents(&*engine).len(), 2);
    store.shutdown().await;
}

#[tokio::test]
async fn a_log_that_lost_synced_entries_retires_the_replica() {
    let engine = Arc::new(CrashEngine::new());
    let store = single(engine.clone()).await;
    let replica = store.group(RANGE).unwrap();
    for n in 0..10 {
        put(&replica, &format!("{n}"), "v").await.unwrap();
    }
    store.shutdown().await;
    // The entry's key: range, 'l', index (log/format.rs).
    let key = [&RANGE.0.to_be_bytes()[..], b"l", &5u64.to_be_bytes()[..]].concat();
    assert!(engine.get(Cf::Raft, &key).unwrap().is_some());
    let mut damage = WriteBatch::new();
    damage.put(Cf::Raft, key, &b"rot"[..]);
    engine.write(damage, true).unwrap();
    let store = crate::support::open(&Arc::default(), 1, engine, crate::support::tuning()).await;
    assert!(store.group(RANGE).is_none());
    let why = store.damaged()[&RANGE].to_string();
    assert!(why.contains("durable up to"), "{why}");
    store.shutdown().await;
}
