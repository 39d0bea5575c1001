//! The rules of protocol.md that bind the leader's evaluation, on a log that tests can hold back.

mod async_commit;
mod garbage;
mod large;
mod moves;
mod validation;

use super::*;
use crate::command::{Applied, Body, Command};
use crate::descriptor::{ReplicaPlace, SYSTEM_RANGE};
use crate::replica::Leadership;
use core_domain::{Generation, LockMode, LockedValue, NodeId, SystemClock, TxnId, WaitPolicy};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use storage::{CrashEngine, WriteBatch};
use tokio::sync::Semaphore;

/// One replica that leads when told to, and applies what is proposed when let.
struct FakeGroup {
    range: RangeId,
    engine: Arc<CrashEngine>,
    term: AtomicU64,
    leads: AtomicBool,
    generation: AtomicU64,
    span: Mutex<Span>,
    entries: AtomicU64,
    gate: Semaphore,
}

impl FakeGroup {
    fn new(range: RangeId, engine: Arc<CrashEngine>) -> Arc<Self> {
        Arc::new(Self {
            range,
            engine,
            term: AtomicU64::new(1),
            leads: AtomicBool::new(true),
            generation: AtomicU64::new(1),
            span: Mutex::new(Span::all()),
            entries: AtomicU64::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// Proposals wait until `release`.
    fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn release(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }
}

#[async_trait]
impl Group for FakeGroup {
    fn range(&self) -> RangeId {
        self.range
    }

    fn descriptor(&self) -> Arc<RangeDescriptor> {
        let founders = [(NodeId(1), "here:1".to_owned())];
        let mut descriptor =
            RangeDescriptor::founding(self.range, self.span.lock().clone(), &founders);
        descriptor.generation = Generation(self.generation.load(Ordering::SeqCst));
        Arc::new(descriptor)
    }

    fn leadership(&self) -> Leadership {
        match self.leads.load(Ordering::SeqCst) {
            true => Leadership::Serving { term: self.term.load(Ordering::SeqCst) },
            false => Leadership::Follower,
        }
    }

    fn leader(&self) -> Option<ReplicaPlace> {
        None
    }

    async fn confirm_leadership(&self) -> crate::Result<()> {
        Ok(())
    }

    async fn propose(&self, command: Command) -> crate::Result<Applied> {
        drop(self.gate.acquire().await);
        self.entries.fetch_add(1, Ordering::SeqCst);
        let current = Generation(self.generation.load(Ordering::SeqCst));
        if command.generation != current {
            return Ok(Applied::StaleGeneration { current });
        }
        if command.term != 0 && command.term != self.term.load(Ordering::SeqCst) {
            return Ok(Applied::StaleTerm);
        }
        let Body::Write { ops } = command.body else { return Ok(Applied::Ok) };
        let mut batch = WriteBatch::new();
        for op in ops {
            match op.value {
                Some(value) => batch.put(op.cf, op.key, value),
                None => batch.delete(op.cf, op.key),
            }
        }
        self.engine.write(batch, false).expect("memory takes it");
        Ok(Applied::Ok)
    }
}

struct Counter(AtomicU64);

#[async_trait]
impl TimestampSource for Counter {
    async fn draw(&self) -> KvResult<Timestamp> {
        Ok(Timestamp(self.0.fetch_add(1, Ordering::SeqCst)))
    }
}

struct Leader {
    evaluator: Arc<Evaluator>,
    group: Arc<FakeGroup>,
    time: Arc<Counter>,
}

impl Leader {
    fn new(range: RangeId) -> Self {
        let engine = Arc::new(CrashEngine::new());
        let evaluator = Evaluator::new(engine.clone(), Arc::new(SystemClock::default()));
        let time = Arc::new(Counter(AtomicU64::new(1000)));
        evaluator.connect(time.clone());
        Self { evaluator, group: FakeGroup::new(range, engine), time }
    }

    async fn ask(&self, request: RangeRequest) -> Result<RangeResponse, RangeError> {
        let group: Arc<dyn Group> = self.group.clone();
        self.evaluator.execute(&group, request).await
    }

    fn spawn(
        &self,
        request: RangeRequest,
    ) -> tokio::task::JoinHandle<Result<RangeResponse, RangeError>> {
        let (evaluator, group) = (self.evaluator.clone(), self.group.clone() as Arc<dyn Group>);
        tokio::spawn(async move { evaluator.execute(&group, request).await })
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.time.0.fetch_add(1, Ordering::SeqCst))
    }

    /// Leadership goes elsewhere and comes back: everything in memory is void.
    fn change_leader(&self) {
        self.evaluator.leadership_lost(self.group.range);
        self.group.term.fetch_add(1, Ordering::SeqCst);
    }

    async fn lock(&self, txn: u64, name: &str, mode: LockMode) -> Timestamp {
        let request = RangeRequest::Lock {
            txn: TxnId(txn),
            keys: vec![key(name)],
            mode,
            wait: WaitPolicy::Wait(None),
            snapshot: None,
        };
        let Ok(RangeResponse::Locked(mut locked)) = self.ask(request).await else {
            panic!("locked");
        };
        let Some(LockedValue::Locked { committed_at, .. }) = locked.pop() else {
            panic!("not skipped");
        };
        committed_at
    }

    async fn get(&self, name: &str, at: Timestamp) -> Option<String> {
        let request = RangeRequest::Get { keys: vec![key(name)], at };
        let Ok(RangeResponse::Values(mut values)) = self.ask(request).await else {
            panic!("read");
        };
        values.pop().flatten().map(|value| String::from_utf8(value.to_vec()).expect("text"))
    }
}

fn key(name: &str) -> Key {
    Key::from(name.as_bytes())
}

fn commit(txn: u64, name: &str, value: &'static str, seen: Option<Timestamp>) -> RangeRequest {
    RangeRequest::Commit {
        txn: TxnId(txn),
        primary: key(name),
        floor: Timestamp::ZERO,
        writes: vec![Write { key: key(name), value: Some(value.into()), seen }],
        locked: Vec::new(),
    }
}

fn committed(response: Result<RangeResponse, RangeError>) -> Timestamp {
    match response {
        Ok(RangeResponse::Committed(at)) => at,
        other => panic!("not committed: {other:?}"),
    }
}

const RANGE: RangeId = RangeId(7);

#[tokio::test]
async fn a_commit_stays_above_every_read_that_was_served() {
    let leader = Leader::new(RANGE);
    let at = Timestamp(5000);
    assert_eq!(leader.get("a", at).await, None);
    let commit = committed(leader.ask(commit(1, "a", "new", None)).await);
    assert!(commit > at);
    assert_eq!(leader.get("a", at).await, None, "the snapshot did not change under its reader");
    assert_eq!(leader.get("a", commit).await, Some("new".into()));
}

#[tokio::test]
async fn a_read_waits_for_entries_in_flight_below_it_and_for_no_others() {
    let leader = Leader::new(RANGE);
    let before = leader.now();
    assert_eq!(leader.get("b", before).await, None);
    leader.group.hold();
    let writing = leader.spawn(commit(1, "a", "new", None));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(leader.get("a", before).await, None, "an older snapshot does not wait");
    assert_eq!(leader.get("b", Timestamp(9000)).await, None, "another key does not wait");
    let reading = leader.spawn(RangeRequest::Get { keys: vec![key("a")], at: Timestamp(9000) });
    let scanning = leader.spawn(RangeRequest::Scan {
        span: Span::all(),
        at: Timestamp(9000),
        reverse: false,
        rows_max: 10,
        bytes_max: 1000,
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!reading.is_finished() && !scanning.is_finished());
    leader.group.release();
    committed(writing.await.expect("ends"));
    let Ok(RangeResponse::Values(values)) = reading.await.expect("ends") else { panic!("read") };
    assert_eq!(values, [Some("new".into())]);
    let Ok(RangeResponse::Page(page)) = scanning.await.expect("ends") else { panic!("scanned") };
    assert_eq!(page.rows.len(), 1);
}

#[tokio::test]
async fn an_update_whose_lock_was_lost_is_refused_when_another_came_first() {
    let leader = Leader::new(RANGE);
    committed(leader.ask(commit(1, "a", "1", None)).await);
    let seen = leader.lock(2, "a", LockMode::Exclusive).await;
    leader.change_leader();
    let seen_by_other = leader.lock(3, "a", LockMode::Exclusive).await;
    assert_eq!(seen, seen_by_other);
    let early = leader.ask(commit(2, "a", "lost", Some(seen))).await;
    assert!(matches!(early, Err(RangeError::Kv(KvError::Conflict { .. }))), "{early:?}");
    committed(leader.ask(commit(3, "a", "kept", Some(seen))).await);
    let late = leader.ask(commit(2, "a", "lost", Some(seen))).await;
    assert!(matches!(late, Err(RangeError::Kv(KvError::Conflict { .. }))), "{late:?}");
    assert_eq!(leader.get("a", Timestamp(9000)).await, Some("kept".into()));
}

/// A child row is inserted while its parent is locked against deletion; the lock is lost.
#[tokio::test]
async fn a_child_is_not_orphaned_by_a_lost_lock() {
    let leader = Leader::new(RANGE);
    committed(leader.ask(commit(1, "parent", "1", None)).await);
    let seen = leader.lock(2, "parent", LockMode::KeyShare).await;
    leader.change_leader();
    let seen_by_other = leader.lock(3, "parent", LockMode::Exclusive).await;
    let delete = RangeRequest::Commit {
        txn: TxnId(3),
        primary: key("parent"),
        floor: Timestamp::ZERO,
        writes: vec![Write { key: key("parent"), value: None, seen: Some(seen_by_other) }],
        locked: Vec::new(),
    };
    committed(leader.ask(delete).await);
    let insert = RangeRequest::Commit {
        txn: TxnId(2),
        primary: key("child"),
        floor: Timestamp::ZERO,
        writes: vec![Write { key: key("child"), value: Some("1".into()), seen: None }],
        locked: vec![LockedKey { key: key("parent"), mode: LockMode::KeyShare, seen }],
    };
    let refused = leader.ask(insert).await;
    assert!(matches!(refused, Err(RangeError::Kv(KvError::Conflict { .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_commit_that_is_sent_again_answers_from_its_record() {
    let leader = Leader::new(RANGE);
    let first = committed(leader.ask(commit(1, "a", "1", None)).await);
    committed(leader.ask(commit(2, "a", "2", None)).await);
    assert_eq!(committed(leader.ask(commit(1, "a", "1", None)).await), first);
    assert_eq!(leader.get("a", Timestamp(9000)).await, Some("2".into()));
    let found = leader.ask(RangeRequest::FindTxn { txn: TxnId(1) }).await;
    assert_eq!(found, Ok(RangeResponse::Status(core_domain::TxnStatus::Committed(first))));
}

#[tokio::test]
async fn an_entry_evaluated_in_an_earlier_term_or_generation_writes_nothing() {
    let leader = Leader::new(RANGE);
    leader.group.hold();
    let old_term = leader.spawn(commit(1, "a", "old term", None));
    tokio::time::sleep(Duration::from_millis(10)).await;
    leader.change_leader();
    leader.group.release();
    assert!(matches!(old_term.await.expect("ends"), Err(RangeError::WrongRange { .. })));
    assert_eq!(leader.get("a", Timestamp(9000)).await, None);
    leader.group.hold();
    let old_span = leader.spawn(commit(2, "a", "old span", None));
    tokio::time::sleep(Duration::from_millis(10)).await;
    leader.group.generation.fetch_add(1, Ordering::SeqCst);
    leader.group.release();
    assert!(matches!(old_span.await.expect("ends"), Err(RangeError::WrongRange { .. })));
    assert_eq!(leader.get("a", Timestamp(9000)).await, None);
    committed(leader.ask(commit(3, "a", "new", None)).await);
}

#[tokio::test]
async fn what_waits_while_an_entry_is_written_shares_the_next_one() {
    let leader = Leader::new(RANGE);
    committed(leader.ask(commit(1, "first", "1", None)).await);
    let before = leader.group.entries.load(Ordering::SeqCst);
    leader.group.hold();
    let names: Vec<String> = (0..20).map(|i| format!("k{i}")).collect();
    let commits: Vec<_> = names
        .iter()
        .zip(100..)
        .map(|(name, txn)| leader.spawn(commit(txn, name, "1", None)))
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    leader.group.release();
    for commit in commits {
        committed(commit.await.expect("ends"));
    }
    let entries = leader.group.entries.load(Ordering::SeqCst) - before;
    assert!(entries <= 3, "20 commits took {entries} entries");
}

/// Reads look for intents while there are some, and stop looking when the last one is gone.
#[tokio::test]
async fn intents_are_looked_for_until_the_last_is_gone() {
    let leader = Leader::new(RANGE);
    let intents = || leader.evaluator.gate(RANGE).state.lock().intents;
    assert_eq!(leader.get("a", leader.now()).await, None);
    assert_eq!(intents(), Some(0));
    let prewrite = |txn| RangeRequest::Prewrite {
        txn: TxnId(txn),
        primary: key("a"),
        writes: vec![Write { key: key("a"), value: Some("1".into()), seen: None }],
        locked: Vec::new(),
    };
    let Ok(RangeResponse::Prewritten { min_commit }) = leader.ask(prewrite(1)).await else {
        panic!("prewritten");
    };
    let read = RangeRequest::Get { keys: vec![key("a")], at: Timestamp(9000) };
    let refused = leader.ask(read.clone()).await;
    assert!(matches!(refused, Err(RangeError::Intents(_))), "{refused:?}");
    assert_eq!(intents(), Some(1));
    // A new leader that finds some does not count them.
    leader.change_leader();
    let refused = leader.ask(read).await;
    assert!(matches!(refused, Err(RangeError::Intents(_))), "{refused:?}");
    assert_eq!(intents(), None);
    let decide = |txn, commit| RangeRequest::CommitPrimary {
        txn: TxnId(txn),
        primary: key("a"),
        commit,
        keys: Vec::new(),
    };
    let early = leader.ask(decide(1, min_commit)).await;
    assert!(matches!(early, Ok(RangeResponse::Pushed { .. })), "below the new term: {early:?}");
    committed(leader.ask(decide(1, leader.now())).await);
    assert_eq!(leader.get("a", Timestamp(9000)).await, Some("1".into()));
    tokio::time::sleep(2 * gate::REVIEW_INTERVAL).await;
    assert_eq!(leader.get("a", Timestamp(9000)).await, Some("1".into()));
    assert_eq!(intents(), Some(0));
    // One that has counted from the start need not look again.
    let Ok(RangeResponse::Prewritten { min_commit }) = leader.ask(prewrite(2)).await else {
        panic!("prewritten");
    };
    assert_eq!(intents(), Some(1));
    committed(leader.ask(decide(2, min_commit)).await);
    assert_eq!(intents(), Some(0));
}

/// What the watcher sees, the evaluation acts on: nothing grows, and room can still be made.
#[tokio::test]
async fn a_nearly_full_disk_refuses_rows_and_takes_what_makes_room() {
    let leader = Leader::new(RANGE);
    let seen = committed(leader.ask(commit(1, "a", "1", None)).await);
    leader.group.engine.set_nearly_full(true);
    // Blind, so that one that is still let through changes nothing for the next.
    let mut txn = 100;
    let refused = until(|| {
        txn += 1;
        let answer = leader.ask(commit(txn, "b", "grows", None));
        async move { answer.await.err() }
    })
    .await;
    let RangeError::Kv(refused) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.sqlstate(), "53100", "{refused}");
    let write = Write { key: key("c"), value: Some("grows".into()), seen: None };
    let prewrite = RangeRequest::Prewrite {
        txn: TxnId(2),
        primary: key("c"),
        writes: vec![write],
        locked: Vec::new(),
    };
    let refused = leader.ask(prewrite).await;
    assert!(matches!(refused, Err(RangeError::Kv(KvError::DiskFull(_)))), "{refused:?}");
    assert_eq!(leader.get("a", Timestamp(1 << 40)).await, Some("1".into()));
    assert_eq!(leader.get("c", Timestamp(1 << 40)).await, None);
    for write in [
        Write { key: key("a"), value: None, seen: Some(seen) },
        Write { key: Key::system("catalog"), value: Some("smaller".into()), seen: None },
    ] {
        txn += 1;
        let request = RangeRequest::Commit {
            txn: TxnId(txn),
            primary: write.key.clone(),
            floor: Timestamp::ZERO,
            writes: vec![write],
            locked: Vec::new(),
        };
        committed(leader.ask(request).await);
    }
    assert_eq!(leader.get("a", Timestamp(2 << 40)).await, None);
    let erased = leader.ask(RangeRequest::Erase { span: Span::prefix(key("b")) }).await;
    assert_eq!(erased, Ok(RangeResponse::Done));
    leader.group.engine.set_nearly_full(false);
    until(|| {
        txn += 1;
        let answer = leader.ask(commit(txn, "d", "there is room", None));
        async move { answer.await.ok() }
    })
    .await;
    assert_eq!(leader.get("d", Timestamp(3 << 40)).await, Some("there is room".into()));
}

/// Asks until there is an answer.
async fn until<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "never");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_deposed_leader_refuses() {
    let leader = Leader::new(RANGE);
    leader.group.leads.store(false, Ordering::SeqCst);
    let refused = leader.ask(RangeRequest::Get { keys: vec![key("a")], at: Timestamp(1) }).await;
    assert!(matches!(refused, Err(RangeError::NotLeader { .. })), "{refused:?}");
}

/// Rule 12: the number is drawn first, then the lease is looked at; a new leader starts above.
#[tokio::test]
async fn the_oracle_never_goes_back_and_a_deposed_one_says_nothing() {
    let leader = Leader::new(SYSTEM_RANGE);
    let draw = || leader.ask(RangeRequest::Draw { count: 10 });
    let Ok(RangeResponse::Drawn(first)) = draw().await else { panic!("drawn") };
    let Ok(RangeResponse::Drawn(second)) = draw().await else { panic!("drawn") };
    assert!(second.0 >= first.0 + 10);
    let quick = leader.evaluator.try_draw(&*leader.group).expect("at hand");
    assert!(quick.0 >= second.0 + 10);
    leader.group.leads.store(false, Ordering::SeqCst);
    assert_eq!(leader.evaluator.try_draw(&*leader.group), None);
    assert!(draw().await.is_err());
    // Another node, with an hour less on its clock, takes over on the same log.
    let engine = leader.group.engine.clone();
    let slow = Evaluator::new(engine.clone(), Arc::new(SlowClock));
    let group: Arc<dyn Group> = FakeGroup::new(SYSTEM_RANGE, engine);
    let Ok(RangeResponse::Drawn(third)) =
        slow.execute(&group, RangeRequest::Draw { count: 1 }).await
    else {
        panic!("drawn");
    };
    assert!(third > quick, "{third} after {quick}");
}

struct SlowClock;

impl Clock for SlowClock {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        1
    }
}
