//! Transactions that append to lists and read them, checked for Adya's anomalies as Elle does it.
//!
//! Every element is appended once, so the longest list that was read of a key *is* the order of its
//! versions, as long as every other read is a prefix of it:
//!
//! ```text
//! reads of x:  []   [1]   [1 4]   [1 4 2]       version order: 1 4 2
//!
//! writer of 1 ─ww─▶ writer of 4 ─ww─▶ writer of 2
//! who read [1 4]:   writer of 4 ─wr─▶ reader ─rw─▶ writer of 2
//! ```
//!
//! Only the first reads of a key, before a transaction appends to it, make edges: what it reads after
//! that is its own. Transactions whose outcome is unknown count as committed if somebody committed
//! read an element of theirs. Appends that nobody read have no place in an order: let the last
//! transaction of a history read everything.

use super::anomaly::{Anomaly, AnomalyKind, Model};
use super::cycle::{Dependency, Edge, Graph};
use super::history::{History, Op, Outcome, Txn};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Examples of one kind that are reported.
const EXAMPLES_MAX: usize = 4;

/// Everything that is wrong or weak in `history`, at whichever level it is forbidden.
pub fn check(history: &History) -> Vec<Anomaly> {
    let checker = Checker::new(history);
    let mut found = Findings::default();
    checker.within_transactions(&mut found);
    checker.elements(&mut found);
    checker.orders(&mut found);
    checker.lost_appends(&mut found);
    checker.lost_updates(&mut found);
    checker.cycles(&mut found);
    found.anomalies
}

/// What `model` forbids.
pub fn violations(history: &History, model: Model) -> Vec<Anomaly> {
    check(history).into_iter().filter(|anomaly| model.forbids(anomaly)).collect()
}

#[derive(Default)]
struct Findings {
    anomalies: Vec<Anomaly>,
    counts: HashMap<(AnomalyKind, bool), usize>,
    /// Members of the cycles that were found.
    cycles: HashSet<Vec<usize>>,
}

impl Findings {
    fn add(&mut self, kind: AnomalyKind, explanation: String) {
        self.add_one(kind, false, explanation);
    }

    fn add_one(&mut self, kind: AnomalyKind, real_time: bool, explanation: String) {
        let count = self.counts.entry((kind, real_time)).or_default();
        *count += 1;
        if *count <= EXAMPLES_MAX {
            self.anomalies.push(Anomaly { kind, real_time, explanation });
        }
    }

    fn is_full(&self, wanted: (AnomalyKind, bool)) -> bool {
        self.counts.get(&wanted).is_some_and(|count| *count >= EXAMPLES_MAX)
    }
}

struct Checker<'h> {
    history: &'h History,
    /// Who appended an element of a key.
    writers: HashMap<(u64, u64), usize>,
    /// Transactions that took effect, as far as anybody can tell.
    effective: Vec<bool>,
    orders: BTreeMap<u64, Vec<u64>>,
}

impl<'h> Checker<'h> {
    fn new(history: &'h History) -> Self {
        let mut writers = HashMap::new();
        for txn in &history.txns {
            for op in &txn.ops {
                if let Op::Append { key, element } = op {
                    writers.insert((*key, *element), txn.id);
                }
            }
        }
        let orders = history.longest();
        let mut effective: Vec<bool> =
            history.txns.iter().map(|txn| txn.outcome == Outcome::Committed).collect();
        for (key, order) in &orders {
            for writer in order.iter().filter_map(|element| writers.get(&(*key, *element))) {
                effective[*writer] |= history.txns[*writer].outcome == Outcome::Unknown;
            }
        }
        Self { history, writers, effective, orders }
    }

