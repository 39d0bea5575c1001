//! Crashes and lost nodes, as clients of transactions see them.

use crate::support::*;
use core_domain::{KvError, KvStore, LockMode, WaitPolicy};
use replication::SYSTEM_RANGE;
use std::time::{Duration, Instant};

/// Everything acknowledged is there after a crash that lost unsynced bytes.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commits_survive_crashes() {
    let mut cluster = Cluster::start(&[1]).await;
    let mut expected = 0;
    for seed in 0..5 {
        let kv = cluster.kv(1);
        for _ in 0..20 {
            let txn = begin(&kv).await;
            add(&txn, "counter", 1).await.unwrap();
            txn.commit().await.unwrap();
            expected += 1;
        }
        let open = begin(&kv).await;
        add(&open, "counter", 1000).await.unwrap();
        let before = kv.now().await.unwrap();
        drop(kv);
        cluster.kill(1, seed).await;
        cluster.restart(1).await;
        let kv = cluster.kv(1);
        assert!(kv.now().await.unwrap() > before, "the oracle never goes back");
        assert_eq!(get(&kv, "counter").await, Some(expected.to_string()));
    }
}

/// A client of a node that leads nothing, then the death of each node in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_node_serves_and_writes_go_on_after_one_is_lost() {
    let mut cluster = Cluster::start(&[1, 2, 3]).await;
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        put(&cluster.kv(id), &[(name, "1")]).await.unwrap();
    }
    for id in [1, 2, 3] {
        for name in ["a", "b", "c"] {
            assert_eq!(get(&cluster.kv(id), name).await, Some("1".into()));
        }
    }
    cluster.kv(2).split_at(&key("b")).await.unwrap();
    put(&cluster.kv(3), &[("a", "2"), ("b", "2"), ("c", "2")]).await.unwrap();
    for dead in [1, 2, 3] {
        cluster.kill(dead, dead).await;
        let other = if dead == 1 { 2 } else { 1 };
        let started = Instant::now();
        let name = format!("after{dead}");
        loop {
            match put(&cluster.kv(other), &[("a", &name), ("c", &name)]).await {
                Ok(()) => break,
                Err(KvError::Unavailable { .. } | KvError::OutcomeUnknown { .. })
                    if started.elapsed() < Duration::from_secs(8) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let resumed = started.elapsed();
        assert!(resumed < Duration::from_secs(5), "writes resumed after {resumed:?}");
        assert_eq!(get(&cluster.kv(other), "a").await, Some(name.clone()));
        assert_eq!(get(&cluster.kv(other), "b").await, Some("2".into()));
        cluster.restart(dead).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(get(&cluster.kv(dead), "c").await, Some(name));
    }
}

/// Without a majority the answer is quick, and names what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_minority_refuses_quickly() {
    let mut cluster = Cluster::start(&[1, 2, 3]).await;
    put(&cluster.kv(1), &[("a", "1")]).await.unwrap();
    cluster.kill(2, 0).await;
    cluster.kill(3, 0).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    let started = Instant::now();
    let refused = put(&cluster.kv(1), &[("a", "2")]).await.unwrap_err();
    let KvError::Unavailable { reason, .. } = &refused else { panic!("{refused}") };
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert!(reason.contains("n2") && reason.contains("n3"), "{reason}");
}

/// The locks of a node that died are free after a few seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn locks_of_a_dead_node_expire() {
    let cluster = Cluster::start(&[1, 2, 3]).await;
    put(&cluster.kv(1), &[("a", "1")]).await.unwrap();
    let leader = *cluster
        .nodes
        .iter()
        .find(|(_, node)| {
            node.store
                .group(DATA_RANGE)
                .is_some_and(|replica| replica.leadership() != replication::Leadership::Follower)
        })
        .expect("somebody leads")
        .0;
    let follower = *cluster.ids.iter().find(|id| **id != leader).unwrap();
    let doomed = begin(&cluster.kv(follower)).await;
    doomed.lock(&[key("a")], LockMode::Exclusive, WAIT).await.unwrap();
    let stalled = begin(&cluster.kv(leader)).await;
    let waiting = tokio::spawn(async move { add(&stalled, "a", 1).await });
    cluster.net_cut(follower);
    let granted = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert_eq!(granted.expect("not for ever").unwrap().unwrap(), 2);
}

