//! How fast one single-voter range takes small commands on a real disk, and what the disk's share
//! is: `cargo run -p replication --example propose_throughput [directory] [tasks]`.

use async_trait::async_trait;
use bytes::Bytes;
use cluster::{Handler, Transport, TransportError};
use core_domain::{Key, NodeId, RangeId, Span, Timestamp};
use replication::{Command, Deaf, EngineOp, Leadership, NoTrace, Store, Tuning};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use storage::{
    Cf, Engine, EngineIterator, EngineReader, IterOptions, RocksEngine, RocksOptions,
    StorageResult, WriteBatch,
};

const RUN: Duration = Duration::from_secs(3);

/// A node without others.
struct Alone;

#[async_trait]
impl Transport for Alone {
    fn local_address(&self) -> &str {
        "alone:1"
    }
    async fn call(
        &self,
        address: &str,
        _: &'static str,
        _: Bytes,
        _: Duration,
    ) -> Result<Bytes, TransportError> {
        Err(TransportError::Unreachable { address: address.into(), reason: "alone".into() })
    }
    fn register(&self, _: &'static str, _: Arc<dyn Handler>) {}
}

/// Counts and times the syncs.
struct Timed {
    inner: RocksEngine,
    syncs: AtomicU64,
    nanos: AtomicU64,
}

impl EngineReader for Timed {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.inner.get(cf, key)
    }
    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIterator + '_> {
        self.inner.iter(cf, options)
    }
}

impl Engine for Timed {
    fn write(&self, batch: WriteBatch, sync: bool) -> StorageResult<()> {
        self.inner.write(batch, sync)
    }
    fn sync_wal(&self) -> StorageResult<()> {
        let start = Instant::now();
        let done = self.inner.sync_wal();
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        done
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
    fn metrics(&self) -> Vec<(&'static str, u64)> {
        self.inner.metrics()
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir =
        args.next().map_or_else(|| std::env::temp_dir().join("propose_throughput"), PathBuf::from);
    let tasks = match args.next() {
        Some(only) => vec![only.parse()?],
        None => vec![1, 4, 16, 64],
    };
    for tasks in tasks {
        let dir = dir.join(tasks.to_string());
        std::fs::create_dir_all(&dir)?;
        measure(&dir, tasks).await?;
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

async fn measure(dir: &Path, tasks: usize) -> Result<(), Box<dyn std::error::Error>> {
    let inner = RocksEngine::open(dir, &RocksOptions::default())?;
    let engine = Arc::new(Timed { inner, syncs: AtomicU64::new(0), nanos: AtomicU64::new(0) });
    let (node, range) = (NodeId(1), RangeId(1));
    let store = Store::open(
        engine.clone(),
        node,
        Arc::new(Alone),
        Arc::new(Deaf),
        Arc::new(NoTrace),
        Tuning::default(),
    )
    .await?;
    store.bootstrap(&[(node, "alone:1".into())], &[(range, Span::all())]).await?;
    let replica = store.group(range).ok_or("just founded")?;
    while !matches!(replica.leadership(), Leadership::Serving { .. }) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    engine.syncs.store(0, Ordering::Relaxed);
    engine.nanos.store(0, Ordering::Relaxed);
    let start = Instant::now();
    let clients = (0..tasks).map(|client| {
        let replica = replica.clone();
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while start.elapsed() < RUN {
                let n = latencies.len();
                let key = Key::from(format!("client{client}/{n}").into_bytes());
                let key = storage::keyspace::version_key(key.as_ref(), Timestamp(n as u64));
                let op = EngineOp::put(Cf::Data, key, vec![b'x'; 128]);
                let generation = replica.descriptor().generation;
                let command = Command::write(replica.range(), generation, 0, vec![op]);
                let asked = Instant::now();
                replica.propose(&command).await?;
                latencies.push(asked.elapsed());
            }
            Ok::<_, replication::ReplicationError>(latencies)
        })
    });
    let mut latencies = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        latencies.extend(client.await??);
    }
    let elapsed = start.elapsed();
    latencies.sort();
    let syncs = engine.syncs.load(Ordering::Relaxed);
    let sync_time = Duration::from_nanos(engine.nanos.load(Ordering::Relaxed));
    println!(
        "{tasks:3} tasks: {:7.0} proposals/s, p50 {:?}, p99 {:?}; {:.1} proposals per fsync, \
         fsync {:?} on average, {:.0} % of the time",
        latencies.len() as f64 / elapsed.as_secs_f64(),
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100],
        latencies.len() as f64 / syncs.max(1) as f64,
        sync_time / syncs.max(1) as u32,
        100.0 * sync_time.as_secs_f64() / elapsed.as_secs_f64(),
    );
    store.shutdown().await;
    Ok(())
}
