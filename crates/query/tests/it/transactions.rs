//! What a user of transactions would notice, on real ranges of one node.

use crate::support::*;
use core_domain::{
    IsolationLevel, Key, KvError, KvStore, LockMode, LockedValue, ReadAt, ScanOptions, Span,
    TxnOptions, TxnStatus, WaitPolicy,
};
use replication::evaluate::{Group, LockedKey, RangeRequest, RangeResponse, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_seen_by_what_begins_after_it_and_not_before() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    put(&kv, &[("a", "1"), ("b", "2")]).await.unwrap();
    let reader = begin(&kv).await;
    let steady = kv
        .begin(TxnOptions { isolation: IsolationLevel::RepeatableRead, ..TxnOptions::default() })
        .await
        .unwrap();
    steady.begin_statement().await.unwrap();
    let writer = begin(&kv).await;
    add(&writer, "a", 10).await.unwrap();
    assert_eq!(writer.get(&key("a"), ReadAt::Snapshot).await.unwrap(), Some(value("11")));
    assert_eq!(reader.get(&key("a"), ReadAt::Latest).await.unwrap(), Some(value("1")));
    let committed = writer.commit().await.unwrap().timestamp;
    assert!(committed > reader.begin_statement().await.map(|_| committed.prev()).unwrap());
    assert_eq!(reader.get(&key("a"), ReadAt::Snapshot).await.unwrap(), Some(value("11")));
    steady.begin_statement().await.unwrap();
    assert_eq!(steady.get(&key("a"), ReadAt::Snapshot).await.unwrap(), Some(value("1")));
    let late = steady.lock(&[key("a")], LockMode::Exclusive, WAIT).await.unwrap_err();
    assert!(matches!(late, KvError::Conflict { .. }), "{late}");
    assert_eq!(kv.txn_status(writer.id()).await.unwrap(), TxnStatus::Committed(committed));
    let guarantee = reader.guarantee();
    assert_eq!(guarantee.replicas, [core_domain::NodeId(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_page_across_ranges_in_both_directions_with_own_writes() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    let rows: Vec<(String, String)> =
        (0..30).map(|i| (format!("k{i:02}"), i.to_string())).collect();
    let rows: Vec<(&str, &str)> = rows.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    put(&kv, &rows).await.unwrap();
    kv.split_at(&key("k10")).await.unwrap();
    kv.split_at(&key("k20")).await.unwrap();
    kv.split_at(&key("k20")).await.unwrap();
    assert_eq!(cluster.nodes[&1].store.groups().len(), 4);
    let txn = begin(&kv).await;
    txn.delete(key("k05")).unwrap();
    txn.put(key("k155"), value("own")).unwrap();
    let mut expected: Vec<Key> = rows.iter().map(|(k, _)| key(k)).collect();
    expected.remove(5);
    expected.push(key("k155"));
    expected.sort();
    for reverse in [false, true] {
        for rows_max in [1, 7, 1000] {
            let mut seen = Vec::new();
            let mut rest = Some(Span::new(key("k"), key("l")));
            while let Some(span) = rest {
                let options = ScanOptions { rows_max, reverse, ..ScanOptions::default() };
                let page = txn.scan(&span, options).await.unwrap();
                assert!(page.rows.len() <= rows_max);
                seen.extend(page.rows.into_iter().map(|(key, _)| key));
                rest = page.rest;
            }
            assert_eq!(seen, expected, "reverse {reverse}, pages of {rows_max}");
        }
        expected.reverse();
    }
    let values = txn.multi_get(&[key("k29"), key("nope"), key("k00")], ReadAt::Snapshot).await;
    assert_eq!(values.unwrap(), [Some(value("29")), None, Some(value("0"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_are_never_lost_and_never_refused() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let kv = kv.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..50 {
                let txn = begin(&kv).await;
                add(&txn, "counter", 1).await.unwrap();
                txn.commit().await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(get(&kv, "counter").await, Some("800".into()));
    assert_eq!(cluster.nodes[&1].evaluator.locked_keys(), 0);
    assert_eq!(kv.active_transactions(), 0);
}

/// Transfers within and across two ranges, while others add everything up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_bank_neither_makes_nor_loses_money() {
    const ACCOUNTS: u64 = 20;
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    let names: Vec<String> = (0..ACCOUNTS).map(|i| format!("acc{i:02}")).collect();
    for name in &names {
        put(&kv, &[(name, "100")]).await.unwrap();
    }
    kv.split_at(&key("acc10")).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let auditor = {
        let (kv, done) = (kv.clone(), done.clone());
        tokio::spawn(async move {
            let mut audits = 0;
            while !done.load(Ordering::Relaxed) {
                let txn = begin(&kv).await;
                let mut total = 0;
                let mut rest = Some(Span::prefix(key("acc")));
                while let Some(span) = rest {
                    let page = txn.scan(&span, ScanOptions::default()).await.unwrap();
                    total += page.rows.iter().map(|(_, v)| number(&Some(v.clone()))).sum::<i64>();
                    rest = page.rest;
                }
                assert_eq!(total, 100 * ACCOUNTS as i64);
                audits += 1;
            }
            audits
        })
    };
    let mut tellers = Vec::new();
    for teller in 0..8u64 {
        let (kv, names) = (kv.clone(), names.clone());
        tellers.push(tokio::spawn(async move {
            let mut deadlocks = 0;
            for round in 0..40u64 {
                let from = (teller * 7 + round * 3) % ACCOUNTS;
                let to = (from + 1 + round % (ACCOUNTS - 1)) % ACCOUNTS;
                let txn = begin(&kv).await;
                let moved = async {
                    add(&txn, &names[from as usize], -5).await?;
                    add(&txn, &names[to as usize], 5).await?;
                    txn.commit().await
                };
                match moved.await {
                    Ok(_) => {}
                    Err(KvError::Deadlock { .. }) => {
                        deadlocks += 1;
                        txn.rollback().await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            deadlocks
        }));
    }
    for teller in tellers {
        teller.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(auditor.await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_policies_and_deadlocks_are_told_apart() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    let holder = begin(&kv).await;
    add(&holder, "a", 1).await.unwrap();
    let other = begin(&kv).await;
    add(&other, "b", 1).await.unwrap();
    let nowait = other.lock(&[key("a")], LockMode::Share, WaitPolicy::NoWait).await;
    assert!(matches!(nowait, Err(KvError::LockNotAvailable { .. })));
    let skipped = other.lock(&[key("a"), key("c")], LockMode::Share, WaitPolicy::SkipLocked).await;
    let skipped = skipped.unwrap();
    assert_eq!(skipped[0], LockedValue::Skipped);
    assert!(matches!(skipped[1], LockedValue::Locked { value: None, .. }));
    let brief = WaitPolicy::Wait(Some(Duration::from_millis(30)));
    let timed_out = other.lock(&[key("a")], LockMode::Share, brief).await;
    assert!(matches!(timed_out, Err(KvError::LockTimeout { .. })));
    let waiting = {
        let holder = holder.clone();
        tokio::spawn(async move { add(&holder, "b", 1).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let deadlock = add(&other, "a", 1).await;
    assert!(matches!(deadlock, Err(KvError::Deadlock { .. })), "{deadlock:?}");
    drop(other);
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    holder.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_transaction_leaves_nothing() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    {
        let txn = begin(&kv).await;
        add(&txn, "a", 1).await.unwrap();
    }
    let next = begin(&kv).await;
    assert_eq!(add(&next, "a", 1).await.unwrap(), 1);
    let rolled_back = begin(&kv).await;
    let savepoint = rolled_back.savepoint();
    rolled_back.put(key("x"), value("1")).unwrap();
    rolled_back.rollback_to(savepoint).unwrap();
    assert!(!rolled_back.has_writes());
    rolled_back.commit().await.unwrap();
    next.commit().await.unwrap();
    assert_eq!(get(&kv, "x").await, None);
}

/// Back at a savepoint, what was locked since is free, what was made stronger is as weak as before,
/// and what was locked before stays; also where nothing was written between two savepoints.
#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_gives_back_the_locks_taken_since() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    kv.split_at(&key("m")).await.unwrap();
    put(&kv, &[("a", "1"), ("b", "2"), ("c", "3"), ("z", "4")]).await.unwrap();
    let txn = begin(&kv).await;
    let outer = txn.savepoint();
    txn.lock(&[key("a"), key("b")], LockMode::Share, WAIT).await.unwrap();
    let inner = txn.savepoint();
    let since = [key("b"), key("c"), key("z")];
    txn.lock(&since, LockMode::Exclusive, WAIT).await.unwrap();
    txn.put(key("c"), value("30")).unwrap();
    let waiter = begin(&kv).await;
    let waiting = {
        let waiter = waiter.clone();
        tokio::spawn(async move { waiter.lock(&[key("b")], LockMode::Share, WAIT).await })
    };
    txn.rollback_to(inner).unwrap();
    txn.release_since(inner).await.unwrap();
    waiting.await.unwrap().unwrap();
    let now = WaitPolicy::NoWait;
    waiter.lock(&[key("c"), key("z")], LockMode::Exclusive, now).await.unwrap();
    for held in ["a", "b"] {
        let refused = waiter.lock(&[key(held)], LockMode::Exclusive, now).await.unwrap_err();
        assert!(matches!(refused, KvError::LockNotAvailable { .. }), "{held}: {refused}");
    }
    // Of a request that fails, some may have been locked.
    let some = txn.lock(&[key("d"), key("z")], LockMode::Exclusive, now).await.unwrap_err();
    assert!(matches!(some, KvError::LockNotAvailable { .. }), "{some}");
    txn.release_since(inner).await.unwrap();
    waiter.lock(&[key("d")], LockMode::Exclusive, now).await.unwrap();
    waiter.rollback().await;
    // Taken again after the return, and given back by the next one.
    txn.lock(&[key("z")], LockMode::Exclusive, WAIT).await.unwrap();
    txn.rollback_to(outer).unwrap();
    txn.release_since(outer).await.unwrap();
    assert_eq!(cluster.nodes[&1].evaluator.locked_keys(), 0);
    add(&txn, "a", 1).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(get(&kv, "a").await.as_deref(), Some("2"));
}

/// Who holds a key from being removed and who changes the rest of its row both commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_only_held_may_get_new_versions() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    put(&kv, &[("parent", "1")]).await.unwrap();
    let child = begin(&kv).await;
    child.lock(&[key("parent")], LockMode::KeyShare, WAIT).await.unwrap();
    let later = begin(&kv).await;
    later.lock(&[key("parent")], LockMode::KeyShare, WAIT).await.unwrap();
    let other = begin(&kv).await;
    other.lock(&[key("parent")], LockMode::NoKeyExclusive, WAIT).await.unwrap();
    other.put(key("parent"), value("2")).unwrap();
    other.commit().await.unwrap();
    child.put(key("child"), value("of parent")).unwrap();
    child.commit().await.unwrap();
    // Taking a stronger lock shows the newest version, which is then the one that counts.
    let locked = later.lock(&[key("parent")], LockMode::NoKeyExclusive, WAIT).await.unwrap();
    assert!(matches!(&locked[0], LockedValue::Locked { value: Some(v), .. } if *v == value("2")));
    later.put(key("parent"), value("3")).unwrap();
    later.commit().await.unwrap();
    assert_eq!(get(&kv, "parent").await.as_deref(), Some("3"));
}

/// Far more than one log entry may hold: intents in parts, one decision.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_all_there_or_not_at_all() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    let txn = begin(&kv).await;
    let big = value(&"x".repeat(10_000));
    for i in 0..1000 {
        txn.put(key(&format!("big{i:04}")), big.clone()).unwrap();
    }
    txn.commit().await.unwrap();
    let reader = begin(&kv).await;
    let mut count = 0;
    let mut rest = Some(Span::prefix(key("big")));
    while let Some(span) = rest {
        let page = reader.scan(&span, ScanOptions::default()).await.unwrap();
        count += page.rows.len();
        rest = page.rest;
    }
    assert_eq!(count, 1000);
    let too_large = reader.put(key("huge"), vec![0u8; 4 << 20].into());
    assert!(matches!(too_large, Err(KvError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_takes_every_version_of_a_span_in_all_its_ranges_and_nothing_else() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    put(&kv, &[("a", "1"), ("k", "1"), ("l", "1"), ("n", "1"), ("z", "1")]).await.unwrap();
    put(&kv, &[("k", "2")]).await.unwrap();
    let before = begin(&kv).await;
    kv.split_at(&key("m")).await.unwrap();
    kv.erase(&Span::new(key("k"), key("o"))).await.unwrap();
    kv.erase(&Span::new(key("k"), key("o"))).await.unwrap();
    for reader in [before, begin(&kv).await] {
        for (name, there) in [("a", true), ("k", false), ("l", false), ("n", false), ("z", true)] {
            let value = reader.get(&key(name), ReadAt::Snapshot).await.unwrap();
            assert_eq!(value.is_some(), there, "{name}");
        }
    }
    put(&kv, &[("k", "3")]).await.unwrap();
    let value = begin(&kv).await.get(&key("k"), ReadAt::Snapshot).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"3"[..]));
}

/// The disk is looked at now and then, so both changes are waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_disk_refuses_rows_until_there_is_room() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    put(&kv, &[("a", "1"), ("z", "1")]).await.unwrap();
    kv.split_at(&key("m")).await.unwrap();
    cluster.engines[&1].set_nearly_full(true);
    // In one range, and in two.
    for rows in [&[("b", "1")][..], &[("b", "1"), ("y", "1")]] {
        let refused = async {
            loop {
                if let Err(error) = put(&kv, rows).await {
                    return error;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let refused = tokio::time::timeout(Duration::from_secs(10), refused).await;
        let refused = refused.expect("refused before long");
        assert_eq!(refused.sqlstate(), "53100", "{refused}");
    }
    assert_eq!(get(&kv, "a").await, Some("1".into()));
    assert_eq!(get(&kv, "y").await, None);
    let deleting = begin(&kv).await;
    for name in ["a", "z"] {
        deleting.lock(&[key(name)], LockMode::Exclusive, WAIT).await.unwrap();
        deleting.delete(key(name)).unwrap();
    }
    deleting.commit().await.unwrap();
    assert_eq!(get(&kv, "a").await, None);
    kv.erase(&Span::prefix(key("a"))).await.unwrap();
    cluster.engines[&1].set_nearly_full(false);
    let taken = async {
        while let Err(error) = put(&kv, &[("b", "2"), ("y", "2")]).await {
            assert_eq!(error.sqlstate(), "53100", "{error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), taken).await.expect("taken again before long");
    assert_eq!(get(&kv, "y").await, Some("2".into()));
}

/// What a coordinator that dies between its steps leaves behind.
struct Abandoned {
    txn: core_domain::TxnId,
    primary: Key,
    secondary: Key,
}

async fn execute(cluster: &Cluster, key: &Key, request: RangeRequest) -> RangeResponse {
    let node = &cluster.nodes[&1];
    let group: Arc<dyn Group> = node.store.group_at(key).expect("a range");
    node.evaluator.execute(&group, request).await.unwrap()
}

async fn prewritten(cluster: &Cluster) -> Abandoned {
    let kv = cluster.kv(1);
    put(&kv, &[("a", "old"), ("z", "old")]).await.unwrap();
    kv.split_at(&key("m")).await.unwrap();
    let txn = core_domain::TxnId(kv.now().await.unwrap().0);
    let abandoned = Abandoned { txn, primary: key("a"), secondary: key("z") };
    for key in [&abandoned.primary, &abandoned.secondary] {
        let write = Write { key: key.clone(), value: Some(value("new")), seen: None };
        let primary = abandoned.primary.clone();
        let locked: Vec<LockedKey> = Vec::new();
        let request = RangeRequest::Prewrite { txn, primary, writes: vec![write], locked };
        let answer = execute(cluster, key, request).await;
        assert!(matches!(answer, RangeResponse::Prewritten { .. }));
    }
    abandoned
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_finishes_what_a_dead_coordinator_had_decided() {
    let cluster = Cluster::start(&[1]).await;
    let abandoned = prewritten(&cluster).await;
    let kv = cluster.kv(1);
    let commit = kv.now().await.unwrap();
    let request = RangeRequest::CommitPrimary {
        txn: abandoned.txn,
        primary: abandoned.primary.clone(),
        commit,
        keys: vec![],
    };
    execute(&cluster, &abandoned.primary, request).await;
    assert_eq!(get(&kv, "z").await, Some("new".into()));
    assert_eq!(get(&kv, "a").await, Some("new".into()));
    assert_eq!(kv.txn_status(abandoned.txn).await.unwrap(), TxnStatus::Committed(commit));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecided_transaction_of_a_dead_coordinator_is_rolled_back_and_stays_so() {
    let cluster = Cluster::start(&[1]).await;
    let abandoned = prewritten(&cluster).await;
    let kv = cluster.kv(1);
    let started = Instant::now();
    assert_eq!(get(&kv, "z").await, Some("old".into()));
    assert!(started.elapsed() > Duration::from_secs(3), "not before its heartbeat lapsed");
    assert_eq!(get(&kv, "a").await, Some("old".into()));
    assert_eq!(kv.txn_status(abandoned.txn).await.unwrap(), TxnStatus::RolledBack);
    // Its prewrite, delayed in the network, arrives now: refused by the marker.
    let node = &cluster.nodes[&1];
    for key in [abandoned.primary.clone(), abandoned.secondary.clone()] {
        let group: Arc<dyn Group> = node.store.group_at(&key).expect("a range");
        let request = RangeRequest::Prewrite {
            txn: abandoned.txn,
            primary: abandoned.primary.clone(),
            writes: vec![Write { key, value: Some(value("ghost")), seen: None }],
            locked: vec![],
        };
        let refused = node.evaluator.execute(&group, request).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    put(&kv, &[("a", "next"), ("z", "next")]).await.unwrap();
}

/// What is unlocked is another's at once; what was written stays locked.
#[tokio::test(flavor = "multi_thread")]
async fn single_keys_are_unlocked_and_written_ones_are_not() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    kv.split_at(&key("m")).await.unwrap();
    let txn = begin(&kv).await;
    let keys = [key("a"), key("b"), key("z")];
    txn.lock(&keys, LockMode::Exclusive, WAIT).await.unwrap();
    txn.put(key("b"), value("1")).unwrap();
    let waiter = begin(&kv).await;
    let waiting = {
        let waiter = waiter.clone();
        tokio::spawn(async move { waiter.lock(&[key("z")], LockMode::Share, WAIT).await })
    };
    txn.unlock(&[key("z"), key("b"), key("a"), key("never")]).await.unwrap();
    waiting.await.unwrap().unwrap();
    waiter.lock(&[key("a")], LockMode::Exclusive, WaitPolicy::NoWait).await.unwrap();
    let refused = waiter.lock(&[key("b")], LockMode::Share, WaitPolicy::NoWait).await.unwrap_err();
    assert!(matches!(refused, KvError::LockNotAvailable { .. }), "{refused}");
    txn.commit().await.unwrap();
    waiter.commit().await.unwrap();
    assert_eq!(cluster.nodes[&1].evaluator.locked_keys(), 0);
}