    fn committed(&self) -> impl Iterator<Item = &'h Txn> {
        self.history.txns.iter().filter(|txn| txn.outcome == Outcome::Committed)
    }

    fn writer(&self, key: u64, element: u64) -> Option<&'h Txn> {
        self.writers.get(&(key, element)).map(|id| &self.history.txns[*id])
    }

    fn within_transactions(&self, found: &mut Findings) {
        for txn in self.committed() {
            let mut own: HashMap<u64, Vec<u64>> = HashMap::new();
            let mut seen: HashMap<u64, Vec<u64>> = HashMap::new();
            for op in &txn.ops {
                match op {
                    Op::Append { key, element } => own.entry(*key).or_default().push(*element),
                    Op::Read { key, list } => {
                        let appended = own.get(key).map(Vec::as_slice).unwrap_or_default();
                        let Some(before) = list.strip_suffix(appended) else {
                            let what = format!("{txn}: it had appended {appended:?} to {key}");
                            found.add(AnomalyKind::Internal, what);
                            continue;
                        };
                        let first = seen.entry(*key).or_insert_with(|| before.to_vec());
                        if first != before {
                            let what = format!("{txn}: {key} was {first:?} at first");
                            found.add(AnomalyKind::UnrepeatableRead, what);
                        }
                    }
                }
            }
        }
    }

    /// Duplicates, elements of nobody, of aborted transactions (G1a), and lists that end in the
    /// middle of a transaction (G1b).
    fn elements(&self, found: &mut Findings) {
        let mut last_of: HashMap<(usize, u64), u64> = HashMap::new();
        for txn in &self.history.txns {
            for op in &txn.ops {
                if let Op::Append { key, element } = op {
                    last_of.insert((txn.id, *key), *element);
                }
            }
        }
        for (reader, key, list) in self.reads() {
            let mut seen = HashSet::new();
            for element in list {
                if !seen.insert(element) {
                    let what = format!("{reader}: {element} is in {key} twice");
                    found.add(AnomalyKind::DuplicateElement, what);
                }
                match self.writer(key, *element) {
                    None => {
                        let what = format!("{reader}: nobody appended {element} to {key}");
                        found.add(AnomalyKind::UnknownElement, what);
                    }
                    Some(writer) if writer.outcome == Outcome::Aborted => {
                        let what = format!("{reader}: {element} of {key} was written by {writer}");
                        found.add(AnomalyKind::G1a, what);
                    }
                    Some(_) => {}
                }
            }
            if let Some(last) = list.last()
                && let Some(writer) = self.writer(key, *last)
                && writer.id != reader.id
                && last_of.get(&(writer.id, key)) != Some(last)
            {
                let what = format!("{reader}: {key} ends in the middle of {writer}");
                found.add(AnomalyKind::G1b, what);
            }
        }
    }

    fn reads(&self) -> impl Iterator<Item = (&'h Txn, u64, &'h [u64])> {
        self.committed().flat_map(|txn| {
            txn.ops.iter().filter_map(move |op| match op {
                Op::Read { key, list } => Some((txn, *key, list.as_slice())),
                Op::Append { .. } => None,
            })
        })
    }

    fn orders(&self, found: &mut Findings) {
        for (reader, key, list) in self.reads() {
            let order = &self.orders[&key];
            if !order.starts_with(list) {
                let what = format!("{reader}: but {key} was also read as {order:?}");
                found.add(AnomalyKind::IncompatibleOrder, what);
            }
        }
    }

    /// Committed, then somebody read the key from the beginning of his transaction on, and the append
    /// is not even in the longest list.
    fn lost_appends(&self, found: &mut Findings) {
        let mut last_reader: HashMap<u64, &Txn> = HashMap::new();
        for (reader, key, _) in self.reads() {
            let last = last_reader.entry(key).or_insert(reader);
            if reader.invoked > last.invoked {
                *last = reader;
            }
        }
        let present: HashSet<(u64, u64)> = self
            .orders
            .iter()
            .flat_map(|(key, order)| order.iter().map(|element| (*key, *element)))
            .collect();
        for writer in self.committed() {
            for op in &writer.ops {
                let Op::Append { key, element } = op else { continue };
                if let Some(reader) = last_reader.get(key)
                    && writer.completed < reader.invoked
                    && !present.contains(&(*key, *element))
                {
                    let what = format!("{writer}: {element} is not in {key} any more for {reader}");
                    found.add(AnomalyKind::LostAppend, what);
                }
            }
        }
    }

    fn lost_updates(&self, found: &mut Findings) {
        let mut updates: BTreeMap<(u64, &[u64]), BTreeSet<usize>> = BTreeMap::new();
        for txn in self.committed() {
            for (key, list) in first_reads(txn) {
                let appends =
                    |op: &Op| matches!(op, Op::Append { key: other, .. } if *other == key);
                if txn.ops.iter().any(appends) {
                    updates.entry((key, list)).or_default().insert(txn.id);
                }
            }
        }
        for ((key, list), txns) in updates {
            if txns.len() > 1 {
                let txns: Vec<String> =
                    txns.iter().map(|id| self.history.txns[*id].to_string()).collect();
                let what = format!("all read {key} as {list:?}: {}", txns.join("; "));
                found.add(AnomalyKind::LostUpdate, what);
            }
        }
    }

    fn cycles(&self, found: &mut Findings) {
        let graph = self.graph();
        let ww = |why| matches!(why, Dependency::Ww { .. });
        let wr = |why| matches!(why, Dependency::Wr { .. });
        let rt = |why| matches!(why, Dependency::RealTime);
        // From the strongest anomaly to the weakest; each by the edge that makes it one.
        for real_time in [false, true] {
            let base = |why| real_time || !rt(why);
            let only_ww = graph.only(|why| ww(why) || (real_time && rt(why)));
            let no_rw = graph.only(|why| base(why) && !why.is_rw());
            let all = graph.only(base);
            let rw = Dependency::is_rw;
            self.search(found, (AnomalyKind::G0, real_time), &only_ww, &only_ww, ww);
            self.search(found, (AnomalyKind::G1c, real_time), &no_rw, &no_rw, wr);
            self.search(found, (AnomalyKind::GSingle, real_time), &no_rw, &all, rw);
            self.search(found, (AnomalyKind::GNonadjacent, real_time), &all, &all, rw);
            self.search(found, (AnomalyKind::G2, real_time), &all, &all, rw);
        }
    }

    /// Cycles of an edge of `within` that `first` chooses and a way back through `back`, until there
    /// are enough of what is `wanted`.
    fn search(
        &self,
        found: &mut Findings,
        wanted: (AnomalyKind, bool),
        back: &Graph,
        within: &Graph,
        first: impl Fn(Dependency) -> bool,
    ) {
        let apart = wanted.0 == AnomalyKind::GNonadjacent;
        for edge in within.cyclic_edges().into_iter().filter(|edge| first(edge.why)) {
            if found.is_full(wanted) {
                return;
            }
            let Some(cycle) = back.cycle_through(edge, apart) else { continue };
            let mut members: Vec<usize> = cycle.iter().map(|edge| edge.from).collect();
            members.sort_unstable();
            if found.cycles.insert(members) {
                let (kind, real_time) = classify(&cycle);
                found.add_one(kind, real_time, self.explain(&cycle));
            }
        }
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new(self.history.txns.len());
        for (key, order) in &self.orders {
            for pair in order.windows(2) {
                if let (Some(from), Some(to)) =
                    (self.writer(*key, pair[0]), self.writer(*key, pair[1]))
                {
                    let why = Dependency::Ww { key: *key, from: pair[0], to: pair[1] };
                    self.link(&mut graph, from.id, to.id, why);
                }
            }
        }
        for reader in self.history.txns.iter().filter(|txn| self.effective[txn.id]) {
            for (key, list) in external_reads(reader) {
                let order = self.orders.get(&key).map(Vec::as_slice).unwrap_or_default();
                if let Some(last) = list.last()
                    && let Some(writer) = self.writer(key, *last)
                {
                    let why = Dependency::Wr { key, element: *last };
                    self.link(&mut graph, writer.id, reader.id, why);
                }
                if order.starts_with(list)
                    && let Some(next) = order.get(list.len())
                    && let Some(writer) = self.writer(key, *next)
                {
                    let why = Dependency::Rw { key, element: *next };
                    self.link(&mut graph, reader.id, writer.id, why);
                }
            }
        }
        self.real_time(&mut graph);
        graph
    }

    fn link(&self, graph: &mut Graph, from: usize, to: usize, why: Dependency) {
        if self.effective[from] && self.effective[to] {
            graph.add(from, to, why);
        }
    }

    /// Who had ended before who began, without what follows from the rest: an edge comes only from
    /// the latest to have ended.
    fn real_time(&self, graph: &mut Graph) {
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        for txn in self.history.txns.iter().filter(|txn| self.effective[txn.id]) {
            events.push((txn.invoked, true, txn.id));
            if txn.completed != u64::MAX {
                events.push((txn.completed, false, txn.id));
            }
        }
        events.sort_unstable();
        let mut latest: BTreeSet<usize> = BTreeSet::new();
        let mut before: HashMap<usize, Vec<usize>> = HashMap::new();
        for (_, begins, id) in events {
            if begins {
                latest.iter().for_each(|from| graph.add(*from, id, Dependency::RealTime));
                before.insert(id, latest.iter().copied().collect());
            } else {
                for implied in before.remove(&id).unwrap_or_default() {
                    latest.remove(&implied);
                }
                latest.insert(id);
            }
        }
    }

    fn explain(&self, cycle: &[Edge]) -> String {
        let mut lines = vec![format!("{} transactions in a circle", cycle.len())];
        for edge in cycle {
            let (from, to) = (edge.from, edge.to);
            lines.push(match edge.why {
                Dependency::Ww { key, from: a, to: b } => {
                    format!("T{from} -ww-> T{to}: on {key}, T{to} appended {b} after {a}")
                }
                Dependency::Wr { key, element } => {
                    format!("T{from} -wr-> T{to}: on {key}, T{to} read {element}")
                }
                Dependency::Rw { key, element } => {
                    format!("T{from} -rw-> T{to}: on {key}, T{from} did not see {element}")
                }
                Dependency::RealTime => {
                    format!("T{from} -rt-> T{to}: T{from} had ended before T{to} began")
                }
            });
        }
        lines.extend(cycle.iter().map(|edge| self.history.txns[edge.from].to_string()));
        lines.join("\n    ")
    }
}

