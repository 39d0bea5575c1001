//! Asynchronous commit: the client waits for one round (protocol.md, rule 5: only where nothing has
//! to be validated).
//!
//! ```text
//! PrewriteAsync ──▶ primary's intent, naming all other keys    ─┐ each answers its min_commit
//! PrewriteAsync ──▶ intents of the other ranges                ─┴▶ all there: committed at the highest
//!                                                    then, behind the client's back: status record,
//!                                                    versions, locks
//! ```
//!
//! Such a transaction is decided by what its prewrites left, before any status record. Whoever
//! finds it abandoned asks for each key that the primary's intent names (`SettleSecondaries`): a
//! missing intent gets a rollback marker, so that the answer is final; then the record is written.
//!
//! What follows from that: the intents keep the `min_commit` they got first, also when their
//! prewrite is repeated; a push (validate.rs) can only be taken before the primary's intent is
//! there, and raises its `min_commit`.

use super::commit::{Evaluated, Frees, Obstacle};
use super::flight::Flight;
use super::record::{IntentReader, Intents, Outcome, Outcomes, outcome_op};
use super::two_phase::{Step, own_min_commit};
use super::{Admission, AsyncPrewrite, Place, RangeError, RangeResponse};
use core_domain::planted::{PlantedBug, is_planted};
use core_domain::{Key, Timestamp, TxnId, TxnStatus};
use std::sync::Arc;
use storage::mvcc::PointReader;

/// What a prewrite of an asynchronous commit knows beyond any other.
pub(super) struct AsyncPart {
    /// No version that the transaction writes is older.
    pub floor: Timestamp,
    /// All keys but the primary: for the primary's intent.
    pub secondaries: Arc<[Key]>,
}

impl Place<'_> {
    pub(super) async fn prewrite_async(
        &self,
        prewrite: AsyncPrewrite,
    ) -> Result<RangeResponse, RangeError> {
        let AsyncPrewrite { txn, primary, floor, writes, locked, secondaries } = prewrite;
        let part = AsyncPart { floor, secondaries: secondaries.into() };
        self.prewrite_as(txn, primary, writes, locked, Some(&part)).await
    }

    /// Whether every intent is there. Those that are not never will be.
    pub(super) async fn settle_secondaries(
        &self,
        txn: TxnId,
        keys: Vec<Key>,
    ) -> Result<RangeResponse, RangeError> {
        self.step(&keys, |admission| self.evaluate_settling(admission, txn, &keys)).await
    }

    fn evaluate_settling(
        &self,
        admission: &Admission,
        txn: TxnId,
        keys: &[Key],
    ) -> Result<Step, Obstacle> {
        let mut state = self.gate.state.lock();
        if state.term != admission.term {
            return Err(Obstacle::Moved);
        }
        if let Some(flight) = state.latched(keys.iter()) {
            return Err(Obstacle::Flight(flight));
        }
        let mut outcomes = Outcomes::new(self.engine(), keys.len());
        let mut intents = IntentReader::new(self.engine(), keys.len());
        let mut versions = PointReader::new(self.engine(), keys.len());
        let mut found: Vec<Intents> = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for key in keys {
            if let Some(outcome) = outcomes.beside(key, txn)? {
                return Ok(Step::Answer(RangeResponse::Status(outcome.into())));
            }
            let on_key = intents.on(key)?;
            if on_key.are_of(txn) {
                found.push(on_key);
                continue;
            }
            // Resolved already: the record is there by now.
            if let Some(own) = versions.newest(key)?.filter(|version| version.start == txn) {
                let status = TxnStatus::Committed(own.commit);
                return Ok(Step::Answer(RangeResponse::Status(status)));
            }
            missing.push(key);
        }
        if missing.is_empty() {
            let min_commit = own_min_commit(&found, txn);
            return Ok(Step::Answer(RangeResponse::Prewritten { min_commit }));
        }
        let mut ops = Vec::with_capacity(missing.len());
        if !is_planted(PlantedBug::RollbackLeavesNoMarker) {
            ops.extend(missing.into_iter().map(|key| outcome_op(key, txn, Outcome::RolledBack)));
        }
        // Nothing becomes visible: no reader has to wait.
        let flight = Flight::new(txn, Timestamp::MAX);
        state.flights.take_off(&flight, keys.iter());
        let evaluated = Evaluated { flight, keys: keys.to_vec(), ops, placed: 0, decides: None };
        let answer = RangeResponse::Status(TxnStatus::RolledBack);
        Ok(Step::Propose(evaluated, Frees::Nothing, answer))
    }
}
