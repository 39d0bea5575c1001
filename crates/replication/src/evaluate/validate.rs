//! Validation: what a SERIALIZABLE transaction read has not changed until it commits, nor will
//! (protocol.md, rule 5).
//!
//! ```text
//! read ─────────────────────────── C          a version of another in (read, C]: 40001
//!   │   x=1            x=2?        │          an intent below C: finish it, or push it above C
//!   └── a, [d, g) ─────────────────┘          an entry in flight below C: wait for it
//! ```
//!
//! It is a read at C: `max_ts` is raised to C first, so that nothing can slip in below afterwards.
//! One range: C is fixed and the writes are latched, then the spans are looked at, then the entry
//! is proposed. Two validating commits wait for each other's entries only downwards in C, so never
//! in a circle.
//!
//! ```text
//! T1 validates at C1, meets T2's intent   ──PushTxn above C1──▶  T2's primary: noted, if undecided
//! T2: CommitPrimary at C2 ≤ C1            ◀── Pushed ─────────   redraw, validate again
//! ```
//!
//! Pushes are memory of the primary's leader. A new leader refuses every commit below the
//! timestamp with which it began: no push was ever granted above that.

use super::commit::{Committing, Frees, Obstacle};
use super::flight::Flight;
use super::gate::Gate;
use super::hidden::{View, fates};
use super::record::{foreign_intents, intents_on, outcome_beside};
use super::two_phase::Step;
use super::{
    Admission, ForeignIntent, Place, RangeError, RangeResponse, TXN_EXPIRY, ValidatedCommit,
    check_keys, check_span,
};
use core_domain::{Key, KvError, ReadSpan, Timestamp, TxnId, TxnStatus};
use std::collections::HashMap;
use std::sync::Arc;
use storage::EngineReader;
use storage::hidden::Fates;
use storage::mvcc::{PointReader, Scan};

/// Foreign intents reported at once.
const INTENTS_MAX: usize = 1024;
/// Pushes that a leader remembers one by one.
const PUSHES_MAX: usize = 1024;

/// Which transactions must commit above what.
#[derive(Default)]
pub(super) struct Pushes {
    /// For everybody.
    floor: Timestamp,
    of: HashMap<TxnId, Timestamp>,
}

impl Pushes {
    /// Everything pushed so far was pushed below `floor`.
    pub fn start_above(&mut self, floor: Timestamp) {
        self.floor = self.floor.max(floor);
        self.of.clear();
    }

    fn push(&mut self, txn: TxnId, above: Timestamp) {
        if self.of.len() >= PUSHES_MAX {
            let highest = self.of.values().copied().max().unwrap_or_default();
            self.start_above(highest);
        }
        let pushed = self.of.entry(txn).or_default();
        *pushed = above.max(*pushed);
    }

    /// `txn` must not commit at this or below.
    pub fn against(&self, txn: TxnId) -> Timestamp {
        self.of.get(&txn).copied().unwrap_or_default().max(self.floor)
    }
}

/// A flight that no entry has followed yet: it lands if the evaluation ends before.
struct Latched<'a> {
    gate: &'a Gate,
    flight: Option<Arc<Flight>>,
    keys: Vec<Key>,
}

impl Drop for Latched<'_> {
    fn drop(&mut self) {
        if let Some(flight) = &self.flight {
            self.gate.state.lock().flights.land(flight, self.keys.iter());
        }
    }
}

