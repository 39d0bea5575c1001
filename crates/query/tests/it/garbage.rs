//! Garbage collection through the whole stack below SQL: who is protected, who is refused, and that
//! a queue stays fast.

use crate::support::{Cluster, DATA_RANGE, WAIT, begin, get, key, put, value};
use core_domain::{
    IsolationLevel, Key, KvError, KvStore, KvTransaction, LockMode, ReadAt, ScanOptions, Span,
    Timestamp, TxnOptions, TxnStatus, WaitPolicy,
};
use query::{GcTuning, TxnCoordinator};
use replication::SYSTEM_RANGE;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use storage::{Cf, Engine, IterOptions, keyspace};

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
    let patient = GcTuning { silence_max: Duration::from_secs(60), ..at_once() };
    let fresh = cluster.kv(1).collect_garbage_once(&patient).await.unwrap();
    assert_eq!(fresh, marks);
}

/// Leads nothing, unless by an election.
const SILENT: u64 = 3;
const OTHERS: [u64; 2] = [1, 2];

/// The silent node goes on silent, and the others until they have moved beyond `then`.
async fn collect_beyond(cluster: &Cluster, then: Timestamp, tuning: &GcTuning) {
    let behind = |id: &u64| cluster.nodes[id].evaluator.marks().threshold <= then;
    for _ in 0..400 {
        if !OTHERS.iter().any(behind) {
            return;
        }
        for range in [SYSTEM_RANGE, DATA_RANGE] {
            cluster.transfer(range, OTHERS[0]).await;
        }
        for id in OTHERS {
            // Refused while leaders change.
            let _ = cluster.kv(id).collect_garbage_once(tuning).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the threshold does not move");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_refused_rather_than_answered_wrongly() {
    // Long beside what a busy machine takes for a report.
    let silence_max = Duration::from_millis(1500);
    let tuning = GcTuning { silence_max, ..at_once() };
    let cluster = Cluster::start(&[1, 2, 3]).await;
    for range in [SYSTEM_RANGE, DATA_RANGE] {
        cluster.transfer(range, OTHERS[0]).await;
    }
    put(&cluster.kv(1), &[("a", "old")]).await.unwrap();
    tokio::time::sleep(silence_max).await;
    for id in &cluster.ids {
        cluster.kv(*id).collect_garbage_once(&tuning).await.unwrap();
    }
    let (silent, other) = (cluster.kv(SILENT), cluster.kv(OTHERS[0]));
    let reader = repeatable(&silent).await;
    let writer = begin(&silent).await;
    put(&other, &[("a", "new")]).await.unwrap();
    let then = other.now().await.unwrap();
    // While it is heard of, its reader holds the threshold back.
    silent.collect_garbage_once(&tuning).await.unwrap();
    let marks = other.collect_garbage_once(&tuning).await.unwrap();
    assert!(marks.threshold < then, "{marks:?} is held back from elsewhere");
    assert_eq!(read(&reader, "a").await.unwrap().as_deref(), Some("old"));
    // Now it falls silent.
    collect_beyond(&cluster, then, &tuning).await;
    OTHERS.iter().for_each(|id| compact(&*cluster.engines[id]));
    let refused = read(&reader, "a").await;
    assert!(matches!(refused, Err(KvError::SnapshotTooOld { .. })), "{refused:?}");
    // Its status record could expire before its intents are found.
    writer.put(key("b"), value("late")).unwrap();
    let refused = writer.commit().await;
    assert!(matches!(refused, Err(KvError::SnapshotTooOld { .. })), "{refused:?}");
    assert_eq!(get(&silent, "a").await.as_deref(), Some("new"));
    assert_eq!(get(&silent, "b").await, None);
}

/// A session may hold one for days.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_advisory_lock_holds_nothing_back() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    let lock = [Key::advisory(1, 1, 7)];
    let holder = kv.begin(TxnOptions::default()).await.unwrap();
    holder.lock(&lock, LockMode::Exclusive, WAIT).await.unwrap();
    let then = kv.now().await.unwrap();
    tokio::time::sleep(SILENCE_MAX).await;
    let marks = kv.collect_garbage_once(&at_once()).await.unwrap();
    assert!(marks.threshold > then, "{marks:?}");
    let other = begin(&kv).await;
    let taken = other.lock(&lock, LockMode::Exclusive, WaitPolicy::NoWait).await;
    assert!(matches!(taken, Err(KvError::LockNotAvailable { .. })), "{taken:?}");
    holder.unlock(&lock).await.unwrap();
    other.lock(&lock, LockMode::Exclusive, WaitPolicy::NoWait).await.unwrap();
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
    let mut left = u64::MAX;
    for _ in 0..100 {
        let before = steps();
        assert_eq!(first_row(&kv).await, Some(job(JOBS + 90)));
        left = steps() - before;
        if left < 100 && engine.garbage().dropped() >= 2 * u64::from(JOBS) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{left} steps, {} dropped", engine.garbage().dropped());
}

/// Rows of a kilobyte: enough for a transaction to write the first ahead of its last.
const LARGE: u32 = 15_000;

fn row(n: u32) -> Key {
    key(&format!("row{n:06}"))
}

async fn write_all(kv: &TxnCoordinator, text: &str) -> Arc<dyn KvTransaction> {
    let txn = begin(kv).await;
    for chunk in (0..LARGE).collect::<Vec<_>>().chunks(1000) {
        let keys: Vec<Key> = chunk.iter().map(|n| row(*n)).collect();
        txn.lock(&keys, LockMode::Exclusive, WAIT).await.unwrap();
        for key in keys {
            txn.put(key, value(&format!("{text:>1000}"))).unwrap();
        }
    }
    txn
}

/// How many rows say what, by a snapshot.
async fn told(txn: &Arc<dyn KvTransaction>) -> BTreeMap<String, usize> {
    let mut rest = Some(Span::prefix(key("row")));
    let mut told = BTreeMap::new();
    while let Some(span) = rest {
        let page = txn.scan(&span, ScanOptions::default()).await.unwrap();
        for (_, value) in page.rows {
            let text = std::str::from_utf8(&value).unwrap().trim().to_owned();
            *told.entry(text).or_default() += 1;
        }
        rest = page.rest;
    }
    told
}

/// What large transactions wrote is dated before their commit: no threshold may go by that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_large_transactions_wrote_is_kept_and_hides_nothing_too_early() {
    let all = |text: &str, but: usize| (text.to_owned(), LARGE as usize - but);
    let mut cluster = Cluster::start(&[1]).await;
    let (kv, engine) = (cluster.kv(1), cluster.engines[&1].clone());
    write_all(&kv, "first").await.commit().await.unwrap();
    tokio::time::sleep(SILENCE_MAX).await;
    kv.collect_garbage_once(&at_once()).await.unwrap();
    let second = write_all(&kv, "second").await;
    let dated = kv.now().await.unwrap();
    tokio::time::sleep(SILENCE_MAX).await;
    // The epoch that counts for the reader begins here: after what it must not see was dated.
    kv.collect_garbage_once(&at_once()).await.unwrap();
    let reader = repeatable(&kv).await;
    assert_eq!(told(&reader).await, [all("first", 0)].into());
    second.commit().await.unwrap();
    let third = write_all(&kv, "third").await;
    third.rollback().await;
    put(&kv, &[("row000007", "seven")]).await.unwrap();
    let deleter = begin(&kv).await;
    deleter.lock(&[row(8)], LockMode::Exclusive, WAIT).await.unwrap();
    deleter.delete(row(8)).unwrap();
    deleter.commit().await.unwrap();
    let newest: BTreeMap<_, _> = [all("second", 2), ("seven".to_owned(), 1)].into();
    let collect = async || {
        let marks = kv.collect_garbage_once(&at_once()).await.unwrap();
        assert!(marks.threshold > dated, "{marks:?} is not beyond {dated}");
        compact(&*engine);
        cluster.nodes[&1].evaluator.collect_garbage().await.unwrap();
        compact(&*engine);
    };
    collect().await;
    assert_eq!(told(&reader).await, [all("first", 0)].into());
    assert_eq!(told(&begin(&kv).await).await, newest);
    reader.rollback().await;
    drop(reader);
    collect().await;
    assert_eq!(told(&begin(&kv).await).await, newest);
    assert_eq!(count(&*engine, Cf::Data, &row(7)), 1, "what went before is hidden");
    assert_eq!(count(&*engine, Cf::Data, &row(8)), 0);
    drop(kv);
    cluster.kill(1, 3).await;
    cluster.restart(1).await;
    assert_eq!(told(&begin(&cluster.kv(1)).await).await, newest, "the records are there");
}
