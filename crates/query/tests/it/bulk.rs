//! Transactions that write ahead of their commit, as their users and everybody else see them.

use crate::support::*;
use core_domain::planted::{PlantedBug, plant};
use core_domain::{
    IsolationLevel, Key, KvError, KvStore, KvTransaction, LockMode, LockedValue, ReadAt,
    ScanOptions, Span, TxnOptions, TxnStatus, Value, WaitPolicy,
};
use query::TxnCoordinator;
use replication::SYSTEM_RANGE;
use std::sync::Arc;
use std::time::Duration;

fn row(n: u32) -> (Key, Value) {
    (key(&format!("row{n:07}")), value(&format!("{n:0100}")))
}

fn all() -> Span {
    Span::prefix(key("row"))
}

async fn count(txn: &Arc<dyn KvTransaction>, reverse: bool) -> usize {
    let mut rest = Some(all());
    let mut rows = 0;
    while let Some(span) = rest {
        let options = ScanOptions { reverse, ..ScanOptions::default() };
        let page = txn.scan(&span, options).await.unwrap();
        rows += page.rows.len();
        rest = page.rest;
    }
    rows
}

/// 30,000 rows of some 110 bytes: several parts.
async fn load(txn: &Arc<dyn KvTransaction>, from: u32, to: u32) {
    for chunk in (from..to).collect::<Vec<_>>().chunks(1000) {
        let rows = chunk.iter().map(|n| row(*n)).collect();
        assert_eq!(txn.insert(rows, WAIT).await.unwrap(), None);
    }
    assert_eq!(txn.insert(Vec::new(), WAIT).await.unwrap(), None);
}