impl Place<'_> {
    pub(super) async fn commit_validated(
        &self,
        commit: ValidatedCommit,
    ) -> Result<RangeResponse, RangeError> {
        let ValidatedCommit { txn, primary, floor, writes, locked, reads } = commit;
        loop {
            let admission = self.admit_effects().await?;
            let keys = writes.iter().map(|w| &w.key).chain(locked.iter().map(|l| &l.key));
            check_keys(&admission.descriptor, keys.chain([&primary]))?;
            for read in &reads {
                check_span(&admission.descriptor, &read.span)?;
            }
            let evaluated = match self
                .evaluate_commit(&admission, txn, &primary, floor, &writes, &locked, true)
            {
                Ok(Committing::Already(commit)) => {
                    self.evaluator.locks.lock().release(txn);
                    return Ok(RangeResponse::Committed(commit));
                }
                Ok(Committing::Now(evaluated)) => evaluated,
                Err(obstacle) => {
                    self.pass(obstacle).await?;
                    continue;
                }
            };
            let commit = evaluated.flight.min_commit;
            let mut latched = Latched {
                gate: self.gate,
                flight: Some(evaluated.flight.clone()),
                keys: evaluated.keys.clone(),
            };
            if !self.is_unchanged(&admission, txn, commit, &reads, &[]).await? {
                continue;
            }
            latched.flight = None;
            self.propose(&admission, evaluated, Frees::All(txn)).await?;
            return Ok(RangeResponse::Committed(commit));
        }
    }

    /// Waits for what is in the way of an evaluation, if it can be waited for.
    pub(super) async fn pass(&self, obstacle: Obstacle) -> Result<(), RangeError> {
        match obstacle {
            Obstacle::Flight(flight) => flight.landed().await,
            Obstacle::Moved => {}
            Obstacle::AheadOfOracle => self.catch_up().await?,
            Obstacle::Error(error) => return Err(error),
        }
        Ok(())
    }

    /// Draws until the oracle has reached `max_ts`: a commit above a timestamp that was never
    /// drawn could be above the next reader's.
    async fn catch_up(&self) -> Result<(), RangeError> {
        let source = self.evaluator.source.get();
        let source = source.ok_or_else(|| KvError::Internal("no oracle connected".into()))?;
        let drawn = source.draw().await?;
        let mut state = self.gate.state.lock();
        if drawn >= state.max_ts {
            state.max_ts = drawn;
            state.undrawn = Timestamp::ZERO;
        }
        Ok(())
    }

    pub(super) async fn validate(
        &self,
        txn: TxnId,
        at: Timestamp,
        reads: &[ReadSpan],
        passed: &[TxnId],
    ) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit().await?;
            for read in reads {
                check_span(&admission.descriptor, &read.span)?;
            }
            if self.is_unchanged(&admission, txn, at, reads, passed).await? {
                return Ok(RangeResponse::Done);
            }
        }
    }

    /// False if the admission did not last.
    async fn is_unchanged(
        &self,
        admission: &Admission,
        txn: TxnId,
        at: Timestamp,
        reads: &[ReadSpan],
        passed: &[TxnId],
    ) -> Result<bool, RangeError> {
        loop {
            let looked = {
                let mut state = self.gate.state.lock();
                if state.term != admission.term {
                    return Ok(false);
                }
                state.raise(at);
                let against = |read: &ReadSpan| state.flights.against(&read.span, at, txn).cloned();
                match reads.iter().find_map(against) {
                    Some(flight) => Err(flight),
                    None => {
                        let span = &admission.descriptor.span;
                        Ok((self.may_have_intents(&mut state, span), state.view(None)))
                    }
                }
            };
            let flight = match looked {
                Err(flight) => Some(flight),
                Ok((may_have_intents, view)) => {
                    self.look_at_reads(txn, at, reads, passed, may_have_intents, &view)?
                }
            };
            match flight {
                Some(flight) => flight.landed().await,
                None => return self.still(admission).await,
            }
        }
    }

    /// What has to land first, if anything.
    fn look_at_reads(
        &self,
        txn: TxnId,
        at: Timestamp,
        reads: &[ReadSpan],
        passed: &[TxnId],
        may_have_intents: bool,
        view: &View,
    ) -> Result<Option<Arc<Flight>>, RangeError> {
        // Of one moment: an intent that became a version in between would be missed.
        let snapshot = self.engine().snapshot();
        let reading = view.reading(at).map(|reading| reading.passing(passed));
        for read in reads {
            if let Some((key, other)) = change(&*snapshot, read, at, txn, fates(&reading))? {
                return Err(KvError::Conflict { key, other }.into());
            }
            if let Some(reading) = &reading
                && let Some(flight) = reading.check(&read.span.start)?
            {
                return Ok(Some(flight));
            }
            // What was written and deleted after it was read may be gone.
            self.refuse_old(read.since)?;
        }
        if may_have_intents {
            self.refuse_intents_below(&*snapshot, txn, at, reads, passed)?;
        }
        Ok(None)
    }

    fn refuse_intents_below(
        &self,
        reader: &dyn EngineReader,
        txn: TxnId,
        at: Timestamp,
        reads: &[ReadSpan],
        passed: &[TxnId],
    ) -> Result<(), RangeError> {
        let mut foreign: Vec<ForeignIntent> = Vec::new();
        for read in reads {
            let left = INTENTS_MAX - foreign.len();
            let found = foreign_intents(reader, &read.span, left, |intent| {
                intent.txn != txn && intent.min_commit <= at && !passed.contains(&intent.txn)
            })?;
            foreign.extend(found.into_iter().map(|(key, w)| super::read::foreign_write(key, w)));
        }
        if foreign.is_empty() { Ok(()) } else { Err(RangeError::Intents(foreign)) }
    }

    pub(super) async fn push_txn(
        &self,
        txn: TxnId,
        primary: Key,
        seen: Timestamp,
        now: Timestamp,
        above: Timestamp,
    ) -> Result<RangeResponse, RangeError> {
        let keys = [primary];
        self.step(&keys, |admission| {
            let mut state = self.gate.state.lock();
            if state.term != admission.term {
                return Err(Obstacle::Moved);
            }
            if let Some(flight) = state.latched(keys.iter()) {
                return Err(Obstacle::Flight(flight));
            }
            if let Some(outcome) = outcome_beside(self.engine(), &keys[0], txn)? {
                return Ok(Step::Answer(RangeResponse::Status(outcome.into())));
            }
            let fresh_leader = self.now() < state.since + TXN_EXPIRY;
            let fresh_intent = now < seen.plus(TXN_EXPIRY);
            let heard = || self.evaluator.locks.lock().is_alive(txn, self.now());
            if !(fresh_leader || fresh_intent || heard()) {
                drop(state);
                return self.decide_abandoned(admission, txn, &keys[0]);
            }
            let on_primary = intents_on(self.engine(), &keys[0])?.write;
            if on_primary.is_some_and(|own| own.txn == txn && own.secondaries.is_some()) {
                // Its timestamp is given by its prewrites.
                return Ok(Step::Answer(RangeResponse::Status(TxnStatus::InProgress)));
            }
            state.pushes.push(txn, above);
            Ok(Step::Answer(RangeResponse::Pushed { above }))
        })
        .await
    }
}

