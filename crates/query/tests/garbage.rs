//! Garbage collection through the whole stack below SQL: who is protected, who is refused, and that
//! a queue stays fast.

mod support;

use core_domain::{
    IsolationLevel, Key, KvError, KvStore, KvTransaction, ReadAt, ScanOptions, Span, Timestamp,
    TxnOptions, TxnStatus,
};
use query::{GcTuning, TxnCoordinator};
use replication::{Leadership, SYSTEM_RANGE};
use std::sync::Arc;
use std::time::Duration;
use storage::{Cf, Engine, IterOptions, keyspace};
use support::{Cluster, DATA_RANGE, begin, get, key, put, value};

const SILENCE_MAX: Duration = Duration::from_millis(300);

/// Everything goes that nobody holds back.
fn at_once() -> GcTuning {
    GcTuning { retention: Duration::ZERO, silence_max: SILENCE_MAX, ..GcTuning::default() }
}

fn compact(engine: &dyn Engine) {
    for cf in [Cf::Data, Cf::Txn] {
        engine.compact(cf, &[], &keyspace::end_of_family()).unwrap();
    }
}

fn count(engine: &dyn Engine, cf: Cf, of: &Key) -> usize {
    let prefix = keyspace::encode_key(of.as_ref());
    let mut cursor = engine.iter(cf, IterOptions::default());
    cursor.seek(&prefix);
    let mut count = 0;
    while cursor.valid() && cursor.key().starts_with(&prefix) {
        count += 1;
        cursor.next();
    }
    count
}

async fn at(kv: &TxnCoordinator, at: Timestamp, k: &str) -> Result<Option<String>, KvError> {
    let options = TxnOptions { as_of: Some(at), read_only: true, ..TxnOptions::default() };
    let txn = kv.begin(options).await?;
    let found = txn.get(&key(k), ReadAt::Snapshot).await?;
    Ok(found.map(|value| String::from_utf8(value.to_vec()).unwrap()))
}

async fn repeatable(kv: &TxnCoordinator) -> Arc<dyn KvTransaction> {
    let isolation = IsolationLevel::RepeatableRead;
    let txn = kv.begin(TxnOptions { isolation, ..TxnOptions::default() }).await.unwrap();
    txn.begin_statement().await.unwrap();
    txn
}