async fn cluster() -> (Cluster, Arc<TxnCoordinator>) {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    (cluster, kv)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_written_ahead_are_the_writers_own_until_it_commits() {
    let (cluster, kv) = cluster().await;
    let before = begin(&kv).await;
    let writer = begin(&kv).await;
    load(&writer, 0, 30_000).await;
    // Nobody remembers thirty thousand locks.
    assert!(cluster.nodes[&1].evaluator.locked_keys() < 100);
    for reverse in [false, true] {
        assert_eq!(count(&writer, reverse).await, 30_000);
        assert_eq!(count(&begin(&kv).await, reverse).await, 0);
    }
    let (last, text) = row(29_999);
    let own = writer.get(&last, ReadAt::Snapshot).await.unwrap();
    assert_eq!(own, Some(text));
    assert_eq!(begin(&kv).await.get(&last, ReadAt::Latest).await.unwrap(), None);
    // What was sent can be changed again, and is seen so.
    writer.lock(std::slice::from_ref(&last), LockMode::Exclusive, WAIT).await.unwrap();
    writer.delete(last.clone()).unwrap();
    assert_eq!(writer.get(&last, ReadAt::Latest).await.unwrap(), None);
    assert_eq!(count(&writer, false).await, 29_999);
    let committed = writer.commit().await.unwrap().timestamp;
    assert_eq!(kv.txn_status(writer.id()).await.unwrap(), TxnStatus::Committed(committed));
    for reverse in [false, true] {
        assert_eq!(count(&before, reverse).await, 0, "a snapshot from before");
        assert_eq!(count(&begin(&kv).await, reverse).await, 29_999);
    }
    assert_eq!(cluster.nodes[&1].evaluator.locked_keys(), 0);
    assert_eq!(kv.active_transactions(), 0);
    // The next writers find versions like any other.
    let next = begin(&kv).await;
    let again = next.insert(vec![row(7)], WAIT).await.unwrap();
    assert_eq!(again, Some(row(7).0));
    next.lock(&[row(7).0], LockMode::Exclusive, WAIT).await.unwrap();
    next.put(row(7).0, value("newer")).unwrap();
    next.commit().await.unwrap();
    let newest = begin(&kv).await.get(&row(7).0, ReadAt::Snapshot).await.unwrap();
    assert_eq!(newest, Some(value("newer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_never_changes_while_large_transactions_commit() {
    let (_cluster, kv) = cluster().await;
    for round in 0..5 {
        let writer = begin(&kv).await;
        load(&writer, round * 12_000, (round + 1) * 12_000).await;
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let kv = kv.clone();
                tokio::spawn(async move {
                    for _ in 0..3 {
                        let options = TxnOptions {
                            isolation: IsolationLevel::RepeatableRead,
                            ..TxnOptions::default()
                        };
                        let reader = kv.begin(options).await.unwrap();
                        reader.begin_statement().await.unwrap();
                        let first = count(&reader, false).await;
                        assert_eq!(first % 12_000, 0, "half a transaction was seen");
                        assert_eq!(count(&reader, true).await, first);
                    }
                })
            })
            .collect();
        writer.commit().await.unwrap();
        assert_eq!(count(&begin(&kv).await, false).await, (round as usize + 1) * 12_000);
        for reader in readers {
            reader.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_wait_for_what_was_written_ahead() {
    let (_cluster, kv) = cluster().await;
    let writer = begin(&kv).await;
    load(&writer, 0, 30_000).await;
    let other = begin(&kv).await;
    let wanted = [row(25_000).0];
    let nowait = other.lock(&wanted, LockMode::Exclusive, WaitPolicy::NoWait).await;
    assert!(matches!(nowait, Err(KvError::LockNotAvailable { .. })), "{nowait:?}");
    let skipped = other.lock(&wanted, LockMode::Share, WaitPolicy::SkipLocked).await.unwrap();
    assert_eq!(skipped, [LockedValue::Skipped]);
    let brief = WaitPolicy::Wait(Some(Duration::from_millis(50)));
    let late = other.lock(&wanted, LockMode::Exclusive, brief).await;
    assert!(matches!(late, Err(KvError::LockTimeout { .. })), "{late:?}");
    let waiting = {
        let (other, kv) = (other.clone(), kv.clone());
        tokio::spawn(async move {
            let locked = other.lock(&[row(25_000).0], LockMode::Exclusive, WAIT).await.unwrap();
            // A row that somebody else is about to insert: the second waits too.
            let inserting = begin(&kv).await;
            let found = inserting.insert(vec![row(26_000)], WAIT).await.unwrap();
            (locked, found)
        })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    writer.commit().await.unwrap();
    let (locked, found) = waiting.await.unwrap();
    assert!(matches!(&locked[0], LockedValue::Locked { value: Some(_), .. }), "{locked:?}");
    assert_eq!(found, Some(row(26_000).0));
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_are_found_wherever_they_are() {
    let (_cluster, kv) = cluster().await;
    let first = begin(&kv).await;
    assert_eq!(first.insert(vec![row(20_000)], WAIT).await.unwrap(), None);
    first.commit().await.unwrap();
    // Committed before.
    let writer = begin(&kv).await;
    let mut found = None;
    for chunk in (10_000..40_000).collect::<Vec<_>>().chunks(1000) {
        let rows = chunk.iter().map(|n| row(*n)).collect();
        found = found.or(writer.insert(rows, WAIT).await.unwrap());
    }
    found = found.or(writer.insert(Vec::new(), WAIT).await.unwrap());
    assert_eq!(found, Some(row(20_000).0));
    writer.rollback().await;
    // Its own, of an earlier part; and twice in one.
    let writer = begin(&kv).await;
    load(&writer, 50_000, 80_000).await;
    let mut found = writer.insert(vec![row(75_000)], WAIT).await.unwrap();
    found = found.or(writer.insert(Vec::new(), WAIT).await.unwrap());
    assert_eq!(found, Some(row(75_000).0));
    let mut found = writer.insert(vec![row(90_000), row(90_000)], WAIT).await.unwrap();
    found = found.or(writer.insert(Vec::new(), WAIT).await.unwrap());
    assert_eq!(found, Some(row(90_000).0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_leaves_nothing_to_see_and_soon_nothing_at_all() {
    let (cluster, kv) = cluster().await;
    let writer = begin(&kv).await;
    load(&writer, 0, 30_000).await;
    writer.rollback().await;
    {
        let dropped = begin(&kv).await;
        load(&dropped, 0, 30_000).await;
    }
    let reader = begin(&kv).await;
    assert_eq!(count(&reader, false).await, 0);
    // Others find the keys free.
    let next = begin(&kv).await;
    assert_eq!(next.insert(vec![row(29_000)], WAIT).await.unwrap(), None);
    next.commit().await.unwrap();
    assert_eq!(count(&begin(&kv).await, true).await, 1);
    let engine = cluster.engines[&1].clone();
    let versions = || {
        let (lower, upper) = storage::keyspace::span_bounds(&all());
        let options =
            storage::IterOptions { lower: Some(lower), upper, ..storage::IterOptions::default() };
        let mut cursor = storage::EngineReader::iter(&*engine, storage::Cf::Data, options);
        cursor.seek_to_first();
        let mut versions = 0;
        while cursor.valid() {
            versions += 1;
            cursor.next();
        }
        versions
    };
    for _ in 0..100 {
        if versions() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(versions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_savepoints_are_kept_or_refused() {
    let (cluster, kv) = cluster().await;
    put(&kv, &[("other", "1")]).await.unwrap();
    let writer = begin(&kv).await;
    writer.limit_memory(1 << 20);
    let savepoint = writer.savepoint();
    for n in 0..40_000 {
        if n % 1000 == 0 {
            writer.relieve().await.unwrap();
            assert!(writer.buffered_bytes() < 5 << 20, "{}", writer.buffered_bytes());
        }
        let (k, v) = row(n);
        writer.lock(std::slice::from_ref(&k), LockMode::NoKeyExclusive, WAIT).await.unwrap();
        writer.put(k, v).unwrap();
    }
    let refused = writer.rollback_to(savepoint).unwrap_err();
    assert_eq!(refused.sqlstate(), "53200");
    let late = writer.savepoint();
    writer.put(key("rowx"), value("undone")).unwrap();
    writer.rollback_to(late).unwrap();
    assert_eq!(count(&writer, false).await, 40_000);
    assert!(cluster.nodes[&1].evaluator.locked_keys() < 20_000);
    // A foreign key's lock passes a row whose key columns stay.
    let child = begin(&kv).await;
    let parent = [row(0).0];
    child.lock(&parent, LockMode::KeyShare, WaitPolicy::NoWait).await.unwrap();
    drop(child);
    writer.commit().await.unwrap();
    assert_eq!(count(&begin(&kv).await, false).await, 40_000);
    // Small and many: without savepoints and limits nothing is written ahead.
    let small = begin(&kv).await;
    small.limit_memory(1 << 20);
    small.put(key("rowy"), value("1")).unwrap();
    small.relieve().await.unwrap();
    assert!(small.buffered_bytes() > 0);
}

/// A split while parts are on their way, and between the last part and the commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_over_ranges_is_all_there_or_not_at_all() {
    let (_cluster, kv) = cluster().await;
    put(&kv, &[("z", "1")]).await.unwrap();
    let writer = begin(&kv).await;
    load(&writer, 0, 15_000).await;
    kv.split_at(&row(10_000).0).await.unwrap();
    load(&writer, 15_000, 30_000).await;
    kv.split_at(&row(20_000).0).await.unwrap();
    kv.split_at(&key("s")).await.unwrap();
    // A lock without a write, in a range of its own.
    writer.lock(&[key("z")], LockMode::Share, WAIT).await.unwrap();
    assert_eq!(count(&writer, false).await, 30_000);
    assert_eq!(count(&begin(&kv).await, false).await, 0);
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let kv = kv.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    let rows = count(&begin(&kv).await, false).await;
                    assert!(rows == 0 || rows == 30_000, "{rows}");
                }
            })
        })
        .collect();
    writer.commit().await.unwrap();
    assert_eq!(count(&begin(&kv).await, true).await, 30_000);
    for reader in readers {
        reader.await.unwrap();
    }
    // What was decided is known in both halves of what is split later.
    kv.split_at(&row(25_000).0).await.unwrap();
    assert_eq!(count(&begin(&kv).await, false).await, 30_000);
    let undone = begin(&kv).await;
    load(&undone, 30_000, 50_000).await;
    kv.split_at(&row(40_000).0).await.unwrap();
    undone.rollback().await;
    assert_eq!(count(&begin(&kv).await, false).await, 30_000);
    let next = begin(&kv).await;
    assert_eq!(next.insert(vec![row(31_000), row(45_000)], WAIT).await.unwrap(), None);
    next.commit().await.unwrap();
}

/// The node dies with a large transaction open, and with one just committed.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_what_was_committed_is_there_and_the_rest_goes() {
    let mut cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    let committed = begin(&kv).await;
    load(&committed, 0, 20_000).await;
    committed.commit().await.unwrap();
    let open = begin(&kv).await;
    load(&open, 20_000, 40_000).await;
    cluster.kill(1, 7).await;
    drop((open, kv));
    cluster.restart(1).await;
    let kv = cluster.kv(1);
    assert_eq!(count(&begin(&kv).await, false).await, 20_000);
    // Its keys are taken until it counts as dead.
    let next = begin(&kv).await;
    assert_eq!(next.insert(vec![row(30_000)], WAIT).await.unwrap(), None);
    next.commit().await.unwrap();
    assert_eq!(count(&begin(&kv).await, false).await, 20_001);
}

/// Three nodes: the leader moves while the transaction is open, then it dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_leader_in_the_middle_loses_nothing() {
    let mut cluster = Cluster::start(&[1, 2, 3]).await;
    cluster.transfer(SYSTEM_RANGE, 1).await;
    cluster.transfer(DATA_RANGE, 2).await;
    let kv = cluster.kv(1);
    let writer = begin(&kv).await;
    load(&writer, 0, 8_000).await;
    cluster.transfer(DATA_RANGE, 3).await;
    load(&writer, 8_000, 16_000).await;
    cluster.kill(3, 11).await;
    load(&writer, 16_000, 24_000).await;
    assert_eq!(count(&writer, false).await, 24_000);
    assert_eq!(count(&begin(&kv).await, false).await, 0);
    writer.commit().await.unwrap();
    assert_eq!(count(&begin(&kv).await, true).await, 24_000);
    cluster.restart(3).await;
    cluster.transfer(DATA_RANGE, 3).await;
    assert_eq!(count(&begin(&kv).await, false).await, 24_000);
}

/// The coordinator dies at some point of its commit. Whoever comes next finds all of it or nothing, and
/// does not wait for long.
async fn coordinator_dies(split: bool, delay: Duration) {
    let mut cluster = Cluster::start(&[1, 2, 3]).await;
    let kv = cluster.kv(1);
    put(&kv, &[("z", "1")]).await.unwrap();
    cluster.transfer(SYSTEM_RANGE, 2).await;
    cluster.transfer(DATA_RANGE, 2).await;
    if split {
        kv.split_at(&row(5_000).0).await.unwrap();
        cluster.transfer(cluster.range_of("row0009000"), 3).await;
    }
    let writer = begin(&kv).await;
    load(&writer, 0, 10_000).await;
    let committing = tokio::spawn(async move { writer.commit().await });
    tokio::time::sleep(delay).await;
    cluster.kill(1, 5).await;
    committing.abort();
    let kv = cluster.kv(2);
    let seen = count(&begin(&kv).await, false).await;
    assert!(seen == 0 || seen == 10_000, "{seen} after {delay:?}");
    let next = begin(&kv).await;
    let found = next.insert(vec![row(9_999)], WAIT).await.unwrap();
    let expected = match &found {
        None => {
            assert_eq!(seen, 0, "it was there, and is gone");
            next.commit().await.unwrap();
            1
        }
        Some(_) => 10_000,
    };
    for reverse in [false, true] {
        assert_eq!(count(&begin(&kv).await, reverse).await, expected, "{delay:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_commit_whose_coordinator_dies_is_whole_or_gone() {
    let delays = [0, 2, 5, 20].map(Duration::from_millis);
    let cases = delays.iter().flat_map(|delay| [false, true].map(|split| (split, *delay)));
    let running: Vec<_> =
        cases.map(|(split, delay)| tokio::spawn(coordinator_dies(split, delay))).collect();
    for case in running {
        case.await.unwrap();
    }
}

/// A part that waits for somebody's lock does not keep its transaction from ending.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_waits_for_a_lock_can_be_given_up() {
    let (_cluster, kv) = cluster().await;
    let holder = begin(&kv).await;
    holder.lock(&[row(15_000).0], LockMode::Exclusive, WAIT).await.unwrap();
    let writer = begin(&kv).await;
    let loading = {
        let writer = writer.clone();
        tokio::spawn(async move { load(&writer, 0, 20_000).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!loading.is_finished());
    loading.abort();
    tokio::time::timeout(Duration::from_secs(2), writer.rollback()).await.expect("at once");
    let next = begin(&kv).await;
    assert_eq!(next.insert(vec![row(1)], WAIT).await.unwrap(), None);
    next.commit().await.unwrap();
    holder.rollback().await;
    assert_eq!(count(&begin(&kv).await, false).await, 1);
}

/// The test of splits would notice: half of what was committed is gone.
#[tokio::test(flavor = "multi_thread")]
async fn planted_a_split_forgets_records() {
    plant(PlantedBug::SplitForgetsRecords);
    let (_cluster, kv) = cluster().await;
    let writer = begin(&kv).await;
    load(&writer, 0, 12_000).await;
    writer.commit().await.unwrap();
    kv.split_at(&row(8_000).0).await.unwrap();
    assert_eq!(count(&begin(&kv).await, false).await, 8_000);
}
