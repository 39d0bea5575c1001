//! Commits over several ranges in one round, and what becomes of them when their coordinator dies
//! at each step.

use crate::support::*;
use core_domain::{KvStore, Timestamp, TxnId, TxnStatus};
use replication::evaluate::{AsyncPrewrite, RangeRequest, RangeResponse, Write};
use std::time::Duration;

/// The prewrite of one of a transaction's two keys.
fn prewrite(txn: TxnId, floor: Timestamp, keys: [&str; 2], at: usize) -> RangeRequest {
    let write = Write { key: key(keys[at]), value: Some(value("new")), seen: None };
    RangeRequest::PrewriteAsync(Box::new(AsyncPrewrite {
        txn,
        primary: key(keys[0]),
        floor,
        writes: vec![write],
        locked: Vec::new(),
        secondaries: if at == 0 { vec![key(keys[1])] } else { Vec::new() },
    }))
}

async fn nothing_is_left_behind(cluster: &Cluster) {
    let quiet = async {
        while cluster.nodes[&1].evaluator.locked_keys() + cluster.kv(1).active_transactions() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), quiet).await.expect("nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_over_ranges_is_there_when_it_is_acknowledged() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    kv.split_at(&key("m")).await.unwrap();
    for round in 0..50 {
        let txn = begin(&kv).await;
        for name in ["a", "b", "y", "z"] {
            assert_eq!(add(&txn, name, 1).await.unwrap(), round + 1);
        }
        let at = txn.commit().await.unwrap().timestamp;
        assert_eq!(kv.txn_status(txn.id()).await.unwrap(), TxnStatus::Committed(at));
        let reader = begin(&kv).await;
        for name in ["z", "a"] {
            let found = reader.get(&key(name), core_domain::ReadAt::Snapshot).await.unwrap();
            assert_eq!(number(&found), round + 1);
        }
    }
    nothing_is_left_behind(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_finish_what_a_dead_coordinator_began() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    kv.split_at(&key("m")).await.unwrap();
    // Died after both prewrites, after the primary's, after the other one.
    let cases = [
        (["a1", "z1"], &[0, 1][..], "new"),
        (["a2", "z2"], &[0][..], "old"),
        (["a3", "z3"], &[1][..], "old"),
    ];
    let mut left = Vec::new();
    for (keys, prewritten, outcome) in cases {
        put(&kv, &keys.map(|name| (name, "old"))).await.unwrap();
        nothing_is_left_behind(&cluster).await;
        let txn = TxnId(kv.now().await.unwrap().0);
        let floor = kv.now().await.unwrap();
        let mut commit = floor;
        for at in prewritten {
            match execute(&cluster, &key(keys[*at]), prewrite(txn, floor, keys, *at)).await {
                Ok(RangeResponse::Prewritten { min_commit }) => commit = commit.max(min_commit),
                other => panic!("not prewritten: {other:?}"),
            }
        }
        left.push((keys, txn, floor, commit, outcome));
    }
    for (keys, txn, floor, commit, outcome) in left {
        // The secondary is met first, then the primary.
        for name in [keys[1], keys[0]] {
            assert_eq!(get(&kv, name).await, Some(outcome.into()), "{name}");
        }
        let expected = match outcome {
            "new" => TxnStatus::Committed(commit),
            _ => TxnStatus::RolledBack,
        };
        assert_eq!(kv.txn_status(txn).await.unwrap(), expected);
        // Its prewrites, delayed in the network, change nothing any more.
        for at in [0, 1] {
            let late = execute(&cluster, &key(keys[at]), prewrite(txn, floor, keys, at)).await;
            assert_eq!(late.is_ok(), outcome == "new", "{late:?}");
        }
        for name in keys {
            assert_eq!(get(&kv, name).await, Some(outcome.into()), "{name}");
        }
    }
}
