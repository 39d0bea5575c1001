//! Transactions over lists, as their clients saw them.
//!
//! Every append has an element of its own, so a list that is read tells who wrote it and in which
//! order. Time is a counter that all clients share: `invoked` is drawn before the first request is
//! sent, `completed` after the last answer, so `a.completed < b.invoked` is true only if a had ended
//! before b began.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Append { key: u64, element: u64 },
    Read { key: u64, list: Vec<u64> },
}

/// What a client knows of the end of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    /// Certainly not committed, nor will it be.
    Aborted,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// Its place in the history.
    pub id: usize,
    pub client: usize,
    pub invoked: u64,
    /// `u64::MAX` if the outcome is unknown: it may yet take effect.
    pub completed: u64,
    pub outcome: Outcome,
    pub ops: Vec<Op>,
}

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{} (client {}):", self.id, self.client)?;
        for op in &self.ops {
            match op {
                Op::Append { key, element } => write!(f, " a({key}, {element})")?,
                Op::Read { key, list } => write!(f, " r({key}: {list:?})")?,
            }
        }
        match self.outcome {
            Outcome::Committed => write!(f, " committed"),
            Outcome::Aborted => write!(f, " aborted"),
            Outcome::Unknown => write!(f, " unknown"),
        }
    }
}

/// In the order of `id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub txns: Vec<Txn>,
}

impl History {
    pub fn count(&self, outcome: Outcome) -> usize {
        self.txns.iter().filter(|txn| txn.outcome == outcome).count()
    }

    /// The longest list that a committed transaction read of each key.
    pub fn longest(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut longest: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let committed = self.txns.iter().filter(|txn| txn.outcome == Outcome::Committed);
        for op in committed.flat_map(|txn| &txn.ops) {
            if let Op::Read { key, list } = op {
                let known = longest.entry(*key).or_default();
                if list.len() > known.len() {
                    known.clone_from(list);
                }
            }
        }
        longest
    }
}

/// Where clients write down what they did. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    time: Arc<AtomicU64>,
    elements: Arc<AtomicU64>,
    done: Arc<Mutex<Vec<Txn>>>,
}

/// A transaction under way. One that is dropped unfinished is recorded as unknown: its client was
/// stopped and cannot say more.
#[derive(Debug)]
pub struct Running {
    recorder: Recorder,
    txn: Option<Txn>,
}

impl Recorder {
    pub fn invoke(&self, client: usize) -> Running {
        let txn = Txn {
            id: 0,
            client,
            invoked: self.tick(),
            completed: u64::MAX,
            outcome: Outcome::Unknown,
            ops: Vec::new(),
        };
        Running { recorder: self.clone(), txn: Some(txn) }
    }

    /// Now, later than every moment before.
    pub fn tick(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst)
    }

    /// An element that was never appended.
    pub fn element(&self) -> u64 {
        self.elements.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// What has ended so far, in the order of invocation.
    pub fn history(&self) -> History {
        let mut txns = self.done.lock().clone();
        txns.sort_by_key(|txn| txn.invoked);
        for (id, txn) in txns.iter_mut().enumerate() {
            txn.id = id;
        }
        History { txns }
    }
}

impl Running {
    pub fn read(&mut self, key: u64, list: &[u64]) {
        self.push(Op::Read { key, list: list.to_vec() });
    }

    pub fn append(&mut self, key: u64, element: u64) {
        self.push(Op::Append { key, element });
    }

    fn push(&mut self, op: Op) {
        if let Some(txn) = &mut self.txn {
            txn.ops.push(op);
        }
    }

    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        let Some(mut txn) = self.txn.take() else { return };
        txn.outcome = outcome;
        let now = self.recorder.tick();
        txn.completed = if outcome == Outcome::Unknown { u64::MAX } else { now };
        self.recorder.done.lock().push(txn);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(Outcome::Unknown);
    }
}
