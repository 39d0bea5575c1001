//! Circles of waiters that run through several nodes, or through a session's two transactions: found
//! at the leader of the system range from what the nodes report (protocol.md, rule 23).
//!
//! ```text
//! node 1   t1 waits at key b for t2 ──┐ every 100 ms, while anybody has waited for so long
//! node 2   t2 waits at key a for t1 ──┴─▶ the graph ─▶ to node 2: t2, the youngest, gives way
//! ```
//!
//! Circles within one node's lock table are refused at once, where they close (`lock_table.rs`).
//!
//! A report is what was true when it was written, so two reports may show a circle that never was.
//! But an edge in two consecutive reports was there all the time in between: the second was written
//! after the first had been received here. Each edge thus holds from the receipt of the first report
//! that names it to the receipt of the last but one, both told by this node's clock, and only edges
//! that held at one and the same instant are looked at. A wait that is broken off and begun again has
//! another ticket and is another edge. Memory only: a new leader has it all after two reports.

use core_domain::{Key, LockMode, NodeId, TxnId};
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A node that has not reported for so long counts as having no waiters.
const REPORT_AGE_MAX: Duration = Duration::from_secs(1);

/// One waiter in one queue, as its leader tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitEdge {
    pub ticket: u64,
    pub waiter: TxnId,
    pub key: Key,
    pub mode: LockMode,
    pub blockers: Vec<TxnId>,
}

/// What a node says of its waiters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitReport {
    pub node: NodeId,
    /// Counts the reports of this node.
    pub sequence: u64,
    /// The last one that was answered before this one was written; zero: none.
    pub answered: u64,
    pub waits: Vec<WaitEdge>,
    /// Waits that no lock table knows: the first goes on when the second does.
    pub others: Vec<(TxnId, TxnId)>,
}

/// Who is to give way: the wait with this ticket, at the node that reported it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victim {
    pub ticket: u64,
    pub waiter: TxnId,
    pub key: Key,
    /// The transaction in the circle that it waits for.
    pub holder: TxnId,
}

#[derive(Default)]
pub struct WaitGraph {
    /// The leader's term: what was gathered in another is void.
    term: u64,
    nodes: BTreeMap<NodeId, Reporter>,
}

struct Reporter {
    sequence: u64,
    received: Duration,
    /// When the report before this one was received: what is in both held until then.
    confirmed: Option<Duration>,
    waits: Vec<WaitEdge>,
    since: HashMap<Edge, Duration>,
}

/// The ticket tells one wait from the next; zero: no lock table's.
type Edge = (u64, TxnId, TxnId);

impl WaitGraph {
    /// Takes a report in; answers which of its waits must end.
    pub fn report(&mut self, now: Duration, term: u64, report: WaitReport) -> Vec<Victim> {
        if self.term != term {
            self.nodes.clear();
            self.term = term;
        }
        let node = report.node;
        let before = self.nodes.get(&node);
        if before.is_some_and(|before| before.sequence >= report.sequence) && report.answered > 0 {
            // A straggler: a later one has been here already.
            return Vec::new();
        }
        let before = before.filter(|b| b.sequence == report.answered && report.answered > 0);
        let waits = report.waits.iter().flat_map(|wait| {
            wait.blockers.iter().map(|blocker| (wait.ticket, wait.waiter, *blocker))
        });
        let others = report.others.iter().map(|(waiter, holder)| (0, *waiter, *holder));
        let known = |edge: &Edge| before.and_then(|before| before.since.get(edge).copied());
        let since = waits.chain(others).map(|edge| (edge, known(&edge).unwrap_or(now))).collect();
        let reporter = Reporter {
            sequence: report.sequence,
            received: now,
            confirmed: before.map(|before| before.received),
            waits: report.waits,
            since,
        };
        self.nodes.insert(node, reporter);
        self.nodes.retain(|_, reporter| {
            !reporter.since.is_empty() && now.saturating_sub(reporter.received) <= REPORT_AGE_MAX
        });
        self.victims_at(node)
    }

