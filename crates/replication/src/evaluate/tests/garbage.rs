//! Rule 16 at the leader.

use super::*;
use core_domain::ReadSpan;

fn delete(txn: u64, name: &str) -> RangeRequest {
    RangeRequest::Commit {
        txn: TxnId(txn),
        primary: key(name),
        floor: Timestamp::ZERO,
        writes: vec![Write { key: key(name), value: None, seen: None }],
        locked: Vec::new(),
    }
}

fn too_old<T>(at: Timestamp) -> Result<T, RangeError> {
    Err(RangeError::Kv(KvError::SnapshotTooOld { at }))
}

impl Leader {
    /// Raises the threshold; returns once nothing is left of what was deleted.
    async fn collect(&self, threshold: Timestamp, deleted: &[(&str, Timestamp)]) {
        let marks = Marks { threshold, records: Timestamp::ZERO };
        self.evaluator.raise_marks(marks).await.expect("memory takes it");
        for (name, commit) in deleted {
            let encoded = storage::keyspace::encode_key(name.as_bytes());
            self.group.engine.garbage().note(storage::gc::Run::new(encoded, *commit));
        }
        self.evaluator.collect_garbage().await.expect("memory can be read");
        for (name, _) in deleted {
            let newest = || storage::mvcc::newest(&*self.group.engine, &key(name));
            // The evaluator's own collector may be at it.
            while newest().expect("memory can be read").is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// What was read at 1000 was deleted since, and of that no trace is left.
#[tokio::test]
async fn validation_refuses_what_was_read_below_the_threshold() {
    let leader = Leader::new(RANGE);
    let since = committed(leader.ask(commit(1, "a", "1", None)).await);
    let deleted = committed(leader.ask(delete(2, "a")).await);
    let reads = |since| vec![ReadSpan { span: Span::all(), since }];
    let at = deleted.next();
    let validate = |since| RangeRequest::Validate {
        txn: TxnId(at.0),
        at,
        reads: reads(since),
        passed: vec![],
    };
    let validated = |since| {
        RangeRequest::CommitValidated(Box::new(ValidatedCommit {
            txn: TxnId(at.0),
            primary: key("b"),
            floor: at,
            writes: vec![Write { key: key("b"), value: Some("1".into()), seen: None }],
            locked: Vec::new(),
            reads: reads(since),
        }))
    };
    let changed = leader.ask(validate(since)).await;
    assert!(matches!(changed, Err(RangeError::Kv(KvError::Conflict { .. }))), "{changed:?}");
    leader.collect(deleted, &[("a", deleted)]).await;
    assert_eq!(leader.ask(validate(since)).await, too_old(since));
    assert_eq!(leader.ask(validated(since)).await, too_old(since));
    assert_eq!(leader.ask(validate(deleted)).await, Ok(RangeResponse::Done));
    committed(leader.ask(validated(deleted)).await);
}

#[tokio::test]
async fn reads_and_locks_below_the_threshold_are_refused() {
    let leader = Leader::new(RANGE);
    let old = committed(leader.ask(commit(1, "a", "1", None)).await);
    let deleted = committed(leader.ask(delete(2, "a")).await);
    let get = |at| RangeRequest::Get { keys: vec![key("a")], at };
    let scan = |at| RangeRequest::Scan {
        span: Span::all(),
        at,
        reverse: false,
        rows_max: 10,
        bytes_max: 1 << 20,
    };
    let lock = |at: Timestamp| RangeRequest::Lock {
        txn: TxnId(at.0),
        keys: vec![key("a")],
        mode: LockMode::Exclusive,
        wait: WaitPolicy::NoWait,
        snapshot: Some(at),
    };
    let try_get = |at| leader.evaluator.try_get(&*leader.group, &key("a"), at);
    assert!(try_get(old).is_some_and(|found| found.is_some()));
    leader.collect(deleted, &[("a", deleted)]).await;
    for request in [get(old), scan(old), lock(old)] {
        assert_eq!(leader.ask(request).await, too_old(old));
    }
    leader.ask(RangeRequest::Release { txn: TxnId(old.0) }).await.unwrap();
    assert_eq!(try_get(old), None, "asked in the ordinary way, it is refused");
    assert_eq!(try_get(deleted), Some(None));
    for request in [get(deleted), scan(deleted), lock(deleted)] {
        assert!(leader.ask(request).await.is_ok());
    }
}

/// A prewrite is delivered again after its transaction was resolved and the row deleted. Then the
/// deletion is collected, and what the copy left is finished as its transaction was.
#[tokio::test]
async fn a_late_copy_of_an_intent_does_not_bring_a_row_back() {
    let leader = Leader::new(RANGE);
    let write = |name: &str| Write { key: key(name), value: Some("old".into()), seen: None };
    let prewrite = |writes| RangeRequest::Prewrite {
        txn: TxnId(5),
        primary: key("p"),
        writes,
        locked: Vec::new(),
    };
    let first = leader.ask(prewrite(vec![write("a"), write("p")])).await;
    let Ok(RangeResponse::Prewritten { min_commit }) = first else { panic!("{first:?}") };
    let decide = RangeRequest::CommitPrimary {
        txn: TxnId(5),
        primary: key("p"),
        commit: min_commit,
        keys: vec![],
    };
    committed(leader.ask(decide).await);
    let resolve = RangeRequest::Resolve {
        txn: TxnId(5),
        outcome: Outcome::Committed(min_commit),
        keys: vec![key("a")],
    };
    assert_eq!(leader.ask(resolve.clone()).await, Ok(RangeResponse::Done));
    let deleted = committed(leader.ask(delete(6, "a")).await);
    leader.ask(prewrite(vec![write("a")])).await.expect("nothing tells it from a first copy");
    leader.collect(deleted, &[("a", deleted)]).await;
    assert_eq!(leader.ask(resolve).await, Ok(RangeResponse::Done));
    assert_eq!(leader.get("a", deleted.plus(Duration::from_secs(1))).await, None);
}

/// Leftovers of old transactions are found before their status records expire, and what such a
/// transaction asks after that is refused.
#[tokio::test]
async fn records_expire_only_below_the_oldest_intent() {
    let leader = Leader::new(RANGE);
    let prewrite = RangeRequest::Prewrite {
        txn: TxnId(5),
        primary: key("a"),
        writes: vec![Write { key: key("a"), value: Some("new".into()), seen: None }],
        locked: Vec::new(),
    };
    leader.ask(prewrite.clone()).await.expect("prewritten");
    let find = |before| RangeRequest::FindIntents { before: Timestamp(before) };
    assert_eq!(leader.ask(find(5)).await, Ok(RangeResponse::Done));
    match leader.ask(find(6)).await {
        Err(RangeError::Intents(found)) => assert_eq!(found[0].txn, TxnId(5)),
        other => panic!("the intent is not found: {other:?}"),
    }
    let (txn, primary) = (TxnId(5), key("a"));
    leader.ask(RangeRequest::Rollback { txn, primary }).await.expect("rolled back");
    assert_eq!(leader.ask(find(6)).await, Ok(RangeResponse::Done));
    let marks = Marks { threshold: Timestamp(6), records: Timestamp(6) };
    leader.evaluator.raise_marks(marks).await.expect("memory takes it");
    leader.group.engine.compact(storage::Cf::Txn, &[], &[0xff; 64]).expect("compacted");
    for late in [prewrite, commit(5, "a", "late", None)] {
        let refused = leader.ask(late).await;
        let too_old = KvError::SnapshotTooOld { at: Timestamp(5) };
        assert_eq!(refused, Err(RangeError::Kv(too_old)));
    }
}

/// A row that was deleted when it was locked may be written, although its tombstone is gone.
#[tokio::test]
async fn a_collected_tombstone_is_no_conflict() {
    let leader = Leader::new(RANGE);
    committed(leader.ask(commit(1, "a", "1", None)).await);
    let deleted = committed(leader.ask(delete(2, "a")).await);
    let began = deleted.next();
    let seen = leader.lock(began.0, "a", LockMode::Exclusive).await;
    assert_eq!(seen, deleted);
    leader.collect(deleted, &[("a", deleted)]).await;
    committed(leader.ask(commit(began.0, "a", "again", Some(seen))).await);
    let stale = leader.ask(commit(began.0 + 1, "a", "lost", Some(seen))).await;
    assert!(matches!(stale, Err(RangeError::Kv(KvError::Conflict { .. }))), "{stale:?}");
}
