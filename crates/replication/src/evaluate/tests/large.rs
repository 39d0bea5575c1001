//! Transactions that write ahead of their commit, step by step: what is on its way, who passes and
//! who waits, what a copy does, what a leader forgets.

use super::*;
use core_domain::planted::{PlantedBug, plant};
use core_domain::{ReadSpan, TxnStatus};

/// Time that goes on when told to.
#[derive(Default)]
struct HandClock(AtomicU64);

impl HandClock {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn wall_ms(&self) -> u64 {
        1
    }
}

fn led_by(clock: Arc<dyn Clock>) -> Leader {
    let engine = Arc::new(CrashEngine::new());
    let evaluator = Evaluator::new(engine.clone(), clock);
    let time = Arc::new(Counter(AtomicU64::new(1000)));
    evaluator.connect(time.clone());
    Leader { evaluator, group: FakeGroup::new(RANGE, engine), time }
}

impl Leader {
    /// Keys that must be new.
    fn insert(&self, txn: u64, sequence: u32, rows: &[(&str, &'static str)]) -> RangeRequest {
        RangeRequest::BulkWrite(BulkPart {
            txn: TxnId(txn),
            floor: self.now(),
            sequence,
            absent: true,
            mode: LockMode::Exclusive,
            snapshot: None,
            wait: WaitPolicy::Wait(None),
            writes: rows
                .iter()
                .map(|(name, value)| Write {
                    key: key(name),
                    value: Some((*value).into()),
                    seen: None,
                })
                .collect(),
        })
    }

    /// A key that was locked when its newest version was `seen`.
    fn update(
        &self,
        txn: u64,
        sequence: u32,
        name: &str,
        value: Option<&'static str>,
        seen: Option<Timestamp>,
    ) -> RangeRequest {
        RangeRequest::BulkWrite(BulkPart {
            txn: TxnId(txn),
            floor: self.now(),
            sequence,
            absent: false,
            mode: match value {
                Some(_) => LockMode::NoKeyExclusive,
                None => LockMode::Exclusive,
            },
            snapshot: None,
            wait: WaitPolicy::Wait(None),
            writes: vec![Write { key: key(name), value: value.map(Into::into), seen }],
        })
    }

    fn only(&self, txn: u64, primary: &str) -> RangeRequest {
        self.only_with(txn, primary, Vec::new())
    }

    fn only_with(&self, txn: u64, primary: &str, locked: Vec<LockedKey>) -> RangeRequest {
        let generation = Generation(self.group.generation.load(Ordering::SeqCst));
        RangeRequest::BulkCommit {
            txn: TxnId(txn),
            primary: key(primary),
            floor: self.now(),
            scope: BulkScope::Only(generation),
            locked,
        }
    }

    async fn done(&self, request: RangeRequest) {
        assert_eq!(self.ask(request).await, Ok(RangeResponse::Done));
    }

    async fn prepare(&self, txn: u64, primary: &str) -> Timestamp {
        let generation = Generation(self.group.generation.load(Ordering::SeqCst));
        let request =
            RangeRequest::BulkPrepare { txn: TxnId(txn), primary: key(primary), generation };
        match self.ask(request).await {
            Ok(RangeResponse::Prewritten { min_commit }) => min_commit,
            other => panic!("not prepared: {other:?}"),
        }
    }

    async fn names(&self, at: Timestamp, reverse: bool) -> Vec<String> {
        let request =
            RangeRequest::Scan { span: Span::all(), at, reverse, rows_max: 100, bytes_max: 10_000 };
        let Ok(RangeResponse::Page(page)) = self.ask(request).await else { panic!("scanned") };
        let name = |key: &Key| String::from_utf8(key.as_ref().to_vec()).expect("text");
        page.rows.iter().map(|(key, _)| name(key)).collect()
    }
}

fn prepared(txn: u64, primary: &str, commit: Timestamp) -> RangeRequest {
    RangeRequest::BulkCommit {
        txn: TxnId(txn),
        primary: key(primary),
        floor: Timestamp::ZERO,
        scope: BulkScope::Prepared(commit),
        locked: Vec::new(),
    }
}

fn rolled_back(txn: u64, spans: Vec<Span>) -> RangeRequest {
    let outcome = Outcome::RolledBack;
    RangeRequest::BulkDecide { txn: TxnId(txn), outcome, spans, generation: Generation(1) }
}

fn read(name: &str, at: Timestamp) -> RangeRequest {
    RangeRequest::Get { keys: vec![key(name)], at }
}

fn aborted(answer: Result<RangeResponse, RangeError>, txn: u64) {
    assert_eq!(answer, Err(RangeError::Kv(KvError::Aborted { txn: TxnId(txn) })));
}

fn conflict(answer: Result<RangeResponse, RangeError>, name: &str, other: u64) {
    let expected = KvError::Conflict { key: key(name), other: TxnId(other) };
    assert_eq!(answer, Err(RangeError::Kv(expected)));
}

async fn soon() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

const LATER: Timestamp = Timestamp(1 << 30);

#[tokio::test]
async fn readers_pass_what_is_open_and_wait_for_what_commits_below_them() {
    let leader = Leader::new(RANGE);
    leader.done(leader.insert(1, 1, &[("a", "1"), ("c", "3")])).await;
    leader.done(leader.insert(1, 2, &[("b", "2")])).await;
    let served = Timestamp(5000);
    assert_eq!(leader.get("a", served).await, None, "open: nobody waits");
    leader.group.hold();
    let committing = leader.spawn(leader.only(1, "a"));
    soon().await;
    assert_eq!(leader.get("a", served).await, None, "the commit will be above");
    let reading = leader.spawn(read("c", LATER));
    let scanning = leader.spawn(RangeRequest::Scan {
        span: Span::all(),
        at: LATER,
        reverse: true,
        rows_max: 100,
        bytes_max: 10_000,
    });
    assert_eq!(leader.evaluator.try_get(&*leader.group, &key("b"), LATER), None, "asks later");
    soon().await;
    assert!(!reading.is_finished() && !scanning.is_finished());
    leader.group.release();
    let at = committed(committing.await.expect("ends"));
    assert!(at > served);
    assert_eq!(reading.await.expect("ends"), Ok(RangeResponse::Values(vec![Some("3".into())])));
    let Ok(RangeResponse::Page(page)) = scanning.await.expect("ends") else { panic!("scanned") };
    assert_eq!(page.rows.len(), 3);
    for reverse in [false, true] {
        assert_eq!(leader.names(at.prev(), reverse).await, [""; 0]);
        assert_eq!(leader.names(at, reverse).await.len(), 3);
    }
    let found = leader.evaluator.try_get(&*leader.group, &key("b"), at).expect("decided");
    assert_eq!(found.expect("there").commit, at);
    assert_eq!(leader.evaluator.try_get(&*leader.group, &key("b"), at.prev()), Some(None));
    // Told twice, and found by its number.
    assert_eq!(committed(leader.ask(leader.only(1, "a")).await), at);
    let found = leader.ask(RangeRequest::FindTxn { txn: TxnId(1) }).await;
    assert_eq!(found, Ok(RangeResponse::Status(TxnStatus::Committed(at))));
}

#[tokio::test]
async fn what_a_leader_forgets_is_in_the_record() {
    let leader = Leader::new(RANGE);
    leader.done(leader.insert(1, 1, &[("a", "1")])).await;
    leader.change_leader();
    assert_eq!(leader.get("a", LATER).await, None);
    leader.done(leader.insert(1, 2, &[("b", "2")])).await;
    leader.change_leader();
    let at = committed(leader.ask(leader.only(1, "a")).await);
    assert!(at > LATER, "a new leader's reads count, too");
    leader.change_leader();
    assert_eq!(leader.names(at, false).await, ["a", "b"]);
    assert_eq!(leader.names(at.prev(), false).await, [""; 0]);
    assert_eq!(committed(leader.ask(leader.only(1, "a")).await), at);
    leader.done(leader.insert(2, 1, &[("c", "3")])).await;
    leader.done(rolled_back(2, Vec::new())).await;
    leader.change_leader();
    aborted(leader.ask(leader.only(2, "c")).await, 2);
    aborted(leader.ask(leader.insert(2, 2, &[("d", "4")])).await, 2);
    assert_eq!(leader.names(Timestamp(2 << 30), true).await, ["b", "a"]);
}

/// The first try of a part arrives again when its key was written once more: it must not win.
#[tokio::test]
async fn a_late_copy_of_a_part_changes_nothing() {
    let leader = Leader::new(RANGE);
    let first = leader.insert(1, 1, &[("a", "first"), ("b", "first")]);
    leader.done(first.clone()).await;
    leader.done(first.clone()).await;
    leader.done(leader.update(1, 2, "a", Some("second"), None)).await;
    leader.done(leader.update(1, 3, "b", None, None)).await;
    for _ in 0..2 {
        leader.done(first.clone()).await;
        leader.change_leader();
    }
    let own = RangeRequest::OwnGet { txn: TxnId(1), keys: vec![key("a"), key("b")], at: LATER };
    let seen = leader.ask(own).await;
    assert_eq!(seen, Ok(RangeResponse::Values(vec![Some("second".into()), None])));
    // Deleted by itself, the key may be inserted again; twice it may not.
    leader.done(leader.insert(1, 4, &[("b", "again")])).await;
    let twice = leader.ask(leader.insert(1, 5, &[("b", "twice")])).await;
    assert_eq!(twice, Ok(RangeResponse::Present { key: key("b") }));
    let at = committed(leader.ask(leader.only(1, "a")).await);
    leader.done(first).await;
    assert_eq!(leader.get("a", at).await, Some("second".into()));
    assert_eq!(leader.get("b", at).await, Some("again".into()));
}

#[tokio::test]
async fn parts_and_decisions_wait_for_each_other() {
    let leader = Leader::new(RANGE);
    leader.done(leader.insert(1, 1, &[("a", "1")])).await;
    leader.group.hold();
    let part = leader.spawn(leader.insert(1, 2, &[("b", "2")]));
    soon().await;
    let committing = leader.spawn(leader.only(1, "a"));
    soon().await;
    assert!(!committing.is_finished() && !part.is_finished());
    leader.group.release();
    assert_eq!(part.await.expect("ends"), Ok(RangeResponse::Done));
    let at = committed(committing.await.expect("ends"));
    assert_eq!(leader.names(at, false).await, ["a", "b"]);
    // A part that comes while the rollback is on its way must not open the transaction again.
    leader.done(leader.insert(2, 1, &[("c", "3")])).await;
    leader.group.hold();
    let deciding = leader.spawn(rolled_back(2, Vec::new()));
    soon().await;
    let late = leader.spawn(leader.insert(2, 2, &[("d", "4")]));
    soon().await;
    leader.group.release();
    assert_eq!(deciding.await.expect("ends"), Ok(RangeResponse::Done));
    aborted(late.await.expect("ends"), 2);
    leader.change_leader();
    aborted(leader.ask(leader.only(2, "c")).await, 2);
}

/// What a reader waits for may never come: then it looks again, under the new leader.
#[tokio::test]
async fn who_waits_for_a_decision_is_woken_when_the_leader_is_deposed() {
    let leader = Leader::new(RANGE);
    leader.done(leader.insert(1, 1, &[("a", "1")])).await;
    leader.group.hold();
    let committing = leader.spawn(leader.only(1, "a"));
    soon().await;
    let reading = leader.spawn(read("a", LATER));
    soon().await;
    leader.change_leader();
    let found = tokio::time::timeout(Duration::from_secs(5), reading).await.expect("woken");
    assert_eq!(found.expect("ends"), Ok(RangeResponse::Values(vec![None])));
    leader.group.release();
    let refused = committing.await.expect("ends");
    assert!(matches!(refused, Err(RangeError::WrongRange { .. })), "{refused:?}");
    let at = committed(leader.ask(leader.only(1, "a")).await);
    assert!(at > LATER);
    // The same for what was decided elsewhere, whose entry is on no key.
    leader.done(leader.insert(2, 1, &[("b", "2")])).await;
    let min_commit = leader.prepare(2, "b").await;
    leader.group.hold();
    let outcome = Outcome::Committed(min_commit);
    let (txn, generation) = (TxnId(2), Generation(1));
    leader.spawn(RangeRequest::BulkDecide { txn, outcome, spans: Vec::new(), generation });
    soon().await;
    let later = Timestamp(2 << 30);
    let reading = leader.spawn(read("b", later));
    soon().await;
    assert!(!reading.is_finished());
    leader.change_leader();
    let found = tokio::time::timeout(Duration::from_secs(5), reading).await.expect("woken");
    let asks = found.expect("ends");
    assert!(matches!(asks, Err(RangeError::Intents(_))), "prepared still: {asks:?}");
    leader.group.release();
}

/// A split that the coordinator has not heard of: half of the transaction is elsewhere.
#[tokio::test]
async fn a_decision_is_about_the_range_as_the_coordinator_knows_it() {
    let leader = Leader::new(RANGE);
    leader.done(leader.insert(1, 1, &[("a", "1")])).await;
    let old = leader.only(1, "a");
    leader.group.generation.fetch_add(1, Ordering::SeqCst);
    let refused = leader.ask(old).await;
    assert!(matches!(refused, Err(RangeError::WrongRange { actual: Some(_) })), "{refused:?}");
    for request in [
        RangeRequest::BulkPrepare { txn: TxnId(1), primary: key("a"), generation: Generation(1) },
        rolled_back(1, Vec::new()),
    ] {
        let refused = leader.ask(request).await;
        assert!(matches!(refused, Err(RangeError::WrongRange { .. })), "{refused:?}");
    }
    committed(leader.ask(leader.only(1, "a")).await);
}

#[tokio::test]
async fn over_several_ranges_the_primary_is_asked_from_the_lowest_commit_on() {
    let leader = Leader::new(RANGE);
    assert_eq!(leader.get("a", Timestamp(5000)).await, None);
    leader.done(leader.insert(1, 1, &[("a", "1")])).await;
    let min_commit = leader.prepare(1, "a").await;
    assert!(min_commit > Timestamp(5000));
    assert_eq!(leader.prepare(1, "a").await, min_commit);
    aborted(leader.ask(leader.insert(1, 2, &[("b", "2")])).await, 1);
    for _ in 0..2 {
        assert_eq!(leader.get("a", min_commit.prev()).await, None, "below: passes");
        for request in [
            read("a", min_commit),
            RangeRequest::Lock {
                txn: TxnId(9),
                keys: vec![key("a")],
                mode: LockMode::Exclusive,
                wait: WaitPolicy::Wait(None),
                snapshot: None,
            },
        ] {
            let Err(RangeError::Intents(met)) = leader.ask(request).await else { panic!("asks") };
            assert_eq!((met[0].txn, &met[0].primary), (TxnId(1), &key("a")));
        }
        assert_eq!(leader.evaluator.try_get(&*leader.group, &key("a"), min_commit), None);
        leader.change_leader();
    }
    // A validated reader has passed: whoever commits below is told to draw again.
    let above = leader.now().plus(Duration::from_secs(1));
    let (seen, now) = (above, above);
    let push = RangeRequest::PushTxn { txn: TxnId(1), primary: key("a"), seen, now, above };
    assert_eq!(leader.ask(push).await, Ok(RangeResponse::Pushed { above }));
    let early = leader.ask(prepared(1, "a", above)).await;
    assert_eq!(early, Ok(RangeResponse::Pushed { above }));
    let at = above.next();
    assert_eq!(committed(leader.ask(prepared(1, "a", at)).await), at);
    assert_eq!(leader.get("a", above).await, None);
    assert_eq!(leader.get("a", at).await, Some("1".into()));
}

/// The coordinator dies between the preparation and the decision, or before both.
#[tokio::test]
async fn what_nobody_speaks_for_any_more_is_rolled_back() {
    let clock = Arc::new(HandClock::default());
    let leader = led_by(clock.clone());
    leader.done(leader.insert(1, 1, &[("a", "1")])).await;
    leader.done(leader.insert(2, 1, &[("b", "2")])).await;
    let seen = leader.prepare(2, "b").await;
    let now = seen.plus(2 * TXN_EXPIRY);
    let status = RangeRequest::QueryTxn { txn: TxnId(2), primary: key("b"), seen, now };
    let alive = Ok(RangeResponse::Status(TxnStatus::InProgress));
    assert_eq!(leader.ask(status.clone()).await, alive);
    let waiting = leader.spawn(leader.insert(3, 1, &[("a", "3")]));
    soon().await;
    assert!(!waiting.is_finished());
    clock.pass(2 * TXN_EXPIRY);
    let dead = Ok(RangeResponse::Status(TxnStatus::RolledBack));
    assert_eq!(leader.ask(status).await, dead);
    let resolve =
        RangeRequest::Resolve { txn: TxnId(2), outcome: Outcome::RolledBack, keys: vec![key("b")] };
    leader.done(resolve).await;
    assert_eq!(leader.get("b", now).await, None);
    aborted(leader.ask(prepared(2, "b", now)).await, 2);
    // Who waits in its room hears of its end when its locks expire.
    let answer = tokio::time::timeout(4 * TXN_EXPIRY / 5, waiting).await.expect("it goes on");
    assert_eq!(answer.expect("ends"), Ok(RangeResponse::Done));
    aborted(leader.ask(leader.only(1, "a")).await, 1);
    let at = committed(leader.ask(leader.only(3, "a")).await);
    assert_eq!(leader.get("a", at).await, Some("3".into()));
}

#[tokio::test]
async fn locks_and_hidden_versions_keep_each_other_out() {
    let leader = Leader::new(RANGE);
    let seen = committed(leader.ask(commit(1, "row", "old", None)).await);
    assert_eq!(leader.lock(2, "row", LockMode::NoKeyExclusive).await, seen);
    // Somebody else's new row waits for the lock on its key.
    leader.lock(3, "new", LockMode::Exclusive).await;
    let inserting = leader.spawn(leader.insert(2, 1, &[("new", "2")]));
    soon().await;
    assert!(!inserting.is_finished());
    leader.done(RangeRequest::Release { txn: TxnId(3) }).await;
    assert_eq!(inserting.await.expect("ends"), Ok(RangeResponse::Done));
    leader.done(leader.update(2, 2, "row", Some("new"), Some(seen))).await;
    // A foreign key's lock passes, in the lock table and at its commit; the others do not.
    assert_eq!(leader.lock(4, "row", LockMode::KeyShare).await, seen);
    let child = RangeRequest::Commit {
        txn: TxnId(4),
        primary: key("child"),
        floor: leader.now(),
        writes: vec![Write { key: key("child"), value: Some("4".into()), seen: None }],
        locked: vec![LockedKey { key: key("row"), mode: LockMode::KeyShare, seen }],
    };
    committed(leader.ask(child).await);
    for (mode, wait) in
        [(LockMode::Share, WaitPolicy::NoWait), (LockMode::Exclusive, WaitPolicy::NoWait)]
    {
        let (txn, keys, snapshot) = (TxnId(5), vec![key("row")], None);
        let refused = leader.ask(RangeRequest::Lock { txn, keys, mode, wait, snapshot }).await;
        let expected = KvError::LockNotAvailable { key: key("row") };
        assert_eq!(refused, Err(RangeError::Kv(expected)));
    }
    conflict(leader.ask(commit(6, "row", "blind", Some(seen))).await, "row", 2);
    let (txn, mode) = (TxnId(7), LockMode::Share);
    let waiting = leader.spawn(RangeRequest::Lock {
        txn,
        keys: vec![key("row")],
        mode,
        wait: WaitPolicy::Wait(None),
        snapshot: None,
    });
    soon().await;
    assert!(!waiting.is_finished());
    let at = committed(leader.ask(leader.only(2, "new")).await);
    let locked = waiting.await.expect("ends");
    let value = Some("new".into());
    let expected = vec![LockedValue::Locked { value, committed_at: at }];
    assert_eq!(locked, Ok(RangeResponse::Locked(expected)));
    // A deleted parent: the child's lock waits, and finds nothing.
    leader.done(RangeRequest::Release { txn: TxnId(7) }).await;
    leader.lock(8, "row", LockMode::Exclusive).await;
    leader.done(leader.update(8, 1, "row", None, Some(at))).await;
    let (txn, mode) = (TxnId(9), LockMode::KeyShare);
    let waiting = leader.spawn(RangeRequest::Lock {
        txn,
        keys: vec![key("row")],
        mode,
        wait: WaitPolicy::Wait(None),
        snapshot: None,
    });
    soon().await;
    assert!(!waiting.is_finished());
    let at = committed(leader.ask(leader.only(8, "row")).await);
    let locked = waiting.await.expect("ends");
    let expected = vec![LockedValue::Locked { value: None, committed_at: at }];
    assert_eq!(locked, Ok(RangeResponse::Locked(expected)));
}

/// Its locks went with the leader that had them, and somebody else came first.
#[tokio::test]
async fn a_part_whose_lock_was_lost_is_refused() {
    let leader = Leader::new(RANGE);
    let seen = committed(leader.ask(commit(1, "a", "1", None)).await);
    for name in ["a", "held"] {
        leader.lock(2, name, LockMode::Exclusive).await;
    }
    leader.done(leader.insert(2, 1, &[("b", "2")])).await;
    leader.change_leader();
    committed(leader.ask(commit(3, "a", "3", Some(seen))).await);
    conflict(leader.ask(leader.update(2, 2, "a", Some("2"), Some(seen))).await, "a", 3);
    // And one that was only held, at the commit.
    let other = committed(leader.ask(commit(4, "held", "4", None)).await);
    let locked = LockedKey { key: key("held"), mode: LockMode::Share, seen: Timestamp::ZERO };
    conflict(leader.ask(leader.only_with(2, "b", vec![locked])).await, "held", 4);
    let locked = LockedKey { key: key("held"), mode: LockMode::Share, seen: other };
    committed(leader.ask(leader.only_with(2, "b", vec![locked])).await);
    // A large transaction that took the key without knowing of the lost lock.
    let seen = leader.lock(5, "b", LockMode::Exclusive).await;
    leader.change_leader();
    leader.done(leader.update(6, 1, "b", Some("6"), Some(seen))).await;
    conflict(leader.ask(leader.update(5, 1, "b", Some("5"), Some(seen))).await, "b", 6);
}

/// Rule 5: what a serializable transaction has read changes by a record, not by a version.
#[tokio::test]
async fn a_validation_sees_what_large_transactions_have_committed() {
    let leader = Leader::new(RANGE);
    let since = committed(leader.ask(commit(1, "a", "1", None)).await);
    leader.done(leader.update(2, 1, "a", Some("2"), Some(since))).await;
    leader.done(leader.insert(2, 2, &[("m", "2")])).await;
    let validate = |span: Span, at, passed| {
        let reads = vec![ReadSpan { span, since }];
        RangeRequest::Validate { txn: TxnId(9), at, reads, passed }
    };
    let spans = [Span::point(key("a")), Span::new(key("l"), key("n"))];
    let at = Timestamp(5000);
    for span in &spans {
        leader.done(validate(span.clone(), at, Vec::new())).await;
    }
    let min_commit = leader.prepare(2, "m").await;
    assert!(min_commit > at, "nothing comes in below a validation");
    for span in &spans {
        let met = leader.ask(validate(span.clone(), LATER, Vec::new())).await;
        assert!(matches!(met, Err(RangeError::Intents(_))), "{met:?}");
        leader.done(validate(span.clone(), LATER, vec![TxnId(2)])).await;
    }
    let commit = LATER.next();
    assert_eq!(committed(leader.ask(prepared(2, "m", commit)).await), commit);
    for (span, name) in spans.iter().zip(["a", "m"]) {
        leader.done(validate(span.clone(), LATER, Vec::new())).await;
        conflict(leader.ask(validate(span.clone(), commit, Vec::new())).await, name, 2);
    }
    // One that is on its way is waited for.
    leader.done(leader.insert(3, 1, &[("z", "3")])).await;
    leader.group.hold();
    let committing = leader.spawn(leader.only(3, "z"));
    soon().await;
    let later = Timestamp(2 << 30);
    let validating = leader.spawn(validate(Span::new(key("y"), Key::MIN), later, Vec::new()));
    soon().await;
    assert!(!validating.is_finished());
    leader.group.release();
    committed(committing.await.expect("ends"));
    conflict(validating.await.expect("ends"), "z", 3);
}

/// An acknowledged commit is at most one above what was drawn: the next snapshot sees it.
#[tokio::test]
async fn many_parts_do_not_run_ahead_of_the_oracle() {
    let leader = Leader::new(RANGE);
    leader.done(leader.insert(1, 1, &[("a", "1")])).await;
    let early = leader.update(1, 3, "c", Some("1"), None);
    for sequence in 10..60 {
        leader.done(leader.update(1, sequence, "a", Some("n"), None)).await;
    }
    let at = committed(leader.ask(leader.only(1, "a")).await);
    assert!(at <= leader.now(), "{at} was not drawn yet");
    // A part that was drawn for long ago meets a young version.
    let young = committed(leader.ask(commit(2, "c", "2", None)).await);
    let RangeRequest::BulkWrite(mut early) = early else { panic!("a part") };
    early.txn = TxnId(3);
    leader.done(RangeRequest::BulkWrite(early)).await;
    let at = committed(leader.ask(leader.only(3, "c")).await);
    assert!(at > young && at <= leader.now(), "{young} {at}");
    assert_eq!(leader.get("c", at).await, Some("1".into()));
    assert_eq!(leader.get("c", at.prev()).await, Some("2".into()));
}

/// What is rolled back takes no room, and what is written over it later stays.
#[tokio::test]
async fn a_rollback_removes_its_versions_and_no_others() {
    let leader = Leader::new(RANGE);
    leader.done(leader.insert(1, 1, &[("a", "1"), ("b", "1")])).await;
    leader.done(leader.insert(2, 1, &[("c", "2")])).await;
    leader.done(rolled_back(1, vec![Span::all()])).await;
    let at = committed(leader.ask(commit(3, "a", "3", None)).await);
    let versions = || {
        let options = storage::IterOptions::default();
        let engine = leader.group.engine.clone();
        let mut cursor = storage::EngineReader::iter(&*engine, storage::Cf::Data, options);
        let mut count = 0;
        cursor.seek_to_first();
        while cursor.valid() {
            count += 1;
            cursor.next();
        }
        count
    };
    until(|| {
        let left = versions();
        async move { (left == 2).then_some(()) }
    })
    .await;
    assert_eq!(leader.names(at, false).await, ["a"]);
    committed(leader.ask(leader.only(2, "c")).await);
    assert_eq!(leader.names(LATER, false).await, ["a", "c"]);
}

/// The tests above would notice: a dirty read.
#[tokio::test]
async fn planted_open_versions_are_seen() {
    plant(PlantedBug::OpenVersionsAreSeen);
    let leader = Leader::new(RANGE);
    leader.done(leader.insert(1, 1, &[("a", "1")])).await;
    assert_eq!(leader.get("a", LATER).await, Some("1".into()));
}

/// The tests above would notice: the older value comes back.
#[tokio::test]
async fn planted_late_copies_win() {
    plant(PlantedBug::LateCopiesWin);
    let leader = Leader::new(RANGE);
    let mut first = leader.insert(1, 1, &[("a", "first")]);
    leader.done(first.clone()).await;
    leader.done(leader.update(1, 2, "a", Some("second"), None)).await;
    if let RangeRequest::BulkWrite(part) = &mut first {
        part.absent = false;
    }
    leader.done(first).await;
    let at = committed(leader.ask(leader.only(1, "a")).await);
    assert_eq!(leader.get("a", at).await, Some("first".into()));
}

/// Given away and taken back within one term: what is on its way is not forgotten.
#[tokio::test]
async fn a_hand_over_that_fails_forgets_no_decision() {
    let leader = Leader::new(RANGE);
    leader.done(leader.insert(1, 1, &[("a", "1"), ("b", "2")])).await;
    leader.group.hold();
    let committing = leader.spawn(leader.only(1, "a"));
    soon().await;
    let group: Arc<dyn Group> = leader.group.clone();
    leader.evaluator.hand_over(&group).await.expect("it leads");
    leader.evaluator.resume(RANGE);
    let reading = leader.spawn(read("b", LATER));
    soon().await;
    assert!(!reading.is_finished(), "it commits below");
    leader.group.release();
    let at = committed(committing.await.expect("ends"));
    assert_eq!(reading.await.expect("ends"), Ok(RangeResponse::Values(vec![Some("2".into())])));
    assert_eq!(leader.names(at, false).await, ["a", "b"]);
}