    /// Every wait that is known, as of the last reports.
    pub fn waits(&self, now: Duration) -> Vec<WaitEdge> {
        let fresh = self
            .nodes
            .values()
            .filter(|reporter| now.saturating_sub(reporter.received) <= REPORT_AGE_MAX);
        fresh.flat_map(|reporter| reporter.waits.iter().cloned()).collect()
    }

    /// The youngest waiter of each circle gives way, so its node alone can tell.
    fn victims_at(&self, node: NodeId) -> Vec<Victim> {
        let Some(reporter) = self.nodes.get(&node) else { return Vec::new() };
        // The latest instant up to which everybody's edges are confirmed.
        let confirmed = self.nodes.values().filter_map(|reporter| reporter.confirmed);
        let Some(instant) = confirmed.min() else { return Vec::new() };
        let mut edges: HashMap<TxnId, Vec<TxnId>> = HashMap::new();
        let mut waiters = HashSet::new();
        for reporter in self.nodes.values() {
            for ((ticket, waiter, holder), since) in &reporter.since {
                if *since <= instant {
                    edges.entry(*waiter).or_default().push(*holder);
                    if *ticket > 0 {
                        waiters.insert(*waiter);
                    }
                }
            }
        }
        trim_to_circles(&mut edges);
        if edges.is_empty() {
            return Vec::new();
        }
        let held = |edge: &Edge| reporter.since.get(edge).is_some_and(|since| *since <= instant);
        let mut victims = Vec::new();
        for wait in reporter.waits.iter().filter(|wait| edges.contains_key(&wait.waiter)) {
            let gives_way = wait.blockers.iter().find(|blocker| {
                held(&(wait.ticket, wait.waiter, **blocker))
                    && leads_back(wait.waiter, **blocker, &edges, &waiters)
            });
            if let Some(holder) = gives_way {
                victims.push(Victim {
                    ticket: wait.ticket,
                    waiter: wait.waiter,
                    key: wait.key.clone(),
                    holder: *holder,
                });
            }
        }
        victims
    }
}

/// Takes out whoever waits for nobody that waits, again and again: mostly nothing is left.
fn trim_to_circles(edges: &mut HashMap<TxnId, Vec<TxnId>>) {
    let mut behind: HashMap<TxnId, Vec<TxnId>> = HashMap::new();
    for (waiter, holders) in edges.iter() {
        for holder in holders {
            behind.entry(*holder).or_default().push(*waiter);
        }
    }
    let mut left: HashMap<TxnId, usize> =
        edges.iter().map(|(waiter, holders)| (*waiter, holders.len())).collect();
    let mut free: Vec<TxnId> =
        behind.keys().copied().filter(|holder| !edges.contains_key(holder)).collect();
    while let Some(txn) = free.pop() {
        for waiter in behind.get(&txn).into_iter().flatten() {
            if let Some(count) = left.get_mut(waiter) {
                *count -= 1;
                if *count == 0 {
                    edges.remove(waiter);
                    free.push(*waiter);
                }
            }
        }
    }
}