/// What a cycle is called, and whether it needs real time.
fn classify(cycle: &[Edge]) -> (AnomalyKind, bool) {
    let real_time = cycle.iter().any(|edge| edge.why == Dependency::RealTime);
    let rws = cycle.iter().filter(|edge| edge.why.is_rw()).count();
    let in_a_row =
        (0..cycle.len()).any(|i| cycle[i].why.is_rw() && cycle[(i + 1) % cycle.len()].why.is_rw());
    let kind = match rws {
        0 if cycle.iter().any(|edge| matches!(edge.why, Dependency::Wr { .. })) => AnomalyKind::G1c,
        0 => AnomalyKind::G0,
        1 => AnomalyKind::GSingle,
        _ if in_a_row => AnomalyKind::G2,
        _ => AnomalyKind::GNonadjacent,
    };
    (kind, real_time)
}

/// What a transaction read of keys before it appended to them.
fn external_reads(txn: &Txn) -> Vec<(u64, &[u64])> {
    let mut appended = HashSet::new();
    let mut reads = Vec::new();
    for op in &txn.ops {
        match op {
            Op::Append { key, .. } => {
                appended.insert(*key);
            }
            Op::Read { key, list } if !appended.contains(key) => {
                reads.push((*key, list.as_slice()));
            }
            Op::Read { .. } => {}
        }
    }
    reads
}

/// The first of them for each key.
fn first_reads(txn: &Txn) -> BTreeMap<u64, &[u64]> {
    let mut first = BTreeMap::new();
    for (key, list) in external_reads(txn) {
        first.entry(key).or_insert(list);
    }
    first
}

#[cfg(test)]
#[path = "list_append/tests.rs"]
mod tests;