async fn read(txn: &Arc<dyn KvTransaction>, k: &str) -> Result<Option<String>, KvError> {
    let found = txn.get(&key(k), ReadAt::Snapshot).await?;
    Ok(found.map(|value| String::from_utf8(value.to_vec()).unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_snapshot_keeps_what_it_sees_and_the_rest_goes() {
    let cluster = Cluster::start(&[1]).await;
    let (kv, engine) = (cluster.kv(1), cluster.engines[&1].clone());
    put(&kv, &[("a", "1"), ("b", "1")]).await.unwrap();
    tokio::time::sleep(SILENCE_MAX).await;
    // The epoch that counts for the reader begins here.
    kv.collect_garbage_once(&at_once()).await.unwrap();
    let reader = repeatable(&kv).await;
    let then = kv.now().await.unwrap();
    for n in 2..6 {
        put(&kv, &[("a", &n.to_string())]).await.unwrap();
    }
    let marks = kv.collect_garbage_once(&at_once()).await.unwrap();
    assert!(marks.threshold < then, "{marks:?} is held back by the reader");
    compact(&*engine);
    assert_eq!(count(&*engine, Cf::Data, &key("a")), 5);
    assert_eq!(read(&reader, "a").await.unwrap().as_deref(), Some("1"));
    assert_eq!(at(&kv, then, "a").await.unwrap().as_deref(), Some("1"));
    reader.rollback().await;
    drop(reader);
    let marks = kv.collect_garbage_once(&at_once()).await.unwrap();
    assert!(marks.threshold > then);
    compact(&*engine);
    assert_eq!(count(&*engine, Cf::Data, &key("a")), 1);
    assert_eq!(at(&kv, then, "a").await, Err(KvError::SnapshotTooOld { at: then }));
    assert_eq!(KvError::SnapshotTooOld { at: then }.sqlstate(), "72000");
    assert_eq!(get(&kv, "a").await.as_deref(), Some("5"));
    assert_eq!(get(&kv, "b").await.as_deref(), Some("1"), "the only version stays");
    // Their status records went too, and it is said that nothing is known.
    assert_eq!(count(&*engine, Cf::Txn, &key("a")), 0);
    let status = kv.txn_status(reader_id(then)).await.unwrap();
    assert_eq!(status, TxnStatus::Unknown);
}

fn reader_id(at: Timestamp) -> core_domain::TxnId {
    core_domain::TxnId(at.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_marks_outlive_a_crash() {
    let mut cluster = Cluster::start(&[1]).await;
    put(&cluster.kv(1), &[("a", "1")]).await.unwrap();
    tokio::time::sleep(SILENCE_MAX).await;
    let marks = cluster.kv(1).collect_garbage_once(&at_once()).await.unwrap();
    assert!(marks.threshold > Timestamp::ZERO && marks.records > Timestamp::ZERO, "{marks:?}");
    cluster.kill(1, 7).await;
    cluster.restart(1).await;
    assert_eq!(cluster.nodes[&1].evaluator.marks(), marks);
    let old = marks.threshold.prev();
    assert_eq!(at(&cluster.kv(1), old, "a").await, Err(KvError::SnapshotTooOld { at: old }));
    // A new leader waits until everybody has had the time to report.
    let fresh = cluster.kv(1).collect_garbage_once(&at_once()).await.unwrap();
    assert_eq!(fresh, marks);
}

/// Node of three that leads neither range, and the two others.
fn bystander(cluster: &Cluster) -> (u64, Vec<u64>) {
    let leads = |id: &u64| {
        [SYSTEM_RANGE, DATA_RANGE].iter().any(|range| {
            let group = cluster.nodes[id].store.group(*range);
            group.is_some_and(|replica| replica.leadership() != Leadership::Follower)
        })
    };
    let silent = *cluster.ids.iter().find(|id| !leads(id)).expect("three nodes, two leaders");
    (silent, cluster.ids.iter().copied().filter(|id| *id != silent).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_refused_rather_than_answered_wrongly() {
    let cluster = Cluster::start(&[1, 2, 3]).await;
    put(&cluster.kv(1), &[("a", "old")]).await.unwrap();
    let (silent, others) = bystander(&cluster);
    // All are heard of: the silent node's reader holds the threshold back.
    for id in &cluster.ids {
        cluster.kv(*id).collect_garbage_once(&at_once()).await.unwrap();
    }
    let reader = repeatable(&cluster.kv(silent)).await;
    put(&cluster.kv(others[0]), &[("a", "new")]).await.unwrap();
    let then = cluster.kv(others[0]).now().await.unwrap();
    tokio::time::sleep(SILENCE_MAX / 2).await;
    cluster.kv(silent).collect_garbage_once(&at_once()).await.unwrap();
    for id in &others {
        let marks = cluster.kv(*id).collect_garbage_once(&at_once()).await.unwrap();
        assert!(marks.threshold < then, "{marks:?} is held back from elsewhere");
    }
    assert_eq!(read(&reader, "a").await.unwrap().as_deref(), Some("old"));
    // Now it falls silent.
    tokio::time::sleep(SILENCE_MAX + Duration::from_millis(50)).await;
    for _ in 0..2 {
        for id in &others {
            cluster.kv(*id).collect_garbage_once(&at_once()).await.unwrap();
        }
    }
    for id in &others {
        assert!(cluster.nodes[id].evaluator.marks().threshold > then);
        compact(&*cluster.engines[id]);
    }
    let refused = read(&reader, "a").await;
    assert!(matches!(refused, Err(KvError::SnapshotTooOld { .. })), "{refused:?}");
    assert_eq!(get(&cluster.kv(silent), "a").await.as_deref(), Some("new"));
}

async fn first_row(kv: &TxnCoordinator) -> Option<Key> {
    let txn = begin(kv).await;
    let options = ScanOptions { rows_max: 1, ..ScanOptions::default() };
    let page = txn.scan(&Span::prefix(key("job")), options).await.unwrap();
    page.rows.into_iter().next().map(|(key, _)| key)
}

fn job(n: u32) -> Key {
    key(&format!("job{n:08}"))
}

async fn write_jobs(kv: &TxnCoordinator, jobs: std::ops::Range<u32>, live: bool) {
    let txn = begin(kv).await;
    for n in jobs {
        match live {
            true => txn.put(job(n), value("work")).unwrap(),
            false => txn.delete(job(n)).unwrap(),
        }
    }
    txn.commit().await.unwrap();
}

/// Work, not time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_polled_in_few_steps() {
    const JOBS: u32 = 20_000;
    let cluster = Cluster::start(&[1]).await;
    let (kv, engine) = (cluster.kv(1), cluster.engines[&1].clone());
    for from in (0..JOBS).step_by(5000) {
        write_jobs(&kv, from..from + 5000, true).await;
        write_jobs(&kv, from..from + 5000, false).await;
    }
    write_jobs(&kv, JOBS..JOBS + 100, true).await;
    let steps = || engine.garbage().stepped();
    // The first polls find out; those that follow leap, also while jobs come and go.
    for _ in 0..2 {
        assert_eq!(first_row(&kv).await, Some(job(JOBS)));
    }
    assert!(steps() >= 4 * u64::from(JOBS));
    let before = steps();
    for n in JOBS..JOBS + 90 {
        assert_eq!(first_row(&kv).await, Some(job(n)));
        write_jobs(&kv, n..n + 1, false).await;
    }
    let each = (steps() - before) / 90;
    assert!(each < 200, "{each} versions stepped over by each poll");
    // What is written into the run is found.
    write_jobs(&kv, 7..8, true).await;
    assert_eq!(first_row(&kv).await, Some(job(7)));
    write_jobs(&kv, 7..8, false).await;
    // Once nobody needs them, they are gone.
    tokio::time::sleep(SILENCE_MAX).await;
    kv.collect_garbage_once(&at_once()).await.unwrap();
    // The evaluator's own collector may be at it already.
    cluster.nodes[&1].evaluator.collect_garbage().await.unwrap();
    for _ in 0..100 {
        if engine.garbage().dropped() >= 2 * u64::from(JOBS) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = steps();
    assert_eq!(first_row(&kv).await, Some(job(JOBS + 90)));
    assert!(steps() - before < 10, "{} steps", steps() - before);
}
