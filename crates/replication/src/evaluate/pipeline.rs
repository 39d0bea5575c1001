//! Evaluated effects on their way into the log: what waits while an entry is being written goes
//! into the next one together.
//!
//! ```text
//! submit a        → entry {a}                       one entry on the disk
//! submit b c d    → wait; a applied → entry {b c d}
//! ```
//!
//! At most [`ENTRIES_MAX`] entries of a range are under way; each holds effects of one generation
//! and term, at most [`BATCH_BYTES_MAX`] unless one transaction is larger by itself. Effects of one
//! batch never touch the same key: the latches saw to that.

use super::group::Group;
use crate::command::{Applied, Command, EngineOp};
use crate::error::ReplicationError;
use core_domain::Generation;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Entries of one range under way. With two, one is written while the next is encoded.
const ENTRIES_MAX: usize = 2;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What became of a submission. Everything in memory that belongs to it is put right by its
/// `done`, before anybody hears of it.
pub(super) enum Landing {
    Applied,
    /// The generation or the term moved on: nothing was written.
    Stale,
    /// Certainly nothing was or will be written.
    NotProposed(ReplicationError),
    Unknown(ReplicationError),
}

pub(super) struct Submission {
    pub term: u64,
    pub generation: Generation,
    pub ops: Vec<EngineOp>,
    /// Called exactly once, not from the submitter's task.
    pub done: Box<dyn FnOnce(Landing) + Send>,
}

#[derive(Default)]
pub(super) struct Pipeline {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Submission>,
    under_way: usize,
}

impl Pipeline {
    /// Never waits.
    pub fn submit(&self, group: &Arc<dyn Group>, submission: Submission) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(submission);
        if queue.under_way < ENTRIES_MAX {
            queue.under_way += 1;
            tokio::spawn(pump(self.queue.clone(), group.clone()));
        }
    }
}

/// Proposes batch after batch until nothing waits.
async fn pump(queue: Arc<Mutex<Queue>>, group: Arc<dyn Group>) {
    loop {
        let batch = {
            let mut queue = queue.lock();
            let batch = queue.take_batch();
            if batch.is_empty() {
                queue.under_way -= 1;
                return;
            }
            batch
        };
        propose(&*group, batch).await;
    }
}

impl Queue {
    fn take_batch(&mut self) -> Vec<Submission> {
        let mut batch: Vec<Submission> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.waiting.front() {
            let size: usize = next.ops.iter().map(op_bytes).sum();
            let fits = batch.first().is_none_or(|first| {
                first.generation == next.generation
                    && first.term == next.term
                    && bytes + size <= BATCH_BYTES_MAX
            });
            if !fits {
                break;
            }
            bytes += size;
            batch.extend(self.waiting.pop_front());
        }
        batch
    }
}

fn op_bytes(op: &EngineOp) -> usize {
    op.key.len() + op.value.as_ref().map_or(0, |value| value.len())
}

async fn propose(group: &dyn Group, mut batch: Vec<Submission>) {
    let (term, generation) = (batch[0].term, batch[0].generation);
    let ops = match batch.as_mut_slice() {
        [one] => std::mem::take(&mut one.ops),
        many => many.iter_mut().flat_map(|one| std::mem::take(&mut one.ops)).collect(),
    };
    let command = Command::write(group.range(), generation, term, ops);
    let outcome = group.propose(command).await;
    for submission in batch {
        (submission.done)(match &outcome {
            Ok(Applied::Ok) => Landing::Applied,
            Ok(Applied::StaleGeneration { .. } | Applied::StaleTerm) => Landing::Stale,
            Err(error) if error.is_not_applied() => Landing::NotProposed(error.clone()),
            Err(error) => Landing::Unknown(error.clone()),
        });
    }
}
