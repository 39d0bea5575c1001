//! Ranges split and leaders move under load.
//!
//! ```text
//! tellers    move money between two accounts and write a line of history, in one or two ranges
//! auditor    adds everything up in one snapshot, all the time
//! splitter   cuts ranges at random keys           mover   sends leaders to random nodes
//! afterwards the totals hold, every line is there that was acknowledged, all nodes agree on the
//! ranges; and the same after a restart
//! ```

use crate::support::*;
use core_domain::{
    IsolationLevel, Key, KvError, KvResult, KvStore, LockMode, NodeId, RangeId, ReadAt,
    ScanOptions, Span, TxnOptions,
};
use query::{SendTuning, TxnCoordinator};
use replication::Leadership;
use replication::evaluate::TXN_EXPIRY;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ACCOUNTS: u64 = 40;
const TELLERS: u64 = 6;
const BALANCE: i64 = 100;

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn account(number: u64) -> String {
    format!("acc{number:03}")
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    committed: AtomicU64,
    conflicts: AtomicU64,
    audits: AtomicU64,
}

impl Tally {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

async fn open_accounts(kv: &TxnCoordinator) {
    for number in 0..ACCOUNTS {
        put(kv, &[(&account(number), &BALANCE.to_string())]).await.unwrap();
    }
}

/// Locks in key order: no deadlocks.
async fn transfer(kv: &TxnCoordinator, dice: &mut Dice, line: &str) -> KvResult<()> {
    let (from, to) = (dice.below(ACCOUNTS), dice.below(ACCOUNTS));
    let amount = dice.below(5) as i64;
    let txn = kv.begin(Default::default()).await?;
    txn.begin_statement().await?;
    let moved = async {
        let (low, high) = if from <= to { (-amount, amount) } else { (amount, -amount) };
        add(&txn, &account(from.min(to)), low).await?;
        if from != to {
            add(&txn, &account(from.max(to)), high).await?;
        } else {
            add(&txn, &account(to), -low).await?;
        }
        txn.put(key(line), value("1"))?;
        txn.commit().await.map(|_| ())
    };
    let moved = moved.await;
    if moved.is_err() {
        txn.rollback().await;
    }
    moved
}

async fn teller(
    kv: Arc<TxnCoordinator>,
    number: u64,
    tally: Arc<Tally>,
    may_conflict: bool,
) -> u64 {
    let mut dice = Dice(77 + number);
    let mut lines = 0;
    while !tally.stopped() {
        match transfer(&kv, &mut dice, &format!("hist{number:02}/{lines:06}")).await {
            Ok(()) => {
                lines += 1;
                tally.committed.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if may_conflict && error.is_retryable() => {
                tally.conflicts.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("teller {number}: {error}"),
        }
    }
    lines
}

async fn rows(kv: &TxnCoordinator, prefix: &str) -> KvResult<Vec<(Key, i64)>> {
    let txn = kv.begin(Default::default()).await?;
    txn.begin_statement().await?;
    let mut found = Vec::new();
    let mut rest = Some(Span::prefix(key(prefix)));
    while let Some(span) = rest {
        let options = ScanOptions { rows_max: 17, ..ScanOptions::default() };
        let page = txn.scan(&span, options).await?;
        found.extend(page.rows.into_iter().map(|(key, value)| (key, number(&Some(value)))));
        rest = page.rest;
    }
    Ok(found)
}

async fn audit(kv: &TxnCoordinator) {
    let accounts = rows(kv, "acc").await.unwrap();
    assert_eq!(accounts.len() as u64, ACCOUNTS);
    let total: i64 = accounts.iter().map(|(_, balance)| balance).sum();
    assert_eq!(total, BALANCE * ACCOUNTS as i64);
}

async fn auditor(kv: Arc<TxnCoordinator>, tally: Arc<Tally>) {
    while !tally.stopped() {
        audit(&kv).await;
        tally.audits.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keys between and within accounts and lines.
fn cut(dice: &mut Dice) -> Key {
    match dice.below(3) {
        0 => key(&format!("hist{:02}/{:06}", dice.below(TELLERS), dice.below(500))),
        1 => key(&format!("{}x", account(dice.below(ACCOUNTS)))),
        _ => key(&account(dice.below(ACCOUNTS))),
    }
}

struct Load {
    tally: Arc<Tally>,
    tellers: Vec<tokio::task::JoinHandle<u64>>,
    auditor: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(cluster: &Cluster, may_conflict: bool) -> Self {
        let tally = Arc::new(Tally::default());
        let node = |number: u64| cluster.kv(cluster.ids[number as usize % cluster.ids.len()]);
        let tellers = (0..TELLERS)
            .map(|number| tokio::spawn(teller(node(number), number, tally.clone(), may_conflict)));
        Self {
            tellers: tellers.collect(),
            auditor: tokio::spawn(auditor(node(0), tally.clone())),
            tally,
        }
    }

    /// Lines of history per teller.
    async fn stop(self) -> Vec<u64> {
        self.tally.stop.store(true, Ordering::Relaxed);
        let mut lines = Vec::new();
        for teller in self.tellers {
            lines.push(teller.await.unwrap());
        }
        self.auditor.await.unwrap();
        assert!(self.tally.audits.load(Ordering::Relaxed) > 3);
        eprintln!(
            "{:?} committed, {:?} conflicts, {:?} audits",
            self.tally.committed, self.tally.conflicts, self.tally.audits
        );
        lines
    }
}

/// What a node holds, by where it starts.
fn ranges(cluster: &Cluster, id: u64) -> BTreeMap<Key, (RangeId, Key, u64)> {
    let held = cluster.nodes[&id].store.descriptors().into_iter();
    held.map(|d| (d.span.start.clone(), (d.range, d.span.end.clone(), d.generation.0))).collect()
}

async fn check(cluster: &Cluster, lines: &[u64]) {
    for id in &cluster.ids {
        let kv = cluster.kv(*id);
        audit(&kv).await;
        for (teller, lines) in lines.iter().enumerate() {
            let found = rows(&kv, &format!("hist{teller:02}/")).await.unwrap();
            assert_eq!(found.len() as u64, *lines, "lines of teller {teller} on node {id}");
        }
    }
    let agree = || {
        let first = ranges(cluster, cluster.ids[0]);
        cluster.ids.iter().all(|id| ranges(cluster, *id) == first)
    };
    let started = Instant::now();
    while !agree() {
        assert!(started.elapsed() < Duration::from_secs(5), "the nodes disagree on the ranges");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut next = Key::MIN;
    for (start, (range, end, _)) in ranges(cluster, cluster.ids[0]) {
        assert_eq!(start, next, "{range} begins where the one before it ends");
        next = end;
    }
    assert_eq!(next, Key::MIN, "to the end of the keyspace");
}

async fn restart(cluster: &mut Cluster) {
    for id in cluster.ids.clone() {
        cluster.kill(id, id).await;
    }
    for id in cluster.ids.clone() {
        cluster.restart(id).await;
    }
}

/// Nobody notices a split.
async fn split_under_load(ids: &[u64]) {
    let mut cluster = Cluster::start(ids).await;
    open_accounts(&cluster.kv(1)).await;
    let load = Load::start(&cluster, false);
    let mut dice = Dice(5);
    for round in 0..20 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let kv = cluster.kv(ids[round % ids.len()]);
        kv.split_at(&cut(&mut dice)).await.unwrap();
    }
    let lines = load.stop().await;
    check(&cluster, &lines).await;
    assert!(ranges(&cluster, 1).len() > 10);
    restart(&mut cluster).await;
    check(&cluster, &lines).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_transaction_fails_because_of_a_split_on_one_node() {
    split_under_load(&[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_transaction_fails_because_of_a_split_on_three_nodes() {
    split_under_load(&[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn totals_hold_while_ranges_split_and_leaders_move() {
    let mut cluster = Cluster::start(&[1, 2, 3]).await;
    open_accounts(&cluster.kv(1)).await;
    let load = Load::start(&cluster, true);
    let mut dice = Dice(9);
    let mut moved = 0;
    for round in 0..25 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if round % 3 == 0 {
            let kv = cluster.kv(1 + round % 3);
            kv.split_at(&cut(&mut dice)).await.unwrap();
        }
        let ranges: Vec<RangeId> = ranges(&cluster, 1).into_values().map(|(id, ..)| id).collect();
        let range = ranges[dice.below(ranges.len() as u64) as usize];
        let node = NodeId(1 + dice.below(3));
        match cluster.kv(1 + dice.below(3)).transfer_leader(range, node).await {
            Ok(true) => moved += 1,
            other => eprintln!("{range} to {node}: {other:?}"),
        }
    }
    assert!(moved > 15, "{moved} leaders moved");
    let before = load.tally.committed.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(load.tally.committed.load(Ordering::Relaxed) > before, "work goes on");
    let lines = load.stop().await;
    check(&cluster, &lines).await;
    restart(&mut cluster).await;
    check(&cluster, &lines).await;
}

/// Locks of both halves, both kept; and who waits for one of them is woken.
#[tokio::test(flavor = "multi_thread")]
async fn locks_and_waiters_follow_their_keys_through_a_split() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    put(&kv, &[("a", "1"), ("z", "1")]).await.unwrap();
    let holder = begin(&kv).await;
    add(&holder, "a", 10).await.unwrap();
    add(&holder, "z", 10).await.unwrap();
    let wait_for = |name: &'static str| {
        let kv = kv.clone();
        tokio::spawn(async move {
            let waiter = begin(&kv).await;
            let seen = add(&waiter, name, 100).await?;
            waiter.commit().await?;
            Ok::<_, KvError>(seen)
        })
    };
    let before = [wait_for("a"), wait_for("z")];
    tokio::time::sleep(Duration::from_millis(50)).await;
    kv.split_at(&key("m")).await.unwrap();
    let after = [wait_for("a"), wait_for("z")];
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(before.iter().chain(&after).all(|waiter| !waiter.is_finished()));
    holder.commit().await.unwrap();
    let started = Instant::now();
    for waiter in before.into_iter().chain(after) {
        assert!([111, 211].contains(&waiter.await.unwrap().unwrap()));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(get(&kv, "a").await, Some("211".into()));
    assert_eq!(get(&kv, "z").await, Some("211".into()));
    assert_eq!(cluster.nodes[&1].evaluator.locked_keys(), 0);
}

/// Whoever has locks in both halves holds them, and frees them, where either half is led by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn locks_live_and_end_where_the_right_half_went() {
    let cluster = Cluster::start(&[1, 2, 3]).await;
    let kv = cluster.kv(1);
    put(&kv, &[("a", "1"), ("z", "1")]).await.unwrap();
    let holder = begin(&kv).await;
    holder.lock(&[key("a"), key("z")], LockMode::Exclusive, WAIT).await.unwrap();
    kv.split_at(&key("m")).await.unwrap();
    put(&kv, &[("y", "1")]).await.unwrap();
    let right = cluster.range_of("z");
    let old = cluster.leader_of(right).await;
    let new = if old == 1 { 2 } else { 1 };
    assert!(kv.transfer_leader(right, NodeId(new)).await.unwrap());
    let waiter = begin(&cluster.kv(3)).await;
    let waiting = tokio::spawn(async move {
        let seen = add(&waiter, "z", 1).await?;
        waiter.commit().await.map(|_| seen)
    });
    // Longer than those are given who are not heard of.
    tokio::time::sleep(TXN_EXPIRY + Duration::from_millis(1500)).await;
    assert!(!waiting.is_finished(), "the holder lives");
    let started = Instant::now();
    holder.rollback().await;
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// Doctors on call, in pairs: each may leave if the other one stays. With one of a pair in each of two
/// ranges, and both in one, as the splits go.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_was_read_changes_before_a_commit_while_ranges_split_and_leaders_move() {
    const PAIRS: u64 = 4;
    let cluster = Cluster::start(&[1, 2, 3]).await;
    let name = |pair: u64, side: u64| format!("{}call{pair}", ["b", "y"][side as usize]);
    for pair in 0..PAIRS {
        put(&cluster.kv(1), &[(&name(pair, 0), "1"), (&name(pair, 1), "1")]).await.unwrap();
    }
    let tally = Arc::new(Tally::default());
    let doctor = |seed: u64| {
        let (kv, tally) = (cluster.kv(1 + seed % 3), tally.clone());
        async move {
            let mut dice = Dice(31 + seed);
            while !tally.stopped() {
                let (pair, side) = (dice.below(PAIRS), dice.below(2));
                let turn = async {
                    let isolation = IsolationLevel::Serializable;
                    let txn = kv.begin(TxnOptions { isolation, ..TxnOptions::default() }).await?;
                    txn.begin_statement().await?;
                    let mut on_call = [0, 0];
                    for side in [0, 1] {
                        let found = txn.get(&key(&name(pair, side)), ReadAt::Snapshot).await?;
                        on_call[side as usize] = number(&found);
                    }
                    assert_ne!(on_call, [0, 0], "nobody of pair {pair} is on call");
                    let next = match on_call {
                        [1, 1] => "0",
                        _ => "1",
                    };
                    let own = key(&name(pair, side));
                    txn.lock(std::slice::from_ref(&own), LockMode::Exclusive, WAIT).await?;
                    txn.put(own, value(next))?;
                    txn.commit().await.map(|_| ())
                };
                match turn.await {
                    Ok(()) => tally.committed.fetch_add(1, Ordering::Relaxed),
                    Err(error) if error.is_retryable() => {
                        tally.conflicts.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(error) => panic!("doctor {seed}: {error}"),
                };
            }
        }
    };
    let doctors: Vec<_> = (0..6).map(|seed| tokio::spawn(doctor(seed))).collect();
    let mut dice = Dice(3);
    for round in 0..12 {
        tokio::time::sleep(Duration::from_millis(120)).await;
        if round % 2 == 0 {
            let at = name(dice.below(PAIRS), dice.below(2));
            cluster.kv(1 + round % 3).split_at(&key(&at)).await.unwrap();
        }
        let ranges: Vec<RangeId> = ranges(&cluster, 1).into_values().map(|(id, ..)| id).collect();
        let range = ranges[dice.below(ranges.len() as u64) as usize];
        let node = NodeId(1 + dice.below(3));
        if let Err(error) = cluster.kv(1).transfer_leader(range, node).await {
            eprintln!("{range} to {node}: {error}");
        }
    }
    tally.stop.store(true, Ordering::Relaxed);
    for doctor in doctors {
        doctor.await.unwrap();
    }
    eprintln!("{:?} committed, {:?} conflicts", tally.committed, tally.conflicts);
    assert!(tally.committed.load(Ordering::Relaxed) > 20);
    assert!(tally.conflicts.load(Ordering::Relaxed) > 0, "nobody met anybody");
}

fn leader_of(cluster: &Cluster, range: RangeId) -> Option<u64> {
    let leads = |id: &&u64| {
        let replica = cluster.nodes[*id].store.group(range);
        replica.is_some_and(|replica| replica.leadership() != Leadership::Follower)
    };
    cluster.ids.iter().find(leads).copied()
}

/// Whoever waits at the old leader asks the new one at once, not when the holder is taken for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn waiters_follow_a_leader_that_moves() {
    let cluster = Cluster::start(&[1, 2, 3]).await;
    let kv = cluster.kv(1);
    put(&kv, &[("a", "1")]).await.unwrap();
    let old = leader_of(&cluster, DATA_RANGE).unwrap();
    let new = if old == 1 { 2 } else { 1 };
    let holder = begin(&kv).await;
    holder.lock(&[key("a")], LockMode::Exclusive, WAIT).await.unwrap();
    let waiter = begin(&cluster.kv(old)).await;
    let waiting = tokio::spawn(async move {
        let seen = add(&waiter, "a", 1).await?;
        waiter.commit().await.map(|_| seen)
    });
    assert!(cluster.kv(3).transfer_leader(DATA_RANGE, NodeId(new)).await.unwrap());
    let started = Instant::now();
    while leader_of(&cluster, DATA_RANGE) != Some(new) {
        assert!(started.elapsed() < Duration::from_secs(2), "it leads no more");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The lock went along.
    tokio::time::sleep(Duration::from_millis(200)).await;
    if waiting.is_finished() {
        panic!("it waits no more: {:?}", waiting.await);
    }
    let started = Instant::now();
    holder.rollback().await;
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(!kv.transfer_leader(DATA_RANGE, NodeId(9)).await.unwrap());
    assert!(!kv.transfer_leader(RangeId(99), NodeId(1)).await.unwrap());
}

/// The snapshot of before the split is the same in both halves after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_outlives_a_split() {
    let cluster = Cluster::start(&[1]).await;
    let kv = cluster.kv(1);
    put(&kv, &[("a", "1"), ("z", "1")]).await.unwrap();
    let reader = begin(&kv).await;
    reader.get(&key("z"), ReadAt::Snapshot).await.unwrap();
    kv.split_at(&key("m")).await.unwrap();
    put(&kv, &[("a", "2"), ("z", "2")]).await.unwrap();
    for name in ["a", "z"] {
        assert_eq!(reader.get(&key(name), ReadAt::Snapshot).await.unwrap(), Some(value("1")));
        assert_eq!(get(&kv, name).await, Some("2".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_range_that_grows_is_split_by_itself_and_nobody_notices() {
    let send = SendTuning {
        range_bytes_max: 100_000,
        size_check_interval: Duration::from_millis(50),
        ..SendTuning::default()
    };
    let mut cluster = Cluster::start_tuned(&[1, 2, 3], send).await;
    open_accounts(&cluster.kv(1)).await;
    let load = Load::start(&cluster, false);
    let filler = value(&"x".repeat(1000));
    for i in 0..500 {
        let txn = begin(&cluster.kv(1 + i % 3)).await;
        txn.put(key(&format!("fill{i:05}")), filler.clone()).unwrap();
        txn.commit().await.unwrap();
    }
    let largest = || {
        let replicas = cluster.nodes[&1].store.groups().into_iter();
        replicas.map(|replica| replica.approximate_bytes().unwrap()).max().unwrap()
    };
    let started = Instant::now();
    while largest() > 150_000 {
        assert!(started.elapsed() < Duration::from_secs(20), "{} bytes in a range", largest());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(ranges(&cluster, 1).len() >= 5);
    let lines = load.stop().await;
    check(&cluster, &lines).await;
    restart(&mut cluster).await;
    check(&cluster, &lines).await;
}