/// A version of another in (since, at], of any key in the span.
fn change(
    reader: &dyn EngineReader,
    read: &ReadSpan,
    at: Timestamp,
    txn: TxnId,
    fates: Option<&dyn Fates>,
) -> Result<Option<(Key, TxnId)>, RangeError> {
    let ReadSpan { span, since } = read;
    if span.end == span.start.next() {
        let newest = PointReader::new(reader, 1).with(fates).at(&span.start, at)?;
        let changed = newest.filter(|version| version.commit > *since && version.start != txn);
        return Ok(changed.map(|version| (span.start.clone(), version.start)));
    }
    let mut scan = Scan::new(reader, span, at, false).with(fates);
    while let Some((key, version)) = scan.next_change(*since)? {
        if version.start != txn {
            return Ok(Some((key, version.start)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_never_forgotten_however_many() {
        let mut pushes = Pushes::default();
        assert_eq!(pushes.against(TxnId(1)), Timestamp::ZERO);
        pushes.push(TxnId(1), Timestamp(50));
        pushes.push(TxnId(1), Timestamp(40));
        assert_eq!(pushes.against(TxnId(1)), Timestamp(50));
        for txn in 0..3 * PUSHES_MAX as u64 {
            pushes.push(TxnId(100 + txn), Timestamp(60 + txn));
        }
        assert!(pushes.of.len() <= PUSHES_MAX);
        for txn in 0..3 * PUSHES_MAX as u64 {
            assert!(pushes.against(TxnId(100 + txn)) >= Timestamp(60 + txn));
        }
    }
}
