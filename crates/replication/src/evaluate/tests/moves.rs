//! Rules 2 and 9: what the leader remembers, through a split and on its way to another leader.

use super::*;

const RIGHT: RangeId = RangeId(8);

fn split(left: &Leader) -> Leader {
    split_at(left, "m", RIGHT)
}

/// The right half is led by the same node, in a term of its own.
fn split_at(left: &Leader, at: &str, right: RangeId) -> Leader {
    let before = left.group.descriptor();
    let (low, high) = before.split(&key(at), right).expect("within");
    left.evaluator.split(&low, &high);
    let group = FakeGroup::new(right, left.group.engine.clone());
    for (half, now) in [(&left.group, low), (&group, high)] {
        half.generation.store(now.generation.0, Ordering::SeqCst);
        *half.span.lock() = now.span;
    }
    Leader { evaluator: left.evaluator.clone(), group, time: left.time.clone() }
}

fn try_lock(txn: u64, name: &str) -> RangeRequest {
    RangeRequest::Lock {
        txn: TxnId(txn),
        keys: vec![key(name)],
        mode: LockMode::Exclusive,
        wait: WaitPolicy::NoWait,
        snapshot: None,
    }
}

fn busy(answer: &Result<RangeResponse, RangeError>) -> bool {
    matches!(answer, Err(RangeError::Kv(KvError::LockNotAvailable { .. })))
}

fn prewrite(txn: u64, name: &str) -> RangeRequest {
    RangeRequest::Prewrite {
        txn: TxnId(txn),
        primary: key(name),
        writes: vec![Write { key: key(name), value: Some("1".into()), seen: None }],
        locked: Vec::new(),
    }
}

#[tokio::test]
async fn the_right_half_stays_above_what_the_left_one_has_served() {
    let left = Leader::new(RANGE);
    let at = Timestamp(5000);
    assert_eq!(left.get("z", at).await, None);
    let right = split(&left);
    assert!(committed(right.ask(commit(1, "z", "new", None)).await) > at);
    assert_eq!(right.get("z", at).await, None, "the snapshot did not change under its reader");
}

#[tokio::test]
async fn a_push_binds_the_right_half_too() {
    let left = Leader::new(RANGE);
    assert!(left.ask(prewrite(1, "z")).await.is_ok());
    let at = left.now();
    let (seen, now, above, primary) = (at, at, at, key("z"));
    let push = RangeRequest::PushTxn { txn: TxnId(1), primary, seen, now, above };
    assert_eq!(left.ask(push).await, Ok(RangeResponse::Pushed { above: at }));
    let right = split(&left);
    let decide = |commit| RangeRequest::CommitPrimary {
        txn: TxnId(1),
        primary: key("z"),
        commit,
        keys: Vec::new(),
    };
    let refused = right.ask(decide(at)).await;
    assert!(matches!(refused, Ok(RangeResponse::Pushed { above }) if above >= at), "{refused:?}");
    committed(right.ask(decide(right.now())).await);
}