/// An advisory lock is all there is to it, so a change of leader must not lose it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn advisory_locks_outlive_their_leader_or_their_holder_hears_of_it() {
    let cluster = Cluster::start(&[1, 2, 3]).await;
    put(&cluster.kv(1), &[("a", "1")]).await.unwrap();
    let lock = core_domain::Key::advisory(5, 0, 7);
    let leader = cluster.leader_of(SYSTEM_RANGE).await;
    let others: Vec<u64> = cluster.ids.iter().copied().filter(|id| *id != leader).collect();
    let holder = begin(&cluster.kv(others[0])).await;
    holder.lock(std::slice::from_ref(&lock), LockMode::Exclusive, WAIT).await.unwrap();
    let doomed = begin(&cluster.kv(leader)).await;
    let other = core_domain::Key::advisory(5, 0, 8);
    doomed.lock(std::slice::from_ref(&other), LockMode::Exclusive, WAIT).await.unwrap();
    cluster.net_cut(leader);

    // One of them is beside the new leader, the other one asks from afar.
    let rivals = [begin(&cluster.kv(others[0])).await, begin(&cluster.kv(others[1])).await];
    let started = Instant::now();
    for refused in
        futures::future::join_all(rivals.iter().map(|rival| {
            rival.lock(std::slice::from_ref(&lock), LockMode::Share, WaitPolicy::NoWait)
        }))
        .await
    {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, KvError::LockNotAvailable { .. }), "{refused}");
    }
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    let [_, rival] = rivals;
    holder.unlock(&[]).await.expect("its lock was taken over");
    // The one that is cut off gave up before anybody else could have its lock.
    let taken = rival.lock(&[other], LockMode::Exclusive, WaitPolicy::NoWait).await;
    taken.expect("the holder is gone");
    assert!(matches!(doomed.unlock(&[]).await, Err(KvError::Aborted { .. })));

    holder.unlock(std::slice::from_ref(&lock)).await.unwrap();
    rival.lock(&[lock], LockMode::Share, WaitPolicy::NoWait).await.unwrap();
}

/// Two ranges led by two nodes: neither lock table sees the circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deadlock_through_two_nodes_is_broken_also_after_the_detector_moved() {
    let cluster = Cluster::start(&[1, 2, 3]).await;
    put(&cluster.kv(1), &[("a", "1"), ("z", "1")]).await.unwrap();
    cluster.kv(1).split_at(&key("m")).await.unwrap();
    put(&cluster.kv(1), &[("a", "2"), ("z", "2")]).await.unwrap();
    let right = cluster.range_of("z");
    cluster.transfer(DATA_RANGE, 1).await;
    cluster.transfer(right, 2).await;
    for detector in [3, 1] {
        cluster.transfer(SYSTEM_RANGE, detector).await;
        let (older, younger) = (begin(&cluster.kv(1)).await, begin(&cluster.kv(2)).await);
        let younger_id = younger.id();
        older.lock(&[key("a")], LockMode::Exclusive, WAIT).await.unwrap();
        younger.lock(&[key("z")], LockMode::Exclusive, WAIT).await.unwrap();
        let started = Instant::now();
        let waiting = {
            let older = older.clone();
            tokio::spawn(async move { older.lock(&[key("z")], LockMode::Exclusive, WAIT).await })
        };
        let wanted = [key("a")];
        let closing = younger.lock(&wanted, LockMode::Exclusive, WAIT);
        let closing = tokio::time::timeout(Duration::from_secs(5), closing).await;
        let error = closing.expect("found").expect_err("the younger one gives way");
        let KvError::Deadlock { waiter, holder, .. } = error else { panic!("{error}") };
        assert_eq!((waiter, holder), (younger_id, older.id()));
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        younger.rollback().await;
        waiting.await.unwrap().expect("the other one goes on");
        older.rollback().await;
    }
}

/// A queue is no circle, however long it lasts and however often its members change.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn waiters_in_no_circle_are_left_alone() {
    let cluster = Cluster::start(&[1, 2, 3]).await;
    put(&cluster.kv(1), &[("a", "0"), ("z", "0")]).await.unwrap();
    cluster.kv(1).split_at(&key("m")).await.unwrap();
    let right = cluster.range_of("z");
    cluster.transfer(DATA_RANGE, 1).await;
    cluster.transfer(right, 2).await;
    let mut tasks = Vec::new();
    for id in [1, 2, 3] {
        for _ in 0..3 {
            let kv = cluster.kv(id);
            tasks.push(tokio::spawn(async move {
                for _ in 0..4 {
                    let txn = begin(&kv).await;
                    add(&txn, "a", 1).await.expect("no deadlock");
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    add(&txn, "z", 1).await.expect("no deadlock");
                    txn.commit().await.unwrap();
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(get(&cluster.kv(1), "a").await, Some("36".into()));
}
