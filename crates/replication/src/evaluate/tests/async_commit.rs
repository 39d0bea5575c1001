//! Asynchronous commits at the leader.

use super::*;
use core_domain::TxnStatus;

fn prewrite(txn: u64, primary: &str, writes: &[&str], others: &[&str]) -> RangeRequest {
    let write = |name: &&str| Write { key: key(name), value: Some("1".into()), seen: None };
    RangeRequest::PrewriteAsync(Box::new(AsyncPrewrite {
        txn: TxnId(txn),
        primary: key(primary),
        floor: Timestamp(2000),
        writes: writes.iter().map(write).collect(),
        locked: Vec::new(),
        secondaries: others.iter().map(|name| key(name)).collect(),
    }))
}

fn settle(txn: u64, names: &[&str]) -> RangeRequest {
    let keys = names.iter().map(|name| key(name)).collect();
    RangeRequest::SettleSecondaries { txn: TxnId(txn), keys }
}

fn push(txn: u64, primary: &str, above: u64) -> RangeRequest {
    let (primary, above) = (key(primary), Timestamp(above));
    RangeRequest::PushTxn { txn: TxnId(txn), primary, seen: above, now: above, above }
}

fn prewritten(answer: Result<RangeResponse, RangeError>) -> Timestamp {
    match answer {
        Ok(RangeResponse::Prewritten { min_commit }) => min_commit,
        other => panic!("not prewritten: {other:?}"),
    }
}

#[tokio::test]
async fn what_a_prewrite_answered_stays() {
    let leader = Leader::new(RANGE);
    let first = prewritten(leader.ask(prewrite(1, "a", &["a", "b"], &["b", "c"])).await);
    assert_eq!(first, Timestamp(2000), "the floor");
    assert_eq!(leader.get("d", Timestamp(3000)).await, None);
    assert_eq!(prewritten(leader.ask(prewrite(1, "a", &["a", "b"], &["b", "c"])).await), first);
    // The keys are cut into other parts: the new one is above the read, the old ones stay.
    let more = prewritten(leader.ask(prewrite(1, "a", &["b", "c"], &[])).await);
    assert!(more > Timestamp(3000));
    assert_eq!(prewritten(leader.ask(settle(1, &["b"])).await), first);
    assert_eq!(prewritten(leader.ask(settle(1, &["b", "c"])).await), more);
    let commit = RangeRequest::CommitPrimary {
        txn: TxnId(1),
        primary: key("a"),
        commit: more,
        keys: vec![key("b"), key("c")],
    };
    assert_eq!(committed(leader.ask(commit).await), more);
    assert_eq!(leader.get("c", more).await, Some("1".into()));
    let status = leader.ask(settle(1, &["c"])).await;
    assert_eq!(status, Ok(RangeResponse::Status(TxnStatus::Committed(more))));
}

#[tokio::test]
async fn what_was_missing_when_it_was_settled_never_comes() {
    let leader = Leader::new(RANGE);
    prewritten(leader.ask(prewrite(1, "a", &["a"], &["b", "c"])).await);
    prewritten(leader.ask(prewrite(1, "a", &["b"], &[])).await);
    let rolled_back = Ok(RangeResponse::Status(TxnStatus::RolledBack));
    assert_eq!(leader.ask(settle(1, &["b", "c"])).await, rolled_back);
    let late = leader.ask(prewrite(1, "a", &["c"], &[])).await;
    assert!(matches!(late, Err(RangeError::Kv(KvError::Aborted { .. }))), "{late:?}");
    assert_eq!(leader.ask(settle(1, &["b", "c"])).await, rolled_back);
}

/// A push is taken while nothing is decided, and never after.
#[tokio::test]
async fn a_push_comes_before_the_primarys_intent_or_not_at_all() {
    let leader = Leader::new(RANGE);
    let pushed = leader.ask(push(1, "a", 4000)).await;
    assert_eq!(pushed, Ok(RangeResponse::Pushed { above: Timestamp(4000) }));
    assert!(prewritten(leader.ask(prewrite(1, "a", &["a"], &["b"])).await) > Timestamp(4000));
    let pushed = leader.ask(push(1, "a", 5000)).await;
    assert_eq!(pushed, Ok(RangeResponse::Status(TxnStatus::InProgress)));
}