#[tokio::test]
async fn locks_and_their_waiters_stay_with_their_keys() {
    let left = Leader::new(RANGE);
    left.lock(1, "a", LockMode::Exclusive).await;
    left.lock(1, "z", LockMode::Exclusive).await;
    let waiting = left.spawn(RangeRequest::Lock {
        txn: TxnId(2),
        keys: vec![key("z")],
        mode: LockMode::Exclusive,
        wait: WaitPolicy::Wait(None),
        snapshot: None,
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    let right = split(&left);
    for (half, name) in [(&left, "a"), (&right, "z")] {
        assert!(busy(&half.ask(try_lock(3, name)).await), "{name}");
    }
    assert!(!waiting.is_finished());
    // Who loses one half loses its locks, not those of the other.
    left.change_leader();
    assert!(left.ask(try_lock(3, "a")).await.is_ok());
    assert!(busy(&right.ask(try_lock(3, "z")).await));
    assert_eq!(right.ask(RangeRequest::Release { txn: TxnId(1) }).await, Ok(RangeResponse::Done));
    let woken = waiting.await.expect("ends");
    assert!(matches!(woken, Err(RangeError::WrongRange { .. })), "{woken:?}");
    assert!(right.ask(try_lock(2, "z")).await.is_ok(), "it was its turn");
    assert!(busy(&right.ask(try_lock(3, "z")).await));
}

/// The split is applied while the range is being handed over: the locks are still here.
#[tokio::test]
async fn a_split_during_a_hand_over_keeps_the_locks_of_the_right_half() {
    let left = Leader::new(RANGE);
    left.lock(1, "z", LockMode::Exclusive).await;
    let group: Arc<dyn Group> = left.group.clone();
    left.evaluator.hand_over(&group).await.expect("it leads");
    let right = split(&left);
    assert!(busy(&right.ask(try_lock(2, "z")).await));
}

/// The half that is split again has not served anything yet.
#[tokio::test]
async fn a_second_split_at_once_keeps_the_locks_of_both_halves() {
    let left = Leader::new(RANGE);
    left.lock(1, "n", LockMode::Exclusive).await;
    left.lock(1, "z", LockMode::Exclusive).await;
    let middle = split_at(&left, "m", RIGHT);
    let right = split_at(&middle, "t", RangeId(9));
    for (half, name) in [(&middle, "n"), (&right, "z")] {
        assert!(busy(&half.ask(try_lock(3, name)).await), "{name}");
    }
}

/// Nothing that has ended goes along, and nothing that goes along is freed here.
#[tokio::test]
async fn what_is_handed_over_is_what_is_held() {
    let leader = Leader::new(RANGE);
    leader.lock(1, "a", LockMode::Exclusive).await;
    leader.lock(2, "b", LockMode::Exclusive).await;
    leader.group.hold();
    let landing = leader.spawn(commit(1, "a", "1", None));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let group: Arc<dyn Group> = leader.group.clone();
    let evaluator = leader.evaluator.clone();
    let handing = tokio::spawn(async move { evaluator.hand_over(&group).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!handing.is_finished(), "what is in flight lands first");
    let refused = leader.ask(commit(2, "b", "1", None)).await;
    assert!(matches!(refused, Err(RangeError::NotLeader { .. })), "{refused:?}");
    leader.group.release();
    committed(landing.await.expect("ends"));
    let held = handing.await.expect("ends").expect("it leads");
    assert_eq!(held, [(TxnId(2), key("b"), LockMode::Exclusive)]);
    let requests = [
        RangeRequest::Release { txn: TxnId(2) },
        RangeRequest::ReleaseKeys { txn: TxnId(2), keys: vec![key("b")] },
        RangeRequest::WeakenKeys { txn: TxnId(2), locks: vec![(key("b"), LockMode::Share)] },
        RangeRequest::Reassert { txn: TxnId(2), locks: vec![(key("b"), LockMode::Share)] },
        RangeRequest::Get { keys: vec![key("a")], at: Timestamp(9000) },
    ];
    for request in requests {
        let refused = leader.ask(request).await;
        assert!(matches!(refused, Err(RangeError::NotLeader { .. })), "{refused:?}");
    }
    assert!(leader.evaluator.try_get(&*leader.group, &key("a"), Timestamp(9000)).is_none());

    let heir = Leader::new(RANGE);
    heir.evaluator.take_over(&heir.group.descriptor(), held);
    assert!(busy(&heir.ask(try_lock(3, "b")).await));
    assert!(heir.ask(try_lock(3, "a")).await.is_ok());
    // The same message, late: nothing of what is held now is forgotten.
    heir.evaluator.take_over(&heir.group.descriptor(), Vec::new());
    assert!(busy(&heir.ask(try_lock(4, "b")).await) && busy(&heir.ask(try_lock(4, "a")).await));
    // The one that did not get rid of it goes on with what it had.
    leader.evaluator.resume(RANGE);
    assert!(busy(&leader.ask(try_lock(3, "b")).await));
    assert_eq!(leader.get("a", Timestamp(9000)).await, Some("1".into()));
}

/// A hand-over that fails leaves its leader in the same term, and with what is in flight in it.
#[tokio::test]
async fn a_leader_that_stays_still_waits_for_what_is_in_flight() {
    let leader = Leader::new(RANGE);
    leader.group.hold();
    let landing = leader.spawn(commit(1, "a", "1", None));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let group: Arc<dyn Group> = leader.group.clone();
    leader.evaluator.hand_over(&group).await.expect("it does not wait for ever");
    leader.evaluator.resume(RANGE);
    let reading = leader.spawn(RangeRequest::Get { keys: vec![key("a")], at: Timestamp(9000) });
    let quick = leader.ask(RangeRequest::Get { keys: vec![key("b")], at: Timestamp(9000) }).await;
    assert_eq!(quick, Ok(RangeResponse::Values(vec![None])));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!reading.is_finished());
    leader.group.release();
    assert!(committed(landing.await.expect("ends")) < Timestamp(9000));
    let seen = reading.await.expect("ends");
    assert_eq!(seen, Ok(RangeResponse::Values(vec![Some("1".into())])));
}
