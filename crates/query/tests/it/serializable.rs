//! SERIALIZABLE as its users would notice, in one range and across two.

use crate::support::*;
use core_domain::planted::{PlantedBug, plant};
use core_domain::{
    IsolationLevel, KvError, KvResult, KvStore, KvTransaction, LockMode, ReadAt, ScanOptions, Span,
    TxnOptions,
};
use query::TxnCoordinator;
use std::sync::Arc;

const SERIALIZABLE: IsolationLevel = IsolationLevel::Serializable;
const REPEATABLE_READ: IsolationLevel = IsolationLevel::RepeatableRead;

async fn begin_at(kv: &TxnCoordinator, isolation: IsolationLevel) -> Arc<dyn KvTransaction> {
    let txn = kv.begin(TxnOptions { isolation, ..TxnOptions::default() }).await.unwrap();
    txn.begin_statement().await.unwrap();
    txn
}

async fn read(txn: &Arc<dyn KvTransaction>, k: &str) -> i64 {
    number(&txn.get(&key(k), ReadAt::Snapshot).await.unwrap())
}

async fn write(txn: &Arc<dyn KvTransaction>, k: &str, v: &str) -> KvResult<()> {
    txn.lock(&[key(k)], LockMode::Exclusive, WAIT).await?;
    txn.put(key(k), value(v))
}

async fn count(txn: &Arc<dyn KvTransaction>, prefix: &str) -> usize {
    let mut rest = Some(Span::prefix(key(prefix)));
    let mut count = 0;
    while let Some(span) = rest {
        let page = txn.scan(&span, ScanOptions::default()).await.unwrap();
        count += page.rows.len();
        rest = page.rest;
    }
    count
}

