//! Rule 5 at the leader.

use super::*;
use core_domain::{ReadSpan, TxnStatus};

fn validated(txn: u64, writes: &str, reads: &[(&str, u64)]) -> RangeRequest {
    let reads = reads
        .iter()
        .map(|(name, since)| ReadSpan { span: Span::point(key(name)), since: Timestamp(*since) });
    RangeRequest::CommitValidated(Box::new(ValidatedCommit {
        txn: TxnId(txn),
        primary: key(writes),
        floor: Timestamp::ZERO,
        writes: vec![Write { key: key(writes), value: Some("1".into()), seen: None }],
        locked: Vec::new(),
        reads: reads.collect(),
    }))
}

fn prewrite(txn: u64, name: &str) -> RangeRequest {
    RangeRequest::Prewrite {
        txn: TxnId(txn),
        primary: key(name),
        writes: vec![Write { key: key(name), value: Some("1".into()), seen: None }],
        locked: Vec::new(),
    }
}

fn commit_primary(txn: u64, name: &str, commit: Timestamp) -> RangeRequest {
    RangeRequest::CommitPrimary { txn: TxnId(txn), primary: key(name), commit, keys: Vec::new() }
}

fn push(txn: u64, name: &str, above: Timestamp) -> RangeRequest {
    RangeRequest::PushTxn { txn: TxnId(txn), primary: key(name), seen: above, now: above, above }
}

fn conflict(answer: Result<RangeResponse, RangeError>, name: &str, other: u64) {
    let expected = KvError::Conflict { key: key(name), other: TxnId(other) };
    assert_eq!(answer, Err(RangeError::Kv(expected)));
}

#[tokio::test]
async fn a_commit_is_refused_for_what_changed_since_it_was_read() {
    let leader = Leader::new(RANGE);
    let first = committed(leader.ask(commit(1, "a", "1", None)).await);
    conflict(leader.ask(validated(2, "b", &[("a", first.prev().0)])).await, "a", 1);
    assert_eq!(leader.get("b", Timestamp(9000)).await, None);
    let done = committed(leader.ask(validated(3, "b", &[("a", first.0)])).await);
    assert_eq!(committed(leader.ask(validated(3, "b", &[("a", 0)])).await), done, "sent again");
    // What is refused leaves no latch behind.
    committed(leader.ask(commit(4, "b", "2", None)).await);
}

/// Both have read what the other writes; neither is applied when the other is evaluated.
#[tokio::test]
async fn commits_in_flight_are_waited_for_where_something_was_read() {
    let leader = Leader::new(RANGE);
    let since = leader.now().0;
    leader.group.hold();
    let first = leader.spawn(validated(1, "a", &[("b", since)]));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let second = leader.spawn(validated(2, "b", &[("a", since)]));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!second.is_finished());
    leader.group.release();
    committed(first.await.expect("ends"));
    conflict(second.await.expect("ends"), "a", 1);
}

/// A validated read is a read: nobody commits below it afterwards.
#[tokio::test]
async fn nothing_comes_in_below_a_validation() {
    let leader = Leader::new(RANGE);
    let at = leader.now().plus(Duration::from_millis(10));
    let reads = vec![ReadSpan { span: Span::point(key("a")), since: Timestamp(1) }];
    let validate =
        RangeRequest::Validate { txn: TxnId(1), at, reads: reads.clone(), passed: Vec::new() };
    assert_eq!(leader.ask(validate.clone()).await, Ok(RangeResponse::Done));
    assert!(committed(leader.ask(commit(2, "a", "1", None)).await) > at);
    assert_eq!(leader.ask(validate).await, Ok(RangeResponse::Done), "that was later");
    let own = committed(leader.ask(validated(3, "b", &[("c", 1)])).await);
    assert!(committed(leader.ask(commit(4, "c", "1", None)).await) > own);
}

#[tokio::test]
async fn an_intent_in_the_way_is_reported_until_it_is_pushed() {
    let leader = Leader::new(RANGE);
    let Ok(RangeResponse::Prewritten { min_commit }) = leader.ask(prewrite(1, "a")).await else {
        panic!("prewritten");
    };
    let at = min_commit.plus(Duration::from_millis(1));
    let reads = vec![ReadSpan { span: Span::all(), since: Timestamp(1) }];
    let validate = |passed: Vec<TxnId>| RangeRequest::Validate {
        txn: TxnId(2),
        at,
        reads: reads.clone(),
        passed,
    };
    let refused = leader.ask(validate(Vec::new())).await;
    assert!(matches!(refused, Err(RangeError::Intents(found)) if found[0].txn == TxnId(1)));
    assert_eq!(leader.ask(push(1, "a", at)).await, Ok(RangeResponse::Pushed { above: at }));
    assert_eq!(leader.ask(validate(vec![TxnId(1)])).await, Ok(RangeResponse::Done));
    // What was pushed must not commit where the other has read that it did not.
    let refused = leader.ask(commit_primary(1, "a", at)).await;
    assert_eq!(refused, Ok(RangeResponse::Pushed { above: at }));
    assert_eq!(committed(leader.ask(commit_primary(1, "a", at.next())).await), at.next());
    let status = leader.ask(push(1, "a", at)).await;
    assert_eq!(status, Ok(RangeResponse::Status(TxnStatus::Committed(at.next()))));
}

/// Pushes are gone with their leader; the next one refuses what may have been pushed.
#[tokio::test]
async fn a_push_outlives_its_leader() {
    let leader = Leader::new(RANGE);
    assert!(leader.ask(prewrite(1, "a")).await.is_ok());
    let at = leader.now();
    assert_eq!(leader.ask(push(1, "a", at)).await, Ok(RangeResponse::Pushed { above: at }));
    leader.change_leader();
    let refused = leader.ask(commit_primary(1, "a", at)).await;
    let Ok(RangeResponse::Pushed { above }) = refused else { panic!("{refused:?}") };
    assert!(above >= at);
    committed(leader.ask(commit_primary(1, "a", above.next())).await);
}
