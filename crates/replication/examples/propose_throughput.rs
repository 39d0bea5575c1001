//! How fast one single-voter range takes small commands on a real disk, and what the disk's share
//! is: `cargo run -p replication --example propose_throughput [directory] [tasks]`.

use cluster::MemoryNetwork;
use core_domain::{Key, NodeId, RangeId, Span, Timestamp};
use parking_lot::Mutex;
use replication::{Command, Deaf, EngineOp, Leadership, LogTrace, Store, Tuning};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Cf, RocksEngine, RocksOptions};

const RUN: Duration = Duration::from_secs(3);
const ADDRESS: &str = "alone:1";

/// Counts and times the log writer's syncs.
#[derive(Default)]
struct Syncs(Mutex<SyncTimes>);

#[derive(Default)]
struct SyncTimes {
    began: Option<Instant>,
    count: u32,
    total: Duration,
}

impl LogTrace for Syncs {
    fn written(&self, _: RangeId, _: u64) {
        self.0.lock().began = Some(Instant::now());
    }

    fn synced(&self) {
        let mut times = self.0.lock();
        if let Some(began) = times.began.take() {
            times.count += 1;
            times.total += began.elapsed();
        }
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
    let engine = Arc::new(RocksEngine::open(dir, &RocksOptions::default())?);
    let syncs = Arc::new(Syncs::default());
    let (node, range) = (NodeId(1), RangeId(1));
    let store = Store::open(
        engine,
        node,
        Arc::<MemoryNetwork>::default().node(ADDRESS),
        Arc::new(Deaf),
        syncs.clone(),
        Tuning::default(),
    )
    .await?;
    store.bootstrap(&[(node, ADDRESS.into())], &[(range, Span::all())]).await?;
    let replica = store.group(range).ok_or("just founded")?;
    while !matches!(replica.leadership(), Leadership::Serving { .. }) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    *syncs.0.lock() = SyncTimes::default();
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
    let SyncTimes { count: syncs, total: sync_time, .. } = std::mem::take(&mut *syncs.0.lock());
    println!(
        "{tasks:3} tasks: {:7.0} proposals/s, p50 {:?}, p99 {:?}; {:.1} proposals per fsync, \
         fsync {:?} on average, {:.0} % of the time",
        latencies.len() as f64 / elapsed.as_secs_f64(),
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100],
        latencies.len() as f64 / f64::from(syncs.max(1)),
        sync_time / syncs.max(1),
        100.0 * sync_time.as_secs_f64() / elapsed.as_secs_f64(),
    );
    store.shutdown().await;
    Ok(())
}
