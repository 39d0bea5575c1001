//! Garbage collection's marks: who holds them back, how they move, how they reach every node.
//!
//! ```text
//! every node, every 2 s               leader of the system range
//!   Report { node, oldest } ────────▶ remembers it in memory, with its own monotonic time
//!   ◀──────────────────── marks       applied state of the system range
//! its collector, now and then
//!   FindIntents { before } ─────────▶ at every range: leftovers of transactions older than `before`
//!   MoveMarks { wanted } ───────────▶ min(wanted, every report that is not too old) ─▶ Raft
//! ```
//!
//! A node promises by its report to read nothing below `oldest`, unless it says so first; the promise
//! rises and never falls, so a report that comes while the threshold moves takes nothing back. A node
//! that is silent for too long protects nothing any more: its reads below the threshold are refused
//! ("snapshot too old"), here as everywhere. A new leader knows no reports, and moves nothing until
//! everybody has had the time to send one.
//!
//! The marks are stored in the txn family under `/system/gc`, transaction 0, in the bytes of
//! `storage::gc::Marks`. A node raises its own engine's marks when it hears of them; what a node reads
//! and drops by are these, so it does not matter that nodes hear at different times.

use super::read::foreign_write;
use super::record::Intents;
use super::{ForeignIntent, Place, RangeError, RangeResponse};
use crate::command::{Applied, Command, EngineOp};
use core_domain::{Key, KvError, NodeId, Timestamp, TxnId};
use std::collections::HashMap;
use std::time::Duration;
use storage::{Cf, IterOptions, Marks, keyspace};

/// Leftovers reported at once.
const INTENTS_MAX: usize = 1000;

/// What nodes said in one term of the system range's leader.
#[derive(Default)]
pub(super) struct Reports {
    term: u64,
    by_node: HashMap<NodeId, Report>,
}

struct Report {
    oldest: Timestamp,
    /// In monotonic time.
    at: Duration,
}

impl Reports {
    fn note(&mut self, term: u64, node: NodeId, oldest: Timestamp, at: Duration) {
        if self.term != term {
            *self = Self { term, by_node: HashMap::new() };
        }
        self.by_node.insert(node, Report { oldest, at });
    }

    /// The oldest snapshot of all nodes that were heard of since `since`; `None` if none was.
    fn oldest(&mut self, term: u64, since: Duration) -> Option<Timestamp> {
        if self.term != term {
            return None;
        }
        self.by_node.retain(|node, report| {
            let heard = report.at >= since;
            if !heard {
                tracing::warn!(%node, "silent for too long: its snapshots are not kept any more");
            }
            heard
        });
        self.by_node.values().map(|report| report.oldest).min()
    }
}

fn marks_key() -> Vec<u8> {
    keyspace::txn_key(Key::system("gc").as_ref(), TxnId(0))
}

