//! Linearizability of single registers: is there one order of all operations, each at some moment
//! between its call and its answer, in which every read sees the write before it?
//!
//! ```text
//! client 1   ├── write 1 ──┤        ├─ read 1 ─┤
//! client 2        ├──── write 2 ────┤
//! client 3   ├ read ∅ ┤
//!                                                  order: read ∅, write 2, write 1, read 1
//! ```
//!
//! Wing and Gong's search with Lowe's memory of what was tried ("Testing for linearizability",
//! 2017): walk the calls and answers in order; try each operation whose call is open as the next
//! one; take the last back when an answer comes of which the operation has not been placed. What has
//! been placed and the register's value are all that the future depends on, so no pair of them is
//! tried twice.
//!
//! A write whose outcome is unknown may take effect at any moment after its call, or never. Values
//! are written once each, so such a write took effect before the first answer that tells of it, and
//! one that no read tells of is left out: otherwise each doubles what is to be tried. Keys are judged
//! one by one: linearizability is local (Herlihy and Wing 1990, theorem 1).

use super::history::{Outcome, Recorder};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Write(u64),
    /// What was read; `None`: nothing was there.
    Read(Option<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub client: usize,
    pub key: u64,
    pub action: Action,
    pub invoked: u64,
    /// `u64::MAX` if nobody knows whether it took effect.
    pub completed: u64,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} ", self.client)?;
        match self.action {
            Action::Write(value) => write!(f, "wrote {value}")?,
            Action::Read(Some(value)) => write!(f, "read {value}")?,
            Action::Read(None) => write!(f, "read nothing")?,
        }
        match self.completed {
            u64::MAX => write!(f, " from {} on, perhaps", self.invoked),
            end => write!(f, " within {}..{end}", self.invoked),
        }
    }
}

/// A key whose operations no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotLinearizable {
    pub key: u64,
    /// The longest order that could be found, and the operation that does not fit behind it.
    pub explanation: String,
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} is not linearizable: {}", self.key, self.explanation)
    }
}

/// Where clients of registers write down what they did. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct RegisterRecorder {
    pub time: Recorder,
    done: Arc<Mutex<Vec<Operation>>>,
}

impl RegisterRecorder {
    /// Reads without an answer and writes that certainly did not happen leave no trace.
    pub fn record(&self, client: usize, key: u64, action: Action, invoked: u64, outcome: Outcome) {
        let completed = match (outcome, action) {
            (Outcome::Committed, _) => self.time.tick(),
            (Outcome::Unknown, Action::Write(_)) => u64::MAX,
            (Outcome::Unknown, Action::Read(_)) | (Outcome::Aborted, _) => return,
        };
        self.done.lock().push(Operation { client, key, action, invoked, completed });
    }

    pub fn operations(&self) -> Vec<Operation> {
        self.done.lock().clone()
    }
}

/// Every register begins empty, and no value is written to it twice.
pub fn check(operations: &[Operation]) -> Vec<NotLinearizable> {
    let mut by_key: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        by_key.entry(operation.key).or_default().push(*operation);
    }
    let judged = by_key.into_iter().map(|(key, operations)| {
        let explanation = Search::new(&settled(operations)).run().err()?;
        Some(NotLinearizable { key, explanation })
    });
    judged.flatten().collect()
}

/// Without writes that may or may not have happened: when they must have, if somebody saw them.
fn settled(operations: Vec<Operation>) -> Vec<Operation> {
    let mut told: BTreeMap<u64, u64> = BTreeMap::new();
    for operation in &operations {
        if let Action::Read(Some(value)) = operation.action {
            let first = told.entry(value).or_insert(operation.completed);
            *first = operation.completed.min(*first);
        }
    }
    let settle = |operation: Operation| match operation.action {
        Action::Write(value) if operation.completed == u64::MAX => {
            let completed = told.get(&value)?.max(&operation.invoked);
            Some(Operation { completed: *completed, ..operation })
        }
        Action::Write(_) | Action::Read(_) => Some(operation),
    };
    let mut settled: Vec<Operation> = operations.into_iter().filter_map(settle).collect();
    settled.sort_by_key(|operation| operation.invoked);
    settled
}

/// A call or an answer, in a list from which both are taken out while the operation is placed.
#[derive(Clone, Copy)]
struct Event {
    operation: usize,
    /// The place of its answer; `None`: this is the answer.
    answer: Option<usize>,
    before: usize,
    after: usize,
}

/// Operations of the longest order that an explanation tells.
const SHOWN: usize = 6;

/// What has been placed: everything before some word of [`Search::placed`], and these words.
type Tried = (usize, Vec<u64>, Option<u64>);

