//! Histories made by hand, each with one thing wrong, and random ones with nothing wrong.

use super::*;
use crate::random::Random;
use AnomalyKind::*;

fn r(key: u64, list: &[u64]) -> Op {
    Op::Read { key, list: list.to_vec() }
}

fn a(key: u64, element: u64) -> Op {
    Op::Append { key, element }
}

/// All at once: nobody had ended before another began.
fn at_once(txns: &[(Outcome, &[Op])]) -> History {
    let count = txns.len() as u64;
    let spans: Vec<(u64, u64)> = (0..count).map(|id| (id, count + id)).collect();
    timed(txns, &spans)
}

fn one_by_one(txns: &[(Outcome, &[Op])]) -> History {
    let spans: Vec<(u64, u64)> = (0..txns.len() as u64).map(|id| (2 * id, 2 * id + 1)).collect();
    timed(txns, &spans)
}

fn timed(txns: &[(Outcome, &[Op])], spans: &[(u64, u64)]) -> History {
    let txns = txns.iter().zip(spans).enumerate();
    let txns = txns.map(|(id, ((outcome, ops), (invoked, completed)))| Txn {
        id,
        client: id,
        invoked: *invoked,
        completed: if *outcome == Outcome::Unknown { u64::MAX } else { *completed },
        outcome: *outcome,
        ops: ops.to_vec(),
    });
    History { txns: txns.collect() }
}

const OK: Outcome = Outcome::Committed;

