//! Bugs put in by a switch, each under the interleaving that its rule closes: the checkers name what
//! comes of it. The same interleaving without the bug is clean.
//!
//! The switch is the whole process's: nextest runs each test in one of its own.

use crate::support::*;
use async_trait::async_trait;
use core_domain::planted::{PlantedBug, plant};
use core_domain::{
    IsolationLevel, Key, KvResult, KvStore, KvTransaction, LockMode, LockedValue, NodeId, RangeId,
    ReadAt, Timestamp, TxnId, TxnOptions, Value,
};
use replication::evaluate::{Group, Outcome as Decided, RangeRequest, RangeResponse, Write};
use replication::{Applied, Command, Leadership, RangeDescriptor, ReplicaPlace, SYSTEM_RANGE};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use testkit::check::list_append::violations;
use testkit::check::register::{self, RegisterRecorder};
use testkit::check::{AnomalyKind, History, Model, Outcome, Recorder, Running};
use testkit::workload::registers;

const MODEL: Model = Model::strong(IsolationLevel::RepeatableRead);
/// The schedules split between these two lists.
const LEFT: u64 = 1;
const RIGHT: u64 = 9;

fn list(number: u64) -> Key {
    key(&format!("list{number}"))
}

fn encode(elements: &[u64]) -> Value {
    elements.iter().map(|element| *element as u8).collect::<Vec<u8>>().into()
}

fn decode(value: Option<Value>) -> Vec<u64> {
    value.unwrap_or_default().iter().map(|byte| u64::from(*byte)).collect()
}

async fn start(kv: &impl KvStore, isolation: IsolationLevel) -> Arc<dyn KvTransaction> {
    let txn = kv.begin(TxnOptions { isolation, ..TxnOptions::default() }).await.unwrap();
    txn.begin_statement().await.unwrap();
    txn
}

async fn read(txn: &Arc<dyn KvTransaction>, number: u64, running: &mut Running) {
    let found = txn.get(&list(number), ReadAt::Snapshot).await.unwrap();
    running.read(number, &decode(found));
}

/// Locks a list; what is in it.
async fn lock(txn: &Arc<dyn KvTransaction>, number: u64) -> Vec<u64> {
    let locked = txn.lock(&[list(number)], LockMode::Exclusive, WAIT).await.unwrap().pop();
    let Some(LockedValue::Locked { value, .. }) = locked else { panic!("a lock that waits") };
    decode(value)
}

fn append(
    txn: &Arc<dyn KvTransaction>,
    number: u64,
    mut elements: Vec<u64>,
    recorder: &Recorder,
    running: &mut Running,
) {
    let element = recorder.element();
    elements.push(element);
    running.append(number, element);
    txn.put(list(number), encode(&elements)).unwrap();
}

fn outcome<T>(result: &KvResult<T>) -> Outcome {
    if result.is_ok() { Outcome::Committed } else { Outcome::Aborted }
}

/// One transaction that appends to a list.
async fn append_once(kv: &impl KvStore, number: u64, recorder: &Recorder) {
    let mut running = recorder.invoke(2);
    let txn = start(kv, IsolationLevel::ReadCommitted).await;
    let elements = lock(&txn, number).await;
    append(&txn, number, elements, recorder, &mut running);
    running.finish(outcome(&txn.commit().await));
}

async fn read_both(kv: &impl KvStore, recorder: &Recorder) {
    let mut running = recorder.invoke(3);
    let txn = start(kv, IsolationLevel::RepeatableRead).await;
    read(&txn, LEFT, &mut running).await;
    read(&txn, RIGHT, &mut running).await;
    running.finish(outcome(&txn.commit().await));
}

/// Clean as it is; with the bug, `kind` is found.
async fn catch<F: Future<Output = History>>(
    bug: PlantedBug,
    kind: AnomalyKind,
    schedule: impl Fn(Option<PlantedBug>) -> F,
) {
    let clean = violations(&schedule(None).await, MODEL);
    assert!(clean.is_empty(), "without {bug:?}: {}", clean[0]);
    let found = violations(&schedule(Some(bug)).await, MODEL);
    assert!(found.iter().any(|anomaly| anomaly.kind == kind), "with {bug:?}: {found:?}");
    found.iter().for_each(|anomaly| println!("{anomaly}"));
}

fn plant_if(bug: Option<PlantedBug>) {
    bug.into_iter().for_each(plant);
}

fn write(number: u64, element: u64) -> Write {
    Write { key: list(number), value: Some(encode(&[element])), seen: Some(Timestamp::ZERO) }
}

/// A replica whose proposals wait.
struct Held {
    inner: Arc<dyn Group>,
    reached: AtomicBool,
    released: AtomicBool,
}

