//! Commits per second of one node on RocksDB: `cargo run -p query --example commit_throughput
//! [tasks] [seconds]`. Each transaction locks and writes three rows, as TPC-B does; one row is hot
//! among ten.

use cluster::MemoryNetwork;
use core_domain::{
    Key, KvStore, LockMode, NodeId, RangeId, Span, SystemClock, TxnOptions, Value, WaitPolicy,
};
use query::{SendTuning, TxnCoordinator};
use replication::evaluate::Evaluator;
use replication::{NoTrace, SYSTEM_RANGE, Store, Tuning};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use storage::{RocksEngine, RocksOptions};

const ADDRESS: &str = "alone:1";

#[tokio::main]
async fn main() {
    let argument = |n: usize, default| {
        std::env::args().nth(n).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (tasks, seconds) = (argument(1, 16), argument(2, 5));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let engine =
        Arc::new(RocksEngine::open(dir.path(), &RocksOptions::default()).expect("a store"));
    let evaluator = Evaluator::new(engine.clone(), Arc::new(SystemClock::default()));
    let transport = Arc::<MemoryNetwork>::default().node(ADDRESS);
    let store = Store::open(
        engine,
        NodeId(1),
        transport.clone(),
        evaluator.clone(),
        Arc::new(NoTrace),
        Tuning::default(),
    )
    .await
    .expect("a store opens");
    let tables = Key::from(vec![core_domain::key::TABLE_PREFIX]);
    let ranges = [
        (SYSTEM_RANGE, Span::new(Key::MIN, tables.clone())),
        (RangeId(2), Span::new(tables, Key::MIN)),
    ];
    store.bootstrap(&[(NodeId(1), ADDRESS.into())], &ranges).await.expect("founded");
    let kv = TxnCoordinator::start(
        store,
        evaluator,
        transport,
        Arc::new(Vec::new),
        SendTuning::default(),
    );
    let committed = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut running = Vec::new();
    for task in 0..tasks {
        let (kv, committed) = (kv.clone(), committed.clone());
        running.push(tokio::spawn(async move {
            let mut round = task;
            while Instant::now() < until {
                round += 7919;
                let rows =
                    [("account", round % 100_000), ("teller", round % 100), ("branch", round % 10)];
                let txn = kv.begin(TxnOptions::default()).await.expect("begins");
                for (table, id) in rows {
                    txn.begin_statement().await.expect("a snapshot");
                    let key = Key::from(format!("\x02{table}{id:08}").into_bytes());
                    let wait = WaitPolicy::Wait(None);
                    let keys = [key.clone()];
                    txn.lock(&keys, LockMode::NoKeyExclusive, wait).await.expect("locked");
                    txn.put(key, Value::from(vec![7; 100])).expect("buffered");
                }
                txn.put(
                    Key::from(format!("\x02history{:020}", txn.id().0).into_bytes()),
                    Value::from(vec![7; 50]),
                )
                .expect("buffered");
                txn.commit().await.expect("committed");
                committed.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for task in running {
        task.await.expect("ends");
    }
    let count = committed.load(Ordering::Relaxed);
    println!("{tasks} tasks: {} commits/s", count / seconds);
}