/// Whether `from` waits for `victim`, by way of waiters that are older than it.
fn leads_back(
    victim: TxnId,
    from: TxnId,
    edges: &HashMap<TxnId, Vec<TxnId>>,
    waiters: &HashSet<TxnId>,
) -> bool {
    let mut open = vec![from];
    let mut seen = HashSet::new();
    while let Some(txn) = open.pop() {
        if txn == victim {
            return true;
        }
        let younger = txn > victim && waiters.contains(&txn);
        if !younger && seen.insert(txn) {
            open.extend(edges.get(&txn).into_iter().flatten());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports as they arrive, one every 100 ms, each answered before the node's next.
    #[derive(Default)]
    struct Talk {
        graph: WaitGraph,
        now: Duration,
        sent: HashMap<u64, u64>,
    }

    impl Talk {
        /// `waits`: (ticket, waiter, blocker).
        fn report(
            &mut self,
            node: u64,
            waits: &[(u64, u64, u64)],
            others: &[(u64, u64)],
        ) -> Vec<u64> {
            self.now += Duration::from_millis(100);
            let sent = self.sent.entry(node).or_default();
            *sent += 1;
            let report = WaitReport {
                node: NodeId(node),
                sequence: *sent,
                answered: *sent - 1,
                waits: waits
                    .iter()
                    .map(|(ticket, waiter, blocker)| WaitEdge {
                        ticket: *ticket,
                        waiter: TxnId(*waiter),
                        key: Key::from(&b"k"[..]),
                        mode: LockMode::Exclusive,
                        blockers: vec![TxnId(*blocker)],
                    })
                    .collect(),
                others: others.iter().map(|(a, b)| (TxnId(*a), TxnId(*b))).collect(),
            };
            let victims = self.graph.report(self.now, 1, report);
            victims.into_iter().map(|victim| victim.waiter.0).collect()
        }
    }

    const NOBODY: [u64; 0] = [];

    #[test]
    fn a_circle_is_believed_when_both_nodes_have_confirmed_it_and_the_youngest_gives_way() {
        let mut talk = Talk::default();
        for _ in 0..2 {
            assert_eq!(talk.report(1, &[(1, 10, 20)], &[]), NOBODY);
            assert_eq!(talk.report(2, &[(1, 20, 10)], &[]), NOBODY);
        }
        assert_eq!(talk.report(1, &[(1, 10, 20)], &[]), NOBODY);
        assert_eq!(talk.report(2, &[(1, 20, 10)], &[]), [20]);
        assert_eq!(talk.report(2, &[], &[]), NOBODY);
        assert_eq!(talk.report(1, &[(1, 10, 20)], &[]), NOBODY);
    }

    /// t10 waited for t20 and then, after t20 had ended its wait, t20 for t10: never both.
    #[test]
    fn a_circle_that_never_was_is_not_seen() {
        let mut talk = Talk::default();
        talk.report(1, &[(1, 10, 20)], &[]);
        talk.report(1, &[(1, 10, 20)], &[]);
        talk.report(1, &[(1, 10, 20)], &[]);
        // From here on node 1 is late: its last report is stale, the wait is over.
        for _ in 0..4 {
            assert_eq!(talk.report(2, &[(1, 20, 10)], &[]), NOBODY);
        }
        // Waiting again is another wait.
        for ticket in 2..6 {
            assert_eq!(talk.report(1, &[(ticket, 10, 20)], &[]), NOBODY);
            assert_eq!(talk.report(2, &[(1, 20, 10)], &[]), NOBODY);
        }
    }

    /// Session A: transaction 10 and its locks' holder 11. It waits as 10 for 20, which waits for 11.
    #[test]
    fn a_session_is_one_waiter_whatever_it_holds_its_locks_by() {
        let mut talk = Talk::default();
        let both = [(10, 11), (11, 10)];
        assert_eq!(talk.report(1, &[(1, 10, 20), (2, 20, 11)], &both), NOBODY);
        assert_eq!(talk.report(1, &[(1, 10, 20), (2, 20, 11)], &both), [20]);
        // Without the bond there is no circle.
        let mut talk = Talk::default();
        assert_eq!(talk.report(1, &[(1, 10, 20), (2, 20, 11)], &[]), NOBODY);
        assert_eq!(talk.report(1, &[(1, 10, 20), (2, 20, 11)], &[]), NOBODY);
    }

    #[test]
    fn of_two_circles_both_are_broken_and_who_only_waits_behind_them_is_not() {
        let mut talk = Talk::default();
        let waits = [(1, 10, 20), (2, 20, 10), (3, 30, 10), (4, 40, 50), (5, 50, 40), (6, 60, 70)];
        assert_eq!(talk.report(1, &waits, &[]), NOBODY);
        assert_eq!(talk.report(1, &waits, &[]), [20, 50]);
    }

    #[test]
    fn a_new_term_begins_with_nothing() {
        let mut talk = Talk::default();
        talk.report(1, &[(1, 10, 20), (2, 20, 10)], &[]);
        let report = WaitReport {
            node: NodeId(1),
            sequence: 2,
            answered: 1,
            waits: Vec::new(),
            others: Vec::new(),
        };
        talk.graph.report(talk.now, 2, report);
        assert!(talk.graph.nodes.is_empty());
    }
}