impl Held {
    async fn until(flag: &AtomicBool) {
        while !flag.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[async_trait]
impl Group for Held {
    fn range(&self) -> RangeId {
        self.inner.range()
    }
    fn descriptor(&self) -> Arc<RangeDescriptor> {
        self.inner.descriptor()
    }
    fn leadership(&self) -> Leadership {
        self.inner.leadership()
    }
    fn leader(&self) -> Option<ReplicaPlace> {
        self.inner.leader()
    }
    async fn confirm_leadership(&self) -> replication::Result<()> {
        self.inner.confirm_leadership().await
    }
    async fn propose(&self, command: Command) -> replication::Result<Applied> {
        self.reached.store(true, Ordering::SeqCst);
        Self::until(&self.released).await;
        self.inner.propose(command).await
    }
}

/// Evaluated before a split, applied after it, below what the right half committed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn apply_that_ignores_the_generation_loses_an_append() {
    catch(PlantedBug::ApplyIgnoresGeneration, AnomalyKind::LostAppend, |bug| async move {
        plant_if(bug);
        let cluster = Cluster::start(&[1]).await;
        let kv = cluster.kv(1);
        let recorder = Recorder::default();
        let mut running = recorder.invoke(1);
        let element = recorder.element();
        running.append(RIGHT, element);
        let request = RangeRequest::Commit {
            txn: TxnId(kv.now().await.unwrap().0),
            primary: list(RIGHT),
            floor: kv.now().await.unwrap(),
            writes: vec![write(RIGHT, element)],
            locked: vec![],
        };
        let node = &cluster.nodes[&1];
        let held = Arc::new(Held {
            inner: node.store.group_at(&list(RIGHT)).expect("a range"),
            reached: AtomicBool::new(false),
            released: AtomicBool::new(false),
        });
        let (evaluator, group) = (node.evaluator.clone(), held.clone() as Arc<dyn Group>);
        let commit = tokio::spawn(async move { evaluator.execute(&group, request).await });
        Held::until(&held.reached).await;
        kv.split_at(&list(5)).await.unwrap();
        append_once(&*kv, RIGHT, &recorder).await;
        held.released.store(true, Ordering::SeqCst);
        let committed = commit.await.unwrap();
        running.finish(if committed.is_ok() { Outcome::Committed } else { Outcome::Aborted });
        read_both(&*kv, &recorder).await;
        recorder.history()
    })
    .await;
}

/// The locks are lost with their leader; somebody else writes; then their owner commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_that_trust_lost_locks_lose_an_append() {
    catch(PlantedBug::CommitTrustsLocks, AnomalyKind::LostAppend, |bug| async move {
        plant_if(bug);
        let cluster = Cluster::start(&[1, 2, 3]).await;
        let old = cluster.leader_of(DATA_RANGE).await;
        let client = cluster.ids.iter().copied().find(|id| *id != old).unwrap();
        let kv = cluster.kv(client);
        let recorder = Recorder::default();
        let mut running = recorder.invoke(1);
        let txn = start(&*kv, IsolationLevel::ReadCommitted).await;
        let elements = lock(&txn, LEFT).await;
        // The leader is gone, and no word of its locks: a transfer would hand them over.
        cluster.net_cut(old);
        append_once_insisting(&*kv, LEFT, &recorder).await;
        append(&txn, LEFT, elements, &recorder, &mut running);
        running.finish(outcome(&txn.commit().await));
        read_both(&*kv, &recorder).await;
        recorder.history()
    })
    .await;
}