struct Search<'o> {
    /// By their calls, so that what has been placed is a beginning and a little more.
    operations: &'o [Operation],
    /// `events[0]` is the list's head.
    events: Vec<Event>,
    placed: Vec<u64>,
    /// Placed operations (their calls), and the value and the words in use before each.
    order: Vec<(usize, Option<u64>, usize)>,
    value: Option<u64>,
    /// Words of `placed` that are not zero lie below.
    words: usize,
    tried: HashSet<Tried>,
    /// The length of the longest order that was found, and its last calls.
    longest: usize,
    tail: Vec<usize>,
    /// The operation whose answer came too early, at the longest.
    stuck: usize,
}

impl<'o> Search<'o> {
    fn new(operations: &'o [Operation]) -> Self {
        let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * operations.len());
        for (id, operation) in operations.iter().enumerate() {
            moments.push((operation.invoked, false, id));
            moments.push((operation.completed, true, id));
        }
        moments.sort_unstable();
        let mut answers = vec![0; operations.len()];
        for (place, (_, is_answer, id)) in moments.iter().enumerate() {
            if *is_answer {
                answers[*id] = place + 1;
            }
        }
        let mut events = vec![Event { operation: 0, answer: None, before: 0, after: 1 }];
        for (place, (_, is_answer, id)) in moments.iter().enumerate() {
            let answer = (!is_answer).then_some(answers[*id]);
            events.push(Event { operation: *id, answer, before: place, after: place + 2 });
        }
        Self {
            operations,
            events,
            placed: vec![0; operations.len().div_ceil(64)],
            order: Vec::new(),
            value: None,
            words: 0,
            tried: HashSet::new(),
            longest: 0,
            tail: Vec::new(),
            stuck: 0,
        }
    }

    fn run(mut self) -> Result<(), String> {
        let end = self.events.len();
        let mut at = self.events[0].after;
        while at < end {
            let event = self.events[at];
            let operation = self.operations[event.operation];
            if event.answer.is_some() {
                if let Some(next) = self.apply(operation.action)
                    && self.is_new(event.operation, next)
                {
                    self.place(at, next);
                    at = self.events[0].after;
                } else {
                    at = event.after;
                }
                continue;
            }
            self.note_longest(event.operation);
            match self.take_back() {
                Some(next) => at = next,
                None => return Err(self.explain()),
            }
        }
        Ok(())
    }

    /// The value after `action`; `None` if it cannot be next.
    fn apply(&self, action: Action) -> Option<Option<u64>> {
        match action {
            Action::Write(value) => Some(Some(value)),
            Action::Read(value) => (value == self.value).then_some(value),
        }
    }

    fn is_new(&mut self, operation: usize, value: Option<u64>) -> bool {
        // The first call that is not placed, or the one behind it, begins what differs.
        let first = self.events[self.events[0].after].operation / 64;
        let words = self.words.max(operation / 64 + 1);
        let mut placed = self.placed[first..words].to_vec();
        placed[operation / 64 - first] |= 1 << (operation % 64);
        let full = placed.iter().take_while(|word| **word == u64::MAX).count();
        self.tried.insert((first + full, placed.split_off(full), value))
    }

    fn place(&mut self, call: usize, value: Option<u64>) {
        let Event { operation, answer, .. } = self.events[call];
        self.order.push((call, self.value, self.words));
        self.placed[operation / 64] |= 1 << (operation % 64);
        self.words = self.words.max(operation / 64 + 1);
        self.value = value;
        self.unlink(call);
        if let Some(answer) = answer {
            self.unlink(answer);
        }
    }

    /// Undoes the last; where to go on: behind it.
    fn take_back(&mut self) -> Option<usize> {
        let (call, value, words) = self.order.pop()?;
        let Event { operation, answer, .. } = self.events[call];
        self.placed[operation / 64] &= !(1 << (operation % 64));
        (self.value, self.words) = (value, words);
        if let Some(answer) = answer {
            self.link(answer);
        }
        self.link(call);
        Some(self.events[call].after)
    }

    fn unlink(&mut self, place: usize) {
        let Event { before, after, .. } = self.events[place];
        self.events[before].after = after;
        if let Some(next) = self.events.get_mut(after) {
            next.before = before;
        }
    }

    fn link(&mut self, place: usize) {
        let Event { before, after, .. } = self.events[place];
        self.events[before].after = place;
        if let Some(next) = self.events.get_mut(after) {
            next.before = place;
        }
    }

    fn note_longest(&mut self, stuck: usize) {
        if self.order.len() >= self.longest {
            self.longest = self.order.len();
            let shown = self.longest.saturating_sub(SHOWN);
            self.tail = self.order[shown..].iter().map(|(call, ..)| *call).collect();
            self.stuck = stuck;
        }
    }

    fn explain(&self) -> String {
        let mut lines = vec![format!(
            "{} of {} operations can be put in order, the last of them",
            self.longest,
            self.operations.len()
        )];
        let tail = self.tail.iter().map(|call| self.operations[self.events[*call].operation]);
        lines.extend(tail.map(|operation| operation.to_string()));
        lines.push(format!("then nothing explains: {}", self.operations[self.stuck]));
        lines.join("\n    ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn w(value: u64, invoked: u64, completed: u64) -> Operation {
        Operation { client: 0, key: 1, action: Action::Write(value), invoked, completed }
    }

    fn r(value: Option<u64>, invoked: u64, completed: u64) -> Operation {
        Operation { client: 1, key: 1, action: Action::Read(value), invoked, completed }
    }

    const NEVER: u64 = u64::MAX;

    #[test]
    fn reads_agree_with_some_order_of_overlapping_writes() {
        let both = [w(1, 0, 5), w(2, 2, 9), r(None, 1, 3), r(Some(1), 10, 11)];
        assert_eq!(check(&both), []);
        let old = [w(1, 0, 1), w(2, 2, 3), r(Some(1), 4, 5)];
        let found = check(&old);
        assert_eq!(found.len(), 1);
        let text = found[0].to_string();
        assert!(text.contains("nothing explains: client 1 read 1 within 4..5"), "{text}");
    }

    #[test]
    fn a_value_once_seen_stays_seen() {
        let back = [w(1, 0, 1), w(2, 2, 20), r(Some(2), 3, 4), r(Some(1), 5, 6)];
        assert_eq!(check(&back).len(), 1);
        let forth = [w(1, 0, 1), w(2, 2, 20), r(Some(1), 3, 4), r(Some(2), 5, 6)];
        assert_eq!(check(&forth), []);
    }

    #[test]
    fn an_unknown_write_takes_effect_late_or_never() {
        for seen in [Some(1), Some(2)] {
            let history = [w(1, 0, 1), w(2, 2, NEVER), r(seen, 10, 11)];
            assert_eq!(check(&history), [], "{seen:?}");
        }
        let twice = [w(1, 0, 1), w(2, 2, NEVER), r(Some(2), 3, 4), r(Some(1), 5, 6)];
        assert_eq!(check(&twice).len(), 1);
        let before_its_call = [r(Some(2), 0, 1), w(2, 2, NEVER)];
        assert_eq!(check(&before_its_call).len(), 1);
    }

    #[test]
    fn a_value_of_nobody_and_a_lost_write_are_caught_and_keys_are_apart() {
        assert_eq!(check(&[r(Some(7), 0, 1)]).len(), 1);
        assert_eq!(check(&[w(1, 0, 1), r(None, 2, 3)]).len(), 1);
        let other = Operation { key: 2, ..r(None, 2, 3) };
        assert_eq!(check(&[w(1, 0, 1), other]), []);
    }

    /// Operations with a moment of effect each, and a span around it.
    fn random(seed: u64, count: u64, clients: u64) -> Vec<Operation> {
        let mut random = Random::new(seed);
        let mut value = None;
        let mut operations = Vec::new();
        for moment in 0..count {
            let at = 1000 + 10 * moment;
            let (invoked, completed) =
                (at - random.below(10 * clients), at + random.below(10 * clients));
            let operation = match random.below(4) {
                0 => {
                    value = Some(moment);
                    w(moment, invoked, completed)
                }
                1 if random.below(4) == 0 => {
                    if random.below(2) == 0 {
                        value = Some(moment);
                    }
                    w(moment, invoked, NEVER)
                }
                _ => r(value, invoked, completed),
            };
            operations.push(operation);
        }
        operations
    }

    #[test]
    fn random_histories_of_one_order_are_clean_and_of_a_turned_back_one_are_not() {
        let mut caught = 0;
        for seed in 0..40 {
            let mut operations = random(seed, 300, 5);
            assert_eq!(check(&operations), [], "seed {seed}");
            let first = operations.iter().find_map(|o| match o.action {
                Action::Read(Some(value)) => Some(value),
                _ => None,
            });
            let last = operations.iter_mut().rev().find(|o| matches!(o.action, Action::Read(_)));
            if let (Some(first), Some(last)) = (first, last) {
                last.action = Action::Read(Some(first));
                caught += check(&operations).len();
            }
        }
        assert!(caught >= 38, "{caught} of 40");
    }
}