impl Place<'_> {
    /// Refuses a read below the threshold. To be asked after its cursor was pinned.
    pub(super) fn refuse_old(&self, at: Timestamp) -> Result<(), RangeError> {
        match at >= self.engine().garbage().threshold() {
            true => Ok(()),
            false => Err(KvError::SnapshotTooOld { at }.into()),
        }
    }

    /// Refuses writes of a transaction that nobody protects any more. Its status record may have
    /// expired; and as every commit is above its transaction's beginning, none is ever below the
    /// threshold, where tombstones that it would have to be above are gone. To be asked after the
    /// record was looked for.
    pub(super) fn refuse_forgotten(&self, txn: TxnId) -> Result<(), KvError> {
        let began = Timestamp(txn.0);
        match began >= self.engine().garbage().threshold() {
            true => Ok(()),
            false => Err(KvError::SnapshotTooOld { at: began }),
        }
    }

    /// Whether a key that was at `seen` when `txn` locked it, and has no version now, lost only its
    /// tombstone since. Whatever else was written after `txn` began is above the threshold.
    pub(super) fn was_collected(&self, txn: TxnId, seen: Timestamp) -> bool {
        let threshold = self.engine().garbage().threshold();
        seen <= threshold && Timestamp(txn.0) >= threshold
    }

    fn applied_marks(&self) -> Result<Marks, RangeError> {
        let stored = self.engine().get(Cf::Txn, &marks_key())?;
        Ok(stored.map(|stored| Marks::decode(&stored)).transpose()?.unwrap_or_default())
    }

    pub(super) async fn report(
        &self,
        node: NodeId,
        oldest: Timestamp,
    ) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit().await?;
            let now = self.now();
            self.evaluator.reports.lock().note(admission.term, node, oldest, now);
            let marks = self.applied_marks()?;
            if self.still(&admission).await? {
                return Ok(RangeResponse::Marks(marks));
            }
        }
    }

    /// Moves the marks towards `wanted`, as far as nobody holds them back. `silence_max`: for how
    /// long a node's last report counts.
    pub(super) async fn move_marks(
        &self,
        wanted: Marks,
        silence_max: Duration,
    ) -> Result<RangeResponse, RangeError> {
        let admission = self.admit_effects().await?;
        let current = self.applied_marks()?;
        let led_for = self.now().saturating_sub(self.gate.state.lock().since);
        if led_for < silence_max {
            return Ok(RangeResponse::Marks(current));
        }
        let since = self.now() - silence_max;
        let Some(oldest) = self.evaluator.reports.lock().oldest(admission.term, since) else {
            return Ok(RangeResponse::Marks(current));
        };
        let threshold = wanted.threshold.min(oldest);
        let moved = current.max(Marks { threshold, records: wanted.records.min(threshold) });
        if moved == current {
            return Ok(RangeResponse::Marks(current));
        }
        let op = EngineOp::put(Cf::Txn, marks_key(), moved.encode());
        let generation = admission.descriptor.generation;
        let command = Command::write(self.group.range(), generation, admission.term, vec![op]);
        match self.group.propose(command).await? {
            Applied::Ok => Ok(RangeResponse::Marks(moved)),
            // The next round tries again.
            Applied::StaleGeneration { .. } => Ok(RangeResponse::Marks(current)),
            Applied::StaleTerm => Err(self.not_leader()),
        }
    }

    /// Whether nothing is left here of transactions that began before `before`; else what.
    pub(super) async fn find_intents(
        &self,
        before: Timestamp,
    ) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit().await?;
            let (flight, may_have_intents) = {
                let mut state = self.gate.state.lock();
                if state.term != admission.term {
                    continue;
                }
                // What such a transaction leaves here from now on is committed above `before`: its
                // record stays until the next search.
                state.raise(before);
                let flight = state.flights.of_before(before).cloned();
                (flight, self.may_have_intents(&mut state, &admission.descriptor.span))
            };
            if let Some(flight) = flight {
                flight.landed().await;
                continue;
            }
            let found = match may_have_intents {
                true => self.intents_before(&admission.descriptor.span, before)?,
                false => Vec::new(),
            };
            if !self.still(&admission).await? {
                continue;
            }
            return match found.is_empty() {
                true => Ok(RangeResponse::Done),
                false => Err(RangeError::Intents(found)),
            };
        }
    }

    fn intents_before(
        &self,
        span: &core_domain::Span,
        before: Timestamp,
    ) -> Result<Vec<ForeignIntent>, RangeError> {
        let (lower, upper) = keyspace::span_bounds(span);
        let options = IterOptions { lower: Some(lower), upper, ..IterOptions::default() };
        let mut cursor = self.engine().iter(Cf::Lock, options);
        let mut found = Vec::new();
        cursor.seek_to_first();
        while cursor.valid() && found.len() < INTENTS_MAX {
            let intents = Intents::decode(cursor.value())?;
            let (key, _) = keyspace::decode_key(cursor.key())?;
            let write = intents.write.into_iter().map(|write| foreign_write(key.clone(), write));
            let locks = intents.locks.into_iter().map(|lock| ForeignIntent {
                key: key.clone(),
                txn: lock.txn,
                primary: lock.primary,
                min_commit: lock.min_commit,
            });
            found.extend(write.chain(locks).filter(|intent| Timestamp(intent.txn.0) < before));
            cursor.next();
        }
        cursor.status()?;
        Ok(found)
    }
}