/// A cluster of one node; its keys in one range, or with a boundary at "m".
async fn cluster(ranges: usize) -> Cluster {
    let cluster = Cluster::start(&[1]).await;
    if ranges == 2 {
        cluster.kv(1).split_at(&key("m")).await.unwrap();
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn anomaly_write_skew_under_repeatable_read_and_refused_under_serializable() {
    for ranges in [1, 2] {
        let cluster = cluster(ranges).await;
        let kv = cluster.kv(1);
        for isolation in [REPEATABLE_READ, SERIALIZABLE] {
            put(&kv, &[("a", "1"), ("z", "1")]).await.unwrap();
            let (first, second) = (begin_at(&kv, isolation).await, begin_at(&kv, isolation).await);
            for txn in [&first, &second] {
                assert_eq!(read(txn, "a").await + read(txn, "z").await, 2);
            }
            write(&first, "a", "0").await.unwrap();
            write(&second, "z", "0").await.unwrap();
            first.commit().await.unwrap();
            let late = second.commit().await;
            if isolation == REPEATABLE_READ {
                late.unwrap();
                continue;
            }
            let expected = KvError::Conflict { key: key("a"), other: first.id() };
            assert_eq!(late.unwrap_err(), expected, "{ranges} ranges");
            assert_eq!(get(&kv, "z").await, Some("1".into()), "rolled back");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn phantoms_are_refused_where_something_was_looked_for() {
    for ranges in [1, 2] {
        let cluster = cluster(ranges).await;
        let kv = cluster.kv(1);
        let (first, second) =
            (begin_at(&kv, SERIALIZABLE).await, begin_at(&kv, SERIALIZABLE).await);
        assert_eq!(count(&first, "").await + count(&second, "").await, 0);
        write(&first, "l1", "1").await.unwrap();
        write(&second, "n1", "1").await.unwrap();
        second.commit().await.unwrap();
        let late = first.commit().await.unwrap_err();
        assert_eq!(late, KvError::Conflict { key: key("n1"), other: second.id() });
        // A key that is not there was read all the same, and a deletion is a change.
        let absent = begin_at(&kv, SERIALIZABLE).await;
        let present = begin_at(&kv, SERIALIZABLE).await;
        assert_eq!(read(&absent, "b").await, 0);
        assert_eq!(read(&present, "n1").await, 1);
        put(&kv, &[("b", "1")]).await.unwrap();
        let deleting = begin(&kv).await;
        deleting.lock(&[key("n1")], LockMode::Exclusive, WAIT).await.unwrap();
        deleting.delete(key("n1")).unwrap();
        deleting.commit().await.unwrap();
        for (txn, changed) in [(&absent, "b"), (&present, "n1")] {
            write(txn, "c", "1").await.unwrap();
            let late = txn.commit().await.unwrap_err();
            assert!(matches!(&late, KvError::Conflict { key: k, .. } if *k == key(changed)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_read_counts_however_far_the_scan_might_have_gone() {
    let cluster = cluster(2).await;
    let kv = cluster.kv(1);
    put(&kv, &[("k1", "1"), ("k3", "1"), ("n1", "1"), ("n3", "1")]).await.unwrap();
    for (reverse, beyond, within) in [(false, "k2", "k0"), (true, "n2", "n4")] {
        for (changed, allowed) in [(beyond, true), (within, false)] {
            let txn = begin_at(&kv, SERIALIZABLE).await;
            let options = ScanOptions { rows_max: 1, reverse, ..ScanOptions::default() };
            let span = Span::new(key("k"), key("o"));
            assert_eq!(txn.scan(&span, options).await.unwrap().rows.len(), 1);
            write(&txn, "a", "1").await.unwrap();
            put(&kv, &[(changed, "1")]).await.unwrap();
            let committed = txn.commit().await;
            assert_eq!(committed.is_ok(), allowed, "reverse {reverse}, {changed}: {committed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_reads_is_never_refused_and_own_writes_are_no_conflict() {
    for ranges in [1, 2] {
        let cluster = cluster(ranges).await;
        let kv = cluster.kv(1);
        put(&kv, &[("a", "1"), ("z", "1")]).await.unwrap();
        let declared =
            TxnOptions { isolation: SERIALIZABLE, read_only: true, ..TxnOptions::default() };
        let declared = kv.begin(declared).await.unwrap();
        declared.begin_statement().await.unwrap();
        let undeclared = begin_at(&kv, SERIALIZABLE).await;
        for txn in [&declared, &undeclared] {
            assert_eq!(read(txn, "a").await, 1);
        }
        put(&kv, &[("a", "2"), ("z", "2")]).await.unwrap();
        for txn in [declared, undeclared] {
            assert_eq!(read(&txn, "z").await, 1);
            txn.commit().await.unwrap();
        }
        let own = begin_at(&kv, SERIALIZABLE).await;
        assert_eq!(count(&own, "").await, 2);
        for k in ["a", "b", "z"] {
            write(&own, k, "3").await.unwrap();
        }
        assert_eq!(count(&own, "").await, 3);
        own.commit().await.unwrap();
        assert_eq!(get(&kv, "b").await, Some("3".into()));
    }
}

/// The newest version, read after locking, is protected from then on, not from the snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn reads_of_the_newest_version_count_from_when_they_were_made() {
    let cluster = cluster(1).await;
    let kv = cluster.kv(1);
    for (changed_again, allowed) in [(false, true), (true, false)] {
        put(&kv, &[("a", "1")]).await.unwrap();
        let txn = begin_at(&kv, SERIALIZABLE).await;
        put(&kv, &[("a", "2")]).await.unwrap();
        let newest = txn.get(&key("a"), ReadAt::Latest).await.unwrap();
        assert_eq!(number(&newest), 2);
        write(&txn, "b", "1").await.unwrap();
        if changed_again {
            put(&kv, &[("a", "3")]).await.unwrap();
        }
        assert_eq!(txn.commit().await.is_ok(), allowed);
    }
    // The same without writes: it saw more than its snapshot.
    let txn = begin_at(&kv, SERIALIZABLE).await;
    put(&kv, &[("a", "4")]).await.unwrap();
    assert_eq!(read(&txn, "b").await, 1);
    assert_eq!(number(&txn.get(&key("a"), ReadAt::Latest).await.unwrap()), 4);
    put(&kv, &[("b", "5")]).await.unwrap();
    assert!(txn.commit().await.is_err());
}

/// Pairs of accounts may not go below zero together. Who loses a race begins again.
async fn overdraw(ranges: usize) {
    const PAIRS: usize = 3;
    let cluster = cluster(ranges).await;
    let kv = cluster.kv(1);
    let names: Vec<[String; 2]> = (0..PAIRS).map(|i| [format!("a{i}"), format!("z{i}")]).collect();
    for pair in &names {
        put(&kv, &[(&pair[0], "15"), (&pair[1], "15")]).await.unwrap();
    }
    let mut tasks = Vec::new();
    for task in 0..6usize {
        let (kv, names) = (kv.clone(), names.clone());
        tasks.push(tokio::spawn(async move {
            let mut refused = 0u32;
            for round in 0..30usize {
                let pair = &names[(task + round) % PAIRS];
                loop {
                    let txn = begin_at(&kv, SERIALIZABLE).await;
                    let (a, z) = (read(&txn, &pair[0]).await, read(&txn, &pair[1]).await);
                    if a + z < 1 {
                        txn.commit().await.unwrap();
                        break;
                    }
                    let (k, n) = [(&pair[0], a), (&pair[1], z)][task % 2];
                    let done = async {
                        write(&txn, k, &(n - 1).to_string()).await?;
                        txn.commit().await
                    };
                    match done.await {
                        Ok(_) => break,
                        Err(KvError::Conflict { .. } | KvError::Deadlock { .. }) => refused += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            refused
        }));
    }
    let mut refused = 0;
    for task in tasks {
        refused += tokio::time::timeout(std::time::Duration::from_secs(30), task)
            .await
            .expect("they get through")
            .unwrap();
    }
    let mut left = 0;
    for [a, z] in &names {
        let sum: i64 = [get(&kv, a).await, get(&kv, z).await]
            .into_iter()
            .map(|text| text.unwrap().parse::<i64>().unwrap())
            .sum();
        assert!(sum >= 0, "{a} and {z} were overdrawn to {sum}");
        left += sum;
    }
    // 180 withdrawals were tried on 90.
    assert_eq!(left, 0, "{refused} were refused");
    // Those that lost a race are rolled back in the background.
    let quiet = async {
        while cluster.nodes[&1].evaluator.locked_keys() + kv.active_transactions() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(3), quiet).await.expect("nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn accounts_are_not_overdrawn_together_in_one_range() {
    overdraw(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn accounts_are_not_overdrawn_together_across_two_ranges() {
    overdraw(2).await;
}

/// What rule 5 forbids: nothing is validated then.
#[tokio::test(flavor = "multi_thread")]
async fn a_planted_asynchronous_commit_of_reads_shows_write_skew() {
    plant(PlantedBug::AsyncCommitWhileValidating);
    let cluster = cluster(2).await;
    let kv = cluster.kv(1);
    put(&kv, &[("a", "1"), ("z", "1")]).await.unwrap();
    let (first, second) = (begin_at(&kv, SERIALIZABLE).await, begin_at(&kv, SERIALIZABLE).await);
    for txn in [&first, &second] {
        assert_eq!(read(txn, "a").await + read(txn, "z").await, 2);
    }
    for (txn, own, other) in [(&first, "a", "y"), (&second, "z", "b")] {
        write(txn, own, "0").await.unwrap();
        write(txn, other, "0").await.unwrap();
    }
    first.commit().await.unwrap();
    second.commit().await.unwrap();
}