/// While there is no leader, an attempt fails; those are no part of the history.
async fn append_once_insisting(kv: &impl KvStore, number: u64, recorder: &Recorder) {
    for _ in 0..100 {
        let txn = kv.begin(TxnOptions::default()).await;
        if let Ok(txn) = txn
            && txn.begin_statement().await.is_ok()
            && txn.lock(&[list(number)], LockMode::Exclusive, WAIT).await.is_ok()
        {
            let mut running = recorder.invoke(2);
            let elements = lock(&txn, number).await;
            append(&txn, number, elements, recorder, &mut running);
            running.finish(outcome(&txn.commit().await));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no new leader");
}

/// A commit whose floor was drawn before a reader's snapshot arrives after the read.
#[tokio::test(flavor = "multi_thread")]
async fn reads_that_raise_nothing_see_their_snapshot_change() {
    catch(PlantedBug::ReadsRaiseNothing, AnomalyKind::UnrepeatableRead, |bug| async move {
        plant_if(bug);
        let cluster = Cluster::start(&[1]).await;
        let kv = cluster.kv(1);
        let recorder = Recorder::default();
        append_once(&*kv, RIGHT, &recorder).await; // The range is led and has drawn its mark.
        let mut writing = recorder.invoke(1);
        let element = recorder.element();
        writing.append(LEFT, element);
        let txn = TxnId(kv.now().await.unwrap().0);
        let floor = kv.now().await.unwrap();
        let mut reading = recorder.invoke(2);
        let reader = start(&*kv, IsolationLevel::RepeatableRead).await;
        read(&reader, LEFT, &mut reading).await;
        let request = RangeRequest::Commit {
            txn,
            primary: list(LEFT),
            floor,
            writes: vec![write(LEFT, element)],
            locked: vec![],
        };
        let committed = execute(&cluster, &list(LEFT), request).await;
        assert!(matches!(committed, Ok(RangeResponse::Committed(_))), "{committed:?}");
        writing.finish(Outcome::Committed);
        read(&reader, LEFT, &mut reading).await;
        reading.finish(outcome(&reader.commit().await));
        read_both(&*kv, &recorder).await;
        recorder.history()
    })
    .await;
}

/// Copies of the prewrite and the commit that the network kept arrive after the rollback.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_without_a_marker_is_undone_by_late_messages() {
    catch(PlantedBug::RollbackLeavesNoMarker, AnomalyKind::G1a, |bug| async move {
        plant_if(bug);
        let cluster = Cluster::start(&[1]).await;
        let kv = cluster.kv(1);
        kv.split_at(&list(5)).await.unwrap();
        let recorder = Recorder::default();
        let mut running = recorder.invoke(1);
        let (first, second) = (recorder.element(), recorder.element());
        running.append(LEFT, first);
        running.append(RIGHT, second);
        let txn = TxnId(kv.now().await.unwrap().0);
        let primary = list(LEFT);
        let prewrite = |number, element| RangeRequest::Prewrite {
            txn,
            primary: list(LEFT),
            writes: vec![write(number, element)],
            locked: vec![],
        };
        execute(&cluster, &primary, prewrite(LEFT, first)).await.unwrap();
        execute(&cluster, &list(RIGHT), prewrite(RIGHT, second)).await.unwrap();
        let commit = kv.now().await.unwrap();
        let rollback = RangeRequest::Rollback { txn, primary: primary.clone() };
        execute(&cluster, &primary, rollback).await.unwrap();
        let keys = vec![list(RIGHT)];
        let resolve = RangeRequest::Resolve { txn, outcome: Decided::RolledBack, keys };
        execute(&cluster, &list(RIGHT), resolve).await.unwrap();
        running.finish(Outcome::Aborted);
        let late = execute(&cluster, &primary, prewrite(LEFT, first)).await;
        let decide =
            RangeRequest::CommitPrimary { txn, primary: primary.clone(), commit, keys: vec![] };
        let late_commit = execute(&cluster, &primary, decide).await;
        println!("late: {late:?}, {late_commit:?}");
        read_both(&*kv, &recorder).await;
        recorder.history()
    })
    .await;
}

/// The plug is pulled behind acknowledged commits.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledging_before_the_sync_loses_appends_in_a_crash() {
    catch(PlantedBug::AcknowledgedUnsynced, AnomalyKind::LostAppend, |bug| async move {
        let mut cluster = Cluster::start(&[1]).await;
        let recorder = Recorder::default();
        append_once(&*cluster.kv(1), LEFT, &recorder).await;
        plant_if(bug);
        for _ in 0..10 {
            append_once(&*cluster.kv(1), LEFT, &recorder).await;
        }
        cluster.kill(1, 3).await;
        cluster.restart(1).await;
        read_both(&*cluster.kv(1), &recorder).await;
        recorder.history()
    })
    .await;
}

/// The oracle moved to another node, and the old one goes on counting in its window.
async fn stale_reads(bug: Option<PlantedBug>) -> Vec<register::NotLinearizable> {
    plant_if(bug);
    let cluster = Cluster::start(&[1, 2, 3]).await;
    let old = cluster.leader_of(SYSTEM_RANGE).await;
    let new = cluster.ids.iter().copied().find(|id| *id != old).unwrap();
    let store = |id| cluster.kv(id) as Arc<dyn KvStore>;
    let recorder = RegisterRecorder::default();
    registers::write(&store(old), 1, 0, 1, &recorder).await;
    // The window is used up but for less than a second: the next draw reserves a whole one.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    cluster.kv(old).now().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let system = cluster.nodes[&old].store.group(SYSTEM_RANGE).unwrap();
    system.transfer_to(NodeId(new)).await.unwrap();
    let written = registers::write(&store(new), 2, 0, 2, &recorder).await;
    assert_eq!(written, Outcome::Committed);
    registers::read(&store(old), 1, 0, &recorder).await;
    assert_eq!(recorder.operations().len(), 3);
    register::check(&recorder.operations())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_oracle_that_trusts_its_lease_serves_stale_reads() {
    assert_eq!(stale_reads(None).await, []);
    let found = stale_reads(Some(PlantedBug::OracleTrustsItsLease)).await;
    assert_eq!(found.len(), 1);
    println!("{}", found[0]);
}
