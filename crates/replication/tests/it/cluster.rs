//! Several nodes: elections, catching up, membership, splits.

use crate::support::{
    Cluster, RANGE, address, contents, engine_key, eventually, get, nodes, put, tuning,
};
use core_domain::{Generation, Key, NodeId, RangeId, Span};
use replication::{Applied, Command, EngineOp, Leadership, ReplicationError, Tuning};
use std::time::Duration;
use storage::Cf;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_outlives_its_leader_and_the_old_one_catches_up_by_snapshot() {
    let tuning = Tuning { log_entries_max: 40, ..tuning() };
    let mut cluster = Cluster::start(&[1, 2, 3], &[1, 2, 3], tuning).await;
    for n in 0..20 {
        cluster.put(RANGE, &format!("early/{n}"), "v").await;
    }
    let (first, _) = cluster.leader(RANGE).await;
    cluster.kill(first, 7).await;
    for n in 0..200 {
        cluster.put(RANGE, &format!("late/{n}"), "v").await;
    }
    let (second, leader) = cluster.leader(RANGE).await;
    assert_ne!(first, second);
    eventually("purged logs", || cluster.engines[&second].get_entry(RANGE, 20).is_none()).await;
    cluster.restart(first).await;
    let expected = contents(&*cluster.engines[&second]);
    assert_eq!(expected.len(), 220);
    eventually("the old leader catches up", || contents(&*cluster.engines[&first]) == expected)
        .await;
    put(&leader, "last", "v").await.unwrap();
    eventually("it follows the log again", || get(&*cluster.engines[&first], "last").is_some())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_becomes_three_and_survives_the_loss_of_the_first() {
    let mut cluster = Cluster::start(&[1, 2, 3], &[1], tuning()).await;
    for n in 0..50 {
        cluster.put(RANGE, &format!("{n}"), "v").await;
    }
    let live = nodes(&[1, 2, 3]);
    cluster.stores[&1].reconcile(&live).await;
    let (_, leader) = cluster.leader(RANGE).await;
    let descriptor = leader.descriptor();
    assert_eq!(descriptor.voters().count(), 3, "{descriptor:?}");
    assert!(descriptor.generation > Generation(1));
    cluster.kill(1, 3).await;
    cluster.put(RANGE, "after", "v").await;
    let (survivor, _) = cluster.leader(RANGE).await;
    assert_eq!(contents(&*cluster.engines[&survivor]).len(), 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_is_replaced_and_its_replica_goes_when_it_comes_back() {
    let mut cluster = Cluster::start(&[1, 2, 3, 4], &[1, 2, 3], tuning()).await;
    cluster.put(RANGE, "k", "v").await;
    let (leader, _) = cluster.leader(RANGE).await;
    let lost = if leader == 3 { 2 } else { 3 };
    let left = (1..=4).filter(|id| *id != lost).collect::<Vec<_>>();
    cluster.kill(lost, 1).await;
    cluster.stores[&leader].reconcile(&nodes(&left)).await;
    let (_, replica) = cluster.leader(RANGE).await;
    let holders = replica.descriptor().voters().map(|place| place.node.0).collect::<Vec<_>>();
    assert!(holders.contains(&4) && !holders.contains(&lost), "{holders:?}");
    cluster.restart(lost).await;
    cluster.stores[&leader].reconcile(&nodes(&[1, 2, 3, 4])).await;
    eventually("the old replica is removed", || cluster.stores[&lost].group(RANGE).is_none()).await;
    assert!(contents(&*cluster.engines[&lost]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_stops_serving_before_another_starts() {
    let cluster = Cluster::start(&[1, 2, 3], &[1, 2, 3], tuning()).await;
    let (old, replica) = cluster.leader(RANGE).await;
    cluster.net.cut_off(&address(old));
    let others = cluster.stores.iter().filter(|(id, _)| **id != old).collect::<Vec<_>>();
    eventually("another leader", || {
        let served_before = matches!(replica.leadership(), Leadership::Serving { .. });
        let elected = others
            .iter()
            .any(|(_, store)| store.group(RANGE).unwrap().leadership() != Leadership::Follower);
        assert!(
            !(served_before
                && elected
                && matches!(replica.leadership(), Leadership::Serving { .. }))
        );
        elected
    })
    .await;
    let error = replica.confirm_leadership().await.unwrap_err();
    assert!(
        matches!(error, ReplicationError::NoQuorum { .. } | ReplicationError::NotLeader { .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_where_it_is_sent_and_callers_are_told_where() {
    let cluster = Cluster::start(&[1, 2, 3], &[1, 2, 3], tuning()).await;
    cluster.put(RANGE, "k", "v").await;
    let (old, replica) = cluster.leader(RANGE).await;
    let target = if old == 1 { 2 } else { 1 };
    replica.transfer_to(NodeId(target)).await.unwrap();
    let (new, _) = cluster.leader(RANGE).await;
    assert_eq!(new, target);
    eventually("the old leader knows", || replica.leadership() == Leadership::Follower).await;
    match put(&replica, "x", "v").await {
        Err(ReplicationError::NotLeader { leader: Some(place), .. }) => {
            assert_eq!((place.node, place.address), (NodeId(target), address(target)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_range_serves_both_halves_and_refuses_commands_from_before() {
    let mut cluster = Cluster::start(&[1, 2, 3], &[1, 2, 3], tuning()).await;
    for key in ["a", "z"] {
        cluster.put(RANGE, key, "v").await;
    }
    let (_, leader) = cluster.leader(RANGE).await;
    let before = leader.descriptor().generation;
    let right = RangeId(2);
    assert_eq!(leader.split(Key::from(&b"m"[..]), right).await, Ok(Applied::Ok));
    let op = EngineOp::put(Cf::Data, engine_key("y"), &b"stale"[..]);
    let stale = leader.propose(&Command::write(RANGE, before, 0, vec![op])).await;
    let current = leader.descriptor().generation;
    assert_eq!(stale, Ok(Applied::StaleGeneration { current }));
    cluster.put(right, "x", "v").await;
    cluster.put(RANGE, "b", "v").await;
    let (_, right_leader) = cluster.leader(right).await;
    let spans = (leader.descriptor().span.clone(), right_leader.descriptor().span.clone());
    let at = Key::from(&b"m"[..]);
    assert_eq!(spans, (Span::new(Key::MIN, at.clone()), Span::new(at, Key::MIN)));
    for id in [1, 2, 3] {
        cluster.kill(id, id).await;
    }
    for id in [1, 2, 3] {
        cluster.restart(id).await;
    }
    cluster.put(RANGE, "c", "v").await;
    cluster.put(right, "w", "v").await;
    let (id, _) = cluster.leader(right).await;
    let keys = ["a", "b", "x", "z"].map(|key| get(&*cluster.engines[&id], key).is_some());
    assert_eq!(keys, [true; 4]);
    assert_eq!(get(&*cluster.engines[&id], "y"), None);
}

/// The left half's log no longer has the split: its snapshot does not bring the right half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_missed_a_split_gets_the_right_half_after_the_log_was_purged() {
    let tuning = Tuning { log_entries_max: 40, ..tuning() };
    let mut cluster = Cluster::start(&[1, 2, 3], &[1, 2, 3], tuning).await;
    for key in ["a", "z"] {
        cluster.put(RANGE, key, "v").await;
    }
    let (id, leader) = cluster.leader(RANGE).await;
    let away = if id == 3 { 2 } else { 3 };
    cluster.kill(away, 7).await;
    let right = RangeId(2);
    assert_eq!(leader.split(Key::from(&b"m"[..]), right).await, Ok(Applied::Ok));
    let split_at = leader.applied_index();
    for n in 0..200 {
        cluster.put(RANGE, &format!("b/{n}"), "v").await;
    }
    cluster.put(right, "y", "v").await;
    eventually("purged logs", || cluster.engines[&id].get_entry(RANGE, split_at).is_none()).await;
    cluster.restart(away).await;
    let live = nodes(&[1, 2, 3]);
    let started = std::time::Instant::now();
    while contents(&*cluster.engines[&away]).len() < 203 {
        assert!(started.elapsed() < Duration::from_secs(20), "the right half does not come");
        for store in cluster.stores.values() {
            store.reconcile(&live).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It counts: with another one gone, it is half of the quorum.
    let gone = (1..=3).find(|other| ![id, away].contains(other)).unwrap();
    cluster.kill(gone, 8).await;
    cluster.put(right, "x", "v").await;
    cluster.put(RANGE, "c", "v").await;
    let (right_leader, _) = cluster.leader(right).await;
    assert!(get(&*cluster.engines[&right_leader], "x").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_range_answers_after_its_lease_lapsed() {
    let cluster = Cluster::start(&[1, 2, 3], &[1, 2, 3], tuning()).await;
    let (_, leader) = cluster.leader(RANGE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    leader.confirm_leadership().await.unwrap();
    put(&leader, "k", "v").await.unwrap();
}

trait LogEntries {
    fn get_entry(&self, range: RangeId, index: u64) -> Option<bytes::Bytes>;
}

impl LogEntries for storage::CrashEngine {
    /// The entry's key: range, 'l', index (log/format.rs).
    fn get_entry(&self, range: RangeId, index: u64) -> Option<bytes::Bytes> {
        use storage::EngineReader;
        let key = [&range.0.to_be_bytes()[..], b"l", &index.to_be_bytes()[..]].concat();
        self.get(Cf::Raft, &key).unwrap()
    }
}