fn kinds(history: &History) -> Vec<(AnomalyKind, bool)> {
    let mut kinds: Vec<_> = check(history).iter().map(|a| (a.kind, a.real_time)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Without what only real time makes wrong.
fn timeless(history: &History) -> Vec<AnomalyKind> {
    kinds(history).into_iter().filter(|(_, real_time)| !real_time).map(|(kind, _)| kind).collect()
}

#[test]
fn g0_two_writers_in_opposite_orders() {
    let history = at_once(&[
        (OK, &[a(1, 1), a(2, 1)]),
        (OK, &[a(1, 2), a(2, 2)]),
        (OK, &[r(1, &[1, 2])]),
        (OK, &[r(2, &[2, 1])]),
    ]);
    let found = timeless(&history);
    assert!(found.contains(&G0), "{found:?}");
    assert!(!violations(&history, Model::READ_COMMITTED).is_empty());
}

#[test]
fn g1a_a_read_of_an_aborted_write() {
    let history = at_once(&[(Outcome::Aborted, &[a(1, 1)]), (OK, &[r(1, &[1])])]);
    assert_eq!(timeless(&history), [G1a]);
    // Whose outcome is not known may have committed.
    let unknown = at_once(&[(Outcome::Unknown, &[a(1, 1)]), (OK, &[r(1, &[1])])]);
    assert_eq!(kinds(&unknown), []);
}

#[test]
fn g1b_a_read_in_the_middle_of_a_transaction() {
    let history =
        at_once(&[(OK, &[a(1, 1), a(1, 2)]), (OK, &[r(1, &[1])]), (OK, &[r(1, &[1, 2])])]);
    let found = timeless(&history);
    assert!(found.contains(&G1b), "{found:?}");
    // The writer itself may.
    let own = at_once(&[(OK, &[a(1, 1), r(1, &[1]), a(1, 2)]), (OK, &[r(1, &[1, 2])])]);
    assert_eq!(kinds(&own), []);
}

#[test]
fn g1c_each_read_what_the_other_wrote() {
    let history = at_once(&[(OK, &[a(1, 1), r(2, &[2])]), (OK, &[a(2, 2), r(1, &[1])])]);
    assert_eq!(timeless(&history), [G1c]);
    let explanation = check(&history)[0].to_string();
    for part in ["G1c: 2 transactions", "T0 -wr-> T1: on 1, T1 read 1", "T1 -wr-> T0", "a(1, 1)"] {
        assert!(explanation.contains(part), "{part} is not in {explanation}");
    }
}

#[test]
fn g_single_half_of_another_transaction_is_seen() {
    let history =
        at_once(&[(OK, &[a(1, 1), a(2, 2)]), (OK, &[r(1, &[]), r(2, &[2])]), (OK, &[r(1, &[1])])]);
    assert_eq!(timeless(&history), [GSingle]);
    assert!(violations(&history, Model::READ_COMMITTED).is_empty());
    assert_eq!(violations(&history, Model::REPEATABLE_READ).len(), 1);
}

#[test]
fn a_lost_update_is_named_and_is_a_g_single() {
    let history = at_once(&[
        (OK, &[r(1, &[]), a(1, 1)]),
        (OK, &[r(1, &[]), a(1, 2)]),
        (OK, &[r(1, &[1, 2])]),
    ]);
    assert_eq!(timeless(&history), [LostUpdate, GSingle]);
    assert!(violations(&history, Model::READ_COMMITTED).is_empty());
}

#[test]
fn an_unrepeatable_read_is_named() {
    let history = at_once(&[(OK, &[r(1, &[]), r(1, &[1])]), (OK, &[a(1, 1)])]);
    let found = timeless(&history);
    assert!(found.contains(&UnrepeatableRead) && found.contains(&GSingle), "{found:?}");
    assert!(violations(&history, Model::READ_COMMITTED).is_empty());
}

#[test]
fn g_nonadjacent_two_readers_see_two_writes_in_opposite_orders() {
    let history = at_once(&[
        (OK, &[a(1, 1)]),
        (OK, &[a(2, 2)]),
        (OK, &[r(1, &[1]), r(2, &[])]),
        (OK, &[r(1, &[]), r(2, &[2])]),
    ]);
    assert_eq!(timeless(&history), [GNonadjacent]);
    assert!(!violations(&history, Model::REPEATABLE_READ).is_empty());
    assert!(violations(&history, Model::READ_COMMITTED).is_empty());
}

#[test]
fn g2_write_skew_is_forbidden_only_when_serializable() {
    let history = at_once(&[
        (OK, &[r(1, &[]), r(2, &[]), a(1, 1)]),
        (OK, &[r(1, &[]), r(2, &[]), a(2, 2)]),
        (OK, &[r(1, &[1]), r(2, &[2])]),
    ]);
    assert_eq!(timeless(&history), [G2]);
    assert!(violations(&history, Model::REPEATABLE_READ).is_empty());
    assert!(!violations(&history, Model::SERIALIZABLE).is_empty());
}

#[test]
fn internal_own_appends_must_be_seen() {
    let history = at_once(&[(OK, &[a(1, 1), r(1, &[])])]);
    assert_eq!(timeless(&history), [Internal]);
}

#[test]
fn duplicates_strangers_and_orders_that_do_not_fit() {
    let twice = at_once(&[(OK, &[a(1, 1)]), (OK, &[r(1, &[1, 1])])]);
    assert!(timeless(&twice).contains(&DuplicateElement));
    let stranger = at_once(&[(OK, &[r(1, &[7])])]);
    assert_eq!(timeless(&stranger), [UnknownElement]);
    let fork =
        at_once(&[(OK, &[a(1, 1)]), (OK, &[a(1, 2)]), (OK, &[r(1, &[1])]), (OK, &[r(1, &[2])])]);
    assert!(timeless(&fork).contains(&IncompatibleOrder));
}

#[test]
fn a_lost_append_is_missing_for_who_came_later() {
    let txns: &[(Outcome, &[Op])] = &[(OK, &[a(1, 1)]), (OK, &[a(1, 2)]), (OK, &[r(1, &[2])])];
    assert_eq!(timeless(&one_by_one(txns)), [LostAppend]);
    assert_eq!(kinds(&at_once(txns)), []);
    let unknown = one_by_one(&[(Outcome::Unknown, &[a(1, 1)]), (OK, &[r(1, &[])])]);
    assert_eq!(kinds(&unknown), []);
}

#[test]
fn a_stale_read_is_wrong_only_in_real_time() {
    let history = one_by_one(&[(OK, &[a(1, 1)]), (OK, &[r(1, &[])]), (OK, &[r(1, &[1])])]);
    assert_eq!(kinds(&history), [(GSingle, true)]);
    assert!(violations(&history, Model::SERIALIZABLE).is_empty());
    let found = violations(&history, Model::STRICT_SERIALIZABLE);
    assert!(found[0].to_string().starts_with("G-single-realtime"), "{}", found[0]);
    assert!(found[0].explanation.contains("T0 had ended before T1 began"), "{}", found[0]);
}

#[test]
fn appends_against_real_time_are_g0_of_real_time() {
    let history = one_by_one(&[(OK, &[a(1, 1)]), (OK, &[a(1, 2)]), (OK, &[r(1, &[2, 1])])]);
    assert_eq!(kinds(&history), [(G0, true)]);
}

/// Transactions run one after the other on real lists; some abort, some are not heard of again.
fn serial(seed: u64, count: usize) -> History {
    let mut random = Random::new(seed);
    let mut lists: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut element = 0;
    let mut txns = Vec::new();
    for id in 0..count {
        let mut own = lists.clone();
        let ops: Vec<Op> = (0..random.below(5) + 1)
            .map(|_| {
                let key = random.below(4);
                let list = own.entry(key).or_default();
                if random.below(2) == 0 {
                    return Op::Read { key, list: list.clone() };
                }
                element += 1;
                list.push(element);
                Op::Append { key, element }
            })
            .collect();
        let outcome = match random.below(10) {
            0 => Outcome::Aborted,
            1 => Outcome::Unknown,
            _ => Outcome::Committed,
        };
        if outcome == OK || (outcome == Outcome::Unknown && random.below(2) == 0) {
            lists = own;
        }
        // Neighbours overlap; the order of effects is within every span.
        let at = 10 * id as u64 + 100;
        let (invoked, completed) = (at - random.below(30), at + random.below(30));
        let completed = if outcome == Outcome::Unknown { u64::MAX } else { completed };
        txns.push(Txn { id, client: id % 7, invoked, completed, outcome, ops });
    }
    History { txns }
}

#[test]
fn random_serial_histories_are_clean() {
    for seed in 0..50 {
        let history = serial(seed, 200);
        let found = violations(&history, Model::STRICT_SERIALIZABLE);
        assert!(found.is_empty(), "seed {seed}: {}", found[0]);
        assert!(history.count(OK) > 100);
    }
}

/// A checker that passes everything would pass the test above.
#[test]
fn random_serial_histories_with_one_read_turned_back_are_not_clean() {
    let mut caught = 0;
    for seed in 0..50 {
        let mut history = serial(seed, 200);
        let last = history.txns.iter_mut().rev().filter(|txn| txn.outcome == OK);
        let read = last.flat_map(|txn| &mut txn.ops).find_map(|op| match op {
            Op::Read { list, .. } if list.len() > 10 => Some(list),
            _ => None,
        });
        let Some(list) = read else { continue };
        list.truncate(list.len() - 8);
        caught += usize::from(!violations(&history, Model::STRICT_SERIALIZABLE).is_empty());
    }
    assert!(caught > 40, "{caught} of 50");
}

#[test]
fn ten_thousand_transactions_take_a_moment() {
    let history = serial(1, 10_000);
    let started = std::time::Instant::now();
    assert!(violations(&history, Model::STRICT_SERIALIZABLE).is_empty());
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
